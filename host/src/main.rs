//! `adyton-host`: launches the enclave and relays to it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "this binary speaks to an operator")]
#![allow(clippy::print_stderr, reason = "this binary speaks to an operator")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};
use host::{
    channel,
    confidential_vm::{
        self, arguments,
        config::ConfidentialVmConfig,
        machine::check_version,
        processor::MemoryEncryption,
        vsock::{GuestPort, HostPort},
    },
    config::Config,
    doctor::{self, Check, Doctor},
    error::HostError,
    launch::{Event, supervise},
    log::Sink,
    measure,
    metrics::Metrics,
    ops, relay, remote, server, simulated_vm, tls,
};
use multiplex::bridge::{UnixPath, carry};
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
};

/// Launches a confidential enclave and relays sealed requests to it. Trusted by nobody.
#[derive(Parser)]
#[command(name = "adyton-host", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Launches the enclave, relays to it and keeps it running until SIGTERM or Ctrl-C.
    #[command(after_help = "Examples:\n  \
        adyton-host launch --tee simulated --config host.toml\n  \
        adyton-host launch --tee simulated --config host.toml --json | jq .event\n  \
        adyton-host launch --tee simulated-vm --config host.toml\n  \
        adyton-host launch --tee snp --config host.toml --print\n  \
        adyton-host launch --tee remote --config host.toml\n\n\
        The configuration file has the tables relay, ops, broker, channel, endorsements and log, and enclave for a\n\
        process, confidential_vm for a machine (host/examples/confidential-vm.toml), or remote for a machine that\n\
        a cloud started (host/examples/remote.toml);\n\
        `adyton up` writes one to config/host.toml in its state folder.")]
    Launch {
        /// Kind of machine the enclave runs in.
        #[arg(long, env = "ADYTON_TEE", value_enum)]
        tee: Tee,
        /// Configuration file (TOML).
        #[arg(long, env = "ADYTON_HOST_CONFIG", value_name = "FILE")]
        config: PathBuf,
        /// One JSON object a line instead of words.
        #[arg(long, env = "ADYTON_JSON")]
        json: bool,
        /// Print QEMU's command line, one option a line, and launch nothing (machines).
        #[arg(long)]
        print: bool,
        /// Launch although `doctor` finds something missing (snp, tdx): for hosts that it misjudges.
        #[arg(long)]
        unchecked: bool,
    },
    /// Looks at what this host has of what a confidential machine needs, and says how to mend what is missing.
    #[command(after_help = "Examples:\n  \
        adyton-host doctor --tee snp\n  \
        adyton-host doctor --tee tdx --config host.toml --json | jq 'select(.outcome == \"fail\")'\n  \
        adyton-host doctor --tee remote --config host.toml")]
    Doctor {
        /// Kind of machine; snp and tdx when left out.
        #[arg(long, env = "ADYTON_TEE", value_enum)]
        tee: Option<DoctorTee>,
        /// Configuration file: also checks its firmware, huge pages and GPUs; for remote, its guest.
        #[arg(long, env = "ADYTON_HOST_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
        /// One JSON object a line instead of words.
        #[arg(long, env = "ADYTON_JSON")]
        json: bool,
        /// Where the host's file system begins.
        #[arg(long, value_name = "FOLDER", default_value = "/")]
        root: PathBuf,
    },
    /// Predicts what a launch will be measured as, as reference values for a policy.
    Measure(measure::Arguments),
}

#[derive(Clone, Copy, ValueEnum)]
enum DoctorTee {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
    /// A machine that a cloud or another host started.
    Remote,
}

#[derive(Clone, Copy, ValueEnum)]
enum Tee {
    /// No TEE: a process whose evidence is signed in software under a simulated root. Protects nothing.
    Simulated,
    /// No TEE: the measured image in an emulated machine, measured as SEV-SNP would, evidence signed in software.
    SimulatedVm,
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
    /// A machine that a cloud or another host started, reached over its network; its evidence says what it is.
    Remote,
}

impl Tee {
    fn confidential(self) -> Option<confidential_vm::Tee> {
        match self {
            Self::Simulated | Self::SimulatedVm | Self::Remote => None,
            Self::Snp => Some(confidential_vm::Tee::Snp),
            Self::Tdx => Some(confidential_vm::Tee::Tdx),
        }
    }

    fn label(self) -> &'static str {
        match self.confidential() {
            Some(tee) => tee.as_str(),
            None if matches!(self, Self::Remote) => "remote",
            None => "SIMULATED",
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let (json, result) = match Arguments::parse().command {
        Command::Launch {
            tee,
            config,
            json,
            print: true,
            ..
        } => (json, print_command_line(tee, &config)),
        Command::Launch {
            tee,
            config,
            json,
            unchecked,
            ..
        } => {
            let output = Output {
                json,
                tee: tee.label(),
            };
            (json, run(tee, config, unchecked, output).await)
        }
        Command::Doctor {
            tee,
            config,
            json,
            root,
        } => (json, examine(tee, config.as_deref(), json, &root)),
        Command::Measure(arguments) => {
            let measured = measure::run(&arguments).map(|text| print!("{text}"));
            (false, measured)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if json {
                println!(
                    "{}",
                    json!({"event": "error", "code": error.code(), "message": error.to_string()})
                );
            }
            eprintln!(
                "adyton-host: {error} [{}]\n  hint: {}",
                error.code(),
                error.hint()
            );
            ExitCode::FAILURE
        }
    }
}

/// Prints every check; fails when one did.
fn examine(tee: Option<DoctorTee>, config: Option<&Path>, json: bool, root: &Path) -> Result<(), HostError> {
    let config = config.map(Config::load).transpose()?;
    let is_remote = matches!(tee, Some(DoctorTee::Remote));
    let machine = config
        .as_ref()
        .filter(|_| !is_remote)
        .map(Config::confidential_vm)
        .transpose()?;
    let qemu = machine.map_or(Path::new("/usr/bin/qemu-system-x86_64"), |machine| &machine.qemu);
    let doctor = Doctor {
        root,
        qemu: doctor::ask_qemu(qemu),
        machine,
    };
    let examined = |tee: confidential_vm::Tee| (tee.as_str(), doctor.examine(tee));
    let examined = match (tee, &config) {
        (Some(DoctorTee::Snp), _) => vec![examined(confidential_vm::Tee::Snp)],
        (Some(DoctorTee::Tdx), _) => vec![examined(confidential_vm::Tee::Tdx)],
        (Some(DoctorTee::Remote), Some(config)) => vec![("remote", doctor.examine_remote(config.remote()?))],
        (Some(DoctorTee::Remote), None) => {
            return Err(HostError::Config(
                "--tee remote needs --config, which names the guest".to_owned(),
            ));
        }
        (None, _) => [confidential_vm::Tee::Snp, confidential_vm::Tee::Tdx]
            .map(examined)
            .into(),
    };
    let mut unfit = Vec::new();
    for (tee, checks) in examined {
        for check in &checks {
            if json {
                let mut line = check.json();
                line["tee"] = tee.into();
                println!("{line}");
            } else {
                println!("{tee}  {}", check.line());
            }
        }
        let failed = checks.iter().filter(|check| !check.passed).count();
        if failed > 0 {
            unfit.push(format!("{failed} of {} checks failed for {tee}", checks.len()));
        }
    }
    if unfit.is_empty() {
        Ok(())
    } else {
        Err(HostError::Unfit(unfit.join(", ")))
    }
}

fn print_command_line(tee: Tee, config: &Path) -> Result<(), HostError> {
    let config = Config::load(config)?;
    if let Tee::SimulatedVm = tee {
        print!("{}", simulated_vm::command_line(config.simulated_vm()?));
        return Ok(());
    }
    let tee = tee.confidential().ok_or_else(|| {
        HostError::Config("--print is for machines: --tee simulated-vm, snp or tdx".to_owned())
    })?;
    print!(
        "{}",
        arguments::command_line(config.confidential_vm()?, tee, MemoryEncryption::of_host())?
    );
    Ok(())
}

async fn run(tee: Tee, config: PathBuf, unchecked: bool, output: Output) -> Result<(), HostError> {
    let config = Arc::new(Config::load(&config)?);
    let confidential = tee.confidential();
    if let Some(tee) = confidential {
        let machine = config.confidential_vm()?;
        check_version(&machine.qemu, tee).await?;
        if !unchecked {
            fit(machine, tee)?;
        }
    }
    let acceptor = tls::acceptor(&config.relay.certificate, &config.relay.private_key)?;
    let (relay_listener, relay_address) = server::bind(config.relay.listen).await?;
    let (ops_listener, ops_address) = server::bind(config.ops.listen).await?;
    let channel_listener = channel::listen(&config.channel.directory)?;
    let sink = Arc::new(Mutex::new(Sink::open(&config.log)?));
    let metrics = Arc::new(Metrics::new());
    let (stop, stopped) = watch::channel(false);
    stop_on_signal(stop.clone())?;

    output.event(
        "listening",
        &json!({"relay": relay_address.to_string(), "ops": ops_address.to_string()}),
    );
    tokio::spawn(channel::serve(
        channel_listener,
        Arc::clone(&config),
        sink,
        Arc::clone(&metrics),
        stopped.clone(),
    ));
    let relay = Arc::new(relay::Relay {
        channel: config.channel.directory.clone(),
        requests: Arc::new(Semaphore::new(config.relay.requests_max)),
        idle: Duration::from_secs(config.relay.idle_seconds_max),
        metrics: Arc::clone(&metrics),
    });
    let ops = Arc::new(ops::Ops {
        channel: config.channel.directory.clone(),
        metrics: Arc::clone(&metrics),
    });
    let serving = tokio::spawn(server::serve(
        relay_listener,
        Some(acceptor),
        relay::routes(relay),
        config.relay.connections_max,
        stopped.clone(),
    ));
    tokio::spawn(server::serve(
        ops_listener,
        None,
        ops::routes(ops),
        64,
        stopped.clone(),
    ));

    let (events, watched) = watch::channel(None);
    let printing = tokio::spawn(print_events(output, watched));
    let result = match confidential {
        None if matches!(tee, Tee::SimulatedVm) => {
            simulated_vm::launch(config, metrics, events, stopped).await
        }
        None if matches!(tee, Tee::Remote) => remote::launch(config, events, stopped).await,
        None => supervise(config, metrics, events, stopped).await,
        Some(tee) => confidential_launch(config, tee, metrics, events, stopped).await,
    };
    stop.send_replace(true);
    let _ = serving.await; // a panic there has printed itself
    let _ = printing.await;
    result
}

/// Refuses a host that lacks something, naming each.
fn fit(machine: &ConfidentialVmConfig, tee: confidential_vm::Tee) -> Result<(), HostError> {
    let doctor = Doctor {
        root: Path::new("/"),
        qemu: doctor::ask_qemu(&machine.qemu),
        machine: Some(machine),
    };
    let checks = doctor.examine(tee);
    let missing: Vec<_> = checks
        .iter()
        .filter(|check| !check.passed)
        .map(Check::line)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(HostError::Unfit(format!(
            "this host cannot launch --tee {}\n{}",
            tee.as_str(),
            missing.join("\n")
        )))
    }
}

/// Launches the confidential machine and carries its streams.
async fn confidential_launch(
    config: Arc<Config>,
    tee: confidential_vm::Tee,
    metrics: Arc<Metrics>,
    events: watch::Sender<Option<Event>>,
    stopped: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let vm = config.confidential_vm()?;
    let line = arguments::command_line(vm, tee, MemoryEncryption::of_host())?;
    let to_guest = GuestPort {
        cid: vm.guest_cid,
        port: vm.enclave_port,
    };
    let from_guest = HostPort::listen(vm.host_port, vm.guest_cid).map_err(|source| HostError::Listen {
        address: format!("vsock port {}", vm.host_port),
        source,
    })?;
    let enclave_socket = channel::bind(&config.channel.directory.join(channel::ENCLAVE_SOCKET))?;
    let host_socket = UnixPath(config.channel.directory.join(channel::HOST_SOCKET));
    tokio::spawn(carry(enclave_socket, Arc::new(to_guest), stopped.clone()));
    tokio::spawn(carry(from_guest, Arc::new(host_socket), stopped.clone()));
    let nothing = || async { Ok(()) };
    let run = vm.run();
    confidential_vm::supervise::supervise(
        Arc::clone(&config),
        &run,
        &line,
        nothing,
        metrics,
        events,
        stopped,
    )
    .await
}

/// Turns `stop` true at the first SIGTERM or SIGINT.
fn stop_on_signal(stop: watch::Sender<bool>) -> Result<(), HostError> {
    let io = |source| HostError::Io {
        what: "install the signal handler".to_owned(),
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(io)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
    });
    Ok(())
}

/// One line an event, and only when something a person cares about has changed.
async fn print_events(output: Output, mut events: watch::Receiver<Option<Event>>) {
    let mut last = (String::new(), String::new());
    while events.changed().await.is_ok() {
        let event = events.borrow_and_update().clone();
        match event {
            Some(Event::Started { pid }) => {
                last = Default::default();
                output.event("started", &json!({"pid": pid, "tee": output.tee}));
            }
            Some(Event::Connected { address }) => {
                last = Default::default();
                output.event("connected", &json!({"address": address, "tee": output.tee}));
            }
            Some(Event::Status(status)) => {
                let now = (status.phase.as_str().to_owned(), status.detail_code);
                if now != last {
                    output.event(
                        "phase",
                        &json!({"phase": now.0, "detail": now.1, "tee": output.tee}),
                    );
                    last = now;
                }
            }
            Some(Event::Ended { status, wait_ms }) => {
                output.event("ended", &json!({"status": status, "restart_in_ms": wait_ms}));
            }
            Some(Event::Stopped) => output.event("stopped", &json!({})),
            _ => {}
        }
    }
}

#[derive(Clone, Copy)]
struct Output {
    json: bool,
    tee: &'static str,
}

impl Output {
    fn event(self, name: &str, fields: &serde_json::Value) {
        if self.json {
            let mut line = json!({"event": name});
            if let (Some(line), Some(fields)) = (line.as_object_mut(), fields.as_object()) {
                line.extend(fields.clone());
            }
            println!("{line}");
        } else {
            let words: Vec<_> = fields
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, value)| *value != "")
                .map(|(key, value)| {
                    format!(
                        "{key}={}",
                        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                    )
                })
                .collect();
            println!("adyton-host: {name} {}", words.join(" "));
        }
    }
}
