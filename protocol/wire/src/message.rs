//! Control messages of the channel between host and enclave.

use minicbor::{Decode, Encode};

use crate::{WireError, codec, limits};

/// How an encapsulated message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Media {
    /// RFC 9458: one ciphertext.
    #[n(0)]
    OneShot,
    /// draft-ietf-ohai-chunked-ohttp-08: a sequence of chunks with an authenticated end.
    #[n(1)]
    Chunked,
}

impl Media {
    /// The media of a request with this content type, if it is one.
    pub fn of_request_type(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        [Self::OneShot, Self::Chunked]
            .into_iter()
            .find(|m| essence.eq_ignore_ascii_case(m.request_type()))
    }

    /// Content type of a request.
    pub fn request_type(self) -> &'static str {
        match self {
            Self::OneShot => crate::media::OHTTP_REQUEST,
            Self::Chunked => crate::media::OHTTP_CHUNKED_REQUEST,
        }
    }

    /// Content type of a response.
    pub fn response_type(self) -> &'static str {
        match self {
            Self::OneShot => crate::media::OHTTP_RESPONSE,
            Self::Chunked => crate::media::OHTTP_CHUNKED_RESPONSE,
        }
    }
}

/// First message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StreamPurpose {
    /// Host to enclave: fresh evidence for this nonce. Answer: the bundle.
    #[n(0)]
    Evidence {
        /// The relying party's nonce.
        #[cbor(n(0), with = "minicbor::bytes")]
        nonce: [u8; 32],
    },
    /// Host to enclave: an encapsulated request follows. Answer: the encapsulated response.
    #[n(1)]
    Gateway {
        /// Framing of request and response.
        #[n(0)]
        media: Media,
    },
    /// Host to enclave: how is it going. Answer: one [`Status`].
    #[n(2)]
    Status,
    /// Enclave to host: pipe raw bytes to the configured broker from here on.
    #[n(3)]
    Broker,
    /// Enclave to host: endorsements from the cache. Answer: an opaque document that nobody trusts the host for.
    #[n(4)]
    Endorsements {
        /// Platform tag of the evidence.
        #[n(0)]
        platform: String,
        /// What the endorsements are for, in the platform's terms.
        #[cbor(n(1), with = "minicbor::bytes")]
        subject: Vec<u8>,
    },
    /// Enclave to host: each data frame is one line of JSON for the log or the audit trail.
    #[n(5)]
    Log,
}

impl StreamPurpose {
    /// CBOR form.
    pub fn to_cbor(&self) -> Vec<u8> {
        codec::to_cbor(self)
    }

    /// Parses the CBOR form.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, WireError> {
        let purpose = codec::from_cbor(bytes, "stream purpose", limits::CONTROL_MESSAGE_BYTES_MAX)?;
        if let Self::Endorsements { platform, subject } = &purpose
            && (platform.len() > 64 || subject.len() > limits::ENDORSEMENT_SUBJECT_BYTES_MAX)
        {
            return Err(WireError::TooLarge {
                what: "endorsement subject",
                limit: limits::ENDORSEMENT_SUBJECT_BYTES_MAX,
            });
        }
        Ok(purpose)
    }
}

/// Where the enclave is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// Started; keys made.
    #[n(0)]
    Booted,
    /// Evidence collected.
    #[n(1)]
    Attested,
    /// Model key received, model being opened.
    #[n(2)]
    Provisioned,
    /// Taking requests.
    #[n(3)]
    Serving,
    /// Finishing what is in flight; takes nothing new.
    #[n(4)]
    Stopping,
}

impl Phase {
    /// The phase as a word, for status lines and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booted => "booted",
            Self::Attested => "attested",
            Self::Provisioned => "provisioned",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }
}

/// Content-free counters, for the host's metrics. The enclave decides what is here; nothing else leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// Phase of the lifecycle.
    #[n(0)]
    pub phase: Phase,
    /// Why the phase is not reached or was left, as a problem code; empty when there is nothing to say.
    #[n(1)]
    pub detail_code: String,
    /// Key epoch, counted from 1 at boot.
    #[n(2)]
    pub epoch: u64,
    /// Seconds since boot.
    #[n(3)]
    pub uptime_seconds: u64,
    /// Requests whose encapsulation was opened.
    #[n(4)]
    pub requests_total: u64,
    /// Requests being answered.
    #[n(5)]
    pub requests_active: u64,
    /// Requests refused as replays.
    #[n(6)]
    pub replays_refused_total: u64,
    /// Prompt tokens taken.
    #[n(7)]
    pub tokens_in_total: u64,
    /// Completion tokens produced.
    #[n(8)]
    pub tokens_out_total: u64,
}

impl Status {
    /// CBOR form.
    pub fn to_cbor(&self) -> Vec<u8> {
        codec::to_cbor(self)
    }

    /// Parses the CBOR form.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, WireError> {
        codec::from_cbor(bytes, "status", limits::CONTROL_MESSAGE_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn purposes_round_trip_and_are_bounded() {
        for purpose in [
            StreamPurpose::Evidence { nonce: [7; 32] },
            StreamPurpose::Gateway {
                media: Media::OneShot,
            },
            StreamPurpose::Status,
            StreamPurpose::Broker,
            StreamPurpose::Endorsements {
                platform: "intel-tdx".into(),
                subject: vec![1; 64],
            },
            StreamPurpose::Log,
        ] {
            assert_eq!(StreamPurpose::from_cbor(&purpose.to_cbor()), Ok(purpose));
        }
        let big = StreamPurpose::Endorsements {
            platform: "x".into(),
            subject: vec![0; 1025],
        };
        assert!(matches!(
            StreamPurpose::from_cbor(&big.to_cbor()),
            Err(WireError::TooLarge { .. })
        ));
    }

    #[test]
    fn content_types() {
        assert_eq!(Media::of_request_type("message/ohttp-req"), Some(Media::OneShot));
        assert_eq!(
            Media::of_request_type("Message/OHTTP-chunked-req; x=1"),
            Some(Media::Chunked)
        );
        assert_eq!(Media::of_request_type("message/ohttp-res"), None);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = StreamPurpose::from_cbor(&bytes);
            let _ = Status::from_cbor(&bytes);
        }
    }
}
