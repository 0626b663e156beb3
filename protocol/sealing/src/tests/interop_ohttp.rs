//! Interoperation with the `ohttp` crate, in the suites that both have: X25519 and X-Wing with AES-128-GCM. No
//! profile permits either; they exist for this.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::io::{AsyncRead, AsyncWrite};
use ohttp::hpke::{Aead, Kdf, Kem};
use wire::KeyConfig;
use wire::message::Media;

use crate::stream::{HeaderProgress, HeaderReader, Plaintext, RequestSealer, ResponseSealer};
use crate::{AttestedKey, KeyPair, Suite, UnixTime};

const NOW: UnixTime = UnixTime::from_seconds(0);
const SUITES: [(Suite, Kem); 2] = [
    (Suite::X25519_SHA256_AES128, Kem::X25519Sha256),
    (Suite::XWING_SHA256_AES128, Kem::XWing),
];

/// Their gateway, and our view of its key.
fn their_gateway(kem: Kem) -> (ohttp::Server, AttestedKey) {
    ohttp::init();
    let symmetric = vec![ohttp::SymmetricSuite::new(Kdf::HkdfSha256, Aead::Aes128Gcm)];
    let config = ohttp::KeyConfig::new(9, kem, symmetric).expect("supported");
    let list = ohttp::KeyConfig::encode_list(std::slice::from_ref(&config)).expect("encodes");
    let configs = KeyConfig::decode_list(&list).expect("RFC 9458 section 3.2");
    let [ours] = configs.as_slice() else {
        panic!("one configuration")
    };
    assert_eq!(KeyConfig::encode_list(&configs), list, "both write the same list");
    (
        ohttp::Server::new(config).expect("has its private key"),
        AttestedKey::without_evidence(ours),
    )
}

/// Our gateway's key, and their client for it.
fn their_client(suite: Suite) -> (KeyPair, ohttp::ClientRequest) {
    ohttp::init();
    let key = KeyPair::generate(suite, 3).expect("randomness");
    let config = key.key_config().encode();
    let client = ohttp::ClientRequest::from_encoded_config(&config).expect("reads our configuration");
    (key, client)
}

fn our_open(key: &KeyPair, media: Media, sealed: &[u8]) -> (Vec<u8>, ResponseSealer) {
    let mut chunks = Vec::new();
    let HeaderProgress::Ready(request) = HeaderReader::new(media, 1 << 20)
        .push(sealed)
        .expect("well-formed")
    else {
        panic!("the request is whole")
    };
    let opener = request.open_with(key).expect("our key");
    let sealer = opener.finish(&mut chunks).expect("opens");
    (joined(&chunks), sealer)
}

fn joined(chunks: &[Plaintext]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.iter().copied()).collect()
}

/// Sizes around the size of a chunk.
fn messages() -> Vec<Vec<u8>> {
    [0, 1, 100, 16_383, 16_384, 16_385, 50_000]
        .into_iter()
        .map(|size| vec![0x61; size])
        .collect()
}

#[test]
fn our_client_and_their_gateway_in_one_piece() {
    for (suite, kem) in SUITES {
        for message in messages() {
            let (server, key) = their_gateway(kem);
            assert_eq!(key.suite(), suite);
            let mut sealed = Vec::new();
            let sealer = RequestSealer::new(&key, Media::OneShot, NOW, &mut sealed).expect("fresh");
            let mut opener = sealer.finish(&message, &mut sealed).expect("seals");
            let (request, response) = server.decapsulate(&sealed).expect("they open ours");
            assert_eq!(request, message);
            let mut chunks = Vec::new();
            let theirs = response.encapsulate(&message).expect("they seal");
            opener.push(&theirs, &mut chunks).expect("we open theirs");
            opener.finish(&mut chunks).expect("we open theirs");
            assert_eq!(joined(&chunks), message);
        }
    }
}

#[test]
fn their_client_and_our_gateway_in_one_piece() {
    for (suite, _) in SUITES {
        for message in messages() {
            let (key, client) = their_client(suite);
            let (sealed, response) = client.encapsulate(&message).expect("they seal");
            let (request, sealer) = our_open(&key, Media::OneShot, &sealed);
            assert_eq!(request, message);
            let mut ours = Vec::new();
            sealer.finish(&message, &mut ours).expect("seals");
            assert_eq!(response.decapsulate(&ours).expect("they open ours"), message);
        }
    }
}

#[test]
fn our_client_and_their_gateway_in_chunks() {
    for (_, kem) in SUITES {
        for message in messages().into_iter().filter(|message| !message.is_empty()) {
            let (server, key) = their_gateway(kem);
            let mut sealed = Vec::new();
            let mut sealer = RequestSealer::new(&key, Media::Chunked, NOW, &mut sealed).expect("fresh");
            let (head, tail) = message.split_at(message.len() / 3);
            sealer.seal(head, &mut sealed).expect("seals");
            let mut opener = sealer.finish(tail, &mut sealed).expect("seals");
            let mut request = server.decapsulate_stream(&sealed[..]);
            assert_eq!(read_all(&mut request), message);
            let pipe = Pipe::default();
            write_all(
                request.response(pipe.clone()).expect("the header was read"),
                &message,
            );
            let mut chunks = Vec::new();
            opener.push(&pipe.bytes(), &mut chunks).expect("we open theirs");
            opener.finish(&mut chunks).expect("we open theirs");
            assert_eq!(joined(&chunks), message);
        }
    }
}

#[test]
fn their_client_and_our_gateway_in_chunks() {
    for (suite, _) in SUITES {
        for message in messages().into_iter().filter(|message| !message.is_empty()) {
            let (key, client) = their_client(suite);
            let pipe = Pipe::default();
            let client = write_all(client.encapsulate_stream(pipe.clone()).expect("starts"), &message);
            let (request, mut sealer) = our_open(&key, Media::Chunked, &pipe.bytes());
            assert_eq!(request, message);
            let mut ours = Vec::new();
            let (head, tail) = message.split_at(message.len() / 2);
            sealer.seal(head, &mut ours).expect("seals");
            sealer.finish(tail, &mut ours).expect("seals");
            let mut response = client.response(&ours[..]).expect("starts");
            assert_eq!(read_all(&mut response), message);
        }
    }
}

/// A destination that can be looked at afterwards. Everything here is ready at once, so polling needs no runtime.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<Vec<u8>>>);

impl Pipe {
    fn bytes(&self) -> Vec<u8> {
        self.0.borrow().clone()
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn write_all<W: AsyncWrite + Unpin>(mut writer: W, mut bytes: &[u8]) -> W {
    let mut context = Context::from_waker(Waker::noop());
    while !bytes.is_empty() {
        let Poll::Ready(written) = Pin::new(&mut writer).poll_write(&mut context, bytes) else {
            continue;
        };
        bytes = &bytes[written.expect("writes")..];
    }
    while Pin::new(&mut writer)
        .poll_close(&mut context)
        .map(|closed| closed.expect("closes"))
        .is_pending()
    {}
    writer
}

fn read_all<R: AsyncRead + Unpin>(reader: &mut R) -> Vec<u8> {
    let mut context = Context::from_waker(Waker::noop());
    let mut out = Vec::new();
    let mut buffer = vec![0; 20_000];
    loop {
        let Poll::Ready(read) = Pin::new(&mut *reader).poll_read(&mut context, &mut buffer) else {
            continue;
        };
        match read.expect("they open ours") {
            0 => return out,
            size => out.extend_from_slice(&buffer[..size]),
        }
    }
}
