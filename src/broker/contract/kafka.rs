//! The contract on a real Kafka, named by `MILLSTREAM_TEST_BROKERS`; without it every case says that it was skipped.
//!
//! Invariant: a case that did not run never looks like one that passed silently: the reason goes to stderr.

use super::super::kafka::{KafkaClients, KafkaConfig, Member};
use super::{Cluster, Joined, PATIENCE, data, membership, outside};
use crate::broker::{Admin, Clients, Group, GroupMetadata, Membership, RebalanceListener, Result};
use std::io::Write;
use std::sync::Arc;

struct RealKafka {
    brokers: String,
    /// Records are read by ourselves.
    native: bool,
}

impl RealKafka {
    fn config(&self, group: &str, worker: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new(self.brokers.clone(), group, worker);
        config.session_timeout_ms = 6000;
        config.native = self.native;
        // A user may set it below librdkafka's default session timeout.
        config
            .properties
            .insert("max.poll.interval.ms".into(), "7000".into());
        config
    }
}

struct RealMember(Arc<Member>);

impl Membership for RealMember {
    fn metadata(&self) -> Result<GroupMetadata> {
        self.0.metadata()
    }
}

impl Joined for RealMember {
    fn leave(&self) {
        self.0.stop(PATIENCE).unwrap();
    }

    fn step_aside(&self) {
        self.0.step_aside();
    }

    fn come_back(&self) {
        self.0.come_back();
    }
}

impl Cluster for RealKafka {
    fn clients(&self, group: &str) -> Box<dyn Clients> {
        Box::new(KafkaClients::new(self.config(group, "contract")))
    }

    fn admin(&self) -> Arc<dyn Admin> {
        KafkaClients::new(self.config("contract", "contract"))
            .admin()
            .unwrap()
    }

    fn group(&self, group: &str) -> Arc<dyn Group> {
        let clients = KafkaClients::new(self.config(group, "contract"));
        clients.group(clients.admin().unwrap()).unwrap()
    }

    fn join(
        &self,
        group: &str,
        worker: &str,
        instance: Option<&str>,
        topic: &str,
        listener: Arc<dyn RebalanceListener>,
    ) -> Arc<dyn Joined> {
        let mut config = self.config(group, worker);
        config.static_instance = instance.map(str::to_string);
        Arc::new(RealMember(
            KafkaClients::new(config)
                .member(&[topic.to_string()], listener)
                .unwrap(),
        ))
    }
}

fn on_kafka(name: &str, native: bool, case: fn(&dyn Cluster)) {
    match std::env::var("MILLSTREAM_TEST_BROKERS") {
        Ok(brokers) => case(&RealKafka { brokers, native }),
        Err(_) => {
            // Not eprintln: the test harness would swallow it.
            let line =
                format!("SKIPPED {name}: MILLSTREAM_TEST_BROKERS names no Kafka to run on\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
    }
}

macro_rules! cases {
    ($native:literal: $($module:ident :: $case:ident),* $(,)?) => {
        $(#[test]
        fn $case() {
            on_kafka(stringify!($case), $native, $module::$case);
        })*
    };
}

cases![
    true:
    data::committed_records_are_visible_and_aborted_ones_are_not,
    data::keys_values_and_timestamps_come_back_as_sent,
    data::flush_reports_the_last_block_of_each_partition,
    data::a_second_producer_of_the_id_fences_the_first,
    data::the_end_stands_before_an_open_transaction,
    data::assigning_again_moves_the_position_and_old_records_are_gone,
    data::a_pause_stops_and_a_resume_goes_on_where_it_stopped,
    data::deleted_records_are_out_of_range,
    data::interleaved_transactions_show_what_was_committed,
    // Without zstd in the build, librdkafka cannot do this one.
    data::what_the_broker_has_compressed_comes_back_as_sent,
    data::what_the_broker_refuses_is_refused_by_name_and_the_producer_stays_usable,
    membership::offsets_and_their_facts_come_back_from_the_group,
    membership::offsets_of_no_member_or_an_old_one_are_not_committed,
    membership::undecided_offsets_are_retriable_until_settled,
    membership::tasks_are_handed_over_and_members_are_listed,
    membership::a_member_that_has_left_is_listed_no_more,
    membership::a_member_that_steps_aside_holds_nothing_until_it_comes_back,
    membership::a_duplicate_static_member_loses_its_tasks_for_good,
    membership::a_fenced_member_joins_anew_where_it_may,
    outside::topics_are_made_described_grown_and_deleted,
    outside::an_unknown_topic_is_refused_to_readers,
    outside::offsets_are_found_by_time,
    outside::offsets_of_an_empty_group_are_set_forgotten_and_deleted,
];

/// What a consumer does, with librdkafka as the reader.
mod librdkafka {
    use super::*;

    cases![
        false:
        data::committed_records_are_visible_and_aborted_ones_are_not,
        data::keys_values_and_timestamps_come_back_as_sent,
        data::the_end_stands_before_an_open_transaction,
        data::assigning_again_moves_the_position_and_old_records_are_gone,
        data::a_pause_stops_and_a_resume_goes_on_where_it_stopped,
        data::deleted_records_are_out_of_range,
        data::interleaved_transactions_show_what_was_committed,
        outside::an_unknown_topic_is_refused_to_readers,
    ];
}
