//! `adyton-host`: launches the enclave and relays to it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "this binary speaks to an operator")]
#![allow(clippy::print_stderr, reason = "this binary speaks to an operator")]

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::{Parser, Subcommand, ValueEnum};
use host::{
    channel,
    config::Config,
    error::HostError,
    launch::{Event, supervise},
    log::Sink,
    measure,
    metrics::Metrics,
    ops, relay, server, tls,
};
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
        adyton-host launch --tee simulated --config host.toml --json | jq .event\n\n\
        The configuration file has the tables relay, ops, broker, channel, enclave, endorsements and log;\n\
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
    },
    /// Predicts what a launch will be measured as, as reference values for a policy.
    Measure(measure::Arguments),
}

#[derive(Clone, Copy, ValueEnum)]
enum Tee {
    /// No TEE: a process whose evidence is signed in software under a simulated root. Protects nothing.
    Simulated,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (json, result) = match Arguments::parse().command {
        Command::Launch {
            tee: Tee::Simulated,
            config,
            json,
        } => (json, run(config, Output { json }).await),
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

async fn run(config: PathBuf, output: Output) -> Result<(), HostError> {
    let config = Arc::new(Config::load(&config)?);
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
    let result = supervise(config, metrics, events, stopped).await;
    stop.send_replace(true);
    let _ = serving.await; // a panic there has printed itself
    let _ = printing.await;
    result
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
                output.event("started", &json!({"pid": pid, "tee": "SIMULATED"}));
            }
            Some(Event::Status(status)) => {
                let now = (status.phase.as_str().to_owned(), status.detail_code);
                if now != last {
                    output.event(
                        "phase",
                        &json!({"phase": now.0, "detail": now.1, "tee": "SIMULATED"}),
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
