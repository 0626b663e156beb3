//! Frames: a type, a stream, data. README.md has the table.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Data of one frame at most.
pub const DATA_BYTES_MAX: usize = 16 << 10;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The sender begins a stream.
    Open(u32),
    /// Data of a stream.
    Data(u32, Bytes),
    /// The sender has passed on so many bytes of the stream.
    Credit(u32, u32),
    /// The sender has no more data.
    Finish(u32),
    /// The stream is over on both sides.
    Reset(u32),
}

/// Reads the next frame.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is not one, and what the transport says.
pub async fn read<R: AsyncRead + Unpin>(transport: &mut R) -> io::Result<Frame> {
    let mut head = [0; 7];
    transport.read_exact(&mut head).await?;
    let [kind, a, b, c, d, high, low] = head;
    let id = u32::from_be_bytes([a, b, c, d]);
    let length = usize::from(u16::from_be_bytes([high, low]));
    match (kind, length) {
        (1, 0) => Ok(Frame::Open(id)),
        (2, 1..=DATA_BYTES_MAX) => {
            let mut data = vec![0; length];
            transport.read_exact(&mut data).await?;
            Ok(Frame::Data(id, data.into()))
        }
        (3, 4) => Ok(Frame::Credit(id, transport.read_u32().await?)),
        (4, 0) => Ok(Frame::Finish(id)),
        (5, 0) => Ok(Frame::Reset(id)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame")),
    }
}

/// Writes a frame; the caller flushes.
///
/// # Errors
/// What the transport says.
pub async fn write<W: AsyncWrite + Unpin>(transport: &mut W, frame: &Frame) -> io::Result<()> {
    let credit;
    let (kind, id, data): (u8, _, &[u8]) = match frame {
        Frame::Open(id) => (1, id, &[]),
        Frame::Data(id, data) => (2, id, data),
        Frame::Credit(id, bytes) => {
            credit = bytes.to_be_bytes();
            (3, id, &credit)
        }
        Frame::Finish(id) => (4, id, &[]),
        Frame::Reset(id) => (5, id, &[]),
    };
    let length = u16::try_from(data.len()).expect("data of a frame is at most 16 KiB");
    let mut head = [0; 7];
    head[0] = kind;
    head[1..5].copy_from_slice(&id.to_be_bytes());
    head[5..].copy_from_slice(&length.to_be_bytes());
    transport.write_all(&head).await?;
    transport.write_all(data).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut bytes: &[u8]) -> io::Result<Vec<Frame>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let mut frames = Vec::new();
            while !bytes.is_empty() {
                frames.push(read(&mut bytes).await?);
            }
            Ok(frames)
        })
    }

    #[test]
    fn frames_read_back() {
        let frames = [
            Frame::Open(7),
            Frame::Data(7, Bytes::from_static(b"ciphertext")),
            Frame::Credit(8, 0x0102_0304),
            Frame::Finish(u32::MAX),
            Frame::Reset(0),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut bytes = Vec::new();
        runtime.block_on(async {
            for frame in &frames {
                write(&mut bytes, frame).await.expect("into memory");
            }
        });
        assert_eq!(read_all(&bytes).expect("frames"), frames);
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_are_frames_or_an_error(bytes: Vec<u8>) {
            let _ = read_all(&bytes);
        }
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for head in [
            [0, 0, 0, 0, 1, 0, 0],
            [6, 0, 0, 0, 1, 0, 0],
            [1, 0, 0, 0, 1, 0, 1],
            [2, 0, 0, 0, 1, 0, 0],
            [2, 0, 0, 0, 1, 0x40, 1],
            [3, 0, 0, 0, 1, 0, 8],
        ] {
            let refusal = read_all(&head).expect_err("refused");
            assert_eq!(refusal.kind(), io::ErrorKind::InvalidData, "{head:?}");
        }
    }
}
