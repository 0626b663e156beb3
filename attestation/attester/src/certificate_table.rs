//! The certificate table that a host attaches to an SNP report (GHCB specification, section 4.1.8.1).
//!
//! Entries of 24 bytes, the last of zeros: GUID (16), offset (4), length (4), little-endian. The host
//! made it: entries are bounded here, and what they hold is the Verifier's to check.

use attestation::{EndorsementKind, Endorsements};

const ENTRY_BYTES: usize = 24;
const ENTRIES_MAX: usize = 16;

/// GUIDs in their mixed-endian byte order.
const VCEK: [u8; 16] = guid(
    0x63da758d,
    0xe664,
    0x4564,
    [0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd],
);
const VLEK: [u8; 16] = guid(
    0xa8074bc2,
    0xa25a,
    0x483e,
    [0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1],
);
const ASK: [u8; 16] = guid(
    0x4ab7b379,
    0xbbac,
    0x4fe4,
    [0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82],
);
const CRL: [u8; 16] = guid(
    0x92f81bc3,
    0x5811,
    0x4d3d,
    [0x97, 0xff, 0xd1, 0x9f, 0x88, 0xdc, 0x67, 0xea],
);

const fn guid(a: u32, b: u16, c: u16, rest: [u8; 8]) -> [u8; 16] {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    [
        a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], rest[0], rest[1], rest[2], rest[3], rest[4], rest[5],
        rest[6], rest[7],
    ]
}

/// The endorsements in a table; `None` if it is not one. The ARK is left out: roots are built in.
pub(crate) fn endorsements(table: &[u8]) -> Option<Endorsements> {
    let mut endorsements = Endorsements::new();
    for entry in table.chunks(ENTRY_BYTES).take(ENTRIES_MAX) {
        let (id, place) = entry.split_first_chunk::<16>()?;
        let (offset, length) = place.split_first_chunk::<4>()?;
        let offset = usize::try_from(u32::from_le_bytes(*offset)).ok()?;
        let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
        if id == &[0; 16] {
            return Some(endorsements);
        }
        let document = table.get(offset..)?.get(..length)?;
        let kind = match *id {
            VCEK | VLEK => EndorsementKind::SnpLeaf,
            ASK => EndorsementKind::SnpIntermediate,
            CRL => EndorsementKind::SnpCrl,
            _ => continue,
        };
        if endorsements.document(kind).is_some() {
            return None;
        }
        endorsements.insert(kind, document.to_vec());
    }
    None
}

#[cfg(test)]
mod tests {
    use attestation::EndorsementKind;

    use super::{ASK, CRL, VCEK, VLEK, endorsements};

    fn table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
        let mut offset = 24 * (entries.len() + 1);
        let mut table = Vec::new();
        for (id, document) in entries {
            table.extend(id);
            table.extend((offset as u32).to_le_bytes());
            table.extend((document.len() as u32).to_le_bytes());
            offset += document.len();
        }
        table.extend([0; 24]);
        table.extend(entries.iter().flat_map(|(_, document)| document.iter()));
        table
    }

    #[test]
    fn known_documents_are_taken_and_unknown_ones_left() {
        let found = endorsements(&table(&[
            (VCEK, b"leaf"),
            ([9; 16], b"other"),
            (ASK, b"ask"),
            (CRL, b"list"),
        ]));
        let found = found.expect("a table");
        assert_eq!(found.document(EndorsementKind::SnpLeaf), Some(&b"leaf"[..]));
        assert_eq!(
            found.document(EndorsementKind::SnpIntermediate),
            Some(&b"ask"[..])
        );
        assert_eq!(found.document(EndorsementKind::SnpCrl), Some(&b"list"[..]));
        assert_eq!(
            endorsements(&table(&[])).map(|found| found.is_empty()),
            Some(true)
        );
    }

    #[test]
    fn what_is_not_a_table_is_refused() {
        let good = table(&[(VCEK, b"leaf"), (ASK, b"ask")]);
        for length in 0..good.len() {
            assert!(endorsements(&good[..length]).is_none(), "{length} bytes");
        }
        assert!(endorsements(&table(&[(VCEK, b"one"), (VLEK, b"two")])).is_none());
        let mut outside = good.clone();
        outside[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(endorsements(&outside).is_none());
        let mut long = good;
        long[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(endorsements(&long).is_none());
        assert!(endorsements(&[1; 24 * 64]).is_none());
    }
}
