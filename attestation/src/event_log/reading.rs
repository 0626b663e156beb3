//! What a log says to a person.
//!
//! The host wrote it: digests are as good as the register that they replay to, and texts are shown only where the
//! digest is theirs. GRUB does not measure the word before a text, so a command could be shown as a command line.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::event::{Event, EventKind};
use super::variable::{self, Variable, utf16};
use super::{Agreement, Bank, EventLog, RegisterLayout, agreement};
use crate::fields::{Field, Fields};

const TEXT_CHARACTERS_MAX: usize = 4096;
/// Fields that events give; a boot needs far fewer, and a person reads no more.
const EVENT_FIELDS_MAX: usize = 256;
/// Tags of Linux's EFI stub (drivers/firmware/efi/libstub/efistub.h).
const LINUX_INITRD: u32 = 0x8f3b_22ec;
const LINUX_LOAD_OPTIONS: u32 = 0x8f3b_22ed;
/// EFI_IMAGE_LOAD_EVENT (Platform Firmware Profile, section 10.2.3): three numbers, then a device path.
const IMAGE_LOAD_HEADER_BYTES: usize = 32;
const KERNEL_COMMAND_LINE: [&[u8]; 2] = [b"kernel_cmdline: ", b"grub_kernel_cmdline "];

/// Where a confidential VM's software measures at run time.
const RTMR3: u32 = 4;

/// Whether firmware checked signatures of what it loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SecureBoot {
    Enabled,
    Disabled,
    /// Not measured, measured twice, or where anything could have measured it.
    NotShown,
}

impl RegisterLayout {
    fn secure_boot(self) -> u32 {
        match self {
            RegisterLayout::Pcr => 7,
            RegisterLayout::Confidential => 1,
        }
    }

    fn firmware(self) -> u32 {
        match self {
            RegisterLayout::Pcr => 0,
            RegisterLayout::Confidential => 1,
        }
    }

    fn applications(self) -> u32 {
        match self {
            RegisterLayout::Pcr => 4,
            RegisterLayout::Confidential => 2,
        }
    }

    /// Whether a boot loader measures there: PCR 8, 9, 11 and 12; RTMR2.
    fn is_boot_loaders(self, register: u32) -> bool {
        match self {
            RegisterLayout::Pcr => matches!(register, 8 | 9 | 11 | 12),
            RegisterLayout::Confidential => register == 3,
        }
    }

    fn register_name(self, register: u32) -> String {
        match (self, register) {
            (RegisterLayout::Confidential, 1..=4) => format!("RTMR{}", register - 1),
            (RegisterLayout::Confidential, 0) => "MRTD".to_string(),
            _ => format!("PCR{register}"),
        }
    }
}

impl EventLog {
    /// What the log says, for a person: registers, secure boot, boot loaders, command line, runtime events.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields = Fields::default();
        fields.text("events", None, self.events.len());
        for register in self.registers() {
            // The banks are in order: confidential VMs have SHA-384 alone, TPMs are quoted by SHA-256.
            let value = match self.banks.first() {
                Some(Bank::Sha256) => self.replay_sha256(register).map(hex::encode),
                Some(Bank::Sha384) => self.replay_sha384(register).map(hex::encode),
                None => None,
            };
            let name = format!("replayed {}", self.layout.register_name(register));
            fields.text(name, None, value.unwrap_or_else(|| "not possible".into()));
        }
        self.boot_fields(&mut fields);
        self.doubts(&mut fields);
        fields.into_vec()
    }

    /// What was booted, of the fields.
    pub(crate) fn boot_fields(&self, fields: &mut Fields) {
        fields.text(
            "secure boot",
            None,
            match self.secure_boot() {
                SecureBoot::Enabled => "enabled",
                SecureBoot::Disabled => "disabled",
                SecureBoot::NotShown => "not shown",
            },
        );
        let exit = self.exit_boot_services().unwrap_or(self.events.len());
        let told = self.events.iter().enumerate().filter_map(|(at, event)| {
            // What came after the hand-over was not measured by the firmware.
            let by_firmware = at < exit && event.register == self.layout.applications();
            match event.kind {
                EventKind::EFI_BOOT_SERVICES_APPLICATION if by_firmware => Some(application(event)),
                EventKind::S_CRTM_VERSION
                    if event.register == self.layout.firmware()
                        && event.agreement == Agreement::Recomputed =>
                {
                    Some(("firmware version".into(), version(&event.data)))
                }
                EventKind::APPLICATION
                    if event.register == RTMR3 && event.agreement == Agreement::Recomputed =>
                {
                    Some(runtime(event))
                }
                _ if self.layout.is_boot_loaders(event.register) => boot_loader_event(event),
                _ => None,
            }
        });
        for (name, value) in told.take(EVENT_FIELDS_MAX) {
            fields.text(name, None, value);
        }
    }

    /// What about the log a person cannot rely upon.
    fn doubts(&self, fields: &mut Fields) {
        if let Some((at, event)) = self.disagreeing() {
            fields.text("disagrees", None, format!("event {at}, {}", event.kind));
        }
        for (agreement, name) in [
            (Agreement::Elsewhere, "data not measured"),
            (Agreement::Withheld, "data withheld"),
            (Agreement::Unknown, "types not known"),
        ] {
            let mut kinds: BTreeMap<EventKind, usize> = BTreeMap::new();
            for event in self.events.iter().filter(|event| event.agreement == agreement) {
                *kinds.entry(event.kind).or_default() += 1;
            }
            if !kinds.is_empty() {
                let words: Vec<_> = kinds
                    .iter()
                    .take(EVENT_FIELDS_MAX)
                    .map(|(kind, count)| format!("{count} {kind}"))
                    .collect();
                fields.text(name, None, words.join(", "));
            }
        }
    }

    /// Secure boot as the firmware measured it before it drew the line.
    pub(super) fn secure_boot(&self) -> SecureBoot {
        let mut found = SecureBoot::NotShown;
        let mut separated = false;
        for (_, event) in self.extended(self.layout.secure_boot()) {
            separated |= event.kind == EventKind::SEPARATOR || agreement::is_separator(event);
            if event.kind != EventKind::EFI_VARIABLE_DRIVER_CONFIG {
                continue;
            }
            let variable = Variable::parse(&event.data);
            let Some(variable) = variable.filter(|variable| variable.is(&variable::GLOBAL, "SecureBoot"))
            else {
                continue;
            };
            if separated || found != SecureBoot::NotShown || event.agreement != Agreement::Recomputed {
                return SecureBoot::NotShown;
            }
            found = match variable.value {
                [1] => SecureBoot::Enabled,
                [] | [0] => SecureBoot::Disabled,
                _ => return SecureBoot::NotShown,
            };
        }
        found
    }
}

type Told = (Cow<'static, str>, String);

/// In the bank in which registers are shown.
fn digest(event: &Event) -> String {
    match (&event.sha256, &event.sha384) {
        (Some(digest), _) => hex::encode(digest),
        (None, Some(digest)) => hex::encode(digest),
        (None, None) => "no digest".to_string(),
    }
}

/// Text, or a GUID as other firmware writes it.
fn version(data: &[u8]) -> String {
    utf16(data)
        .filter(|text| text.is_ascii())
        .map_or_else(|| hex::encode(data), |text| shown(&text))
}

/// The Authenticode digest, and where the log says that the image came from.
fn application(event: &Event) -> Told {
    let value = match file_path(&event.data) {
        Some(path) => format!("{} (said to be {})", digest(event), shown(&path)),
        None => digest(event),
    };
    ("boot application".into(), value)
}

/// Bytes, and beside them the text that they may be.
fn runtime(event: &Event) -> Told {
    let text = core::str::from_utf8(&event.data)
        .ok()
        .filter(|text| !text.is_empty());
    let value = match text {
        Some(text) => format!("{} ({})", hex::encode(&event.data), shown(text)),
        None => hex::encode(&event.data),
    };
    (format!("runtime event {}", shown(&event.name)).into(), value)
}

fn boot_loader_event(event: &Event) -> Option<Told> {
    match event.kind {
        EventKind::IPL => {
            let command_line = KERNEL_COMMAND_LINE
                .iter()
                .any(|prefix| event.data.starts_with(prefix));
            if command_line && event.agreement == Agreement::Recomputed {
                let text = agreement::grub_text(&event.data)?;
                let text = core::str::from_utf8(text.strip_suffix(b"\0").unwrap_or(text)).ok()?;
                return Some(("kernel command line".into(), shown(text)));
            }
            // A unified kernel image: systemd-stub measures the name of each section, then the section.
            let section = utf16(&event.data).filter(|name| name.starts_with('.') && name.is_ascii())?;
            let named = agreement::is_digest_of(event, format!("{section}\0").as_bytes());
            (!named).then(|| {
                (
                    format!("kernel image section {}", shown(&section)).into(),
                    digest(event),
                )
            })
        }
        EventKind::EVENT_TAG => match u32::from_le_bytes(*event.data.first_chunk()?) {
            LINUX_LOAD_OPTIONS => Some(("digest of kernel load options".into(), digest(event))),
            LINUX_INITRD => Some(("digest of initrd".into(), digest(event))),
            _ => None,
        },
        _ => None,
    }
}

/// The file in the device path of an image (UEFI section 10.3.5.4).
fn file_path(data: &[u8]) -> Option<String> {
    const MEDIA: u8 = 4;
    const FILE: u8 = 4;
    let mut rest = data.get(IMAGE_LOAD_HEADER_BYTES..)?;
    while let Some([kind, sub_kind, low, high]) = rest.first_chunk() {
        let bytes = usize::from(u16::from_le_bytes([*low, *high]));
        let node = rest.get(4..bytes)?;
        if (*kind, *sub_kind) == (MEDIA, FILE) {
            return utf16(node);
        }
        rest = rest.get(bytes..)?;
    }
    None
}

/// Text of the host's making, without what a terminal would obey.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars().take(TEXT_CHARACTERS_MAX) {
        if character.is_control() || is_bidirectional(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Characters that reorder the text around them (Unicode standard annex 9).
fn is_bidirectional(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
