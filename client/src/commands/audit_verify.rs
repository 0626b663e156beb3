//! `adyton audit verify`.

use std::{fmt::Write as _, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    broker::BrokerAdmin,
    cli::AuditVerify,
    discovery,
    error::ClientError,
    output::{BAD, FAINT, GOOD, NOTICE, Output, STRONG},
    private_file,
    transparency::{self, CheckedLog, LogKey, UncheckedLog},
    transport::ClientIdentity,
};

/// Logs above this are refused (bytes).
const LOG_BYTES_MAX: u64 = 1 << 30;
/// Checkpoints and key files above this are refused (bytes).
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Checks the log and prints a line for each part of it.
pub async fn run(verify: AuditVerify, output: Output) -> Result<u8, ClientError> {
    let logs = logs(&verify).await?;
    if logs.is_empty() {
        return Err(ClientError::Malformed {
            what: "audit log",
            problem: "it has no entries".to_owned(),
        });
    }
    let mut keys = named_keys(&verify)?;
    let known = |keys: &[LogKey], log: &UncheckedLog| {
        !matches!(log.check(keys), Err(ClientError::AuditKeyMissing { .. }))
    };
    if verify.deployment.url.is_some() && !logs.iter().all(|log| known(&keys, log)) {
        keys.push(attested_key(&verify, output).await?);
    }
    let results: Vec<_> = logs
        .iter()
        .map(|log| (log.origin().to_owned(), log.check(&keys)))
        .collect();
    output.result(&text(&verify.log, &results), &document(&verify.log, &results))?;
    let worst = results
        .iter()
        .filter_map(|(_, result)| result.as_ref().err().map(ClientError::exit_code))
        .max();
    Ok(worst.unwrap_or(0))
}

async fn logs(verify: &AuditVerify) -> Result<Vec<UncheckedLog>, ClientError> {
    if verify.log.contains("://") {
        let identity = match (&verify.cert, &verify.cert_key) {
            (Some(certificate), Some(private_key)) => Some(ClientIdentity {
                certificate,
                private_key,
            }),
            (None, None) => None,
            _ => return Err(ClientError::Usage("--cert and --cert-key go together".to_owned())),
        };
        let timeout = Duration::from_secs(verify.deployment.timeout_seconds);
        let broker = BrokerAdmin::connect(&verify.log, verify.broker_ca.as_deref(), identity, timeout)?;
        let exported = broker.audit_log().await?;
        return Ok(vec![transparency::unchecked(
            exported.entries,
            Some(exported.checkpoint),
        )?]);
    }
    let text = private_file::read_text(Path::new(&verify.log), LOG_BYTES_MAX)?;
    let checkpoint = verify
        .checkpoint
        .as_deref()
        .map(|path| private_file::read_text(path, SMALL_BYTES_MAX))
        .transpose()?;
    transparency::split(&text, checkpoint.as_deref())
}

fn named_keys(verify: &AuditVerify) -> Result<Vec<LogKey>, ClientError> {
    let listed = match &verify.keys_file {
        Some(path) => private_file::read_text(path, SMALL_BYTES_MAX)?,
        None => String::new(),
    };
    let lines = listed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    verify
        .key
        .iter()
        .map(String::as_str)
        .chain(lines)
        .map(LogKey::parse)
        .collect()
}

/// The receipt key of the enclave that serves now, which it vouches for in its evidence.
async fn attested_key(verify: &AuditVerify, output: Output) -> Result<LogKey, ClientError> {
    let transport = discovery::transport(&verify.deployment, None)?;
    let verifier = discovery::verifier(&verify.deployment)?;
    output.progress(&format!("verifying {} for its receipt key", transport.base()));
    let fetched = discovery::fetch(&transport).await?;
    let evidence = verifier.appraise(&fetched.bundle, &fetched.nonce, discovery::now())?;
    LogKey::of_requests(evidence.statement())
}

type Checked = (String, Result<CheckedLog, ClientError>);

fn text(subject: &str, results: &[Checked]) -> String {
    let good = results.iter().all(|(_, result)| result.is_ok());
    let mut text = if good {
        format!("{GOOD}VERIFIED{GOOD:#}  {subject}\n")
    } else {
        format!("{BAD}NOT VERIFIED{BAD:#}  {subject}\n")
    };
    for (origin, result) in results {
        let _ = match result {
            Ok(log) => writeln!(
                text,
                "  {GOOD}PASS{GOOD:#}  {origin}\n        {} {}{}\n        {FAINT}root {}  key {}{FAINT:#}",
                log.report.entries,
                if log.report.entries == 1 {
                    "entry"
                } else {
                    "entries"
                },
                log.times
                    .map_or_else(String::new, |(first, last)| format!(", {first} to {last}")),
                hex::encode(log.report.root),
                hex::encode(log.key),
            ),
            Err(error) => writeln!(
                text,
                "  {BAD}FAIL{BAD:#}  {origin}\n        {error} {FAINT}[{}]{FAINT:#}\n        {STRONG}hint{STRONG:#} {}",
                error.code(),
                error.hint().unwrap_or_default()
            ),
        };
    }
    if !good {
        let _ = writeln!(text, "{NOTICE}Do not rely on this log.{NOTICE:#}");
    }
    text
}

fn document(subject: &str, results: &[Checked]) -> Value {
    let logs: Vec<Value> = results
        .iter()
        .map(|(origin, result)| match result {
            Ok(log) => json!({
                "origin": origin,
                "verified": true,
                "entries": log.report.entries,
                "root": hex::encode(log.report.root),
                "key": hex::encode(log.key),
                "first_time": log.times.map(|times| times.0.to_string()),
                "last_time": log.times.map(|times| times.1.to_string()),
            }),
            Err(error) => json!({
                "origin": origin,
                "verified": false,
                "error": { "code": error.code(), "message": error.to_string(), "hint": error.hint() },
            }),
        })
        .collect();
    json!({ "subject": subject, "verified": results.iter().all(|(_, result)| result.is_ok()), "logs": logs })
}
