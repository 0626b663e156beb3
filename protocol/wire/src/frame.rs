//! Frames on the channel between host and enclave. One connection is one stream.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | type: 1 open, 2 data, 3 end, 4 abort |
//! | 4 | payload size, big-endian, at most [`FRAME_PAYLOAD_BYTES_MAX`] |
//! | … | payload: open and abort carry CBOR, data is opaque, end is empty |
//!
//! Each direction begins with open on the opener's side, then data, and ends with end or abort. A direction that
//! stops without either was cut, and that is an error for whoever reads it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::FRAME_PAYLOAD_BYTES_MAX;
use crate::message::StreamPurpose;
use crate::{ProblemCode, WireError};

#[cfg(feature = "tokio")]
pub use crate::frame_codec::FrameCodec;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First frame of a connection: what the stream is for.
    Open(StreamPurpose),
    /// Opaque bytes.
    Data(Bytes),
    /// The direction is complete.
    End,
    /// The stream failed; nothing follows.
    Abort(ProblemCode),
}

impl Frame {
    /// Type byte.
    fn kind(&self) -> u8 {
        match self {
            Self::Open(_) => 1,
            Self::Data(_) => 2,
            Self::End => 3,
            Self::Abort(_) => 4,
        }
    }

    /// Splits `bytes` into data frames of at most the largest payload.
    pub fn data(bytes: Bytes) -> impl Iterator<Item = Frame> {
        let mut rest = bytes;
        std::iter::from_fn(move || {
            let size = rest.len().min(FRAME_PAYLOAD_BYTES_MAX);
            (size > 0).then(|| Frame::Data(rest.split_to(size)))
        })
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), WireError> {
        let payload: Bytes = match self {
            Self::Open(purpose) => purpose.to_cbor().into(),
            Self::Data(data) => data.clone(),
            Self::End => Bytes::new(),
            Self::Abort(code) => crate::codec::to_cbor(code).into(),
        };
        if payload.len() > FRAME_PAYLOAD_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "frame payload",
                limit: FRAME_PAYLOAD_BYTES_MAX,
            });
        }
        out.reserve(HEADER_BYTES + payload.len());
        out.put_u8(self.kind());
        out.put_u32(u32::try_from(payload.len()).expect("bounded above"));
        out.put_slice(&payload);
        Ok(())
    }

    /// Takes one frame from the front of `input`; `None` when more bytes are needed. The size is checked before
    /// anything is reserved for it.
    pub fn decode(input: &mut BytesMut) -> Result<Option<Self>, WireError> {
        let Some(header) = input.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [kind, size @ ..] = *header;
        if !(1..=4).contains(&kind) {
            return Err(WireError::Unknown("frame type"));
        }
        let size = usize::try_from(u32::from_be_bytes(size)).map_err(|_| WireError::Malformed("frame"))?;
        if size > FRAME_PAYLOAD_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "frame payload",
                limit: FRAME_PAYLOAD_BYTES_MAX,
            });
        }
        if input.len() < HEADER_BYTES + size {
            input.reserve(HEADER_BYTES + size - input.len());
            return Ok(None);
        }
        input.advance(HEADER_BYTES);
        let payload = input.split_to(size).freeze();
        Ok(Some(match kind {
            1 => Self::Open(StreamPurpose::from_cbor(&payload)?),
            2 => Self::Data(payload),
            3 if payload.is_empty() => Self::End,
            4 => Self::Abort(crate::codec::from_cbor(&payload, "abort", 128)?),
            _ => return Err(WireError::Malformed("end frame")),
        }))
    }
}

const HEADER_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Media;
    use proptest::prelude::*;

    fn all() -> Vec<Frame> {
        vec![
            Frame::Open(StreamPurpose::Gateway {
                media: Media::Chunked,
            }),
            Frame::Data(Bytes::from_static(b"opaque")),
            Frame::Data(Bytes::new()),
            Frame::End,
            Frame::Abort(ProblemCode::KeyConfig),
        ]
    }

    #[test]
    fn round_trip_byte_by_byte() {
        let mut wire = BytesMut::new();
        for frame in all() {
            frame.encode(&mut wire).expect("small frames");
        }
        let mut input = BytesMut::new();
        let mut read = Vec::new();
        for byte in wire {
            input.put_u8(byte);
            while let Some(frame) = Frame::decode(&mut input).expect("well-formed") {
                read.push(frame);
            }
        }
        assert_eq!(read, all());
        assert!(input.is_empty());
    }

    #[test]
    fn bounds_are_checked_from_the_header_alone() {
        let mut input = BytesMut::from(&[2, 0, 1, 0, 1][..]);
        assert!(matches!(
            Frame::decode(&mut input),
            Err(WireError::TooLarge { .. })
        ));
        let mut input = BytesMut::from(&[9, 0, 0, 0, 0][..]);
        assert_eq!(Frame::decode(&mut input), Err(WireError::Unknown("frame type")));
        let mut input = BytesMut::from(&[3, 0, 0, 0, 1, 0][..]);
        assert_eq!(Frame::decode(&mut input), Err(WireError::Malformed("end frame")));
        let big = Frame::Data(Bytes::from(vec![0; FRAME_PAYLOAD_BYTES_MAX + 1]));
        assert!(big.encode(&mut BytesMut::new()).is_err());
    }

    #[test]
    fn data_is_split_at_the_payload_limit() {
        let frames: Vec<_> = Frame::data(Bytes::from(vec![7; FRAME_PAYLOAD_BYTES_MAX + 1])).collect();
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[1], Frame::Data(Bytes::from_static(&[7])));
        assert_eq!(Frame::data(Bytes::new()).count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut input) {}
        }
    }
}
