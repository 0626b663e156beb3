//! Published documents in files, sorted by what they are: nobody has to say which file is the leaf.
//!
//! | document | recognised by |
//! |---|---|
//! | VCEK, VLEK, ASK, ASVK | DER or PEM certificate, subject's common name |
//! | AMD's and Intel's revocation lists | DER, issuer's common name |
//! | TCB info, QE identity | JSON with `tcbInfo` or `enclaveIdentity`, and `signature` |
//! | TCB signing chain | PEM whose first certificate is Intel's TCB signer |
//! | a set of Intel collateral | JSON with all of it, as quote verification libraries keep it |
//! | vTPM key chain | certificates of any other subject |
//! | reference manifests | XML, told apart by the form of the version |
//!
//! Roots are left out: they are built in. Nothing is trusted for where it stands: the Verifier checks every document.

use std::path::{Path, PathBuf};

use attestation::{EndorsementKind, Endorsements, Kind, PublishedNames, published_names, recognise};
use serde_json::Value;

use crate::{error::ClientError, private_file};

/// Files above this are no endorsements (bytes).
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// Files read from one folder.
const FILES_MAX: usize = 256;

/// Reads every file of `paths`; of a folder, every file in it whose content is recognised.
pub fn read(paths: &[PathBuf]) -> Result<Endorsements, ClientError> {
    let mut endorsements = Endorsements::new();
    for path in paths {
        if path.is_dir() {
            for file in files_of(path)? {
                // What else lies in a folder is not ours to judge.
                let _ = add(&mut endorsements, &private_file::read(&file, FILE_BYTES_MAX)?);
            }
        } else if !add(&mut endorsements, &private_file::read(path, FILE_BYTES_MAX)?) {
            return Err(ClientError::Malformed {
                what: "an endorsement",
                problem: format!(
                    "{} is no certificate, revocation list, collateral or reference manifest",
                    path.display()
                ),
            });
        }
    }
    Ok(endorsements)
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ClientError> {
    let unreadable = |source| ClientError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX);
        if small {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(ClientError::Usage(format!(
                "{} holds more than {FILES_MAX} files; name the endorsements one by one",
                folder.display()
            )));
        }
    }
    files.sort();
    Ok(files)
}

/// Puts a document into its place; `false` if it is nothing that is published.
pub fn add(endorsements: &mut Endorsements, document: &[u8]) -> bool {
    match recognise(document) {
        Some(Kind::Certificate) => add_certificate(endorsements, document),
        Some(Kind::RevocationList) => add_list(endorsements, document),
        Some(Kind::PemCertificates) => add_pem(endorsements, document),
        Some(Kind::Json) => add_json(endorsements, document),
        Some(Kind::Xml) => add_manifest(endorsements, document),
        _ => false,
    }
}

fn subject(names: &PublishedNames) -> &str {
    names.subject.as_deref().unwrap_or_default()
}

fn add_certificate(endorsements: &mut Endorsements, der: &[u8]) -> bool {
    let Some(names) = published_names(der) else {
        return false;
    };
    let name = subject(&names);
    if name == "SEV-VCEK" || name == "SEV-VLEK" {
        endorsements.insert(EndorsementKind::SnpLeaf, der.to_vec());
    } else if name.starts_with("SEV-") && names.issuer.starts_with("ARK-") {
        endorsements.insert(EndorsementKind::SnpIntermediate, der.to_vec());
    }
    // Any other certificate is a root, or part of a chain that is kept in PEM.
    true
}

fn add_list(endorsements: &mut Endorsements, der: &[u8]) -> bool {
    let Some(names) = published_names(der) else {
        return false;
    };
    let kind = if names.issuer.starts_with("ARK-") {
        EndorsementKind::SnpCrl
    } else if names.issuer.starts_with("Intel SGX PCK ") {
        EndorsementKind::TdxPckCrl
    } else if names.issuer.starts_with("Intel SGX Root CA") {
        EndorsementKind::TdxRootCrl
    } else {
        return false;
    };
    endorsements.insert(kind, der.to_vec());
    true
}

fn add_pem(endorsements: &mut Endorsements, pem: &[u8]) -> bool {
    let Some(chain) = attestation::certificates_in_pem(pem) else {
        return false;
    };
    let names: Vec<_> = chain.iter().filter_map(|der| published_names(der)).collect();
    if names.len() != chain.len() {
        return false;
    }
    let first = names.first().map(subject).unwrap_or_default();
    if first.starts_with("Intel SGX TCB Signing") {
        endorsements.insert(EndorsementKind::TdxTcbSigningChain, pem.to_vec());
        return true;
    }
    let amd = names
        .iter()
        .any(|names| subject(names).starts_with("SEV-") || subject(names).starts_with("ARK-"));
    if amd {
        return chain.iter().all(|der| add_certificate(endorsements, der));
    }
    endorsements.insert(EndorsementKind::VtpmAkChain, pem.to_vec());
    true
}

/// A chain that stands as separate certificates in DER, leaf first.
pub fn pem_of<'a>(chain: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    use base64::Engine as _;
    let mut pem = String::new();
    for der in chain {
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}

fn add_json(endorsements: &mut Endorsements, document: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(document) else {
        return false;
    };
    if value.get("tcbInfo").is_some() {
        endorsements.insert(EndorsementKind::TdxTcbInfo, document.to_vec());
        return true;
    }
    if value.get("enclaveIdentity").is_some() {
        endorsements.insert(EndorsementKind::TdxQeIdentity, document.to_vec());
        return true;
    }
    collateral_set(&value).is_some_and(|set| {
        for (kind, bytes) in set {
            endorsements.insert(kind, bytes);
        }
        true
    })
}

/// All of Intel's collateral in one object: signed objects as exact text, signatures and lists in hexadecimal digits.
fn collateral_set(value: &Value) -> Option<Vec<(EndorsementKind, Vec<u8>)>> {
    let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
    let list = |key: &str| hex::decode(text(key)?).ok();
    let signed = |name: &str, key: &str| {
        let (object, signature) = (text(key)?, text(&format!("{key}_signature"))?);
        Some(format!("{{\"{name}\":{object},\"signature\":\"{signature}\"}}").into_bytes())
    };
    Some(vec![
        (EndorsementKind::TdxTcbInfo, signed("tcbInfo", "tcb_info")?),
        (
            EndorsementKind::TdxQeIdentity,
            signed("enclaveIdentity", "qe_identity")?,
        ),
        (EndorsementKind::TdxRootCrl, list("root_ca_crl")?),
        (EndorsementKind::TdxPckCrl, list("pck_crl")?),
        (
            EndorsementKind::TdxTcbSigningChain,
            text("tcb_info_issuer_chain")?.into_bytes(),
        ),
    ])
}

/// A driver's and a VBIOS's manifest have the same shape; a VBIOS version has five parts, a driver's two or three.
fn add_manifest(endorsements: &mut Endorsements, document: &[u8]) -> bool {
    let text = String::from_utf8_lossy(document);
    let version = text
        .split_once("colloquialVersion=\"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version);
    let Some(version) = version else { return false };
    let kind = if version.split('.').count() == 5 {
        EndorsementKind::NvidiaVbiosRim
    } else {
        EndorsementKind::NvidiaDriverRim
    };
    endorsements.insert(kind, document.to_vec());
    true
}
