//! The one place that reads the time. It is the host's to influence: dates only ever tighten what is accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use exchange::UnixTime;

/// Now, by the system's clock; before 1970 counts as 1970.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_seconds(since.as_secs())
}
