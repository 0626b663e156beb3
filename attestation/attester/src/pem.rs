//! PEM (RFC 7468), as far as certificates need it, and the outer shell of DER.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const LINE_CHARACTERS: usize = 64;

/// One certificate as PEM.
pub(crate) fn encode(certificate: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(certificate);
    let mut pem = format!("{BEGIN}\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARACTERS));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(END);
    pem.push('\n');
    pem.into_bytes()
}

/// The certificates of a PEM text, at most `count_max`; `None` if it is not one.
pub(crate) fn decode(text: &str, count_max: usize) -> Option<Vec<Vec<u8>>> {
    let mut certificates = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if certificates.len() == count_max {
            return None;
        }
        let (body, after) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        let body: String = body.split_ascii_whitespace().collect();
        let certificate = STANDARD.decode(body).ok()?;
        certificates.push(certificate);
        rest = after.trim();
    }
    Some(certificates)
}

/// The DER element at the start of a buffer that is zero after it, as NV indexes are.
pub(crate) fn without_zero_padding(buffer: &[u8]) -> Option<&[u8]> {
    let (tag, rest) = buffer.split_first()?;
    let (first, _) = rest.split_first()?;
    if *tag != 0x30 {
        return None;
    }
    // X.690 section 8.1.3: a certificate is longer than 127 bytes, so the length takes more octets.
    let (octets, header) = match *first {
        0x81 => (rest.get(1..2)?, 3),
        0x82 => (rest.get(1..3)?, 4),
        _ => return None,
    };
    let length = octets
        .iter()
        .fold(0, |length, octet| length << 8 | usize::from(*octet));
    let (element, padding) = buffer.split_at_checked(length.checked_add(header)?)?;
    padding.iter().all(|byte| *byte == 0).then_some(element)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, without_zero_padding};

    #[test]
    fn pem_goes_both_ways() {
        for length in [1, 47, 48, 49, 1000] {
            let certificate = vec![0x5a; length];
            let pem = String::from_utf8(encode(&certificate)).expect("text");
            assert!(pem.lines().all(|line| line.len() <= 64));
            assert_eq!(
                decode(&format!("{pem}\r\n{pem}"), 2),
                Some(vec![certificate.clone(); 2])
            );
            assert_eq!(decode(&format!("{pem}{pem}"), 1), None);
        }
        for bad in [
            "x",
            "-----BEGIN CERTIFICATE-----\nAAAA",
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
        ] {
            assert_eq!(decode(bad, 2), None, "{bad}");
        }
    }

    #[test]
    fn only_zeros_may_follow_a_certificate() {
        let mut buffer = vec![0x30, 0x81, 0x80];
        buffer.extend([1; 128]);
        assert_eq!(without_zero_padding(&buffer), Some(&buffer[..]));
        let whole = buffer.len();
        buffer.extend([0; 100]);
        assert_eq!(without_zero_padding(&buffer), Some(&buffer[..whole]));
        buffer[whole + 50] = 1;
        assert_eq!(without_zero_padding(&buffer), None);
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x82, 1],
            &[0x30, 0x82, 1, 0, 5],
            &[0; 64],
            &[0xff; 64],
        ] {
            assert_eq!(without_zero_padding(bad), None);
        }
    }
}
