//! For tests: record batches, written straight from Kafka's description of the format.
//!
//! Invariant: what the fields say is what stands in the bytes, also where no producer would write it; only the checksum is always
//! right. It shares nothing with the code that reads.

use super::super::super::codec::compress::Form;

pub const LOG_APPEND_TIME: i16 = 8;
pub const TRANSACTIONAL: i16 = 16;
pub const CONTROL: i16 = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rec {
    pub delta: i64,
    pub timestamp_delta: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
pub struct Bat {
    pub base: i64,
    pub leader_epoch: i32,
    /// Flags only: the codec comes from the form.
    pub flags: i16,
    pub form: Form,
    pub last_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer: i64,
    /// Where it differs from how many there are.
    pub count: Option<i32>,
    pub records: Vec<Rec>,
}

pub fn rec(delta: i64, key: Option<&str>, value: Option<&str>) -> Rec {
    Rec {
        delta,
        timestamp_delta: delta * 10,
        key: key.map(Into::into),
        value: value.map(Into::into),
        headers: vec![],
    }
}

/// A batch without compression, one record for each value.
pub fn bat(base: i64, values: &[&str]) -> Bat {
    let records = values.iter().enumerate();
    Bat {
        base,
        leader_epoch: 3,
        flags: 0,
        form: Form::None,
        last_delta: values.len().saturating_sub(1) as i32,
        base_timestamp: 1_000_000,
        max_timestamp: 2_000_000,
        producer: -1,
        count: None,
        records: records.map(|(i, v)| rec(i as i64, None, Some(v))).collect(),
    }
}

/// The marker that ends a transaction: 0 aborts, 1 commits.
pub fn marker(base: i64, producer: i64, kind: u8) -> Bat {
    let mut batch = bat(base, &["\0\0\0\0\0\x05"]);
    batch.records[0].key = Some(vec![0, 0, 0, kind]);
    Bat {
        flags: TRANSACTIONAL | CONTROL,
        producer,
        ..batch
    }
}

impl Bat {
    pub fn form(self, form: Form) -> Bat {
        Bat { form, ..self }
    }

    pub fn of(self, producer: i64) -> Bat {
        Bat {
            flags: self.flags | TRANSACTIONAL,
            producer,
            ..self
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut records = vec![];
        for record in &self.records {
            let body = body(record);
            varint(&mut records, body.len() as i64);
            records.extend(body);
        }
        self.around(&self.form.compress(&records))
    }

    /// The batch around records that are already compressed.
    pub fn around(&self, records: &[u8]) -> Vec<u8> {
        let mut checked = vec![];
        checked.extend((self.flags | self.form.number()).to_be_bytes());
        checked.extend(self.last_delta.to_be_bytes());
        checked.extend(self.base_timestamp.to_be_bytes());
        checked.extend(self.max_timestamp.to_be_bytes());
        checked.extend(self.producer.to_be_bytes());
        checked.extend(7i16.to_be_bytes());
        checked.extend(40i32.to_be_bytes());
        let count = self.count.unwrap_or(self.records.len() as i32);
        checked.extend(count.to_be_bytes());
        checked.extend(records);
        let mut batch = self.base.to_be_bytes().to_vec();
        batch.extend((checked.len() as i32 + 9).to_be_bytes());
        batch.extend(self.leader_epoch.to_be_bytes());
        batch.push(2);
        batch.extend([0; 4]);
        batch.extend(checked);
        correct_checksum(&mut batch);
        batch
    }
}

/// Makes the checksum right after something was changed.
pub fn correct_checksum(batch: &mut [u8]) {
    let sum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
}

/// A record without its length.
pub fn body(record: &Rec) -> Vec<u8> {
    let mut out = vec![0];
    varint(&mut out, record.timestamp_delta);
    varint(&mut out, record.delta);
    blob(&mut out, record.key.as_deref());
    blob(&mut out, record.value.as_deref());
    varint(&mut out, record.headers.len() as i64);
    for (key, value) in &record.headers {
        blob(&mut out, Some(key));
        blob(&mut out, value.as_deref());
    }
    out
}

fn blob(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend(bytes.unwrap_or_default());
}

pub fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
