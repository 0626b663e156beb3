//! `adyton policy`: draft, check and compare appraisal policies.

use std::{fmt::Write as _, path::Path};

use attestation::{AppraisalPolicy, Bundle, EndorsementKind, Endorsements, Kind, Statement, recognise};
use serde_json::{Value, json};
use toml::Table;

use crate::{
    cli::{Policy, PolicyNew},
    discovery, endorsement_files,
    error::ClientError,
    output::{BAD, FAINT, GOOD, NOTICE, Output, STRONG},
    policy::{
        diff::{Effect, diff},
        draft::{Source, draft},
        lint::{Finding, Weight, lint},
    },
    private_file::{self, PUBLIC_MODE},
};

/// Policies above this are refused (bytes).
const POLICY_BYTES_MAX: u64 = 1 << 20;

/// Runs a policy command.
pub fn run(command: Policy, output: Output) -> Result<u8, ClientError> {
    match command {
        Policy::New(new) => run_new(&new, output),
        Policy::Check { file, strict } => run_check(&file, strict, output),
        Policy::Diff { old, new } => run_diff(&old, &new, output),
    }
}

fn run_new(new: &PolicyNew, output: Output) -> Result<u8, ClientError> {
    let bytes = private_file::read(&new.evidence, attestation::BUNDLE_BYTES_MAX as u64)?;
    let mut endorsements = endorsement_files::read(&new.endorsements)?;
    let text = match recognise(&bytes) {
        Some(Kind::Bundle) => {
            let bundle = Bundle::decode(&bytes)?;
            if bundle.platform.is_simulated() {
                return Err(ClientError::Usage(
                    "the evidence is SIMULATED: adyton up writes its policy, with the root that it made"
                        .to_owned(),
                ));
            }
            endorsements.fill_from(&bundle.endorsements);
            let statement = Statement::parse(&bundle.statement).ok();
            let fields = statement.as_ref().map(Statement::fields);
            of_evidence(
                &bundle.evidence,
                &endorsements,
                fields.map_or(&[], |fields| &fields.model_digests),
                fields.map_or([0; 32], |fields| fields.config_digest),
            )?
        }
        _ => of_evidence(&bytes, &endorsements, &[], [0; 32])?,
    };
    // A draft that the Verifier cannot read would be our fault: better here than at the next start.
    read_policy_text(&text, Path::new("the draft"))?;
    if let Some(path) = &new.out {
        private_file::write(path, text.as_bytes(), PUBLIC_MODE)?;
        output.progress(&format!("wrote {}", path.display()));
        return Ok(0);
    }
    output.result(&text, &json!({ "policy": text }))?;
    Ok(0)
}

fn of_evidence(
    evidence: &[u8],
    endorsements: &Endorsements,
    model_digests: &[[u8; 32]],
    config_digest: [u8; 32],
) -> Result<String, ClientError> {
    draft(&Source {
        evidence,
        leaf: endorsements.document(EndorsementKind::SnpLeaf),
        model_digests,
        config_digest,
        evaluation_number: endorsements
            .document(EndorsementKind::TdxTcbInfo)
            .and_then(evaluation_number),
    })
}

/// tcbEvaluationDataNumber of a TCB info document.
pub fn evaluation_number(tcb_info: &[u8]) -> Option<u64> {
    let document: Value = serde_json::from_slice(tcb_info).ok()?;
    document.get("tcbInfo")?.get("tcbEvaluationDataNumber")?.as_u64()
}

fn read_policy(path: &Path) -> Result<Table, ClientError> {
    read_policy_text(&private_file::read_text(path, POLICY_BYTES_MAX)?, path)
}

/// The document as a table, once the Verifier could read it as a policy.
fn read_policy_text(text: &str, path: &Path) -> Result<Table, ClientError> {
    AppraisalPolicy::from_toml(text).map_err(|source| ClientError::Policy {
        path: path.to_owned(),
        source,
    })?;
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
