//! SNP reports.

use attestation::PlatformTag;

use super::{Fate, assert_none_accepted, copy, copy_tail, fate, number, resize, swap};
use crate::random::Random;
use crate::real::Real;

/// Offset and length of each field (AMD 56860, table 23).
const FIELDS: &[(usize, usize)] = &[
    (0x000, 4),
    (0x004, 4),
    (0x008, 8),
    (0x010, 16),
    (0x020, 16),
    (0x030, 4),
    (0x034, 4),
    (0x038, 8),
    (0x040, 8),
    (0x048, 4),
    (0x050, 64),
    (0x090, 48),
    (0x0c0, 32),
    (0x0e0, 48),
    (0x110, 48),
    (0x140, 32),
    (0x160, 32),
    (0x180, 8),
    (0x188, 3),
    (0x1a0, 64),
    (0x1e0, 8),
    (0x1e8, 4),
    (0x1ec, 4),
    (0x1f0, 8),
    (0x1f8, 8),
    (0x200, 8),
    (0x2a0, 72),
    (0x2e8, 72),
];
/// Reserved areas.
const RESERVED: &[(usize, usize)] = &[
    (0x04c, 4),
    (0x18b, 21),
    (0x1eb, 1),
    (0x1ef, 1),
    (0x208, 152),
    (0x2d0, 24),
    (0x318, 24),
    (0x330, 368),
];

pub(super) fn mutate(random: &mut Random, report: &mut Vec<u8>, other: &[u8]) {
    let (offset, length) = *random.pick(FIELDS);
    match random.below(11) {
        0 => {
            let alike: Vec<_> = FIELDS.iter().filter(|field| field.1 == length).collect();
            swap(report, offset, random.pick(&alike).0, length);
        }
        1 | 2 => copy(report, other, offset, length),
        3 => number(random, report, offset, length.min(8)),
        4 => report[offset..offset + length].fill(if random.below(2) == 0 { 0 } else { 0xff }),
        5 => {
            let (offset, length) = *random.pick(RESERVED);
            random.flip(report, offset, offset + length);
        }
        6 => report[..4].copy_from_slice(&(random.below(8) as u32).to_le_bytes()),
        7 => resize(random, report),
        // The head of one and the tail of the other.
        8 => copy(report, other, 0, offset),
        9 => copy_tail(report, other, offset),
        _ => random.flip(report, 0, 0x4a0),
    }
}

#[test]
fn no_mutant_of_a_real_report_is_accepted() {
    let Some(all) = Real::all() else { return };
    let all: Vec<_> = all
        .iter()
        .filter(|real| real.platform == PlatformTag::AmdSevSnp)
        .collect();
    assert_none_accepted("reports", 20_000, |random| -> Fate {
        let (real, other) = (*random.pick(&all), *random.pick(&all));
        let mut report = real.evidence.clone();
        for _ in 0..1 + random.below(3) {
            if report.len() != 0x4a0 {
                break;
            }
            mutate(random, &mut report, &other.evidence);
        }
        fate(report == real.evidence, &real.evidence, &report, || {
            real.accepts(&report, &real.endorsements)
        })
    });
}
