//! Requests and responses as bytes: frames, headers, and the versions that we and a broker have in common.
//!
//! Invariant: a request is sent only in a version that the broker has offered. What a message means is not known here.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use std::collections::BTreeMap;

/// A frame that does not say what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error(
        "the broker speaks no version of {api:?} that this client knows ({min} to {max}); it needs Kafka 2.4 or later"
    )]
    NoVersion { api: ApiKey, min: i16, max: i16 },
    #[error("a {what} cannot be read: {message}")]
    Damaged { what: &'static str, message: String },
    #[error("a {what} cannot be written: {message}")]
    Unwritable { what: &'static str, message: String },
}

/// The versions of each request that one broker offers.
#[derive(Debug, Clone, Default)]
pub struct Versions(BTreeMap<i16, (i16, i16)>);

impl Versions {
    pub fn of(answer: &ApiVersionsResponse) -> Self {
        let offered = answer.api_keys.iter();
        Versions(
            offered
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect(),
        )
    }

    /// The highest version from `min` to `max` that the broker offers.
    ///
    /// # Errors
    /// There is none.
    pub fn pick(&self, api: ApiKey, min: i16, max: i16) -> Result<i16, WireError> {
        let none = WireError::NoVersion { api, min, max };
        let (low, high) = self.0.get(&(api as i16)).ok_or(none.clone())?;
        let picked = max.min(*high);
        if picked < min.max(*low) {
            return Err(none);
        }
        Ok(picked)
    }
}

/// A request with its length, header and body.
///
/// # Errors
/// The body has fields that the version does not know.
pub fn request<B: Encodable + HeaderVersion>(
    api: ApiKey,
    version: i16,
    correlation: i32,
    client_id: &str,
    body: &B,
) -> Result<Bytes, WireError> {
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client_id.to_string())));
    let mut frame = BytesMut::with_capacity(512);
    frame.put_i32(0);
    header
        .encode(&mut frame, B::header_version(version))
        .and_then(|()| body.encode(&mut frame, version))
        .map_err(|error| WireError::Unwritable {
            what: "request",
            message: error.to_string(),
        })?;
    let len = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&len.to_be_bytes());
    Ok(frame.freeze())
}

/// The correlation id with which a response (without its length) begins.
///
/// # Errors
/// It is shorter than that.
pub fn correlation(frame: &[u8]) -> Result<i32, WireError> {
    let id = frame.first_chunk().ok_or(WireError::Damaged {
        what: "response",
        message: format!("{} bytes", frame.len()),
    })?;
    Ok(i32::from_be_bytes(*id))
}

/// The body of a response (without its length).
///
/// # Errors
/// It does not have the version's layout.
pub fn response<B: Decodable + HeaderVersion>(
    mut frame: Bytes,
    version: i16,
) -> Result<B, WireError> {
    let damaged = |message| WireError::Damaged {
        what: "response",
        message,
    };
    ResponseHeader::decode(&mut frame, B::header_version(version))
        .map_err(|error| damaged(error.to_string()))?;
    let body = B::decode(&mut frame, version).map_err(|error| damaged(error.to_string()))?;
    if frame.has_remaining() {
        return Err(damaged(format!(
            "{} bytes are left of it",
            frame.remaining()
        )));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{ApiVersionsRequest, MetadataResponse};

    fn offered(min: i16, max: i16) -> Versions {
        let api = ApiVersion::default()
            .with_api_key(ApiKey::Fetch as i16)
            .with_min_version(min)
            .with_max_version(max);
        Versions::of(&ApiVersionsResponse::default().with_api_keys(vec![api]))
    }

    #[test]
    fn the_highest_common_version_is_picked_and_none_is_an_error() {
        for (min, max, picked) in [
            (0, 17, Some(12)),
            (4, 11, Some(11)),
            (13, 17, None),
            (0, 3, None),
        ] {
            let found = offered(min, max).pick(ApiKey::Fetch, 4, 12);
            assert_eq!(found.ok(), picked, "{min} to {max}");
        }
        let other = offered(0, 9).pick(ApiKey::Metadata, 4, 12).unwrap_err();
        assert!(other.to_string().contains("Metadata"), "{other}");
    }

    #[test]
    fn a_request_is_pinned_and_its_length_is_that_of_the_rest() {
        let body = ApiVersionsRequest::default();
        let frame = request(ApiKey::ApiVersions, 0, 7, "me", &body).unwrap();
        assert_eq!(
            frame[..],
            [0, 0, 0, 12, 0, 18, 0, 0, 0, 0, 0, 7, 0, 2, b'm', b'e']
        );
    }

    #[test]
    fn a_short_or_a_long_response_is_refused() {
        assert!(correlation(&[0, 0, 1]).is_err());
        assert_eq!(correlation(&[0, 0, 0, 9, 1]), Ok(9));
        for garbage in [&[0u8; 7][..], &[0; 200], &[255; 40]] {
            let read = response::<MetadataResponse>(Bytes::copy_from_slice(garbage), 1);
            assert!(read.is_err(), "{} bytes", garbage.len());
        }
    }
}
