//! A software TPM for tests: libtpms behind swtpm, provisioned and second-guessed with tpm2-tools.
//!
//! Neither shares code with this crate. Debian has both: packages `swtpm` and `tpm2-tools`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Channel, Connect};

/// A TPM that is running.
pub(crate) struct Swtpm {
    process: Child,
    folder: TempDir,
    port: u16,
}

/// How to reach it.
#[derive(Clone)]
pub(crate) struct Socket(SocketAddr);

impl Connect for Socket {
    fn connect(&self) -> io::Result<Box<dyn Channel>> {
        let stream = TcpStream::connect(self.0)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Box::new(stream))
    }

    fn path(&self) -> &Path {
        Path::new("swtpm")
    }
}

impl Swtpm {
    /// A fresh TPM; `None` (said plainly) if this machine has no swtpm or no tpm2-tools. In CI it must.
    pub(crate) fn start() -> Option<Self> {
        for tool in ["swtpm", "tpm2_checkquote"] {
            if Command::new(tool).arg("--version").output().is_err() {
                crate::vectors::not_run(&format!("no {tool} here (Debian packages swtpm and tpm2-tools)"));
                return None;
            }
        }
        // tpm2-tools expect the control channel at the next port, so both must be free. Somebody may
        // take them before swtpm does; then it ends at once, and the next pair is tried.
        for _ in 0..20 {
            if let Some(tpm) = Self::start_at(free_pair()) {
                return Some(tpm);
            }
        }
        panic!("swtpm does not start");
    }

    fn start_at(port: u16) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", folder.path().display()))
            .args(["--server", &format!("type=tcp,bindaddr=127.0.0.1,port={port}")])
            .args([
                "--ctrl",
                &format!("type=tcp,bindaddr=127.0.0.1,port={}", port + 1),
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm starts");
        let mut tpm = Self {
            process,
            folder,
            port,
        };
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if tpm.process.try_wait().expect("a process").is_some() {
                return None;
            }
            // Connecting to the control channel, not to the TPM's, which serves one client at a time.
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
                return Some(tpm);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub(crate) fn socket(&self) -> Socket {
        Socket((Ipv4Addr::LOCALHOST, self.port).into())
    }

    /// Runs one of tpm2-tools against this TPM, in its folder.
    pub(crate) fn tool(&self, line: &str) -> Vec<u8> {
        let output = self.try_tool(line);
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// The same, where it may fail.
    pub(crate) fn try_tool(&self, line: &str) -> std::process::Output {
        let mut words = line.split_ascii_whitespace();
        Command::new(words.next().expect("a tool"))
            .args(words)
            .env(
                "TPM2TOOLS_TCTI",
                format!("swtpm:host=127.0.0.1,port={}", self.port),
            )
            .current_dir(self.folder.path())
            .output()
            .expect("the tool runs")
    }

    /// A file in the folder of the tools.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// Defines an index with these attributes and content, in place of one that is there.
    pub(crate) fn define(&self, index: u32, attributes: &str, content: &[u8]) {
        self.try_tool(&format!("tpm2_nvundefine -C o {index:#x}"));
        self.tool(&format!(
            "tpm2_nvdefine -C o -s {} -a {attributes} {index:#x}",
            content.len()
        ));
        self.file("content", content);
        self.tool(&format!("tpm2_nvwrite -C o -i content {index:#x}"));
    }

    /// A restricted RSA signing key for quotes, at a persistent handle.
    pub(crate) fn attestation_key(&self, handle: u32) {
        self.tool(
            "tpm2_createprimary -Q -C e -G rsa2048:rsassa-sha256:null -c ak.ctx \
             -a fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign",
        );
        self.tool(&format!("tpm2_evictcontrol -Q -C o -c ak.ctx {handle:#x}"));
        self.tool("tpm2_flushcontext -t");
        self.tool(&format!("tpm2_readpublic -Q -c {handle:#x} -o ak.pub"));
    }

    /// Whether tpm2_checkquote takes a quote of the key in `ak.pub`.
    pub(crate) fn takes_quote(
        &self,
        (message, signature, values): (&[u8], &[u8], &[u8]),
        registers: &[u8],
        qualifying_data: &[u8],
    ) -> bool {
        // TPMT_SIGNATURE: RSASSA, SHA-256.
        let mut structure = vec![0, 0x14, 0, 0x0b];
        structure.extend((signature.len() as u16).to_be_bytes());
        structure.extend(signature);
        self.file("quote.msg", message);
        self.file("quote.sig", &structure);
        self.file("quote.pcrs", &registers_as_tools_keep_them(registers, values));
        let data: String = qualifying_data.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!(
            "tpm2_checkquote -Q -u ak.pub -g sha256 -m quote.msg -s quote.sig -f quote.pcrs -q {data}"
        );
        self.try_tool(&line).status.success()
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        // It holds no state that anybody wants; its folder goes next.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Register values as tpm2_quote writes them: its TPML_PCR_SELECTION in memory, with room for 16 banks,
/// then a count of TPML_DIGEST, each with room for eight digests of 64 bytes. (Values alone would do too,
/// but not more than eight of them.)
fn registers_as_tools_keep_them(registers: &[u8], values: &[u8]) -> Vec<u8> {
    let mut bitmap = [0; 4];
    for register in registers {
        bitmap[usize::from(register / 8)] |= 1_u8 << (register % 8);
    }
    let mut bytes = 1_u32.to_ne_bytes().to_vec();
    bytes.extend(0x0b_u16.to_ne_bytes());
    bytes.push(3);
    bytes.extend(bitmap);
    bytes.resize(4 + 16 * 8, 0);
    let lists: Vec<&[u8]> = values.chunks(8 * 32).collect();
    bytes.extend((lists.len() as u32).to_ne_bytes());
    for list in lists {
        let end = bytes.len() + 4 + 8 * 66;
        bytes.extend((list.len() as u32 / 32).to_ne_bytes());
        for value in list.chunks(32) {
            bytes.extend(32_u16.to_ne_bytes());
            bytes.extend(value);
            bytes.extend([0; 32]);
        }
        bytes.resize(end, 0);
    }
    bytes
}

/// A port that is free, as is the one after it.
fn free_pair() -> u16 {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = first.local_addr().expect("an address").port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return port;
        }
    }
}

mod tests {
    use super::super::{PcrSelection, Tpm};
    use super::Swtpm;

    const INDEX: u32 = 0x0180_0001;

    #[test]
    fn indexes_are_read_by_whoever_may_and_written_whole() {
        let Some(swtpm) = Swtpm::start() else {
            return;
        };
        let socket = swtpm.socket();
        let content: Vec<u8> = (0..1300_u32).map(|byte| byte as u8).collect();
        for attributes in ["ownerread|ownerwrite", "authread|ownerwrite"] {
            swtpm.define(INDEX, attributes, &content);
            let mut tpm = Tpm::connect(&socket).expect("a TPM");
            assert_eq!(
                tpm.nv_read(INDEX, 2048).expect("content").as_ref(),
                Some(&content)
            );
            assert_eq!(
                tpm.nv_read(INDEX, 1299).expect_err("the bound").code(),
                "attester-tpm-malformed"
            );
        }
        swtpm.tool("tpm2_nvundefine -C o 0x1800001");
        let mut tpm = Tpm::connect(&socket).expect("a TPM");
        assert!(tpm.nv_index(INDEX).expect("an answer").is_none());
        assert_eq!(tpm.nv_read(INDEX, 64).expect("an answer"), None);
        drop(tpm);

        swtpm.tool("tpm2_nvdefine -C o -s 64 -a ownerread|ownerwrite 0x1800001");
        let mut tpm = Tpm::connect(&socket).expect("a TPM");
        assert_eq!(tpm.nv_read(INDEX, 64).expect("an answer"), None, "never written");
        let index = tpm.nv_index(INDEX).expect("an answer").expect("an index");
        assert!(tpm.nv_write(index, &[1; 63]).is_err(), "another size");
        tpm.nv_write(index, &[7; 64]).expect("it is written");
        assert_eq!(tpm.nv_read(INDEX, 64).expect("content"), Some(vec![7; 64]));
        drop(tpm);
        assert_eq!(swtpm.tool("tpm2_nvread -C o 0x1800001"), [7; 64]);
    }

    #[test]
    fn a_quote_is_one_that_others_take() {
        let Some(swtpm) = Swtpm::start() else {
            return;
        };
        swtpm.attestation_key(0x8100_0003);
        swtpm.tool(&format!(
            "tpm2_pcrextend 4:sha256={} 23:sha256={}",
            "11".repeat(32),
            "22".repeat(32)
        ));
        let socket = swtpm.socket();
        for selection in [
            PcrSelection::ALL,
            PcrSelection::of(&[4, 11, 23]).expect("a selection"),
        ] {
            let registers: Vec<u8> = selection.numbers().collect();
            let mut tpm = Tpm::connect(&socket).expect("a TPM");
            assert!(tpm.public(0x8100_0003).expect("an answer").is_some());
            assert!(tpm.public(0x8100_0004).expect("an answer").is_none());
            let quoted = tpm.quote(0x8100_0003, &[9; 32], selection).expect("a quote");
            drop(tpm);
            assert_eq!(quoted.values.len(), 32 * registers.len());
            let parts = (&quoted.message[..], &quoted.signature[..], &quoted.values[..]);
            assert!(swtpm.takes_quote(parts, &registers, &[9; 32]));
            assert!(!swtpm.takes_quote(parts, &registers, &[8; 32]), "other data");
            let mut values = quoted.values.clone();
            values[5] ^= 1;
            let parts = (&quoted.message[..], &quoted.signature[..], &values[..]);
            assert!(!swtpm.takes_quote(parts, &registers, &[9; 32]), "other values");
        }
    }
}
