//! The deployment's own certificates: a CA that vouches for host and broker on loopback and for the model owner.
//!
//! Keys are made once and kept (mode 0600), because the enclave's measured configuration pins the broker's. Certificates
//! are issued anew at every start from the same keys, so that they never run out.

use std::path::{Path, PathBuf};

use attestation::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, SanType,
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{
    error::ClientError,
    private_file::{self, PUBLIC_MODE},
};

/// Key files above this are refused (bytes).
const PEM_BYTES_MAX: u64 = 64 << 10;
/// What makes a certificate of this CA a model owner's at the broker's admin listener.
const OWNER_ROLE: &str = "urn:adyton:role:owner";
/// How long a certificate is good for, in seconds; every start issues new ones.
const VALIDITY_SECONDS: u64 = 397 * 24 * 3600;
/// How far a certificate's beginning lies in the past, in seconds, for clocks that differ a little.
const BACKDATE_SECONDS: u64 = 24 * 3600;

/// A certificate and its key.
pub struct Identity {
    /// PEM certificate.
    pub certificate: PathBuf,
    /// PEM private key, mode 0600.
    pub private_key: PathBuf,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
}

/// All certificates of a deployment.
pub struct Pki {
    /// The CA's certificate; its key is used nowhere but here.
    pub ca: PathBuf,
    /// TLS of the host's relay.
    pub host: Identity,
    /// TLS of the broker's listeners.
    pub broker: Identity,
    /// The model owner at the broker's admin listener.
    pub owner: Identity,
}

/// Makes or renews the certificates in `dir` as of `now`.
pub fn issue(dir: &Path, now: UnixTime) -> Result<Pki, ClientError> {
    private_file::create_directory(dir)?;
    let ca_key = key_pair(&dir.join("ca.key"))?;
    let mut params = params("Adyton local CA (development)", now);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = dir.join("ca.pem");
    let certificate = params.self_signed(&ca_key).map_err(|error| failed(&ca, &error))?;
    private_file::write(&ca, certificate.pem().as_bytes(), PUBLIC_MODE)?;
    let issuer = Issuer::new(params, ca_key);
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    Ok(Pki {
        host: identity(dir, "host", server.clone(), &issuer, now)?,
        broker: identity(dir, "broker", server, &issuer, now)?,
        owner: identity(dir, "owner", ExtendedKeyUsagePurpose::ClientAuth, &issuer, now)?,
        ca,
    })
}

fn identity(
    dir: &Path,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'_, KeyPair>,
    now: UnixTime,
) -> Result<Identity, ClientError> {
    let (certificate, private_key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let key = key_pair(&private_key)?;
    let mut params = params(&format!("Adyton local {name} (development)"), now);
    if usage == ExtendedKeyUsagePurpose::ServerAuth {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        params.subject_alt_names = CertificateParams::new(names)
            .map_err(|error| failed(&certificate, &error))?
            .subject_alt_names;
    } else {
        let role = OWNER_ROLE.try_into().expect("the role is ASCII");
        params.subject_alt_names = vec![SanType::URI(role)];
    }
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let signed = params
        .signed_by(&key, issuer)
        .map_err(|error| failed(&certificate, &error))?;
    private_file::write(&certificate, signed.pem().as_bytes(), PUBLIC_MODE)?;
    let spki_sha256 = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key)).into();
    Ok(Identity {
        certificate,
        private_key,
        spki_sha256,
    })
}

fn params(name: &str, now: UnixTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = now.seconds();
    let (year, month, day) = date(UnixTime::from_seconds(now.saturating_sub(BACKDATE_SECONDS)));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = date(UnixTime::from_seconds(now.saturating_add(VALIDITY_SECONDS)));
    params.not_after = rcgen::date_time_ymd(year, month, day);
    params
}

/// Year, month and day of a moment, by way of its RFC 3339 form.
fn date(time: UnixTime) -> (i32, u8, u8) {
    let text = time.to_string();
    let mut parts = text[..10]
        .split('-')
        .map(|part| part.parse::<u16>().expect("RFC 3339 has digits there"));
    let mut next = || parts.next().expect("RFC 3339 has three parts in a date");
    let (year, month, day) = (next(), next(), next());
    let small = |part: u16| u8::try_from(part).expect("a month or day has two digits");
    (i32::from(year), small(month), small(day))
}

/// The key in `path`, made first if there is none.
fn key_pair(path: &Path) -> Result<KeyPair, ClientError> {
    if !path.exists() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(|error| failed(path, &error))?;
        private_file::create_secret(path, Zeroizing::new(key.serialize_pem()).as_bytes())?;
    }
    let pem = private_file::read(path, PEM_BYTES_MAX)?;
    let text = std::str::from_utf8(&pem).map_err(|error| failed(path, &error))?;
    KeyPair::from_pem(text).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &dyn std::error::Error) -> ClientError {
    ClientError::State(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_kept_and_certificates_renewed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = issue(dir.path(), UnixTime::from_seconds(1_800_000_000)).expect("issued");
        let certificate = std::fs::read(&first.broker.certificate).expect("readable");
        let second = issue(dir.path(), UnixTime::from_seconds(1_900_000_000)).expect("issued again");
        assert_eq!(first.broker.spki_sha256, second.broker.spki_sha256);
        assert_ne!(first.broker.spki_sha256, second.host.spki_sha256);
        assert_ne!(
            certificate,
            std::fs::read(&second.broker.certificate).expect("readable")
        );
        for name in ["ca", "host", "broker", "owner"] {
            let mode = dir
                .path()
                .join(format!("{name}.key"))
                .metadata()
                .expect("exists")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}.key");
        }
    }

    #[test]
    fn a_broken_key_is_an_error_and_not_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("broker.key"), "garbage").expect("writable");
        let error = issue(dir.path(), UnixTime::from_seconds(1_800_000_000))
            .err()
            .expect("refused");
        assert_eq!(error.code(), "state-inconsistent");
        assert_eq!(
            std::fs::read(dir.path().join("broker.key")).expect("readable"),
            b"garbage"
        );
    }

    #[test]
    fn dates_come_from_moments() {
        assert_eq!(date(UnixTime::from_seconds(1_795_489_740)), (2026, 11, 24));
    }
}
