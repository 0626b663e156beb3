//! [`Frame`] for `tokio_util::codec`, at the two ends of the host channel.

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{WireError, frame::Frame};

/// [`Frame`] for `tokio_util::codec`.
#[derive(Debug, Default, Clone, Copy)]
pub struct FrameCodec;

impl Encoder<Frame> for FrameCodec {
    type Error = std::io::Error;
    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), Self::Error> {
        frame.encode(out).map_err(invalid_data)
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = std::io::Error;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Self::Error> {
        Frame::decode(input).map_err(invalid_data)
    }

    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, Self::Error> {
        match Frame::decode(input).map_err(invalid_data)? {
            Some(frame) => Ok(Some(frame)),
            None if input.is_empty() => Ok(None),
            None => Err(invalid_data(WireError::Truncated("frame"))),
        }
    }
}

/// The kind of I/O error that a malformed frame is.
fn invalid_data(error: WireError) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_frame_is_an_error_at_the_end() {
        let mut input = BytesMut::from(&[2, 0, 0, 0, 4, 1][..]);
        assert!(FrameCodec.decode_eof(&mut input).is_err());
    }
}
