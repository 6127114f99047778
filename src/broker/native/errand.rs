//! What must wait for answers outside the data path: opening connections and asking for metadata, each on a short thread of its own.
//!
//! Invariant: whoever orders never waits; every errand brings exactly one piece of news and wakes the one who ordered it.

use super::dial::Line;
use super::view::View;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// What an errand brings.
pub enum News {
    View(Result<View, String>),
    /// A connection to a broker.
    Opened {
        broker: i32,
        line: Result<Line, String>,
    },
}

/// Sends errands and receives their news.
pub struct Errands {
    client_id: String,
    waker: Arc<mio::Waker>,
    sender: Sender<News>,
    receiver: Receiver<News>,
}

impl Errands {
    pub fn new(client_id: &str, waker: Arc<mio::Waker>) -> Self {
        let (sender, receiver) = channel();
        Errands {
            client_id: client_id.to_string(),
            waker,
            sender,
            receiver,
        }
    }

    /// Opens a connection to a broker.
    pub fn open(&self, broker: i32, address: String) {
        let client_id = self.client_id.clone();
        let opened = move |line| News::Opened { broker, line };
        let open = move || Line::open(&address, &client_id).map_err(|error| error.to_string());
        self.spawn(open, opened);
    }

    /// Asks the first broker that answers for the leaders of these topics.
    pub fn view(&self, addresses: Vec<String>, topics: Vec<Arc<str>>) {
        let client_id = self.client_id.clone();
        let ask = move || {
            let mut why = "no address of a broker is known".to_string();
            for address in addresses {
                let asked = Line::open(&address, &client_id)
                    .and_then(|mut line| View::ask(&mut line, &topics));
                match asked {
                    Ok(view) => return Ok(view),
                    Err(error) => why = error.to_string(),
                }
            }
            Err(why)
        };
        self.spawn(ask, News::View);
    }

    fn spawn<T>(
        &self,
        errand: impl FnOnce() -> Result<T, String> + Send + 'static,
        news: impl FnOnce(Result<T, String>) -> News + Copy + Send + 'static,
    ) {
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        let run = move || {
            // Whoever ordered may have gone.
            let _ = sender.send(news(errand()));
            let _ = waker.wake();
        };
        let spawned = thread::Builder::new()
            .name("kafka-errand".into())
            .spawn(run);
        if let Err(error) = spawned {
            let _ = self
                .sender
                .send(news(Err(format!("no thread can be started: {error}"))));
        }
    }

    /// What has come.
    pub fn news(&self) -> Option<News> {
        self.receiver.try_recv().ok()
    }

    /// Waits for what comes next.
    pub fn wait(&self, timeout: Duration) -> Option<News> {
        self.receiver.recv_timeout(timeout).ok()
    }
}
