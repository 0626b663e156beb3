//! C2SP CCTV: ML-KEM-768 inputs that random tests do not reach.

use ml_kem::{Decapsulate, DecapsulationKey768, FromSeed, KeyExport, MlKem768, Seed};

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

/// A key whose matrix needs unusually many samples of SHAKE.
pub(super) fn unlucky_sample(bytes: &[u8]) -> Ran {
    let text = text(bytes);
    let seed = [field(text, "d"), field(text, "z")].concat();
    let seed = Seed::try_from(seed.as_slice()).expect("64 bytes");
    let (private, public) = MlKem768::from_seed(&seed);
    assert_eq!(public.to_bytes().as_slice(), field(text, "ek"));
    let message = field(text, "m").as_slice().try_into().expect("32 bytes");
    let (ciphertext, shared) = public.encapsulate_deterministic(&message);
    assert_eq!(ciphertext.as_slice(), field(text, "c"));
    assert_eq!(shared.as_slice(), field(text, "K"));
    assert_eq!(private.decapsulate(&ciphertext).as_slice(), field(text, "K"));
    Ran::passed(1)
}
