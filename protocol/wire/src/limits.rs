//! The bound of every hostile input (I13), in one place. Units are last in each name.

/// Payload of one frame between host and enclave.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// An encapsulated request, header and encapsulated key included.
pub const ENCAPSULATED_REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// An encapsulated response, as a client accepts it.
pub const ENCAPSULATED_RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Plaintext of one chunk of chunked Oblivious HTTP (draft-ietf-ohai-chunked-ohttp-08 section 3: 2^14 octets
/// that every receiver must accept; we send and take no more).
pub const CHUNK_PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
/// Ciphertext of one chunk: plaintext plus the largest AEAD tag.
pub const CHUNK_CIPHERTEXT_BYTES_MAX: usize = CHUNK_PLAINTEXT_BYTES_MAX + 16;
/// An evidence bundle.
pub const BUNDLE_BYTES_MAX: usize = 1024 * 1024;
/// Endorsements of one platform, as the host's cache supplies them.
pub const ENDORSEMENTS_BYTES_MAX: usize = 1024 * 1024;
/// Subject of an endorsement request (a hardware id, never a secret).
pub const ENDORSEMENT_SUBJECT_BYTES_MAX: usize = 1024;
/// An `application/ohttp-keys` document.
pub const KEY_CONFIGS_BYTES_MAX: usize = 64 * 1024;
/// Key configurations in one document.
pub const KEY_CONFIGS_MAX: usize = 16;
/// Symmetric suites in one key configuration.
pub const SYMMETRIC_SUITES_MAX: usize = 16;
/// One message of the key release, length prefix excluded.
pub const RELEASE_MESSAGE_BYTES_MAX: usize = BUNDLE_BYTES_MAX + 64 * 1024;
/// A sealed payload of the key release.
pub const RELEASE_SEALED_BYTES_MAX: usize = 64 * 1024;
/// A release record.
pub const RELEASE_RECORD_BYTES_MAX: usize = 16 * 1024;
/// A model id.
pub const MODEL_ID_BYTES_MAX: usize = 128;
/// A problem document.
pub const PROBLEM_BYTES_MAX: usize = 4 * 1024;
/// One CBOR message that opens a stream, aborts it or carries a status.
pub const CONTROL_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// One line of a log, host-visible.
pub const LOG_LINE_BYTES_MAX: usize = 8 * 1024;
/// Issuer keys that one model's policy can name.
pub const TOKEN_ISSUERS_MAX: usize = 16;
