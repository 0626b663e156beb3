//! Whether a digest is that of the data beside it.
//!
//! What is measured depends on the type (Platform Firmware Profile, table "Events"):
//!
//! | type | measured |
//! |---|---|
//! | EV_SEPARATOR, EV_ACTION, EV_EFI_ACTION, EV_S_CRTM_VERSION, EV_OMIT_BOOT_DEVICE_EVENTS, EV_EFI_GPT_EVENT, EV_EFI_GPT_EVENT2, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_VARIABLE_BOOT2 | the data |
//! | EV_EFI_VARIABLE_BOOT | the variable's value (its name is then a hint), or the data |
//! | EV_EFI_VARIABLE_AUTHORITY | the data; older shims log one byte too many |
//! | EV_IPL of GRUB: `grub_cmd: …`, `kernel_cmdline: …`, `module_cmdline: …` | what follows the prefix, with or without its NUL |
//! | dstack's runtime events | type, name and payload; see [`super::json`] |
//! | images, firmware volumes, tables, other EV_IPL, tagged events, microcode, POST codes | something that the log does not hold |
//!
//! The type itself was not measured: whoever hands the log over can change it. Where lines are looked for, a
//! separator is known by its digest, too.

use sha2::{Digest as _, Sha256, Sha384};

use super::event::{Event, EventKind};
use super::variable;

/// Values of EV_SEPARATOR where nothing went wrong. (Windows draws lines of its own in PCR 12 to 14.)
pub(super) const SEPARATORS: [&[u8]; 2] = [&[0; 4], &[0xff; 4]];
/// Prefixes of GRUB's EV_IPL events, which are not measured with the rest; the last three are of older versions.
const GRUB_PREFIXES: [&[u8]; 6] = [
    b"grub_cmd: ",
    b"kernel_cmdline: ",
    b"module_cmdline: ",
    b"grub_cmd ",
    b"grub_kernel_cmdline ",
    b"grub_module_cmdline ",
];

/// What is known of an event's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Agreement {
    /// It is the digest of the data: the data was measured.
    Recomputed,
    /// The type measures something that the log does not hold; the data is a hint.
    Elsewhere,
    /// The type is not known here; the data is a hint.
    Unknown,
    /// The log leaves the data out.
    Withheld,
    /// It is not the digest of the data, though the type says so: the log does not tell what was measured.
    Mismatch,
    /// EV_NO_ACTION is not extended.
    NotExtended,
}

/// How digests and data of an event of a TCG log agree.
pub(super) fn of(event: &Event) -> Agreement {
    if !event.is_extended() {
        return Agreement::NotExtended;
    }
    let data = event.data.as_slice();
    if event.sha256.is_none() && event.sha384.is_none() {
        return Agreement::Unknown;
    }
    match event.kind {
        EventKind::SEPARATOR
        | EventKind::ACTION
        | EventKind::EFI_ACTION
        | EventKind::S_CRTM_VERSION
        | EventKind::OMIT_BOOT_DEVICE_EVENTS
        | EventKind::EFI_GPT_EVENT
        | EventKind::EFI_GPT_EVENT2
        | EventKind::EFI_VARIABLE_DRIVER_CONFIG
        | EventKind::EFI_VARIABLE_BOOT2 => required(is_digest_of(event, data)),
        EventKind::EFI_VARIABLE_BOOT => {
            let value = variable::Variable::parse(data).map(|variable| variable.value);
            required(is_digest_of(event, data) || value.is_some_and(|value| is_digest_of(event, value)))
        }
        EventKind::EFI_VARIABLE_AUTHORITY => required(
            is_digest_of(event, data)
                || data
                    .split_last()
                    .is_some_and(|(_, shorter)| is_digest_of(event, shorter)),
        ),
        EventKind::IPL => match grub_text(data) {
            Some(text) => {
                let without_nul = text.strip_suffix(b"\0").unwrap_or(text);
                required(is_digest_of(event, text) || is_digest_of(event, without_nul))
            }
            None => optional(event, Agreement::Elsewhere),
        },
        kind if kind.name().is_some() => optional(event, Agreement::Elsewhere),
        _ => optional(event, Agreement::Unknown),
    }
}

/// Whether the digest is a separator's, whatever the type.
pub(super) fn is_separator(event: &Event) -> bool {
    SEPARATORS.iter().any(|value| is_digest_of(event, value))
}

/// What GRUB measured of one of its commands.
pub(super) fn grub_text(data: &[u8]) -> Option<&[u8]> {
    GRUB_PREFIXES
        .into_iter()
        .find_map(|prefix| data.strip_prefix(prefix))
}

/// Whether every digest of the banks that are replayed is that of `data`.
pub(super) fn is_digest_of(event: &Event, data: &[u8]) -> bool {
    let sha256 = event.sha256.map(|digest| digest[..] == Sha256::digest(data)[..]);
    let sha384 = event.sha384.map(|digest| digest[..] == Sha384::digest(data)[..]);
    match (sha256, sha384) {
        (None, None) => false,
        (sha256, sha384) => sha256.unwrap_or(true) && sha384.unwrap_or(true),
    }
}

fn required(agrees: bool) -> Agreement {
    if agrees {
        Agreement::Recomputed
    } else {
        Agreement::Mismatch
    }
}

fn optional(event: &Event, otherwise: Agreement) -> Agreement {
    if is_digest_of(event, &event.data) {
        Agreement::Recomputed
    } else {
        otherwise
    }
}
