//! What each fuzz target does with its bytes. `attestation/tests/corpus.rs` includes this file and replays the
//! committed corpus through the same functions, without libFuzzer.
//!
//! Every function takes any bytes, must return, and asserts what must hold of whatever was read: what decodes encodes
//! to the same bytes, and nothing that no key of ours signed is accepted.

use std::sync::OnceLock;

use attestation::{
    AppraisalPolicy, AzureEvidence, Bundle, DeviceKind, EndorsementKind, Endorsements, EventLog,
    GceVtpmEvidence, GceVtpmPolicy, GceVtpmQuestion, Nonce, NvidiaDevice, PlatformTag, RawEvidence,
    Statement, UnixTime, Verdict, Verifier, certificates_in_pem, endorsement_subject, explain_event_log,
    explain_gce_ak_certificates, explain_gce_vtpm, explain_gce_vtpm_quote, explain_reference_manifest,
    explain_revocation_list, inspect, published_names, recognise, rsassa_signature,
};

/// One target.
pub type Entry = fn(&[u8]);

/// Every target by name.
pub const TARGETS: &[(&str, Entry)] = &[
    ("azure_evidence", azure_evidence),
    ("bundle", bundle),
    ("der", der),
    ("endorsements", endorsements),
    ("event_log", event_log),
    ("hcl_report", hcl_report),
    ("launch_endorsement", launch_endorsement),
    ("nvidia_device", nvidia_device),
    ("nvidia_ocsp", nvidia_ocsp),
    ("pem", pem),
    ("policy", policy),
    ("reference_manifest", reference_manifest),
    ("runtime_data", runtime_data),
    ("snp_certificates", snp_certificates),
    ("snp_report", snp_report),
    ("statement", statement),
    ("tdx_collateral", tdx_collateral),
    ("tdx_quote", tdx_quote),
    ("tpm_quote", tpm_quote),
    ("vtpm_evidence", vtpm_evidence),
];

/// The moment at which the fixtures are valid.
const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);

/// Simulated bundles, their policy, and a device under test keys: made by `attestation/examples/fuzz_seeds.rs`.
mod fixture {
    pub(super) const SNP: &[u8] = include_bytes!("../fixtures/snp.bundle");
    pub(super) const TDX: &[u8] = include_bytes!("../fixtures/tdx.bundle");
    pub(super) const POLICY: &str = include_str!("../fixtures/policy.toml");
    pub(super) const DEVICES: &str = include_str!("../fixtures/devices.toml");
    pub(super) const DEVICE: &[u8] = include_bytes!("../fixtures/nvidia-report.bin");
    pub(super) const DEVICE_CHAIN: &[u8] = include_bytes!("../fixtures/nvidia-chain.pem");
}

/// Every platform, simulated ones under the fixtures' roots.
fn verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| of_policy(fixture::POLICY))
}

/// The same, and devices.
fn device_verifier() -> &'static Verifier {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    VERIFIER.get_or_init(|| of_policy(&[fixture::POLICY, fixture::DEVICES].concat()))
}

fn of_policy(policy: &str) -> Verifier {
    Verifier::new(AppraisalPolicy::from_toml(policy).expect("the policy reads"))
}

fn of_fixture(encoded: &[u8]) -> Bundle {
    Bundle::decode(encoded).expect("a bundle")
}

fn snp_fixture() -> &'static Bundle {
    static BUNDLE: OnceLock<Bundle> = OnceLock::new();
    BUNDLE.get_or_init(|| of_fixture(fixture::SNP))
}

fn tdx_fixture() -> &'static Bundle {
    static BUNDLE: OnceLock<Bundle> = OnceLock::new();
    BUNDLE.get_or_init(|| of_fixture(fixture::TDX))
}

/// Parts of the input: each but the last after its length in two bytes, little-endian. What is missing is empty.
fn parts<const N: usize>(mut data: &[u8]) -> [&[u8]; N] {
    let mut parts = [&[][..]; N];
    for (number, part) in parts.iter_mut().enumerate() {
        if number + 1 == N {
            *part = data;
            break;
        }
        let Some((length, rest)) = data.split_first_chunk() else {
            break;
        };
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        (*part, data) = rest.split_at(length);
    }
    parts
}

fn explain(
    platform: PlatformTag,
    evidence: &[u8],
    event_log: Option<&[u8]>,
    endorsements: &Endorsements,
) -> Verdict {
    let evidence = RawEvidence {
        platform,
        evidence,
        event_log,
        endorsements,
    };
    // Report data that no evidence carries: nothing may be accepted.
    verifier()
        .explain_evidence(&evidence, Some(&[0xa5; 64]), NOW)
        .verdict
}

/// Whether to appraise as well: signatures take a hundred times as long as parsing, so one length in sixteen does.
fn sampled(data: &[u8]) -> bool {
    data.len().is_multiple_of(16)
}

#[track_caller]
fn refused(verdict: Verdict) {
    assert!(
        matches!(verdict, Verdict::Refused(_)),
        "made-up evidence was accepted"
    );
}

/// A bundle, decoded and appraised.
pub fn bundle(data: &[u8]) {
    let Ok(bundle) = Bundle::decode(data) else {
        return;
    };
    assert_eq!(bundle.encode().as_deref(), Ok(data), "one encoding");
    let _ = endorsement_subject(bundle.platform, &bundle.evidence);
    let nonce = Nonce::from_bytes([7; 32]);
    let explanation = verifier().explain(&bundle, &nonce, NOW);
    let appraised = verifier().appraise(&bundle, &nonce, NOW);
    assert_eq!(
        appraised.is_ok(),
        matches!(explanation.verdict, Verdict::Accepted(_)),
        "explanation and appraisal agree"
    );
    // Another nonce than the one that the fixtures answer.
    assert!(
        verifier()
            .appraise(&bundle, &Nonce::from_bytes([8; 32]), NOW)
            .is_err()
    );
}

/// A statement.
pub fn statement(data: &[u8]) {
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.statement_bytes(), data, "one encoding");
        let fields = (*statement).clone();
        assert_eq!(fields.encode().map(|again| again == statement), Ok(true));
    }
}

/// Endorsements as caches keep them.
pub fn endorsements(data: &[u8]) {
    if let Ok(endorsements) = Endorsements::decode(data) {
        assert_eq!(endorsements.encode(), data, "one encoding");
        for platform in PlatformTag::ALL {
            refused(explain(platform, &[], None, &endorsements));
        }
    }
}

/// Evidence of an Azure VM in its own encoding.
pub fn azure_evidence(data: &[u8]) {
    if let Ok(evidence) = AzureEvidence::decode(data) {
        assert_eq!(evidence.encode().as_deref(), Ok(data), "one encoding");
    }
    let endorsements = Endorsements::new();
    for platform in [
        PlatformTag::AzureAmdSevSnp,
        PlatformTag::AzureIntelTdx,
        PlatformTag::SimulatedAzureAmdSevSnp,
    ] {
        refused(explain(platform, data, None, &endorsements));
    }
}

/// A report under the fixture's certificates, and what inspection makes of it.
pub fn snp_report(data: &[u8]) {
    let _ = inspect(data);
    let _ = endorsement_subject(PlatformTag::AmdSevSnp, data);
    for platform in [PlatformTag::AmdSevSnp, PlatformTag::SimulatedAmdSevSnp] {
        refused(explain(platform, data, None, &snp_fixture().endorsements));
    }
}

/// Leaf, intermediate and list beside the fixture's report.
pub fn snp_certificates(data: &[u8]) {
    let [leaf, intermediate, list] = parts(data);
    let mut endorsements = Endorsements::new();
    endorsements.insert(EndorsementKind::SnpLeaf, leaf.to_vec());
    endorsements.insert(EndorsementKind::SnpIntermediate, intermediate.to_vec());
    endorsements.insert(EndorsementKind::SnpCrl, list.to_vec());
    for platform in [PlatformTag::AmdSevSnp, PlatformTag::SimulatedAmdSevSnp] {
        refused(explain(platform, &snp_fixture().evidence, None, &endorsements));
    }
}

/// A quote under the fixture's collateral, and what inspection makes of it.
pub fn tdx_quote(data: &[u8]) {
    let _ = inspect(data);
    let _ = endorsement_subject(PlatformTag::IntelTdx, data);
    for platform in [PlatformTag::IntelTdx, PlatformTag::SimulatedIntelTdx] {
        refused(explain(platform, data, None, &tdx_fixture().endorsements));
    }
}

/// TCB info and QE identity beside the fixture's quote.
pub fn tdx_collateral(data: &[u8]) {
    let [tcb_info, qe_identity] = parts(data);
    let mut endorsements = tdx_fixture().endorsements.clone();
    endorsements.insert(EndorsementKind::TdxTcbInfo, tcb_info.to_vec());
    endorsements.insert(EndorsementKind::TdxQeIdentity, qe_identity.to_vec());
    refused(explain(
        PlatformTag::SimulatedIntelTdx,
        &tdx_fixture().evidence,
        None,
        &endorsements,
    ));
}

/// A certificate or a revocation list.
pub fn der(data: &[u8]) {
    let _ = recognise(data);
    let _ = inspect(data);
    let _ = published_names(data);
    let [list, issuer] = parts(data);
    let _ = explain_revocation_list(list, issuer, NOW);
}

/// Certificates in PEM.
pub fn pem(data: &[u8]) {
    if let Some(chain) = certificates_in_pem(data) {
        assert!((1..=8).contains(&chain.len()));
    }
    if !sampled(data) {
        return;
    }
    let mut endorsements = tdx_fixture().endorsements.clone();
    endorsements.insert(EndorsementKind::TdxTcbSigningChain, data.to_vec());
    refused(explain(
        PlatformTag::SimulatedIntelTdx,
        &tdx_fixture().evidence,
        None,
        &endorsements,
    ));
}

/// A log of events: TCG, CCEL or JSON.
pub fn event_log(data: &[u8]) {
    let _ = explain_event_log(data, NOW);
    if let Ok(log) = EventLog::parse(data) {
        let _ = log.fields();
        assert!(log.bytes_used() <= data.len());
        for register in log.registers() {
            let _ = (log.replay_sha256(register), log.replay_sha384(register));
        }
        for event in log.events() {
            let _ = (event.agreement(), event.name().len(), event.data().len());
        }
    }
    if !sampled(data) {
        return;
    }
    let fixture = tdx_fixture();
    refused(explain(
        PlatformTag::SimulatedIntelTdx,
        &fixture.evidence,
        Some(data),
        &fixture.endorsements,
    ));
}

fn azure_of(hcl_report: Vec<u8>) -> AzureEvidence {
    AzureEvidence {
        hcl_report,
        td_quote: Some(tdx_fixture().evidence.clone()),
        quote_message: Vec::new(),
        quote_signature: Vec::new(),
        pcr_values: vec![0; 32],
    }
}

fn explain_azure(evidence: &AzureEvidence) {
    let none = Endorsements::new();
    for platform in [
        PlatformTag::AzureAmdSevSnp,
        PlatformTag::AzureIntelTdx,
        PlatformTag::SimulatedAzureAmdSevSnp,
    ] {
        let explanation =
            verifier().explain_azure_evidence(platform, evidence, None, &none, Some(&[0xa5; 32]), NOW);
        refused(explanation.verdict);
    }
}

/// A paravisor's report.
pub fn hcl_report(data: &[u8]) {
    let _ = inspect(data);
    explain_azure(&azure_of(data.to_vec()));
}

/// The runtime data in a paravisor's report; the first byte chooses between SNP and TDX.
pub fn runtime_data(data: &[u8]) {
    let Some((kind, json)) = data.split_first() else {
        return;
    };
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    // IgvmAttestRequestHeader, the hardware's report, IgvmAttestRequestData, then the runtime data.
    let mut report = b"HCLA".to_vec();
    report.extend(2u32.to_le_bytes());
    report.extend(size(32 + 1184 + 20 + json.len()));
    report.extend(2u32.to_le_bytes());
    report.extend([0; 16]);
    report.extend([0; 1184]);
    report.extend(size(20 + json.len()));
    report.extend(1u32.to_le_bytes());
    report.extend(if kind & 1 == 0 { 2u32 } else { 4 }.to_le_bytes());
    report.extend(1u32.to_le_bytes());
    report.extend(size(json.len()));
    report.extend(json);
    hcl_report(&report);
}

fn vtpm_policy() -> &'static GceVtpmPolicy {
    static POLICY: OnceLock<GceVtpmPolicy> = OnceLock::new();
    POLICY.get_or_init(|| {
        let policy = format!(
            "project_ids = \"any\"\nproject_numbers = \"any\"\nzones = \"any\"\ninstance_ids = \"any\"\n\
             [pcrs]\n0 = [\"{}\"]\n",
            "00".repeat(32)
        );
        GceVtpmPolicy::from_toml(&policy).expect("the policy reads")
    })
}

fn vtpm_question() -> GceVtpmQuestion<'static> {
    GceVtpmQuestion {
        policy: vtpm_policy(),
        qualifying_data: &[0xa5; 32],
        now: NOW,
    }
}

/// A vTPM's quote, its signature, the public area of its key, and register values.
pub fn tpm_quote(data: &[u8]) {
    let [message, signature, public, values] = parts(data);
    let _ = (recognise(message), inspect(message), rsassa_signature(signature));
    let evidence = GceVtpmEvidence {
        ak_public: public.to_vec(),
        quote_message: message.to_vec(),
        quote_signature: signature.to_vec(),
        pcr_values: values.to_vec(),
    };
    let _ = explain_gce_vtpm_quote(&evidence, None, &vtpm_question());
}

/// Evidence of a vTPM in its own encoding, and certificates of its key.
pub fn vtpm_evidence(data: &[u8]) {
    let [evidence, chain] = parts(data);
    if let Ok(decoded) = GceVtpmEvidence::decode(evidence) {
        assert_eq!(decoded.encode().as_deref(), Ok(evidence), "one encoding");
    }
    let _ = explain_gce_vtpm(evidence, chain, None, &vtpm_question());
    let _ = explain_gce_ak_certificates(chain, vtpm_policy(), NOW);
}

/// Google's endorsement of a firmware, beside the fixtures' evidence.
pub fn launch_endorsement(data: &[u8]) {
    for (fixture, platform) in [
        (snp_fixture(), PlatformTag::SimulatedAmdSevSnp),
        (tdx_fixture(), PlatformTag::SimulatedIntelTdx),
    ] {
        let mut endorsements = fixture.endorsements.clone();
        endorsements.insert(EndorsementKind::GceLaunchEndorsement, data.to_vec());
        refused(explain(platform, &fixture.evidence, None, &endorsements));
    }
}

fn explain_device(evidence: &[u8], chain: &[u8], endorsements: &Endorsements) {
    for kind in [DeviceKind::NvidiaGpu, DeviceKind::NvidiaSwitch] {
        let device = NvidiaDevice {
            name: "device",
            kind,
            evidence,
            chain,
            endorsements,
        };
        refused(
            device_verifier()
                .explain_devices(&[device], &[0xa5; 32], NOW)
                .verdict,
        );
    }
}

/// A report of a device, and its certificates; without them, those of the fixture.
pub fn nvidia_device(data: &[u8]) {
    let _ = inspect(data);
    let none = Endorsements::new();
    explain_device(data, fixture::DEVICE_CHAIN, &none);
    let [report, chain] = parts(data);
    explain_device(report, chain, &none);
}

/// OCSP responses for the fixture's device.
pub fn nvidia_ocsp(data: &[u8]) {
    let mut endorsements = Endorsements::new();
    endorsements.insert(EndorsementKind::NvidiaOcsp, data.to_vec());
    explain_device(fixture::DEVICE, fixture::DEVICE_CHAIN, &endorsements);
}

/// A reference manifest on its own and beside the fixture's device.
pub fn reference_manifest(data: &[u8]) {
    let _ = explain_reference_manifest(data, NOW);
    let mut endorsements = Endorsements::new();
    endorsements.insert(EndorsementKind::NvidiaDriverRim, data.to_vec());
    endorsements.insert(EndorsementKind::NvidiaVbiosRim, data.to_vec());
    explain_device(fixture::DEVICE, fixture::DEVICE_CHAIN, &endorsements);
}

/// A policy, of either kind.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = GceVtpmPolicy::from_toml(text);
    if let Ok(policy) = AppraisalPolicy::from_toml(text) {
        let _ = Verifier::new(policy);
    }
}
