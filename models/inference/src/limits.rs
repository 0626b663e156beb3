//! Bounds on what a request or a checkpoint may ask for.

/// Stop strings of one request.
pub const STOP_STRINGS_MAX: usize = 16;
/// Bytes of one stop string.
pub const STOP_STRING_BYTES_MAX: usize = 1024;
/// Messages of one chat.
pub const MESSAGES_MAX: usize = 4096;
/// Bytes of a text that is embedded, with the model's default prompt.
pub const EMBEDDING_TEXT_BYTES_MAX: usize = 1 << 20;
