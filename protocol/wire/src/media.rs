//! Media types, paths and header names of the HTTP surface.

/// RFC 9458 section 3.2: a list of key configurations.
pub const OHTTP_KEYS: &str = "application/ohttp-keys";
/// RFC 9458 section 4.3: an encapsulated request in one piece.
pub const OHTTP_REQUEST: &str = "message/ohttp-req";
/// RFC 9458 section 4.4: an encapsulated response in one piece.
pub const OHTTP_RESPONSE: &str = "message/ohttp-res";
/// draft-ietf-ohai-chunked-ohttp-08: an encapsulated request in chunks.
pub const OHTTP_CHUNKED_REQUEST: &str = "message/ohttp-chunked-req";
/// draft-ietf-ohai-chunked-ohttp-08: an encapsulated response in chunks.
pub const OHTTP_CHUNKED_RESPONSE: &str = "message/ohttp-chunked-res";
/// An evidence bundle.
pub const BUNDLE: &str = "application/vnd.adyton.bundle+cbor";
/// RFC 9457: a problem document.
pub const PROBLEM: &str = "application/problem+json";
/// Where the host serves evidence; the query has `nonce`, 32 bytes in base64url.
pub const EVIDENCE_PATH: &str = "/.well-known/adyton/evidence";
/// Where the host takes encapsulated requests.
pub const OHTTP_PATH: &str = "/ohttp";
/// ALPN of the key-release connection.
pub const RELEASE_ALPN: &[u8] = b"adyton-release/1";
/// Label of the TLS exporter that binds evidence to the key-release connection.
pub const RELEASE_EXPORTER_LABEL: &str = "EXPORTER-adyton-attestation";
