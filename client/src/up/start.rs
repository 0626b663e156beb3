//! The start itself, step by step.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use attestation::{Assurance, VerifiedEvidence};
use serde_json::Value;

use super::{
    configs::{BrokerConfig, ClientConfig, HostConfig, Machine},
    machine::{self, Image},
    model,
    pki::{self, Pki},
    process::{self, Process},
    releases::{self, AdminAddress},
    state::StateDir,
    steps::Steps,
    tools,
};
use crate::{
    cli::{Flavor, Up},
    commands::token,
    discovery,
    error::ClientError,
    output::Output,
    private_file::{self, PUBLIC_MODE, SECRET_MODE},
    session::Session,
    transparency::LogKey,
    transport::Transport,
};

/// How long a process may take to say where it listens, and the enclave to serve.
const START_SECONDS_MAX: u64 = 300;
/// How often a log is looked at while a process starts.
const POLL: Duration = Duration::from_millis(20);
/// How long host and broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The demo token's validity: it is issued anew at every start.
const TOKEN_SECONDS: u64 = 30 * 24 * 3600;
/// Whose requests the demo token's are.
const TENANT: &str = "demo";

/// What runs, and how to reach it.
pub struct Deployment {
    /// The verified session that the proxy uses.
    pub session: Arc<Session>,
    /// What the evidence rests on: simulated.
    pub assurance: Assurance,
    /// The model's id.
    pub model_id: String,
    /// It answers with embeddings, not with text.
    pub embeds: bool,
    /// The demo token.
    pub token_file: PathBuf,
    /// The host's relay.
    pub host_url: String,
    /// The host's health and metrics.
    pub host_ops_url: String,
    /// The broker's admin listener.
    pub broker_admin: AdminAddress,
    /// The broker's health and metrics.
    pub broker_ops_url: String,
}

/// Starts everything; what was started so far is in `running` also when it fails.
pub async fn start(
    up: &Up,
    state: &StateDir,
    running: &mut Vec<Process>,
    output: Output,
) -> Result<Deployment, ClientError> {
    let mut steps = Steps::new(output);
    steps.begin("certificates and keys");
    let pki = pki::issue(&state.path("pki"), discovery::now())?;
    let issuer = issuer(state)?;
    steps.done("");

    steps.begin("SIMULATED platform");
    tools::manufacture(&state.path("platform")).await?;
    steps.done(format!("signs {} evidence", vendor(up.flavor)));

    steps.begin("key broker");
    let broker = start_broker(state, &pki, running).await?;
    steps.done(&broker.release);

    steps.begin("sealed model");
    let sealed = model::prepare(up, state, &pki, &broker.admin, &issuer.public_key()).await?;
    steps.done(sealed.summary());

    steps.begin("untrusted host");
    let host = start_host(up, state, &broker.release, &sealed.folder, running).await?;
    steps.done(&host.relay);

    steps.begin(if up.vm.is_some() {
        "SIMULATED machine"
    } else {
        "SIMULATED enclave"
    });
    let phases = wait_until_serving(&host, running).await?;
    steps.done(phases);

    steps.begin("evidence");
    let token_file = demo_token(state, &issuer)?;
    let host_url = format!("https://{}", host.relay);
    write_client_config(state, &host_url, &token_file)?;
    let session = open_session(up, state, &host_url).await?;
    let assurance = session.attested().await?.evidence().assurance();
    steps.done(format!("accepted, {assurance}"));

    Ok(Deployment {
        session,
        assurance,
        model_id: sealed.model_id,
        embeds: sealed.embeds,
        token_file,
        host_url,
        host_ops_url: format!("http://{}", host.ops),
        broker_admin: broker.admin,
        broker_ops_url: format!("http://{}", broker.ops),
    })
}

struct Broker {
    release: String,
    ops: String,
    admin: AdminAddress,
}

struct Host {
    relay: String,
    ops: String,
    log: PathBuf,
}

async fn start_broker(
    state: &StateDir,
    pki: &Pki,
    running: &mut Vec<Process>,
) -> Result<Broker, ClientError> {
    let (config, log) = (state.path("config/broker.toml"), state.path("log/broker.log"));
    private_file::write(
        &config,
        BrokerConfig { root: state.root() }.text()?.as_bytes(),
        PUBLIC_MODE,
    )?;
    let arguments = ["serve", "--json", "--config"]
        .map(OsString::from)
        .into_iter()
        .chain([config.into_os_string()]);
    let arguments: Vec<OsString> = arguments.collect();
    running.push(Process::start(
        "adyton-broker",
        &process::sibling("adyton-broker")?,
        &arguments,
        &log,
    )?);
    let address = async |what: &str, running: &mut Vec<Process>| {
        let found = |line: &Value| (line["what"] == what).then(|| text(&line["address"])).flatten();
        wait_for_line(&log, running, "listening", found).await
    };
    let (release, ops) = (address("release", running).await?, address("ops", running).await?);
    let admin = AdminAddress {
        url: format!("https://{}", address("admin", running).await?),
        ca: pki.ca.clone(),
        certificate: pki.owner.certificate.clone(),
        private_key: pki.owner.private_key.clone(),
    };
    Ok(Broker { release, ops, admin })
}

async fn start_host(
    up: &Up,
    state: &StateDir,
    broker_address: &str,
    sealed: &Path,
    running: &mut Vec<Process>,
) -> Result<Host, ClientError> {
    let (config, log) = (state.path("config/host.toml"), state.path("log/host.log"));
    let enclave_binary = tools::enclave_binary()?;
    let image = up.vm.as_deref().map(Image::of).transpose()?;
    let supply = match image {
        Some(_) => machine::supply(state, sealed).await?,
        None => PathBuf::new(),
    };
    // Written with the policies, which name what it is measured as.
    let disk = up.azure_like.then(|| machine::boot_disk(state));
    let host = HostConfig {
        root: state.root(),
        broker_address,
        enclave_binary: &enclave_binary,
        flavor: up.flavor,
        machine: match &image {
            None => None,
            Some(image) => Some(Machine {
                image,
                disk: disk.as_deref(),
                supply: &supply,
                network: up.network.then(machine::free_port).transpose()?,
            }),
        },
    };
    private_file::write(&config, host.text()?.as_bytes(), PUBLIC_MODE)?;
    let tee = if image.is_some() {
        "simulated-vm"
    } else {
        "simulated"
    };
    let words = ["launch", "--tee", tee, "--json", "--config"].map(OsString::from);
    let arguments: Vec<OsString> = words.into_iter().chain([config.into_os_string()]).collect();
    let host = Process::start("adyton-host", &process::sibling("adyton-host")?, &arguments, &log)?;
    let said = if image.is_some() {
        "log/boot.log"
    } else {
        "log/enclave.stderr"
    };
    running.push(host.also_logs_to(state.path(said)));
    let found = |line: &Value| Some((text(&line["relay"])?, text(&line["ops"])?));
    let (relay, ops) = wait_for_line(&log, running, "listening", found).await?;
    Ok(Host { relay, ops, log })
}

async fn wait_until_serving(host: &Host, running: &mut [Process]) -> Result<String, ClientError> {
    let serving = |line: &Value| (line["phase"] == "serving").then_some(());
    let served = wait_for_line(&host.log, running, "phase", serving).await;
    served.map(|()| "attested, provisioned, serving".to_owned())
}

/// Waits for a line of JSON with this `event` from which `found` takes something.
async fn wait_for_line<T>(
    log: &Path,
    running: &mut [Process],
    event: &str,
    found: impl Fn(&Value) -> Option<T>,
) -> Result<T, ClientError> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        // The last line may be half written.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(found) = lines
            .filter(|line| line["event"] == event)
            .find_map(|line| found(&line))
        {
            return Ok(found);
        }
        for process in running.iter_mut() {
            if let Some(ended) = process.has_ended() {
                return Err(ended);
            }
        }
        if began.elapsed().as_secs() > START_SECONDS_MAX {
            let last = running.last().map(|process| process.is_stuck(START_SECONDS_MAX));
            return Err(last.unwrap_or(ClientError::Interrupted));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn issuer(state: &StateDir) -> Result<exchange::token::TokenIssuer, ClientError> {
    let path = state.path("keys/token-issuer.key");
    if path.exists() {
        token::read_issuer(&path)
    } else {
        token::generate(&path)
    }
}

fn demo_token(state: &StateDir, issuer: &exchange::token::TokenIssuer) -> Result<PathBuf, ClientError> {
    let path = state.path("tokens/demo.token");
    let (token, _) = token::issue(issuer, TENANT, None, discovery::now(), TOKEN_SECONDS)?;
    private_file::write(&path, token.expose().as_bytes(), SECRET_MODE)?;
    Ok(path)
}

fn write_client_config(state: &StateDir, url: &str, token_file: &Path) -> Result<(), ClientError> {
    let config = ClientConfig {
        url,
        ca: state.path("pki/ca.pem"),
        policy: state.path("policy/client.toml"),
        token_file: token_file.to_owned(),
        keys_file: releases::keys_file(state),
    };
    private_file::write(
        &state.path("config/client.toml"),
        config.text()?.as_bytes(),
        PUBLIC_MODE,
    )
}

async fn open_session(up: &Up, state: &StateDir, url: &str) -> Result<Arc<Session>, ClientError> {
    let transport = Transport::new(url, Some(&state.path("pki/ca.pem")), None, TIMEOUT)?;
    let policy = discovery::policy(Some(&state.path("policy/client.toml")))?.policy;
    let verifier = attestation::Verifier::new(policy);
    let session = Session::open(transport, verifier, up.shape.padding.into()).await?;
    // The host may start the enclave again: each boot signs its request log with a key of its own.
    let keys = releases::keys_file(state);
    let remember = move |evidence: &VerifiedEvidence| {
        let remembered =
            LogKey::of_requests(evidence.statement()).and_then(|key| releases::remember_key(&keys, &key));
        // The audit check says which key it lacks.
        drop(remembered);
    };
    Ok(Arc::new(session.observed_by(Box::new(remember))))
}

fn vendor(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Snp => "AMD SEV-SNP",
        Flavor::Tdx => "Intel TDX",
    }
}
