//! A real Kafka for tests and demo. Taken in this order: the broker named by `MILLSTREAM_TEST_BROKERS`; a container where a Docker
//! engine answers (compiled, but not run on machines without Docker); otherwise a local JVM through `deploy/local-kafka/kafka.sh`.
//!
//! Invariant: a broker that was started here ends with this process, also when the process is killed; a broker from the environment
//! is never stopped. Data are fresh, except on a broker from the environment: use [`crate::topics::unique`] names.

use std::env;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

/// Bootstrap addresses of a broker to use instead of starting one.
pub const BROKERS_VARIABLE: &str = "MILLSTREAM_TEST_BROKERS";
const IMAGE: (&str, &str) = ("apache/kafka", "4.1.1");
const PORT_IN_CONTAINER: u16 = 9092;

/// A broker that answers.
pub struct Kafka {
    bootstrap: String,
    engine: Engine,
}

enum Engine {
    External,
    // Boxed: it is many times larger than the others.
    Container(Box<Container<GenericImage>>),
    Local(TempDir),
}

/// The broker shared by all tests of this process, started by the first that asks. Tests that harm a broker start their own
/// ([`Kafka::local`]).
///
/// # Panics
/// No broker could be started: no test can go on.
pub fn shared() -> &'static Kafka {
    static SHARED: OnceLock<Kafka> = OnceLock::new();
    SHARED.get_or_init(|| Kafka::start().expect("a Kafka for the tests"))
}

impl Kafka {
    /// Takes or starts a broker, in the order of the module's header.
    ///
    /// # Errors
    /// Neither is to be had; the message says what is missing.
    pub fn start() -> Result<Self> {
        if let Ok(bootstrap) = env::var(BROKERS_VARIABLE) {
            return Ok(Kafka {
                bootstrap,
                engine: Engine::External,
            });
        }
        if docker_answers() {
            match Self::container() {
                Ok(kafka) => return Ok(kafka),
                Err(error) => {
                    eprintln!(
                        "Docker answers, but gives no Kafka ({error:#}); starting a local JVM"
                    )
                }
            }
        }
        Self::local(&[])
    }

    /// A broker of one's own as a local JVM, with additional broker settings; may be killed and restarted.
    ///
    /// # Errors
    /// Java or Maven is missing, the download failed, or the broker did not start.
    pub fn local(settings: &[(&str, &str)]) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("millstream-kafka-")
            .tempdir()?;
        let bootstrap = start_local(dir.path(), settings)?;
        Ok(Kafka {
            bootstrap,
            engine: Engine::Local(dir),
        })
    }

    fn container() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut image = GenericImage::new(IMAGE.0, IMAGE.1)
            .with_wait_for(WaitFor::message_on_stdout("Kafka Server started"))
            .with_mapped_port(port, PORT_IN_CONTAINER.tcp())
            .with_startup_timeout(Duration::from_secs(120));
        for (key, value) in container_settings(port) {
            image = image.with_env_var(key, value);
        }
        Ok(Kafka {
            bootstrap: format!("127.0.0.1:{port}"),
            engine: Engine::Container(Box::new(image.start()?)),
        })
    }

    /// `host:port`, to be given to clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Kills the broker as a power cut would.
    ///
    /// # Errors
    /// The broker came from the environment, or does not run.
    pub fn kill9(&self) -> Result<()> {
        match &self.engine {
            Engine::External => bail!("a broker from {BROKERS_VARIABLE} is not ours to kill"),
            // Docker's stop without patience is SIGKILL.
            Engine::Container(container) => Ok(container.stop_with_timeout(Some(0))?),
            Engine::Local(dir) => script("kill9", dir.path(), &[]).map(drop),
        }
    }

    /// Freezes the broker (`true`) or lets it go on: past its session the controller fences it, and its partitions get a
    /// new leader epoch, while all connections stay.
    ///
    /// # Errors
    /// The broker is no local JVM, or does not run.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let Engine::Local(dir) = &self.engine else {
            bail!("only a local JVM can be frozen")
        };
        let pid: i32 = std::fs::read_to_string(dir.path().join("kafka.pid"))?
            .trim()
            .parse()?;
        let signal = if frozen { libc::SIGSTOP } else { libc::SIGCONT };
        // SAFETY: kill has no memory effects; the broker's script keeps the pid only while it runs.
        let result = unsafe { libc::kill(pid, signal) };
        ensure!(result == 0, "{}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Starts the broker again after [`Kafka::kill9`]: same address, same data.
    ///
    /// # Errors
    /// The broker came from the environment, or does not start.
    pub fn restart(&self) -> Result<()> {
        match &self.engine {
            Engine::External => bail!("a broker from {BROKERS_VARIABLE} is not ours to start"),
            Engine::Container(container) => Ok(container.start()?),
            Engine::Local(dir) => {
                let again = start_local(dir.path(), &[])?;
                ensure!(
                    again == self.bootstrap,
                    "restarted at {again}, was {}",
                    self.bootstrap
                );
                Ok(())
            }
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if let Engine::Local(dir) = &self.engine
            && let Err(error) = script("clean", dir.path(), &[])
        {
            eprintln!("{error:#}");
        }
    }
}

fn container_settings(port: u16) -> Vec<(&'static str, String)> {
    let plain = [
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        (
            "KAFKA_LISTENERS",
            "PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093",
        ),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        (
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        ),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "4"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "4"),
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        ("KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS", "1000"),
        ("KAFKA_LOG_RETENTION_MS", "-1"),
    ];
    let mut settings: Vec<_> = plain.map(|(key, value)| (key, value.to_string())).into();
    settings.push((
        "KAFKA_ADVERTISED_LISTENERS",
        format!("PLAINTEXT://127.0.0.1:{port}"),
    ));
    settings
}

fn docker_answers() -> bool {
    // A remote engine is somebody's wish: let testcontainers try it.
    env::var_os("DOCKER_HOST").is_some() || UnixStream::connect("/var/run/docker.sock").is_ok()
}

fn start_local(dir: &Path, settings: &[(&str, &str)]) -> Result<String> {
    let parent = std::process::id().to_string();
    let settings: Vec<String> = settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut arguments = vec!["--with-parent", &parent, "--ephemeral"];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    script("start", dir, &arguments)
}

/// Runs `kafka.sh` and returns what it printed; its progress goes to our standard error.
fn script(command: &str, dir: &Path, arguments: &[&str]) -> Result<String> {
    let script = crate::repository()?.join("deploy/local-kafka/kafka.sh");
    let output = Command::new(&script)
        .arg(command)
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(
        output.status.success(),
        "kafka.sh {command} failed; its messages are above"
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_string())
}
