//! The collector of the release binary, unchanged, behind the paravisor and a real software TPM; the Verifier reads what it
//! collects. QEMU's part is played here: control channel, a descriptor that is handed over, power on, startup.

#![allow(clippy::print_stderr, reason = "tests say what they did not run")]

use std::{
    io::{self, IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use attestation::{
    AppraisalPolicy, Assurance, AzureEvidence, Bundle, EndorsementKind, Endorsements, Nonce, PlatformTag,
    Role, Statement, StatementFields, UnixTime, Verifier, endorsement_subject,
};
use attester::{
    Attester as _,
    azure::{Azure, MetadataService},
    tpm::{Channel, Connect},
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sha2::{Digest as _, Sha256};
use simulated::{Platform, azure::VtpmAuthority};

use super::{Arguments, provision::message, serve};

const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);
const NONCE: Nonce = Nonce::from_bytes([7; 32]);
const FIRMWARE: [u8; 48] = [9; 48];
const SWTPM: &str = "/usr/bin/swtpm";

/// A folder with a platform and its authority; their keys take seconds to make.
fn platform() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let platform = Platform::manufacture(NOW, 3600).expect("a platform");
        platform.save(folder.path()).expect("it is saved");
        let authority = VtpmAuthority::manufacture(NOW).expect("an authority");
        authority.save(folder.path()).expect("it is saved");
        folder
    });
    folder.path()
}

/// The guest's channel of commands.
struct Guest(UnixStream);

impl Connect for Guest {
    fn connect(&self) -> io::Result<Box<dyn Channel>> {
        Ok(Box::new(self.0.try_clone()?))
    }

    fn path(&self) -> &Path {
        Path::new("the guest's TPM")
    }
}

/// A machine that is powered on.
struct Machine {
    folder: tempfile::TempDir,
    control: UnixStream,
    data: UnixStream,
}

impl Machine {
    /// `None`, said plainly, where there is no swtpm; in CI there must be one.
    fn start() -> Option<Self> {
        if !Path::new(SWTPM).exists() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no swtpm");
            eprintln!("NOT RUN: no {SWTPM} (Debian package swtpm)");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("processor.sock");
        let (state, endorsements) = (folder.path().join("run"), folder.path().join("endorsements"));
        thread::spawn({
            let socket = socket.clone();
            move || {
                let arguments = Arguments {
                    platform: platform(),
                    measurement: FIRMWARE,
                    swtpm: Path::new(SWTPM),
                    state: &state,
                    endorsements: Some(&endorsements),
                };
                serve(&arguments, &socket, NOW).expect("it serves");
            }
        });
        let control = connect(&socket);
        let (data, handed_over) = UnixStream::pair().expect("a pair");
        let mut machine = Self {
            folder,
            control,
            data,
        };
        assert_eq!(machine.hand_over(&[0, 0, 0, 16], &handed_over), [0; 4]);
        // CMD_INIT; Startup, TPM_SU_CLEAR.
        assert_eq!(machine.ask(&[0, 0, 0, 2, 0, 0, 0, 0]), [0; 4]);
        machine.run(&[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0]);
        Some(machine)
    }

    /// A request with a descriptor, and its result.
    fn hand_over(&mut self, request: &[u8], descriptor: &UnixStream) -> [u8; 4] {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(
            &self.control,
            &[IoSlice::new(request)],
            &mut ancillary,
            SendFlags::empty(),
        )
        .expect("it is sent");
        self.result()
    }

    fn ask(&mut self, request: &[u8]) -> [u8; 4] {
        self.control.write_all(request).expect("it is sent");
        self.result()
    }

    fn result(&mut self) -> [u8; 4] {
        let mut result = [0; 4];
        self.control.read_exact(&mut result).expect("a result");
        result
    }

    /// One command, and the code of its answer.
    fn run(&mut self, command: &[u8]) -> u32 {
        self.data.write_all(command).expect("it is sent");
        let answer = message(&mut self.data).expect("an answer");
        u32::from_be_bytes(answer[6..10].try_into().expect("four bytes"))
    }

    /// PCR_Extend of the SHA-256 bank.
    fn extend(&mut self, pcr: u8, digest: &[u8; 32]) {
        let mut command = vec![0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82, 0, 0, 0, pcr];
        command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        command.extend([0, 0, 0, 1, 0, 0x0b]);
        command.extend(digest);
        assert_eq!(self.run(&command), 0);
    }

    fn azure(&self) -> Azure {
        let tpm = Guest(self.data.try_clone().expect("a descriptor"));
        // Nobody answers there: what the service has comes from the host's folder.
        let metadata = MetadataService::at(([127, 0, 0, 1], 9).into());
        Azure::open_with(Box::new(tpm), metadata).expect("an HCL report")
    }

    /// What the enclave would hand out for [`NONCE`].
    fn bundle(&self) -> Bundle {
        let azure = self.azure();
        assert_eq!(azure.platform(), PlatformTag::AzureAmdSevSnp);
        let collected = azure
            .evidence(&statement().report_data(&NONCE))
            .expect("evidence");
        let platform = PlatformTag::SimulatedAzureAmdSevSnp;
        let mut endorsements = collected.endorsements;
        endorsements.fill_from(&self.published(&collected.evidence));
        Bundle {
            platform,
            evidence: collected.evidence,
            statement: statement().statement_bytes().to_vec(),
            // Of this computer's own TPM, if anything.
            event_log: None,
            endorsements,
            devices: Vec::new(),
        }
    }

    /// What the host has under the name by which the enclave asks.
    fn published(&self, evidence: &[u8]) -> Endorsements {
        let tag = PlatformTag::SimulatedAzureAmdSevSnp;
        let subject = endorsement_subject(tag, evidence).expect("a subject");
        let name = format!("{}.endorsements", hex::encode(Sha256::digest(subject)));
        let path: PathBuf = self
            .folder
            .path()
            .join("endorsements")
            .join(tag.as_str())
            .join(name);
        Endorsements::decode(&std::fs::read(path).expect("it is there")).expect("endorsements")
    }
}

fn connect(socket: &Path) -> UnixStream {
    let begun = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn statement() -> Statement {
    let fields = StatementFields {
        role: Role::Broker,
        key_configs: vec![1],
        receipt_key: [1; 32],
        tls_spki_sha256: [2; 32],
        wrap_key: vec![3],
        boot_id: [4; 16],
        model_digests: Vec::new(),
        config_digest: [5; 32],
        policy_digest: [0; 32],
        key_lifetime_seconds: 60,
        software_version: "test".into(),
        device_digests: Vec::new(),
    };
    fields.encode().expect("a statement")
}

/// A policy for a guest that was measured as `pcr4` says, and otherwise not at all.
fn policy(pcr4: &[u8; 32]) -> String {
    let load = |folder| {
        (
            Platform::load(folder).expect("saved"),
            VtpmAuthority::load(folder).expect("saved"),
        )
    };
    let (platform, authority) = load(platform());
    let mut text = format!(
        "version = 1\nrole = \"broker\"\nevidence_age_seconds_max = 60\ncollateral_age_seconds_max = 60\n\
         config_digests = [\"{}\"]\n{}\n[danger.simulated.azure.pcrs]\n",
        "05".repeat(32),
        platform.azure_policy_fragment(&authority, &FIRMWARE)
    );
    for pcr in 0..24 {
        let value = match pcr {
            4 => hex::encode(pcr4),
            17..=22 => "ff".repeat(32),
            _ => "00".repeat(32),
        };
        text.push_str(&format!("{pcr} = [\"{value}\"]\n"));
    }
    text
}

/// The clause that refuses, if one does.
fn refusal(policy: &str, bundle: &Bundle) -> Option<&'static str> {
    let verifier = Verifier::new(AppraisalPolicy::from_toml(policy).expect("it reads"));
    match verifier.appraise(bundle, &NONCE, NOW) {
        Ok(verified) => {
            assert_eq!(verified.assurance(), Assurance::Simulated);
            assert_eq!(verified.claims().platform(), PlatformTag::SimulatedAzureAmdSevSnp);
            assert_eq!(verified.claims().launch_measurement(), &FIRMWARE);
            None
        }
        Err(error) => Some(error.clause().id),
    }
}

#[test]
fn the_release_collector_is_accepted_behind_the_simulated_paravisor() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    let measured = Sha256::digest(b"an image").into();
    machine.extend(4, &measured);
    let pcr4: [u8; 32] = Sha256::digest([[0; 32], measured].concat()).into();
    let (bundle, accepted) = (machine.bundle(), policy(&pcr4));
    assert_eq!(refusal(&accepted, &bundle), None);
    assert!(
        bundle
            .endorsements
            .document(EndorsementKind::VtpmAkChain)
            .is_some()
    );

    // The report is renewed for each collection, and the quote is for one alone.
    let again = machine.bundle();
    assert_eq!(refusal(&accepted, &again), None);
    let other = Nonce::from_bytes([8; 32]);
    let verifier = Verifier::new(AppraisalPolicy::from_toml(&accepted).expect("it reads"));
    let error = verifier.appraise(&again, &other, NOW).expect_err("another nonce");
    assert!(
        ["azure-user-data", "vtpm-extra-data"].contains(&error.clause().id),
        "{error}"
    );

    // What is measured once more is another guest.
    machine.extend(4, &measured);
    assert_eq!(refusal(&accepted, &machine.bundle()), Some("vtpm-pcr-values"));
    assert_eq!(refusal(&policy(&[0; 32]), &bundle), Some("vtpm-pcr-values"));

    // What a host could do to the evidence on its way.
    let changed = |change: &dyn Fn(&mut AzureEvidence)| {
        let mut evidence = AzureEvidence::decode(&bundle.evidence).expect("evidence");
        change(&mut evidence);
        Bundle {
            evidence: evidence.encode().expect("it fits"),
            ..bundle.clone()
        }
    };
    let find = |report: &[u8], text: &[u8]| {
        let found = report.windows(text.len()).position(|part| part == text);
        found.expect("it is there")
    };
    let secure = changed(&|evidence| {
        let at = find(&evidence.hcl_report, b"\"secure-boot\":false");
        evidence.hcl_report[at..at + 19].copy_from_slice(b"\"secure-boot\":true ");
    });
    assert_eq!(refusal(&accepted, &secure), Some("azure-runtime-data-hash"));
    let report = changed(&|evidence| evidence.hcl_report[32 + 0x90] ^= 1);
    assert_eq!(refusal(&accepted, &report), Some("snp-report-signature"));
    let quote = changed(&|evidence| evidence.pcr_values[4 * 32] ^= 1);
    assert_eq!(refusal(&accepted, &quote), Some("vtpm-pcr-digest"));

    // A vTPM of another authority, and one that nobody certified.
    let mut other = bundle.clone();
    let authority = VtpmAuthority::manufacture(NOW).expect("an authority");
    let certificate = authority.certify(&[0xc5; 256], NOW).expect("a certificate");
    other
        .endorsements
        .insert(EndorsementKind::VtpmAkChain, certificate);
    assert_eq!(refusal(&accepted, &other), Some("azure-ak-certificates"));
    other.endorsements.remove(EndorsementKind::VtpmAkChain);
    assert_eq!(refusal(&accepted, &other), Some("azure-ak-certificates"));
    // Simulated evidence is none of a real machine's.
    other.platform = PlatformTag::AzureAmdSevSnp;
    assert_eq!(refusal(&accepted, &other), Some("platform-accepted"));
}

#[test]
fn commands_on_the_indexes_have_one_shape_and_the_rest_is_the_tpms() {
    let Some(mut machine) = Machine::start() else {
        return;
    };
    let nv = |code: u32, authority: u32, index: u32, parameters: &[u8]| {
        let mut command = vec![0x80, 2, 0, 0, 0, 0];
        command.extend(code.to_be_bytes());
        command.extend(authority.to_be_bytes());
        command.extend(index.to_be_bytes());
        command.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        command.extend(parameters);
        let size = command.len() as u32;
        command[2..6].copy_from_slice(&size.to_be_bytes());
        command
    };
    const OWNER: u32 = 0x4000_0001;
    const READ: u32 = 0x14e;
    const WRITE: u32 = 0x137;
    let (report, user_data, certificate) = (0x0140_0001, 0x0140_0002, 0x01c1_01d0);
    for (command, code) in [
        (nv(READ, OWNER, report, &[4, 0, 0, 0]), 0),
        (nv(READ, report, report, &[0, 40, 10, 0]), 0),
        (nv(READ, OWNER, report, &[0, 41, 10, 0]), 0x146),
        (nv(READ, OWNER, report, &[0xff, 0xff, 0, 0]), 0x095),
        (nv(READ, OWNER, report, &[0, 1, 0xff, 0xff]), 0x146),
        (nv(READ, OWNER, report, &[0, 1]), 0x095),
        (nv(READ, OWNER, report, &[0, 1, 0, 0, 0]), 0x095),
        (nv(READ, 0x4000_000c, report, &[0, 1, 0, 0]), 0x149),
        (nv(READ, OWNER, certificate, &[0, 1, 0x0f, 0xff]), 0),
        (nv(WRITE, OWNER, user_data, &[0, 2, 7, 7, 0, 62]), 0),
        (nv(WRITE, OWNER, user_data, &[0, 2, 7, 7, 0, 63]), 0x146),
        (nv(WRITE, OWNER, user_data, &[0, 3, 7, 7, 0, 0]), 0x095),
        (nv(WRITE, OWNER, user_data, &[0xff, 0xff]), 0x095),
        (nv(WRITE, OWNER, report, &[0, 1, 7, 0, 0]), 0x149),
        (nv(WRITE, report, certificate, &[0, 1, 7, 0, 0]), 0x149),
    ] {
        assert_eq!(machine.run(&command), code, "{}", hex::encode(&command));
    }
    // A password that is not empty, a session, no session.
    let mut password = nv(READ, OWNER, report, &[0, 1, 0, 0]);
    password[29..31].copy_from_slice(&[0, 1]);
    assert_eq!(machine.run(&password), 0x149);
    let mut session = nv(READ, OWNER, report, &[0, 1, 0, 0]);
    session[22] = 2;
    assert_eq!(machine.run(&session), 0x149);
    // An index of somebody else's is the TPM's to deny (TPM_RC_HANDLE of handle 2).
    assert_eq!(
        machine.run(&nv(READ, OWNER, 0x0180_0001, &[0, 1, 0, 0])) & 0xff,
        0x8b
    );
    // The attestation key is where Azure has it (ReadPublic), and a second channel is refused.
    assert_eq!(
        machine.run(&[0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x73, 0x81, 0, 0, 3]),
        0
    );
    let (_, another) = UnixStream::pair().expect("a pair");
    assert_ne!(machine.hand_over(&[0, 0, 0, 16], &another), [0; 4]);
    assert_eq!(machine.run(&nv(READ, OWNER, report, &[0, 1, 0, 0])), 0);
    // A message of no size ends the channel.
    machine
        .data
        .write_all(&[0x80, 1, 0, 0, 0, 0, 0, 0, 1, 0x73])
        .expect("sent");
    assert_eq!(machine.data.read(&mut [0; 16]).expect("the end"), 0);
}
