//! The server's thread: binding, serving, stopping.
//!
//! Invariant: when `start` returns, the port is bound and its address logged; when `stop` returns (or the server is
//! dropped), the port is free and the thread gone, within [`GRACE`] even if a client does not read its answer.

use super::{StatusSource, routes};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long answers that are under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    /// Binds and serves. `bind` is the setting `http.bind`: port 0 for any free one; `None`, for which there is no
    /// server, where it is `off`.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub fn start(
        bind: Option<SocketAddr>,
        status: Arc<dyn StatusSource>,
    ) -> Result<Option<Server>, Error> {
        let Some(address) = bind else { return Ok(None) };
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let bound = listener.local_addr().map_err(Error::Thread)?;
        listener.set_nonblocking(true).map_err(Error::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let router = routes::router(status);
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
    use crate::metrics::Metrics;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Mutex;

    struct Fixed {
        ready: Mutex<Result<(), String>>,
        metrics: Metrics,
    }

    impl StatusSource for Fixed {
        fn status(&self) -> serde_json::Value {
            serde_json::json!({"tasks": [{"task": "clicks/0", "phase": "running"}]})
        }

        fn ready(&self) -> Result<(), String> {
            self.ready.lock().unwrap().clone()
        }

        fn metrics(&self) -> String {
            self.metrics.render()
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

    fn fixed() -> Arc<Fixed> {
        Arc::new(Fixed {
            ready: Mutex::new(Ok(())),
            metrics: Metrics::new(),
        })
    }

    fn start() -> (Arc<Fixed>, Server) {
        let status = fixed();
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::start(Some(any), status.clone()).unwrap().unwrap();
        (status, server)
    }

    #[test]
    fn ready_follows_the_status_source_and_says_why_not() {
        let (status, server) = start();
        assert!(get(server.address(), "/ready").starts_with("HTTP/1.1 200"));
        *status.ready.lock().unwrap() = Err("task counts/3 is parked: record too large".to_owned());
        let answer = get(server.address(), "/ready");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("counts/3 is parked"), "{answer}");
        let health = get(server.address(), "/health");
        assert!(
            health.starts_with("HTTP/1.1 200"),
            "a process that is not ready is healthy"
        );
    }

    #[test]
    fn pages_show_what_was_handed_in() {
        let (status, server) = start();
        status.metrics.flow.records_out.with(["output"]).inc_by(42);
        let metrics = get(server.address(), "/metrics");
        assert!(
            metrics.contains("millstream_records_out_total{sink=\"output\"} 42"),
            "{metrics}"
        );
        assert!(get(server.address(), "/status").contains("\"task\":\"clicks/0\""));
        assert!(get(server.address(), "/nothing").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn a_port_in_use_names_the_setting_and_off_starts_nothing() {
        let (_, server) = start();
        let address = server.address();
        let error = Server::start(Some(address), fixed())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("http.bind") && error.contains(&address.to_string()),
            "{error}"
        );
        assert!(Server::start(None, fixed()).unwrap().is_none());
    }

    #[test]
    fn stopping_frees_the_port_even_while_a_client_holds_its_connection() {
        let (_, server) = start();
        let address = server.address();
        let held = TcpStream::connect(address).unwrap();
        server.stop();
        TcpListener::bind(address).expect("the port is free again");
        drop(held);
    }
}
