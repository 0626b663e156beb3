//! `adyton-broker`: the command around the library.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "the output of a command")]

use std::{path::PathBuf, process::ExitCode};

use broker::{
    config::Config,
    error::BrokerError,
    export,
    log::Log,
    service::{self, Broker},
};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Releases model keys to attested enclaves, and records every release before the key leaves.
#[derive(Parser)]
#[command(
    name = "adyton-broker",
    version,
    after_help = "Examples:\n  adyton-broker init --config broker.toml\n  adyton-broker serve --config broker.toml\n  adyton-broker audit export --config broker.toml > entries.jsonl\n\nThe configuration is documented in broker.example.toml. Exit codes: 0 ok, 10 the audit log does not verify, 1 other."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Machine-readable output: JSON lines.
    #[arg(long, global = true, env = "ADYTON_JSON")]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Makes keys and store on the first start, verifies the audit log, and serves until SIGTERM or SIGINT.
    #[command(after_help = "Example:\n  adyton-broker serve --config /etc/adyton/broker.toml --json")]
    Serve(ConfigArgument),
    /// Makes keys and store without serving, and prints the audit log's public key.
    #[command(after_help = "Example:\n  adyton-broker init --config /etc/adyton/broker.toml")]
    Init(ConfigArgument),
    /// Reads the audit log of a broker that is not running.
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Subcommand)]
enum Audit {
    /// Verifies every entry against the newest checkpoint.
    #[command(after_help = "Example:\n  adyton-broker audit verify --config broker.toml")]
    Verify(ConfigArgument),
    /// Prints every entry, one canonical JSON object a line; the signed checkpoint goes to --checkpoint.
    #[command(
        after_help = "Example:\n  adyton-broker audit export --config broker.toml --checkpoint head.txt > entries.jsonl"
    )]
    Export {
        #[command(flatten)]
        config: ConfigArgument,
        /// Where to write the signed checkpoint.
        #[arg(long, env = "ADYTON_CHECKPOINT")]
        checkpoint: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
struct ConfigArgument {
    /// The configuration file.
    #[arg(long, env = "ADYTON_CONFIG")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(arguments.command, arguments.json)),
        Err(source) => Err(anyhow::Error::new(source)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, arguments.json),
    }
}

async fn run(command: Command, json: bool) -> anyhow::Result<()> {
    match command {
        Command::Serve(argument) => serve(&Config::load(&argument.config)?, json).await,
        Command::Init(argument) => {
            let verifier = service::init(&Config::load(&argument.config)?).await?;
            print_report(json, "public_key", &verifier.to_vkey(), 0);
            Ok(())
        }
        Command::Audit(Audit::Verify(argument)) => {
            let log = export::read(&Config::load(&argument.config)?).await?;
            print_report(json, "root", &hex::encode(log.report.root), log.report.entries);
            Ok(())
        }
        Command::Audit(Audit::Export { config, checkpoint }) => {
            let log = export::read(&Config::load(&config.config)?).await?;
            if let Some(path) = checkpoint {
                std::fs::write(&path, &log.signed_checkpoint)?;
            }
            log.write_entries(&mut std::io::stdout().lock())?;
            Ok(())
        }
    }
}

async fn serve(config: &Config, json: bool) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let broker = Broker::start(config, Log::new(json)).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broker.stop().await;
    Ok(())
}

fn print_report(json: bool, name: &str, value: &str, entries: u64) {
    if json {
        println!("{}", serde_json::json!({ name: value, "entries": entries }));
    } else {
        println!("{name}: {value}\nentries: {entries}");
    }
}

fn fail(error: &anyhow::Error, json: bool) -> ExitCode {
    let (code, hint) = match error.downcast_ref::<BrokerError>() {
        Some(error) => (error.code(), error.hint()),
        None => ("io", "check that the file exists and that this user may use it"),
    };
    if json {
        let line =
            serde_json::json!({ "event": "failed", "code": code, "error": error.to_string(), "hint": hint });
        anstream::eprintln!("{line}");
    } else {
        anstream::eprintln!("adyton-broker: {error}\n  code: {code}\n  hint: {hint}");
    }
    match error.downcast_ref::<BrokerError>() {
        Some(
            BrokerError::Audit(_) | BrokerError::LogDamaged(_) | BrokerError::RegistrationDamaged { .. },
        ) => ExitCode::from(10),
        _ => ExitCode::FAILURE,
    }
}
