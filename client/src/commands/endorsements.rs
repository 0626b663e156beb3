//! `adyton endorsements`: what manufacturers publish about platforms, fetched, carried and listed.
//!
//! Nothing here decides about evidence: every document is signed and checked at each appraisal.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attestation::{Bundle, DeviceEvidence, DeviceKind, Endorsements, Kind, PlatformTag, UnixTime};
use endorser::{
    Ages, Cache, Condition, Endorser, Gpu, Imported, Limits, Listed, ListedDocument, RootCrl, Served,
    ServiceUrl, Services, Transport, Update, Wanted,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    cli::{self, EndorsementCache, EndorsementServices, EndorsementsFetch, Evaluation},
    commands::token::parse_duration,
    discovery, endorsement_cache,
    error::ClientError,
    output::{BAD, FAINT, GOOD, NOTICE, Output, STRONG, printable},
    private_file::{self, PUBLIC_MODE},
};

/// GPU certificates above this are refused (bytes).
const PEM_BYTES_MAX: u64 = 64 << 10;

/// Runs an endorsements command.
pub async fn run(endorsements: cli::Endorsements, output: Output) -> Result<u8, ClientError> {
    match endorsements {
        cli::Endorsements::Fetch(fetch) => self::fetch(&fetch, output).await,
        cli::Endorsements::Export(export) => self::export(&open(&export.cache)?, &export.file, output),
        cli::Endorsements::Import(import) => self::import(&open(&import.cache)?, &import.file, output),
        cli::Endorsements::List(list) => self::list(&open(&list.cache)?, ages(&list.cache)?, output),
    }
}

/// What a fetch gave for one piece of evidence.
struct Fetched {
    file: PathBuf,
    /// Number of the device in a bundle.
    device: Option<usize>,
    result: Result<Served, ClientError>,
}

async fn fetch(fetch: &EndorsementsFetch, output: Output) -> Result<u8, ClientError> {
    let limits = Limits {
        attempts: fetch.services.attempts,
        attempt_timeout: Duration::from_secs(fetch.services.attempt_seconds),
        ..Limits::default()
    };
    let transport = Transport::new(fetch.services.service_ca.as_deref(), limits)?
        .observed_by(Arc::new(move |line: &str| output.progress(&printable(line))));
    let folder = folder(&fetch.cache)?;
    let endorser = Endorser::new(&folder, services(&fetch.services)?, transport)?;
    let ages = ages(&fetch.cache)?;
    let now = discovery::now();
    let mut fetched = Vec::new();
    for file in &fetch.evidence {
        output.progress(&format!("endorsements for {}", file.display()));
        let evidence = read(fetch, file);
        let devices = evidence
            .as_ref()
            .map_or(Vec::new(), |evidence| evidence.devices.clone());
        let result = match evidence {
            Ok(evidence) => of_platform(&endorser, fetch, &evidence, ages, now).await,
            Err(error) => Err(error),
        };
        fetched.push(Fetched {
            file: file.clone(),
            device: None,
            result,
        });
        for (number, device) in devices.iter().enumerate() {
            if device.kind == DeviceKind::NvidiaGpu {
                fetched.push(Fetched {
                    file: file.clone(),
                    device: Some(number),
                    result: of_gpu(&endorser, &device.evidence, &device.certificates, ages, now).await,
                });
            }
        }
    }
    if let (Some(file), Some(chain)) = (&fetch.gpu_evidence, &fetch.gpu_chain) {
        output.progress(&format!("endorsements for {}", file.display()));
        let evidence = private_file::read(file, attestation::BUNDLE_BYTES_MAX as u64)?;
        let chain = private_file::read(chain, PEM_BYTES_MAX)?;
        fetched.push(Fetched {
            file: file.clone(),
            device: None,
            result: of_gpu(&endorser, &evidence, &chain, ages, now).await,
        });
    }
    let texts: String = fetched.iter().map(fetched_text).collect();
    let documents: Vec<Value> = fetched.iter().map(fetched_document).collect();
    output.result(&texts, &json!({ "cache": folder, "evidence": documents }))?;
    let failed = fetched.iter().filter_map(|fetched| fetched.result.as_ref().err());
    Ok(failed.map(ClientError::exit_code).max().unwrap_or(0))
}

/// A file of evidence, taken apart as far as fetching needs.
struct Evidence {
    platform: PlatformTag,
    bytes: Vec<u8>,
    with: Endorsements,
    devices: Vec<DeviceEvidence>,
}

fn read(fetch: &EndorsementsFetch, file: &Path) -> Result<Evidence, ClientError> {
    let bytes = private_file::read(file, attestation::BUNDLE_BYTES_MAX as u64)?;
    if let Ok(bundle) = Bundle::decode(&bytes) {
        return Ok(Evidence {
            platform: bundle.platform,
            bytes: bundle.evidence,
            with: bundle.endorsements,
            devices: bundle.devices,
        });
    }
    let named = fetch.platform.as_deref().map(platform).transpose()?;
    let platform = named.or_else(|| raw_platform(&bytes)).ok_or_else(|| {
        ClientError::Usage(format!(
            "{} is neither a bundle nor a raw report or quote; name its platform with --platform",
            file.display()
        ))
    })?;
    Ok(Evidence {
        platform,
        bytes: bytes.to_vec(),
        with: Endorsements::new(),
        devices: Vec::new(),
    })
}

async fn of_platform(
    endorser: &Endorser,
    fetch: &EndorsementsFetch,
    evidence: &Evidence,
    ages: Ages,
    now: UnixTime,
) -> Result<Served, ClientError> {
    let wanted = Wanted {
        platform: evidence.platform,
        evidence: &evidence.bytes,
        with: Some(&evidence.with),
        launch_endorsement: fetch.services.gce,
    };
    Ok(endorser.endorsements(wanted, ages, now).await?)
}

async fn of_gpu(
    endorser: &Endorser,
    evidence: &[u8],
    chain: &[u8],
    ages: Ages,
    now: UnixTime,
) -> Result<Served, ClientError> {
    let gpu = Gpu::read(evidence, chain)?;
    Ok(endorser.gpu_endorsements(&gpu, ages, now).await?)
}

fn platform(tag: &str) -> Result<PlatformTag, ClientError> {
    PlatformTag::from_text(tag).ok_or_else(|| ClientError::Usage(format!("`{tag}` is not a platform")))
}

/// What raw evidence is, by its form.
fn raw_platform(bytes: &[u8]) -> Option<PlatformTag> {
    match attestation::recognise(bytes)? {
        Kind::SnpReport => Some(PlatformTag::AmdSevSnp),
        Kind::TdxQuote => Some(PlatformTag::IntelTdx),
        _ => None,
    }
}

fn services(named: &EndorsementServices) -> Result<Services, ClientError> {
    let (intel_pcs, intel_root_crl) = match &named.pccs_url {
        Some(url) => (ServiceUrl::parse(url)?, RootCrl::CachingService),
        None => (
            ServiceUrl::parse(&named.pcs_url)?,
            RootCrl::DistributionPoint(ServiceUrl::parse(&named.root_crl_url)?),
        ),
    };
    Ok(Services {
        amd_kds: ServiceUrl::parse(&named.kds_url)?,
        azure_thim: named
            .thim
            .then(|| ServiceUrl::parse(&named.thim_url))
            .transpose()?,
        intel_pcs,
        intel_root_crl,
        intel_update: match named.update {
            Evaluation::Early => Update::Early,
            Evaluation::Standard => Update::Standard,
        },
        nvidia_rim: ServiceUrl::parse(&named.rim_url)?,
        nvidia_ocsp: ServiceUrl::parse(&named.ocsp_url)?,
        gce_tcb: ServiceUrl::parse(&named.gce_url)?,
    })
}

fn fetched_text(fetched: &Fetched) -> String {
    let device = fetched
        .device
        .map_or_else(String::new, |number| format!(", device {number}"));
    let file = format!("{}{device}", fetched.file.display());
    match &fetched.result {
        Err(error) => format!(
            "{BAD}missing{BAD:#}  {file}\n         {error} {FAINT}[{}]{FAINT:#}\n         {STRONG}hint{STRONG:#} {}\n",
            error.code(),
            error.hint().unwrap_or_default()
        ),
        Ok(served) => {
            let kinds: Vec<&str> = served
                .endorsements
                .iter()
                .map(|(kind, _)| kind.as_str())
                .collect();
            let mut text = match (&served.warning, served.fetched) {
                (Some(warning), _) => format!(
                    "{NOTICE}stale{NOTICE:#}    {file}\n         {warning} {FAINT}[{}]{FAINT:#}\n",
                    warning.code()
                ),
                (None, true) => format!("{GOOD}fetched{GOOD:#}  {file}\n"),
                (None, false) => format!("{GOOD}fresh{GOOD:#}    {file}\n"),
            };
            let _ = writeln!(
                text,
                "         {}\n         {FAINT}{}{FAINT:#}",
                served.subject,
                kinds.join(" ")
            );
            text
        }
    }
}

fn fetched_document(fetched: &Fetched) -> Value {
    match &fetched.result {
        Err(error) => json!({
            "file": fetched.file,
            "device": fetched.device,
            "state": "missing",
            "error": { "code": error.code(), "message": error.to_string(), "hint": error.hint() },
        }),
        Ok(served) => json!({
            "file": fetched.file,
            "device": fetched.device,
            "state": match (&served.warning, served.fetched) {
                (Some(_), _) => "stale",
                (None, true) => "fetched",
                (None, false) => "fresh",
            },
            "subject": served.subject,
            "kinds": served.endorsements.iter().map(|(kind, _)| kind.as_str()).collect::<Vec<_>>(),
            "warning": served.warning.as_ref().map(|warning| json!({
                "code": warning.code(), "message": warning.to_string(), "hint": warning.hint(),
            })),
        }),
    }
}

fn export(cache: &Cache, file: &Path, output: Output) -> Result<u8, ClientError> {
    let (archive, subjects) = endorser::export(cache)?;
    private_file::write(file, &archive, PUBLIC_MODE)?;
    let sha256 = hex::encode(Sha256::digest(&archive));
    let text = format!(
        "{GOOD}exported{GOOD:#}  {} of {}\n          {FAINT}{} bytes in {}, SHA-256 {sha256}{FAINT:#}",
        subjects_text(subjects),
        cache.folder().display(),
        archive.len(),
        file.display()
    );
    output.result(
        &text,
        &json!({ "cache": cache.folder(), "file": file, "subjects": subjects, "bytes": archive.len(), "sha256": sha256 }),
    )?;
    Ok(0)
}

fn import(cache: &Cache, file: &Path, output: Output) -> Result<u8, ClientError> {
    let archive = private_file::read(file, endorser::ARCHIVE_BYTES_MAX as u64)?;
    let imported = endorser::import(cache, &archive, discovery::now())?;
    let mut text = format!(
        "{GOOD}imported{GOOD:#}  {} into {}\n",
        subjects_text(imported.len()),
        cache.folder().display()
    );
    for Imported {
        folder,
        subject,
        kinds,
        new,
    } in &imported
    {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let how = if *new { "new" } else { "renewed" };
        let _ = writeln!(
            text,
            "          {folder}  {subject}  {STRONG}{how}{STRONG:#}\n          {FAINT}{}{FAINT:#}",
            kinds.join(" ")
        );
    }
    let entries: Vec<Value> = imported
        .iter()
        .map(|entry| {
            json!({
                "platform": entry.folder,
                "subject": entry.subject,
                "new": entry.new,
                "kinds": entry.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect();
    output.result(&text, &json!({ "cache": cache.folder(), "imported": entries }))?;
    Ok(0)
}

fn list(cache: &Cache, ages: Ages, output: Output) -> Result<u8, ClientError> {
    let now = discovery::now();
    let listed = endorser::list(cache, ages, now)?;
    let mut text = String::new();
    for entry in &listed {
        listed_text(&mut text, entry, now);
    }
    if listed.is_empty() {
        text = format!("nothing is kept in {}", cache.folder().display());
    }
    let entries: Vec<Value> = listed.iter().map(|entry| listed_document(entry, now)).collect();
    output.result(&text, &json!({ "cache": cache.folder(), "subjects": entries }))?;
    Ok(0)
}

fn listed_text(text: &mut String, entry: &Listed, now: UnixTime) {
    let style = match entry.condition {
        Condition::Fresh => GOOD,
        Condition::Stale(_) => NOTICE,
        Condition::Expired(_) => BAD,
    };
    let _ = writeln!(
        text,
        "{style}{:<7}{style:#}  {}  {STRONG}{}{STRONG:#}",
        entry.condition.as_str(),
        entry.folder,
        entry.subject
    );
    if let Some(reason) = entry.condition.reason() {
        let _ = writeln!(text, "         {}", printable(reason));
    }
    if let Some(fetched) = entry.fetched {
        let _ = writeln!(
            text,
            "         {FAINT}fetched {fetched}, {} ago{FAINT:#}",
            age(fetched, now)
        );
    }
    for document in &entry.documents {
        let ListedDocument {
            kind,
            issuer,
            issued,
            until,
            number,
            ..
        } = document;
        let _ = write!(text, "         {:<22}", kind.as_str());
        if let Some(issued) = issued {
            let _ = write!(text, "  issued {issued} ({} ago)", age(*issued, now));
        }
        if let Some(until) = until {
            let _ = write!(text, "  until {until}");
        }
        if let Some(number) = number {
            let _ = write!(text, "  evaluation {number}");
        }
        if let Some(issuer) = issuer {
            let _ = write!(text, "  {FAINT}{}{FAINT:#}", printable(issuer));
        }
        text.push('\n');
    }
}

fn listed_document(entry: &Listed, now: UnixTime) -> Value {
    let documents: Vec<Value> = entry
        .documents
        .iter()
        .map(|document| {
            json!({
                "kind": document.kind.as_str(),
                "bytes": document.bytes,
                "issuer": document.issuer,
                "issued": document.issued.map(|issued| issued.to_string()),
                "next_update": document.until.map(|until| until.to_string()),
                "age_seconds": document.issued.and_then(|issued| now.seconds_since(issued)),
                "evaluation": document.number,
            })
        })
        .collect();
    json!({
        "platform": entry.folder,
        "subject": entry.subject,
        "digest": entry.digest,
        "condition": entry.condition.as_str(),
        "reason": entry.condition.reason(),
        "fetched": entry.fetched.map(|fetched| fetched.to_string()),
        "documents": documents,
    })
}

fn age(moment: UnixTime, now: UnixTime) -> String {
    endorser::duration(now.seconds_since(moment).unwrap_or(0))
}

fn subjects_text(count: usize) -> String {
    format!("{count} {}", if count == 1 { "subject" } else { "subjects" })
}

fn ages(named: &EndorsementCache) -> Result<Ages, ClientError> {
    Ok(Ages {
        refresh_seconds: parse_duration(&named.refresh_age)?,
        collateral_seconds: parse_duration(&named.collateral_age)?,
    })
}

fn open(named: &EndorsementCache) -> Result<Cache, ClientError> {
    Ok(Cache::open(&folder(named)?)?)
}

fn folder(named: &EndorsementCache) -> Result<PathBuf, ClientError> {
    endorsement_cache::folder(named.cache.as_deref())
}
