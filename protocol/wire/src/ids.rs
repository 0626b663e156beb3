//! Identifiers of registries and of our own things.

use crate::{WireError, limits};

macro_rules! registry_id {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $value:ident = $n:literal => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u16);

        impl $name {
            $($(#[$vdoc])* pub const $value: Self = Self($n);)*

            /// The registry's name for the value, if it is one of ours.
            pub fn name(self) -> Option<&'static str> {
                match self { $(Self::$value => Some($text),)* _ => None }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#06x}", self.0),
                }
            }
        }
    };
}

registry_id! {
    /// HPKE KEM (IANA "HPKE KEM Identifiers").
    KemId {
        /// RFC 9180 section 7.1.
        P384 = 0x0011 => "DHKEM(P-384, HKDF-SHA384)",
        /// RFC 9180 section 7.1; for interoperation tests only.
        X25519 = 0x0020 => "DHKEM(X25519, HKDF-SHA256)",
        /// draft-ietf-hpke-pq: ML-KEM-1024 with P-384.
        MLKEM1024_P384 = 0x0051 => "MLKEM1024-P384",
        /// draft-connolly-cfrg-xwing-kem: ML-KEM-768 with X25519.
        XWING = 0x647a => "X-Wing",
    }
}
registry_id! {
    /// HPKE KDF (IANA "HPKE KDF Identifiers").
    KdfId {
        /// RFC 9180 section 7.2.
        HKDF_SHA256 = 0x0001 => "HKDF-SHA256",
        /// RFC 9180 section 7.2.
        HKDF_SHA384 = 0x0002 => "HKDF-SHA384",
    }
}
registry_id! {
    /// HPKE AEAD (IANA "HPKE AEAD Identifiers").
    AeadId {
        /// RFC 9180 section 7.3; for interoperation tests only.
        AES_128_GCM = 0x0001 => "AES-128-GCM",
        /// RFC 9180 section 7.3.
        AES_256_GCM = 0x0002 => "AES-256-GCM",
    }
}

impl KemId {
    /// `Npk`: bytes of a serialised public key, for the KEMs that this version can parse.
    pub fn public_key_bytes(self) -> Option<usize> {
        match self {
            Self::P384 => Some(97),
            Self::X25519 => Some(32),
            Self::MLKEM1024_P384 => Some(1665),
            Self::XWING => Some(1216),
            _ => None,
        }
    }

    /// `Nenc`: bytes of an encapsulated key, for the KEMs that this version can parse.
    pub fn enc_bytes(self) -> Option<usize> {
        match self {
            Self::P384 => Some(97),
            Self::X25519 => Some(32),
            Self::MLKEM1024_P384 => Some(1665),
            Self::XWING => Some(1120),
            _ => None,
        }
    }
}

/// The name of a model: 1 to 128 characters of `a-z A-Z 0-9 . _ - / :`, beginning with a letter or a digit.
///
/// A model id appears in logs, paths of URLs and metrics; the alphabet keeps it harmless in all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(String);

impl ModelId {
    /// Checks length and alphabet.
    pub fn new(id: &str) -> Result<Self, WireError> {
        if id.len() > limits::MODEL_ID_BYTES_MAX {
            return Err(WireError::TooLarge {
                what: "model id",
                limit: limits::MODEL_ID_BYTES_MAX,
            });
        }
        let starts_well = id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':');
        if !starts_well || !id.bytes().all(alphabet) {
            return Err(WireError::Malformed("model id"));
        }
        Ok(Self(id.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for ModelId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::str::FromStr for ModelId {
    type Err = WireError;
    fn from_str(s: &str) -> Result<Self, WireError> {
        Self::new(s)
    }
}

impl<C> minicbor::Encode<C> for ModelId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for ModelId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|_| minicbor::decode::Error::message("model id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_id_alphabet_and_length() {
        for good in ["a", "sample", "meta/Llama-3.1:8b", "0.x_y"] {
            assert_eq!(ModelId::new(good).expect("is in the alphabet").as_str(), good);
        }
        for bad in ["", "-a", "a b", "a\n", "é", "../x", "a\"b", &"a".repeat(129)] {
            assert!(ModelId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn unknown_values_print_as_numbers() {
        assert_eq!(KemId(0x1234).to_string(), "0x1234");
        assert_eq!(KemId::XWING.to_string(), "X-Wing");
        assert_eq!(KemId(0x1234).enc_bytes(), None);
    }
}
