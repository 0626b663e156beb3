//! C2SP CCTV: ML-KEM-768 inputs that random tests do not reach.

use ml_kem::{Decapsulate, DecapsulationKey768, EncapsulationKey768, MlKem768};

use super::Ran;

type Ciphertext = ml_kem::Ciphertext<MlKem768>;

/// `name = hexadecimal` lines.
fn field(text: &str, name: &str) -> Vec<u8> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    hex::decode(value.expect("a field")).expect("hexadecimal")
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).expect("text")
}

/// A ciphertext that an implementation comparing with `strcmp` would take: it must be rejected implicitly.
pub(super) fn strcmp(bytes: &[u8]) -> Ran {
    let text = text(bytes);
    let expanded = field(text, "dk").as_slice().try_into().expect("2400 bytes");
    #[allow(deprecated)] // the vector has no seed
    let private = DecapsulationKey768::from_expanded(&expanded).expect("a good key");
    let ciphertext = Ciphertext::try_from(field(text, "c").as_slice()).expect("1088 bytes");
    assert_eq!(private.decapsulate(&ciphertext).as_slice(), field(text, "K"));
    Ran::passed(1)
}

/// A key whose matrix needs unusually many samples of SHAKE. The vector expanded its seed as a draft of FIPS 203 did,
/// `(ρ, σ) = G(d)` and not `G(d ‖ k)`, so key generation does not apply; the matrix comes from ρ, which is part of the
/// key itself, and both directions sample it.
pub(super) fn unlucky_sample(bytes: &[u8]) -> Ran {
    let text = text(bytes);
    let expanded = field(text, "dk").as_slice().try_into().expect("2400 bytes");
    #[allow(deprecated)] // its seed is of a draft
    let private = DecapsulationKey768::from_expanded(&expanded).expect("a good key");
    let public = EncapsulationKey768::new(&field(text, "ek").as_slice().try_into().expect("1184 bytes"));
    let message = field(text, "m").as_slice().try_into().expect("32 bytes");
    let (ciphertext, shared) = public.expect("a good key").encapsulate_deterministic(&message);
    assert_eq!(ciphertext.as_slice(), field(text, "c"));
    assert_eq!(shared.as_slice(), field(text, "K"));
    assert_eq!(private.decapsulate(&ciphertext).as_slice(), field(text, "K"));
    Ran {
        not_compared: Some("key generation, whose seed is of a draft of FIPS 203"),
        ..Ran::passed(1)
    }
}
