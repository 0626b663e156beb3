//! Changes that a verifier should notice, or not: each is made to every piece that both verifiers accept.

/// A named change of evidence.
pub struct Mutant {
    /// What was changed.
    pub name: &'static str,
    /// Makes the change; `false` where it does not apply.
    pub change: fn(&mut Vec<u8>) -> bool,
}

fn flip(bytes: &mut [u8], at: usize) -> bool {
    bytes.get_mut(at).is_some_and(|byte| {
        *byte ^= 1;
        true
    })
}

/// Changes of a report (offsets: AMD 56860 table 23).
pub const REPORT: &[Mutant] = &[
    Mutant {
        name: "report: measurement changed",
        change: |report| flip(report, 0x90),
    },
    Mutant {
        name: "report: report data changed",
        change: |report| flip(report, 0x50),
    },
    Mutant {
        name: "report: reserved byte 0x4C changed",
        change: |report| flip(report, 0x4c),
    },
    Mutant {
        name: "report: reserved byte 0x18B changed",
        change: |report| flip(report, 0x18b),
    },
    Mutant {
        name: "report: reserved byte 0x1EB changed",
        change: |report| flip(report, 0x1eb),
    },
    Mutant {
        name: "report: reserved byte 0x29F changed",
        change: |report| flip(report, 0x29f),
    },
    Mutant {
        name: "report: R changed",
        change: |report| flip(report, 0x2a0),
    },
    Mutant {
        name: "report: padding of R changed",
        change: |report| flip(report, 0x2a0 + 60),
    },
    Mutant {
        name: "report: padding of S changed",
        change: |report| flip(report, 0x2e8 + 60),
    },
    Mutant {
        name: "report: byte after the signature changed",
        change: |report| flip(report, 0x330),
    },
    Mutant {
        name: "report: last byte changed",
        change: |report| flip(report, 0x49f),
    },
    Mutant {
        name: "report: signature algorithm 2",
        change: |report| set(report, 0x34, 2),
    },
    Mutant {
        name: "report: version 6",
        change: |report| set(report, 0, 6),
    },
    Mutant {
        name: "report: one byte more",
        change: |report| {
            report.push(0);
            true
        },
    },
    Mutant {
        name: "report: one byte less",
        change: |report| report.pop().is_some(),
    },
];

fn set(bytes: &mut [u8], at: usize, value: u8) -> bool {
    bytes.get_mut(at).is_some_and(|byte| {
        *byte = value;
        true
    })
}

/// Where signature data begin: after a header of 48 bytes, in version 5 6 bytes on the body, and the body.
fn signature_data(quote: &[u8]) -> Option<usize> {
    match quote.first()? {
        4 => Some(48 + 584),
        5 => {
            let size = quote.get(50..54)?.try_into().ok()?;
            Some(54 + u32::from_le_bytes(size) as usize)
        }
        _ => None,
    }
}

fn in_signature_data(quote: &mut [u8], offset: usize) -> bool {
    signature_data(quote).is_some_and(|at| flip(quote, at + offset))
}

/// The last byte of signature data, by its length.
fn last_of_signature_data(quote: &[u8]) -> Option<usize> {
    let at = signature_data(quote)?;
    let length = quote.get(at..at + 4)?.try_into().ok()?;
    Some(at + 3 + u32::from_le_bytes(length) as usize)
}

/// Changes of a quote (offsets: QVL appendix A.3).
pub const QUOTE: &[Mutant] = &[
    Mutant {
        name: "quote: reserved header bytes changed",
        change: |quote| flip(quote, 8),
    },
    Mutant {
        name: "quote: user data of the header changed",
        change: |quote| flip(quote, 28),
    },
    Mutant {
        name: "quote: vendor changed",
        change: |quote| flip(quote, 12),
    },
    Mutant {
        name: "quote: MRTD changed",
        change: |quote| flip(quote, 54 + 140),
    },
    Mutant {
        name: "quote: signature changed",
        change: |quote| in_signature_data(quote, 4),
    },
    Mutant {
        name: "quote: attestation key changed",
        change: |quote| in_signature_data(quote, 4 + 64),
    },
    Mutant {
        name: "quote: type of certification data changed",
        change: |quote| in_signature_data(quote, 4 + 128),
    },
    Mutant {
        name: "quote: report of the quoting enclave changed",
        change: |quote| in_signature_data(quote, 4 + 128 + 6),
    },
    Mutant {
        name: "quote: last byte of signature data changed",
        change: |quote| last_of_signature_data(quote).is_some_and(|at| flip(quote, at)),
    },
    Mutant {
        name: "quote: a zero byte more",
        change: |quote| {
            quote.push(0);
            true
        },
    },
    Mutant {
        name: "quote: another byte more",
        change: |quote| {
            quote.push(1);
            true
        },
    },
];
