//! The least HTTP client that can ask a worker how it is: one blocking GET per connection.
//!
//! Invariant: no request outlives its timeout by more than one read. HTTP/1.0 is spoken, so that no answer comes in chunks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Status code and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

/// GET `path` at a port of this machine.
///
/// # Errors
/// Nobody listens, the answer took over two seconds, or it is not HTTP.
pub fn get(port: u16, path: &str) -> Result<Response> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8(answer)?)
}

fn parse(answer: &str) -> Result<Response> {
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of headers")?;
    ensure!(head.starts_with("HTTP/1."), "not an HTTP answer: {head}");
    let status = head.split_whitespace().nth(1).context("no status code")?;
    Ok(Response {
        status: status.parse()?,
        body: body.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_status_and_body() {
        let answer =
            "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 12\r\n\r\nnot\r\n\r\nready";
        let response = parse(answer).unwrap();
        assert_eq!(response.status, 503);
        assert_eq!(response.body, "not\r\n\r\nready");
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(parse("SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse("HTTP/1.0 200 OK\r\n").is_err());
    }
}
