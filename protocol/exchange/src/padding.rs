//! How lengths and timing are hidden.
/// A padding profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Padding {
    /// Nothing is padded: lengths of tokens can be read off the ciphertext.
    Off,
    /// Requests in buckets, response chunks in multiples of one size.
    #[default]
    Sized,
    /// As `sized`, and one chunk of the one size at each tick of a clock.
    Constant,
}
