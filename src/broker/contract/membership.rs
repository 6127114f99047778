//! The contract of the group: offsets with facts, fencing by generation, unstable offsets, rebalances.
//!
//! Invariant: as in `contract.rs`.

use super::*;
use std::sync::{Mutex, PoisonError};

/// Writes down what it is told.
#[derive(Default)]
struct Recorder {
    events: Mutex<Vec<(&'static str, Vec<i32>)>>,
    group: Mutex<GroupMetadata>,
    /// Whether a member that broke is to join anew.
    again: bool,
}

impl Recorder {
    fn note(&self, event: &'static str, tasks: &[TopicPartition]) {
        let mut partitions: Vec<_> = tasks.iter().map(|t| t.partition).collect();
        partitions.sort_unstable();
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((event, partitions));
    }

    fn partitions(&self, event: &str) -> Vec<i32> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events
            .iter()
            .filter(|(e, _)| *e == event)
            .flat_map(|(_, p)| p.clone())
            .collect()
    }

    fn heard(&self, event: &str) -> bool {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|(e, _)| *e == event)
    }
}

impl RebalanceListener for Recorder {
    fn assigned(&self, tasks: &[TopicPartition], group: &GroupMetadata) {
        *self.group.lock().unwrap() = group.clone();
        self.note("assigned", tasks);
    }

    fn revoked(&self, tasks: &[TopicPartition]) {
        self.note("revoked", tasks);
    }

    fn lost(&self, tasks: &[TopicPartition]) {
        self.note("lost", tasks);
    }

    fn broken(&self, _message: &str) -> bool {
        self.note("broken", &[]);
        self.again
    }

    fn failed(&self, _message: &str, fatal: bool) {
        self.note(if fatal { "fatal" } else { "failed" }, &[]);
    }
}

/// A member that owns every task of `topic`.
fn join_alone(
    cluster: &dyn Cluster,
    group: &str,
    topic: &str,
    tasks: usize,
) -> (Arc<dyn Joined>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let member = cluster.join(group, &unique("worker"), None, topic, recorder.clone());
    eventually("all tasks are assigned", || {
        recorder.partitions("assigned").len() == tasks
    });
    (member, recorder)
}

fn committed(at: &TopicPartition, offset: i64, metadata: &str) -> CommittedOffset {
    CommittedOffset {
        at: at.clone(),
        offset,
        metadata: metadata.to_string(),
    }
}

pub(super) fn offsets_and_their_facts_come_back_from_the_group(cluster: &dyn Cluster) {
    let (group, topic) = (unique("group"), make_topic(cluster, 3));
    let (member, _) = join_alone(cluster, &group, &topic, 3);
    let reader = cluster.group(&group);
    let all = [at(&topic, 2), at(&topic, 0), at(&topic, 1)];
    assert_eq!(
        reader.committed(&all, PATIENCE).unwrap(),
        [None, None, None]
    );
    let mut writer = producer(cluster, &unique("tx"));
    let facts = "facts é ".repeat(100);
    let offsets = [committed(&all[0], 42, &facts), committed(&all[1], 0, "")];
    writer.begin().unwrap();
    writer
        .send_offsets(&offsets, &member.metadata().unwrap(), PATIENCE)
        .unwrap();
    assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    let found = reader.committed(&all, PATIENCE).unwrap();
    assert_eq!(
        found,
        [Some(offsets[0].clone()), Some(offsets[1].clone()), None]
    );
    // An abort leaves them.
    writer.begin().unwrap();
    writer
        .send_offsets(
            &[committed(&all[0], 43, "")],
            &member.metadata().unwrap(),
            PATIENCE,
        )
        .unwrap();
    writer.abort(PATIENCE).unwrap();
    assert_eq!(
        reader.committed(&all[..1], PATIENCE).unwrap(),
        [Some(offsets[0].clone())]
    );
    member.leave();
}

pub(super) fn offsets_of_no_member_or_an_old_one_are_not_committed(cluster: &dyn Cluster) {
    let (group, topic) = (unique("group"), make_topic(cluster, 1));
    let (member, _) = join_alone(cluster, &group, &topic, 1);
    let present = member.metadata().unwrap();
    let offsets = [committed(&at(&topic, 0), 1, "")];
    let mut writer = producer(cluster, &unique("tx"));
    let nobody = GroupMetadata {
        member_id: String::new(),
        generation: -1,
        ..present.clone()
    };
    writer.begin().unwrap();
    let refused = writer.send_offsets(&offsets, &nobody, PATIENCE);
    assert!(matches!(refused, Err(Error::Fatal { .. })), "{refused:?}");
    assert!(
        writer.send_offsets(&[], &present, PATIENCE).is_err(),
        "no offsets fence nothing"
    );
    for stale in [
        GroupMetadata {
            generation: present.generation - 1,
            ..present.clone()
        },
        GroupMetadata {
            member_id: "somebody else".into(),
            ..present.clone()
        },
    ] {
        let stale_commit = writer.send_offsets(&offsets, &stale, PATIENCE);
        assert!(
            matches!(stale_commit, Err(Error::Abortable { .. })),
            "{stale_commit:?}"
        );
        writer.abort(PATIENCE).unwrap();
        writer.begin().unwrap();
    }
    writer.send_offsets(&offsets, &present, PATIENCE).unwrap();
    assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    member.leave();
    assert!(
        member.metadata().is_err(),
        "after leaving there is nobody to be"
    );
}

pub(super) fn undecided_offsets_are_retriable_until_settled(cluster: &dyn Cluster) {
    let (group, topic) = (unique("group"), make_topic(cluster, 2));
    let (member, _) = join_alone(cluster, &group, &topic, 2);
    let reader = cluster.group(&group);
    let here = [at(&topic, 0)];
    let id = unique("tx");
    let mut writer = producer(cluster, &id);
    let first = committed(&here[0], 5, "first");
    writer.begin().unwrap();
    writer
        .send_offsets(
            std::slice::from_ref(&first),
            &member.metadata().unwrap(),
            PATIENCE,
        )
        .unwrap();
    assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    assert_eq!(
        reader.committed(&here, PATIENCE).unwrap(),
        [Some(first.clone())]
    );
    writer.begin().unwrap();
    writer.send(record(&topic, 0, b"undecided")).unwrap();
    writer.flush(PATIENCE).unwrap();
    writer
        .send_offsets(
            &[committed(&here[0], 9, "second")],
            &member.metadata().unwrap(),
            PATIENCE,
        )
        .unwrap();
    let undecided = reader.committed(&here, Duration::from_millis(400));
    assert!(
        matches!(undecided, Err(Error::Retriable { .. })),
        "{undecided:?}"
    );
    assert_eq!(
        reader.committed_unstable(&here, PATIENCE).unwrap(),
        [Some(first.clone())]
    );
    let both = [at(&topic, 1), at(&topic, 0)];
    assert_eq!(
        reader.standing(&both).unwrap(),
        [Standing::Stable(None), Standing::Undecided],
        "one undecided partition holds up no other"
    );
    reader.settle(&id).unwrap();
    assert_eq!(
        reader.committed(&here, PATIENCE).unwrap(),
        [Some(first.clone())]
    );
    assert_eq!(
        reader.standing(&here).unwrap(),
        [Standing::Stable(Some(first))]
    );
    let zombie = writer.commit(PATIENCE);
    assert!(!matches!(zombie, Ok(Outcome::Committed)), "{zombie:?}");
    member.leave();
}

pub(super) fn tasks_are_handed_over_and_members_are_listed(cluster: &dyn Cluster) {
    let (group, topic) = (unique("group"), make_topic(cluster, 4));
    let reader = cluster.group(&group);
    assert_eq!(reader.members().unwrap(), []);
    let (first, heard_first) = join_alone(cluster, &group, &topic, 4);
    let before = first.metadata().unwrap();
    assert_eq!(*heard_first.group.lock().unwrap(), before);
    assert!(!before.member_id.is_empty() && before.generation >= 0);
    let heard_second = Arc::new(Recorder::default());
    let worker = unique("worker");
    let second = cluster.join(&group, &worker, None, &topic, heard_second.clone());
    eventually("two tasks move", || {
        heard_first.partitions("revoked").len() == 2
            && heard_second.partitions("assigned").len() == 2
    });
    let mut moved = heard_first.partitions("revoked");
    moved.sort_unstable();
    assert_eq!(heard_second.partitions("assigned"), moved);
    assert!(first.metadata().unwrap().generation > before.generation);
    let members = reader.members().unwrap();
    assert_eq!(members.len(), 2);
    let listed = members.iter().find(|m| m.client_id == worker).unwrap();
    assert_eq!(listed.member_id, second.metadata().unwrap().member_id);
    second.leave();
    assert_eq!(heard_second.partitions("revoked"), moved);
    eventually("the tasks come back", || {
        heard_first.partitions("assigned").len() == 6
    });
    assert!(!heard_first.heard("lost") && !heard_first.heard("fatal"));
    first.leave();
    assert_eq!(reader.members().unwrap(), []);
}

pub(super) fn a_duplicate_static_member_loses_its_tasks_for_good(cluster: &dyn Cluster) {
    let (group, topic, instance) = (unique("group"), make_topic(cluster, 2), unique("instance"));
    let heard = Arc::new(Recorder::default());
    let first = cluster.join(&group, "first", Some(&instance), &topic, heard.clone());
    eventually("assigned", || heard.partitions("assigned").len() == 2);
    assert_eq!(
        first.metadata().unwrap().instance_id,
        Some(instance.clone())
    );
    let heard_second = Arc::new(Recorder::default());
    let second = cluster.join(
        &group,
        "second",
        Some(&instance),
        &topic,
        heard_second.clone(),
    );
    eventually("the duplicate has the tasks", || {
        heard_second.partitions("assigned").len() == 2
    });
    eventually("the first is told that it lost them", || {
        heard.partitions("lost") == [0, 1]
    });
    eventually("for good", || heard.heard("fatal"));
    assert!(!heard.heard("revoked"), "revoked would invite a commit");
    first.leave();
    second.leave();
}

pub(super) fn a_fenced_member_joins_anew_where_it_may(cluster: &dyn Cluster) {
    let (group, topic, instance) = (unique("group"), make_topic(cluster, 2), unique("instance"));
    let heard = Arc::new(Recorder {
        again: true,
        ..Recorder::default()
    });
    let first = cluster.join(&group, "first", Some(&instance), &topic, heard.clone());
    eventually("assigned", || heard.partitions("assigned").len() == 2);
    let before = first.metadata().unwrap();
    let heard_second = Arc::new(Recorder::default());
    let second = cluster.join(
        &group,
        "second",
        Some(&instance),
        &topic,
        heard_second.clone(),
    );
    eventually("the first has taken its tasks back", || {
        heard.partitions("assigned").len() == 4
    });
    assert!(heard.heard("broken") && !heard.heard("fatal"));
    assert_eq!(heard.partitions("lost"), [0, 1]);
    let after = first.metadata().unwrap();
    assert_ne!(after.member_id, before.member_id);
    assert!(!after.member_id.is_empty() && after.generation >= 0);
    eventually("the second is fenced by that", || {
        heard_second.heard("fatal")
    });
    first.leave();
    second.leave();
}

/// At once: who asks after the end of a process must not find it.
pub(super) fn a_member_that_has_left_is_listed_no_more(cluster: &dyn Cluster) {
    let (group, topic) = (unique("group"), make_topic(cluster, 2));
    let reader = cluster.group(&group);
    for _ in 0..10 {
        let (member, _) = join_alone(cluster, &group, &topic, 2);
        assert_eq!(reader.members().unwrap().len(), 1);
        member.leave();
        assert_eq!(reader.members().unwrap(), []);
    }
}

pub(super) fn a_member_that_steps_aside_holds_nothing_until_it_comes_back(cluster: &dyn Cluster) {
    let (group, topic) = (unique("group"), make_topic(cluster, 2));
    let (member, recorder) = join_alone(cluster, &group, &topic, 2);
    let before = member.metadata().unwrap();
    member.step_aside();
    eventually("the member has left", || {
        cluster.group(&group).members().unwrap().is_empty()
    });
    assert_eq!(recorder.partitions("revoked"), [0, 1]);
    eventually("nobody commits with its metadata", || {
        member.metadata().unwrap().member_id.is_empty()
    });
    member.come_back();
    eventually("the tasks are assigned again", || {
        recorder.partitions("assigned").len() == 4
    });
    assert_ne!(member.metadata().unwrap().member_id, before.member_id);
    assert!(!recorder.heard("lost") && !recorder.heard("fatal"));
    member.leave();
}
