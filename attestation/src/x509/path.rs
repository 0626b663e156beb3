//! A certification path (RFC 5280 section 6.1), given in order: nothing is searched for.
//!
//! AMD's and Intel's chains have fixed shapes of their own (`snp`, `tdx`); this is for chains whose
//! length varies: NVIDIA's devices and manifests, vTPM keys of Azure and Google.

use super::anchor::TrustAnchor;
use super::certificate::Certificate;
use crate::UnixTime;

/// Certificates in a path, the anchor not counted.
const CERTIFICATES_MAX: usize = 8;

/// A path whose every signature holds, and when all of it is valid.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

/// Why certificates are no path; the position counts from the leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathFault {
    /// None at all, or too many: the anchor twice is one too many.
    Length,
    /// One may not issue: not an authority, or below its own length constraint.
    NotAuthority(usize),
    /// One has a critical extension that nobody here looks at.
    UnknownCritical(usize),
    /// One is not issued by the next, or the last not by the anchor.
    NotIssued(usize),
}

impl Path {
    /// Walks from the leaf, `certificates[0]`, to `anchor`. A last certificate that is the anchor
    /// itself, byte for byte, is taken for it.
    pub(crate) fn walk(certificates: &[Certificate<'_>], anchor: &TrustAnchor) -> Result<Self, PathFault> {
        let certificates = match certificates.split_last() {
            Some((last, rest)) if last.is(&anchor.certificate) => rest,
            _ => certificates,
        };
        // The anchor issues itself: without this it could stand in a path any number of times.
        let again = certificates
            .iter()
            .any(|certificate| certificate.is(&anchor.certificate));
        if certificates.is_empty() || certificates.len() > CERTIFICATES_MAX || again {
            return Err(PathFault::Length);
        }
        let mut path = Self {
            not_before: anchor.not_before,
            not_after: anchor.not_after,
        };
        for (at, certificate) in certificates.iter().enumerate() {
            if !certificate.knows_critical() {
                return Err(PathFault::UnknownCritical(at));
            }
            if at > 0 && !(certificate.is_authority() && certificate.allows_below(at - 1)) {
                return Err(PathFault::NotAuthority(at));
            }
            let issued = match certificates.get(at + 1) {
                Some(issuer) => issuer
                    .public_key()
                    .is_ok_and(|key| certificate.is_issued_by(issuer.subject, &key)),
                None => certificate.is_issued_by(&anchor.subject, &anchor.key),
            };
            if !issued {
                return Err(PathFault::NotIssued(at));
            }
            path.not_before = path.not_before.max(certificate.not_before);
            path.not_after = path.not_after.min(certificate.not_after);
        }
        Ok(path)
    }

    pub(crate) fn is_valid_at(&self, now: UnixTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}
