//! What a vector's report data must be, where its corpus says how they were made.
//!
//! A binding is a JSON object of hexadecimal values and one `rule` over their names:
//! `report_data = SHA-256(signing_key || tls_fingerprint) || nonce; GPU nonce = nonce`. `0` fills with zeros.

use attestation::ReportData;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A binding that was read.
pub struct Binding(Value);

impl Binding {
    /// Reads the JSON; `None` if it has no rule.
    pub fn read(document: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(document).ok()?;
        value.get("rule")?.as_str()?;
        Some(Self(value))
    }

    /// The report data by the rule; `None` if the rule or a value cannot be read.
    pub fn report_data(&self) -> Option<ReportData> {
        let bytes = self.term(self.clause("report_data")?)?;
        let mut data = [0; 64];
        data.get_mut(..bytes.len())?.copy_from_slice(&bytes);
        Some(data)
    }

    /// The nonce of the devices by the rule.
    pub fn device_nonce(&self) -> Option<[u8; 32]> {
        self.term(self.clause("GPU nonce")?)?.try_into().ok()
    }

    /// The right side of `name = …`.
    fn clause(&self, name: &str) -> Option<&str> {
        let rule = self.0.get("rule")?.as_str()?;
        rule.split("; ")
            .filter_map(|clause| clause.split_once(" = "))
            .find(|(left, _)| *left == name)
            .map(|(_, right)| right)
    }

    /// A concatenation of values and digests.
    fn term(&self, text: &str) -> Option<Vec<u8>> {
        if let Some(open) = text.find('(') {
            let (hash, rest) = text.split_at(open);
            let (inner, after) = rest[1..].split_once(')')?;
            let inner = self.term(inner)?;
            let mut bytes = match hash {
                "SHA-256" => Sha256::digest(inner).to_vec(),
                "SHA-384" => Sha384::digest(inner).to_vec(),
                "SHA-512" => Sha512::digest(inner).to_vec(),
                _ => return None,
            };
            if let Some(after) = after.strip_prefix(" || ") {
                bytes.extend(self.term(after)?);
            }
            return Some(bytes);
        }
        let mut bytes = Vec::new();
        for name in text.split(" || ").filter(|name| *name != "0") {
            bytes.extend(hex::decode(self.0.get(name)?.as_str()?).ok()?);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(rule: &str) -> Binding {
        let document = serde_json::json!({ "a": "01".repeat(32), "n": "02".repeat(32), "rule": rule });
        Binding::read(document.to_string().as_bytes()).expect("it has a rule")
    }

    #[test]
    fn a_rule_is_a_concatenation_of_values_and_digests() {
        let data = binding("report_data = SHA-256(a) || n; GPU nonce = n");
        let expected: Vec<u8> = [Sha256::digest([1; 32]).to_vec(), vec![2; 32]].concat();
        assert_eq!(data.report_data().expect("it is read").to_vec(), expected);
        assert_eq!(data.device_nonce(), Some([2; 32]));
        let padded = binding("report_data = SHA-256(a || n) || 0")
            .report_data()
            .expect("it is read");
        assert_eq!(padded[32..], [0; 32]);
        assert_eq!(padded[..32], Sha256::digest([[1; 32], [2; 32]].concat())[..]);
    }

    #[test]
    fn what_cannot_be_read_is_no_binding() {
        assert!(binding("report_data = MD5(a)").report_data().is_none());
        assert!(binding("report_data = missing").report_data().is_none());
        assert!(binding("report_data = a || n || a").report_data().is_none());
        assert!(binding("something = a").report_data().is_none());
    }
}
