//! Opening a connection to a broker, with blocking calls: for threads that may wait.
//!
//! Invariant: what is handed on has agreed on versions and is ready for requests; every step has a time limit. Plain TCP only.

use super::wire::{self, Versions, WireError};
use crate::clock::{Clock, SystemClock};
use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// For a connection to be opened, and for each answer on it while it is opened.
const PATIENCE: Duration = Duration::from_secs(5);
/// The version of ApiVersions that names the client; brokers that do not know it say so in version 0.
const API_VERSIONS: i16 = 3;
/// No answer outside the data path is larger.
const LARGEST: usize = 64 << 20;

/// Why a broker cannot be spoken to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    #[error("{address}: {message}")]
    Io { address: String, message: String },
    #[error("{address}: {error}")]
    Wire { address: String, error: WireError },
}

/// A connection that is ready for requests.
pub struct Line {
    pub address: String,
    pub stream: TcpStream,
    pub versions: Versions,
    /// Of the first question and its answer.
    pub round_trip: Duration,
    client_id: String,
    correlation: i32,
}

impl Line {
    /// # Errors
    /// The name is not known, nobody listens there, or it is no broker.
    pub fn open(address: &str, client_id: &str) -> Result<Line, DialError> {
        let failed = |message: String| DialError::Io {
            address: address.to_string(),
            message,
        };
        let mut last = failed("the name has no address".to_string());
        let candidates = address
            .to_socket_addrs()
            .map_err(|error| failed(format!("the name cannot be resolved: {error}")))?;
        for candidate in candidates {
            match TcpStream::connect_timeout(&candidate, PATIENCE) {
                Ok(stream) => return Line::greet(stream, address, client_id),
                Err(error) => last = failed(format!("cannot connect to {candidate}: {error}")),
            }
        }
        Err(last)
    }

    fn greet(stream: TcpStream, address: &str, client_id: &str) -> Result<Line, DialError> {
        let mut line = Line {
            address: address.to_string(),
            stream,
            versions: Versions::default(),
            round_trip: Duration::ZERO,
            client_id: client_id.to_string(),
            correlation: 0,
        };
        let set = line
            .stream
            .set_nodelay(true)
            .and_then(|()| line.stream.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| line.stream.set_write_timeout(Some(PATIENCE)));
        set.map_err(|error| line.io(&error))?;
        let clock = SystemClock::new();
        line.versions = line.ask_versions()?;
        line.round_trip = clock.elapsed();
        Ok(line)
    }

    fn ask_versions(&mut self) -> Result<Versions, DialError> {
        let body = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("millstream"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let frame = self.exchange(ApiKey::ApiVersions, API_VERSIONS, &body)?;
        // Whoever does not know the version answers in version 0, which begins the same way.
        let unknown =
            frame.get(4..6) == Some(&ResponseError::UnsupportedVersion.code().to_be_bytes()[..]);
        let answer: ApiVersionsResponse = if unknown {
            self.ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default())?
        } else {
            self.read(frame, API_VERSIONS)?
        };
        Ok(Versions::of(&answer))
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// The connection broke, or the answer is not one.
    pub fn ask<Q, A>(&mut self, api: ApiKey, version: i16, body: &Q) -> Result<A, DialError>
    where
        Q: Encodable + HeaderVersion,
        A: Decodable + HeaderVersion,
    {
        let frame = self.exchange(api, version, body)?;
        self.read(frame, version)
    }

    /// The highest common version.
    ///
    /// # Errors
    /// There is none.
    pub fn pick(&self, api: ApiKey, min: i16, max: i16) -> Result<i16, DialError> {
        let picked = self.versions.pick(api, min, max);
        picked.map_err(|error| self.wire(error))
    }

    fn exchange<Q: Encodable + HeaderVersion>(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &Q,
    ) -> Result<Bytes, DialError> {
        self.correlation += 1;
        let frame = wire::request(api, version, self.correlation, &self.client_id, body)
            .map_err(|error| self.wire(error))?;
        self.stream
            .write_all(&frame)
            .map_err(|error| self.io(&error))?;
        let mut len = [0; 4];
        self.stream
            .read_exact(&mut len)
            .map_err(|error| self.io(&error))?;
        let len = u32::from_be_bytes(len) as usize;
        let damaged = |message| WireError::Damaged {
            what: "response",
            message,
        };
        if len > LARGEST {
            let error = damaged(format!("{len} bytes: is this a Kafka broker, without TLS?"));
            return Err(self.wire(error));
        }
        let mut answer = vec![0; len];
        self.stream
            .read_exact(&mut answer)
            .map_err(|error| self.io(&error))?;
        match wire::correlation(&answer) {
            Ok(id) if id == self.correlation => Ok(answer.into()),
            Ok(id) => Err(self.wire(damaged(format!(
                "of request {id}, not {}",
                self.correlation
            )))),
            Err(error) => Err(self.wire(error)),
        }
    }

    fn read<A: Decodable + HeaderVersion>(
        &self,
        frame: Bytes,
        version: i16,
    ) -> Result<A, DialError> {
        wire::response(frame, version).map_err(|error| self.wire(error))
    }

    fn io(&self, error: &std::io::Error) -> DialError {
        let message = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                "the broker closed the connection: does this port want TLS?".to_string()
            }
            std::io::ErrorKind::WouldBlock => format!("no answer within {PATIENCE:?}"),
            _ => error.to_string(),
        };
        DialError::Io {
            address: self.address.clone(),
            message,
        }
    }

    fn wire(&self, error: WireError) -> DialError {
        DialError::Wire {
            address: self.address.clone(),
            error,
        }
    }
}
