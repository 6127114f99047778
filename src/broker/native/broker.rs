//! One broker as a consumer sees it: its connection, the request that is under way, and how it fares.
//!
//! Invariant: at most one request is under way; after a failure the next attempt waits, longer each time.

use super::Backoff;
use super::dial::Line;
use super::link::Link;
use super::request::{self, FETCH, Limits, Question};
use super::wire;
use crate::broker::figures::BrokerFigures;
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, FetchResponse};
use mio::{Registry, Token};
use std::io;
use std::time::Duration;

/// For an answer, on top of the time that the broker may hold it back.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that is under way.
struct Asked {
    questions: Vec<Question>,
    version: i16,
    at: Duration,
}

#[derive(Default)]
pub struct Broker {
    link: Option<Link>,
    opening: bool,
    asked: Option<Asked>,
    backoff: Backoff,
    /// Nothing is tried before: after a failure, or because the broker asks for quiet.
    not_before: Duration,
    figures: BrokerFigures,
}

/// An answer, the version of its request, and what was asked.
type Answered = (Bytes, i16, Vec<Question>);

impl Broker {
    pub fn wants_line(&self, now: Duration) -> bool {
        self.link.is_none() && !self.opening && self.not_before <= now
    }

    pub fn opening(&mut self) {
        self.opening = true;
        self.figures.connects += 1;
    }

    /// Takes a connection, or the lack of it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn opened(
        &mut self,
        line: Result<Line, String>,
        registry: &Registry,
        token: Token,
        now: Duration,
    ) -> Result<(), String> {
        self.opening = false;
        let link = line.and_then(|line| {
            self.figures.round_trip_us = Some(line.round_trip.as_micros() as u64);
            let Line {
                address,
                stream,
                versions,
                ..
            } = line;
            Link::new(stream, address, versions, registry, token).map_err(|error| error.to_string())
        });
        match link {
            Ok(link) => {
                self.figures.name.clone_from(&link.address);
                self.link = Some(link);
                Ok(())
            }
            Err(why) => {
                self.failed(now);
                Err(why)
            }
        }
    }

    fn failed(&mut self, now: Duration) {
        self.figures.errors += 1;
        self.not_before = now + self.backoff.next();
    }

    /// Ends the connection; returns its address.
    pub fn close(&mut self, registry: &Registry, now: Duration) -> String {
        self.asked = None;
        self.failed(now);
        self.figures.disconnects += 1;
        let link = self.link.take();
        link.map_or_else(String::new, |link| link.close(registry))
    }

    /// Can be asked.
    pub fn idle(&self, now: Duration) -> bool {
        self.link.is_some() && self.asked.is_none() && self.not_before <= now
    }

    /// The answer to what was asked has not come for too long.
    pub fn overdue(&self, now: Duration, wait: Duration) -> bool {
        let limit = wait + REQUEST_TIMEOUT;
        self.asked
            .as_ref()
            .is_some_and(|asked| asked.at + limit <= now)
    }

    /// # Errors
    /// The connection broke, or the broker does not know the request.
    pub fn ask(
        &mut self,
        questions: Vec<Question>,
        limits: &Limits,
        client_id: &str,
        now: Duration,
    ) -> io::Result<()> {
        let Some(link) = &mut self.link else {
            return Ok(());
        };
        let other = |error: wire::WireError| io::Error::other(error.to_string());
        let version = link
            .versions
            .pick(ApiKey::Fetch, FETCH.0, FETCH.1)
            .map_err(other)?;
        let body = request::request(&questions, limits, version);
        let number = link.next_correlation();
        let frame =
            wire::request(ApiKey::Fetch, version, number, client_id, &body).map_err(other)?;
        self.asked = Some(Asked {
            questions,
            version,
            at: now,
        });
        link.send(frame)
    }

    /// Moves bytes; an answer when it is complete.
    ///
    /// # Errors
    /// The connection broke.
    pub fn serve(&mut self) -> io::Result<Option<Answered>> {
        let Some(link) = &mut self.link else {
            return Ok(None);
        };
        link.flush()?;
        let Some(frame) = link.receive()? else {
            return Ok(None);
        };
        let Some(asked) = self.asked.take() else {
            return Err(io::Error::other("an answer to nothing"));
        };
        Ok(Some((frame, asked.version, asked.questions)))
    }

    /// Takes what an answer says of the broker itself.
    pub fn answered(&mut self, response: &FetchResponse, now: Duration) {
        self.backoff = Backoff::default();
        let throttle = u64::try_from(response.throttle_time_ms).unwrap_or(0);
        self.figures.throttle_ms = self.figures.throttle_ms.max(throttle);
        self.not_before = now + Duration::from_millis(throttle);
    }

    /// What there is to tell since the last time.
    pub fn figures(&mut self, id: i32) -> BrokerFigures {
        let mut figures = self.figures.clone();
        figures.name = format!("{}/{id}", figures.name);
        self.figures.throttle_ms = 0;
        self.figures.round_trip_us = None;
        figures
    }
}
