//! `adyton-host launch --tee simulated-vm`: the measured image in a virtual machine without a TEE. SIMULATED: it protects
//! nothing, and no default policy accepts its evidence.
//!
//! What is simulated is the hardware, and nothing else: the image boots with its own kernel, init and engine.
//!
//! 1. Before each start the files are measured as SEV-SNP measures them ([`measurement`]), from the bytes on the disk.
//! 2. A SIMULATED security processor is told that measurement and signs reports with it: a program of its own, because
//!    its keys are linked in no release binary (I8). The guest reaches it over a port of virtio-serial.
//!    Where firmware boots a disk ([`config::Boot::AzureLike`]), a paravisor takes its place, as on Azure: it keeps a vTPM
//!    into which firmware measures the disk, and has the measurement of the firmware.
//! 3. The host channel is a second port, with many streams in it, or a connection over a network card ([`channel`]).
//! 4. QEMU runs it with KVM where that works, and emulates the processor where not. It is supervised as a confidential
//!    machine is.

mod accelerator;
mod arguments;
mod channel;
pub mod config;
mod measure;
mod processor;

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    confidential_vm::{CommandLine, supervise::supervise},
    config::Config,
    error::HostError,
    launch::Event,
    metrics::Metrics,
};

pub use measure::measure;

/// QEMU's command line for the machine.
pub fn command_line(config: &config::SimulatedVmConfig) -> CommandLine {
    arguments::command_line(config, accelerator::Accelerator::of_this_machine())
}

/// Launches the machine, and keeps it running until `stop` turns true.
///
/// # Errors
/// As a confidential machine's, and when the files cannot be measured or the security processor not be started.
pub async fn launch(
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    events: watch::Sender<Option<Event>>,
    stop: watch::Receiver<bool>,
) -> Result<(), HostError> {
    let vm = config.simulated_vm()?;
    let line = command_line(vm);
    let _channel = channel::open(vm, &config.channel.directory, stop.clone())?;
    let run = vm.run();
    let endorsements = &config.endorsements.directory;
    let processor = || async { processor::start(vm, endorsements, measure(vm)?).await };
    supervise(Arc::clone(&config), &run, &line, processor, metrics, events, stop).await
}
