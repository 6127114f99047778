//! One connection to a broker, without blocking: a request goes out, its answer comes in, one at a time.
//!
//! Invariant: at most one request is under way; an answer with another number ends the connection. What is asked, and what an
//! answer means, is not known here.

use super::wire::{self, Versions};
use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use std::io::{Error, ErrorKind, Read, Result, Write};

/// A response is never this large; something else talks there.
const LARGEST: usize = 1 << 30;
/// Reserved at once for an answer; beyond it the buffer grows with what arrives.
const RESERVED: usize = 8 << 20;

pub struct Link {
    stream: TcpStream,
    pub address: String,
    pub versions: Versions,
    correlation: i32,
    /// What is left to be sent.
    out: Bytes,
    /// The answer so far: its length first, then the rest.
    head: [u8; 4],
    head_len: usize,
    body: Vec<u8>,
}

impl Link {
    /// # Errors
    /// The connection cannot be watched.
    pub fn new(
        stream: std::net::TcpStream,
        address: String,
        versions: Versions,
        registry: &Registry,
        token: Token,
    ) -> Result<Link> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Link {
            stream,
            address,
            versions,
            correlation: 0,
            out: Bytes::new(),
            head: [0; 4],
            head_len: 0,
            body: Vec::new(),
        })
    }

    /// The number of the next request.
    pub fn next_correlation(&mut self) -> i32 {
        self.correlation = (self.correlation + 1) % i32::MAX;
        self.correlation
    }

    /// Sends a request that carries [`Self::next_correlation`]; what the connection does not take now goes with [`Self::flush`].
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, frame: Bytes) -> Result<()> {
        self.out = frame;
        self.flush()
    }

    /// # Errors
    /// The connection broke.
    pub fn flush(&mut self) -> Result<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(sent) => drop(self.out.split_to(sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come; an answer (without its length) when it is complete.
    ///
    /// # Errors
    /// The connection broke, or brought something that was not asked for.
    pub fn receive(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.read_some() {
                Ok(false) => {}
                Ok(true) => return self.complete().map(Some),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns whether the answer is complete.
    fn read_some(&mut self) -> Result<bool> {
        if self.head_len < self.head.len() {
            let read = self.stream.read(&mut self.head[self.head_len..])?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.head_len += read;
            return Ok(false);
        }
        let len = u32::from_be_bytes(self.head) as usize;
        if len > LARGEST {
            let message = format!("an answer of {len} bytes");
            return Err(Error::new(ErrorKind::InvalidData, message));
        }
        if self.body.capacity() == 0 {
            self.body.reserve_exact(len.min(RESERVED));
        }
        let left = len - self.body.len();
        // Keeps what it has read when it would block.
        (&mut self.stream)
            .take(left as u64)
            .read_to_end(&mut self.body)?;
        if self.body.len() < len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(true)
    }

    fn complete(&mut self) -> Result<Bytes> {
        self.head_len = 0;
        let body = Bytes::from(std::mem::take(&mut self.body));
        let invalid = |message: String| Error::new(ErrorKind::InvalidData, message);
        match wire::correlation(&body) {
            Ok(id) if id == self.correlation => Ok(body),
            Ok(id) => Err(invalid(format!(
                "an answer to request {id}, not {}",
                self.correlation
            ))),
            Err(error) => Err(invalid(error.to_string())),
        }
    }

    /// Returns the address.
    pub fn close(mut self, registry: &Registry) -> String {
        // It is closed in any case.
        let _ = registry.deregister(&mut self.stream);
        self.address
    }
}
