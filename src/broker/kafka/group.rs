//! What a takeover asks of the consumer group: stable offsets, members, ending another producer's transaction.
//!
//! Invariant: nothing here joins the group or fences anyone, except `settle`, which fences exactly the transactional id
//! it is given. Each question uses clients of its own, so that an answer that is long in coming never holds up the data
//! path. When to settle is the protocol's decision.

use super::admin::KafkaAdmin;
use super::client::{Client, Deadline};
use super::config::{KafkaConfig, Role};
use super::error::{check, codes, of_failure};
use super::ffi::{self, Element, Failure, PartitionList, array, c_string, code, elements, text};
use super::request::request;
use crate::broker::{CommittedOffset, Error, Group, GroupMember, Result, Standing};
use crate::fetch::TopicPartition;
use ffi::rd_kafka_admin_op_t as Operation;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For the registration of a transactional id, whose open transaction the broker ends first.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The consumer group of the application.
pub struct KafkaGroup {
    config: KafkaConfig,
    stable: Client,
    unstable: Client,
    admin: Arc<KafkaAdmin>,
    /// Asks the group's coordinator through admin requests; absent after an answer that it is another broker.
    asker: Mutex<Option<Arc<Client>>>,
}

impl KafkaGroup {
    /// # Errors
    /// [`Error::Refused`] for bad settings.
    pub fn new(config: &KafkaConfig, admin: Arc<KafkaAdmin>) -> Result<Self> {
        let client = |stable| Client::new(config, &Role::Offsets { stable }, None);
        Ok(KafkaGroup {
            config: config.clone(),
            stable: client(true)?,
            unstable: client(false)?,
            admin,
            asker: Mutex::default(),
        })
    }

    /// Asks the group's coordinator. librdkafka's admin requests remember who that is for as long as they are made, even when the
    /// answer is that it has moved: only a new client looks for it again. A consumer, because on an error of the group librdkafka
    /// turns to the instance's own group handler, and a producer has none.
    fn ask<T>(&self, question: impl FnOnce(&Client) -> Result<T>) -> Result<T> {
        let asker = || self.asker.lock().unwrap_or_else(PoisonError::into_inner);
        let present = asker().clone();
        let client = match present {
            Some(client) => client,
            None => {
                let role = Role::Offsets { stable: true };
                let client = Arc::new(Client::new(&self.config, &role, None)?);
                *asker() = Some(Arc::clone(&client));
                client
            }
        };
        let answer = question(&client);
        if matches!(answer, Err(Error::Retriable { .. })) {
            *asker() = None;
        }
        answer
    }

    fn alter(&self, list: &PartitionList) -> Result<()> {
        let group = c_string(&self.config.group);
        let mut request =
            unsafe { ffi::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), list.as_ptr()) };
        let result = self.admin.request(
            "set_offsets",
            Operation::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
            |rk, options, queue| unsafe {
                ffi::rd_kafka_AlterConsumerGroupOffsets(rk, &raw mut request, 1, options, queue);
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
                let groups =
                    ffi::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count);
                group_results("set_offsets", groups, count, 0)
            },
        );
        unsafe { ffi::rd_kafka_AlterConsumerGroupOffsets_destroy(request) };
        result
    }

    fn forget(&self, list: &PartitionList) -> Result<()> {
        let group = c_string(&self.config.group);
        let mut request =
            unsafe { ffi::rd_kafka_DeleteConsumerGroupOffsets_new(group.as_ptr(), list.as_ptr()) };
        let result = self.admin.request(
            "delete_offsets",
            Operation::RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS,
            |rk, options, queue| unsafe {
                ffi::rd_kafka_DeleteConsumerGroupOffsets(rk, &raw mut request, 1, options, queue);
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_DeleteConsumerGroupOffsets_result(event);
                let groups =
                    ffi::rd_kafka_DeleteConsumerGroupOffsets_result_groups(result, &raw mut count);
                group_results("delete_offsets", groups, count, codes::GROUP_ID_NOT_FOUND)
            },
        );
        unsafe { ffi::rd_kafka_DeleteConsumerGroupOffsets_destroy(request) };
        result
    }
}

/// Codes by which a broker says that the group has members: nothing a repetition cures.
fn occupied(code: i32) -> bool {
    // ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, REBALANCE_IN_PROGRESS, GROUP_SUBSCRIBED_TO_TOPIC
    matches!(code, 22 | 25 | 27 | 86)
}

/// The first error in the results of a request about groups, except the code `fine`.
unsafe fn group_results(
    call: &'static str,
    groups: *mut *const ffi::rd_kafka_group_result_t,
    count: usize,
    fine: i32,
) -> Result<()> {
    let refuse = |code: i32, about: &str| {
        if code == fine {
            return Ok(());
        }
        if occupied(code) {
            return Err(Error::Refused {
                call,
                message: format!("{about}: the group has members"),
            });
        }
        check(call, code, about)
    };
    unsafe {
        for result in array(groups, count) {
            let name = text(ffi::rd_kafka_group_result_name(result));
            let error = ffi::rd_kafka_group_result_error(result);
            if !error.is_null() {
                refuse(code::rd_kafka_error_code(error), &name)?;
            }
            for element in elements(ffi::rd_kafka_group_result_partitions(result)) {
                refuse(element.code, &element.at.to_string())?;
            }
        }
    }
    Ok(())
}

/// OffsetFetch. librdkafka repeats it while offsets are unstable, so that a timeout is what says "not stable yet".
fn committed(
    client: &Client,
    partitions: &[TopicPartition],
    timeout: Duration,
) -> Result<Vec<Option<CommittedOffset>>> {
    let call = "committed";
    if partitions.is_empty() {
        return Ok(vec![]);
    }
    let list = PartitionList::of(partitions);
    let timeout_ms = Deadline::after(timeout).remaining_ms();
    check(
        call,
        unsafe { code::rd_kafka_committed(client.rk(), list.as_ptr(), timeout_ms) },
        "committed offsets",
    )?;
    let mut found = list.by_partition();
    let mut offsets = vec![];
    for at in partitions {
        let element = found.remove(at);
        if let Some(element) = &element {
            check(call, element.code, &at.to_string())?;
        }
        offsets.push(element.and_then(offset_of));
    }
    Ok(offsets)
}

fn offset_of(element: Element) -> Option<CommittedOffset> {
    (element.offset >= 0).then(|| CommittedOffset {
        at: element.at,
        offset: element.offset,
        metadata: String::from_utf8_lossy(&element.metadata).into_owned(),
    })
}

/// The answer about one partition.
fn standing_of(element: Element) -> Result<Standing> {
    match element.code {
        codes::UNSTABLE_OFFSET_COMMIT => Ok(Standing::Undecided),
        code => {
            check("standing", code, &element.at.to_string())?;
            Ok(Standing::Stable(offset_of(element)))
        }
    }
}

impl Group for KafkaGroup {
    fn committed(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        committed(&self.stable, partitions, timeout)
    }

    fn committed_unstable(
        &self,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> Result<Vec<Option<CommittedOffset>>> {
        committed(&self.unstable, partitions, timeout)
    }

    fn standing(&self, partitions: &[TopicPartition]) -> Result<Vec<Standing>> {
        let call = "standing";
        if partitions.is_empty() {
            return Ok(vec![]);
        }
        let group = c_string(&self.config.group);
        let list = PartitionList::of(partitions);
        let mut question =
            unsafe { ffi::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.as_ptr()) };
        // Unlike `rd_kafka_committed` it does not repeat unstable answers.
        let list_offsets = |client: &Client| {
            request(
                client,
                call,
                Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
                |options| unsafe {
                    Failure::of(ffi::rd_kafka_AdminOptions_set_require_stable_offsets(
                        options, 1,
                    ))
                },
                |rk, options, queue| unsafe {
                    ffi::rd_kafka_ListConsumerGroupOffsets(
                        rk,
                        &raw mut question,
                        1,
                        options,
                        queue,
                    );
                },
                |event| unsafe {
                    let mut count = 0;
                    let result = ffi::rd_kafka_event_ListConsumerGroupOffsets_result(event);
                    let groups = ffi::rd_kafka_ListConsumerGroupOffsets_result_groups(
                        result,
                        &raw mut count,
                    );
                    let mut found = HashMap::new();
                    for result in array(groups, count) {
                        let error = ffi::rd_kafka_group_result_error(result);
                        if !error.is_null() {
                            check(call, code::rd_kafka_error_code(error), &self.config.group)?;
                        }
                        for element in elements(ffi::rd_kafka_group_result_partitions(result)) {
                            found.insert(element.at.clone(), standing_of(element)?);
                        }
                    }
                    Ok(found)
                },
            )
        };
        let found = self.ask(list_offsets);
        unsafe { ffi::rd_kafka_ListConsumerGroupOffsets_destroy(question) };
        let mut found = found?;
        // Silence about a partition must not read as "nothing was ever committed".
        let standing = |at: &TopicPartition| {
            found.remove(at).ok_or_else(|| Error::Retriable {
                call,
                message: format!("{at}: no answer for this partition"),
            })
        };
        partitions.iter().map(standing).collect()
    }

    fn members(&self) -> Result<Vec<GroupMember>> {
        let call = "describe_group";
        let group = c_string(&self.config.group);
        let mut groups = [group.as_ptr()];
        let describe = |client: &Client| {
            request(
                client,
                call,
                Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
                |_| None,
                |rk, options, queue| unsafe {
                    ffi::rd_kafka_DescribeConsumerGroups(
                        rk,
                        groups.as_mut_ptr(),
                        groups.len(),
                        options,
                        queue,
                    );
                },
                |event| unsafe {
                    let mut count = 0;
                    let result = ffi::rd_kafka_event_DescribeConsumerGroups_result(event);
                    let descriptions =
                        ffi::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
                    let mut found = vec![];
                    for description in array(descriptions, count) {
                        let error = ffi::rd_kafka_ConsumerGroupDescription_error(description);
                        let code = if error.is_null() {
                            0
                        } else {
                            code::rd_kafka_error_code(error)
                        };
                        if code == codes::GROUP_ID_NOT_FOUND {
                            continue;
                        }
                        check(call, code, &self.config.group)?;
                        for index in
                            0..ffi::rd_kafka_ConsumerGroupDescription_member_count(description)
                        {
                            let member =
                                ffi::rd_kafka_ConsumerGroupDescription_member(description, index);
                            found.push(GroupMember {
                                member_id: text(ffi::rd_kafka_MemberDescription_consumer_id(
                                    member,
                                )),
                                client_id: text(ffi::rd_kafka_MemberDescription_client_id(member)),
                            });
                        }
                    }
                    Ok(found)
                },
            )
        };
        self.ask(describe)
    }

    fn settle(&self, transactional_id: &str) -> Result<()> {
        let call = "settle";
        let role = Role::Settle {
            transactional_id: transactional_id.to_string(),
        };
        let client = Client::new(&self.config, &role, None)?;
        let deadline = Deadline::after(SETTLE_TIMEOUT);
        loop {
            let error =
                unsafe { ffi::rd_kafka_init_transactions(client.rk(), deadline.remaining_ms()) };
            let Some(failure) = Failure::of(error) else {
                return Ok(());
            };
            match of_failure(call, &failure) {
                Error::Retriable { .. } if !deadline.is_over() => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                error => return Err(error),
            }
        }
    }

    fn set_offsets(&self, offsets: &[CommittedOffset]) -> Result<()> {
        let (set, forgotten): (Vec<_>, Vec<_>) = offsets.iter().partition(|o| o.offset >= 0);
        if !set.is_empty() {
            let mut list = PartitionList::new(set.len());
            for offset in set {
                list.add(&offset.at, offset.offset, Some(&offset.metadata));
            }
            self.alter(&list)?;
        }
        if !forgotten.is_empty() {
            self.forget(&PartitionList::of(forgotten.iter().map(|o| &o.at)))?;
        }
        Ok(())
    }

    fn delete(&self) -> Result<()> {
        let group = c_string(&self.config.group);
        let mut request = unsafe { ffi::rd_kafka_DeleteGroup_new(group.as_ptr()) };
        let result = self.admin.request(
            "delete_group",
            Operation::RD_KAFKA_ADMIN_OP_DELETEGROUPS,
            |rk, options, queue| unsafe {
                ffi::rd_kafka_DeleteGroups(rk, &raw mut request, 1, options, queue)
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_DeleteGroups_result(event);
                let groups = ffi::rd_kafka_DeleteGroups_result_groups(result, &raw mut count);
                group_results("delete_group", groups, count, codes::GROUP_ID_NOT_FOUND)
            },
        );
        unsafe { ffi::rd_kafka_DeleteGroup_destroy(request) };
        result
    }
}
