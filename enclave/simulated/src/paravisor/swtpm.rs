//! swtpm (libtpms) in a process of its own, reached over two sockets: one for commands, one for what hardware has pins
//! for. The control protocol is swtpm's (`include/swtpm/tpm_ioctl.h`): a command and its request, big-endian, then an
//! answer that begins with a result.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// CMD_INIT, without flags: power on.
const INIT: [u8; 8] = [0, 0, 0, 2, 0, 0, 0, 0];
/// How long it may take to listen, and to answer.
const SECONDS_MAX: Duration = Duration::from_secs(10);
/// What it keeps its state in.
const STATE: &str = "tpm2-00.permall";

/// A TPM that is powered on.
pub(super) struct Swtpm {
    process: Child,
    /// Control.
    pub(super) control: UnixStream,
    /// Commands.
    pub(super) data: UnixStream,
}

impl Swtpm {
    /// Starts one without a past in `folder`.
    pub(super) fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        let [control, data] = ["vtpm.control", "vtpm.data"].map(|name| folder.join(name));
        for left in [&control, &data, &folder.join(STATE)] {
            let _ = fs::remove_file(left); // of an earlier run: a vTPM's state is not kept
        }
        let socket = |path: &Path| format!("type=unixio,path={}", path.display());
        let mut process = Command::new(program)
            .env_clear()
            .args(["socket", "--tpm2", "--terminate"])
            .args(["--tpmstate", &format!("dir={}", folder.display())])
            .args(["--ctrl", &socket(&control), "--server", &socket(&data)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start {} (Debian package swtpm)", program.display()))?;
        let connected = connect(&control, &mut process).and_then(|control| {
            let data = connect(&data, &mut process)?;
            Ok((control, data))
        });
        let (control, data) = connected.inspect_err(|_| {
            let _ = process.kill(); // it may have ended
            let _ = process.wait();
        })?;
        let mut tpm = Self {
            process,
            control,
            data,
        };
        tpm.power_on()?;
        Ok(tpm)
    }

    fn power_on(&mut self) -> anyhow::Result<()> {
        self.control.set_read_timeout(Some(SECONDS_MAX))?;
        self.control.write_all(&INIT)?;
        let mut result = [0; 4];
        self.control.read_exact(&mut result)?;
        self.control.set_read_timeout(None)?;
        if result != [0; 4] {
            bail!("the software TPM does not start: {}", u32::from_be_bytes(result));
        }
        Ok(())
    }
}

fn connect(path: &Path, process: &mut Child) -> anyhow::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(_) if begun.elapsed() < SECONDS_MAX && process.try_wait()?.is_none() => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        }
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it ends with its connections, too
        let _ = self.process.wait();
    }
}
