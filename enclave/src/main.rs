//! `adyton-enclave`: the release binary. Its only attester is the platform's. As the first process of a machine it is
//! init of the measured image.

#![forbid(unsafe_code)]

use std::{ffi::OsString, path::PathBuf, process::ExitCode, sync::Arc};

use attester::{Attester, AttesterError, WithDevices, nvidia::Gpus};
use enclave::{
    EnclaveError,
    config::MeasuredConfig,
    init::{self, Image},
    log::{Event, to_standard_error},
    process,
};

fn main() -> ExitCode {
    if init::is_first_process() {
        init::run(&Image {
            console: false,
            provide_evidence: || Ok(()), // the kernel's drivers do
        });
    }
    match start(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            to_standard_error(&Event::Fault {
                part: "start",
                code: error.code(),
            });
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: impl Iterator<Item = OsString>) -> enclave::Result<()> {
    let hardened = process::prepare()?;
    let (config, channel) = paths(arguments)?;
    let config = MeasuredConfig::read(&config)?;
    let attester = attester(config.values.devices.is_some())?;
    enclave::run(config, &channel, attester, hardened)
}

/// The one attester of this machine, and its GPUs where the measured configuration uses them.
fn attester(with_gpus: bool) -> enclave::Result<Arc<dyn Attester>> {
    let unavailable = |error: AttesterError| EnclaveError::Evidence(error.code());
    let platform = attester::detect().map_err(unavailable)?.attester;
    if !with_gpus {
        return Ok(Arc::from(platform));
    }
    let gpus = Gpus::open().map_err(unavailable)?;
    Ok(Arc::new(WithDevices::new(platform, vec![Box::new(gpus)])))
}

/// `run --config FILE --channel DIRECTORY`, in either order, and nothing else.
fn paths(mut arguments: impl Iterator<Item = OsString>) -> enclave::Result<(PathBuf, PathBuf)> {
    if arguments.next().is_none_or(|command| command != "run") {
        return Err(EnclaveError::CommandLine("the only command is run"));
    }
    let (mut config, mut channel) = (None, None);
    while let Some(flag) = arguments.next() {
        let place = match flag.to_str() {
            Some("--config") => &mut config,
            Some("--channel") => &mut channel,
            _ => return Err(EnclaveError::CommandLine("unknown argument")),
        };
        let value = arguments
            .next()
            .ok_or(EnclaveError::CommandLine("a flag without its value"))?;
        if place.replace(PathBuf::from(value)).is_some() {
            return Err(EnclaveError::CommandLine("a flag given twice"));
        }
    }
    config
        .zip(channel)
        .ok_or(EnclaveError::CommandLine("--config and --channel are needed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> enclave::Result<(PathBuf, PathBuf)> {
        paths(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_exact() {
        let wanted = (PathBuf::from("c"), PathBuf::from("d"));
        assert_eq!(parsed("run --config c --channel d").ok(), Some(wanted.clone()));
        assert_eq!(parsed("run --channel d --config c").ok(), Some(wanted));
        for line in [
            "",
            "run",
            "run --config c",
            "run --config c --channel",
            "serve --config c --channel d",
            "run --config c --config e --channel d",
            "run --config c --channel d --debug",
            "run --flavor snp --config c --channel d",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
