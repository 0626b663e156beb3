//! `adyton policy`: draft, check and compare appraisal policies.

use std::{fmt::Write as _, path::Path, time::Duration};

use attestation::{
    AppraisalPolicy, AzureEvidence, Bundle, DeviceKind, EndorsementKind, Endorsements, GceVtpmEvidence, Kind,
    PlatformTag, Statement, Verifier, recognise,
};
use serde_json::{Value, json};
use toml::Table;

use crate::{
    cli::{Policy, PolicyNew},
    discovery, endorsement_files,
    error::ClientError,
    output::{BAD, FAINT, GOOD, NOTICE, Output, STRONG},
    policy::{
        AzureGuest, Events, GoogleVtpm,
        diff::{Effect, diff},
        draft::{Source, draft},
        lint::{Finding, Weight, lint},
        measured,
    },
    private_file::{self, PUBLIC_MODE},
    transport::Transport,
};

/// Policies above this are refused (bytes).
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Runs a policy command.
pub async fn run(command: Policy, output: Output) -> Result<u8, ClientError> {
    match command {
        Policy::New(new) => run_new(&new, output).await,
        Policy::Check { file, strict } => run_check(&file, strict, output),
        Policy::Diff { old, new } => run_diff(&old, &new, output),
    }
}

async fn run_new(new: &PolicyNew, output: Output) -> Result<u8, ClientError> {
    let measured = new.measured.as_deref().map(read_measured).transpose()?;
    let by_events = measured.as_ref().is_some_and(measured::asks_for_events);
    let mut endorsements = endorsement_files::read(&new.endorsements)?;
    let text = if new.evidence.contains("://") {
        let timeout = Duration::from_secs(new.timeout_seconds);
        let transport = Transport::new(&new.evidence, new.ca.as_deref(), None, timeout)?;
        output.progress(&format!(
            "asking {} for evidence over a fresh nonce",
            new.evidence
        ));
        let mut fetched = discovery::fetch(&transport).await?;
        fetched.bundle.endorsements.fill_from(&endorsements);
        let text = of_bundle(&fetched.bundle, &fetched.bundle.endorsements, by_events)?;
        let (policy, _) = policy_of(&text, Path::new("the draft"))?;
        let verifier = Verifier::new(policy);
        let _ = verifier.appraise(&fetched.bundle, &fetched.nonce, discovery::now())?; // the verdict is what was wanted
        text
    } else {
        let bytes = private_file::read(Path::new(&new.evidence), attestation::BUNDLE_BYTES_MAX as u64)?;
        if recognise(&bytes) == Some(Kind::Bundle) {
            let bundle = Bundle::decode(&bytes)?;
            endorsements.fill_from(&bundle.endorsements);
            of_bundle(&bundle, &endorsements, by_events)?
        } else {
            draft(&of_processor(&bytes, &endorsements))?
        }
    };
    // A draft that the Verifier cannot read would be our fault: better here than at the next start.
    let (_, table) = policy_of(&text, Path::new("the draft"))?;
    if let Some(measured) = &measured {
        measured::compare(measured, &table)?;
        output.progress("the machine shows what was measured");
    }
    if let Some(path) = &new.out {
        private_file::write(path, text.as_bytes(), PUBLIC_MODE)?;
        output.progress(&format!("wrote {}", path.display()));
        return Ok(0);
    }
    output.result(&text, &json!({ "policy": text }))?;
    Ok(0)
}

fn read_measured(path: &Path) -> Result<Table, ClientError> {
    parse(&private_file::read_text(path, POLICY_BYTES_MAX)?, path)
}

fn of_bundle(bundle: &Bundle, endorsements: &Endorsements, by_events: bool) -> Result<String, ClientError> {
    if bundle.platform.is_simulated() {
        return Err(ClientError::Usage(
            "the evidence is SIMULATED: adyton up writes its policy, with the root that it made".to_owned(),
        ));
    }
    let statement = Statement::parse(&bundle.statement).ok();
    let fields = statement.as_ref().map(Statement::fields);
    let events = match (&bundle.event_log, by_events) {
        (Some(log), true) => Some(Events::of(log)?),
        _ => None,
    };
    let azure = match bundle.platform {
        PlatformTag::AzureAmdSevSnp | PlatformTag::AzureIntelTdx => {
            Some(AzureEvidence::decode(&bundle.evidence)?)
        }
        _ => None,
    };
    let google = bundle
        .devices
        .iter()
        .find(|device| device.kind == DeviceKind::GceVtpm);
    let google = google
        .map(|device| GceVtpmEvidence::decode(&device.evidence))
        .transpose()?;
    let evidence = match &azure {
        Some(azure) => azure.td_quote.as_deref().unwrap_or(&azure.hcl_report),
        None => &bundle.evidence,
    };
    draft(&Source {
        azure: azure.as_ref().map(|azure| AzureGuest {
            hcl_report: &azure.hcl_report,
            quote_message: &azure.quote_message,
            pcr_values: &azure.pcr_values,
            has_certificates: endorsements.document(EndorsementKind::VtpmAkChain).is_some(),
        }),
        google_vtpm: google.as_ref().map(|vtpm| GoogleVtpm {
            quote_message: &vtpm.quote_message,
            pcr_values: &vtpm.pcr_values,
        }),
        events: events.as_ref(),
        model_digests: fields.map_or(&[], |fields| &fields.model_digests),
        config_digest: fields.map_or([0; 32], |fields| fields.config_digest),
        ..of_processor(evidence, endorsements)
    })
}

fn of_processor<'a>(evidence: &'a [u8], endorsements: &'a Endorsements) -> Source<'a> {
    Source {
        evidence,
        leaf: endorsements.document(EndorsementKind::SnpLeaf),
        evaluation_number: endorsements
            .document(EndorsementKind::TdxTcbInfo)
            .and_then(evaluation_number),
        ..Source::default()
    }
}

/// tcbEvaluationDataNumber of a TCB info document.
pub fn evaluation_number(tcb_info: &[u8]) -> Option<u64> {
    let document: Value = serde_json::from_slice(tcb_info).ok()?;
    document.get("tcbInfo")?.get("tcbEvaluationDataNumber")?.as_u64()
}

fn read_policy(path: &Path) -> Result<Table, ClientError> {
    let text = private_file::read_text(path, POLICY_BYTES_MAX)?;
    policy_of(&text, path).map(|(_, table)| table)
}

/// The document as a policy, and as a table once the Verifier could read it.
fn policy_of(text: &str, path: &Path) -> Result<(AppraisalPolicy, Table), ClientError> {
    let policy = AppraisalPolicy::from_toml(text).map_err(|source| ClientError::Policy {
        path: path.to_owned(),
        source,
    })?;
    Ok((policy, parse(text, path)?))
}

fn parse(text: &str, path: &Path) -> Result<Table, ClientError> {
    text.parse()
        .map_err(|error: toml::de::Error| ClientError::Config {
            path: path.to_owned(),
            problem: error.to_string(),
        })
}

fn run_check(file: &Path, strict: bool, output: Output) -> Result<u8, ClientError> {
    let findings = lint(&read_policy(file)?, discovery::now());
    let worst = findings.iter().map(|finding| finding.weight).min();
    let refused = strict && worst.is_some_and(|weight| weight <= Weight::Warning);
    let document = json!({
        "valid": true,
        "findings": findings.iter().map(|finding| json!({
            "code": finding.code,
            "weight": finding.weight.word(),
            "key": finding.key,
            "message": finding.message,
        })).collect::<Vec<_>>(),
    });
    output.result(&findings_text(file, &findings), &document)?;
    Ok(u8::from(refused))
}

fn findings_text(file: &Path, findings: &[Finding]) -> String {
    let mut text = format!("{GOOD}VALID{GOOD:#}  {}\n", file.display());
    for finding in findings {
        let style = match finding.weight {
            Weight::Danger => BAD,
            Weight::Warning => NOTICE,
            Weight::Note => FAINT,
        };
        let _ = writeln!(
            text,
            "\n  {style}{}{style:#}  {STRONG}{}{STRONG:#}  {FAINT}[{}]{FAINT:#}\n           {}",
            finding.weight.word().to_uppercase(),
            finding.key,
            finding.code,
            finding.message
        );
    }
    if findings.is_empty() {
        text.push_str("nothing is left open that this check knows of\n");
    }
    text
}

fn run_diff(old: &Path, new: &Path, output: Output) -> Result<u8, ClientError> {
    let effects = diff(&read_policy(old)?, &read_policy(new)?);
    let of = |opens: bool| effects.iter().filter(move |effect| effect.opens == opens);
    let list = |opens| {
        of(opens)
            .map(|effect| json!({ "key": effect.key, "message": effect.message }))
            .collect::<Vec<_>>()
    };
    let document = json!({ "newly_accepted": list(true), "newly_refused": list(false) });
    let mut text = String::new();
    section(&mut text, "Newly accepted", "+", of(true).collect());
    section(&mut text, "Newly refused", "-", of(false).collect());
    if effects.is_empty() {
        text.push_str("both accept the same\n");
    }
    output.result(&text, &document)?;
    Ok(0)
}

fn section(text: &mut String, title: &str, mark: &str, effects: Vec<&Effect>) {
    if effects.is_empty() {
        return;
    }
    let style = if mark == "+" { NOTICE } else { GOOD };
    let _ = writeln!(text, "{STRONG}{title}{STRONG:#}");
    for effect in effects {
        let _ = writeln!(
            text,
            "  {style}{mark}{style:#} {}: {}",
            effect.key, effect.message
        );
    }
    text.push('\n');
}
