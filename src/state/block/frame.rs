//! What surrounds the body of a block: magic, format version, kind, checksum, header.
//!
//! Invariant: nothing of a block is read before its checksum was verified, except the version: a newer program may
//! have put the checksum elsewhere. The checksum covers every other byte of the block.

use super::{Header, damaged};
use crate::state::varint::{Reader, put, put_bytes, put_signed};
use crate::state::{Error, Result};

/// `M` and a byte that no text encoding puts after it.
const MAGIC: [u8; 2] = [0x4d, 0xb5];
const VERSION: u8 = 1;
/// Magic, version, kind, checksum, part, parts: all of fixed width, so that they can be filled in at the end.
const CRC: usize = 4;
const PART: usize = CRC + 4;
const PARTS: usize = PART + 4;
const PREFIX: usize = PARTS + 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Partials = 1,
    Changes = 2,
}

/// Everything before the body; part, parts and checksum are filled in by [`close_all`].
pub(super) fn begin(header: &Header, kind: Kind) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + header.sub_topology.len() + 64);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind as u8]);
    out.resize(PREFIX, 0);
    out.extend_from_slice(&header.fingerprint.to_le_bytes());
    put_bytes(&mut out, header.sub_topology.as_bytes());
    put_signed(&mut out, i64::from(header.partition));
    put(&mut out, u64::from(header.producers));
    put(&mut out, header.epoch);
    out.extend_from_slice(&header.nonce.to_le_bytes());
    put_signed(&mut out, header.watermark);
    out.push(u8::from(header.idle));
    out
}

/// Numbers the blocks of one transaction and partition, and seals each with its checksum.
pub(super) fn close_all(blocks: &mut [Vec<u8>]) {
    let parts = blocks.len() as u32;
    for (part, block) in blocks.iter_mut().enumerate() {
        block[PART..PARTS].copy_from_slice(&(part as u32).to_le_bytes());
        block[PARTS..PREFIX].copy_from_slice(&parts.to_le_bytes());
        let crc = checksum(block);
        block[CRC..PART].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Verifies a block and reads its header; the reader stands at the body.
pub(super) fn open(bytes: &[u8]) -> Result<(Header, Kind, Reader<'_>)> {
    if !bytes.starts_with(&MAGIC) {
        return Err(damaged("no block begins like this"));
    }
    match bytes.get(2) {
        None | Some(0) => return Err(damaged("no format version")),
        Some(&found) if found > VERSION => {
            return Err(Error::TooNew {
                what: "block",
                found,
                known: VERSION,
            });
        }
        Some(_) => {}
    }
    let crc = bytes
        .get(CRC..PREFIX)
        .and_then(|b| b.first_chunk())
        .copied()
        .map(u32::from_le_bytes);
    if crc != Some(checksum(bytes)) {
        return Err(damaged("checksum does not match"));
    }
    let kind = match bytes[3] {
        1 => Kind::Partials,
        2 => Kind::Changes,
        other => return Err(damaged(format!("kind {other} is unknown"))),
    };
    let mut reader = Reader::new(bytes);
    let header = header(&mut reader).ok_or_else(|| damaged("header"))?;
    Ok((header, kind, reader))
}

/// Over all bytes but the checksum itself.
fn checksum(block: &[u8]) -> u32 {
    let crc = crc32c::crc32c(block.get(..CRC).unwrap_or_default());
    crc32c::crc32c_append(crc, block.get(PART..).unwrap_or_default())
}

fn header(reader: &mut Reader<'_>) -> Option<Header> {
    reader.take(PART)?;
    let part = u32::from_le_bytes(reader.array()?);
    let parts = u32::from_le_bytes(reader.array()?);
    Some(Header {
        fingerprint: u64::from_le_bytes(reader.array()?),
        sub_topology: String::from_utf8(reader.bytes()?.to_vec()).ok()?,
        partition: i32::try_from(reader.signed()?).ok()?,
        producers: u32::try_from(reader.varint()?).ok()?,
        epoch: reader.varint()?,
        nonce: u64::from_le_bytes(reader.array()?),
        watermark: reader.signed()?,
        idle: match reader.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        },
        part,
        parts,
    })
}
