//! Real HCL reports behind a real TPM, with a paravisor between the two where Azure's does more than a TPM.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attestation::{EndorsementKind, PlatformTag, vtpm_qualifying_data};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::Decoder;
use minicbor::data::Type;

use super::{ATTESTATION_KEY, ATTESTATION_KEY_CERTIFICATE, Azure, HCL_REPORT, MetadataService, USER_DATA};
use crate::detect::{self, Places, Source};
use crate::http::fake::{Server, json};
use crate::tpm::swtpm::{Socket, Swtpm};
use crate::tpm::{Channel, Connect, PcrSelection};
use crate::{Attester as _, AttesterError, Collected, pem};

/// libtpms has room for 2048 bytes in an index; Azure's report is 2600 long.
const INDEX_BYTES: usize = 2048;
const REST: u32 = 0x0140_000f;
const ALL: &[u8] = &[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
];
/// In the HCL report, of an SNP report.
const HARDWARE_REPORT_DATA: usize = 32 + 0x50;
const READ_ONLY: &str = "ownerread|ownerwrite";

/// Stands before the TPM as Azure's paravisor does.
#[derive(Clone)]
struct Paravisor {
    socket: Socket,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The whole report; the TPM holds it in two indexes.
    report: Vec<u8>,
    /// How often the report is still read before it is renewed, once user data were written.
    reads_before_renewal: usize,
    /// The offset at which such a read is counted: a report that is renewed while it is read is torn.
    renews_at: usize,
    written: Option<Vec<u8>>,
    /// The user data that the report carries, as hexadecimal text.
    carried: Option<String>,
    /// How many quotes are still preceded by an extension of register 16.
    extensions: usize,
    commands: Vec<u32>,
}

struct Intercepted {
    paravisor: Paravisor,
    /// What is left of the answer.
    answer: Vec<u8>,
}

enum Patch {
    Nothing,
    Size,
    Content(usize),
}

impl Connect for Paravisor {
    fn connect(&self) -> io::Result<Box<dyn Channel>> {
        Ok(Box::new(Intercepted {
            paravisor: self.clone(),
            answer: Vec::new(),
        }))
    }

    fn path(&self) -> &Path {
        Path::new("paravisor")
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl Paravisor {
    /// One command, on a channel of its own: those of several collections meet here.
    fn answer(&self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut state = self.state.lock().expect("no panic");
        let mut channel = self.socket.connect()?;
        let mut command = command.to_vec();
        let code = word(&command, 6);
        state.commands.push(code);
        let mut patch = Patch::Nothing;
        match code {
            // NV_ReadPublic
            0x169 if word(&command, 10) == HCL_REPORT => patch = Patch::Size,
            // NV_Read: authority, index, authorization of 13 bytes, size, offset
            0x14e if word(&command, 14) == HCL_REPORT => {
                let end = command.len();
                let offset = usize::from(u16::from_be_bytes([command[end - 2], command[end - 1]]));
                patch = Patch::Content(offset);
                if offset >= INDEX_BYTES {
                    command[14..18].copy_from_slice(&REST.to_be_bytes());
                    command[end - 2..].copy_from_slice(&((offset - INDEX_BYTES) as u16).to_be_bytes());
                }
                if offset == state.renews_at {
                    state.read();
                }
            }
            // NV_Write: size, data, offset
            0x137 if word(&command, 14) == USER_DATA => {
                state.written = Some(command[command.len() - 66..command.len() - 2].to_vec());
            }
            // Quote
            0x158 if state.extensions > 0 => {
                state.extensions -= 1;
                extend(&mut *channel)?;
            }
            _ => {}
        }
        channel.write_all(&command)?;
        let mut answer = vec![0; 4096];
        let read = channel.read(&mut answer)?;
        answer.truncate(read);
        match patch {
            _ if word(&answer, 6) != 0 => {}
            // Header, size of the public area, index, algorithm, attributes, empty policy: then the size.
            Patch::Size => answer[24..26].copy_from_slice(&(state.report.len() as u16).to_be_bytes()),
            // Header, size of the parameters, size of the chunk: then the chunk.
            Patch::Content(offset) => {
                let bytes = usize::from(u16::from_be_bytes([answer[14], answer[15]]));
                answer[16..16 + bytes].copy_from_slice(&state.report[offset..offset + bytes]);
            }
            Patch::Nothing => {}
        }
        Ok(answer)
    }
}

impl Write for Intercepted {
    fn write(&mut self, command: &[u8]) -> io::Result<usize> {
        self.answer = self.paravisor.answer(command)?;
        Ok(command.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Intercepted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.answer.len().min(buffer.len());
        buffer[..read].copy_from_slice(&self.answer[..read]);
        self.answer.drain(..read);
        Ok(read)
    }
}

impl State {
    /// The report is read; after some reads it carries what was written.
    fn read(&mut self) {
        if self.reads_before_renewal > 0 {
            self.reads_before_renewal -= 1;
            return;
        }
        let Some(written) = self.written.take() else {
            return;
        };
        // The report of the vector carries zeros.
        let before = self.carried.take().unwrap_or("00".repeat(64));
        let found = self
            .report
            .windows(128)
            .position(|window| window == before.as_bytes());
        let at = found.expect("the user data of the report");
        let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
        self.report[at..at + 128].copy_from_slice(hex.as_bytes());
        // The hardware's report is another one too.
        self.report[HARDWARE_REPORT_DATA] = written[0];
        self.carried = Some(hex);
    }
}

/// PCR_Extend of register 16, by somebody else.
fn extend(channel: &mut dyn Channel) -> io::Result<()> {
    let mut command = vec![0x80, 2, 0, 0, 0, 0, 0, 0, 1, 0x82, 0, 0, 0, 16];
    command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command.extend([0, 0, 0, 1, 0, 0x0b]);
    command.extend([3; 32]);
    let size = command.len() as u32;
    command[2..6].copy_from_slice(&size.to_be_bytes());
    channel.write_all(&command)?;
    let mut answer = [0; 4096];
    let read = channel.read(&mut answer)?;
    assert!(read > 10 && word(&answer, 6) == 0, "the extension is refused");
    Ok(())
}

struct Machine {
    swtpm: Swtpm,
    paravisor: Paravisor,
}

impl Machine {
    fn start() -> Option<Self> {
        let swtpm = Swtpm::start()?;
        swtpm.attestation_key(ATTESTATION_KEY);
        let paravisor = Paravisor {
            socket: swtpm.socket(),
            state: Arc::default(),
        };
        Some(Self { swtpm, paravisor })
    }

    fn load(&self, report: &[u8]) {
        let (first, rest) = report.split_at(report.len().min(INDEX_BYTES));
        self.swtpm.define(HCL_REPORT, READ_ONLY, first);
        if !rest.is_empty() {
            self.swtpm.define(REST, READ_ONLY, rest);
        }
        self.change(|state| {
            state.report = report.to_vec();
            state.carried = None;
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.paravisor.state.lock().expect("no panic"));
    }

    fn open(&self, metadata: MetadataService) -> Azure {
        let mut azure = Azure::open_with(Box::new(self.paravisor.clone()), metadata).expect("it opens");
        azure.event_log = PathBuf::from("/nonexistent");
        azure.renewal_max = Duration::from_secs(20);
        azure
    }
}

/// A service at a port where nobody answers.
fn nowhere() -> MetadataService {
    MetadataService::at(([127, 0, 0, 1], 9).into()).impatient()
}

struct Evidence {
    report: Vec<u8>,
    td_quote: Option<Vec<u8>>,
    message: Vec<u8>,
    signature: Vec<u8>,
    values: Vec<u8>,
}

fn decode(collected: &Collected) -> Evidence {
    let mut decoder = Decoder::new(&collected.evidence);
    assert_eq!(decoder.map().expect("a map"), Some(6));
    let mut bytes = |key: u64| {
        assert_eq!(decoder.u64().expect("a key"), key);
        if key == 1 {
            assert_eq!(decoder.u64().expect("a version"), 1);
            return None;
        }
        if decoder.datatype().expect("a type") == Type::Null {
            decoder.null().expect("null");
            return None;
        }
        Some(decoder.bytes().expect("bytes").to_vec())
    };
    assert_eq!(bytes(1), None);
    Evidence {
        report: bytes(2).expect("a report"),
        td_quote: bytes(3),
        message: bytes(4).expect("a message"),
        signature: bytes(5).expect("a signature"),
        values: bytes(6).expect("values"),
    }
}

fn vector(name: &str) -> Option<Vec<u8>> {
    let folder = crate::vectors::folder()?;
    Some(std::fs::read(folder.join("azure").join(name).join("hcl-report.bin")).expect("a report"))
}

#[test]
fn real_reports_travel_with_a_quote_that_others_take() {
    let (Some(vectors), Some(machine)) = (crate::vectors::folder(), Machine::start()) else {
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(vectors.join("azure")).expect("the Azure vectors") {
        let folder = entry.expect("an entry").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let report = std::fs::read(folder.join("hcl-report.bin")).expect("a report");
        machine.load(&report);
        let report_data = [seen as u8; 64];
        let td_quote = std::fs::read(folder.join("quote.bin")).unwrap_or(b"a quote".to_vec());
        let encoded = URL_SAFE_NO_PAD.encode(&td_quote);
        let tdx = name.contains("tdx");
        let answer = if tdx {
            format!(r#"{{"quote":"{encoded}"}}"#)
        } else {
            "{}".to_owned()
        };
        let server = Server::answering(vec![json("200 OK", &answer)]);
        let azure = machine.open(MetadataService::at(server.address));
        let collected = azure.evidence(&report_data).expect("evidence");
        let request = server.requests().remove(0);
        let evidence = decode(&collected);
        assert_eq!(evidence.report, report, "{name}");
        if tdx {
            let expected = format!("{{\"report\":\"{}\"}}", URL_SAFE_NO_PAD.encode(&report[32..1056]));
            assert!(request.ends_with(&expected), "{name}");
        }
        assert_eq!(evidence.td_quote, tdx.then_some(td_quote), "{name}");
        let qualifying_data = vtpm_qualifying_data(&report_data);
        let parts = (
            &evidence.message[..],
            &evidence.signature[..],
            &evidence.values[..],
        );
        assert!(machine.swtpm.takes_quote(parts, ALL, &qualifying_data), "{name}");
        assert!(!machine.swtpm.takes_quote(parts, ALL, &[0; 32]), "{name}");
        assert_eq!(collected.event_log, None);
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn a_paravisor_that_takes_user_data_is_waited_for_and_not_for_ever() {
    let (Some(report), Some(machine)) = (vector("azure-snp-genoa-v3-coco"), Machine::start()) else {
        return;
    };
    machine.load(&report);
    machine
        .swtpm
        .tool(&format!("tpm2_nvdefine -C o -s 64 -a {READ_ONLY} {USER_DATA:#x}"));
    machine.change(|state| state.reads_before_renewal = 4);
    let mut azure = machine.open(nowhere());
    let collected = azure.evidence(&[0xab; 64]).expect("evidence");
    let renewed = decode(&collected).report;
    assert!(
        renewed
            .windows(128)
            .any(|window| window == "ab".repeat(64).as_bytes())
    );
    assert_eq!(machine.swtpm.tool("tpm2_nvread -C o 0x1400002"), [0xab; 64]);

    // Renewed after its head was read, it is read again.
    machine.load(&report);
    machine.change(|state| state.renews_at = 1024);
    let whole = decode(&azure.evidence(&[0xef; 64]).expect("evidence")).report;
    machine.change(|state| assert!(whole == state.report, "torn"));

    machine.load(&report);
    machine.change(|state| state.reads_before_renewal = usize::MAX);
    azure.renewal_max = Duration::from_millis(150);
    let error = azure.evidence(&[0xcd; 64]).expect_err("never renewed");
    assert_eq!(error.code(), "attester-stale-report");

    // A place of another size is not the one for user data.
    machine.swtpm.define(USER_DATA, READ_ONLY, &[1; 32]);
    machine.change(|state| state.commands.clear());
    azure.evidence(&[0xcd; 64]).expect("evidence");
    machine.change(|state| assert!(!state.commands.contains(&0x137), "nothing was written"));
}

#[test]
fn registers_that_change_are_read_again_and_not_for_ever() {
    let (Some(report), Some(machine)) = (vector("azure-snp-milan-v2-kinvolk"), Machine::start()) else {
        return;
    };
    machine.load(&report);
    let azure = machine.open(nowhere());
    machine.change(|state| state.extensions = 2);
    let evidence = decode(&azure.evidence(&[1; 64]).expect("evidence"));
    let parts = (
        &evidence.message[..],
        &evidence.signature[..],
        &evidence.values[..],
    );
    let qualifying_data = vtpm_qualifying_data(&[1; 64]);
    assert!(machine.swtpm.takes_quote(parts, ALL, &qualifying_data));
    machine.change(|state| state.extensions = usize::MAX);
    let error = azure.evidence(&[1; 64]).expect_err("always changing");
    assert_eq!(error.code(), "attester-registers-changing");

    // Other registers than the one that changes are not concerned.
    let azure = azure.with_selection(PcrSelection::of(&[0, 7]).expect("a selection"));
    let evidence = decode(&azure.evidence(&[1; 64]).expect("evidence"));
    assert_eq!(evidence.values.len(), 64);
    let parts = (
        &evidence.message[..],
        &evidence.signature[..],
        &evidence.values[..],
    );
    assert!(machine.swtpm.takes_quote(parts, &[0, 7], &qualifying_data));
}

#[test]
fn the_keys_certificate_comes_without_its_padding() {
    let (Some(report), Some(machine)) = (vector("azure-snp-milan-v2-kinvolk"), Machine::start()) else {
        return;
    };
    let folder = crate::vectors::folder().expect("it was there");
    let certificate = std::fs::read(folder.join("azure/azure-tdx-flashbots-ak-chain/ak-cert-0.der"));
    let certificate = certificate.expect("a certificate");
    machine.load(&report);
    let mut padded = certificate.clone();
    padded.resize(INDEX_BYTES, 0);
    machine
        .swtpm
        .define(ATTESTATION_KEY_CERTIFICATE, READ_ONLY, &padded);
    let azure = machine.open(nowhere());
    let collected = azure.evidence(&[1; 64]).expect("evidence");
    let found = collected.endorsements.document(EndorsementKind::VtpmAkChain);
    assert_eq!(found, Some(&pem::encode(&certificate)[..]));

    padded[INDEX_BYTES - 1] = 1;
    machine
        .swtpm
        .define(ATTESTATION_KEY_CERTIFICATE, READ_ONLY, &padded);
    assert_eq!(
        azure.evidence(&[1; 64]).expect_err("no padding").code(),
        "attester-tpm-malformed"
    );
}

#[test]
fn what_is_missing_is_named() {
    let (Some(report), Some(machine)) = (vector("azure-tdx-coco"), Machine::start()) else {
        return;
    };
    let open = || Azure::open_with(Box::new(machine.paravisor.clone()), nowhere());
    assert!(!Azure::is_here(&machine.paravisor).expect("an answer"));
    assert!(matches!(open().err(), Some(AttesterError::TpmMissing(what)) if what.contains("0x01400001")));
    machine.load(&report);
    assert!(Azure::is_here(&machine.paravisor).expect("an answer"));
    let azure = machine.open(nowhere());
    // On TDX there is no evidence without the service.
    assert_eq!(
        azure.evidence(&[1; 64]).expect_err("no service").code(),
        "attester-metadata"
    );
    machine
        .swtpm
        .tool(&format!("tpm2_evictcontrol -Q -C o -c {ATTESTATION_KEY:#x}"));
    let error = azure.evidence(&[1; 64]).expect_err("no key");
    assert!(matches!(error, AttesterError::TpmMissing(what) if what.contains("0x81000003")));
}

#[test]
fn collections_at_the_same_time_do_not_take_each_others_place() {
    let (Some(report), Some(machine)) = (vector("azure-snp-genoa-v3-coco"), Machine::start()) else {
        return;
    };
    machine.load(&report);
    machine
        .swtpm
        .tool(&format!("tpm2_nvdefine -C o -s 64 -a {READ_ONLY} {USER_DATA:#x}"));
    machine.change(|state| state.reads_before_renewal = 2);
    let azure = machine.open(nowhere());
    std::thread::scope(|scope| {
        for byte in 1..=3_u8 {
            let azure = &azure;
            scope.spawn(move || {
                let collected = azure.evidence(&[byte; 64]).expect("evidence");
                let hex = format!("{byte:02x}").repeat(64);
                let report = decode(&collected).report;
                assert!(report.windows(128).any(|window| window == hex.as_bytes()));
            });
        }
    });
}

#[test]
fn hardware_that_changes_is_refused() {
    let (Some(tdx), Some(machine)) = (vector("azure-tdx-coco"), Machine::start()) else {
        return;
    };
    let snp = vector("azure-snp-milan-v2-kinvolk").expect("it was there");
    machine.load(&snp);
    let azure = machine.open(nowhere());
    assert_eq!(azure.platform(), PlatformTag::AzureAmdSevSnp);
    machine.load(&tdx);
    assert_eq!(machine.open(nowhere()).platform(), PlatformTag::AzureIntelTdx);
    assert_eq!(
        azure.evidence(&[1; 64]).expect_err("it changed").code(),
        "attester-tpm-malformed"
    );
}

#[test]
fn the_vtpm_is_what_azure_is_detected_by() {
    let (Some(report), Some(machine)) = (vector("azure-tdx-coco"), Machine::start()) else {
        return;
    };
    let detect = || detect::detect_in(Places::only(Box::new(machine.paravisor.clone())));
    assert_eq!(
        detect().err().expect("a TPM alone").code(),
        "attester-nothing-found"
    );
    machine.load(&report);
    let detected = detect().expect("Azure");
    assert_eq!(detected.source, Source::Azure);
    assert_eq!(detected.attester.platform(), PlatformTag::AzureIntelTdx);
    let here: Vec<Source> = detected
        .findings
        .iter()
        .filter(|one| one.is_here())
        .map(|one| one.source())
        .collect();
    assert_eq!(here, [Source::Azure]);
}

#[test]
fn the_chips_certificates_are_kept_and_optional() {
    let (Some(report), Some(machine)) = (vector("azure-snp-milan-v2-kinvolk"), Machine::start()) else {
        return;
    };
    machine.load(&report);
    let text = String::from_utf8(pem::encode(b"a certificate")).expect("text");
    let body = serde_json::json!({"vcekCert": text, "certificateChain": text}).to_string();
    let server = Server::answering(vec![json("200 OK", &body)]);
    let azure = machine.open(MetadataService::at(server.address));
    for _ in 0..2 {
        let collected = azure.evidence(&[1; 64]).expect("evidence");
        assert!(
            collected
                .endorsements
                .document(EndorsementKind::SnpLeaf)
                .is_some()
        );
    }
    assert_eq!(server.requests().len(), 1);
    let collected = machine.open(nowhere()).evidence(&[1; 64]).expect("evidence");
    assert!(collected.endorsements.is_empty());
}
