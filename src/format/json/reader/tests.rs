//! Strings, escapes and the word-wise scan, at every alignment.

use super::{Expected, Fault, Reader, word};

fn read(text: &[u8]) -> Result<Vec<u8>, (Fault, usize)> {
    let mut input = Reader::new(text);
    let mut out = vec![];
    input
        .string_into(&mut out)
        .map(|()| out)
        .map_err(|fault| (fault, input.pos))
}

#[test]
fn a_word_is_the_same_with_and_without_bytes_behind_it() {
    let bytes: Vec<u8> = (1..=20).collect();
    for len in 0..bytes.len() {
        for at in 0..=len + 2 {
            let mut padded = bytes[..len].to_vec();
            padded.resize(64, 0);
            assert_eq!(word(&bytes[..len], at), word(&padded, at), "{at} of {len}");
        }
    }
}

#[test]
fn a_string_ends_at_its_quote_wherever_that_stands() {
    for len in 0..40 {
        let body: String = "abcdefghijklmnopqrstuvwxyz!#[]^`~\u{7f}éß€😀"
            .chars()
            .cycle()
            .take(len)
            .collect();
        for tail in ["\"", "\",\"\\\u{1}"] {
            let text = format!("\"{body}{tail}");
            assert_eq!(read(text.as_bytes()), Ok(body.clone().into_bytes()));
        }
    }
}

#[test]
fn a_forbidden_byte_is_found_at_every_place() {
    for len in 0..20 {
        for place in 0..=len {
            let with = |byte: &[u8]| {
                let mut text = vec![b'"'];
                text.extend(std::iter::repeat_n(b'a', place));
                text.extend_from_slice(byte);
                text.extend(std::iter::repeat_n(b'a', len - place));
                text.push(b'"');
                text
            };
            assert_eq!(read(&with(b"\x1f")), Err((Fault::Control, place + 1)));
            assert_eq!(read(&with(b"\x00")), Err((Fault::Control, place + 1)));
            assert_eq!(read(&with(b"\xff")), Err((Fault::Utf8, place + 1)));
            assert_eq!(read(&with(b"\\x")), Err((Fault::Escape, place + 2)));
            assert_eq!(read(&with(b"\x20\x7f")).map(|text| text.len()), Ok(len + 2));
            let closed = with(b"");
            assert_eq!(
                read(&closed[..closed.len() - 1]),
                Err((Fault::Truncated, len + 1))
            );
        }
    }
}

#[test]
fn escapes_mean_what_rfc_8259_says() {
    let good: &[(&str, &str)] = &[
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\u0041\u00e9\u20AC""#, "Aé€"),
        (r#""\ud83d\ude00!""#, "😀!"),
        (r#""\uD800\uDC00\uDBFF\uDFFF""#, "\u{10000}\u{10ffff}"),
        (r#""\u0000""#, "\u{0}"),
        (r#""a\\""#, "a\\"),
        (r#""\ue000\uffff""#, "\u{e000}\u{ffff}"),
    ];
    for (text, meaning) in good {
        assert_eq!(
            read(text.as_bytes()),
            Ok(meaning.as_bytes().to_vec()),
            "{text}"
        );
    }
    let bad: &[(&str, Fault)] = &[
        (r#""\ud800""#, Fault::Surrogate),
        (r#""\ud800x""#, Fault::Surrogate),
        (r#""\ud800\n""#, Fault::Surrogate),
        (r#""\ud800\u0041""#, Fault::Surrogate),
        (r#""\ud800\ud800""#, Fault::Surrogate),
        (r#""\udc00""#, Fault::Surrogate),
        (r#""\u12""#, Fault::Escape),
        (r#""\u12g4""#, Fault::Escape),
        (r#""\u+123""#, Fault::Escape),
        (r#""\U0041""#, Fault::Escape),
        (r#""\'""#, Fault::Escape),
        (r#""\"#, Fault::Truncated),
        (r#""\""#, Fault::Truncated),
    ];
    for (text, fault) in bad {
        assert_eq!(
            read(text.as_bytes()).map_err(|error| error.0),
            Err(*fault),
            "{text}"
        );
    }
}

#[test]
fn take_steps_only_over_the_very_bytes() {
    let text = b"\"abcdefghijklmnopqrstuvwxyz\"";
    for len in 1..text.len() {
        let mut input = Reader::new(text);
        assert!(input.take(&Expected::new(&text[..len])));
        assert_eq!(input.pos, len);
        for changed in 0..len {
            let mut other = text[..len].to_vec();
            other[changed] ^= 1;
            let mut input = Reader::new(text);
            assert!(
                !input.take(&Expected::new(&other)),
                "byte {changed} of {len}"
            );
            assert_eq!(input.pos, 0);
        }
        let mut short = Reader::new(&text[..len - 1]);
        assert!(!short.take(&Expected::new(&text[..len])));
    }
}
