//! The paravisor of an Azure confidential VM, imitated: it runs at VMPL 0, keeps a vTPM for the guest, and has the
//! security processor vouch for the vTPM's keys. SIMULATED, as everything here; the vTPM is a real one of software,
//! and whoever runs it gives its keys.
//!
//! | field | here |
//! |---|---|
//! | hardware report | a simulated SNP report whose report data are SHA-256 of the runtime data, then zeros |
//! | HCLAkPub, HCLEkPub | the vTPM's attestation key and endorsement key (RFC 7517) |
//! | vm-configuration | what a machine of QEMU's with a serial console is: no secure boot, a state that is not kept |
//! | user-data | the 64 bytes that the guest wrote last |

use std::path::Path;

use attestation::{Endorsements, UnixTime};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::certificate::{Extension, Subject, Validity};
use crate::files::Folder;
use crate::key::{P256Key, Signer as _, random};
use crate::snp::{self, Snp};
use crate::{Platform, SimulatedError, der};

/// Size of the NV index of the report, as Azure's.
pub const REPORT_BYTES: usize = 2600;
/// Size of the NV index of the key's certificate, as Azure's.
pub const CERTIFICATE_BYTES: usize = 4096;
/// Bytes that the guest may have put into the report.
pub const USER_DATA_BYTES: usize = 64;

const ROOT_NAME: &str = "SIMULATED Azure Virtual TPM Root Certificate Authority";
const ROOT_KEY: &str = "azure-vtpm-root.key";
const ROOT_CERTIFICATE: &str = "azure-vtpm-root.der";
const CERTIFICATE_SECONDS: u64 = 10 * 366 * 24 * 3600;
/// RFC 8017, section 3.1; of every key of a vTPM.
const EXPONENT: [u8; 3] = [1, 0, 1];
/// Where the hardware report is in a report.
pub const HARDWARE_REPORT: core::ops::Range<usize> = HEADER_BYTES..HEADER_BYTES + snp::REPORT_BYTES;
const HEADER_BYTES: usize = 32;
const DATA_HEADER_BYTES: usize = 20;

/// Whoever certifies the keys of vTPMs. Azure has authorities between root and key; here the root does it. Holds a
/// private key: not Debug, not Clone.
pub struct VtpmAuthority {
    key: P256Key,
    certificate: Vec<u8>,
}

impl VtpmAuthority {
    /// Makes a root.
    pub fn manufacture(now: UnixTime) -> Result<Self, SimulatedError> {
        let key = P256Key::generate()?;
        let certificate = Subject {
            serial: &[1],
            common_name: ROOT_NAME,
            validity: Validity::new(now, CERTIFICATE_SECONDS),
            spki: key.spki(),
            extensions: Extension::authority(),
        }
        .issue(ROOT_NAME, &key)?;
        Ok(Self { key, certificate })
    }

    /// Saves to `folder`, beside a [`Platform`]; every file is readable by its owner only (mode 0600).
    pub fn save(&self, folder: &Path) -> Result<(), SimulatedError> {
        let folder = Folder::create(folder)?;
        folder.write(ROOT_KEY, &self.key.expose_bytes())?;
        folder.write(ROOT_CERTIFICATE, &self.certificate)
    }

    /// Loads what [`VtpmAuthority::save`] wrote.
    pub fn load(folder: &Path) -> Result<Self, SimulatedError> {
        let folder = Folder::open(folder);
        Ok(Self {
            key: folder.parse(ROOT_KEY, P256Key::from_bytes)?,
            certificate: folder.parse(ROOT_CERTIFICATE, |bytes| Some(bytes.to_vec()))?,
        })
    }

    /// Whether [`VtpmAuthority::save`] ever wrote to `folder`: platforms of older versions have none.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(ROOT_KEY).exists()
    }

    /// The root in DER.
    pub fn root_certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate of an attestation key with this modulus (big-endian), padded as the NV index has it.
    pub fn certify(&self, modulus: &[u8], now: UnixTime) -> Result<Vec<u8>, SimulatedError> {
        let key = der::sequence(&[der::integer(modulus), der::integer(&EXPONENT)]);
        let algorithm = der::sequence(&[der::object_identifier("1.2.840.113549.1.1.1"), der::null()]);
        let serial = Sha256::digest(modulus);
        let mut certificate = Subject {
            // RFC 5280 section 4.1.2.2: at most 20 bytes.
            serial: &serial[..16],
            common_name: "SIMULATED vTPM",
            validity: Validity::new(now, CERTIFICATE_SECONDS),
            spki: der::sequence(&[algorithm, der::bit_string(&key, 0)]),
            extensions: Extension::signer(),
        }
        .issue(ROOT_NAME, &self.key)?;
        if certificate.len() > CERTIFICATE_BYTES {
            return Err(SimulatedError::Crypto("a certificate larger than its place"));
        }
        certificate.resize(CERTIFICATE_BYTES, 0);
        Ok(certificate)
    }
}

/// The moduli of a vTPM's keys, big-endian.
#[derive(Clone, Debug)]
pub struct VtpmKeys {
    /// The key that quotes.
    pub attestation: Vec<u8>,
    /// The key to which secrets would be sealed.
    pub endorsement: Vec<u8>,
}

/// A paravisor that was launched, with its vTPM's keys.
pub struct Paravisor {
    snp: Snp,
    launch: snp::Launch,
    keys: VtpmKeys,
}

impl Paravisor {
    /// The paravisor that was launched as `launch_measurement` says.
    pub fn new(
        platform: &Platform,
        launch_measurement: [u8; 48],
        keys: VtpmKeys,
    ) -> Result<Self, SimulatedError> {
        let launch = snp::Launch {
            measurement: launch_measurement,
            host_data: [0; 32],
            report_id: *random::<32>()?,
        };
        Ok(Self {
            snp: platform.snp.clone(),
            launch,
            keys,
        })
    }

    /// The report of the host compatibility layer that carries these user data, padded as the NV index has it.
    pub fn hcl_report(&self, user_data: &[u8; USER_DATA_BYTES]) -> Result<Vec<u8>, SimulatedError> {
        let runtime_data = self.runtime_data(user_data);
        let mut report_data = [0; 64];
        report_data[..32].copy_from_slice(&Sha256::digest(&runtime_data));
        let hardware_report = self.snp.report(&self.launch, &report_data)?;
        let report = assemble(&hardware_report, runtime_data.as_bytes());
        if report.len() > REPORT_BYTES {
            return Err(SimulatedError::Crypto("a report larger than its place"));
        }
        let mut report = report;
        report.resize(REPORT_BYTES, 0);
        Ok(report)
    }

    /// What the manufacturer publishes about the machine.
    pub fn endorsements(&self) -> Endorsements {
        self.snp.endorsements()
    }

    fn runtime_data(&self, user_data: &[u8; USER_DATA_BYTES]) -> String {
        let key = |kid: &str, operation: &str, modulus: &[u8]| {
            format!(
                r#"{{"kid":"{kid}","key_ops":["{operation}"],"kty":"RSA","e":"AQAB","n":"{}"}}"#,
                URL_SAFE_NO_PAD.encode(modulus)
            )
        };
        format!(
            r#"{{"keys":[{ak},{ek}],"vm-configuration":{{"root-cert-thumbprint":"","console-enabled":true,"interactive-console-enabled":true,"secure-boot":false,"tpm-enabled":true,"tpm-persisted":false,"filtered-vpci-devices-allowed":false,"vmUniqueId":"{id}"}},"user-data":"{data}"}}"#,
            ak = key("HCLAkPub", "sign", &self.keys.attestation),
            ek = key("HCLEkPub", "encrypt", &self.keys.endorsement),
            id = vm_id(&self.snp),
            data = hex::encode_upper(user_data),
        )
    }
}

/// The id of the one virtual machine that a simulated machine runs (RFC 9562 section 5.8, of its hardware id).
pub(crate) fn vm_id(snp: &Snp) -> String {
    let digest = Sha256::new_with_prefix(b"adyton SIMULATED vmUniqueId")
        .chain_update(snp.hardware_id())
        .finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    let digits = hex::encode(id);
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

/// The layout is that of `attestation::azure::hcl`: version 2, request 2 (certificate of the key), data version 1,
/// report type 2 (SNP), hash type 1 (SHA-256).
fn assemble(hardware_report: &[u8], runtime_data: &[u8]) -> Vec<u8> {
    let data_bytes = DATA_HEADER_BYTES + runtime_data.len();
    let report_bytes = HEADER_BYTES + hardware_report.len() + data_bytes;
    let words = |words: &[usize]| -> Vec<u8> {
        let words = words.iter().map(|word| (*word as u32).to_le_bytes());
        words.flatten().collect()
    };
    let mut report = b"HCLA".to_vec();
    report.extend(words(&[2, report_bytes, 2, 0, 0, 0, 0]));
    report.extend(hardware_report);
    report.extend(words(&[data_bytes, 1, 2, 1, runtime_data.len()]));
    report.extend(runtime_data);
    report
}

#[cfg(test)]
mod tests {
    use static_assertions::assert_not_impl_any;

    use super::VtpmAuthority;

    assert_not_impl_any!(VtpmAuthority: Clone, core::fmt::Debug);
}
