//! How much memory there is for the key-value cache.

use std::fs;

/// Where the system does not say: enough for a small model, too little to do harm.
const UNKNOWN_BYTES: usize = 1 << 30;

/// Half of what the system can give without taking it from others. It knows nothing of control groups: whoever sets one
/// sets `limits.cache_bytes_max` too.
pub(crate) fn cache_bytes() -> usize {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available_bytes(&text).map_or(UNKNOWN_BYTES, |bytes| bytes / 2)
}

/// `MemAvailable` of proc_meminfo(5).
fn available_bytes(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: usize = line.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found_and_anything_else_is_unknown() {
        let text = "MemTotal:       24689004 kB\nMemFree:        19000000 kB\nMemAvailable:   22000000 kB\n";
        assert_eq!(available_bytes(text), Some(22_000_000 * 1024));
        for text in [
            "",
            "MemAvailable: many kB",
            "MemAvailable: 18446744073709551615 kB",
            "MemAvailable: 5",
        ] {
            assert_eq!(available_bytes(text), None);
        }
        assert!(cache_bytes() > 1 << 20, "this machine says");
    }
}
