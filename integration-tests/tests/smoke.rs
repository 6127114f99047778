//! The fixtures themselves: a broker starts, keeps data over a crash, and shows what was written, committed or not.

use std::time::Duration;

use anyhow::Result;
use integration_tests::aborts::{Aborted, Watch};
use integration_tests::kafka::{self, Kafka};
use integration_tests::topics::{self, Isolation, Record};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(20);

fn clicks(count: i64) -> Vec<Record> {
    (0..count)
        .map(|i| {
            Record::json(
                (i % 2) as i32,
                1_700_000_000_000 + i,
                &json!({ "page": "home", "n": i }),
            )
        })
        .collect()
}

#[test]
fn what_is_produced_is_read_back_with_partition_timestamp_and_value() -> Result<()> {
    let (brokers, topic) = (kafka::shared().bootstrap(), topics::unique("smoke"));
    topics::create(brokers, &topic, 3, &[])?;
    let written = clicks(10);
    topics::produce(brokers, &topic, &written)?;
    let read = topics::read(brokers, &topic, Isolation::Committed)?;
    assert_eq!(read.len(), 10);
    for record in &read {
        let n = record.document()?["n"]
            .as_i64()
            .expect("the number we wrote");
        let original = &written[n as usize];
        assert_eq!(
            (record.partition, record.timestamp_ms),
            (original.partition, original.timestamp_ms)
        );
        assert_eq!(record.offset, n / 2);
    }
    Ok(())
}

#[test]
fn an_aborted_transaction_shows_only_to_the_uncommitted_reader() -> Result<()> {
    let (brokers, topic) = (kafka::shared().bootstrap(), topics::unique("aborted"));
    topics::create(brokers, &topic, 2, &[])?;
    let watch = Watch::start(brokers, &[&topic, "never-created"]);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", &topic)
        .create()?;
    producer.init_transactions(TIMEOUT)?;
    for (round, commit) in [true, false, true, false].into_iter().enumerate() {
        producer.begin_transaction()?;
        for partition in 0..2 {
            let value = format!("{{\"round\":{round}}}");
            let record = BaseRecord::<str, str>::to(&topic)
                .partition(partition)
                .payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        producer.flush(TIMEOUT)?;
        if commit {
            producer.commit_transaction(TIMEOUT)?
        } else {
            producer.abort_transaction(TIMEOUT)?
        }
    }
    let committed = topics::read(brokers, &topic, Isolation::Committed)?;
    let rounds: Vec<_> = committed
        .iter()
        .map(|r| r.document().map(|d| d["round"].as_i64()))
        .collect::<Result<_>>()?;
    assert_eq!(rounds, [Some(0), Some(2), Some(0), Some(2)]);
    assert_eq!(
        topics::read(brokers, &topic, Isolation::Uncommitted)?.len(),
        8
    );
    assert_eq!(topics::aborted_records(brokers, &topic)?, 4);
    assert_eq!(
        watch.finish()?,
        Aborted {
            transactions: 2,
            records: 4
        }
    );
    Ok(())
}

#[test]
fn a_killed_broker_comes_back_with_its_data_at_the_same_address() -> Result<()> {
    let kafka = Kafka::local(&[])?;
    topics::create(kafka.bootstrap(), "kept", 2, &[])?;
    topics::produce(kafka.bootstrap(), "kept", &clicks(6))?;
    kafka.kill9()?;
    kafka.restart()?;
    assert_eq!(
        topics::read(kafka.bootstrap(), "kept", Isolation::Committed)?.len(),
        6
    );
    Ok(())
}
