//! TCB statuses and how they converge.

use core::fmt;

use serde::Deserialize;

/// A TCB status (Intel Provisioning Certification Service, tcbStatus).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum TcbStatus {
    UpToDate,
    SWHardeningNeeded,
    ConfigurationNeeded,
    ConfigurationAndSWHardeningNeeded,
    OutOfDate,
    OutOfDateConfigurationNeeded,
    Revoked,
}

const HARDENING: u8 = 1;
const CONFIGURATION: u8 = 2;
const OUT_OF_DATE: u8 = 4;
const REVOKED: u8 = 8;

impl TcbStatus {
    const fn faults(self) -> u8 {
        match self {
            TcbStatus::UpToDate => 0,
            TcbStatus::SWHardeningNeeded => HARDENING,
            TcbStatus::ConfigurationNeeded => CONFIGURATION,
            TcbStatus::ConfigurationAndSWHardeningNeeded => CONFIGURATION | HARDENING,
            TcbStatus::OutOfDate => OUT_OF_DATE,
            TcbStatus::OutOfDateConfigurationNeeded => OUT_OF_DATE | CONFIGURATION,
            TcbStatus::Revoked => REVOKED,
        }
    }

    /// The status of two parts together: whatever is wrong with either is wrong with both.
    pub(crate) const fn converge(self, other: TcbStatus) -> TcbStatus {
        let faults = self.faults() | other.faults();
        if faults & REVOKED != 0 {
            TcbStatus::Revoked
        } else if faults & OUT_OF_DATE != 0 {
            if faults & CONFIGURATION != 0 {
                TcbStatus::OutOfDateConfigurationNeeded
            } else {
                TcbStatus::OutOfDate
            }
        } else if faults & CONFIGURATION != 0 {
            if faults & HARDENING != 0 {
                TcbStatus::ConfigurationAndSWHardeningNeeded
            } else {
                TcbStatus::ConfigurationNeeded
            }
        } else if faults & HARDENING != 0 {
            TcbStatus::SWHardeningNeeded
        } else {
            TcbStatus::UpToDate
        }
    }

    /// Whether a policy may accept it for a time; never what is out of date or revoked. What is up to date needs
    /// no exception.
    pub(crate) const fn may_be_excepted(self) -> bool {
        self.faults() != 0 && self.faults() & (OUT_OF_DATE | REVOKED) == 0
    }
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::TcbStatus::{self, *};

    const ALL: [TcbStatus; 7] = [
        UpToDate,
        SWHardeningNeeded,
        ConfigurationNeeded,
        ConfigurationAndSWHardeningNeeded,
        OutOfDate,
        OutOfDateConfigurationNeeded,
        Revoked,
    ];

    #[test]
    fn nothing_hides_what_is_out_of_date_or_revoked() {
        for status in ALL {
            assert_eq!(status.converge(Revoked), Revoked);
            assert_eq!(status.converge(UpToDate), status);
            assert_eq!(status.converge(status), status);
            assert!(!status.converge(OutOfDate).may_be_excepted());
            let excepted = [
                SWHardeningNeeded,
                ConfigurationNeeded,
                ConfigurationAndSWHardeningNeeded,
            ];
            assert_eq!(status.may_be_excepted(), excepted.contains(&status), "{status}");
            for other in ALL {
                assert_eq!(status.converge(other), other.converge(status));
            }
        }
        assert_eq!(
            ConfigurationNeeded.converge(SWHardeningNeeded),
            ConfigurationAndSWHardeningNeeded
        );
        assert_eq!(
            OutOfDate.converge(ConfigurationNeeded),
            OutOfDateConfigurationNeeded
        );
    }
}
