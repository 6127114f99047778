//! For tests: compression in every form in which Kafka's clients send it.
//!
//! Invariant: the same input gives the same bytes. It is written with the libraries that decompress, so it shows nothing about their
//! formats; where that matters, tests have bytes from elsewhere.

use super::Codec;
use std::io::Write;

/// A codec in one of its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    None,
    Gzip,
    /// In the framing of the Java library, in blocks of so many bytes.
    Snappy(usize),
    BareSnappy,
    Lz4,
    /// With every checksum and the content's size in the header.
    CheckedLz4,
    LinkedLz4,
    Zstd,
    /// As a stream whose length is not known in advance.
    ZstdStream,
}

pub const FORMS: [Form; 9] = [
    Form::None,
    Form::Gzip,
    Form::Snappy(10_000),
    Form::BareSnappy,
    Form::Lz4,
    Form::CheckedLz4,
    Form::LinkedLz4,
    Form::Zstd,
    Form::ZstdStream,
];

impl Form {
    pub fn codec(self) -> Codec {
        match self {
            Form::None => Codec::None,
            Form::Gzip => Codec::Gzip,
            Form::Snappy(_) | Form::BareSnappy => Codec::Snappy,
            Form::Lz4 | Form::CheckedLz4 | Form::LinkedLz4 => Codec::Lz4,
            Form::Zstd | Form::ZstdStream => Codec::Zstd,
        }
    }

    /// As the lowest bits of a batch's attributes have it.
    pub fn number(self) -> i16 {
        (0..8)
            .find(|number| Codec::of(*number) == Some(self.codec()))
            .unwrap()
    }

    pub fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Form::None => bytes.to_vec(),
            Form::Gzip => {
                let mut writer =
                    flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            Form::Snappy(block) => {
                let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
                for block in bytes.chunks(block) {
                    let block = Form::BareSnappy.compress(block);
                    out.extend((block.len() as u32).to_be_bytes());
                    out.extend(block);
                }
                out
            }
            Form::BareSnappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            Form::Lz4 | Form::CheckedLz4 | Form::LinkedLz4 => lz4(self, bytes),
            Form::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
            Form::ZstdStream => zstd::encode_all(bytes, 3).unwrap(),
        }
    }
}

fn lz4(form: Form, bytes: &[u8]) -> Vec<u8> {
    use lz4::liblz4::BlockChecksum;
    use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};
    let checked = form == Form::CheckedLz4;
    let mut builder = EncoderBuilder::new();
    builder
        .block_size(BlockSize::Max64KB)
        .block_mode(match form {
            Form::LinkedLz4 => BlockMode::Linked,
            _ => BlockMode::Independent,
        })
        .checksum(match checked {
            true => ContentChecksum::ChecksumEnabled,
            false => ContentChecksum::NoChecksum,
        })
        .block_checksum(match checked {
            true => BlockChecksum::BlockChecksumEnabled,
            false => BlockChecksum::NoBlockChecksum,
        });
    if checked {
        builder.content_size(bytes.len() as u64);
    }
    let mut writer = builder.build(vec![]).unwrap();
    writer.write_all(bytes).unwrap();
    let (out, done) = writer.finish();
    done.unwrap();
    out
}
