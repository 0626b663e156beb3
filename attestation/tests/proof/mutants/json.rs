//! Intel's signed JSON: names doubled, added or spelt otherwise, values changed.

use crate::random::Random;

/// Another document. White space outside the signed object means nothing, so none is added there.
pub(super) fn mutate(random: &mut Random, document: &[u8], other: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(document).into_owned();
    let theirs = String::from_utf8_lossy(other).into_owned();
    let signature = text.rfind(",\"signature\":").unwrap_or(text.len());
    let their_signature = theirs.rfind(",\"signature\":").unwrap_or(theirs.len());
    let (object, tail) = text.split_at(signature);
    let (their_object, their_tail) = theirs.split_at(their_signature);
    let changed = match random.below(12) {
        // A second member before or after, the same or another's.
        0 => format!("{object},{}{tail}", their_object.trim_start_matches('{')),
        1 => format!(
            "{{{},{}{tail}",
            their_object.trim_start_matches('{'),
            object.trim_start_matches('{')
        ),
        2 => format!("{object}{tail}").replacen('}', ",\"tcbStatus\":\"UpToDate\"}", 1 + random.below(3)),
        3 => format!("{object}{their_tail}"),
        4 => format!("{their_object}{tail}"),
        5 => text.replace("OutOfDate", "UpToDate"),
        6 => text.replacen("\"svn\":", "\"svn\": ", 1 + random.below(9)),
        7 => text.replacen("nextUpdate\":\"20", "nextUpdate\":\"21", 1),
        8 => text.replacen("\"id\":\"TD", "\"\\u0069d\":\"TD", 1),
        9 => format!("{object},\"more\":{}{tail}", random.below(9)),
        10 => {
            let names = [
                "tcbInfo",
                "enclaveIdentity",
                "signature",
                "tcbLevels",
                "mrsigner",
                "fmspc",
                "version",
            ];
            let (from, to) = (random.pick(&names), random.pick(&names));
            text.replacen(&format!("\"{from}\""), &format!("\"{to}\""), 1)
        }
        _ => {
            let mut bytes = text.clone().into_bytes();
            let at = 10 + random.below(bytes.len() - 12);
            bytes[at] = *random.pick(b"0123456789abcdefABCDEF{}[]:,\"\\tru");
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    changed.into_bytes()
}
