//! The contract outside the data path: topics, offsets by time, setting and deleting a group's offsets.
//!
//! Invariant: as in `contract.rs`.

use super::*;

pub(super) fn topics_are_made_described_grown_and_deleted(cluster: &dyn Cluster) {
    let admin = cluster.admin();
    let name = make_topic(cluster, 2);
    let names = [name.clone(), unique("absent")];
    let topic = NewTopic {
        name: name.clone(),
        partitions: 9,
        replication: Some(1),
        config: vec![],
    };
    admin.create_topics(std::slice::from_ref(&topic)).unwrap();
    let first = admin.topics(&names).unwrap();
    assert_eq!(first.len(), 1, "only those that exist");
    assert_eq!(
        (&first[0].name, first[0].partitions),
        (&name, 2),
        "an existing topic stays as it is"
    );
    assert!(first[0].id.is_some());
    assert_eq!(
        admin.topic_config(&name).unwrap()["segment.bytes"],
        "1048576"
    );
    assert!(matches!(
        admin.topic_config(&names[1]),
        Err(Error::Refused { .. })
    ));
    admin.grow_topic(&name, 5).unwrap();
    admin.grow_topic(&name, 5).unwrap();
    eventually("grown", || admin.topics(&names).unwrap()[0].partitions == 5);
    admin.delete_topics(&names).unwrap();
    eventually("deleted", || admin.topics(&names).unwrap().is_empty());
    admin.create_topics(&[topic]).unwrap();
    eventually("made again", || admin.topics(&names).unwrap().len() == 1);
    assert_ne!(
        admin.topics(&names).unwrap()[0].id,
        first[0].id,
        "another topic of the same name"
    );
}

pub(super) fn an_unknown_topic_is_refused_to_readers(cluster: &dyn Cluster) {
    let mut reader = cluster
        .clients("contract")
        .consumer(&unique("reader"))
        .unwrap();
    let refused = reader.assign(&[(at(&unique("absent"), 0), 0)]);
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
}

pub(super) fn offsets_are_found_by_time(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 2);
    let start = SystemClock::new().wall_ms() - 60_000;
    let mut writer = producer(cluster, &unique("tx"));
    writer.begin().unwrap();
    for i in 0..5 {
        let row = Outgoing {
            timestamp: Some(start + i * 1000),
            ..record(&topic, 0, b"v")
        };
        writer.send(row).unwrap();
    }
    writer.flush(PATIENCE).unwrap();
    assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    let both = [at(&topic, 1), at(&topic, 0)];
    let find = |timestamp| cluster.admin().offsets_at(&both, timestamp).unwrap();
    assert_eq!(find(start - 1), [0, 0]);
    assert_eq!(find(start + 2000), [0, 2]);
    assert_eq!(find(start + 2001), [0, 3]);
    // After everything, the commit's marker included.
    eventually("the end", || find(start + 600_000) == [0, 6]);
}

pub(super) fn offsets_of_an_empty_group_are_set_forgotten_and_deleted(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 2);
    let group = cluster.group(&unique("group"));
    let offset = |partition, offset| CommittedOffset {
        at: at(&topic, partition),
        offset,
        metadata: "m".into(),
    };
    let both = [at(&topic, 0), at(&topic, 1)];
    group.set_offsets(&[offset(0, 3), offset(1, 4)]).unwrap();
    assert_eq!(
        group.committed(&both, PATIENCE).unwrap(),
        [Some(offset(0, 3)), Some(offset(1, 4))]
    );
    group.set_offsets(&[offset(0, -1), offset(1, 5)]).unwrap();
    assert_eq!(
        group.committed(&both, PATIENCE).unwrap(),
        [None, Some(offset(1, 5))]
    );
    group.delete().unwrap();
    group.delete().unwrap();
    assert_eq!(group.committed(&both, PATIENCE).unwrap(), [None, None]);
}
