//! Runs one vector: gathers its files, appraises what they are, compares with what was expected.
//!
//! | platform | what is appraised |
//! |---|---|
//! | snp, gcp-snp | the report, with certificates and list |
//! | tdx, gcp-tdx | the quote, with collateral and event log |
//! | azure-snp, azure-tdx | HCL report, the report or quote in it, the vTPM's quote |
//! | composite-tdx-nvidia | quote and event log, and every GPU |
//! | nvidia | the device |
//! | gcp-vtpm | the quote and its log, or the key's certificates |
//! | crl | the list under its issuer |
//! | nvidia-rim, event-log | the document; alone it proves nothing, so its best verdict is `parse` |

use attestation::{
    AppraisalPolicy, AzureEvidence, Clause, DeviceKind, EndorsementKind, Endorsements, EventLog,
    GceVtpmEvidence, GceVtpmPolicy, GceVtpmQuestion, NvidiaDevice, Outcome, PlatformTag, RawEvidence,
    ReportData, UnixTime, Verifier, explain_gce_ak_certificates, explain_gce_vtpm_quote,
    explain_reference_manifest, explain_revocation_list, inspect, published_names, rsassa_signature,
};
use toml::{Table, Value};

use super::{
    binding::Binding,
    checks,
    manifest::{Companion, Corpus, Vector},
    policy,
    tpm_attestation::sha256_pcrs,
};
use crate::{endorsement_files, error::ClientError};

/// The moment of vectors that name none.
const DEFAULT_MOMENT: UnixTime = UnixTime::from_seconds(1_748_736_000); // 2025-06-01T00:00:00Z

/// What came out of one vector.
pub struct Judged {
    /// The vector's name.
    pub name: String,
    /// accept, reject, parse, incomplete.
    pub verdict: &'static str,
    /// Clauses that failed, each once, in the order of the questions.
    pub failed: Vec<&'static str>,
    /// How many clauses passed.
    pub passed: usize,
    /// Clauses of which none failed and none was skipped, each once.
    pub held: Vec<&'static str>,
    /// The expected verdict.
    pub expected: String,
    /// Checks that were expected to fail, and none of our clauses for them did.
    pub unanswered: Vec<String>,
}

impl Judged {
    /// Whether the verdict is the expected one, and a rejection fails where it should.
    pub fn agrees(&self) -> bool {
        self.verdict == self.expected && self.unanswered.is_empty()
    }
}

/// What the appraisal of a vector left, and what the vector did not carry.
struct Found {
    clauses: Vec<Clause>,
    /// Prefixes of clauses about parts that the vector does not carry: nobody asks for them.
    absent: Vec<&'static str>,
    /// What a vector without a fault comes to.
    best: &'static str,
}

impl Found {
    fn whole(clauses: Vec<Clause>) -> Self {
        Self {
            clauses,
            absent: Vec::new(),
            best: "accept",
        }
    }

    fn counted(&self) -> impl Iterator<Item = &Clause> {
        self.clauses
            .iter()
            .filter(|clause| !self.absent.iter().any(|prefix| clause.id.starts_with(prefix)))
    }

    fn failed(&self) -> Vec<&'static str> {
        let mut failed: Vec<&'static str> = Vec::new();
        for clause in self.counted().filter(|clause| clause.outcome == Outcome::Fail) {
            if !failed.contains(&clause.id) {
                failed.push(clause.id);
            }
        }
        failed
    }

    fn held(&self) -> Vec<&'static str> {
        let mut held: Vec<&'static str> = Vec::new();
        for clause in self.counted() {
            let mut same = self.counted().filter(|other| other.id == clause.id);
            if !held.contains(&clause.id) && same.all(|other| other.outcome == Outcome::Pass) {
                held.push(clause.id);
            }
        }
        held
    }

    fn is_whole(&self) -> bool {
        let mut counted = self.counted().peekable();
        counted.peek().is_some() && counted.all(|clause| clause.outcome == Outcome::Pass)
    }
}

/// Appraises one vector.
pub fn judge(corpus: &Corpus, vector: &Vector) -> Result<Judged, ClientError> {
    let files = Files::read(corpus, vector)?;
    let found = match vector.platform.as_str() {
        "snp" | "gcp-snp" => files.processor(PlatformTag::AmdSevSnp)?,
        "tdx" | "gcp-tdx" => files.processor(PlatformTag::IntelTdx)?,
        "azure-snp" => files.azure(PlatformTag::AzureAmdSevSnp)?,
        "azure-tdx" => files.azure(PlatformTag::AzureIntelTdx)?,
        "nvidia" => files.device()?,
        "gcp-vtpm" => files.vtpm()?,
        "crl" => files.revocation_list()?,
        "nvidia-rim" => files.reference_manifest(),
        "event-log" => files.event_log()?,
        platform if platform.starts_with("composite-tdx") => files.composite()?,
        other => {
            return Err(ClientError::Malformed {
                what: "the corpus",
                problem: format!("{}: platform {other} is not known", vector.name),
            });
        }
    };
    let failed = found.failed();
    let verdict = verdict(&found, &failed, &files.endorsements);
    let expected = &vector.expected;
    let unanswered = if expected.verdict == "reject" {
        let named = checks::named(&vector.seen.failed, &expected.why, expected.tcb_status.as_deref());
        named
            .into_iter()
            .filter(|check| {
                let clauses = checks::clauses(&vector.platform, check);
                !clauses.iter().any(|clause| failed.contains(clause))
            })
            .collect()
    } else {
        Vec::new()
    };
    Ok(Judged {
        name: vector.name.clone(),
        verdict,
        passed: found
            .counted()
            .filter(|clause| clause.outcome == Outcome::Pass)
            .count(),
        held: found.held(),
        failed,
        expected: expected.verdict.clone(),
        unanswered,
    })
}

/// Clauses that fail for want of Intel's documents alone.
const WITHOUT_COLLATERAL: [&str; 4] = [
    "tdx-crl-signatures",
    "tdx-qe-identity-signature",
    "tdx-tcb-info-signature",
    "tdx-tcb-signer",
];

fn verdict(found: &Found, failed: &[&'static str], endorsements: &Endorsements) -> &'static str {
    if found.is_whole() {
        return found.best;
    }
    let only = |allowed: &[&str]| !failed.is_empty() && failed.iter().all(|id| allowed.contains(id));
    let has = |kind| endorsements.document(kind).is_some();
    if !has(EndorsementKind::SnpLeaf) && only(&["snp-certificates"]) {
        return "parse";
    }
    if !has(EndorsementKind::TdxTcbInfo) && only(&WITHOUT_COLLATERAL) {
        return "incomplete";
    }
    "reject"
}

/// The bytes of a vector, sorted.
struct Files<'a> {
    vector: &'a Vector,
    now: UnixTime,
    main: Vec<u8>,
    companions: Vec<(&'a Companion, Vec<u8>)>,
    endorsements: Endorsements,
}

impl<'a> Files<'a> {
    fn read(corpus: &Corpus, vector: &'a Vector) -> Result<Self, ClientError> {
        let mut endorsements = Endorsements::new();
        let mut companions = Vec::new();
        for companion in &vector.companions {
            let bytes = corpus.file(&companion.file, &companion.sha256)?;
            endorsement_files::add(&mut endorsements, &bytes);
            companions.push((companion, bytes));
        }
        Ok(Self {
            vector,
            now: vector.moment(DEFAULT_MOMENT)?,
            main: corpus.file(&vector.file, &vector.sha256)?,
            companions,
            endorsements,
        })
    }

    /// The companion whose role begins so.
    fn role(&self, prefix: &str) -> Option<&[u8]> {
        self.companions
            .iter()
            .find(|(companion, _)| companion.role.starts_with(prefix))
            .map(|(_, bytes)| bytes.as_slice())
    }

    fn log(&self) -> Option<&[u8]> {
        self.companions
            .iter()
            .find(|(companion, _)| companion.role.to_lowercase().contains("event log"))
            .map(|(_, bytes)| bytes.as_slice())
    }

    fn binding(&self) -> Option<Binding> {
        self.role("binding").and_then(Binding::read)
    }

    /// What the evidence must carry: by the corpus's rule or nonce, else whatever it carries.
    fn report_data(&self) -> ReportData {
        let nonce = || self.role("nonce").and_then(|nonce| nonce.try_into().ok());
        let own = || {
            let fields = inspect(&self.main)?;
            let field = fields
                .iter()
                .find(|field| field.name == "REPORT_DATA" || field.name == "REPORTDATA")?;
            field.value.to_bytes()?.try_into().ok()
        };
        self.binding()
            .and_then(|binding| binding.report_data())
            .or_else(nonce)
            .or_else(own)
            .unwrap_or([0; 64])
    }

    fn processor(&self, platform: PlatformTag) -> Result<Found, ClientError> {
        let policy = policy::of_processor(self.vector, &self.main, &self.endorsements)?;
        let evidence = RawEvidence {
            platform,
            evidence: &self.main,
            event_log: self.log(),
            endorsements: &self.endorsements,
        };
        let explanation =
            Verifier::new(policy).explain_evidence(&evidence, Some(&self.report_data()), self.now);
        Ok(Found::whole(explanation.clauses))
    }

    fn azure(&self, platform: PlatformTag) -> Result<Found, ClientError> {
        let on_tdx = platform == PlatformTag::AzureIntelTdx;
        // The evidence is the report, the quote, or the HCL report alone.
        let alone = self.main.starts_with(b"HCLA");
        let hcl = if alone {
            self.main.clone()
        } else {
            self.role("hcl-report").unwrap_or_default().to_vec()
        };
        let message = self.role("tpm-quote-message");
        let pcr_values = self.role("24 SHA-256 PCR values").unwrap_or_default();
        let mut endorsements = self.endorsements.clone();
        if let Some(chain) = self.ak_chain() {
            endorsements.insert(EndorsementKind::VtpmAkChain, chain);
        }
        let processor = if alone { &[][..] } else { &self.main };
        let placeholder = [0; 32 * 24];
        let quoted = if pcr_values.is_empty() {
            &placeholder[..]
        } else {
            pcr_values
        };
        let policy = policy::of_azure(self.vector, processor, &hcl, &endorsements, quoted)?;
        let evidence = AzureEvidence {
            hcl_report: hcl,
            td_quote: (on_tdx && !alone).then(|| self.main.clone()),
            quote_message: message.unwrap_or_default().to_vec(),
            quote_signature: self.role("tpm-quote-signature").unwrap_or_default().to_vec(),
            pcr_values: pcr_values.to_vec(),
        };
        let qualifying_data = message.and_then(qualifying_data).unwrap_or_default();
        let explanation = Verifier::new(policy).explain_azure_evidence(
            platform,
            &evidence,
            None,
            &endorsements,
            Some(&qualifying_data),
            self.now,
        );
        let mut found = Found::whole(explanation.clauses);
        if message.is_none() {
            found.absent.push("vtpm-");
        }
        if alone {
            found.absent.extend(["tdx-", "snp-", "azure-td-", "report-data"]);
            found.best = "parse";
        }
        Ok(found)
    }

    /// The vTPM key's certificates, leaf first, where they stand one by one.
    fn ak_chain(&self) -> Option<Vec<u8>> {
        let chain = self
            .companions
            .iter()
            .filter(|(companion, _)| companion.role.starts_with("vTPM AK certificate chain"))
            .map(|(_, bytes)| bytes.as_slice());
        Some(endorsement_files::pem_of(chain)).filter(|pem| !pem.is_empty())
    }

    /// The default policy for devices, with the vector's own keys over it.
    fn device_policy(&self, gpus: usize, switches: usize) -> Result<AppraisalPolicy, ClientError> {
        policy::of_devices(self.vector, gpus, switches)
    }

    fn device(&self) -> Result<Found, ClientError> {
        let chain = self.role("certificate chain").unwrap_or_default();
        let switch = is_switch(chain);
        let policy = self.device_policy(usize::from(!switch), usize::from(switch))?;
        let device = NvidiaDevice {
            name: "device",
            kind: kind_of(chain),
            evidence: &self.main,
            chain,
            endorsements: &self.endorsements,
        };
        let nonce = request_nonce(&self.main);
        let explanation = Verifier::new(policy).explain_devices(&[device], &nonce, self.now);
        Ok(Found::whole(explanation.clauses))
    }

    fn composite(&self) -> Result<Found, ClientError> {
        let mut found = self.processor(PlatformTag::IntelTdx)?;
        let none = Endorsements::new();
        let names: Vec<String> = (0..)
            .map(|number| format!("gpu-{number}"))
            .take_while(|name| self.role(&format!("{name} evidence")).is_some())
            .collect();
        let devices: Vec<NvidiaDevice<'_>> = names
            .iter()
            .map(|name| {
                let chain = self.role(&format!("{name} chain")).unwrap_or_default();
                NvidiaDevice {
                    name,
                    kind: kind_of(chain),
                    evidence: self.role(&format!("{name} evidence")).unwrap_or_default(),
                    chain,
                    endorsements: &none,
                }
            })
            .collect();
        let gpus = devices.iter().filter(|device| !is_switch(device.chain)).count();
        let policy = self.device_policy(gpus, devices.len() - gpus)?;
        let nonce = self
            .binding()
            .and_then(|binding| binding.device_nonce())
            .or_else(|| devices.first().map(|device| request_nonce(device.evidence)))
            .unwrap_or_default();
        let explanation = Verifier::new(policy).explain_devices(&devices, &nonce, self.now);
        found.clauses.extend(explanation.clauses);
        Ok(found)
    }

    fn vtpm(&self) -> Result<Found, ClientError> {
        if let Some(intermediate) = self.role("intermediate") {
            let chain = endorsement_files::pem_of([self.main.as_slice(), intermediate].into_iter());
            let policy = gce_policy(&[0; 32], &[0])?;
            return Ok(Found::whole(
                explain_gce_ak_certificates(&chain, &policy, self.now).clauses,
            ));
        }
        let message = self.role("tpm-quote-message sha256").unwrap_or_default();
        let signature = self.role("tpm-quote-signature (TPMT_SIGNATURE) sha256");
        let log = self.log().map(EventLog::parse).and_then(Result::ok);
        let pcrs = selected_pcrs(message);
        // As captured; where no value was, what the log gives.
        let captured = sha256_pcrs(&self.main).unwrap_or_default();
        let values: Vec<u8> = pcrs
            .iter()
            .flat_map(|pcr| {
                let replayed = || log.as_ref()?.replay_sha256(*pcr).map(|value| value.to_vec());
                captured.get(pcr).cloned().or_else(replayed).unwrap_or_default()
            })
            .collect();
        let evidence = GceVtpmEvidence {
            ak_public: self.role("AK public area").unwrap_or_default().to_vec(),
            quote_message: message.to_vec(),
            quote_signature: signature.and_then(rsassa_signature).unwrap_or_default().to_vec(),
            pcr_values: values.clone(),
        };
        let policy = gce_policy(&values, &pcrs)?;
        let qualifying_data = qualifying_data(message).unwrap_or_default();
        let question = GceVtpmQuestion {
            policy: &policy,
            qualifying_data: &qualifying_data,
            now: self.now,
        };
        Ok(Found::whole(
            explain_gce_vtpm_quote(&evidence, self.log(), &question).clauses,
        ))
    }

    fn revocation_list(&self) -> Result<Found, ClientError> {
        let issuer = published_names(&self.main).map(|names| names.issuer);
        let issuer = self
            .companions
            .iter()
            .find(|(_, bytes)| published_names(bytes).and_then(|names| names.subject) == issuer)
            .map(|(_, bytes)| bytes.as_slice())
            .unwrap_or_default();
        let explanation = explain_revocation_list(&self.main, issuer, self.now);
        Ok(Found::whole(explanation.clauses))
    }

    /// A manifest says when its signer was valid, not when it signed. One that names no moment is taken as of the
    /// default moment, or as of the start of that validity if it is later: what was over by then is expired.
    fn reference_manifest(&self) -> Found {
        let mut explanation = explain_reference_manifest(&self.main, self.now);
        let since = explanation
            .clauses
            .iter()
            .filter(|clause| clause.id == "nvidia-manifest-validity" && clause.outcome == Outcome::Fail)
            .find_map(|clause| UnixTime::parse_rfc3339(clause.expected.split(" to ").next()?));
        if let Some(since) = since.filter(|since| self.vector.verify_at.is_none() && *since > self.now) {
            explanation = explain_reference_manifest(&self.main, since);
        }
        Found {
            best: "parse",
            ..Found::whole(explanation.clauses)
        }
    }

    /// A log alone: it reads, and replays to what the corpus says, where it says.
    fn event_log(&self) -> Result<Found, ClientError> {
        let explanation = attestation::explain_event_log(&self.main, self.now);
        let mut found = Found::whole(explanation.clauses);
        found.best = "parse";
        Ok(found)
    }
}

/// extraData of a TPMS_ATTEST.
fn qualifying_data(message: &[u8]) -> Option<Vec<u8>> {
    let fields = inspect(message)?;
    let field = fields.iter().find(|field| field.name == "extraData")?;
    field.value.to_bytes()
}

/// The PCRs that a TPMS_ATTEST selects.
fn selected_pcrs(message: &[u8]) -> Vec<u32> {
    let fields = inspect(message).unwrap_or_default();
    let selection = fields.iter().find(|field| field.name == "pcrSelect");
    let text = selection.map(|field| field.value.to_string()).unwrap_or_default();
    let list = text.split_once(": ").map_or("", |(_, list)| list);
    list.split(", ")
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
        })
        .flatten()
        .collect()
}

fn gce_policy(values: &[u8], pcrs: &[u32]) -> Result<GceVtpmPolicy, ClientError> {
    let mut table = Table::new();
    for key in ["project_ids", "project_numbers", "zones", "instance_ids"] {
        table.insert(key.to_owned(), "any".into());
    }
    let expected = values.chunks(32).zip(pcrs).map(|(value, pcr)| {
        let list = Value::Array(vec![hex::encode(value).into()]);
        (pcr.to_string(), list)
    });
    table.insert("pcrs".to_owned(), Value::Table(expected.collect()));
    GceVtpmPolicy::from_toml(&table.to_string()).map_err(|source| ClientError::Policy {
        path: "the default policy of a vTPM".into(),
        source,
    })
}

/// The nonce in an SPDM GET_MEASUREMENTS request: bytes 4 to 36.
fn request_nonce(evidence: &[u8]) -> [u8; 32] {
    evidence
        .get(4..36)
        .and_then(|nonce| nonce.try_into().ok())
        .unwrap_or_default()
}

fn kind_of(chain: &[u8]) -> DeviceKind {
    if is_switch(chain) {
        DeviceKind::NvidiaSwitch
    } else {
        DeviceKind::NvidiaGpu
    }
}

/// Whether the leaf is a switch's.
fn is_switch(chain: &[u8]) -> bool {
    let leaf = attestation::certificates_in_pem(chain).and_then(|chain| chain.into_iter().next());
    leaf.and_then(|leaf| published_names(&leaf))
        .and_then(|names| names.subject)
        .is_some_and(|subject| subject.starts_with("LS"))
}
