//! RTMR 0: what TDVF measures of the platform before it boots anything (edk2, `OvmfPkg/Library/SecTpmMeasurementLib`,
//! `MdeModulePkg/Universal/BdsDxe`; TCG PC Client Platform Firmware Profile, section 3.3.4).

use sha2::{Digest, Sha384};

use super::{Firmware, SectionKind, hand_off_block};
use crate::{
    bytes::utf16,
    error::{MeasureError, Part},
    footer::{Guid, guid},
    uki::register,
};

/// EFI_GLOBAL_VARIABLE: 8be4df61-93ca-11d2-aa0d-00e098032b8c
const GLOBAL_VARIABLE: Guid = guid(0x8be4_df61, 0x93ca, 0x11d2, 0xaa0d_00e0_9803_2b8c);
/// EFI_IMAGE_SECURITY_DATABASE: d719b2cb-3d3a-4596-a3bc-dad00e67656f
const SECURITY_DATABASE: Guid = guid(0xd719_b2cb, 0x3d3a, 0x4596, 0xa3bc_dad0_0e67_656f);
/// OVMF's firmware volume: 7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1
const FIRMWARE_VOLUME: Guid = guid(0x7cb8_bdc9, 0xf8eb, 0x4f34, 0xaaea_3ee4_af65_16a1);
/// UiApp in it: 462caa21-7614-4503-836e-8ab6f4662331
const UI_APP: Guid = guid(0x462c_aa21, 0x7614, 0x4503, 0x836e_8ab6_f466_2331);

/// Bound of an ACPI blob; QEMU's are 128 KiB.
const ACPI_BYTES_MAX: usize = 4 << 20;

/// The Secure Boot variables, as UEFI holds their contents; empty where a variable does not exist.
#[derive(Debug, Clone, Default)]
pub struct SecureBoot {
    /// `SecureBoot`: empty in a build without Secure Boot, else one byte.
    pub secure_boot: Vec<u8>,
    /// `PK`.
    pub platform_key: Vec<u8>,
    /// `KEK`.
    pub key_exchange_keys: Vec<u8>,
    /// `db`.
    pub allowed: Vec<u8>,
    /// `dbx`.
    pub forbidden: Vec<u8>,
}

/// The blobs through which QEMU gives ACPI tables to firmware. They depend on memory, vCPUs, devices and QEMU.
#[derive(Debug, Clone, Copy)]
pub struct AcpiBlobs<'a> {
    /// `etc/table-loader`.
    pub loader: &'a [u8],
    /// `etc/acpi/rsdp`.
    pub rsdp: &'a [u8],
    /// `etc/acpi/tables`.
    pub tables: &'a [u8],
}

/// The events of RTMR 0, in order, by name and digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformEvents(pub Vec<(&'static str, Vec<u8>)>);

impl PlatformEvents {
    /// The events of a machine that boots a kernel directly, with firmware of before edk2-stable202505.
    ///
    /// # Errors
    /// [`MeasureError`] when the firmware lacks a section or the memory is too small for it.
    pub fn predict(
        firmware: &Firmware<'_>,
        memory_bytes: u64,
        secure_boot: &SecureBoot,
        acpi: AcpiBlobs<'_>,
    ) -> Result<Self, MeasureError> {
        for blob in [acpi.loader, acpi.rsdp, acpi.tables] {
            MeasureError::bound(Part::Memory, blob.len(), ACPI_BYTES_MAX)?;
        }
        let mut events = Self::known(firmware, memory_bytes, secure_boot)?;
        let mut add = |name, data: &[u8]| events.0.push((name, digest(data)));
        add("acpi-loader", acpi.loader);
        add("acpi-rsdp", acpi.rsdp);
        add("acpi-tables", acpi.tables);
        add("BootOrder", &[0, 0]);
        add("Boot0000", &ui_app());
        Ok(events)
    }

    /// The events that need no ACPI blob: the first eight.
    ///
    /// # Errors
    /// As [`PlatformEvents::predict`].
    pub fn known(
        firmware: &Firmware<'_>,
        memory_bytes: u64,
        secure_boot: &SecureBoot,
    ) -> Result<Self, MeasureError> {
        let [secure, platform, exchange, allowed, forbidden] =
            secure_boot_variables(secure_boot).map(|data| digest(&data));
        let volume = firmware.data(SectionKind::Configuration, Part::ConfigurationVolume)?;
        Ok(Self(vec![
            ("hand-off-block", digest(&hand_off_block(firmware, memory_bytes)?)),
            ("configuration-volume", digest(volume)),
            ("SecureBoot", secure),
            ("PK", platform),
            ("KEK", exchange),
            ("db", allowed),
            ("dbx", forbidden),
            ("separator", digest(&[0; 4])),
        ]))
    }

    /// The register after these events.
    pub fn rtmr0(&self) -> Vec<u8> {
        let events: Vec<_> = self.0.iter().map(|(_, digest)| digest.clone()).collect();
        register::<Sha384>(&events)
    }
}

fn digest(data: &[u8]) -> Vec<u8> {
    Sha384::digest(data).to_vec()
}

/// What firmware measures of the Secure Boot variables, in its order.
pub(crate) fn secure_boot_variables(secure_boot: &SecureBoot) -> [Vec<u8>; 5] {
    [
        variable_data(GLOBAL_VARIABLE, "SecureBoot", &secure_boot.secure_boot),
        variable_data(GLOBAL_VARIABLE, "PK", &secure_boot.platform_key),
        variable_data(GLOBAL_VARIABLE, "KEK", &secure_boot.key_exchange_keys),
        variable_data(SECURITY_DATABASE, "db", &secure_boot.allowed),
        variable_data(SECURITY_DATABASE, "dbx", &secure_boot.forbidden),
    ]
}

/// UEFI_VARIABLE_DATA (TCG PC Client Platform Firmware Profile, section 10.2.6).
fn variable_data(vendor: Guid, name: &str, contents: &[u8]) -> Vec<u8> {
    let mut data = vendor.to_vec();
    data.extend((name.len() as u64).to_le_bytes());
    data.extend((contents.len() as u64).to_le_bytes());
    data.extend(utf16(name));
    data.extend(contents);
    data
}

/// The one boot option of OVMF (UEFI 2.11, section 3.1.3): its own menu, by its place in the firmware volume.
fn ui_app() -> Vec<u8> {
    const ACTIVE_HIDDEN_APPLICATION: u32 = 0x109;
    let mut path = vec![4, 7, 20, 0];
    path.extend(FIRMWARE_VOLUME);
    path.extend([4, 6, 20, 0]);
    path.extend(UI_APP);
    path.extend([0x7f, 0xff, 4, 0]);
    let mut option = ACTIVE_HIDDEN_APPLICATION.to_le_bytes().to_vec();
    option.extend((path.len() as u16).to_le_bytes());
    option.extend(utf16("UiApp\0"));
    option.extend(path);
    option
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events of the log of a real TD (`composite/composite-tdx-8xhopper-near` of the vectors).
    #[test]
    fn variables_are_measured_as_a_real_machine_did() {
        let empty = |vendor, name| hex::encode(digest(&variable_data(vendor, name, &[])));
        for (actual, expected) in [
            (empty(GLOBAL_VARIABLE, "SecureBoot"), "9dc3a1f80bcec915391dcda5"),
            (empty(GLOBAL_VARIABLE, "PK"), "6f2e3cbc14f9def86980f5f6"),
            (empty(GLOBAL_VARIABLE, "KEK"), "d607c0efb41c0d757d69bca0"),
            (empty(SECURITY_DATABASE, "db"), "08a74f8963b337acb6c93682"),
            (empty(SECURITY_DATABASE, "dbx"), "18cc6e01f0c6ea99aa23f8a2"),
            (hex::encode(digest(&[0; 4])), "394341b7182cd227c5c6b07e"),
            (hex::encode(digest(&[0, 0])), "1dd6f7b457ad880d840d41c9"),
            (hex::encode(digest(&ui_app())), "23ada07f5261f12f34a0bd8e"),
        ] {
            assert_eq!(actual[..24], *expected);
        }
    }

    /// `tdx/logs/ccel-grub-coco` has Secure Boot on.
    #[test]
    fn a_variable_with_contents_counts_them() {
        let on = digest(&variable_data(GLOBAL_VARIABLE, "SecureBoot", &[1]));
        assert_eq!(hex::encode(on)[..24], *"2cded0c6f453d4c6f59c5e14");
    }
}
