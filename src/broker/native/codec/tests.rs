//! The codecs against compressed data of every form: whole, cut, altered, lying about its size.
//!
//! Invariant: after every failed call the output is as it was before.

use super::compress::{FORMS, Form};
use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const BEFORE: &[u8] = b"what was there";

/// Text with some repetition, so that every codec has something to do.
fn text(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut out = vec![];
    while out.len() < bytes {
        let (user, page) = (random.random_range(0..1000), random.random_range(0..50));
        out.extend(format!("{{\"user\":{user},\"page\":\"/products/{page}\"}}").bytes());
    }
    out.truncate(bytes);
    out
}

/// What is appended to an output that is not empty.
fn decompress(
    decoder: &mut Decoder,
    codec: Codec,
    data: &[u8],
    limit: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut out = BEFORE.to_vec();
    let done = decoder.decompress(codec, data, limit, &mut out);
    let added = out
        .strip_prefix(BEFORE)
        .expect("what was there is left alone");
    assert!(added.len() <= limit, "{} of {limit}", added.len());
    assert!(done.is_ok() || added.is_empty(), "{done:?}");
    done.map(|()| added.to_vec())
}

#[test]
fn every_form_gives_back_what_was_compressed() {
    let mut decoder = Decoder::default();
    for form in FORMS {
        for bytes in [0, 1, 20, 3_000, 65_536, 65_537, 300_000] {
            let plain = text(bytes, 1);
            let data = form.compress(&plain);
            let read = decompress(&mut decoder, form.codec(), &data, bytes);
            assert_eq!(read, Ok(plain), "{form:?} {bytes}");
        }
    }
}

#[test]
fn data_that_do_not_shrink_are_read_too() {
    let mut random = StdRng::seed_from_u64(3);
    let plain: Vec<u8> = (0..200_000).map(|_| random.random()).collect();
    for form in FORMS {
        let read = decompress(
            &mut Decoder::default(),
            form.codec(),
            &form.compress(&plain),
            1 << 20,
        );
        assert_eq!(read.as_ref(), Ok(&plain), "{form:?}");
    }
}

/// Written by the command lines of lz4 1.9.4 (without and with a checksum), gzip 1.12 and zstd 1.5.4. What Java's libraries
/// write stands among the batches' tests.
#[test]
fn frames_of_other_programs_are_read() {
    let cases = [
        (
            Codec::Lz4,
            "04224d18604082 13000000 ab61626364656667616263 0a00506667616263 00000000",
        ),
        (
            Codec::Lz4,
            "04224d186440a7 13000000 ab61626364656667616263 0a00506667616263 00000000 dd03a59c",
        ),
        (
            Codec::Gzip,
            "1f8b0800000000000003 4b4c4a4e494d4b4f4c4a4ec4c202001e236f611e000000",
        ),
        (
            Codec::Zstd,
            "28b52ffd0058850000 50616263646566676162630100a50b12",
        ),
    ];
    for (codec, hex) in cases {
        let read = decompress(&mut Decoder::default(), codec, &bytes_of(hex), 100);
        let plain = b"abcdefgabcabcdefgabcabcdefgabc".to_vec();
        assert_eq!(read, Ok(plain), "{codec} {hex}");
    }
}

/// Hexadecimal digits, spaces between them where they read better.
fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|d| (d[0] * 16 + d[1]) as u8).collect()
}

#[test]
fn what_comes_in_several_frames_is_one_text() {
    let (a, b) = (text(70_000, 5), text(1_000, 6));
    let whole = [&a[..], &b].concat();
    for form in FORMS {
        // A bare block has no end mark: one is all there is.
        if form == Form::BareSnappy {
            continue;
        }
        let data = [form.compress(&a), form.compress(&b)].concat();
        let read = decompress(&mut Decoder::default(), form.codec(), &data, whole.len());
        assert_eq!(read.as_ref(), Ok(&whole), "{form:?}");
    }
    let skipped = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
    for form in [Form::Lz4, Form::LinkedLz4, Form::Zstd] {
        let data = [&form.compress(&a)[..], skipped, &form.compress(&b), skipped].concat();
        let read = decompress(&mut Decoder::default(), form.codec(), &data, whole.len());
        assert_eq!(read.as_ref(), Ok(&whole), "{form:?}");
    }
}

#[test]
fn more_than_the_limit_is_refused_and_the_limit_itself_is_not() {
    for form in FORMS {
        for bytes in [1, 500, 100_000] {
            let data = form.compress(&text(bytes, 7));
            let mut decoder = Decoder::default();
            let mut read = |limit| decompress(&mut decoder, form.codec(), &data, limit);
            assert!(read(bytes).is_ok(), "{form:?} {bytes}");
            for limit in [bytes - 1, bytes / 2, 0] {
                assert_eq!(
                    read(limit),
                    Err(CodecError::TooLarge { limit }),
                    "{form:?} {bytes} {limit}"
                );
            }
        }
    }
}

#[test]
fn what_swells_enormously_takes_no_more_memory_than_the_limit_and_a_block() {
    let zeros = vec![0; 16 << 20];
    for form in FORMS {
        if form == Form::None || form == Form::BareSnappy {
            continue;
        }
        let (data, limit) = (form.compress(&zeros), 1 << 20);
        let mut out = vec![];
        let read = Decoder::default().decompress(form.codec(), &data, limit, &mut out);
        assert_eq!(read, Err(CodecError::TooLarge { limit }), "{form:?}");
        // The vector doubles, and data may be believed up to 32 times their compressed size.
        let most = (4 << 20) + data.len() * RATIO;
        assert!(out.capacity() <= most, "{form:?}: {}", out.capacity());
    }
}

#[test]
fn a_claimed_size_alone_gets_little_memory() {
    let big_zstd = b"\x28\xb5\x2f\xfd\xc0\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00";
    let cases: [(Codec, &[u8]); 4] = [
        // Four gigabytes less one.
        (Codec::Snappy, b"\xff\xff\xff\xff\x0f\x04abc"),
        (
            Codec::Snappy,
            b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x08\xff\xff\xff\xff\x0f\x04ab",
        ),
        // A terabyte.
        (Codec::Zstd, big_zstd),
        // A block of four megabytes, of which a few bytes are there.
        (
            Codec::Lz4,
            b"\x04\x22\x4d\x18\x60\x70\x73\x03\x00\x00\x00abc",
        ),
    ];
    for (codec, data) in cases {
        let mut out = vec![];
        let read = Decoder::default().decompress(codec, data, usize::MAX, &mut out);
        assert!(
            matches!(read, Err(CodecError::Damaged { .. })),
            "{codec}: {read:?}"
        );
        assert!(
            out.capacity() <= 2 * BELIEVED,
            "{codec}: {}",
            out.capacity()
        );
    }
}

#[test]
fn an_lz4_block_larger_than_its_frame_allows_is_refused() {
    for (more, good) in [(0u32, true), (1, false)] {
        let mut data = b"\x04\x22\x4d\x18\x60\x40\x82".to_vec();
        data.extend((1 << 31 | (65_536 + more)).to_le_bytes());
        data.resize(data.len() + 65_536 + more as usize, b'x');
        data.extend([0; 4]);
        let read = decompress(&mut Decoder::default(), Codec::Lz4, &data, 1 << 20);
        assert_eq!(read.is_ok(), good, "{more}");
    }
}

#[test]
fn cut_data_give_an_error_or_a_part_never_something_else() {
    let plain = text(1_500, 11);
    for form in FORMS {
        let form = match form {
            Form::Snappy(_) => Form::Snappy(400),
            other => other,
        };
        let data = form.compress(&plain);
        let mut decoder = Decoder::default();
        for cut in 1..data.len() {
            match decompress(&mut decoder, form.codec(), &data[..cut], 1 << 20) {
                // These two have no end mark: between blocks nobody sees the cut.
                Ok(part) if matches!(form, Form::None | Form::Snappy(_)) => {
                    assert!(plain.starts_with(&part), "{form:?} {cut}");
                }
                Ok(part) => panic!("{form:?} cut at {cut} gave {} bytes", part.len()),
                Err(CodecError::Damaged { .. }) => {}
                Err(error) => panic!("{form:?} cut at {cut}: {error}"),
            }
        }
    }
}

#[test]
fn altered_data_never_panic_and_the_decoder_goes_on() {
    let mut random = StdRng::seed_from_u64(13);
    let plain = text(2_000, 12);
    let mut decoder = Decoder::default();
    for form in FORMS {
        let good = form.compress(&plain);
        for _ in 0..400 {
            let mut data = good.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..data.len());
                data[at] = random.random();
            }
            let _ = decompress(&mut decoder, form.codec(), &data, 10_000);
        }
        let read = decompress(&mut decoder, form.codec(), &good, 10_000);
        assert_eq!(read.as_ref(), Ok(&plain), "{form:?}");
    }
}

#[test]
fn noise_never_panics() {
    let mut random = StdRng::seed_from_u64(17);
    let mut decoder = Decoder::default();
    let beginnings: [&[u8]; 5] = [
        b"",
        b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0",
        b"\x04\x22\x4d\x18\x60\x40\x82",
        b"\x28\xb5\x2f\xfd",
        b"\x1f\x8b\x08",
    ];
    for _ in 0..2_000 {
        let mut data = beginnings[random.random_range(0..beginnings.len())].to_vec();
        let noise = random.random_range(0..200);
        data.extend((0..noise).map(|_| random.random::<u8>()));
        for number in 0..5 {
            let codec = Codec::of(number).unwrap();
            let _ = decompress(&mut decoder, codec, &data, 100_000);
        }
    }
}
