//! The signed manifest.

/// A manifest whose owner's signature was verified.
pub struct Manifest {
    model_id: String,
    version: u64,
    digest: [u8; 32],
}

impl Manifest {
    /// The model's identifier.
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// The version the owner gave at sealing.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the signed payload: what statements, records and policies name.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}
