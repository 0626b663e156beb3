//! How far a long operation has come.

/// Bytes of plaintext done and to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progressed {
    /// Bytes finished so far.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
}

/// Called from any thread after each step; must return quickly.
pub type Progress<'a> = &'a (dyn Fn(Progressed) + Sync);

/// Ignores progress.
pub fn silent(_: Progressed) {}
