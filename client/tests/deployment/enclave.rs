//! A SIMULATED enclave in this process: the enclave's half of the exchange and a software security processor.

use std::sync::{Arc, OnceLock};

use attestation::{Bundle, Nonce, Role, StatementFields, UnixTime};
use attester::Attester;
use client::up::policies::Accepted;
use exchange::{
    Completion, Padding,
    receipt::{ReceiptFacts, ReceiptSigner},
    server::{Gateway, GatewayConfig, PendingEpoch, Responder},
};
use sealing::{KeyPair, Suite};
use sha2::{Digest, Sha256};
use simulated::{Flavor, Platform};
use wire::message::Media;

/// How long the manufacturer's documents are valid.
const COLLATERAL_SECONDS: u64 = 7 * 24 * 3600;
/// What is measured.
pub const CONFIG: &[u8] = b"config";
/// What the enclave says to every prompt, one event a word.
pub const WORDS: [&str; 5] = ["Evidence ", "proves ", "which ", "code ", "runs."];
/// The sealed model.
pub const MODEL_DIGEST: [u8; 32] = [7; 32];

/// When the platform was manufactured; every test's clock begins here. The real time, because the binary has no other.
pub fn start() -> UnixTime {
    static START: OnceLock<UnixTime> = OnceLock::new();
    *START.get_or_init(client::discovery::now)
}

/// One platform for all tests: its RSA keys take seconds to make.
pub fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    PLATFORM.get_or_init(|| Platform::manufacture(start(), COLLATERAL_SECONDS).expect("a platform is made"))
}

/// The launch measurement of `executable` with [`CONFIG`].
pub fn measurement(executable: &[u8]) -> [u8; 48] {
    simulated::measure(Flavor::Snp, executable, CONFIG)
}

/// The policy text that accepts `executable`, as `adyton up` writes it.
pub fn policy_text(executable: &[u8]) -> String {
    let fragment = platform().policy_fragment(Flavor::Snp, &measurement(executable));
    let accepted = Accepted {
        platform_fragment: &fragment,
        enclave_config: CONFIG,
        model_digest: &hex::encode(MODEL_DIGEST),
    };
    accepted.client_policy().expect("a policy")
}

/// One boot.
pub struct Enclave {
    executable: Vec<u8>,
    gateway: Arc<Gateway>,
    receipts: ReceiptSigner,
    attested_receipt_key: [u8; 32],
    key_configs: Vec<u8>,
    wrap_key: Vec<u8>,
    role: Role,
    receipt_statement: Option<[u8; 32]>,
    receipt_model: [u8; 32],
    silent_about_receipts: bool,
}

impl Enclave {
    /// Boots `executable` and begins its first key epoch.
    pub fn boot(executable: &[u8], now: UnixTime) -> Self {
        let config = GatewayConfig {
            padding: Padding::Sized,
            grace_seconds: 1,
            ..GatewayConfig::default()
        };
        let receipts = ReceiptSigner::generate().expect("randomness");
        let wrap = KeyPair::generate(Suite::XWING_SHA256_AES256, 9).expect("randomness");
        let mut enclave = Self {
            executable: executable.to_vec(),
            gateway: Gateway::new(config),
            attested_receipt_key: receipts.public_key(),
            receipts,
            key_configs: Vec::new(),
            wrap_key: wrap.key_config().encode(),
            role: Role::Inference,
            receipt_statement: None,
            receipt_model: MODEL_DIGEST,
            silent_about_receipts: false,
        };
        enclave.rotate(now);
        enclave
    }

    /// Begins the next key epoch; older keys open nothing any more.
    pub fn rotate(&mut self, now: UnixTime) {
        self.gateway = Gateway::new(*self.gateway.config());
        let pending: PendingEpoch = self.gateway.prepare().expect("randomness");
        self.key_configs = pending.key_configs().to_vec();
        self.gateway.install(pending, now);
    }

    /// Signs receipts with a key that no evidence vouches for.
    pub fn forge_receipts(&mut self) {
        self.receipts = ReceiptSigner::generate().expect("randomness");
    }

    /// Signs receipts, with the attested key, that name another statement.
    pub fn receipts_name_another_statement(&mut self) {
        self.receipt_statement = Some([8; 32]);
    }

    /// Signs receipts, with the attested key, that name another model.
    pub fn receipts_name_another_model(&mut self) {
        self.receipt_model = [8; 32];
    }

    /// Signs no receipts.
    pub fn withhold_receipts(&mut self) {
        self.silent_about_receipts = true;
    }

    /// Attests keys that it does not have: whatever is sealed to them cannot be opened.
    pub fn attest_foreign_keys(&mut self) {
        let foreign = Gateway::new(*self.gateway.config());
        self.key_configs = foreign.prepare().expect("randomness").key_configs().to_vec();
        self.rotate_without_attesting();
    }

    fn rotate_without_attesting(&mut self) {
        let attested = self.key_configs.clone();
        self.rotate(start());
        self.key_configs = attested;
    }

    /// Claims to be a broker.
    pub fn become_broker(&mut self) {
        self.role = Role::Broker;
    }

    fn statement(&self) -> attestation::Statement {
        let fields = StatementFields {
            role: self.role,
            key_configs: self.key_configs.clone(),
            receipt_key: self.attested_receipt_key,
            tls_spki_sha256: [2; 32],
            wrap_key: self.wrap_key.clone(),
            boot_id: [3; 16],
            model_digests: if self.role == Role::Inference {
                vec![MODEL_DIGEST]
            } else {
                Vec::new()
            },
            config_digest: Sha256::digest(CONFIG).into(),
            policy_digest: [0; 32],
            key_lifetime_seconds: 3600,
            software_version: "test".to_owned(),
            device_digests: Vec::new(),
        };
        fields.encode().expect("a statement within its bounds")
    }

    /// Evidence over `nonce`.
    pub fn bundle(&self, nonce: &Nonce) -> Bundle {
        let statement = self.statement();
        let host_data = [0; 32];
        let attester = platform().attester(Flavor::Snp, measurement(&self.executable), host_data);
        let collected = attester
            .evidence(&statement.report_data(nonce))
            .expect("the processor signs");
        Bundle {
            platform: attester.platform(),
            evidence: collected.evidence,
            statement: statement.statement_bytes().to_vec(),
            event_log: collected.event_log,
            endorsements: platform().endorsements(Flavor::Snp),
            devices: Vec::new(),
        }
    }

    /// Opens a request and answers it: ciphertext, one piece for each thing that was written. `Err` is what the host
    /// turns into a problem document.
    pub fn answer(
        &self,
        media: Media,
        request: &[u8],
        now: UnixTime,
    ) -> Result<Vec<Vec<u8>>, wire::ProblemCode> {
        let mut reader = self.gateway.begin(media);
        reader.push(request, now).map_err(|error| error.problem())?;
        let (request, responder) = reader.finish(now).map_err(|error| error.problem())?;
        let mut pieces = Pieces::default();
        match request {
            Err(code) => pieces.add(|out| responder.refuse(code, None, out)),
            Ok(request) => self.respond(&request, responder, now, &mut pieces),
        }
        Ok(pieces.0)
    }

    fn respond(&self, request: &exchange::Request, responder: Responder, now: UnixTime, pieces: &mut Pieces) {
        let token = request.token.as_ref().map(|token| token.expose().to_owned());
        let receipt = || self.receipt(now);
        match (request.method.as_str(), request.path.as_str()) {
            _ if token.as_deref() != Some("adt_right") => {
                pieces.add(|out| responder.refuse(wire::ProblemCode::UnauthorizedToken, None, out));
            }
            ("GET", "/v1/models") => {
                let body = Completion::new(
                    br#"{"object":"list","data":[{"id":"sample","object":"model"}]}"#.to_vec(),
                );
                pieces.add(|out| {
                    responder
                        .respond(200, "application/json", &body, None, out)
                        .map(drop)
                });
            }
            ("GET", "/v1/models/busy") => {
                pieces.add(|out| responder.refuse(wire::ProblemCode::Overloaded, None, out));
            }
            ("POST", "/v1/chat/completions") => {
                let body: serde_json::Value =
                    serde_json::from_slice(request.body.expose()).expect("the test sends JSON");
                if body["stream"] == true {
                    self.stream(responder, now, pieces);
                } else {
                    let text =
                        serde_json::json!({ "choices": [{ "message": { "content": WORDS.concat() } }] })
                            .to_string();
                    let body = Completion::new(text.into_bytes());
                    pieces.add(|out| {
                        responder
                            .respond(200, "application/json", &body, receipt(), out)
                            .map(drop)
                    });
                }
            }
            _ => pieces.add(|out| responder.refuse(wire::ProblemCode::NotFound, None, out)),
        }
    }

    fn stream(&self, responder: Responder, now: UnixTime, pieces: &mut Pieces) {
        let mut writer = None;
        pieces.add(|out| responder.stream(out).map(|begun| writer = Some(begun)));
        let mut writer = writer.expect("the stream has begun");
        for word in WORDS {
            let event =
                serde_json::json!({ "choices": [{ "delta": { "content": word }, "finish_reason": null }] });
            pieces.add(|out| writer.write(format!("data: {event}\n\n").as_bytes(), out));
        }
        let last = serde_json::json!({
            "choices": [{ "delta": {}, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 4, "completion_tokens": 5 },
        });
        pieces.add(|out| writer.write(format!("data: {last}\n\n").as_bytes(), out));
        pieces.add(|out| writer.write(b"data: [DONE]\n\n", out));
        pieces.add(|out| writer.finish(self.receipt(now), out).map(drop));
    }

    fn receipt(&self, now: UnixTime) -> Option<(&ReceiptSigner, ReceiptFacts)> {
        let facts = ReceiptFacts {
            model_digest: self.receipt_model,
            statement_sha256: self
                .receipt_statement
                .unwrap_or_else(|| self.statement().sha256()),
            prompt_tokens: 4,
            completion_tokens: 5,
            time: now,
        };
        (!self.silent_about_receipts).then_some((&self.receipts, facts))
    }
}

#[derive(Default)]
struct Pieces(Vec<Vec<u8>>);

impl Pieces {
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), exchange::ExchangeError>) {
        let mut piece = Vec::new();
        write(&mut piece).expect("the enclave can write");
        self.0.push(piece);
    }
}
