//! Starts the SIMULATED security processor for one run of the machine; for an Azure-like one its paravisor, which has the
//! processor inside and keeps the vTPM.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    arguments::PROCESSOR_SOCKET,
    config::{Boot, SimulatedVmConfig},
};
use crate::error::HostError;

/// How long it may take to listen.
const START_SECONDS_MAX: Duration = Duration::from_secs(10);

/// The processor, killed when it is dropped. What its manufacturer publishes goes to `endorsements` where the machine
/// does not get it with its evidence.
pub(super) async fn start(
    config: &SimulatedVmConfig,
    endorsements: &Path,
    measurement: [u8; 48],
) -> Result<Child, HostError> {
    let socket = config.run_directory.join(PROCESSOR_SOCKET);
    let _ = std::fs::remove_file(&socket); // left by one that was killed
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut command = Command::new(&config.processor);
    match config.boot() {
        Boot::Direct { .. } => {
            let host_data = config.host_data.clone().unwrap_or_else(|| hex(&[0; 32]));
            command.arg("processor").arg("--host-data").arg(host_data);
        }
        Boot::AzureLike { .. } => {
            command
                .arg("paravisor")
                .arg("--swtpm")
                .arg(&config.swtpm)
                .arg("--state")
                .arg(&config.run_directory)
                .arg("--endorsements")
                .arg(endorsements);
        }
    }
    let mut child = command
        .env_clear()
        .current_dir("/")
        .arg("--platform")
        .arg(&config.platform)
        .arg("--measurement")
        .arg(hex(&measurement))
        .arg("--socket")
        .arg(&socket)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(HostError::io(format!("start {}", config.processor.display())))?;
    let begun = Instant::now();
    while !socket.exists() {
        let ended = child
            .try_wait()
            .map_err(HostError::io("watch the simulated processor".to_owned()))?;
        if let Some(status) = ended {
            return Err(HostError::EnclaveEnded {
                status: format!("simulated security processor: {status}"),
            });
        }
        if begun.elapsed() > START_SECONDS_MAX {
            return Err(HostError::EnclaveSilent {
                seconds: START_SECONDS_MAX.as_secs(),
            });
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(child)
}
