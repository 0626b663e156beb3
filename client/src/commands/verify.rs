//! `adyton verify`: evidence of a host, of a file, of a corpus.

use std::path::Path;

use attestation::{
    AzureEvidence, Bundle, Endorsements, Explanation, Kind, Nonce, PlatformTag, RawEvidence, ReportData,
    UnixTime, Verdict, Verifier, inspect, recognise, rsassa_signature,
};

use crate::{
    cli::{RawParts, Verify},
    commands::verify_manifest,
    conformance, discovery, endorsement_cache, endorsement_files,
    error::ClientError,
    output::Output,
    private_file::{self, PUBLIC_MODE},
    verdict::{Appraised, Binding},
};

/// Parts of raw evidence above this are refused (bytes).
const PART_BYTES_MAX: u64 = attestation::EVENT_LOG_AREA_BYTES_MAX as u64;

/// Appraises and prints; the exit code is the verdict's.
pub async fn run(verify: Verify, output: Output) -> Result<u8, ClientError> {
    if let Some(manifest) = &verify.manifest {
        return verify_manifest::run(manifest, output);
    }
    if verify.conformance {
        // Suites read one JSON document, whatever happens.
        let output = Output { json: true, ..output };
        return run_conformance(output).or_else(|error| {
            output.failure(&error);
            Ok(error.exit_code())
        });
    }
    let at = verify
        .at
        .as_deref()
        .map_or_else(|| Ok(discovery::now()), discovery::parse_time)?;
    let verifier = discovery::verifier(&verify.deployment)?;
    match verify.target.as_deref().or(verify.deployment.url.as_deref()) {
        Some(url) if url.contains("://") => {
            let transport = discovery::transport(&verify.deployment, Some(url))?;
            output.progress(&format!("asking {url} for evidence over a fresh nonce"));
            let mut fetched = discovery::fetch(&transport).await?;
            if let Some(path) = &verify.save {
                private_file::write(path, &fetched.bytes, PUBLIC_MODE)?;
                output.progress(&format!(
                    "saved {}; its nonce is {}",
                    path.display(),
                    hex::encode(fetched.nonce.as_bytes())
                ));
            }
            fill_bundle(&mut fetched.bundle, &verify.raw, output)?;
            let explanation = verifier.explain(&fetched.bundle, &fetched.nonce, at);
            print(
                &verify,
                output,
                url,
                &fetched.bundle,
                fetched.bytes.len(),
                at,
                &explanation,
            )
        }
        Some(file) => run_file(&verify, output, Path::new(file), &verifier, at),
        None => Err(ClientError::Usage(
            "name a host's URL, or a file with evidence".to_owned(),
        )),
    }
}

fn run_file(
    verify: &Verify,
    output: Output,
    file: &Path,
    verifier: &Verifier,
    at: UnixTime,
) -> Result<u8, ClientError> {
    let bytes = private_file::read(file, attestation::BUNDLE_BYTES_MAX as u64)?;
    let subject = file.display().to_string();
    let platform = match recognise(&bytes) {
        Some(Kind::SnpReport) => PlatformTag::AmdSevSnp,
        Some(Kind::TdxQuote) => PlatformTag::IntelTdx,
        Some(Kind::AzureHclReport) => return run_azure(verify, output, &subject, &bytes, verifier, at),
        // What is no evidence of a known kind is named by the bundle's own error.
        _ => {
            let mut bundle = Bundle::decode(&bytes)?;
            let nonce = verify.nonce.as_deref().ok_or_else(|| {
                ClientError::Usage("a bundle in a file answers a nonce; name it with --nonce".to_owned())
            })?;
            let nonce = Nonce::from_bytes(discovery::parse_32_bytes("--nonce", nonce)?);
            fill_bundle(&mut bundle, &verify.raw, output)?;
            let explanation = verifier.explain(&bundle, &nonce, at);
            return print(verify, output, &subject, &bundle, bytes.len(), at, &explanation);
        }
    };
    let endorsements = endorsements(&verify.raw, file, platform, &bytes, output)?;
    let log = optional(verify.raw.event_log.as_deref())?;
    let evidence = RawEvidence {
        platform,
        evidence: &bytes,
        event_log: log.as_deref(),
        endorsements: &endorsements,
    };
    let report_data = report_data(&verify.raw, &bytes)?;
    let explanation = verifier.explain_evidence(&evidence, report_data.as_ref(), at);
    print_raw(verify, output, &subject, platform, bytes.len(), at, &explanation)
}

fn run_azure(
    verify: &Verify,
    output: Output,
    subject: &str,
    hcl_report: &[u8],
    verifier: &Verifier,
    at: UnixTime,
) -> Result<u8, ClientError> {
    let raw = &verify.raw;
    let signature = optional(raw.tpm_signature.as_deref())?.unwrap_or_default();
    let evidence = AzureEvidence {
        hcl_report: hcl_report.to_vec(),
        td_quote: optional(raw.td_quote.as_deref())?,
        quote_message: optional(raw.tpm_quote.as_deref())?.unwrap_or_default(),
        quote_signature: rsassa_signature(&signature).map_or_else(|| signature.clone(), <[u8]>::to_vec),
        pcr_values: optional(raw.pcrs.as_deref())?.unwrap_or_default(),
    };
    let platform = if is_tdx(hcl_report) {
        PlatformTag::AzureIntelTdx
    } else {
        PlatformTag::AzureAmdSevSnp
    };
    // Parts that do not fit together are the Verifier's to refuse; they name no machine.
    let machine = evidence.encode().unwrap_or_default();
    let endorsements = endorsements(raw, Path::new(subject), platform, &machine, output)?;
    let log = optional(raw.event_log.as_deref())?;
    let qualifying_data = match &raw.report_data {
        Some(text) => Some(parse_hex(text)?),
        None if raw.unbound => field(&evidence.quote_message, "extraData"),
        None => None,
    };
    let explanation = verifier.explain_azure_evidence(
        platform,
        &evidence,
        log.as_deref(),
        &endorsements,
        qualifying_data.as_deref(),
        at,
    );
    print_raw(
        verify,
        output,
        subject,
        platform,
        hcl_report.len(),
        at,
        &explanation,
    )
}

/// Report type 4 at 1224 (HCL report).
fn is_tdx(hcl_report: &[u8]) -> bool {
    hcl_report.get(1224..1228) == Some(&[4, 0, 0, 0])
}

fn field(bytes: &[u8], name: &str) -> Option<Vec<u8>> {
    let fields = inspect(bytes)?;
    fields.iter().find(|field| field.name == name)?.value.to_bytes()
}

/// What the evidence must carry: what is asked for, or what it carries where that was asked for; else nothing is
/// known and the clause stays open.
fn report_data(raw: &RawParts, evidence: &[u8]) -> Result<Option<ReportData>, ClientError> {
    let bytes = match &raw.report_data {
        Some(text) => parse_hex(text)?,
        None if raw.unbound => field(evidence, "REPORT_DATA")
            .or_else(|| field(evidence, "REPORTDATA"))
            .unwrap_or_default(),
        None => return Ok(None),
    };
    bytes
        .try_into()
        .map(Some)
        .map_err(|_| ClientError::Usage("--report-data must be 128 hex digits".to_owned()))
}

fn parse_hex(text: &str) -> Result<Vec<u8>, ClientError> {
    hex::decode(text.trim()).map_err(|_| ClientError::Usage("--report-data must be hex digits".to_owned()))
}

/// Those that are named; without any, whatever lies beside the evidence. The cache fills what these lack.
fn endorsements(
    raw: &RawParts,
    file: &Path,
    platform: PlatformTag,
    evidence: &[u8],
    output: Output,
) -> Result<Endorsements, ClientError> {
    let mut endorsements = if raw.endorsements.is_empty() {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        endorsement_files::read(&[folder.unwrap_or(Path::new(".")).to_owned()])?
    } else {
        endorsement_files::read(&raw.endorsements)?
    };
    fill(&mut endorsements, platform, evidence, raw, output)?;
    Ok(endorsements)
}

/// As above for a bundle, which brings its own: what it lacks is taken from the cache.
fn fill_bundle(bundle: &mut Bundle, raw: &RawParts, output: Output) -> Result<(), ClientError> {
    fill(
        &mut bundle.endorsements,
        bundle.platform,
        &bundle.evidence,
        raw,
        output,
    )
}

fn fill(
    endorsements: &mut Endorsements,
    platform: PlatformTag,
    evidence: &[u8],
    raw: &RawParts,
    output: Output,
) -> Result<(), ClientError> {
    let filled = endorsement_cache::fill(endorsements, platform, evidence, raw.cache.as_deref())?;
    if !filled.is_empty() {
        output.progress(&format!("from the cache: {}", filled.join(", ")));
    }
    Ok(())
}

fn optional(path: Option<&Path>) -> Result<Option<Vec<u8>>, ClientError> {
    path.map(|path| private_file::read(path, PART_BYTES_MAX).map(|bytes| bytes.to_vec()))
        .transpose()
}

#[allow(clippy::too_many_arguments, reason = "what a verdict is printed with")]
fn print(
    verify: &Verify,
    output: Output,
    subject: &str,
    bundle: &Bundle,
    bytes: usize,
    at: UnixTime,
    explanation: &Explanation,
) -> Result<u8, ClientError> {
    show(
        &Appraised {
            subject,
            platform: bundle.platform,
            statement: &bundle.statement,
            bytes,
            at,
            explanation,
            binding: Binding::Nonce,
        },
        verify.explain,
        output,
    )
}

fn print_raw(
    verify: &Verify,
    output: Output,
    subject: &str,
    platform: PlatformTag,
    bytes: usize,
    at: UnixTime,
    explanation: &Explanation,
) -> Result<u8, ClientError> {
    let binding = match (&verify.raw.report_data, verify.raw.unbound) {
        (Some(_), _) => Binding::ReportData,
        (None, true) => Binding::Unbound,
        (None, false) => Binding::Unknown,
    };
    show(
        &Appraised {
            subject,
            platform,
            statement: &[],
            bytes,
            at,
            explanation,
            binding,
        },
        verify.explain,
        output,
    )
}

fn show(appraised: &Appraised<'_>, explain: bool, output: Output) -> Result<u8, ClientError> {
    output.result(&appraised.text(explain, output.columns()), &appraised.document())?;
    Ok(match &appraised.explanation.verdict {
        Verdict::Accepted(_) => 0,
        Verdict::Refused(error) => error.exit_code(),
    })
}

fn run_conformance(output: Output) -> Result<u8, ClientError> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::io::stdin()
        .take(conformance::CASE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|source| ClientError::Read {
            path: "standard input".into(),
            source,
        })?;
    if text.len() as u64 > conformance::CASE_BYTES_MAX {
        return Err(ClientError::TooLarge {
            path: "standard input".into(),
            bytes_max: conformance::CASE_BYTES_MAX,
        });
    }
    let case = conformance::Case::read(&text)?;
    let explanation = case.explain();
    show(
        &Appraised {
            subject: "case",
            platform: case.bundle.platform,
            statement: &case.bundle.statement,
            bytes: case.bundle.evidence.len(),
            at: case.at,
            explanation: &explanation,
            binding: if case.bundle.statement.is_empty() {
                Binding::ReportData
            } else {
                Binding::Nonce
            },
        },
        true,
        output,
    )
}
