//! Keys that something may be sealed to, named for the reason why they are trusted.

use attestation::{UnixTime, VerifiedEvidence};
use wire::KeyConfig;

use crate::{Profile, SealingError, Suite};

/// A public key that evidence vouches for. Built only from [`VerifiedEvidence`] (I4); carries the evidence's
/// freshness, which is asked each time something is sealed.
#[derive(Clone)]
pub struct AttestedKey {
    config: KeyConfig,
    suite: Suite,
    appraised_at: UnixTime,
    fresh_until: UnixTime,
}

impl AttestedKey {
    /// Binds `config` to `evidence`: it must be, byte for byte, one of the statement's key configurations, and offer
    /// a suite that some profile permits.
    pub fn bind(config: &KeyConfig, evidence: &VerifiedEvidence) -> Result<Self, SealingError> {
        let attested = KeyConfig::decode_list(&evidence.statement().key_configs)
            .map_err(|_| SealingError::Malformed("key configurations of the statement"))?;
        if !attested.contains(config) {
            return Err(SealingError::NotAttested);
        }
        Self::of_evidence(config, evidence, permitted_by_any)
    }

    /// The configuration of the statement that `profile` likes best.
    pub fn choose(profile: Profile, evidence: &VerifiedEvidence) -> Result<Self, SealingError> {
        let attested = KeyConfig::decode_list(&evidence.statement().key_configs)
            .map_err(|_| SealingError::Malformed("key configurations of the statement"))?;
        profile
            .suites()
            .iter()
            .find_map(|wanted| {
                attested
                    .iter()
                    .find_map(|c| Self::of_evidence(c, evidence, |suite| suite == *wanted).ok())
            })
            .ok_or(SealingError::NoPermittedSuite)
    }

    /// The statement's wrap key, to which model keys are sealed.
    pub fn bind_wrap_key(evidence: &VerifiedEvidence) -> Result<Self, SealingError> {
        let config = KeyConfig::decode(&evidence.statement().wrap_key)
            .map_err(|_| SealingError::Malformed("wrap key of the statement"))?;
        Self::of_evidence(&config, evidence, permitted_by_any)
    }

    fn of_evidence(
        config: &KeyConfig,
        evidence: &VerifiedEvidence,
        permitted: impl Fn(Suite) -> bool,
    ) -> Result<Self, SealingError> {
        Ok(Self {
            config: config.clone(),
            suite: suite_of(config, permitted)?,
            appraised_at: evidence.appraised_at(),
            fresh_until: evidence.fresh_until(),
        })
    }

    /// The key configuration.
    pub fn key_config(&self) -> &KeyConfig {
        &self.config
    }

    /// The suite that will be used.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The last moment at which something may be sealed to this key.
    pub fn fresh_until(&self) -> UnixTime {
        self.fresh_until
    }

    /// A key without evidence, for this crate's own unit tests.
    #[cfg(test)]
    pub(crate) fn without_evidence(config: &KeyConfig) -> Self {
        Self {
            config: config.clone(),
            suite: suite_of(config, |_| true).expect("tests use implemented suites"),
            appraised_at: UnixTime::from_seconds(0),
            fresh_until: UnixTime::MAX,
        }
    }

    /// The same key with other times.
    #[cfg(test)]
    pub(crate) fn fresh_between(&self, from_seconds: u64, until_seconds: u64) -> Self {
        let mut key = self.clone();
        key.appraised_at = UnixTime::from_seconds(from_seconds);
        key.fresh_until = UnixTime::from_seconds(until_seconds);
        key
    }
}

/// A public key that came over TLS with mutual authentication, where the operator pinned the peer's certificate. It is
/// not attested: only a model owner uses it, to register a key with a broker that the owner operates or has chosen.
#[derive(Clone)]
pub struct PinnedKey {
    config: KeyConfig,
    suite: Suite,
}

impl PinnedKey {
    /// The caller states that `config` was read from a connection on which both sides were authenticated.
    pub fn from_mutually_authenticated_tls(config: KeyConfig) -> Result<Self, SealingError> {
        let suite = suite_of(&config, permitted_by_any)?;
        Ok(Self { config, suite })
    }

    /// The key configuration.
    pub fn key_config(&self) -> &KeyConfig {
        &self.config
    }
}

/// A key that [`crate::seal_once`] takes. Sealed: [`AttestedKey`] and [`PinnedKey`] are the only ones.
pub trait RecipientKey: private::Recipient {}
impl RecipientKey for AttestedKey {}
impl RecipientKey for PinnedKey {}

pub(crate) mod private {
    use super::*;

    /// What sealing needs to know of a key.
    pub trait Recipient {
        /// Configuration and suite, if the key may be used at `now`.
        fn usable(&self, now: UnixTime) -> Result<(&KeyConfig, Suite), SealingError>;
    }

    impl Recipient for AttestedKey {
        fn usable(&self, now: UnixTime) -> Result<(&KeyConfig, Suite), SealingError> {
            if now < self.appraised_at || now > self.fresh_until {
                return Err(SealingError::Stale);
            }
            Ok((&self.config, self.suite))
        }
    }

    impl Recipient for PinnedKey {
        fn usable(&self, _: UnixTime) -> Result<(&KeyConfig, Suite), SealingError> {
            Ok((&self.config, self.suite))
        }
    }
}

fn permitted_by_any(suite: Suite) -> bool {
    [Profile::Default, Profile::Fips]
        .iter()
        .any(|profile| profile.permits(suite))
}

/// The first suite of `config` that is implemented and permitted.
fn suite_of(config: &KeyConfig, permitted: impl Fn(Suite) -> bool) -> Result<Suite, SealingError> {
    config
        .symmetric()
        .iter()
        .filter_map(|symmetric| Suite::from_ids(config.kem(), *symmetric))
        .find(|suite| permitted(*suite))
        .ok_or(SealingError::NoPermittedSuite)
}
