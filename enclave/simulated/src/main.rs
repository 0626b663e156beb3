//! `adyton-enclave-simulated`: the enclave with a software security processor. SIMULATED: it protects nothing, and
//! no default policy accepts its evidence. The release binary, `adyton-enclave`, does not contain what is here.
//!
//! `run` is the enclave; the other commands are the manufacturer's and the launcher's part of the simulation. As the
//! first process of a machine it is init of the simulated image (`enclave::init`).

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // the commands speak to a person; `run` prints nothing

mod configfs;
mod guest;
mod paravisor;
mod processor;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use attestation::UnixTime;
use clap::{Args, Parser, Subcommand, ValueEnum};
use enclave::{
    config::MeasuredConfig,
    hardening::Hardened,
    init::{self, Image},
    log::{Event, to_standard_error},
    process,
};
use simulated::{Flavor, Platform, azure::VtpmAuthority, measure};

/// How long what is manufactured stays valid.
const VALIDITY_SECONDS: u64 = 365 * 24 * 3600;

#[derive(Parser)]
#[command(version, about = "SIMULATED enclave: for development, protects nothing")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the keys and certificates of a SIMULATED platform, or renew its published documents.
    Manufacture {
        /// Folder to keep them in (mode 0600).
        #[arg(long)]
        platform: PathBuf,
    },
    /// Print the launch measurement of this binary with a configuration.
    Measure {
        #[command(flatten)]
        launch: Launch,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the table of an appraisal policy that accepts this platform and this measurement.
    Anchors {
        /// The platform's folder.
        #[arg(long)]
        platform: PathBuf,
        #[command(flatten)]
        launch: Launch,
    },
    /// Sign evidence for one virtual machine, over a socket that QEMU connects to; adyton-host launch starts it.
    Processor {
        /// The platform's folder.
        #[arg(long)]
        platform: PathBuf,
        /// What the machine was measured as, in hexadecimal.
        #[arg(long, value_parser = digits::<48>)]
        measurement: Digits<48>,
        /// HOST_DATA of the machine's reports, in hexadecimal.
        #[arg(long, value_parser = digits::<32>, default_value_t = Digits([0; 32]))]
        host_data: Digits<32>,
        /// The socket.
        #[arg(long)]
        socket: PathBuf,
    },
    /// Be the paravisor of one Azure-like virtual machine: a vTPM, and a report that vouches for it, over a socket that
    /// QEMU connects to; adyton-host launch starts it.
    Paravisor {
        /// The platform's folder.
        #[arg(long)]
        platform: PathBuf,
        /// What the paravisor was measured as, in hexadecimal.
        #[arg(long, value_parser = digits::<48>)]
        measurement: Digits<48>,
        /// The software TPM.
        #[arg(long, value_name = "FILE", default_value = "/usr/bin/swtpm")]
        swtpm: PathBuf,
        /// Folder of its state and sockets; a state that is there is left behind.
        #[arg(long, value_name = "FOLDER")]
        state: PathBuf,
        /// The host's folder of published documents, to which the machine's are added.
        #[arg(long, value_name = "FOLDER")]
        endorsements: Option<PathBuf>,
        /// The socket.
        #[arg(long)]
        socket: PathBuf,
    },
    /// Print the tables of an appraisal policy that accept this platform behind a paravisor of this measurement; the
    /// guest's PCRs, `[danger.simulated.azure.pcrs]`, are `adyton-host measure uki`'s to print.
    AzureAnchors {
        /// The platform's folder.
        #[arg(long)]
        platform: PathBuf,
        /// What the paravisor is measured as, in hexadecimal.
        #[arg(long, value_parser = digits::<48>)]
        measurement: Digits<48>,
    },
    /// Print the table of an appraisal policy that accepts this platform and a virtual machine's measurement.
    MachineAnchors {
        /// The platform's folder.
        #[arg(long)]
        platform: PathBuf,
        /// What the machine is measured as, in hexadecimal.
        #[arg(long, value_parser = digits::<48>)]
        measurement: Digits<48>,
    },
    /// Run the enclave: of a platform's folder, or inside a machine with the evidence that its kernel's interface gives.
    Run {
        /// The platform's folder.
        #[arg(long, requires = "flavor")]
        platform: Option<PathBuf>,
        /// Which vendor's evidence is imitated.
        #[arg(long, requires = "platform")]
        flavor: Option<FlavorArg>,
        /// The measured configuration.
        #[arg(long)]
        config: PathBuf,
        /// Folder of the two sockets of the host channel.
        #[arg(long)]
        channel: PathBuf,
    },
}

/// What is launched.
#[derive(Args)]
struct Launch {
    /// Which vendor's evidence is imitated.
    #[arg(long)]
    flavor: FlavorArg,
    /// The measured configuration.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum FlavorArg {
    Snp,
    Tdx,
}

impl From<FlavorArg> for Flavor {
    fn from(flavor: FlavorArg) -> Self {
        match flavor {
            FlavorArg::Snp => Self::Snp,
            FlavorArg::Tdx => Self::Tdx,
        }
    }
}

impl Launch {
    /// The measurement: this executable and the configuration, byte for byte. `run` measures what it parsed.
    fn measurement(&self, config: &[u8]) -> anyhow::Result<[u8; 48]> {
        let executable = std::fs::read("/proc/self/exe").context("this executable cannot be read")?;
        Ok(measure(self.flavor.into(), &executable, config))
    }

    fn read_config(&self) -> anyhow::Result<Vec<u8>> {
        std::fs::read(&self.config).with_context(|| format!("{} cannot be read", self.config.display()))
    }
}

fn main() -> ExitCode {
    if init::is_first_process() {
        init::run(&Image {
            console: true,
            provide_evidence: guest::provide_evidence,
        });
    }
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Command::Run {
            platform,
            flavor,
            config,
            channel,
        } => return run(platform.as_deref().zip(*flavor), config, channel),
        Command::Processor {
            platform,
            measurement,
            host_data,
            socket,
        } => serve_processor(platform, measurement.0, host_data.0, socket),
        Command::Paravisor {
            platform,
            measurement,
            swtpm,
            state,
            endorsements,
            socket,
        } => paravisor::serve(
            &paravisor::Arguments {
                platform,
                measurement: measurement.0,
                swtpm,
                state,
                endorsements: endorsements.as_deref(),
            },
            socket,
            now(),
        ),
        Command::AzureAnchors {
            platform,
            measurement,
        } => print_azure_anchors(platform, measurement.0),
        Command::MachineAnchors {
            platform,
            measurement,
        } => print_machine_anchors(platform, measurement.0),
        Command::Manufacture { platform } => manufacture(platform),
        Command::Measure { launch, json } => print_measurement(launch, *json),
        Command::Anchors { platform, launch } => print_anchors(platform, launch),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn now() -> UnixTime {
    UnixTime::from_seconds(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    )
}

fn manufacture(folder: &Path) -> anyhow::Result<()> {
    let existing = Platform::load(folder);
    let renewed = existing.is_ok();
    let platform = match existing {
        Ok(mut platform) => {
            platform.renew(now(), VALIDITY_SECONDS)?;
            platform
        }
        Err(_) if is_vacant(folder) => Platform::manufacture(now(), VALIDITY_SECONDS)?,
        Err(error) => return Err(error.into()),
    };
    platform.save(folder)?;
    if !VtpmAuthority::is_in(folder) {
        VtpmAuthority::manufacture(now())?.save(folder)?;
    }
    let done = if renewed { "renewed" } else { "manufactured" };
    println!("SIMULATED platform {done} in {}", folder.display());
    Ok(())
}

/// Missing or empty: nothing there can be lost.
fn is_vacant(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(!folder.exists(), |mut entries| entries.next().is_none())
}

fn print_measurement(launch: &Launch, json: bool) -> anyhow::Result<()> {
    let measurement = hex::encode(launch.measurement(&launch.read_config()?)?);
    if json {
        let flavor = Flavor::from(launch.flavor).as_str();
        let document =
            serde_json::json!({"simulated": true, "flavor": flavor, "launch_measurement": measurement});
        println!("{document}");
    } else {
        println!("{measurement}");
    }
    Ok(())
}

fn print_anchors(folder: &Path, launch: &Launch) -> anyhow::Result<()> {
    let platform = Platform::load(folder)?;
    let measurement = launch.measurement(&launch.read_config()?)?;
    println!("# SIMULATED: evidence by software. Only for development.");
    print!("{}", platform.policy_fragment(launch.flavor.into(), &measurement));
    Ok(())
}

fn serve_processor(
    folder: &Path,
    measurement: [u8; 48],
    host_data: [u8; 32],
    socket: &Path,
) -> anyhow::Result<()> {
    let platform = Platform::load(folder)?;
    processor::serve(&platform.attester(Flavor::Snp, measurement, host_data), socket)
}

fn print_machine_anchors(folder: &Path, measurement: [u8; 48]) -> anyhow::Result<()> {
    let platform = Platform::load(folder)?;
    println!("# SIMULATED: evidence by software. Only for development.");
    print!("{}", platform.policy_fragment(Flavor::Snp, &measurement));
    Ok(())
}

fn print_azure_anchors(folder: &Path, measurement: [u8; 48]) -> anyhow::Result<()> {
    let (platform, authority) = (Platform::load(folder)?, VtpmAuthority::load(folder)?);
    println!("# SIMULATED: evidence by software. Only for development.");
    print!("{}", platform.azure_policy_fragment(&authority, &measurement));
    Ok(())
}

/// From here on nothing is printed but allow-listed lines on standard error.
fn run(platform: Option<(&Path, FlavorArg)>, config: &Path, channel: &Path) -> ExitCode {
    let hardened = match process::prepare() {
        Ok(hardened) => hardened,
        Err(error) => return refuse(error.code()),
    };
    match start(platform, config, channel, hardened) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => refuse(code),
    }
}

fn refuse(code: &'static str) -> ExitCode {
    to_standard_error(&Event::Fault { part: "start", code });
    ExitCode::FAILURE
}

fn start(
    platform: Option<(&Path, FlavorArg)>,
    config: &Path,
    channel: &Path,
    hardened: Hardened,
) -> Result<(), &'static str> {
    let Some((folder, flavor)) = platform else {
        let config = MeasuredConfig::read(config).map_err(|error| error.code())?;
        let attester = guest::Retagged::detect().map_err(|error| error.code())?;
        return enclave::run(config, channel, Arc::new(attester), hardened).map_err(|error| error.code());
    };
    let launch = Launch {
        flavor,
        config: config.to_owned(),
    };
    let platform = Platform::load(folder).map_err(|error| error.code())?;
    let config = launch.read_config().map_err(|_| "config-invalid")?;
    let measurement = launch.measurement(&config).map_err(|_| "measurement-failed")?;
    let config = MeasuredConfig::parse(&config).map_err(|error| error.code())?;
    let attester = platform.attester(flavor.into(), measurement, [0; 32]);
    enclave::run(config, channel, Arc::new(attester), hardened).map_err(|error| error.code())
}

/// Bytes that a command line has in hexadecimal.
#[derive(Clone, Copy)]
struct Digits<const N: usize>([u8; N]);

impl<const N: usize> core::fmt::Display for Digits<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

fn digits<const N: usize>(text: &str) -> Result<Digits<N>, String> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| format!("{} hexadecimal digits are needed", 2 * N))?;
    Ok(Digits(bytes))
}
