//! QEMU's control protocol, as far as a power button needs it (QEMU, `docs/interop/qmp-spec.rst`).

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::timeout,
};

use crate::error::HostError;

const ANSWER_SECONDS_MAX: Duration = Duration::from_secs(5);
/// Bound of one line of QEMU's.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// Events that may come before an answer.
const LINES_MAX: usize = 64;

/// Presses the guest's power button.
///
/// # Errors
/// [`HostError::Channel`] when QEMU does not answer as the protocol says.
pub(super) async fn power_button(socket: &Path) -> Result<(), HostError> {
    timeout(ANSWER_SECONDS_MAX, press(socket))
        .await
        .ok()
        .flatten()
        .ok_or(HostError::Channel)
}

async fn press(socket: &Path) -> Option<()> {
    let mut stream = BufReader::new(UnixStream::connect(socket).await.ok()?);
    answer(&mut stream, "QMP").await?;
    for command in ["qmp_capabilities", "system_powerdown"] {
        let line = format!("{{\"execute\":\"{command}\"}}\n");
        stream.get_mut().write_all(line.as_bytes()).await.ok()?;
        answer(&mut stream, "return").await?;
    }
    Some(())
}

/// Reads lines until one has `key`; an error ends it.
async fn answer(stream: &mut BufReader<UnixStream>, key: &str) -> Option<()> {
    for _ in 0..LINES_MAX {
        let mut line = Vec::new();
        stream
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await
            .ok()?;
        let value: serde_json::Value = serde_json::from_slice(&line).ok()?;
        if value.get(key).is_some() {
            return Some(());
        }
        if value.get("error").is_some() {
            return None;
        }
    }
    None
}
