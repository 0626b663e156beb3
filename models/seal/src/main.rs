//! `adyton-seal`: the model owner's tool. It sees plain weights and the model key, and nothing of prompts.

#![forbid(unsafe_code)]

mod broker;
mod cli;
mod error;
mod hub;
mod inspect;
mod keys;
mod output;
mod policy;
mod pull;
mod seal;
mod secret_file;
mod selection;
mod store;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::error::{EXIT_OTHER, Result};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(failure) => {
            let _ = failure.print();
            return ExitCode::from(if failure.use_stderr() { EXIT_OTHER } else { 0 });
        }
    };
    let output = Output {
        json: cli.global.json,
        quiet: cli.global.quiet,
    };
    match run(cli.command, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.failure(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command, output: Output) -> Result<()> {
    match command {
        Command::Keygen(arguments) => keys::keygen(&arguments, output),
        Command::PublicKey(arguments) => keys::public_key(&arguments, output),
        Command::Inspect(arguments) => inspect::inspect(&arguments, output),
        Command::Ls(arguments) => store::ls(&arguments, output),
        Command::Rm(arguments) => store::rm(&arguments, output),
        Command::Pull(arguments) => block_on(pull::pull(arguments, output)),
        Command::Seal(arguments) => block_on(seal::seal(arguments, output)),
        Command::Register(arguments) => block_on(seal::register(arguments, output)),
    }
}

/// One thread for the connection and for Ctrl-C; sealing has its own.
fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| error::SealError::file("start", "the runtime", error))?
        .block_on(command)
}
