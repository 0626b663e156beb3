//! `adyton`: the command of whoever holds a prompt.

#![forbid(unsafe_code)]

use std::{ffi::OsString, io::Write, process::ExitCode};

use client::{
    ClientError,
    cli::{Cli, Command, ParseFailure},
    commands,
    error::EXIT_OTHER,
    output::{Color, Output},
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // The tether must be the first thing that runs, before any thread exists.
    let cli = match Cli::layered(&arguments) {
        Ok(cli) => cli,
        Err(failure) => return parse_failure(failure, &arguments),
    };
    let output = Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
        color: cli.global.color,
    };
    match run(cli.command, output) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output.failure(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command, output: Output) -> Result<u8, ClientError> {
    match command {
        Command::TetheredExec(tether) => {
            Err(client::up::process::tethered_exec(tether.parent, &tether.command))
        }
        Command::Seal(seal) => Err(commands::sibling::run(seal, output)),
        Command::Pull(pull) => Err(commands::sibling::pull(pull, output)),
        Command::Bench(bench) => Err(commands::sibling::bench(bench, output)),
        Command::Model(model) => Err(commands::sibling::model(model, output)),
        Command::Completions { shell } => commands::completions::run(shell),
        Command::Token(token) => commands::token::run(token, output),
        Command::Inspect(inspect) => commands::inspect::run(inspect, output),
        command => runtime()?.block_on(run_async(command, output)),
    }
}

async fn run_async(command: Command, output: Output) -> Result<u8, ClientError> {
    match command {
        Command::Verify(verify) => commands::verify::run(verify, output).await,
        Command::Policy(policy) => commands::policy::run(policy, output).await,
        Command::Chat(chat) => commands::chat::run(chat, output).await,
        Command::Proxy(proxy) => commands::proxy::run(proxy, output).await,
        Command::Audit(client::cli::Audit::Verify(verify)) => {
            commands::audit_verify::run(verify, output).await
        }
        Command::Endorsements(endorsements) => commands::endorsements::run(endorsements, output).await,
        Command::Up(up) => client::up::run(up, output).await,
        _ => unreachable!("the other commands need no runtime"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ClientError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| ClientError::State(format!("no runtime: {error}")))
}

/// Clap prints its own errors well; with `--json` they become a document like any other failure.
fn parse_failure(failure: ParseFailure, arguments: &[OsString]) -> ExitCode {
    let asked_for_json = arguments.iter().any(|argument| argument == "--json");
    let output = Output {
        json: asked_for_json,
        quiet: false,
        color: Color::Auto,
    };
    match failure {
        ParseFailure::Client(error) => {
            output.failure(&error);
            ExitCode::from(error.exit_code())
        }
        ParseFailure::Clap(error) if error.use_stderr() && asked_for_json => {
            output.failure(&ClientError::Usage(error.render().to_string().trim().to_owned()));
            ExitCode::from(EXIT_OTHER)
        }
        ParseFailure::Clap(error) if error.use_stderr() => {
            let _ = write!(output.stderr(), "{}", error.render().ansi());
            ExitCode::from(EXIT_OTHER)
        }
        ParseFailure::Clap(error) => {
            let _ = write!(output.stdout(), "{}", error.render().ansi());
            ExitCode::SUCCESS
        }
    }
}
