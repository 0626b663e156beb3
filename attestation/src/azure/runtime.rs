//! The runtime data (OpenHCL `RuntimeClaims`): keys of the vTPM, settings of the paravisor, the
//! guest's user data.
//!
//! `key_ops` of a key are not looked at: early paravisors wrote "encrypt" for the attestation key, and
//! `kid` is what names it. `current-time` and `tpm-version` are for people.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::Json;
use crate::x509::PublicKey;

/// Name of the attestation key.
const ATTESTATION_KEY: &str = "HCLAkPub";
const MODULUS_DIGITS_MAX: usize = 684;
/// 65537 in base64url.
const EXPONENT: &str = "AQAB";

/// What the runtime data say.
#[derive(Debug)]
pub(crate) struct RuntimeData {
    keys: Vec<Json>,
    /// Settings by name.
    pub(crate) settings: Vec<(String, Json)>,
    /// As written; `None` from early paravisors, which have none.
    pub(crate) user_data: Option<String>,
    /// Further members beside the three above.
    pub(crate) others: Vec<String>,
}

/// The vTPM's attestation key.
#[derive(Debug)]
pub(crate) struct VtpmKey {
    /// Big-endian, without leading zeros.
    pub(crate) modulus: Vec<u8>,
    pub(crate) key: PublicKey,
}

impl RuntimeData {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let Json::Object(members) = Json::parse(bytes)? else {
            return None;
        };
        let (mut keys, mut settings, mut user_data, mut others) = (None, None, None, Vec::new());
        for (name, value) in members {
            match (name.as_str(), value) {
                ("keys", Json::Array(elements)) => keys = Some(elements),
                ("vm-configuration", Json::Object(members)) => settings = Some(members),
                ("user-data", Json::Text(text)) => user_data = Some(text),
                ("keys" | "vm-configuration" | "user-data", _) => return None,
                _ => others.push(name),
            }
        }
        Some(Self {
            keys: keys?,
            settings: settings?,
            user_data,
            others,
        })
    }

    /// The one key whose `kid` says that it is the vTPM's attestation key (RFC 7517, RFC 7518 section 6.3).
    pub(crate) fn attestation_key(&self) -> Option<VtpmKey> {
        let mut named = self
            .keys
            .iter()
            .filter(|key| member(key, "kid") == Some(ATTESTATION_KEY));
        let (key, another) = (named.next()?, named.next());
        if another.is_some() || member(key, "kty") != Some("RSA") || member(key, "e") != Some(EXPONENT) {
            return None;
        }
        let digits = member(key, "n").filter(|digits| digits.len() <= MODULUS_DIGITS_MAX)?;
        let modulus = URL_SAFE_NO_PAD.decode(digits).ok()?;
        // RFC 7518 section 2: Base64urlUInt has no leading zero octets.
        if modulus.first() == Some(&0) {
            return None;
        }
        let key = PublicKey::rsa(&modulus).ok()?;
        Some(VtpmKey { modulus, key })
    }

    /// The names of all keys, for people.
    pub(crate) fn key_names(&self) -> String {
        let names = self.keys.iter().map(|key| member(key, "kid").unwrap_or("no kid"));
        names.collect::<Vec<_>>().join(", ")
    }

    /// The value of a setting.
    pub(crate) fn setting(&self, name: &str) -> Option<&Json> {
        let mut settings = self.settings.iter();
        settings.find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

fn member<'a>(key: &'a Json, name: &str) -> Option<&'a str> {
    key.member(name)?.text()
}
