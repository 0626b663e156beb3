//! One deployment in a temporary folder, and the enclave running in it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use attestation::{AppraisalPolicy, PlatformTag, ReportData, UnixTime, Verifier};
use attester::{Attester, AttesterError, Collected};
use enclave::{EnclaveError, config::MeasuredConfig, hardening::Hardened, process};
use exchange::{
    ApiToken,
    token::{TokenClaims, TokenIssuer},
};
use sealed_model::{ModelKey, OwnerSignatureAlgorithm, OwnerSigningKey, SealRequest, seal, silent};
use simulated::{Flavor, Platform};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use wire::message::{Phase, Status};

use super::{Behaviour, Client, FakeHost, Release, broker::BrokerKeys};

/// The model's id in every test.
pub(crate) const MODEL: &str = "sample";
/// What the simulated processor says it launched.
const LAUNCH_MEASUREMENT: [u8; 48] = [7; 48];
/// No step of a test takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The time now.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_seconds(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs(),
    )
}

/// One manufacturer for all tests: its RSA key takes seconds.
fn platform() -> &'static Platform {
    static PLATFORM: OnceLock<Platform> = OnceLock::new();
    PLATFORM.get_or_init(|| Platform::manufacture(now(), 24 * 3600).expect("a platform"))
}

/// What differs between tests: lines of `enclave.toml`.
pub(crate) struct Settings {
    pub(crate) flavor: Flavor,
    /// Keys before the first table.
    pub(crate) top: &'static str,
    /// Keys of `[limits]`.
    pub(crate) limits: &'static str,
    /// A model of the engine's tests; empty for the sample model.
    pub(crate) model: &'static str,
    /// Whether the platform hands over what was published about it; the host is asked otherwise.
    pub(crate) brings_endorsements: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            flavor: Flavor::Snp,
            top: "",
            limits: "",
            model: "",
            brings_endorsements: true,
        }
    }
}

/// Files and keys; nothing runs.
pub(crate) struct Deployment {
    pub(crate) folder: TempDir,
    pub(crate) model_key: [u8; 32],
    pub(crate) manifest_digest: [u8; 32],
    pub(crate) issuer: TokenIssuer,
    pub(crate) broker_keys: Arc<BrokerKeys>,
    config: Vec<u8>,
    flavor: Flavor,
    brings_endorsements: bool,
}

/// A platform whose manufacturer's documents are the host's to bring.
struct Bare(Arc<dyn Attester>);

impl Attester for Bare {
    fn platform(&self) -> PlatformTag {
        self.0.platform()
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Collected, AttesterError> {
        self.0.evidence(report_data)
    }
}

/// A model directory of the repository: the sample model, or one of the engine's tests.
pub(crate) fn model_files(model: &str) -> PathBuf {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let sample = models.join("sample");
    if !model.is_empty() {
        models.join("inference/tests/fixtures").join(model)
    } else if sample.join("model.safetensors").exists() {
        sample
    } else {
        models.join("inference/tests/fixtures/bias-f32")
    }
}

impl Deployment {
    /// Seals the model and writes the configuration.
    pub(crate) fn new(settings: &Settings) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plain = folder.path().join("plain");
        std::fs::create_dir(&plain).expect("space");
        for name in [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
            "modules.json",
            "1_Pooling/config.json",
            "sentence_bert_config.json",
            "config_sentence_transformers.json",
        ] {
            let file = model_files(settings.model).join(name);
            if file.exists() {
                std::fs::create_dir_all(plain.join(name).parent().expect("a folder")).expect("space");
                std::fs::copy(&file, plain.join(name)).expect("space");
            }
        }
        let owner = OwnerSigningKey::generate(OwnerSignatureAlgorithm::Ed25519).expect("randomness");
        let key = ModelKey::generate().expect("randomness");
        let request = SealRequest {
            model_id: MODEL,
            version: 1,
            key: &key,
            owner: &owner,
            threads: 2,
            stop: &AtomicBool::new(false),
        };
        let manifest =
            seal(&plain, &folder.path().join("sample.sealed"), &request, &silent).expect("it seals");
        let broker_keys = Arc::new(BrokerKeys::generate());
        let config = format!(
            "owner_key = \"{}\"\nthreads = 2\n{}\n[model]\nid = \"{MODEL}\"\npath = \"{}\"\n[broker]\nspki_sha256 = \"{}\"\n[limits]\n{}\n",
            owner.public_key().to_hex(),
            settings.top,
            folder.path().join("sample.sealed").display(),
            hex::encode(broker_keys.spki_sha256),
            settings.limits,
        );
        std::fs::create_dir(folder.path().join("channel")).expect("space");
        Self {
            model_key: *key.expose_bytes(),
            manifest_digest: *manifest.digest(),
            issuer: TokenIssuer::generate().expect("randomness"),
            broker_keys,
            config: config.into_bytes(),
            flavor: settings.flavor,
            brings_endorsements: settings.brings_endorsements,
            folder,
        }
    }

    pub(crate) fn channel(&self) -> PathBuf {
        self.folder.path().join("channel")
    }

    /// The parsed configuration.
    pub(crate) fn config(&self) -> MeasuredConfig {
        MeasuredConfig::parse(&self.config).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What a client and the broker accept: this platform, this launch, this configuration, this model.
    pub(crate) fn verifier(&self) -> Verifier {
        let policy = format!(
            "version = 1\nrole = \"inference\"\nevidence_age_seconds_max = 3600\ncollateral_age_seconds_max = 5184000\n\
             model_digests = [\"{}\"]\nconfig_digests = [\"{}\"]\n{}",
            hex::encode(self.manifest_digest),
            hex::encode(self.config().digest),
            platform().policy_fragment(self.flavor, &LAUNCH_MEASUREMENT),
        );
        Verifier::new(AppraisalPolicy::from_toml(&policy).unwrap_or_else(|error| panic!("{error}\n{policy}")))
    }

    /// What an honest broker releases.
    pub(crate) fn release(&self) -> Release {
        Release {
            model_key: self.model_key,
            manifest_digest: self.manifest_digest,
            model_id: MODEL,
            token_issuers: vec![self.issuer.public_key()],
            lease_seconds: 3600,
            other_statement: false,
            other_record: false,
        }
    }

    /// A token for every model, valid now.
    pub(crate) fn token(&self) -> ApiToken {
        self.token_with(|_| {})
    }

    /// What an ordinary token says.
    pub(crate) fn claims(&self) -> TokenClaims {
        TokenClaims {
            tenant: "tenant".to_owned(),
            token_id: "one".to_owned(),
            not_before: UnixTime::from_seconds(now().seconds() - 60),
            expires: UnixTime::from_seconds(now().seconds() + 3600),
            models: None,
        }
    }

    /// A token with other claims.
    pub(crate) fn token_with(&self, change: impl FnOnce(&mut TokenClaims)) -> ApiToken {
        let mut claims = self.claims();
        change(&mut claims);
        self.issuer
            .issue(&claims)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts host and enclave; the broker behaves as told.
    pub(crate) async fn start(self, behaviour: Behaviour) -> System {
        let host = FakeHost::start(&self, behaviour);
        let (stop, stopped) = oneshot::channel();
        let life = tokio::spawn(self.life(async { drop(stopped.await) }));
        System {
            deployment: self,
            host,
            life,
            stop: Some(stop),
        }
    }

    /// The same, but the host comes only once the enclave has attested.
    pub(crate) async fn start_before_its_host(self, behaviour: Behaviour) -> System {
        let (stop, stopped) = oneshot::channel();
        let life = tokio::spawn(self.life(async { drop(stopped.await) }));
        let attested = async {
            while super::client::status(&self.channel())
                .await
                .map(|status| status.phase)
                != Some(Phase::Attested)
            {
                assert!(!life.is_finished(), "it ended without its host");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, attested).await.expect("it attests");
        System {
            host: FakeHost::start(&self, behaviour),
            deployment: self,
            life,
            stop: Some(stop),
        }
    }

    fn life<F: Future<Output = ()>>(
        &self,
        stop: F,
    ) -> impl Future<Output = Result<(), EnclaveError>> + use<F> {
        let mut attester: Arc<dyn Attester> =
            Arc::new(platform().attester(self.flavor, LAUNCH_MEASUREMENT, [0; 32]));
        if !self.brings_endorsements {
            attester = Arc::new(Bare(attester));
        }
        let (config, channel) = (self.config(), self.channel());
        async move {
            process::live(
                config,
                &channel,
                attester,
                Hardened { memory_locked: false },
                None, // these tests share their process
                stop,
            )
            .await
        }
    }

    /// A second enclave in the same folder.
    pub(crate) async fn run_again(&self) -> Result<(), EnclaveError> {
        self.life(std::future::pending()).await
    }

    /// Starts everything and waits until it serves.
    pub(crate) async fn serving(settings: &Settings) -> System {
        let deployment = Self::new(settings);
        let behaviour = Behaviour::Release(deployment.release());
        let mut system = deployment.start(behaviour).await;
        system.wait_until_serving().await;
        system
    }
}

/// A deployment whose enclave runs.
pub(crate) struct System {
    pub(crate) deployment: Deployment,
    pub(crate) host: FakeHost,
    life: JoinHandle<Result<(), EnclaveError>>,
    stop: Option<oneshot::Sender<()>>,
}

impl System {
    /// A client with fresh evidence.
    pub(crate) async fn client(&self) -> Client {
        Client::verify(&self.deployment).await
    }

    /// The status that the host sees; `None` before the enclave listens.
    pub(crate) async fn status(&self) -> Option<Status> {
        super::client::status(&self.deployment.channel()).await
    }

    /// Waits for a status.
    pub(crate) async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let waiting = async {
            loop {
                if let Some(status) = self.status().await {
                    if wanted(&status) {
                        return status;
                    }
                    last = Some(status);
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = timeout(PATIENCE, waiting).await;
        found.unwrap_or_else(|_| panic!("not {what}: {last:?}, log: {:?}", self.host.lines()))
    }

    pub(crate) async fn wait_until_serving(&mut self) {
        self.wait_for("serving", |status| status.phase == Phase::Serving)
            .await;
    }

    /// How the life ends by itself.
    pub(crate) async fn end(self) -> Result<(), EnclaveError> {
        timeout(PATIENCE, self.life)
            .await
            .expect("the life goes on")
            .expect("no panic")
    }

    /// The fault with which the life ends by itself; the host stays to be asked.
    pub(crate) async fn fault(&mut self) -> EnclaveError {
        timeout(PATIENCE, &mut self.life)
            .await
            .expect("the life goes on")
            .expect("no panic")
            .expect_err("it ended without a fault")
    }

    /// Stops the enclave and says how its life ended.
    pub(crate) async fn stop(mut self) -> Result<(), EnclaveError> {
        drop(self.stop.take());
        self.end().await
    }

    /// One plain chat, to show that the enclave still serves.
    pub(crate) async fn still_serves(&self) {
        let client = self.client().await;
        let answer = client.chat(r#","max_tokens":2"#).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Waits until as many lines of the log hold a word.
    pub(crate) async fn wait_for_lines(&self, count: usize, word: &str) {
        let waiting = async {
            while self.host.lines_with(word) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = timeout(PATIENCE, waiting).await;
        assert!(
            waited.is_ok(),
            "{count} lines with {word}: {:?}",
            self.host.lines()
        );
    }
}
