//! Certificates, configuration and a running broker in a temporary folder.

use std::path::{Path, PathBuf};

use broker::{config::Config, log::Log, service::Broker};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use tempfile::TempDir;

use super::{Credentials, Enclave, MANIFEST, MODEL, Owner, TOKEN_ISSUER, platform};
use simulated::Flavor;

/// What differs between tests.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// `store.bytes_max`.
    pub(crate) store_bytes_max: u64,
    /// `release.step_seconds_max`.
    pub(crate) step_seconds_max: u64,
    /// `release.connections_max`.
    pub(crate) connections_max: usize,
    /// `audit.refusals_per_minute_max`.
    pub(crate) refusals_per_minute_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            store_bytes_max: 1 << 30,
            step_seconds_max: 10,
            connections_max: 64,
            refusals_per_minute_max: 10_000,
        }
    }
}

/// Everything but the process.
pub(crate) struct Deployment {
    pub(crate) folder: TempDir,
    /// An owner's certificate.
    pub(crate) owner: Credentials,
    /// A certificate of the same CA without the owner's role.
    pub(crate) host: Credentials,
    /// An owner's certificate by another CA.
    pub(crate) stranger: Credentials,
}

impl Deployment {
    /// Writes certificates and configuration.
    pub(crate) fn new(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ca = Authority::new();
        let broker = ca.issue(&["localhost"], ExtendedKeyUsagePurpose::ServerAuth, None);
        write(folder.path(), "ca.pem", &ca.pem);
        write(folder.path(), "broker.pem", &broker.certificate);
        write(folder.path(), "broker.key", &broker.private_key);
        let role = Some(broker::owner::OWNER_ROLE);
        let client = ExtendedKeyUsagePurpose::ClientAuth;
        let deployment = Self {
            owner: ca.issue(&[], client.clone(), role),
            host: ca.issue(&[], client.clone(), None),
            stranger: Authority::new().issue(&[], client, role),
            folder,
        };
        write(
            deployment.folder.path(),
            "broker.toml",
            &deployment.config_text(options),
        );
        deployment
    }

    fn config_text(&self, options: Options) -> String {
        let Options {
            store_bytes_max,
            step_seconds_max,
            connections_max,
            refusals_per_minute_max,
        } = options;
        format!(
            r#"
            [store]
            file = "broker.sqlite"
            bytes_max = {store_bytes_max}
            [kek]
            file = "kek.key"
            [audit]
            origin = "broker.test/adyton"
            log_key = "log.key"
            refusals_per_minute_max = {refusals_per_minute_max}
            [release]
            listen = "127.0.0.1:0"
            certificate = "broker.pem"
            private_key = "broker.key"
            connections_max = {connections_max}
            step_seconds_max = {step_seconds_max}
            [admin]
            listen = "127.0.0.1:0"
            certificate = "broker.pem"
            private_key = "broker.key"
            client_ca = "ca.pem"
            [ops]
            listen = "127.0.0.1:0"
            "#
        )
    }

    /// A file of the deployment.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration.
    pub(crate) fn config(&self) -> Config {
        Config::load(&self.path("broker.toml")).expect("the configuration is valid")
    }

    /// Starts the broker in this process.
    pub(crate) async fn start(&self) -> Broker {
        Broker::start(&self.config(), Log::discard())
            .await
            .expect("the broker starts")
    }

    /// After its first start.
    pub(crate) async fn started_once(self) -> Self {
        self.start().await.stop().await;
        self
    }

    /// Starts the broker and registers the model for one flavor of enclave.
    pub(crate) async fn start_with_model(&self, flavor: Flavor) -> (Broker, Owner, Enclave) {
        let broker = self.start().await;
        let enclave = Enclave::new(flavor);
        let owner = Owner::new(broker.addresses().admin, &self.owner);
        let answer = owner.register(MODEL, MANIFEST, 1, &self.policy(&enclave)).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json);
        (broker, owner, enclave)
    }

    /// A release policy that accepts `enclave`.
    pub(crate) fn policy(&self, enclave: &Enclave) -> String {
        policy(enclave, &[MANIFEST])
    }
}

/// A release policy that accepts `enclave` and these models.
pub(crate) fn policy(enclave: &Enclave, digests: &[[u8; 32]]) -> String {
    let fragment = platform().policy_fragment(enclave.flavor, &enclave.launch_measurement);
    let fragment = fragment.replace("danger.simulated", "appraisal.danger.simulated");
    let digests: Vec<String> = digests
        .iter()
        .map(|digest| format!("\"{}\"", hex::encode(digest)))
        .collect();
    format!(
        r#"
model_id = "{MODEL}"
lease_seconds = 3600
[tokens]
issuers = ["{TOKEN_ISSUER}"]
[appraisal]
version = 1
role = "inference"
evidence_age_seconds_max = 3600
collateral_age_seconds_max = 5184000
model_digests = [{}]
config_digests = ["{}"]
{fragment}
"#,
        digests.join(", "),
        hex::encode(enclave.config_digest)
    )
}

fn write(folder: &Path, name: &str, text: &str) {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join(name))
        .expect("a new file");
    file.write_all(text.as_bytes()).expect("space");
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose, role: Option<&str>) -> Credentials {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![usage];
        let role = role.map(|role| SanType::URI(role.try_into().expect("ASCII")));
        params.subject_alt_names.extend(role);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Credentials {
            certificate: certificate.pem(),
            private_key: key.serialize_pem(),
            ca: self.pem.clone(),
        }
    }
}
