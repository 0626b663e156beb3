//! Certificates in PEM: doubled, left out, moved, replaced.

use crate::random::Random;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// The PEM of each certificate, without what follows the last.
fn split(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text)
        .trim_end_matches(['\0', '\n', '\r'])
        .split(BEGIN)
        .skip(1)
        .map(|rest| format!("{BEGIN}{}\n", rest.trim_end()))
        .collect()
}

/// Whether two texts are of the same certificates: line breaks, and padding after the last, mean nothing.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let bare = |text: &[u8]| {
        let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
        text[..end]
            .iter()
            .copied()
            .filter(|byte| !is_break(byte))
            .collect::<Vec<_>>()
    };
    bare(one) == bare(other)
}

/// Another chain. Its last certificate stays: a root may be left out where the chain leads to it anyway.
pub(super) fn mutate(random: &mut Random, text: &[u8], other: &[u8]) -> Vec<u8> {
    let (mut chain, theirs) = (split(text), split(other));
    if chain.len() < 2 || theirs.is_empty() {
        return text.to_vec();
    }
    let at = random.below(chain.len() - 1);
    match random.below(8) {
        0 => {
            let again = chain[at].clone();
            chain.insert(at, again);
        }
        1 => drop(chain.remove(at)),
        2 => {
            let with = random.below(chain.len());
            chain.swap(at, with);
        }
        3 => chain[at] = random.pick(&theirs).clone(),
        4 => chain.push(random.pick(&theirs).clone()),
        5 => chain[at] = chain[at].replacen("CERTIFICATE", "CERTIFICATES", 1 + random.below(2)),
        6 => chain.insert(at, "text between\n".to_owned()),
        _ => {
            let mut bytes = chain[at].clone().into_bytes();
            let digit = BEGIN.len() + 1 + random.below(bytes.len().saturating_sub(2 * BEGIN.len()));
            bytes[digit] = *random.pick(b"ABCDEFGHwxyz0189+/=*- ");
            chain[at] = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    chain.concat().into_bytes()
}
