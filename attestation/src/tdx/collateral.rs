//! TCB info and QE identity (Intel Provisioning Certification Service API v4), signed JSON.
//!
//! The signature covers the exact bytes of the inner object, so the object is kept as text until its
//! signature holds. Members that we do not know are signed by Intel and ignored.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::status::TcbStatus;
use crate::UnixTime;
use crate::x509::PublicKey;

const DOCUMENT_BYTES_MAX: usize = 128 * 1024;

/// A response of the service: an object and the signature over its bytes.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    object: &'a str,
    signature: [u8; 64],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcbInfoResponse<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    object: &'a RawValue,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QeIdentityResponse<'a> {
    #[serde(borrow, rename = "enclaveIdentity")]
    object: &'a RawValue,
    signature: String,
}

impl<'a> Signed<'a> {
    pub(crate) fn tcb_info(document: &'a [u8]) -> Option<Self> {
        let response: TcbInfoResponse<'a> = read(document)?;
        Some(Self {
            object: response.object.get(),
            signature: signature(&response.signature)?,
        })
    }

    pub(crate) fn qe_identity(document: &'a [u8]) -> Option<Self> {
        let response: QeIdentityResponse<'a> = read(document)?;
        Some(Self {
            object: response.object.get(),
            signature: signature(&response.signature)?,
        })
    }

    /// The object, read before anybody looked at its signature: to see its dates and its subject.
    pub(crate) fn peek<T: Deserialize<'a>>(&self) -> Option<T> {
        serde_json::from_str(self.object).ok()
    }

    /// The object, if `key` signed its bytes and they have the form of `T`.
    pub(crate) fn open<T: Deserialize<'a>>(&self, key: &PublicKey) -> Option<T> {
        let digest = Sha256::digest(self.object.as_bytes()).into();
        if !key.verifies_p256(&digest, &self.signature) {
            return None;
        }
        serde_json::from_str(self.object).ok()
    }
}

/// `r || s` in lower-case digits, the one form in which Intel writes it.
fn signature(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    if hex::encode(bytes) == text {
        Some(bytes)
    } else {
        None
    }
}

fn read<'a, T: Deserialize<'a>>(document: &'a [u8]) -> Option<T> {
    if document.len() > DOCUMENT_BYTES_MAX {
        None
    } else {
        serde_json::from_slice(document).ok()
    }
}

/// `N` bytes in hexadecimal digits of either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; N];
        hex::decode_to_slice(&text, &mut bytes).map_err(|_| D::Error::custom("not hexadecimal"))?;
        Ok(Self(bytes))
    }
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    UnixTime::parse_rfc3339(&text).ok_or_else(|| D::Error::custom("not a moment"))
}

/// `tcbInfo` of a TDX platform.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TcbInfo {
    pub(crate) id: String,
    pub(crate) version: u32,
    #[serde(deserialize_with = "moment")]
    pub(crate) issue_date: UnixTime,
    #[serde(deserialize_with = "moment")]
    pub(crate) next_update: UnixTime,
    pub(crate) fmspc: Hex<6>,
    pub(crate) pce_id: Hex<2>,
    pub(crate) tcb_type: u32,
    pub(crate) tcb_evaluation_data_number: u32,
    pub(crate) tdx_module: ModuleIdentity,
    #[serde(default)]
    pub(crate) tdx_module_identities: Vec<NamedModuleIdentity>,
    pub(crate) tcb_levels: Vec<PlatformLevel>,
}

/// What the TDX module must be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModuleIdentity {
    pub(crate) mrsigner: Hex<48>,
    pub(crate) attributes: Hex<8>,
    pub(crate) attributes_mask: Hex<8>,
}

/// What a TDX module of one major version must be, and its levels.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamedModuleIdentity {
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) identity: ModuleIdentity,
    pub(crate) tcb_levels: Vec<IsvLevel>,
}

/// One level of the platform.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlatformLevel {
    pub(crate) tcb: PlatformTcb,
    pub(crate) tcb_status: TcbStatus,
    #[serde(default, rename = "advisoryIDs")]
    pub(crate) advisories: Vec<String>,
}

/// What a platform must have for a level.
#[derive(Debug, Deserialize)]
pub(crate) struct PlatformTcb {
    pub(crate) sgxtcbcomponents: [Component; 16],
    pub(crate) pcesvn: u16,
    pub(crate) tdxtcbcomponents: [Component; 16],
}

/// One component; category and type are for people.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Component {
    pub(crate) svn: u8,
}

/// One level of an enclave or a module.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IsvLevel {
    pub(crate) tcb: IsvTcb,
    pub(crate) tcb_status: TcbStatus,
    #[serde(default, rename = "advisoryIDs")]
    pub(crate) advisories: Vec<String>,
}

/// What an enclave or a module must have for a level.
#[derive(Debug, Deserialize)]
pub(crate) struct IsvTcb {
    pub(crate) isvsvn: u16,
}

/// `enclaveIdentity` of the quoting enclave.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QeIdentity {
    pub(crate) id: String,
    pub(crate) version: u32,
    #[serde(deserialize_with = "moment")]
    pub(crate) issue_date: UnixTime,
    #[serde(deserialize_with = "moment")]
    pub(crate) next_update: UnixTime,
    pub(crate) tcb_evaluation_data_number: u32,
    pub(crate) miscselect: Hex<4>,
    pub(crate) miscselect_mask: Hex<4>,
    pub(crate) attributes: Hex<16>,
    pub(crate) attributes_mask: Hex<16>,
    pub(crate) mrsigner: Hex<32>,
    pub(crate) isvprodid: u16,
    pub(crate) tcb_levels: Vec<IsvLevel>,
}
