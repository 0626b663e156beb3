//! Issues certificates and revocation lists (RFC 5280).

use attestation::UnixTime;

use crate::SimulatedError;
use crate::adversary::Flaw;
use crate::der;
use crate::key::Signer;

/// From and until when something is valid.
#[derive(Clone, Copy)]
pub(crate) struct Validity {
    pub(crate) not_before: UnixTime,
    pub(crate) not_after: UnixTime,
}

impl Validity {
    pub(crate) fn new(now: UnixTime, seconds: u64) -> Self {
        Self {
            not_before: now,
            not_after: now.plus_seconds(seconds),
        }
    }
}

/// One extension: identifier, criticality, value.
#[derive(PartialEq)]
pub(crate) struct Extension {
    id: String,
    critical: bool,
    value: Vec<u8>,
}

impl Extension {
    pub(crate) fn new(id: &str, value: Vec<u8>) -> Self {
        Self {
            id: id.to_owned(),
            critical: false,
            value,
        }
    }

    /// Extensions of a certificate that issues certificates and revocation lists.
    pub(crate) fn authority() -> Vec<Self> {
        vec![Self::basic_constraints(true), Self::key_usage(&[0x06], 1)]
    }

    /// Extensions of a certificate whose key signs evidence or collateral.
    pub(crate) fn signer() -> Vec<Self> {
        vec![Self::basic_constraints(false), Self::key_usage(&[0xc0], 6)]
    }

    fn basic_constraints(is_ca: bool) -> Self {
        let value = if is_ca {
            der::sequence(&[der::boolean(true)])
        } else {
            der::sequence(&[])
        };
        Self {
            id: "2.5.29.19".to_owned(),
            critical: true,
            value,
        }
    }

    fn key_usage(bits: &[u8], unused_bits: u8) -> Self {
        Self {
            id: "2.5.29.15".to_owned(),
            critical: true,
            value: der::bit_string(bits, unused_bits),
        }
    }

    /// Where `from` stands in the value, `to` stands then; both have the same length.
    fn rewrite(&mut self, from: &[u8], to: &[u8]) {
        let at = self.value.windows(from.len()).position(|window| window == from);
        if let Some(place) = at.and_then(|at| self.value.get_mut(at..at + to.len())) {
            place.copy_from_slice(to);
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut parts = vec![der::object_identifier(&self.id)];
        if self.critical {
            parts.push(der::boolean(true));
        }
        parts.push(der::octets(&self.value));
        der::sequence(&parts)
    }
}

/// The name of a simulated issuer or subject. The organisation says what it is.
pub(crate) fn name(common_name: &str) -> Vec<u8> {
    let attribute = |id: &str, text: &str| {
        der::set(&[der::sequence(&[
            der::object_identifier(id),
            der::utf8_string(text),
        ])])
    };
    der::sequence(&[
        attribute("2.5.4.10", "Adyton SIMULATED"),
        attribute("2.5.4.3", common_name),
    ])
}

/// Everything in a certificate but the signature.
pub(crate) struct Subject<'a> {
    pub(crate) serial: &'a [u8],
    pub(crate) common_name: &'a str,
    pub(crate) validity: Validity,
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Extension>,
}

impl Subject<'_> {
    /// The same with a flaw.
    pub(crate) fn with(mut self, flaw: Option<Flaw>) -> Self {
        match flaw {
            None => {}
            Some(Flaw::Renamed) => self.common_name = "Somebody Else",
            Some(Flaw::UnknownCritical) => self.extensions.push(Extension {
                id: "1.2.3.4".to_owned(),
                critical: true,
                value: der::null(),
            }),
            Some(Flaw::WrongPurpose) => {
                let is_authority = self.extensions == Extension::authority();
                let others = if is_authority {
                    Extension::signer()
                } else {
                    Extension::authority()
                };
                self.extensions
                    .retain(|extension| !extension.id.starts_with("2.5.29."));
                self.extensions.extend(others);
            }
            Some(Flaw::CriticalProfile) => self.profile().for_each(|extension| extension.critical = true),
            Some(Flaw::Rewritten(from, to)) => {
                self.profile().for_each(|extension| extension.rewrite(from, to))
            }
        }
        self
    }

    /// What RFC 5280 does not define.
    fn profile(&mut self) -> impl Iterator<Item = &mut Extension> {
        self.extensions
            .iter_mut()
            .filter(|extension| !extension.id.starts_with("2.5.29."))
    }

    /// The certificate, issued by `issuer` under `issuer_name`.
    pub(crate) fn issue(&self, issuer_name: &str, issuer: &dyn Signer) -> Result<Vec<u8>, SimulatedError> {
        let extensions: Vec<_> = self.extensions.iter().map(Extension::encode).collect();
        let tbs = der::sequence(&[
            der::explicit(0, &der::integer(&[2])),
            der::integer(self.serial),
            issuer.algorithm(),
            name(issuer_name),
            der::sequence(&[
                der::time(self.validity.not_before),
                der::time(self.validity.not_after),
            ]),
            name(self.common_name),
            self.spki.clone(),
            der::explicit(3, &der::sequence(&extensions)),
        ]);
        signed(tbs, issuer)
    }
}

/// A revocation list of `issuer` that names `serials`.
pub(crate) fn revocation_list(
    issuer_name: &str,
    issuer: &dyn Signer,
    validity: Validity,
    serials: &[&[u8]],
) -> Result<Vec<u8>, SimulatedError> {
    let mut parts = vec![
        der::integer(&[1]),
        issuer.algorithm(),
        name(issuer_name),
        der::time(validity.not_before),
        der::time(validity.not_after),
    ];
    if !serials.is_empty() {
        let entry = |serial: &&[u8]| der::sequence(&[der::integer(serial), der::time(validity.not_before)]);
        parts.push(der::sequence(&serials.iter().map(entry).collect::<Vec<_>>()));
    }
    let number = Extension::new("2.5.29.20", der::integer(&[1]));
    parts.push(der::explicit(0, &der::sequence(&[number.encode()])));
    signed(der::sequence(&parts), issuer)
}

fn signed(tbs: Vec<u8>, issuer: &dyn Signer) -> Result<Vec<u8>, SimulatedError> {
    let signature = issuer.sign(&tbs)?;
    Ok(der::sequence(&[
        tbs,
        issuer.algorithm(),
        der::bit_string(&signature, 0),
    ]))
}
