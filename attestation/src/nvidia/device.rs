//! The certificates of a device: leaf, the device's own authority, NVIDIA's authorities.
//!
//! The device's boot ROM holds a key that NVIDIA certified when it made the chip; the subject of that
//! certificate carries the chip's serial number. With this key the device certifies the leaf, whose key
//! is derived anew for each firmware (DICE), and writes the firmware's digest (FWID) into it. So the
//! serial number of the authority names the device for life, that of the leaf only until an update.

use alloc::string::String;
use alloc::vec::Vec;

use der::Tag;
use der::asn1::ObjectIdentifier;

use super::opaque::{self, OpaqueData};
use super::report::DIGEST_BYTES;
use crate::device::DeviceKind;
use crate::x509::{Asn1Fault, Asn1Reader, Certificate};

const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// otherName of DSP0274 section 10.6: manufacturer, product, serial number.
const SPDM_DEVICE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.412.274.1");
/// Hopper and LS10 put a CompositeDeviceID (RIoT Core) under this id.
const COMPOSITE_DEVICE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
/// Blackwell puts a DiceTcbInfo (TCG DICE Attestation Architecture, section 6.1.1) under this one.
const TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1.1");
const TCB_INFO_FWIDS: u32 = 6;
const TCB_INFO_FLAGS: u32 = 7;
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
/// OperationalFlags notSecure, recovery and debug: bits 1 to 3, highest first. Bit 0, notConfigured, is
/// set on devices as they are sold.
const WEAKENED: u8 = 0x70;
const DEVICE_ID_BYTES_MAX: usize = 32;

/// A generation of devices, as a policy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Architecture {
    /// GPUs GH100.
    Hopper,
    /// GPUs GB1xx and GB2xx.
    Blackwell,
    /// Switches LS10.
    Ls10,
}

impl Architecture {
    /// From the name of a chip.
    fn of_chip(chip: &str) -> Option<Self> {
        match chip {
            "GH100" => Some(Self::Hopper),
            "LS_10" => Some(Self::Ls10),
            _ if ["GB1", "GB2"].iter().any(|family| chip.starts_with(family)) => Some(Self::Blackwell),
            _ => None,
        }
    }

    /// From the architecture that a GPU's report states, a number of NVIDIA's kernel driver interface
    /// (NV2080_CTRL_MC_ARCH_INFO_ARCHITECTURE).
    fn of_gpu_info(number: u32) -> Option<Self> {
        match number {
            0x180 => Some(Self::Hopper),
            0x1a0 | 0x1b0 => Some(Self::Blackwell),
            _ => None,
        }
    }

    pub(crate) const fn is_switch(self) -> bool {
        matches!(self, Self::Ls10)
    }

    pub(super) const fn kind(self) -> DeviceKind {
        if self.is_switch() {
            DeviceKind::NvidiaSwitch
        } else {
            DeviceKind::NvidiaGpu
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hopper => "hopper",
            Self::Blackwell => "blackwell",
            Self::Ls10 => "ls10",
        }
    }
}

/// Certificates of one device, leaf first. At least the leaf and the device's own authority.
pub(super) struct DeviceChain<'a> {
    pub(super) certificates: Vec<Certificate<'a>>,
}

/// What the leaf says of the firmware that holds its key.
#[derive(Debug)]
pub(super) struct Firmware<'a> {
    pub(super) fwid: &'a [u8; DIGEST_BYTES],
    /// The device's key that this firmware was started by, where the extension repeats it.
    pub(super) device_key: Option<&'a [u8]>,
    /// First byte of OperationalFlags, where there are any.
    flags: Option<u8>,
}

impl<'a> DeviceChain<'a> {
    pub(super) fn parse(chain: &'a [Vec<u8>]) -> Option<Self> {
        let certificates: Vec<_> = chain
            .iter()
            .map(|bytes| Certificate::parse(bytes).ok())
            .collect::<Option<_>>()?;
        (certificates.len() >= 2).then_some(Self { certificates })
    }

    pub(super) fn leaf(&self) -> &Certificate<'a> {
        &self.certificates[0]
    }

    /// The authority inside the device.
    pub(super) fn device(&self) -> &Certificate<'a> {
        &self.certificates[1]
    }

    /// Serial number of the chip.
    pub(super) fn device_id(&self) -> Option<Vec<u8>> {
        let id = hex::decode(self.device().subject_serial_number()?).ok()?;
        (8..=DEVICE_ID_BYTES_MAX).contains(&id.len()).then_some(id)
    }

    /// The chip that every certificate of the device names; `None` if they do not agree.
    pub(super) fn chip(&self) -> Option<&'a str> {
        let leaf = first_word(self.leaf().common_name()?);
        let device = first_word(self.device().common_name()?);
        let alternative = match self.leaf().extension(SUBJECT_ALTERNATIVE_NAME) {
            Some(value) => product(value).ok()?,
            None => leaf,
        };
        (leaf == device && leaf == alternative).then_some(leaf)
    }

    pub(super) fn architecture(&self) -> Option<Architecture> {
        self.chip().and_then(Architecture::of_chip)
    }
}

/// The chip as manifests write it.
pub(super) fn product_of(chip: &str) -> String {
    chip.replace('_', "")
}

/// Whether the report states the architecture `claimed`, where it states any: switches do not.
pub(super) fn report_agrees(opaque: &OpaqueData<'_>, chip: &str, claimed: Architecture) -> bool {
    if claimed.is_switch() {
        return opaque.get(opaque::DRIVER_VERSION).is_none() && opaque.get(opaque::CHIP_INFO).is_none();
    }
    let number = opaque
        .array::<8>(opaque::GPU_INFO)
        .map(|[a, b, c, d, ..]| u32::from_le_bytes([*a, *b, *c, *d]));
    let named = opaque.get(opaque::CHIP_INFO).is_none() || opaque.text(opaque::CHIP_INFO) == Some(chip);
    number.and_then(Architecture::of_gpu_info) == Some(claimed) && named
}

impl<'a> Firmware<'a> {
    /// Reads the one extension of the leaf that carries FWIDs.
    pub(super) fn parse(leaf: &Certificate<'a>) -> Result<Self, Asn1Fault> {
        match (leaf.extension(COMPOSITE_DEVICE_ID), leaf.extension(TCB_INFO)) {
            (Some(value), None) => Self::composite_device_id(value),
            (None, Some(value)) => Self::tcb_info(value),
            _ => Err(Asn1Fault),
        }
    }

    /// Version 1, the device's SubjectPublicKeyInfo, the FWID.
    fn composite_device_id(value: &'a [u8]) -> Result<Self, Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(value)?;
        if reader.small_integer()? != 1 {
            return Err(Asn1Fault);
        }
        let device_key = Some(reader.element()?);
        let fwid = fwid(&mut reader)?;
        reader.end()?;
        Ok(Self {
            fwid,
            device_key,
            flags: None,
        })
    }

    /// Optional members in the order of their numbers. The first FWID is that of the firmware.
    fn tcb_info(value: &'a [u8]) -> Result<Self, Asn1Fault> {
        let mut reader = Asn1Reader::whole_sequence(value)?;
        let (mut found, mut flags, mut last) = (None, None, None);
        while !reader.is_at_end() {
            let (number, constructed, contents) = reader.context()?;
            if last.is_some_and(|last| last >= number) {
                return Err(Asn1Fault);
            }
            last = Some(number);
            match (number, constructed) {
                (TCB_INFO_FWIDS, true) => {
                    let mut list = Asn1Reader::new(contents)?;
                    found = Some(fwid(&mut list)?);
                    while !list.is_at_end() {
                        fwid(&mut list)?;
                    }
                }
                // BIT STRING: the number of unused bits, then the bits.
                (TCB_INFO_FLAGS, false) => flags = Some(*contents.get(1).ok_or(Asn1Fault)?),
                _ => {}
            }
        }
        Ok(Self {
            fwid: found.ok_or(Asn1Fault)?,
            device_key: None,
            flags,
        })
    }

    /// Whether the firmware says that it is not secure, in recovery or under debug; `None` if it says
    /// nothing of the kind.
    pub(super) fn is_weakened(&self) -> Option<bool> {
        self.flags.map(|flags| flags & WEAKENED != 0)
    }
}

fn first_word(name: &str) -> &str {
    name.split_once(' ').map_or(name, |(first, _)| first)
}

fn fwid<'a>(reader: &mut Asn1Reader<'a>) -> Result<&'a [u8; DIGEST_BYTES], Asn1Fault> {
    let mut fwid = reader.sequence()?;
    if fwid.object_identifier()? != SHA384 {
        return Err(Asn1Fault);
    }
    let digest = fwid.octets()?.try_into().map_err(|_| Asn1Fault)?;
    fwid.end()?;
    Ok(digest)
}

/// The product in `NVIDIA:product:serial`, the one name that the extension must hold.
fn product(value: &[u8]) -> Result<&str, Asn1Fault> {
    let mut names = Asn1Reader::whole_sequence(value)?;
    let mut other = names.explicit(0)?.ok_or(Asn1Fault)?;
    names.end()?;
    if other.object_identifier()? != SPDM_DEVICE {
        return Err(Asn1Fault);
    }
    let mut explicit = other.explicit(0)?.ok_or(Asn1Fault)?;
    other.end()?;
    let text = explicit.contents(Tag::Utf8String)?;
    explicit.end()?;
    let text = core::str::from_utf8(text).map_err(|_| Asn1Fault)?;
    let (product, _serial) = text
        .strip_prefix("NVIDIA:")
        .and_then(|rest| rest.split_once(':'))
        .ok_or(Asn1Fault)?;
    Ok(product)
}
