//! How lengths and timing are hidden.
//!
//! Requests, and responses in one piece, are filled with zero bytes up to a bucket (RFC 9292 section 3.8). Streams
//! go out in chunks whose plaintext is a multiple of [`CHUNK_UNIT_BYTES`], filled with comment lines of the
//! server-sent-event format, which every reader of that format passes over.

use zeroize::Zeroizing;

/// A padding profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Padding {
    /// Nothing is padded: the length of each token can be read off the ciphertext.
    Off,
    /// Requests in buckets, response chunks in multiples of one size. Hides the length of tokens, not their number
    /// and timing.
    #[default]
    Sized,
    /// As `sized`, and one chunk of the one size at each tick of a clock, whether there is a token or not. Hides
    /// number and timing too, up to the duration of the answer.
    Constant,
}

/// Plaintext of a padded response chunk is a multiple of this.
pub const CHUNK_UNIT_BYTES: usize = 1024;
/// Smallest bucket of a message in one piece.
pub const BUCKET_BYTES_MIN: usize = 1024;
/// From here on buckets are multiples of this; below they are powers of two.
pub const BUCKET_BYTES_STEP: usize = 64 * 1024;

impl Padding {
    /// The profile's name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Sized => "sized",
            Self::Constant => "constant",
        }
    }

    /// Milliseconds between two chunks in profile `constant`.
    pub fn tick_milliseconds(self) -> Option<u64> {
        (self == Self::Constant).then_some(50)
    }

    /// Fills a message in one piece with zero bytes up to its bucket.
    pub(crate) fn fill_bucket(self, message: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
        if self == Self::Off {
            return message;
        }
        let mut filled = Zeroizing::new(Vec::with_capacity(bucket_bytes(message.len())));
        filled.extend_from_slice(&message);
        filled.resize(bucket_bytes(message.len()), 0);
        filled
    }
}

impl core::str::FromStr for Padding {
    type Err = UnknownPadding;
    fn from_str(s: &str) -> Result<Self, UnknownPadding> {
        [Self::Off, Self::Sized, Self::Constant]
            .into_iter()
            .find(|p| p.as_str() == s)
            .ok_or(UnknownPadding)
    }
}

/// Not the name of a padding profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("padding is `off`, `sized` or `constant`")]
pub struct UnknownPadding;

/// The bucket of a message: a power of two from [`BUCKET_BYTES_MIN`], then multiples of [`BUCKET_BYTES_STEP`].
fn bucket_bytes(size: usize) -> usize {
    if size <= BUCKET_BYTES_STEP {
        size.max(BUCKET_BYTES_MIN).next_power_of_two()
    } else {
        size.next_multiple_of(BUCKET_BYTES_STEP)
    }
}

/// Appends exactly `bytes` of server-sent-event padding: a comment line, or an empty line where only one byte is
/// wanted. Must stand at the beginning of a line.
pub(crate) fn write_event_padding(bytes: usize, out: &mut Vec<u8>) {
    if bytes >= 2 {
        out.push(b':');
        out.resize(out.len() + bytes - 2, b'~');
    }
    if bytes >= 1 {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets() {
        for (size, bucket) in [
            (0, 1024),
            (1, 1024),
            (1024, 1024),
            (1025, 2048),
            (40_000, 65_536),
            (65_536, 65_536),
            (65_537, 131_072),
            (200_000, 262_144),
            (300_000, 327_680),
        ] {
            assert_eq!(bucket_bytes(size), bucket, "{size}");
        }
    }

    #[test]
    fn only_the_profile_off_shows_the_size() {
        let message = || Zeroizing::new(vec![1; 700]);
        assert_eq!(Padding::Off.fill_bucket(message()).len(), 700);
        for padding in [Padding::Sized, Padding::Constant] {
            let filled = padding.fill_bucket(message());
            assert_eq!(filled.len(), 1024);
            assert!(filled.iter().skip(700).all(|b| *b == 0));
        }
    }

    #[test]
    fn event_padding_has_exactly_the_size_and_is_one_line() {
        for bytes in 0..100 {
            let mut out = Vec::new();
            write_event_padding(bytes, &mut out);
            assert_eq!(out.len(), bytes);
            assert_eq!(
                out.iter().filter(|b| **b == b'\n').count(),
                usize::from(bytes > 0)
            );
        }
    }

    #[test]
    fn names() {
        for padding in [Padding::Off, Padding::Sized, Padding::Constant] {
            assert_eq!(padding.as_str().parse(), Ok(padding));
        }
        assert!("none".parse::<Padding>().is_err());
        assert_eq!(Padding::default(), Padding::Sized);
    }
}
