//! A gateway whose keys are attested by a simulated platform, and a client that verified it.

use std::sync::{Arc, OnceLock};

use attestation::{
    AppraisalPolicy, Bundle, Nonce, Role, StatementFields, UnixTime, VerifiedEvidence, Verifier,
};
use attester::Attester as _;
use exchange::client::{Exchange, Finished, ResponseEvent, ResponseReader};
use exchange::receipt::{ReceiptFacts, ReceiptSigner};
use exchange::server::{Gateway, GatewayConfig, Responder};
use exchange::{ApiToken, Completion, ExchangeError, Padding, Prompt, Request, ResponseHead};
use sealing::{AttestedKey, Profile};
use simulated::{Flavor, Platform};
use wire::ProblemCode;
use wire::message::Media;

pub(crate) const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);
pub(crate) const CANARY: &str = "canary-7b1f-prompt";

/// One platform for all tests: its RSA keys take seconds to make.
fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    PLATFORM.get_or_init(|| Platform::manufacture(NOW, 30 * 24 * 3600).expect("a platform"))
}

pub(crate) struct Deployment {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) key: AttestedKey,
    pub(crate) signer: ReceiptSigner,
}

pub(crate) fn config(padding: Padding) -> GatewayConfig {
    GatewayConfig {
        padding,
        ..GatewayConfig::default()
    }
}

impl Deployment {
    pub(crate) fn new(config: GatewayConfig) -> Self {
        let gateway = Gateway::new(config);
        let signer = ReceiptSigner::generate().expect("randomness");
        let key = install(&gateway, &signer, NOW);
        Self { gateway, key, signer }
    }

    pub(crate) fn facts(&self) -> ReceiptFacts {
        ReceiptFacts {
            model_digest: [4; 32],
            statement_sha256: [9; 32],
            prompt_tokens: 11,
            completion_tokens: 22,
            time: NOW,
        }
    }

    pub(crate) fn seal(&self, media: Media) -> (Vec<u8>, ResponseReader) {
        self.seal_request(media, request(CANARY))
    }

    pub(crate) fn seal_request(&self, media: Media, request: Request) -> (Vec<u8>, ResponseReader) {
        let padding = self.gateway.config().padding;
        let (sealed, reader) = Exchange::seal(&self.key, media, request, padding, NOW).expect("seals");
        (sealed.flatten().collect(), reader)
    }

    /// Opens a request that came in pieces of `step` bytes.
    pub(crate) fn open(&self, media: Media, bytes: &[u8], step: usize) -> Opened {
        open_at(&self.gateway, media, bytes, step, NOW)
    }
}

pub(crate) type Opened = Result<(Result<Request, ProblemCode>, Responder), ExchangeError>;

pub(crate) fn open_at(
    gateway: &Arc<Gateway>,
    media: Media,
    bytes: &[u8],
    step: usize,
    now: UnixTime,
) -> Opened {
    let mut reader = gateway.begin(media);
    for piece in bytes.chunks(step.max(1)) {
        reader.push(piece, now)?;
    }
    reader.finish(now)
}

/// Makes keys, has them attested, verifies the evidence as a client does, and begins the epoch.
pub(crate) fn install(gateway: &Gateway, signer: &ReceiptSigner, now: UnixTime) -> AttestedKey {
    let pending = gateway.prepare().expect("randomness");
    let evidence = attest(pending.key_configs().to_vec(), signer.public_key());
    gateway.install(pending, now);
    AttestedKey::choose(Profile::Default, &evidence).expect("a permitted suite")
}

/// Evidence for key configurations, appraised.
pub(crate) fn attest(key_configs: Vec<u8>, receipt_key: [u8; 32]) -> VerifiedEvidence {
    let fields = StatementFields {
        role: Role::Inference,
        key_configs,
        receipt_key,
        tls_spki_sha256: [2; 32],
        wrap_key: Vec::new(),
        boot_id: [3; 16],
        model_digests: vec![[4; 32]],
        config_digest: [5; 32],
        policy_digest: [0; 32],
        key_lifetime_seconds: 7200,
        software_version: "test".into(),
        device_digests: Vec::new(),
    };
    let statement = fields.encode().expect("a statement");
    let nonce = Nonce::from_bytes([7; 32]);
    let measurement = simulated::measure(Flavor::Snp, b"executable", b"config");
    let collected = platform()
        .attester(Flavor::Snp, measurement, [0; 32])
        .evidence(&statement.report_data(&nonce))
        .expect("evidence");
    let bundle = Bundle {
        platform: Flavor::Snp.platform(),
        evidence: collected.evidence,
        statement: statement.statement_bytes().to_vec(),
        event_log: None,
        endorsements: collected.endorsements,
        devices: Vec::new(),
    };
    let policy = format!(
        "version = 1\nrole = \"inference\"\nevidence_age_seconds_max = 3600\n\
         collateral_age_seconds_max = {}\nmodel_digests = [\"{}\"]\nconfig_digests = [\"{}\"]\n{}",
        20 * 24 * 3600,
        "04".repeat(32),
        "05".repeat(32),
        platform().policy_fragment(Flavor::Snp, &measurement)
    );
    let policy = AppraisalPolicy::from_toml(&policy).expect("the policy reads");
    Verifier::new(policy)
        .appraise(&bundle, &nonce, NOW)
        .expect("accepted")
}

pub(crate) fn request(body: &str) -> Request {
    Request {
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        headers: vec![("content-type".into(), "application/json".into())],
        token: Some(ApiToken::new("adt_canary-token".into())),
        body: Prompt::new(body.as_bytes().to_vec()),
    }
}

pub(crate) fn completion(body: &str) -> Completion {
    Completion::new(body.as_bytes().to_vec())
}

/// A whole answer as the client has it.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Vec<u8>,
    pub(crate) receipt: Option<exchange::receipt::SignedReceipt>,
}

/// Reads an answer that came in pieces of `step` bytes.
pub(crate) fn read(mut reader: ResponseReader, bytes: &[u8], step: usize) -> Result<Answer, ExchangeError> {
    let mut events = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        events.extend(reader.push(piece)?);
    }
    let Finished {
        events: last,
        receipt,
    } = reader.finish()?;
    let mut head = None;
    let mut body = Vec::new();
    for event in events.into_iter().chain(last) {
        match event {
            ResponseEvent::Head(found) => assert!(head.replace(found).is_none() && body.is_empty()),
            ResponseEvent::Body(piece) => body.extend(piece.expose()),
        }
    }
    Ok(Answer {
        head: head.expect("a head comes first"),
        body,
        receipt,
    })
}
