//! Where tests find real evidence.

use std::path::{Path, PathBuf};

/// The vectors, or `None` (said plainly) if they are not here. In CI they must be.
pub(crate) fn folder() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("ADYTON_VECTORS").map_or(default, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    not_run(&format!(
        "no evidence vectors in {} (set ADYTON_VECTORS)",
        folder.display()
    ));
    None
}

/// Says that a test cannot run here; in CI that is a failure.
#[allow(clippy::print_stderr, reason = "tests say what they did not run")]
pub(crate) fn not_run(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    eprintln!("NOT RUN: {why}");
}
