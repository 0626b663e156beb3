//! What an attested process is for.

use core::fmt;

use serde::Deserialize;

/// The role that a statement claims and that `report_data` is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Serves inference: opens prompts.
    Inference,
    /// Releases model keys.
    Broker,
}

impl Role {
    /// The number in the statement and in `report_data`.
    pub const fn number(self) -> u8 {
        match self {
            Role::Inference => 1,
            Role::Broker => 2,
        }
    }

    /// The role with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Role::Inference),
            2 => Some(Role::Broker),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Inference => "inference",
            Role::Broker => "broker",
        })
    }
}
