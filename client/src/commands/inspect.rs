//! `adyton inspect`: every field of a report, a quote, a certificate, named as in its specification.

use std::fmt::Write as _;

use attestation::{Bundle, Field, Kind, Statement, inspect, recognise};
use serde_json::{Value, json};

use crate::{
    cli::Inspect,
    error::ClientError,
    output::{FAINT, Output, STRONG, printable},
    private_file,
};

/// Files above this are refused (bytes).
const FILE_BYTES_MAX: u64 = attestation::BUNDLE_BYTES_MAX as u64;

/// One structure and its fields.
struct Part {
    title: String,
    fields: Vec<Field>,
}

/// Prints the fields; nothing of them is checked.
pub fn run(command: Inspect, output: Output) -> Result<u8, ClientError> {
    let bytes = private_file::read(&command.file, FILE_BYTES_MAX)?;
    let kind = recognise(&bytes).ok_or_else(|| ClientError::Malformed {
        what: "the file",
        problem: "neither evidence nor an endorsement of a known kind".to_owned(),
    })?;
    let parts = parts(kind, &bytes)?;
    output.result(&text(&parts), &document(kind, &parts))?;
    Ok(0)
}

fn parts(kind: Kind, bytes: &[u8]) -> Result<Vec<Part>, ClientError> {
    let unreadable = || ClientError::Malformed {
        what: "the file",
        problem: format!("it begins like {} but is not one", kind.text()),
    };
    match kind {
        Kind::Bundle => bundle(&Bundle::decode(bytes)?),
        Kind::PemCertificates => {
            let chain = attestation::certificates_in_pem(bytes).ok_or_else(unreadable)?;
            chain
                .iter()
                .enumerate()
                .map(|(at, der)| part(format!("certificate {at}"), der).ok_or_else(unreadable))
                .collect()
        }
        _ => Ok(vec![part(kind.text().to_owned(), bytes).ok_or_else(|| {
            if matches!(kind, Kind::Json | Kind::Xml) {
                ClientError::Usage(format!(
                    "{} has no fields of its own to list; open it in an editor",
                    kind.text()
                ))
            } else {
                unreadable()
            }
        })?]),
    }
}

fn part(title: String, bytes: &[u8]) -> Option<Part> {
    inspect(bytes).map(|fields| Part { title, fields })
}

fn bundle(bundle: &Bundle) -> Result<Vec<Part>, ClientError> {
    let mut parts = Vec::new();
    parts.extend(part(format!("{} evidence", bundle.platform), &bundle.evidence));
    if let Ok(statement) = Statement::parse(&bundle.statement) {
        parts.push(Part {
            title: "identity statement".to_owned(),
            fields: statement.named_fields(),
        });
    }
    for (kind, document) in bundle.endorsements.iter() {
        let title = kind.as_str();
        if let Some(chain) = attestation::certificates_in_pem(document) {
            let chain = chain.iter().enumerate();
            parts.extend(chain.filter_map(|(at, der)| part(format!("{title}, certificate {at}"), der)));
        } else {
            parts.extend(part(title.to_owned(), document));
        }
    }
    Ok(parts)
}

fn text(parts: &[Part]) -> String {
    let mut text = String::new();
    let width = parts
        .iter()
        .flat_map(|part| &part.fields)
        .map(|field| field.name.len())
        .max()
        .unwrap_or(0);
    for part in parts {
        let _ = writeln!(text, "{STRONG}{}{STRONG:#}", part.title);
        for field in &part.fields {
            let offset = field
                .offset
                .map_or_else(|| "     ".to_owned(), |offset| format!("{offset:#05x}"));
            let value = printable(&field.value.to_string());
            let _ = write!(text, "  {FAINT}{offset}{FAINT:#}  {:width$}  {value}", field.name);
            if !field.meaning.is_empty() {
                let _ = write!(text, "  {FAINT}{}{FAINT:#}", printable(&field.meaning));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

fn document(kind: Kind, parts: &[Part]) -> Value {
    json!({
        "kind": kind.text(),
        "parts": parts.iter().map(|part| json!({
            "title": part.title,
            "fields": part.fields.iter().map(|field| json!({
                "name": field.name,
                "offset": field.offset,
                "value": field.value.to_string(),
                "meaning": field.meaning,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
