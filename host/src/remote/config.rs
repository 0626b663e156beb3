//! `[remote]`: the guest of `--tee remote`.

use std::net::SocketAddrV4;

use serde::Deserialize;

/// A guest that somebody else started: a cloud, or another host. A wrong address costs availability: whoever answers has
/// no evidence that a client or a broker would take.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteConfig {
    /// The guest's address and port, which is 7001 in every image of ours. No name: nobody is asked for it.
    pub address: SocketAddrV4,
    /// Seconds until an attempt to connect is given up. Default: 5.
    #[serde(default = "connect_seconds_max")]
    pub connect_seconds_max: u64,
}

fn connect_seconds_max() -> u64 {
    5
}

impl RemoteConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let ip = self.address.ip();
        if self.address.port() == 0 || ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() {
            return Err(
                "remote.address must be one machine's address with a port, like 10.42.0.4:7001".to_owned(),
            );
        }
        if !(1..=60).contains(&self.connect_seconds_max) {
            return Err("remote.connect_seconds_max must be 1 to 60".to_owned());
        }
        Ok(())
    }
}
