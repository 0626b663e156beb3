//! One simulated platform for all tests, kept between runs because its RSA keys take long to make.

use std::{
    path::Path,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use attestation::UnixTime;
use simulated::Platform;

const VALIDITY_SECONDS: u64 = 30 * 24 * 3600;

/// The system's clock.
pub(crate) fn unix_now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    UnixTime::from_seconds(since.as_secs())
}

/// The platform.
pub(crate) fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    PLATFORM.get_or_init(|| {
        // Cargo names this folder for tests and not for examples.
        let kept =
            option_env!("CARGO_TARGET_TMPDIR").map(|folder| Path::new(folder).join("simulated-platform"));
        if let Some(mut platform) = kept.as_deref().and_then(|kept| Platform::load(kept).ok())
            && platform.renew(unix_now(), VALIDITY_SECONDS).is_ok()
        {
            return platform;
        }
        let platform = Platform::manufacture(unix_now(), VALIDITY_SECONDS).expect("a platform is made");
        // Another run of the tests may be writing the same; a platform that does not load is made again.
        let _ = kept.map(|kept| platform.save(&kept));
        platform
    })
}
