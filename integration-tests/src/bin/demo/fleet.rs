//! The workers of the demo: started, killed at random, started again, and watched for takeovers.
//!
//! Invariant: a kill is a SIGKILL to a process that ran; a worker that ends by itself is an error, not a kill.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use integration_tests::process::{Millstream, Worker};
use integration_tests::wait;
use serde_json::Value;

/// Threads of each worker.
const THREADS: usize = 2;
/// A kill comes this long after the one before, at random between the two.
const BETWEEN_KILLS_MS: (u64, u64) = (4_000, 8_000);
/// The shortest that brokers allow by default: a killed worker's tasks move after this long.
const SESSION_TIMEOUT: &str = "6s";
/// Short, so that a kill often meets an open transaction.
const COMMIT_INTERVAL: &str = "50ms";
/// A killed worker stays away so long.
const AWAY_MS: (u64, u64) = (500, 2_000);
/// A worker that ends in order takes no longer.
const STOP: Duration = Duration::from_secs(30);

/// SplitMix64: small, and good enough to choose victims.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.next() % (high - low + 1)
    }
}

struct Slot {
    command: Millstream,
    name: String,
    /// `None` while it lies dead.
    worker: Option<Worker>,
    back_at: Instant,
}

/// All workers.
pub struct Fleet {
    slots: Vec<Slot>,
    logs: PathBuf,
    dice: Dice,
    next_kill: Instant,
    /// Task → the process that was seen to run it.
    owners: BTreeMap<String, u32>,
    pub kills: usize,
    pub takeovers: Vec<u64>,
}

impl Fleet {
    /// Starts `count` workers, each with a state directory of its own below `home`.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start(
        brokers: &str,
        topology: &Path,
        count: usize,
        home: &Path,
        seed: u64,
    ) -> Result<Self> {
        let mut slots = Vec::new();
        for number in 1..=count {
            let name = format!("w{number}");
            let command = Millstream::worker(
                brokers,
                topology,
                &name,
                THREADS,
                &home.join(&name).join("state"),
            )
            .env("MILLSTREAM__GROUP__SESSION_TIMEOUT", SESSION_TIMEOUT)
            .env("MILLSTREAM__COMMIT__INTERVAL", COMMIT_INTERVAL);
            let worker = Some(command.start(&name, home)?);
            slots.push(Slot {
                command,
                name,
                worker,
                back_at: wait::now(),
            });
        }
        let mut fleet = Fleet {
            slots,
            logs: home.to_path_buf(),
            dice: Dice(seed),
            next_kill: wait::now(),
            owners: BTreeMap::new(),
            kills: 0,
            takeovers: Vec::new(),
        };
        fleet.plan_kill();
        Ok(fleet)
    }

    fn plan_kill(&mut self) {
        self.next_kill = wait::now() + Duration::from_millis(self.dice.between(BETWEEN_KILLS_MS));
    }

    /// Where each worker can be looked at.
    pub fn addresses(&self) -> Vec<String> {
        let running = self.slots.iter().filter_map(|slot| slot.worker.as_ref());
        running
            .map(|w| {
                format!(
                    "{} http://127.0.0.1:{}/status and /metrics",
                    w.name(),
                    w.http_port()
                )
            })
            .collect()
    }

    /// Does what is due: brings the dead back, kills when it is time (if `killing`), and reports what changed.
    ///
    /// # Errors
    /// A worker ended that nobody killed.
    pub fn step(&mut self, killing: bool) -> Result<Vec<String>> {
        let mut news = self.revive()?;
        if killing && wait::now() >= self.next_kill {
            news.extend(self.kill()?);
            self.plan_kill();
        }
        news.extend(self.look());
        Ok(news)
    }

    fn revive(&mut self) -> Result<Vec<String>> {
        let mut news = Vec::new();
        for slot in &mut self.slots {
            match &mut slot.worker {
                Some(worker) => {
                    let ended = worker.exited()?;
                    let log = self.logs.join(format!("{}.err", slot.name));
                    ensure!(
                        ended.is_none(),
                        "{} ended by itself ({ended:?}), see {}",
                        slot.name,
                        log.display()
                    );
                }
                None if wait::now() >= slot.back_at => {
                    let worker = slot.command.start(&slot.name, &self.logs)?;
                    news.push(format!(
                        "start   {} again, http://127.0.0.1:{}",
                        slot.name,
                        worker.http_port()
                    ));
                    slot.worker = Some(worker);
                }
                None => {}
            }
        }
        Ok(news)
    }

    fn kill(&mut self) -> Result<Option<String>> {
        let alive: Vec<usize> = (0..self.slots.len())
            .filter(|i| self.slots[*i].worker.is_some())
            .collect();
        // The last one standing is left alone: someone must go on.
        if alive.len() < 2 && self.slots.len() > 1 || alive.is_empty() {
            return Ok(None);
        }
        let chosen = alive[self.dice.next() as usize % alive.len()];
        let away = Duration::from_millis(self.dice.between(AWAY_MS));
        let slot = &mut self.slots[chosen];
        let Some(mut worker) = slot.worker.take() else {
            return Ok(None);
        };
        worker.kill9()?;
        slot.back_at = wait::now() + away;
        self.kills += 1;
        Ok(Some(format!(
            "kill -9 {} (pid {}), kill number {}",
            slot.name,
            worker.pid(),
            self.kills
        )))
    }

    /// Asks all workers what they run; a task that runs in another process than before was taken over.
    fn look(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for slot in &self.slots {
            // One that does not answer is starting, or frozen by its neighbours' load: the next look will tell.
            let Some((worker, status)) = slot
                .worker
                .as_ref()
                .and_then(|w| Some((w, w.status().ok()?)))
            else {
                continue;
            };
            for (task, duration) in running(&status) {
                let before = self.owners.insert(task.clone(), worker.pid());
                if before.is_none_or(|pid| pid == worker.pid()) {
                    continue;
                }
                self.takeovers.extend(duration);
                let took = duration.map_or(String::new(), |ms| format!(" in {ms} ms"));
                news.push(format!("takeover of {task} by {}{took}", slot.name));
            }
        }
        news
    }

    /// Ends all workers in order, the dead ones stay dead.
    ///
    /// # Errors
    /// One does not end with exit code 0 within 30 s.
    pub fn stop(&mut self) -> Result<()> {
        let mut workers: Vec<_> = self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.worker.take())
            .collect();
        for worker in &mut workers {
            worker.sigterm()?;
        }
        for worker in &mut workers {
            let status = worker.wait_exit(STOP).context("after SIGTERM")?;
            ensure!(
                status.success(),
                "{} ended with {status} after SIGTERM",
                worker.name()
            );
        }
        Ok(())
    }
}

/// Running tasks of a `/status` answer, with what their takeover took.
fn running(status: &Value) -> Vec<(String, Option<u64>)> {
    let tasks = status["tasks"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    tasks
        .iter()
        .filter(|task| task["phase"] == "running")
        .filter_map(|task| {
            Some((
                task["task"].as_str()?.to_string(),
                task["takeover_ms"].as_u64(),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_kills() {
        let draw = |seed| {
            let mut dice = Dice(seed);
            (0..20)
                .map(|_| dice.between(BETWEEN_KILLS_MS))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(
            draw(7)
                .iter()
                .all(|ms| (BETWEEN_KILLS_MS.0..=BETWEEN_KILLS_MS.1).contains(ms))
        );
    }

    #[test]
    fn only_running_tasks_count_as_taken_over() {
        let status = json!({ "tasks": [
            { "task": "clicks/0", "phase": "running", "takeover_ms": 123 },
            { "task": "clicks/1", "phase": "restoring" },
            { "task": "counts/0", "phase": "running" },
        ] });
        assert_eq!(
            running(&status),
            [("clicks/0".into(), Some(123)), ("counts/0".into(), None)]
        );
    }
}
