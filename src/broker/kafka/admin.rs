//! Admin requests: topics, their settings, log ranges, deletion of records.
//!
//! Invariant: every request ends by the request timeout (`request.rs`); nothing here touches the data path's clients. This
//! file keeps no state.

use super::client::{Client, Deadline};
use super::config::{KafkaConfig, Role};
use super::error::{check, codes, of_code};
use super::ffi::{self, Failure, PartitionList, array, c_string, code, element, elements, text};
use super::request::{Event, Options, Queue, REQUEST_TIMEOUT, Rk, request};
use crate::broker::{Admin, Error, LogRange, NewTopic, Result, TopicInfo};
use crate::fetch::TopicPartition;
use ffi::rd_kafka_IsolationLevel_t as Isolation;
use ffi::rd_kafka_admin_op_t as Operation;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, c_char};
use std::time::Duration;

/// The admin client.
pub struct KafkaAdmin {
    client: Client,
}

impl KafkaAdmin {
    /// # Errors
    /// [`Error::Refused`] for bad settings.
    pub fn new(config: &KafkaConfig) -> Result<Self> {
        Ok(KafkaAdmin {
            client: Client::new(config, &Role::Admin, None)?,
        })
    }

    /// Sends a request with this client; see [`request`].
    pub(super) fn request<T>(
        &self,
        call: &'static str,
        operation: Operation,
        submit: impl FnOnce(Rk, Options, Queue),
        read: impl FnOnce(Event) -> Result<T>,
    ) -> Result<T> {
        request(&self.client, call, operation, |_| None, submit, read)
    }

    /// The controller answers before every broker knows of a topic; a caller that goes on at once would be told that
    /// it does not exist.
    fn await_topics(&self, topics: &[NewTopic]) -> Result<()> {
        let names: BTreeSet<_> = topics.iter().map(|topic| topic.name.clone()).collect();
        let names: Vec<_> = names.into_iter().collect();
        let deadline = Deadline::after(REQUEST_TIMEOUT);
        while self.topics(&names)?.len() < names.len() {
            if deadline.is_over() {
                let message = "made, but not visible yet".to_string();
                return Err(Error::Retriable {
                    call: "create_topics",
                    message,
                });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// ListOffsets with one specification (a timestamp, or -1 for the end, -2 for the start) for all partitions.
    fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        specification: i64,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        let call = "list_offsets";
        let unique: BTreeSet<_> = partitions.iter().cloned().collect();
        let list = PartitionList::at_offsets(
            &unique
                .into_iter()
                .map(|at| (at, specification))
                .collect::<Vec<_>>(),
        );
        request(
            &self.client,
            call,
            Operation::RD_KAFKA_ADMIN_OP_LISTOFFSETS,
            |options| unsafe {
                Failure::of(ffi::rd_kafka_AdminOptions_set_isolation_level(
                    options, isolation,
                ))
            },
            |rk, options, queue| unsafe {
                ffi::rd_kafka_ListOffsets(rk, list.as_ptr(), options, queue)
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_ListOffsets_result(event);
                let infos = ffi::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
                let mut found = BTreeMap::new();
                for info in array(infos, count) {
                    let element =
                        element(ffi::rd_kafka_ListOffsetsResultInfo_topic_partition(info));
                    check(call, element.code, &element.at.to_string())?;
                    found.insert(element.at, element.offset);
                }
                Ok(found)
            },
        )
    }
}

/// Checks the results of a request about topics; `fine` is a code that says that nothing was to be done.
unsafe fn topic_results(
    call: &'static str,
    results: *mut *const ffi::rd_kafka_topic_result_t,
    count: usize,
    fine: i32,
) -> Result<()> {
    unsafe {
        for result in array(results, count) {
            let code = code::rd_kafka_topic_result_error(result);
            if code != 0 && code != fine {
                let name = text(ffi::rd_kafka_topic_result_name(result));
                let detail = text(ffi::rd_kafka_topic_result_error_string(result));
                return Err(of_code(call, code, &format!("{name} ({detail})")));
            }
        }
    }
    Ok(())
}

/// A topic to be made, for the C API.
unsafe fn new_topic(topic: &NewTopic) -> Result<*mut ffi::rd_kafka_NewTopic_t> {
    let name = c_string(&topic.name);
    let replication = topic.replication.unwrap_or(-1);
    let mut buffer = [0 as c_char; 256];
    unsafe {
        let (out, size) = (buffer.as_mut_ptr(), buffer.len());
        let made =
            ffi::rd_kafka_NewTopic_new(name.as_ptr(), topic.partitions, replication, out, size);
        if made.is_null() {
            let message = format!("{}: {}", topic.name, text(out));
            return Err(Error::Refused {
                call: "create_topics",
                message,
            });
        }
        for (name, value) in &topic.config {
            code::rd_kafka_NewTopic_set_config(
                made,
                c_string(name).as_ptr(),
                c_string(value).as_ptr(),
            );
        }
        Ok(made)
    }
}

/// Kafka's topic id; brokers that have none answer with zeros.
unsafe fn topic_id(description: *const ffi::rd_kafka_TopicDescription_t) -> Option<String> {
    unsafe {
        let id = ffi::rd_kafka_TopicDescription_topic_id(description);
        if id.is_null() {
            return None;
        }
        let bits = ffi::rd_kafka_Uuid_most_significant_bits(id)
            | ffi::rd_kafka_Uuid_least_significant_bits(id);
        (bits != 0).then(|| text(ffi::rd_kafka_Uuid_base64str(id)))
    }
}

impl Admin for KafkaAdmin {
    fn topics(&self, names: &[String]) -> Result<Vec<TopicInfo>> {
        let call = "describe_topics";
        if names.is_empty() {
            return Ok(vec![]);
        }
        let c_names: Vec<CString> = names.iter().map(|n| c_string(n)).collect();
        let mut pointers: Vec<_> = c_names.iter().map(|n| n.as_ptr()).collect();
        self.request(
            call,
            Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            |rk, options, queue| unsafe {
                let topics = ffi::rd_kafka_TopicCollection_of_topic_names(
                    pointers.as_mut_ptr(),
                    pointers.len(),
                );
                ffi::rd_kafka_DescribeTopics(rk, topics, options, queue);
                ffi::rd_kafka_TopicCollection_destroy(topics);
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_DescribeTopics_result(event);
                let descriptions =
                    ffi::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                let mut found = vec![];
                for description in array(descriptions, count) {
                    let name = text(ffi::rd_kafka_TopicDescription_name(description));
                    let error = ffi::rd_kafka_TopicDescription_error(description);
                    let code = if error.is_null() {
                        0
                    } else {
                        code::rd_kafka_error_code(error)
                    };
                    if matches!(
                        code,
                        codes::UNKNOWN_TOPIC_OR_PARTITION | codes::UNKNOWN_TOPIC
                    ) {
                        continue;
                    }
                    check(call, code, &name)?;
                    let mut partitions = 0;
                    ffi::rd_kafka_TopicDescription_partitions(description, &raw mut partitions);
                    found.push(TopicInfo {
                        name,
                        id: topic_id(description),
                        partitions: partitions as i32,
                    });
                }
                Ok(found)
            },
        )
    }

    fn topic_config(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let call = "describe_configs";
        let c_name = c_string(name);
        self.request(
            call,
            Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
            |rk, options, queue| unsafe {
                let kind = ffi::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
                let mut resource = ffi::rd_kafka_ConfigResource_new(kind, c_name.as_ptr());
                ffi::rd_kafka_DescribeConfigs(rk, &raw mut resource, 1, options, queue);
                ffi::rd_kafka_ConfigResource_destroy(resource);
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_DescribeConfigs_result(event);
                let resources =
                    ffi::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
                let mut found = BTreeMap::new();
                for resource in array(resources, count) {
                    check(call, code::rd_kafka_ConfigResource_error(resource), name)?;
                    let mut entries = 0;
                    let configs = ffi::rd_kafka_ConfigResource_configs(resource, &raw mut entries);
                    for entry in array(configs, entries) {
                        let value = ffi::rd_kafka_ConfigEntry_value(entry);
                        if !value.is_null() {
                            found.insert(text(ffi::rd_kafka_ConfigEntry_name(entry)), text(value));
                        }
                    }
                }
                Ok(found)
            },
        )
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<()> {
        let call = "create_topics";
        if topics.is_empty() {
            return Ok(());
        }
        let mut made = vec![];
        let all = topics.iter().try_for_each(|topic| {
            made.push(unsafe { new_topic(topic) }?);
            Ok(())
        });
        let result = all.and_then(|()| {
            self.request(
                call,
                Operation::RD_KAFKA_ADMIN_OP_CREATETOPICS,
                |rk, options, queue| unsafe {
                    ffi::rd_kafka_CreateTopics(rk, made.as_mut_ptr(), made.len(), options, queue);
                },
                |event| unsafe {
                    let mut count = 0;
                    let result = ffi::rd_kafka_event_CreateTopics_result(event);
                    let results = ffi::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
                    topic_results(call, results, count, codes::TOPIC_ALREADY_EXISTS)
                },
            )
        });
        unsafe { ffi::rd_kafka_NewTopic_destroy_array(made.as_mut_ptr(), made.len()) };
        result?;
        self.await_topics(topics)
    }

    fn grow_topic(&self, name: &str, partitions: i32) -> Result<()> {
        let call = "create_partitions";
        let existing = self.topics(&[name.to_string()])?;
        if existing.iter().any(|topic| topic.partitions >= partitions) {
            return Ok(());
        }
        let c_name = c_string(name);
        let mut buffer = [0 as c_char; 256];
        let (out, size) = (buffer.as_mut_ptr(), buffer.len());
        let total = usize::try_from(partitions).unwrap_or(0);
        let mut grown =
            unsafe { ffi::rd_kafka_NewPartitions_new(c_name.as_ptr(), total, out, size) };
        if grown.is_null() {
            return Err(Error::Refused {
                call,
                message: format!("{name}: {}", unsafe { text(out) }),
            });
        }
        let result = self.request(
            call,
            Operation::RD_KAFKA_ADMIN_OP_CREATEPARTITIONS,
            |rk, options, queue| unsafe {
                ffi::rd_kafka_CreatePartitions(rk, &raw mut grown, 1, options, queue)
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_CreatePartitions_result(event);
                topic_results(
                    call,
                    ffi::rd_kafka_CreatePartitions_result_topics(result, &raw mut count),
                    count,
                    0,
                )
            },
        );
        unsafe { ffi::rd_kafka_NewPartitions_destroy(grown) };
        result
    }

    fn delete_topics(&self, names: &[String]) -> Result<()> {
        let call = "delete_topics";
        if names.is_empty() {
            return Ok(());
        }
        let make =
            |name: &String| unsafe { ffi::rd_kafka_DeleteTopic_new(c_string(name).as_ptr()) };
        let mut topics: Vec<_> = names.iter().map(make).collect();
        let result = self.request(
            call,
            Operation::RD_KAFKA_ADMIN_OP_DELETETOPICS,
            |rk, options, queue| unsafe {
                ffi::rd_kafka_DeleteTopics(rk, topics.as_mut_ptr(), topics.len(), options, queue);
            },
            |event| unsafe {
                let mut count = 0;
                let result = ffi::rd_kafka_event_DeleteTopics_result(event);
                let results = ffi::rd_kafka_DeleteTopics_result_topics(result, &raw mut count);
                topic_results(call, results, count, codes::UNKNOWN_TOPIC_OR_PARTITION)
            },
        );
        unsafe { ffi::rd_kafka_DeleteTopic_destroy_array(topics.as_mut_ptr(), topics.len()) };
        result
    }

    fn delete_records(&self, below: &[(TopicPartition, i64)]) -> Result<()> {
        let call = "delete_records";
        if below.is_empty() {
            return Ok(());
        }
        let list = PartitionList::at_offsets(below);
        let mut request = unsafe { ffi::rd_kafka_DeleteRecords_new(list.as_ptr()) };
        let result = self.request(
            call,
            Operation::RD_KAFKA_ADMIN_OP_DELETERECORDS,
            |rk, options, queue| unsafe {
                ffi::rd_kafka_DeleteRecords(rk, &raw mut request, 1, options, queue)
            },
            |event| unsafe {
                let result = ffi::rd_kafka_event_DeleteRecords_result(event);
                for element in elements(ffi::rd_kafka_DeleteRecords_result_offsets(result)) {
                    check(call, element.code, &element.at.to_string())?;
                }
                Ok(())
            },
        );
        unsafe { ffi::rd_kafka_DeleteRecords_destroy(request) };
        result
    }

    fn log_ranges(&self, partitions: &[TopicPartition]) -> Result<Vec<LogRange>> {
        if partitions.is_empty() {
            return Ok(vec![]);
        }
        // One after the other, lowest first: so start <= stable <= high holds while others write and delete.
        let starts = self.list_offsets(
            partitions,
            -2,
            Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        )?;
        let stables = self.list_offsets(
            partitions,
            -1,
            Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
        )?;
        let highs = self.list_offsets(
            partitions,
            -1,
            Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        )?;
        let range = |at: &TopicPartition| {
            Some(LogRange {
                start: *starts.get(at)?,
                stable: *stables.get(at)?,
                high: *highs.get(at)?,
            })
        };
        partitions
            .iter()
            .map(|at| range(at).ok_or_else(|| unanswered("log_ranges", at)))
            .collect()
    }

    fn offsets_at(&self, partitions: &[TopicPartition], timestamp_ms: i64) -> Result<Vec<i64>> {
        if partitions.is_empty() {
            return Ok(vec![]);
        }
        let isolation = Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED;
        // The end is asked first: what arrives in between then counts as "at or after" or lies behind the end.
        let ends = self.list_offsets(partitions, -1, isolation)?;
        // Negative timestamps would be read as specifications.
        let found = self.list_offsets(partitions, timestamp_ms.max(0), isolation)?;
        let offset = |at: &TopicPartition| match found.get(at) {
            Some(offset) if *offset >= 0 => Some(*offset),
            _ => ends.get(at).copied(),
        };
        partitions
            .iter()
            .map(|at| offset(at).ok_or_else(|| unanswered("offsets_at", at)))
            .collect()
    }
}

fn unanswered(call: &'static str, at: &TopicPartition) -> Error {
    Error::Retriable {
        call,
        message: format!("{at}: no answer for this partition"),
    }
}
