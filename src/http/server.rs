//! The server's thread: binding, serving, stopping.
//!
//! Invariant: when `start` returns, the port is bound and its address logged; when `stop` returns (or the server is
//! dropped), the port is free and the thread gone, within [`GRACE`] even if a client does not read its answer.

use super::{StatusSource, routes};
use crate::metrics::Metrics;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long answers that are under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "http.bind: \"{bind}\" is no address: write host:port, for example 127.0.0.1:9400, or off"
    )]
    Address { bind: String },
    #[error(
        "http.bind: cannot listen on {address}: {source}; set http.bind to a free port, to port 0 for any, or to off"
    )]
    Bind {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("the HTTP server's thread: {0}")]
    Thread(std::io::Error),
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds and serves. `bind` is the setting `http.bind`: `host:port`, port 0 for any free one, or `off`, for which
    /// there is no server.
    ///
    /// # Errors
    /// The address cannot be understood or is in use.
    pub fn start(
        bind: &str,
        metrics: Arc<Metrics>,
        status: Arc<dyn StatusSource>,
    ) -> Result<Option<Server>, Error> {
        if bind == "off" {
            return Ok(None);
        }
        let address = bind
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(|| Error::Address {
                bind: bind.to_owned(),
            })?;
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let bound = listener.local_addr().map_err(Error::Thread)?;
        listener.set_nonblocking(true).map_err(Error::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let router = routes::router(metrics, status);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Thread)?;
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router, stopped)))
            .map_err(Error::Thread)?;
        tracing::info!(address = %bound, "serving /metrics, /health, /ready and /status");
        Ok(Some(Server {
            address: bound,
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// The address really bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops serving; answers under way are finished first, for a short while.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        // The receiver is gone only when the thread has ended already.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the HTTP server's thread had panicked; nothing else is affected");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

async fn serve(listener: TcpListener, router: axum::Router, stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "the HTTP server cannot serve; the engine goes on without it");
            return;
        }
    };
    let (drain, draining) = oneshot::channel::<()>();
    let graceful = async move {
        // A dropped sender means the same as a signal.
        let _ = stopped.await;
        let _ = drain.send(());
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(graceful);
    let deadline = async move {
        let _ = draining.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = async { serving.await } => {
            if let Err(error) = ended {
                tracing::warn!(%error, "the HTTP server ended; the engine goes on without it");
            }
        }
        () = deadline => tracing::debug!("an HTTP client did not read its answer in time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Mutex;

    struct Fixed(Mutex<Result<(), String>>);

    impl StatusSource for Fixed {
        fn status(&self) -> serde_json::Value {
            serde_json::json!({"tasks": [{"task": "clicks/0", "phase": "running"}]})
        }

        fn ready(&self) -> Result<(), String> {
            self.0.lock().unwrap().clone()
        }
    }

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn start() -> (Arc<Fixed>, Arc<Metrics>, Server) {
        let status = Arc::new(Fixed(Mutex::new(Ok(()))));
        let metrics = Arc::new(Metrics::new());
        let server = Server::start("127.0.0.1:0", metrics.clone(), status.clone())
            .unwrap()
            .unwrap();
        (status, metrics, server)
    }

    #[test]
    fn ready_follows_the_status_source_and_says_why_not() {
        let (status, _, server) = start();
        assert!(get(server.address(), "/ready").starts_with("HTTP/1.1 200"));
        *status.0.lock().unwrap() = Err("task counts/3 is parked: record too large".to_owned());
        let answer = get(server.address(), "/ready");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("counts/3 is parked"), "{answer}");
        assert!(
            get(server.address(), "/health").starts_with("HTTP/1.1 200"),
            "a process that is not ready is healthy"
        );
    }

    #[test]
    fn pages_show_what_was_handed_in() {
        let (_, metrics, server) = start();
        metrics.flow.records_out.with(["output"]).inc_by(42);
        assert!(
            get(server.address(), "/metrics")
                .contains("millstream_records_out_total{sink=\"output\"} 42")
        );
        assert!(get(server.address(), "/status").contains("\"task\":\"clicks/0\""));
        assert!(get(server.address(), "/nothing").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn a_port_in_use_names_the_setting() {
        let (_, _, server) = start();
        let bind = server.address().to_string();
        let status = Arc::new(Fixed(Mutex::new(Ok(()))));
        let error = Server::start(&bind, Arc::new(Metrics::new()), status)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("http.bind") && error.contains(&bind),
            "{error}"
        );
    }

    #[test]
    fn stopping_frees_the_port_even_while_a_client_holds_its_connection() {
        let (_, _, server) = start();
        let address = server.address();
        let held = TcpStream::connect(address).unwrap();
        server.stop();
        TcpListener::bind(address).expect("the port is free again");
        drop(held);
    }

    #[test]
    fn off_starts_nothing_and_nonsense_is_refused() {
        let status = || Arc::new(Fixed(Mutex::new(Ok(()))));
        assert!(
            Server::start("off", Arc::new(Metrics::new()), status())
                .unwrap()
                .is_none()
        );
        let error = Server::start("nine", Arc::new(Metrics::new()), status())
            .err()
            .unwrap();
        assert!(matches!(error, Error::Address { .. }));
    }
}
