//! The real `millstream` binary as a child process that can be killed, frozen and asked.
//!
//! Invariant: no child outlives its owner: dropping kills it, and on Linux the kernel kills it when the *thread* that started it ends,
//! so start workers from the thread that keeps them. Output goes to files; an error about a child names them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use std::{env, io};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{http, wait};

/// A worker that ends in order takes no longer.
const STOP: Duration = Duration::from_secs(60);

/// The binary under test: `MILLSTREAM_BIN`, else `millstream` beside or above this executable.
///
/// # Errors
/// It is at none of these places: it was not built.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("MILLSTREAM_BIN") {
        return Ok(path.into());
    }
    let here = env::current_exe()?;
    // A test executable lies in target/release/deps, the demo in target/release.
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join("millstream"))
        .find(|path| path.is_file())
        .context("no millstream binary: run `make build`, or set MILLSTREAM_BIN")
}

/// What a `millstream` command is run with; settings travel in the environment.
#[derive(Clone)]
pub struct Millstream {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    small_files: bool,
}

impl Millstream {
    /// A command with its arguments, for these brokers.
    pub fn new<'a>(brokers: &str, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let arguments = arguments.into_iter().map(String::from).collect();
        Millstream {
            arguments,
            environment: Vec::new(),
            small_files: false,
        }
        .env("MILLSTREAM__KAFKA__BOOTSTRAP_SERVERS", brokers)
    }

    /// `millstream run` as a worker with its own id, state directory and port.
    pub fn worker(brokers: &str, topology: &Path, id: &str, threads: usize, state: &Path) -> Self {
        Self::new(brokers, ["run", &topology.to_string_lossy()])
            .env("MILLSTREAM__WORKER__ID", id)
            .env("MILLSTREAM__WORKER__THREADS", &threads.to_string())
            .env("MILLSTREAM__STATE__DIR", &state.to_string_lossy())
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.into(), value.into()));
        self
    }

    pub fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.into());
        self
    }

    /// Writing beyond a file size limit is an error, not the end of the process.
    pub fn small_files(mut self) -> Self {
        self.small_files = true;
        self
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(&self.arguments).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        if self.small_files {
            ignore_file_limit_signal(&mut command);
        }
        Ok(command)
    }

    /// Runs to the end and returns standard output; standard error is shown as it comes.
    ///
    /// # Errors
    /// The binary cannot be run. An exit code other than 0 is in the result, not an error.
    pub fn output(&self) -> Result<(ExitStatus, String)> {
        let output = self.command()?.stderr(Stdio::inherit()).output()?;
        Ok((
            output.status,
            String::from_utf8_lossy(&output.stdout).into_owned(),
        ))
    }

    /// Runs to the end, which must be exit code 0.
    ///
    /// # Errors
    /// Any other exit code; what the command printed is in the message.
    pub fn succeed(&self) -> Result<String> {
        let (status, output) = self.output()?;
        ensure!(
            status.success(),
            "millstream {}: {status}\n{output}",
            self.arguments.join(" ")
        );
        Ok(output)
    }

    /// Starts it in the background; its output goes to `<name>.out` and `<name>.err` in `logs`, after what stands there.
    ///
    /// # Errors
    /// The binary or the files cannot be opened.
    pub fn start(&self, name: &str, logs: &Path) -> Result<Worker> {
        let open = |ending: &str| -> io::Result<File> {
            File::options()
                .create(true)
                .append(true)
                .open(logs.join(format!("{name}.{ending}")))
        };
        let http_port = free_port()?;
        let mut command = self.command()?;
        command
            .env("MILLSTREAM__HTTP__BIND", format!("127.0.0.1:{http_port}"))
            .stdout(open("out")?)
            .stderr(open("err")?);
        die_with_parent(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Worker {
            name: name.to_string(),
            child,
            http_port,
            stderr: logs.join(format!("{name}.err")),
        })
    }
}

/// A running `millstream` process.
pub struct Worker {
    name: String,
    child: Child,
    http_port: u16,
    stderr: PathBuf,
}

impl Worker {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where `/metrics`, `/ready` and `/status` are.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Everything it has written to standard error so far, over all its lives.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.stderr)?)
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// It had ended by itself before.
    pub fn kill9(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "{} had ended by itself ({status}), see {}",
                self.name,
                self.stderr.display()
            );
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end in order.
    ///
    /// # Errors
    /// It had ended before.
    pub fn sigterm(&mut self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Freezes the process.
    ///
    /// # Errors
    /// It had ended before.
    pub fn sigstop(&mut self) -> Result<()> {
        self.signal(libc::SIGSTOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// It had ended before.
    pub fn sigcont(&mut self) -> Result<()> {
        self.signal(libc::SIGCONT)
    }

    fn signal(&mut self, signal: i32) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} had ended ({status})", self.name);
        }
        // SAFETY: kill has no memory effects; the child is not yet reaped, so its pid is still its own.
        let result = unsafe { libc::kill(self.child.id() as i32, signal) };
        ensure!(result == 0, "{}: {}", self.name, io::Error::last_os_error());
        Ok(())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system refuses to say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It has not ended within `timeout`.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends, see {}", self.name, self.stderr.display());
        wait::until(&what, timeout, || self.exited())
    }

    /// Asks it to end in order, which must be exit code 0.
    ///
    /// # Errors
    /// It had ended before, does not end within a minute, or with another code; its last log lines are in the message.
    pub fn stop(mut self) -> Result<()> {
        self.sigterm()?;
        let status = self.wait_exit(STOP)?;
        ensure!(
            status.success(),
            "{}: {status}: {}",
            self.name,
            self.last_words()
        );
        Ok(())
    }

    /// Waits until `/ready` says 200.
    ///
    /// # Errors
    /// It ended, or it was not ready within `timeout`; the reason it gives is in the message.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<()> {
        let what = format!("{} becomes ready, see {}", self.name, self.stderr.display());
        wait::until_true(&what, timeout, || {
            let answer = self.get("/ready")?;
            ensure!(answer.status == 200, "not ready: {}", answer.body);
            Ok(true)
        })
    }

    /// `/status` as JSON.
    ///
    /// # Errors
    /// It does not answer, or not in JSON; [`wait::Over`] if it has ended.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.get("/status")?.body)?)
    }

    /// `/metrics` as Prometheus text.
    ///
    /// # Errors
    /// It does not answer; [`wait::Over`] if it has ended.
    pub fn metrics(&self) -> Result<String> {
        Ok(self.get("/metrics")?.body)
    }

    /// One of its pages.
    ///
    /// # Errors
    /// It does not answer; [`wait::Over`] if it has ended.
    pub fn get(&self, path: &str) -> Result<http::Response> {
        http::get(self.http_port, path).or_else(|error| {
            self.alive()?;
            Err(error)
        })
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    /// [`wait::Over`]: it has ended; the message has its last log lines.
    pub fn alive(&self) -> Result<()> {
        // SAFETY: an all-zero siginfo_t is valid, and waitid writes only there.
        let ended = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            // WNOWAIT leaves the exit code to be asked for later.
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            // An error means that it was waited for before.
            libc::waitid(libc::P_PID, self.child.id(), &mut info, flags) != 0 || info.si_pid() != 0
        };
        if ended {
            let message = format!("{} has ended: {}", self.name, self.last_words());
            return Err(wait::Over(message).into());
        }
        Ok(())
    }

    /// Where its log is, and how it ends.
    fn last_words(&self) -> String {
        const LINES: usize = 10;
        let log = self.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        format!("see {}\n{}", self.stderr.display(), last.join("\n"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port below those that outgoing connections take, and apart from those of `kafka.sh`, so that it is still free when the child binds it.
pub(crate) fn free_port() -> io::Result<u16> {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 8_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrInUse))
}

/// What is ignored stays so across exec.
fn ignore_file_limit_signal(command: &mut Command) {
    // SAFETY: signal is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            Ok(())
        });
    }
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}
