//! Just enough of Kafka's wire protocol to fetch raw record batches: librdkafka shows neither producer ids nor transaction markers.
//!
//! Invariant: reads only. It speaks to the one broker it is given, which must lead the partition: made for one-node clusters.
//! Records inside a batch are not decoded; headers and markers are all that is looked at.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const FETCH: i16 = 1;
/// The oldest version that Kafka 4 speaks, and the first without sessions or topic ids.
const FETCH_VERSION: i16 = 4;
const MAX_BYTES: i32 = 8 << 20;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What one batch says about transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub last_offset: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Records; 1 for a marker.
    pub records: i32,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Outside transactions.
    Plain,
    Transactional,
    Abort,
    Commit,
    /// Control batches of other kinds.
    Other,
}

/// What a fetch found.
pub(crate) enum Fetched {
    Batches(Vec<Batch>),
    /// The offset is below the log's start (deleted) or beyond its end.
    OutOfRange,
}

pub(crate) struct Connection {
    stream: TcpStream,
    correlation: i32,
}

impl Connection {
    pub fn open(broker: &str) -> Result<Self> {
        let first = broker.split(',').next().unwrap_or(broker);
        let stream = TcpStream::connect(first).with_context(|| format!("connecting to {first}"))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            correlation: 0,
        })
    }

    /// The batches of a partition from an offset on, transactions open or not; none if there is nothing there yet.
    pub fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Result<Fetched> {
        self.correlation += 1;
        let request = fetch_request(self.correlation, topic, partition, offset);
        self.stream
            .write_all(&(request.len() as i32).to_be_bytes())?;
        self.stream.write_all(&request)?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size))?;
        ensure!(size <= 64 << 20, "an answer of {size} bytes");
        let mut answer = vec![0; size];
        self.stream.read_exact(&mut answer)?;
        let mut answer = Bytes(&answer);
        ensure!(
            answer.i32()? == self.correlation,
            "an answer to another request"
        );
        fetch_response(&mut answer)
    }
}

fn fetch_request(correlation: i32, topic: &str, partition: i32, offset: i64) -> Vec<u8> {
    let string = |text: &str| {
        let mut bytes = (text.len() as i16).to_be_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes
    };
    let mut out = Vec::new();
    out.extend(FETCH.to_be_bytes());
    out.extend(FETCH_VERSION.to_be_bytes());
    out.extend(correlation.to_be_bytes());
    out.extend(string("integration-tests"));
    out.extend((-1i32).to_be_bytes()); // replica id: a consumer
    out.extend(0i32.to_be_bytes()); // wait for no data
    out.extend(0i32.to_be_bytes()); // minimum bytes
    out.extend(MAX_BYTES.to_be_bytes());
    out.push(0); // read_uncommitted
    out.extend(1i32.to_be_bytes()); // topics
    out.extend(string(topic));
    out.extend(1i32.to_be_bytes()); // partitions
    out.extend(partition.to_be_bytes());
    out.extend(offset.to_be_bytes());
    out.extend(MAX_BYTES.to_be_bytes());
    out
}

fn fetch_response(answer: &mut Bytes<'_>) -> Result<Fetched> {
    answer.i32()?; // throttle time
    ensure!(answer.i32()? == 1, "one topic was asked for");
    let name = answer.i16()?;
    answer.take(usize::try_from(name)?)?;
    ensure!(answer.i32()? == 1, "one partition was asked for");
    answer.i32()?; // partition
    match answer.i16()? {
        0 => {}
        OFFSET_OUT_OF_RANGE => return Ok(Fetched::OutOfRange),
        code => bail!("the broker answers a fetch with error code {code}"),
    }
    answer.take(16)?; // high watermark, last stable offset
    let aborted = answer.i32()?.max(0);
    answer.take(16 * usize::try_from(aborted)?)?;
    let size = answer.i32()?.max(0);
    batches(answer.take(usize::try_from(size)?)?).map(Fetched::Batches)
}

/// The batches of a fetched record set; the last one may be cut.
fn batches(mut set: &[u8]) -> Result<Vec<Batch>> {
    /// Base offset and length, which the length does not count.
    const PREFIX: usize = 12;
    let mut found = Vec::new();
    while set.len() > PREFIX {
        let mut head = Bytes(set);
        let base_offset = head.i64()?;
        let length = PREFIX + usize::try_from(head.i32()?)?;
        if set.len() < length {
            break;
        }
        found.push(batch(base_offset, &set[PREFIX..length])?);
        set = &set[length..];
    }
    Ok(found)
}

fn batch(base_offset: i64, body: &[u8]) -> Result<Batch> {
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    let mut body = Bytes(body);
    body.i32()?; // leader epoch
    let magic = body.take(1)?[0];
    ensure!(magic == 2, "a batch of format {magic}");
    body.i32()?; // checksum
    let attributes = body.i16()?;
    let last_delta = body.i32()?;
    body.take(16)?; // first and last timestamp
    let producer_id = body.i64()?;
    let producer_epoch = body.i16()?;
    body.i32()?; // base sequence
    let records = body.i32()?;
    let kind = match (attributes & CONTROL != 0, attributes & TRANSACTIONAL != 0) {
        (true, _) => marker(body.0)?,
        (false, true) => Kind::Transactional,
        (false, false) => Kind::Plain,
    };
    Ok(Batch {
        last_offset: base_offset + i64::from(last_delta),
        producer_id,
        producer_epoch,
        records,
        kind,
    })
}

/// The kind of a control record: length, attributes, timestamp delta, offset delta and key length are one byte each in a
/// batch of one, then comes the key: version and type.
fn marker(record: &[u8]) -> Result<Kind> {
    let mut key = Bytes(record.get(5..).context("a control record without key")?);
    key.i16()?;
    Ok(match key.i16()? {
        0 => Kind::Abort,
        1 => Kind::Commit,
        _ => Kind::Other,
    })
}

/// Big-endian numbers from the front of a slice.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("a short answer")?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }
}
