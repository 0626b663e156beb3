//! Bounds on what a request or a checkpoint may ask for.

/// Stop strings of one request.
pub const STOP_STRINGS_MAX: usize = 16;
/// Bytes of one stop string.
pub const STOP_STRING_BYTES_MAX: usize = 1024;
/// Messages of one chat.
pub const MESSAGES_MAX: usize = 4096;
/// Tokens with a logit bias.
pub const LOGIT_BIASES_MAX: usize = 1024;
/// Alternatives whose log probabilities are told for each token, as OpenAI publishes it.
pub const TOP_LOGPROBS_MAX: usize = 20;
/// Completions of one request.
pub const CHOICES_MAX: usize = 16;
/// Bytes of a JSON schema, a regular expression or a grammar.
pub const CONSTRAINT_BYTES_MAX: usize = 64 << 10;
/// Functions that a request may offer, as OpenAI publishes it.
pub const TOOLS_MAX: usize = 128;
/// Bytes of the definitions of a request's functions.
pub const TOOLS_BYTES_MAX: usize = 256 << 10;
/// Bytes of a function's name, as OpenAI publishes it.
pub const TOOL_NAME_BYTES_MAX: usize = 64;
/// Bytes of a text that is embedded, with the model's default prompt.
pub const EMBEDDING_TEXT_BYTES_MAX: usize = 1 << 20;
