//! One certificate revocation list (RFC 5280 section 5.1).

use alloc::vec::Vec;

use der::Tag;

use super::asn1::{Asn1Fault, Asn1Reader};
use super::certificate::common_name;
use super::key::{PublicKey, SignatureAlgorithm};
use crate::UnixTime;

const REVOKED_MAX: usize = 4096;

/// A parsed list that borrows the received bytes.
#[derive(Debug)]
pub(crate) struct RevocationList<'a> {
    tbs: &'a [u8],
    signature: &'a [u8],
    algorithm: SignatureAlgorithm,
    issuer: &'a [u8],
    pub(crate) this_update: UnixTime,
    pub(crate) next_update: UnixTime,
    revoked: Vec<&'a [u8]>,
}

impl<'a> RevocationList<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Asn1Fault> {
        let mut outer = Asn1Reader::whole_sequence(bytes)?;
        let tbs = outer.element()?;
        let outer_algorithm = outer.element()?;
        let signature = outer.bit_string()?;
        outer.end()?;

        let mut reader = Asn1Reader::whole_sequence(tbs)?;
        if reader.small_integer()? != 1 {
            return Err(Asn1Fault);
        }
        let algorithm = reader.element()?;
        if algorithm != outer_algorithm {
            return Err(Asn1Fault);
        }
        let issuer = reader.element()?;
        let (this_update, next_update) = (reader.time()?, reader.time()?);
        let mut revoked = Vec::new();
        if reader.next_is(Tag::Sequence) {
            let mut entries = reader.sequence()?;
            while !entries.is_at_end() {
                if revoked.len() == REVOKED_MAX {
                    return Err(Asn1Fault);
                }
                let mut entry = entries.sequence()?;
                revoked.push(entry.integer()?);
                entry.time()?;
                if entry.next_is(Tag::Sequence) {
                    refuse_critical(entry.sequence()?)?;
                }
                entry.end()?;
            }
        }
        if let Some(mut explicit) = reader.explicit(0)? {
            refuse_critical(explicit.sequence()?)?;
            explicit.end()?;
        }
        reader.end()?;
        let algorithm = SignatureAlgorithm::parse(algorithm)?;
        Ok(Self {
            tbs,
            signature,
            algorithm,
            issuer,
            this_update,
            next_update,
            revoked,
        })
    }

    pub(crate) fn is_issued_by(&self, issuer_name: &[u8], key: &PublicKey) -> bool {
        self.issuer == issuer_name && key.verifies(self.algorithm, self.tbs, self.signature)
    }

    pub(crate) fn is_current_at(&self, now: UnixTime) -> bool {
        self.this_update <= now && now <= self.next_update
    }

    /// The issuer's common name; `None` unless there is exactly one.
    pub(crate) fn issuer_common_name(&self) -> Option<&'a str> {
        common_name(self.issuer).ok().flatten()
    }

    /// How many certificates are listed.
    pub(crate) fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether a certificate with this serial number (contents of its INTEGER) is listed.
    pub(crate) fn lists(&self, serial: &[u8]) -> bool {
        self.revoked.contains(&serial)
    }
}

/// Critical extensions make a list partial or indirect (RFC 5280 sections 5.2.4, 5.2.5, 5.3.3).
pub(super) fn refuse_critical(mut reader: Asn1Reader<'_>) -> Result<(), Asn1Fault> {
    while !reader.is_at_end() {
        let mut extension = reader.sequence()?;
        extension.object_identifier()?;
        if extension.next_is(Tag::Boolean) && extension.boolean()? {
            return Err(Asn1Fault);
        }
        extension.octets()?;
        extension.end()?;
    }
    Ok(())
}
