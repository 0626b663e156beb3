//! HPKE (RFC 9180, base mode) behind one face per role. The `hpke` crate fixes suites at compile time; here a
//! [`Suite`] is a value, and this is the one place where it becomes types.

use hpke::aead::{Aead, AeadCtxR, AeadCtxS, AesGcm128, AesGcm256};
use hpke::danger::streaming_enc::{AeadKey, AeadNonce, ExporterSecret};
use hpke::danger::streaming_enc::{create_receiver_context, create_sender_context};
use hpke::kdf::{HkdfSha256, HkdfSha384, Kdf};
use hpke::kem::{DhP384HkdfSha384, Kem, MlKem1024P384, X25519HkdfSha256, XWing};
use hpke::{Deserializable, OpModeR, OpModeS, Serializable};
use wire::ids::{AeadId, KdfId, KemId};
use zeroize::Zeroizing;

use crate::{SealingError, Suite};

/// An encryption context (RFC 9180 section 5.2): each call uses the next sequence number.
pub(crate) trait SenderContext: Send {
    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealingError>;
    fn export(&self, context: &[u8], secret: &mut [u8]) -> Result<(), SealingError>;
}

/// A decryption context. After a failure the sequence number has not moved; callers stop at the first failure.
pub(crate) trait RecipientContext: Send {
    fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError>;
    fn export(&self, context: &[u8], secret: &mut [u8]) -> Result<(), SealingError>;
}

/// The private half of a key pair.
pub(crate) trait PrivateKey: Send + Sync {
    fn recipient(&self, enc: &[u8], info: &[u8]) -> Result<Box<dyn RecipientContext>, SealingError>;
}

/// Calls a generic function with the types of a suite. A suite that is not listed cannot be built.
macro_rules! with_types {
    ($suite:expr, $function:ident ( $($argument:expr),* )) => {{
        let symmetric = $suite.symmetric();
        match ($suite.kem(), symmetric.kdf, symmetric.aead) {
            (KemId::XWING, KdfId::HKDF_SHA256, AeadId::AES_256_GCM) => {
                $function::<XWing, HkdfSha256, AesGcm256>($($argument),*)
            }
            (KemId::MLKEM1024_P384, KdfId::HKDF_SHA384, AeadId::AES_256_GCM) => {
                $function::<MlKem1024P384, HkdfSha384, AesGcm256>($($argument),*)
            }
            (KemId::P384, KdfId::HKDF_SHA384, AeadId::AES_256_GCM) => {
                $function::<DhP384HkdfSha384, HkdfSha384, AesGcm256>($($argument),*)
            }
            (KemId::X25519, KdfId::HKDF_SHA256, AeadId::AES_128_GCM) => {
                $function::<X25519HkdfSha256, HkdfSha256, AesGcm128>($($argument),*)
            }
            (KemId::XWING, KdfId::HKDF_SHA256, AeadId::AES_128_GCM) => {
                $function::<XWing, HkdfSha256, AesGcm128>($($argument),*)
            }
            _ => Err(SealingError::NoPermittedSuite),
        }
    }};
}

/// A fresh key pair: private half and serialised public half. Panics if the system has no randomness.
pub(crate) fn generate(suite: Suite) -> Result<(Box<dyn PrivateKey>, Vec<u8>), SealingError> {
    with_types!(suite, generate_with())
}

/// A key pair from a serialised private key, for published vectors.
#[cfg(test)]
pub(crate) fn import(suite: Suite, private: &[u8]) -> Result<(Box<dyn PrivateKey>, Vec<u8>), SealingError> {
    with_types!(suite, import_with(private))
}

/// `SetupBaseS` (RFC 9180 section 5.1.1): encapsulated key and context.
pub(crate) fn setup_sender(
    suite: Suite,
    public_key: &[u8],
    info: &[u8],
) -> Result<(Vec<u8>, Box<dyn SenderContext>), SealingError> {
    with_types!(suite, sender_with(public_key, info))
}

/// A context from raw key and nonce, for the response of Oblivious HTTP: chunk nonces are the base nonce XOR a
/// counter, as in HPKE itself.
pub(crate) fn response_sender(
    suite: Suite,
    key: &[u8],
    nonce: &[u8],
) -> Result<Box<dyn SenderContext>, SealingError> {
    with_types!(suite, response_sender_with(key, nonce))
}

/// The other side of [`response_sender`].
pub(crate) fn response_recipient(
    suite: Suite,
    key: &[u8],
    nonce: &[u8],
) -> Result<Box<dyn RecipientContext>, SealingError> {
    with_types!(suite, response_recipient_with(key, nonce))
}

struct Private<K: Kem, D, A> {
    key: K::PrivateKey,
    symmetric: core::marker::PhantomData<fn() -> (D, A)>,
}

impl<K, D, A> PrivateKey for Private<K, D, A>
where
    K: Kem + 'static,
    K::PrivateKey: Send + Sync,
    D: Kdf + 'static,
    A: Aead + 'static,
    AeadCtxR<A, D, K>: Send,
{
    fn recipient(&self, enc: &[u8], info: &[u8]) -> Result<Box<dyn RecipientContext>, SealingError> {
        let enc = K::EncappedKey::from_bytes(enc).map_err(|_| SealingError::Open)?;
        let context = hpke::setup_receiver::<A, D, K>(&OpModeR::Base, &self.key, &enc, info)
            .map_err(|_| SealingError::Open)?;
        Ok(Box::new(Recipient(context)))
    }
}

struct Sender<A: Aead, D: Kdf, K: Kem>(AeadCtxS<A, D, K>);

impl<A: Aead, D: Kdf, K: Kem> SenderContext for Sender<A, D, K>
where
    AeadCtxS<A, D, K>: Send,
{
    fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealingError> {
        self.0
            .seal(plaintext, aad)
            .map_err(|_| SealingError::ApiMisuse("message limit of the context"))
    }

    fn export(&self, context: &[u8], secret: &mut [u8]) -> Result<(), SealingError> {
        self.0
            .export(context, secret)
            .map_err(|_| SealingError::ApiMisuse("exported secret too long"))
    }
}

struct Recipient<A: Aead, D: Kdf, K: Kem>(AeadCtxR<A, D, K>);

impl<A: Aead, D: Kdf, K: Kem> RecipientContext for Recipient<A, D, K>
where
    AeadCtxR<A, D, K>: Send,
{
    fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        self.0
            .open(ciphertext, aad)
            .map(Zeroizing::new)
            .map_err(|_| SealingError::Open)
    }

    fn export(&self, context: &[u8], secret: &mut [u8]) -> Result<(), SealingError> {
        self.0
            .export(context, secret)
            .map_err(|_| SealingError::ApiMisuse("exported secret too long"))
    }
}

fn generate_with<K, D, A>() -> Result<(Box<dyn PrivateKey>, Vec<u8>), SealingError>
where
    K: Kem + 'static,
    K::PrivateKey: Send + Sync,
    D: Kdf + 'static,
    A: Aead + 'static,
    AeadCtxR<A, D, K>: Send,
{
    let (key, public) = K::gen_keypair();
    let private = Private::<K, D, A> {
        key,
        symmetric: core::marker::PhantomData,
    };
    Ok((Box::new(private), public.to_bytes().to_vec()))
}

#[cfg(test)]
fn import_with<K, D, A>(private: &[u8]) -> Result<(Box<dyn PrivateKey>, Vec<u8>), SealingError>
where
    K: Kem + 'static,
    K::PrivateKey: Send + Sync,
    D: Kdf + 'static,
    A: Aead + 'static,
    AeadCtxR<A, D, K>: Send,
{
    let key = K::PrivateKey::from_bytes(private).map_err(|_| SealingError::PublicKey)?;
    let public = K::sk_to_pk(&key).to_bytes().to_vec();
    Ok((
        Box::new(Private::<K, D, A> {
            key,
            symmetric: core::marker::PhantomData,
        }),
        public,
    ))
}

fn sender_with<K, D, A>(
    public_key: &[u8],
    info: &[u8],
) -> Result<(Vec<u8>, Box<dyn SenderContext>), SealingError>
where
    K: Kem + 'static,
    D: Kdf + 'static,
    A: Aead + 'static,
    AeadCtxS<A, D, K>: Send,
{
    let public_key = K::PublicKey::from_bytes(public_key).map_err(|_| SealingError::PublicKey)?;
    let (enc, context) = hpke::setup_sender::<A, D, K>(&OpModeS::Base, &public_key, info)
        .map_err(|_| SealingError::PublicKey)?;
    Ok((enc.to_bytes().to_vec(), Box::new(Sender(context))))
}

fn response_sender_with<K, D, A>(key: &[u8], nonce: &[u8]) -> Result<Box<dyn SenderContext>, SealingError>
where
    K: Kem + 'static,
    D: Kdf + 'static,
    A: Aead + 'static,
    AeadCtxS<A, D, K>: Send,
{
    let (key, nonce) = raw::<A>(key, nonce)?;
    Ok(Box::new(Sender(create_sender_context::<A, D, K>(
        &key,
        nonce,
        ExporterSecret::default(),
    ))))
}

fn response_recipient_with<K, D, A>(
    key: &[u8],
    nonce: &[u8],
) -> Result<Box<dyn RecipientContext>, SealingError>
where
    K: Kem + 'static,
    D: Kdf + 'static,
    A: Aead + 'static,
    AeadCtxR<A, D, K>: Send,
{
    let (key, nonce) = raw::<A>(key, nonce)?;
    Ok(Box::new(Recipient(create_receiver_context::<A, D, K>(
        &key,
        nonce,
        ExporterSecret::default(),
    ))))
}

/// Key and nonce in the crate's own types, which wipe themselves.
fn raw<A: Aead>(key: &[u8], nonce: &[u8]) -> Result<(AeadKey<A>, AeadNonce<A>), SealingError> {
    let mut aead_key = AeadKey::<A>::default();
    let mut aead_nonce = AeadNonce::<A>::default();
    if aead_key.0.len() != key.len() || aead_nonce.0.len() != nonce.len() {
        return Err(SealingError::ApiMisuse("size of key or nonce"));
    }
    aead_key.0.copy_from_slice(key);
    aead_nonce.0.copy_from_slice(nonce);
    Ok((aead_key, aead_nonce))
}
