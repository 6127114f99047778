//! A worker process: the member, the worker threads, the takeover and the janitor, started and stopped together.
//!
//! Invariant: worker threads hold no task before the member has assigned it and none after `stop` has returned. A thread
//! that panics stops the process: others take its tasks over from what is committed.

use super::aside::{Aside, Step};
use super::board::Board;
use super::budget::Shares;
use super::holders::Holders;
use super::janitor;
use super::observer;
use super::patience::patiently;
use super::pressure;
use super::progress::Progress;
use super::rebalance::{MEMBERSHIP, Rebalancer};
use super::runs;
use super::scout;
use super::shared::{Cluster, Fences, Shared, Tuning};
use super::startup::{self, StartError};
use super::telemetry;
use super::worker::{Command, Ended, Lines, Worker};
use crate::broker::kafka::{KafkaClients, KafkaConfig, Member};
use crate::broker::{Admin, Group};
use crate::clock::SystemClock;
use crate::metrics::Metrics;
use crate::plan::graph::Plan;
use crate::protocol::bounded;
use crate::protocol::ownership::Ownership;
use crate::protocol::takeover::BOUNDED_MARK;
use crate::settings::{FetchKind, Settings, StoreKind};
use crate::state::Stores;
use crate::state::directory::StateDirectory;
use crate::state::memory::MemoryStores;
use crate::state::rocksdb::{RocksStores, StoreBudget};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a process is to run, beside its settings.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// The topology file, for messages.
    pub file: String,
    pub until_end: bool,
}

/// Between two looks whether a bounded run is over.
const ASK_FINISHED: Duration = Duration::from_secs(1);
/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(45);

/// A running process.
pub struct Process {
    pub shared: Arc<Shared>,
    member: Arc<Member>,
    threads: Vec<(Sender<Command>, JoinHandle<()>)>,
    ended: Arc<Mutex<Vec<Ended>>>,
    stopping: Arc<AtomicBool>,
    left: AtomicBool,
    aside: Mutex<Aside>,
    asked: Mutex<Duration>,
    /// Dropping them stops the observer and the watch over the memory.
    _watched: [Sender<()>; 2],
    _directory: StateDirectory,
}

impl Process {
    /// Starts everything; returns when the member has begun to join.
    ///
    /// # Errors
    /// What a user can mend: Kafka is not there, topics are missing or have the wrong shape, the state directory is used.
    pub fn start(
        plan: Plan,
        settings: &Settings,
        options: &RunOptions,
    ) -> Result<Process, StartError> {
        let directory = StateDirectory::open(&settings.state.dir, &plan.app)?;
        let worker_id = directory.worker_id(settings.worker.id.as_deref())?;
        let metrics = Arc::new(Metrics::new());
        let budget = settings.memory.budget as i64;
        metrics.state.memory_budget.with([]).set(budget);
        let mut config = kafka_config(&plan.app, &worker_id, settings, options.until_end);
        config.statistics = telemetry::of_clients(metrics.clone());
        let clients = Arc::new(KafkaClients::new(config));
        let admin = clients.admin()?;
        let group: Arc<dyn Group> = clients.group(admin.clone())?;
        let cluster = Cluster::default();
        let topics = &settings.topics;
        let (replication, min_insync) = (topics.replication, topics.min_insync_replicas);
        patiently(startup::TRIES, || {
            startup::prepare(
                admin.as_ref(),
                &plan,
                &options.file,
                replication,
                min_insync,
                &cluster,
            )
        })?;
        runs::refuse_mixed(group.as_ref(), options.until_end)?;
        runs::refuse_forgotten(&plan, &cluster, admin.as_ref(), group.as_ref())?;
        let run = match options.until_end {
            true => Some(runs::to_join(&plan, &cluster, group.as_ref())?),
            false => None,
        };
        let tuning = tuning(&plan.app, &worker_id, settings, run);
        tracing::info!(
            app = plan.app,
            worker_id,
            threads = tuning.threads,
            state = %directory.stores_path().display(),
            "starting"
        );
        let stores = open_stores(&directory, settings)?;
        let shared = Arc::new(Shared {
            plan,
            tuning,
            clients: clients.clone(),
            admin: admin as Arc<dyn Admin>,
            group,
            stores,
            clock: Arc::new(SystemClock::new()),
            ownership: Ownership::default(),
            holders: Holders::default(),
            cluster,
            board: Board::default(),
            metrics,
            fences: Fences::default(),
            progress: Progress::default(),
            membership: OnceLock::new(),
        });
        Self::start_threads(shared, &clients, directory)
    }

    fn start_threads(
        shared: Arc<Shared>,
        clients: &KafkaClients,
        directory: StateDirectory,
    ) -> Result<Process, StartError> {
        let stopping = Arc::new(AtomicBool::new(false));
        let ended: Arc<Mutex<Vec<Ended>>> = Arc::default();
        let (questions, asked) = channel();
        let (deletions, ordered) = channel();
        spawn("takeover", {
            let shared = shared.clone();
            move || scout::run(&shared, &asked)
        })?;
        spawn("janitor", {
            let shared = shared.clone();
            move || janitor::run(&shared, &ordered)
        })?;
        let watched = spawn_watches(&shared)?;
        let mut threads = Vec::new();
        for index in 0..shared.tuning.threads {
            let (commands, orders) = channel();
            let lines = Lines {
                commands: orders,
                questions: questions.clone(),
                deletions: deletions.clone(),
            };
            let seed = rand::random();
            let (shared, ended) = (shared.clone(), ended.clone());
            let handle = spawn(&format!("worker-{index}"), move || {
                let end = run_worker(index, &shared, lines, seed);
                shared.progress.ended(index);
                ended
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(end);
            })?;
            threads.push((commands, handle));
        }
        let rebalancer = Rebalancer::new(
            shared.clone(),
            threads
                .iter()
                .map(|(commands, _)| commands.clone())
                .collect(),
        );
        let tasks: Vec<String> = shared
            .plan
            .sub_topologies
            .iter()
            .map(|s| shared.plan.tasks_topic(&s.name))
            .collect();
        let member = clients.member(&tasks, Arc::new(rebalancer))?;
        // Set once, here: a second value cannot come.
        let _ = shared.membership.set(member.clone());
        let left = AtomicBool::new(false);
        Ok(Process {
            shared,
            member,
            threads,
            ended,
            stopping,
            left,
            aside: Mutex::default(),
            asked: Mutex::default(),
            _watched: watched,
            _directory: directory,
        })
    }

    /// Looks after the threads; returns the cause for which the process has to stop by itself.
    pub fn check(&self) -> Option<String> {
        self.leave_if_refused();
        self.watch_commits();
        self.watch_turns();
        if let Some(cause) = self.shared.board.failure() {
            return Some(cause);
        }
        if self.shared.tuning.run.is_some()
            && let Some(task) = self
                .shared
                .board
                .tasks()
                .into_iter()
                .find(|t| t.phase == "parked")
        {
            let cause = task.cause.unwrap_or_default();
            return Some(format!(
                "the run cannot end: task {} is parked: {cause}",
                task.task
            ));
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().find_map(|end| match end {
            Ended::Fatal(cause) => Some(cause.clone()),
            Ended::Stopped if self.stopping.load(Ordering::Relaxed) => None,
            Ended::Stopped => Some("a worker thread has stopped".into()),
        })
    }

    /// Leaves the group for a while where a commit has outlived its deadline, so that others get the tasks.
    fn watch_commits(&self) {
        let Shared {
            progress, board, ..
        } = self.shared.as_ref();
        let limit = self.shared.tuning.commit_deadline;
        let now = self.shared.clock.elapsed();
        let (overdue, let_go) = (progress.overdue(now, limit), progress.take_let_go());
        let mut aside = self.aside.lock().unwrap_or_else(PoisonError::into_inner);
        let step = aside.look(now, &overdue, &let_go);
        for thread in 0..self.shared.tuning.threads {
            let late = aside.threads().contains(&thread);
            let reason = late.then(|| {
                format!("its commit lasts longer than {limit:?}; the tasks are left to others")
            });
            board.trouble(&format!("commit of thread {thread}"), reason);
        }
        match step {
            Some(Step::Leave) => {
                let threads = aside.threads();
                tracing::warn!(
                    ?threads,
                    "a commit has outlived its deadline: leaving the group for a while, so that others run the tasks"
                );
                self.member.step_aside();
            }
            Some(Step::Return) => {
                tracing::info!("joining the group again");
                board.trouble(MEMBERSHIP, Some("joining again".into()));
                self.member.come_back();
            }
            None => {}
        }
    }

    /// Names threads that stand still: their tasks do, too, and nothing else would say so.
    fn watch_turns(&self) {
        let shared = &self.shared;
        let limit = shared.tuning.longest_turn();
        let standing = shared.progress.standing(shared.clock.elapsed(), limit);
        for thread in 0..shared.tuning.threads {
            let reason = standing
                .get(&thread)
                .map(|stood| format!("it has not moved for {} s", stood.as_secs()));
            shared
                .board
                .trouble(&format!("worker thread {thread}"), reason);
        }
    }

    /// Leaves the group where this process cannot run what it was given; it stays up, not ready, and says why.
    fn leave_if_refused(&self) {
        let Some(cause) = self.shared.board.leaving() else {
            return;
        };
        if !self.left.swap(true, Ordering::Relaxed) {
            tracing::error!(
                cause,
                "leaving the group, so that another process can take the task"
            );
            if let Err(error) = self.member.stop(LEAVE) {
                tracing::warn!(%error, "the group was not left properly");
            }
        }
    }

    /// `--until-end`: every task of the application has finished the run. Asks Kafka at most once a second.
    pub fn finished(&self) -> bool {
        let Some(run) = self.shared.tuning.run else {
            return false;
        };
        let now = self.shared.clock.elapsed();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(*asked) < ASK_FINISHED {
            return false;
        }
        *asked = now;
        // Offsets that are not stable now will be at the next look.
        runs::facts_of_all(
            &self.shared.plan,
            &self.shared.cluster,
            self.shared.group.as_ref(),
        )
        .is_ok_and(|facts| bounded::all_finished(run, facts.iter().map(Option::as_ref)))
    }

    /// Commits, closes the tasks, leaves the group.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        if !self.left.load(Ordering::Relaxed)
            && let Err(error) = self.member.stop(LEAVE)
        {
            tracing::warn!(%error, "the group was not left properly; its members notice after the session timeout");
        }
        for (commands, _) in &self.threads {
            // A thread that has ended needs no order.
            let _ = commands.send(Command::Stop);
        }
        for (_, handle) in self.threads {
            if handle.join().is_err() {
                tracing::error!("a worker thread panicked while stopping");
            }
        }
    }
}

/// Starts what looks at the cluster and at the memory, until the senders are dropped.
fn spawn_watches(shared: &Arc<Shared>) -> Result<[Sender<()>; 2], StartError> {
    let (observing, stopped) = channel();
    spawn("observer", {
        let shared = shared.clone();
        move || observer::run(&shared, &stopped)
    })?;
    let (watching, unwatched) = channel();
    let budget = shared.tuning.memory_budget;
    spawn("memory", move || pressure::run(budget, &unwatched))?;
    Ok([observing, watching])
}

/// Makes the worker on its own thread and steps it until it ends; a panic is an end, too.
fn run_worker(index: usize, shared: &Arc<Shared>, lines: Lines, seed: u64) -> Ended {
    if shared.tuning.pin_threads {
        pin(index);
    }
    let steps = std::panic::AssertUnwindSafe(|| {
        let mut worker = match Worker::new(index, shared.clone(), lines, seed) {
            Ok(worker) => worker,
            Err(error) => {
                return Ended::Fatal(format!("worker thread {index} cannot start: {error}"));
            }
        };
        loop {
            if let Some(end) = worker.turn() {
                return end;
            }
        }
    });
    std::panic::catch_unwind(steps).unwrap_or_else(|_| {
        Ended::Fatal(format!(
            "worker thread {index} panicked; its tasks are taken over from what is committed"
        ))
    })
}

/// Binds this thread to a core of its own. Clients that it makes afterwards start their threads there, too.
fn pin(index: usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: a zeroed cpu_set_t is the empty set, and the call reads it only.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(index % cores, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &set) == 0
    };
    if !done {
        tracing::warn!(thread = index, "cannot be bound to a core; it runs on any");
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    let builder = std::thread::Builder::new().name(name.to_string());
    builder
        .spawn(run)
        .map_err(|e| StartError::Other(format!("cannot start the thread {name}: {e}")))
}

fn open_stores(
    directory: &StateDirectory,
    settings: &Settings,
) -> Result<Box<dyn Stores>, StartError> {
    Ok(match settings.state.store {
        StoreKind::Memory => Box::new(MemoryStores::new()),
        StoreKind::RocksDb => {
            let shares = shares(settings);
            let budget = StoreBudget {
                block_cache_bytes: shares.block_cache,
                write_buffer_bytes: shares.write_buffers,
            };
            Box::new(RocksStores::open(&directory.stores_path(), budget)?)
        }
    })
}

fn shares(settings: &Settings) -> Shares {
    Shares::of(settings.memory.budget, settings.worker.threads)
}

fn tuning(app: &str, worker_id: &str, settings: &Settings, run: Option<u32>) -> Tuning {
    let shares = shares(settings);
    Tuning {
        app: app.to_string(),
        worker_id: worker_id.to_string(),
        threads: settings.worker.threads,
        commit_interval: settings.commit.interval,
        commit_max_bytes: shares.to_send.min(settings.commit.max_bytes as usize),
        commit_deadline: settings.commit.deadline,
        transaction_timeout: settings.commit.transaction_timeout,
        release_deadline: settings.group.release_deadline,
        save_interval: settings.state.save_interval,
        changelog_keep: settings.changelog.keep,
        refresh_min_log: settings.changelog.refresh_min_log,
        memory_budget: settings.memory.budget,
        hot_bytes: shares.hot,
        pending_bytes: shares.pending,
        run,
        pin_threads: settings.worker.pin_threads,
    }
}

fn kafka_config(app: &str, worker_id: &str, settings: &Settings, until_end: bool) -> KafkaConfig {
    let shares = shares(settings);
    let member = if until_end {
        format!("{worker_id}{BOUNDED_MARK}")
    } else {
        worker_id.to_string()
    };
    let mut config = KafkaConfig::new(&settings.kafka.bootstrap_servers, app, member);
    config.properties = settings.kafka.properties.clone();
    config.session_timeout_ms = settings.group.session_timeout.as_millis() as u32;
    config.heartbeat_ms = settings.group.heartbeat_interval.as_millis() as u32;
    config.transaction_timeout_ms = settings.commit.transaction_timeout.as_millis() as u32;
    config.static_instance = settings
        .worker
        .static_membership
        .then(|| worker_id.to_string());
    config.fetch_queue_bytes = shares.fetched;
    config.produce_queue_bytes = shares.to_send;
    config.native = settings.kafka.fetch == FetchKind::Native;
    config
}
