//! A Kafka whose network misbehaves on request: a broker with many listeners, most of them advertised through a proxy that loses,
//! delays or holds back single requests and answers, chosen by their API.
//!
//! Invariant: without an armed fault every byte passes unchanged and in order. A fault hits exactly one request, and is counted only
//! when it has been done. The broker's direct listener has no proxy: what tests and auditor see is never harmed.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::kafka::Kafka;
use crate::process::free_port;
use crate::wait;

/// Numbers of requests on the wire.
pub mod api {
    pub const PRODUCE: i16 = 0;
    pub const OFFSET_FETCH: i16 = 9;
    pub const INIT_PRODUCER_ID: i16 = 22;
    pub const ADD_PARTITIONS: i16 = 24;
    pub const ADD_OFFSETS: i16 = 25;
    pub const END_TXN: i16 = 26;
    pub const TXN_OFFSET_COMMIT: i16 = 28;
}

/// Proxied listeners of the shared broker: at most so many tests can have one.
const LISTENERS: usize = 8;
/// How long a held-back request's connection stays open for the broker to read it.
const LINGER: Duration = Duration::from_secs(2);
const MAX_FRAME: usize = 128 << 20;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The broker never sees it; the connection is cut.
    LoseRequest,
    /// The broker does it; the connection is cut in place of the answer.
    LoseAnswer,
    /// It, and what follows on its connection, arrives later.
    Delay(Duration),
    /// The connection is cut at once, yet the broker receives the request later: after the client has sent it again.
    Late(Duration),
}

/// A broker that is reached directly or through proxies.
pub struct Broker {
    /// Keeps the broker alive.
    _kafka: Kafka,
    direct: String,
    proxies: Mutex<Vec<Proxy>>,
}

/// The broker shared by all tests that need a proxy.
///
/// # Panics
/// No broker could be started: no test can go on.
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(|| Broker::start().expect("a Kafka behind proxies"))
}

impl Broker {
    fn start() -> Result<Self> {
        let (direct, controller) = (free_port()?, free_port()?);
        let mut listeners =
            format!("PLAINTEXT://127.0.0.1:{direct},CONTROLLER://127.0.0.1:{controller}");
        let mut advertised = format!("PLAINTEXT://127.0.0.1:{direct}");
        let mut protocols = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_string();
        let mut proxies = Vec::new();
        for number in 0..LISTENERS {
            let upstream = format!("127.0.0.1:{}", free_port()?);
            let proxy = Proxy::start(&upstream)?;
            listeners.push_str(&format!(",PROXY{number}://{upstream}"));
            advertised.push_str(&format!(",PROXY{number}://{}", proxy.address()));
            protocols.push_str(&format!(",PROXY{number}:PLAINTEXT"));
            proxies.push(proxy);
        }
        let voters = format!("1@127.0.0.1:{controller}");
        let kafka = Kafka::local(&[
            ("listeners", &listeners),
            ("advertised.listeners", &advertised),
            ("listener.security.protocol.map", &protocols),
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("controller.quorum.voters", &voters),
            ("num.network.threads", "1"),
            // On a busy machine a heartbeat may be late; a fenced broker is the subject of other tests.
            ("broker.session.timeout.ms", "30000"),
            // Timed-out transactions are looked for every 10 s by default: too long for a test.
            (
                "transaction.abort.timed.out.transaction.cleanup.interval.ms",
                "500",
            ),
        ])?;
        Ok(Broker {
            _kafka: kafka,
            direct: format!("127.0.0.1:{direct}"),
            proxies: Mutex::new(proxies),
        })
    }

    /// Bootstrap address without a proxy.
    pub fn direct(&self) -> &str {
        &self.direct
    }

    /// A proxy for the caller alone.
    ///
    /// # Errors
    /// All are taken: raise the number of listeners.
    pub fn take_proxy(&self) -> Result<Proxy> {
        lock(&self.proxies)
            .pop()
            .context("no proxied listener is left")
    }
}

/// One listening port in front of one listener of the broker.
pub struct Proxy {
    address: String,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default)]
struct Faults {
    armed: Vec<(i16, Fault)>,
    done: Vec<(i16, Fault)>,
}

impl Proxy {
    fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let faults = Arc::<Mutex<Faults>>::default();
        let (upstream, shared) = (upstream.to_string(), Arc::clone(&faults));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A refused connection is closed, as the broker would.
                if let Ok(server) = TcpStream::connect(&upstream) {
                    let _ = serve(client, server, &shared);
                }
            }
        });
        Ok(Proxy { address, faults })
    }

    /// Bootstrap address of clients that go through the proxy.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next request of this API meets this fault.
    pub fn arm(&self, api: i16, fault: Fault) {
        lock(&self.faults).armed.push((api, fault));
    }

    /// Waits until no fault is armed any more, and all have been done.
    ///
    /// # Errors
    /// No such request came within the time.
    pub fn wait_done(&self, count: usize, within: Duration) -> Result<()> {
        wait::until_true("the armed faults hit a request", within, || {
            let faults = lock(&self.faults);
            ensure!(faults.done.len() >= count, "armed: {:?}", faults.armed);
            Ok(true)
        })
    }

    /// How many faults have been done.
    pub fn done(&self) -> usize {
        lock(&self.faults).done.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two threads for one connection, one per direction.
fn serve(client: TcpStream, server: TcpStream, faults: &Arc<Mutex<Faults>>) -> Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let lost = Arc::<Mutex<BTreeSet<i32>>>::default();
    let requests = Requests {
        client: client.try_clone()?,
        server: server.try_clone()?,
        faults: Arc::clone(faults),
        lost: Arc::clone(&lost),
    };
    thread::spawn(move || requests.run());
    let faults = Arc::clone(faults);
    thread::spawn(move || answers(client, server, &lost, &faults));
    Ok(())
}

/// The direction from client to broker.
struct Requests {
    client: TcpStream,
    server: TcpStream,
    faults: Arc<Mutex<Faults>>,
    /// Correlation ids whose answers get lost; known before the broker knows the request.
    lost: Arc<Mutex<BTreeSet<i32>>>,
}

impl Requests {
    fn run(mut self) {
        // A failed transfer is the end of the connection, for both sides.
        while let Ok(frame) = read_frame(&mut self.client) {
            if !self.pass(&frame).unwrap_or(false) {
                break;
            }
        }
        cut(&self.client);
        cut(&self.server);
    }

    /// Sends a request on, or does to it what is armed; false when the connection is over.
    fn pass(&mut self, frame: &[u8]) -> Result<bool> {
        let head = frame.get(4..12).context("a request without header")?;
        let api = i16::from_be_bytes([head[0], head[1]]);
        let correlation = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let Some(fault) = self.take(api) else {
            self.server.write_all(frame)?;
            return Ok(true);
        };
        match fault {
            Fault::LoseRequest => cut(&self.client),
            Fault::LoseAnswer => {
                lock(&self.lost).insert(correlation);
                self.server.write_all(frame)?;
                // The answering thread counts it.
                return Ok(true);
            }
            Fault::Delay(time) => {
                thread::sleep(time);
                self.server.write_all(frame)?;
            }
            Fault::Late(time) => {
                cut(&self.client);
                thread::sleep(time);
                self.server.write_all(frame)?;
                thread::sleep(LINGER);
            }
        }
        lock(&self.faults).done.push((api, fault));
        Ok(matches!(fault, Fault::Delay(_)))
    }

    fn take(&self, api: i16) -> Option<Fault> {
        let armed = &mut lock(&self.faults).armed;
        let at = armed.iter().position(|(wanted, _)| *wanted == api)?;
        Some(armed.remove(at).1)
    }
}

/// The direction from broker to client.
fn answers(
    mut client: TcpStream,
    mut server: TcpStream,
    lost: &Mutex<BTreeSet<i32>>,
    faults: &Mutex<Faults>,
) {
    while let Ok(frame) = read_frame(&mut server) {
        let correlation = frame
            .get(4..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(i32::from_be_bytes);
        if correlation.is_some_and(|id| lock(lost).remove(&id)) {
            cut(&client);
            cut(&server);
            lock(faults).done.push((-1, Fault::LoseAnswer));
            return;
        }
        // A client that was cut off may still have a request on its way to the broker: go on reading.
        let _ = client.write_all(&frame);
    }
    cut(&client);
}

/// One message with its length.
fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let length = usize::try_from(i32::from_be_bytes(size))?;
    ensure!(length <= MAX_FRAME, "a frame of {length} bytes");
    let mut frame = size.to_vec();
    frame.resize(4 + length, 0);
    stream.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn cut(stream: &TcpStream) {
    // It may be closed already.
    let _ = stream.shutdown(Shutdown::Both);
}
