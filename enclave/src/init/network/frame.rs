//! An Ethernet frame around a datagram of a DHCP client or server (RFC 894, RFC 791, RFC 768), written and read whole.
//!
//! A client has no address yet, so that the kernel's UDP is of no use to it: what a server sends to an address that is
//! still to be set would not arrive.

use std::net::Ipv4Addr;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// Largest frame that is read: what Ethernet carries without more than its plain header.
pub(super) const FRAME_BYTES_MAX: usize = 1514;
pub(super) const CLIENT_PORT: u16 = 68;
pub(super) const SERVER_PORT: u16 = 67;

const EVERYBODY: Mac = [0xff; 6];
const ETHERNET_BYTES: usize = 14;
const TYPE_IPV4: u16 = 0x0800;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const UDP: u8 = 17;
const HOPS_MAX: u8 = 64;

/// A frame from `client`, whose address is `source` if it has one, to every server there is.
pub(super) fn write(client: Mac, source: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| {
        u16::try_from(bytes)
            .expect("a message of ours is short")
            .to_be_bytes()
    };
    let addresses = [source.octets(), Ipv4Addr::BROADCAST.octets()].concat();

    let mut datagram = Vec::with_capacity(UDP_BYTES + message.len());
    datagram.extend(CLIENT_PORT.to_be_bytes());
    datagram.extend(SERVER_PORT.to_be_bytes());
    datagram.extend(length(UDP_BYTES + message.len()));
    datagram.extend([0, 0]); // the checksum, below
    datagram.extend(message);
    let pseudo = [&addresses[..], &[0, UDP], &length(datagram.len()), &datagram].concat();
    let sum = match checksum(&pseudo) {
        0 => 0xffff, // 0 would say that there is none
        sum => sum,
    };
    datagram.splice(6..8, sum.to_be_bytes());

    let mut header = Vec::with_capacity(IPV4_BYTES);
    header.extend([0x45, 0]); // version 4, five words
    header.extend(length(IPV4_BYTES + datagram.len()));
    header.extend([0, 0, 0, 0, HOPS_MAX, UDP, 0, 0]);
    header.extend(addresses);
    let sum = checksum(&header);
    header.splice(10..12, sum.to_be_bytes());

    [
        &EVERYBODY[..],
        &client,
        &TYPE_IPV4.to_be_bytes(),
        &header,
        &datagram,
    ]
    .concat()
}

/// The message in a frame from a server to `client`, or to everybody; `None` for every other frame.
///
/// No checksum is looked at: they are no defence against a host, and cards leave them to be made later.
pub(super) fn read(frame: &[u8], client: Mac) -> Option<&[u8]> {
    if frame.len() > FRAME_BYTES_MAX {
        return None;
    }
    let (ethernet, packet) = frame.split_at_checked(ETHERNET_BYTES)?;
    let to = ethernet.get(..6)?;
    if (to != client && to != EVERYBODY) || word(ethernet, 12)? != TYPE_IPV4 {
        return None;
    }
    let first = *packet.first()?;
    let header = usize::from(first & 0x0f) * 4;
    let total = usize::from(word(packet, 2)?);
    let fragment = word(packet, 6)? & 0x3fff; // more to come, or not the first
    if first >> 4 != 4 || header < IPV4_BYTES || fragment != 0 || *packet.get(9)? != UDP {
        return None;
    }
    let datagram = packet.get(header..total)?; // what follows is Ethernet's padding
    let length = usize::from(word(datagram, 4)?);
    if word(datagram, 0)? != SERVER_PORT || word(datagram, 2)? != CLIENT_PORT {
        return None;
    }
    datagram.get(UDP_BYTES..length)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([*word.first()?, *word.get(1)?]))
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let high = pair.first().copied().unwrap_or_default();
        let low = pair.get(1).copied().unwrap_or_default();
        sum += u32::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded into 16 bits")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const CLIENT: Mac = [2, 0, 0, 0, 0, 7];

    /// What a server sends: a frame of ours turned round.
    pub(in super::super) fn from_server(message: &[u8]) -> Vec<u8> {
        let mut frame = write(CLIENT, Ipv4Addr::new(10, 0, 2, 2), message);
        frame[..6].copy_from_slice(&CLIENT);
        frame[34..36].copy_from_slice(&SERVER_PORT.to_be_bytes());
        frame[36..38].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        frame
    }

    #[test]
    fn both_checksums_are_right() {
        let frame = write(CLIENT, Ipv4Addr::UNSPECIFIED, b"odd");
        assert_eq!(
            checksum(&frame[14..34]),
            0,
            "a header with its checksum sums to nothing"
        );
        let pseudo = [&frame[26..34], &[0, UDP, 0, 11], &frame[34..]].concat();
        assert_eq!(checksum(&pseudo), 0);
        // RFC 1071, section 3.
        assert_eq!(
            checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
    }

    #[test]
    fn a_servers_message_is_read_and_every_other_frame_is_not() {
        let good = from_server(b"message");
        assert_eq!(read(&good, CLIENT), Some(&b"message"[..]));
        let padded = [&good[..], &[0; 30]].concat();
        assert_eq!(read(&padded, CLIENT), Some(&b"message"[..]));
        let mut everybody = good.clone();
        everybody[..6].fill(0xff);
        assert_eq!(read(&everybody, CLIENT), Some(&b"message"[..]));
        for length in 0..good.len() {
            assert_eq!(read(&good[..length], CLIENT), None, "cut to {length}");
        }
        for (what, at, value) in [
            ("another's", 5, 9),
            ("not IPv4", 12, 0x86),
            ("IPv6", 14, 0x65),
            ("a header that is too short", 14, 0x44),
            ("a header that is too long", 14, 0x4f),
            ("longer than the frame", 16, 2),
            ("more fragments", 20, 0x20),
            ("a later fragment", 21, 1),
            ("TCP", 23, 6),
            ("from another port", 35, 66),
            ("to another port", 37, 67),
            ("a datagram longer than its packet", 38, 1),
            ("a datagram shorter than its header", 39, 7),
        ] {
            let mut frame = good.clone();
            frame[at] = value;
            assert_eq!(read(&frame, CLIENT), None, "{what}");
        }
        let large = from_server(&[0; FRAME_BYTES_MAX - 42]);
        assert!(read(&large, CLIENT).is_some());
        assert_eq!(read(&from_server(&[0; FRAME_BYTES_MAX - 41]), CLIENT), None);
    }
}
