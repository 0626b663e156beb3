//! Messages of the key release (enclave and broker), CBOR behind a four-byte big-endian length.
//!
//! 1. broker → enclave: [`Challenge`]
//! 2. enclave → broker: [`ReleaseRequest`], with evidence bound to the challenge and the connection
//! 3. broker → enclave: [`ReleaseAnswer`]; what is released is sealed to the enclave's wrap key, so that even
//!    these bytes may be seen by anyone

use bytes::{Buf, BufMut, BytesMut};
use minicbor::{Decode, Encode};

use crate::ids::ModelId;
use crate::problem::ProblemCode;
use crate::{WireError, codec, limits};

/// Version of these messages.
pub const RELEASE_VERSION: u8 = 1;

/// The broker's nonce.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Challenge {
    /// [`RELEASE_VERSION`].
    #[n(0)]
    pub version: u8,
    /// Fresh for this connection.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
}

/// What the enclave asks for, and the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReleaseRequest {
    /// The model.
    #[n(0)]
    pub model_id: ModelId,
    /// Evidence bundle, exact bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bundle: Vec<u8>,
}

/// The broker's answer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ReleaseAnswer {
    /// Released: `sealed` opens with the wrap key and `record` as associated data.
    #[n(0)]
    Released {
        /// CBOR of a [`ReleaseRecord`], exact bytes.
        #[cbor(n(0), with = "minicbor::bytes")]
        record: Vec<u8>,
        /// Sealed to the wrap key.
        #[cbor(n(1), with = "minicbor::bytes")]
        sealed: Vec<u8>,
    },
    /// Nothing was released.
    #[n(1)]
    Refused {
        /// Why.
        #[n(0)]
        code: ProblemCode,
        /// What a person can do about it.
        #[n(1)]
        hint: String,
        /// When asking again may help.
        #[n(2)]
        retry_after_seconds: Option<u32>,
    },
}

/// What was released to whom, as the audit log has it. Associated data of the sealed key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReleaseRecord {
    /// [`RELEASE_VERSION`].
    #[n(0)]
    pub version: u8,
    /// The model.
    #[n(1)]
    pub model_id: ModelId,
    /// SHA-256 of the sealed model's signed manifest payload.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub manifest_digest: [u8; 32],
    /// SHA-256 of the enclave's identity statement.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub statement_sha256: [u8; 32],
    /// Seconds since 1970-01-01, by the broker's clock.
    #[n(4)]
    pub released_at: u64,
    /// Index of the audit entry.
    #[n(5)]
    pub audit_index: u64,
    /// Root of the audit tree that contains it.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub audit_root: [u8; 32],
    /// Signed checkpoint over that root.
    #[n(7)]
    pub checkpoint: String,
    /// How long the key may be used before it must be asked for again.
    #[n(8)]
    pub lease_seconds: u32,
    /// SHA-256 of the release policy.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub policy_digest: [u8; 32],
}

macro_rules! message {
    ($name:ident, $what:literal, $limit:expr) => {
        impl $name {
            /// CBOR form.
            pub fn to_cbor(&self) -> Vec<u8> {
                codec::to_cbor(self)
            }

            /// Parses the CBOR form; refuses what follows it and what is over the limit.
            pub fn from_cbor(bytes: &[u8]) -> Result<Self, WireError> {
                codec::from_cbor(bytes, $what, $limit)
            }
        }
    };
}
message!(Challenge, "challenge", 128);
message!(
    ReleaseRequest,
    "release request",
    limits::RELEASE_MESSAGE_BYTES_MAX
);
message!(
    ReleaseAnswer,
    "release answer",
    limits::RELEASE_SEALED_BYTES_MAX + limits::RELEASE_RECORD_BYTES_MAX
);
message!(ReleaseRecord, "release record", limits::RELEASE_RECORD_BYTES_MAX);

/// Appends `message` with its length prefix.
pub fn write_message(message: &[u8], out: &mut BytesMut) -> Result<(), WireError> {
    if message.len() > limits::RELEASE_MESSAGE_BYTES_MAX {
        return Err(WireError::TooLarge {
            what: "message",
            limit: limits::RELEASE_MESSAGE_BYTES_MAX,
        });
    }
    out.put_u32(u32::try_from(message.len()).expect("bounded above"));
    out.put_slice(message);
    Ok(())
}

/// Takes one length-prefixed message from the front of `input`; `None` when more bytes are needed.
pub fn read_message(input: &mut BytesMut, limit: usize) -> Result<Option<BytesMut>, WireError> {
    let Some(prefix) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let size = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| WireError::Malformed("message"))?;
    if size > limit {
        return Err(WireError::TooLarge {
            what: "message",
            limit,
        });
    }
    if input.len() < 4 + size {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_round_trip() {
        let model_id = ModelId::new("sample").expect("well-formed");
        let challenge = Challenge {
            version: RELEASE_VERSION,
            nonce: [1; 32],
        };
        assert_eq!(Challenge::from_cbor(&challenge.to_cbor()), Ok(challenge));
        let request = ReleaseRequest {
            model_id: model_id.clone(),
            bundle: vec![2; 1000],
        };
        assert_eq!(ReleaseRequest::from_cbor(&request.to_cbor()), Ok(request));
        let record = ReleaseRecord {
            version: RELEASE_VERSION,
            model_id,
            manifest_digest: [1; 32],
            statement_sha256: [2; 32],
            released_at: 3,
            audit_index: 4,
            audit_root: [5; 32],
            checkpoint: "c".into(),
            lease_seconds: 6,
            policy_digest: [7; 32],
        };
        assert_eq!(ReleaseRecord::from_cbor(&record.to_cbor()), Ok(record.clone()));
        for answer in [
            ReleaseAnswer::Released {
                record: record.to_cbor(),
                sealed: vec![9; 40],
            },
            ReleaseAnswer::Refused {
                code: ProblemCode::PolicyRefused,
                hint: "h".into(),
                retry_after_seconds: Some(5),
            },
        ] {
            assert_eq!(ReleaseAnswer::from_cbor(&answer.to_cbor()), Ok(answer));
        }
    }

    #[test]
    fn prefix_is_bounded_before_the_message_arrives() {
        let mut wire = BytesMut::new();
        write_message(b"abc", &mut wire).expect("small");
        let mut part = wire.split_to(6);
        assert_eq!(read_message(&mut part, 8), Ok(None));
        part.unsplit(wire);
        assert_eq!(read_message(&mut part, 8), Ok(Some(BytesMut::from(&b"abc"[..]))));
        let mut huge = BytesMut::from(&[0xff; 4][..]);
        assert!(read_message(&mut huge, 8).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            let _ = Challenge::from_cbor(&bytes);
            let _ = ReleaseRequest::from_cbor(&bytes);
            let _ = ReleaseAnswer::from_cbor(&bytes);
            let _ = ReleaseRecord::from_cbor(&bytes);
            let _ = read_message(&mut BytesMut::from(&bytes[..]), 64);
        }
    }
}
