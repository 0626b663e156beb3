//! Paths of certificates of varying length.

use alloc::vec;
use alloc::vec::Vec;

use super::authority::{Certificate, HOUR, after, before, chain_der};
use crate::x509::{self, Path, PathFault, TrustAnchor};

fn chain() -> Vec<Certificate> {
    vec![
        Certificate::signer("leaf", 1),
        Certificate::authority("low", 2),
        Certificate::authority("high", 3),
        Certificate::authority("root", 4),
    ]
}

fn walk(chain: &[Certificate], without_root: bool) -> Result<Path, PathFault> {
    let root = Certificate::authority("root", 4);
    let anchor = TrustAnchor::parse(&root.der(&root)).expect("a root");
    let mut bytes = chain_der(chain);
    if without_root {
        bytes.pop();
    }
    let certificates: Vec<_> = bytes
        .iter()
        .map(|bytes| x509::Certificate::parse(bytes).expect("a certificate"))
        .collect();
    Path::walk(&certificates, &anchor)
}

fn fault(change: impl Fn(&mut Vec<Certificate>)) -> Option<PathFault> {
    let mut chain = chain();
    change(&mut chain);
    walk(&chain, false).err()
}

#[test]
fn a_path_ends_below_the_root_or_in_it() {
    assert!(walk(&chain(), false).is_ok());
    assert!(walk(&chain(), true).is_ok());
    assert!(walk(&chain()[2..], true).is_ok());
}

#[test]
fn a_path_is_valid_when_all_of_it_is() {
    let mut chain = chain();
    chain[0].not_before = before(2 * HOUR);
    chain[1].not_after = after(3 * HOUR);
    let path = walk(&chain, false).expect("a path");
    assert_eq!(path.not_before, before(2 * HOUR));
    assert_eq!(path.not_after, after(3 * HOUR));
    assert!(path.is_valid_at(path.not_before) && path.is_valid_at(path.not_after));
    assert!(!path.is_valid_at(after(3 * HOUR + 1)) && !path.is_valid_at(before(2 * HOUR + 1)));
}

#[test]
fn faults_are_named_by_place() {
    assert_eq!(fault(|chain| chain.truncate(0)), Some(PathFault::Length));
    assert_eq!(fault(|chain| drop(chain.drain(..3))), Some(PathFault::Length));
    assert_eq!(
        fault(|chain| chain[1].authority = None),
        Some(PathFault::NotAuthority(1))
    );
    assert_eq!(
        fault(|chain| chain[2].usage = 0x80),
        Some(PathFault::NotAuthority(2))
    );
    assert_eq!(fault(|chain| chain[1].authority = Some(Some(0))), None);
    assert_eq!(
        fault(|chain| chain[2].authority = Some(Some(0))),
        Some(PathFault::NotAuthority(2))
    );
    assert_eq!(fault(|chain| chain[2].authority = Some(Some(1))), None);
    let critical = ("1.2.3.4", true, vec![5, 0]);
    assert_eq!(
        fault(|chain| chain[0].extensions.push(critical.clone())),
        Some(PathFault::UnknownCritical(0))
    );
    assert_eq!(fault(|chain| drop(chain.remove(1))), None);
    assert_eq!(fault(|chain| chain.swap(1, 2)), None);
    assert_eq!(fault(|chain| chain[3].key = 5), Some(PathFault::NotIssued(3)));
    assert_eq!(
        fault(|chain| chain[3].name.push('2')),
        Some(PathFault::NotIssued(3))
    );
    // Eight below the root, and one more.
    let long = |chain: &mut Vec<Certificate>, more: u8| {
        let more = (10..10 + more).map(|number| Certificate::authority("more", number));
        chain.splice(1..1, more);
    };
    assert_eq!(fault(|chain| long(chain, 5)), None);
    assert_eq!(fault(|chain| long(chain, 6)), Some(PathFault::Length));
    let root_twice = |chain: &mut Vec<Certificate>| chain.push(Certificate::authority("root", 4));
    assert_eq!(fault(root_twice), Some(PathFault::Length));
}

#[test]
fn a_certificate_of_another_issuer_is_found() {
    let mut bytes = chain_der(&chain());
    let mut other = chain();
    other[2].key = 9;
    bytes[1] = chain_der(&other)[1].clone();
    let certificates: Vec<_> = bytes
        .iter()
        .map(|bytes| x509::Certificate::parse(bytes).expect("a certificate"))
        .collect();
    let root = Certificate::authority("root", 4);
    let anchor = TrustAnchor::parse(&root.der(&root)).expect("a root");
    assert_eq!(
        Path::walk(&certificates, &anchor).err(),
        Some(PathFault::NotIssued(1))
    );
}
