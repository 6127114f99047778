//! `millstream reset`: forget all state and positions of an application, and begin anew.
//!
//! Invariant: whole-application or not at all. The internal topics go first and the group last: a reset that was cut
//! short leaves positions whose state is gone, which a start refuses, and never state without its positions, which a
//! start would take up. Topics of sources, sinks and rejects are the user's and stay.

use super::load;
use super::options::{Cluster, Global};
use crate::broker::{Admin, CommittedOffset, GroupMember, LogRange, TopicInfo};
use crate::fetch::TopicPartition;
use crate::plan::graph::{Input, Plan, SubTopology};
use crate::plan::topics::{TopicKind, internal_topics};
use crate::protocol::facts::Facts;
use crate::state::directory::StateDirectory;
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Delete the state and the positions of an application, so that it begins anew
///
/// Deletes its internal topics, its consumer group's offsets and the local state below `state.dir` of this machine (that
/// of other machines is recognised as old and wiped by the worker). Topics of sources, sinks and rejects are left as they
/// are: a new run writes behind what stands there. Refused while a worker runs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  millstream reset topologies/click-count.yaml                  # shows what will be deleted, and asks
  millstream reset topologies/click-count.yaml --to latest --yes")]
pub struct ResetArgs {
    /// The topology file
    file: PathBuf,
    /// Where sources begin, whatever the file says; latest is the end as of this reset [default: `start` of each source]
    #[arg(long, value_enum, value_name = "WHERE")]
    to: Option<To>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    Earliest,
    Latest,
}

/// How often to look whether workers that are stopping have left: 5 seconds in all.
const LEAVING_LOOKS: u32 = 50;
/// How often and how long to look whether deleted topics are gone.
const LOOKS: u32 = 100;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a reset will do.
struct Doomed {
    topics: Vec<String>,
    /// Stores of tasks on this machine.
    stores: Option<PathBuf>,
}

pub fn reset(args: &ResetArgs, global: &Global) -> anyhow::Result<u8> {
    let settings = global.settings()?;
    let (_, plan) = load::topology(&args.file)?;
    let cluster = global.connect(&plan.app)?;
    refuse_members(&cluster)?;
    let root = settings.state.dir.join(&plan.app);
    // The directory's lock is held until the end: no worker of this machine can start meanwhile.
    let directory = if root.exists() {
        Some(StateDirectory::open(&settings.state.dir, &plan.app)?)
    } else {
        None
    };
    let stores = directory
        .as_ref()
        .map(StateDirectory::stores_path)
        .filter(|path| path.exists());
    let doomed = Doomed {
        topics: existing_topics(cluster.admin.as_ref(), &plan)?,
        stores,
    };
    super::print(&describe(&plan, &doomed, args.to))?;
    if !args.yes && !confirmed()? {
        super::say("nothing was deleted");
        return Ok(1);
    }
    // Asked before anything is deleted: a source topic that is missing changes nothing.
    let offsets = beginnings(cluster.admin.as_ref(), &plan, args.to)?;
    delete_topics(cluster.admin.as_ref(), &doomed.topics)?;
    refuse_members(&cluster)?;
    cluster.group.delete()?;
    if !offsets.is_empty() {
        cluster.group.set_offsets(&offsets)?;
    }
    if let Some(stores) = &doomed.stores {
        delete_directory(stores)?;
    }
    super::print(&format!(
        "application {} begins anew with its next run\n",
        plan.app
    ))?;
    Ok(0)
}

fn refuse_members(cluster: &Cluster) -> anyhow::Result<()> {
    let members = last_members(LEAVING_LOOKS, || {
        let members = cluster.group.members()?;
        if !members.is_empty() {
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(members)
    })?;
    if members.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = members
        .iter()
        .map(|member| member.client_id.as_str())
        .collect();
    bail!(
        "the application is running: stop these workers first: {}",
        names.join(", ")
    )
}

/// Who is in the group still after so many looks: workers that were just stopped may be on their way out.
fn last_members(
    looks: u32,
    mut look: impl FnMut() -> anyhow::Result<Vec<GroupMember>>,
) -> anyhow::Result<Vec<GroupMember>> {
    let mut members = look()?;
    for _ in 1..looks {
        if members.is_empty() {
            break;
        }
        members = look()?;
    }
    Ok(members)
}

/// The internal topics that exist; the rejects are results, and stay.
fn existing_topics(admin: &dyn Admin, plan: &Plan) -> anyhow::Result<Vec<String>> {
    let internal = internal_topics(plan, &BTreeMap::new());
    let names: Vec<String> = internal
        .into_iter()
        .filter(|topic| topic.kind != TopicKind::Rejects)
        .map(|topic| topic.name)
        .collect();
    Ok(admin
        .topics(&names)?
        .into_iter()
        .map(|topic| topic.name)
        .collect())
}

fn describe(plan: &Plan, doomed: &Doomed, to: Option<To>) -> String {
    let mut text = format!("This deletes, of application {}:\n", plan.app);
    for topic in &doomed.topics {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "  topic {topic}");
    }
    let _ = writeln!(text, "  the offsets of consumer group {}", plan.app);
    if let Some(stores) = &doomed.stores {
        let _ = writeln!(text, "  directory {}", stores.display());
    }
    text.push_str("Then sources begin ");
    text.push_str(match to {
        None => "where `start` in the file says.\n",
        Some(To::Earliest) => "at the first record of their topics.\n",
        Some(To::Latest) => "at the end that their topics have now.\n",
    });
    text
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!(load::Usage(
            "nobody can be asked here: say --yes".to_owned()
        ));
    }
    super::print("Type yes to go on: ")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn delete_topics(admin: &dyn Admin, topics: &[String]) -> anyhow::Result<()> {
    admin.delete_topics(topics)?;
    for _ in 0..LOOKS {
        if admin.topics(topics)?.is_empty() {
            return Ok(());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    bail!(
        "the topics are marked for deletion but still there; run the same command again in a while"
    )
}

fn delete_directory(path: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(path).with_context(|| format!("{} cannot be deleted", path.display()))
}

/// Offsets with facts from which source tasks go on, where the user names the place.
fn beginnings(
    admin: &dyn Admin,
    plan: &Plan,
    to: Option<To>,
) -> anyhow::Result<Vec<CommittedOffset>> {
    let mut offsets = vec![];
    let Some(to) = to else { return Ok(offsets) };
    for sub in &plan.sub_topologies {
        let Input::Source(source) = &sub.input else {
            continue;
        };
        let topic = &source.spec.topic.value;
        let found = admin.topics(std::slice::from_ref(topic))?;
        let info = found
            .first()
            .with_context(|| format!("topic {topic} does not exist"))?;
        let partitions: Vec<TopicPartition> = (0..info.partitions)
            .map(|partition| TopicPartition::new(topic.as_str(), partition))
            .collect();
        for (at, range) in partitions.iter().zip(admin.log_ranges(&partitions)?) {
            offsets.push(beginning(sub, at, range, info, to));
        }
    }
    Ok(offsets)
}

/// As a predecessor that has read nothing would have committed it: an offset without facts is refused by workers.
fn beginning(
    sub: &SubTopology,
    at: &TopicPartition,
    range: LogRange,
    info: &TopicInfo,
    to: To,
) -> CommittedOffset {
    let position = match to {
        To::Earliest => range.start,
        To::Latest => range.stable,
    };
    let facts = Facts {
        position,
        ..Facts::beginning(sub, info.id.clone(), info.partitions)
    };
    CommittedOffset {
        at: at.clone(),
        offset: position,
        metadata: facts.to_metadata(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_are_leaving_are_waited_for_and_others_are_not_for_ever() {
        let looked = |leaves_after: u32| {
            let mut looks = 0;
            let members = last_members(5, || {
                looks += 1;
                let gone = looks > leaves_after;
                Ok(if gone { vec![] } else { vec![member()] })
            });
            (looks, members.expect("members").len())
        };
        assert_eq!(looked(0), (1, 0));
        assert_eq!(looked(3), (4, 0));
        assert_eq!(looked(9), (5, 1));
    }

    fn member() -> GroupMember {
        GroupMember {
            member_id: "w1-7".into(),
            client_id: "w1".into(),
        }
    }
}
