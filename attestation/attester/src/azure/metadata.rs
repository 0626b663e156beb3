//! Azure's metadata service: quotes over a TDREPORT, and the certificates of this host's SNP chip.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use attestation::{EndorsementKind, Endorsements};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::http::{self, Response};
use crate::{AttesterError, pem};

const TD_QUOTE: &str = "/acc/tdquote";
const CERTIFICATION: &str = "/metadata/THIM/amd/certification";
const SECONDS_MAX: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 3;
/// ASK and ARK.
const CHAIN_CERTIFICATES_MAX: usize = 4;

/// Bound of a TD quote, as [`attestation::AzureEvidence`] takes it.
const TD_QUOTE_BYTES_MAX: usize = 16 * 1024;

/// The service as this machine reaches it.
#[derive(Clone, Copy, Debug)]
pub struct MetadataService {
    server: SocketAddr,
    pause: Duration,
}

impl MetadataService {
    /// The link-local address at which every Azure VM has it.
    pub const AZURE: MetadataService = MetadataService::at(SocketAddr::new(
        std::net::IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
        80,
    ));

    /// At another address, literally: no name is resolved.
    pub const fn at(server: SocketAddr) -> Self {
        Self {
            server,
            pause: Duration::from_millis(500),
        }
    }

    /// The port that is connected to.
    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    #[cfg(test)]
    pub(crate) fn impatient(mut self) -> Self {
        self.pause = Duration::from_millis(1);
        self
    }

    /// Has a TDREPORT quoted. The report is good on this machine only, and so must be asked for here.
    pub(crate) fn td_quote(&self, td_report: &[u8]) -> Result<Vec<u8>, AttesterError> {
        let report = URL_SAFE_NO_PAD.encode(td_report);
        let body = format!("{{\"report\":\"{report}\"}}");
        let answer = self.ask(TD_QUOTE, Some(body.as_bytes()))?;
        let failed = |reason: &str| failure(TD_QUOTE, reason);
        let quote = answer.get("quote").and_then(Value::as_str);
        let quote = quote.ok_or_else(|| failed("no quote in the answer"))?;
        let quote = URL_SAFE_NO_PAD
            .decode(quote.trim_end_matches('='))
            .map_err(|_| failed("the quote is not base64url"))?;
        if quote.is_empty() || quote.len() > TD_QUOTE_BYTES_MAX {
            return Err(failed("the quote is empty or exceeds its bound"));
        }
        Ok(quote)
    }

    /// VCEK and ASK of this host. The ARK is left out: roots are built in.
    pub(crate) fn snp_endorsements(&self) -> Result<Endorsements, AttesterError> {
        let answer = self.ask(CERTIFICATION, None)?;
        let certificates = |name: &str| {
            let text = answer.get(name).and_then(Value::as_str)?;
            pem::decode(text, CHAIN_CERTIFICATES_MAX).filter(|found| !found.is_empty())
        };
        let (Some(leaf), Some(chain)) = (certificates("vcekCert"), certificates("certificateChain")) else {
            return Err(failure(CERTIFICATION, "not the certificates of a chip"));
        };
        let mut endorsements = Endorsements::new();
        for (kind, documents) in [
            (EndorsementKind::SnpLeaf, leaf),
            (EndorsementKind::SnpIntermediate, chain),
        ] {
            if let Some(document) = documents.into_iter().next() {
                endorsements.insert(kind, document);
            }
        }
        Ok(endorsements)
    }

    /// JSON from `path`; a service that is throttled or starting is asked again.
    fn ask(&self, path: &'static str, body: Option<&[u8]>) -> Result<Value, AttesterError> {
        let mut pause = self.pause;
        for attempt in 1.. {
            let response = http::request(self.server, path, body, SECONDS_MAX)
                .map_err(|error| failure(path, &error.to_string()))?;
            match response {
                Response { status: 200, body } => {
                    return serde_json::from_slice(&body)
                        .map_err(|_| failure(path, "the answer is not JSON"));
                }
                Response {
                    status: 429 | 500..=599,
                    ..
                } if attempt < ATTEMPTS => {}
                Response { status, .. } => return Err(failure(path, &format!("status {status}"))),
            }
            thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the last attempt returns")
    }
}

fn failure(path: &'static str, reason: &str) -> AttesterError {
    AttesterError::Metadata {
        path,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use attestation::EndorsementKind;

    use super::MetadataService;
    use crate::AttesterError;
    use crate::http::fake::{Server, json};
    use crate::pem;

    fn quote(answers: Vec<Vec<Vec<u8>>>) -> (Result<Vec<u8>, AttesterError>, Vec<String>) {
        let server = Server::answering(answers);
        let service = MetadataService::at(server.address).impatient();
        let outcome = service.td_quote(&[0xff; 1024]);
        (outcome, server.requests())
    }

    #[test]
    fn a_report_is_quoted() {
        let (outcome, requests) = quote(vec![json("200 OK", r#"{"quote":"-_8"}"#)]);
        assert_eq!(outcome.expect("a quote"), [0xfb, 0xff]);
        let (head, body) = requests[0].split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("POST /acc/tdquote HTTP/1.1\r\n"), "{head}");
        assert_eq!(body, format!("{{\"report\":\"{}w\"}}", "_".repeat(1365)));
        let (padded, _) = quote(vec![json("200 OK", r#"{"quote":"-_8="}"#)]);
        assert_eq!(padded.expect("a quote"), [0xfb, 0xff]);
    }

    #[test]
    fn a_service_that_is_busy_is_asked_again_and_not_for_ever() {
        let busy = || json("429 Too Many Requests", "{}");
        let (outcome, requests) = quote(vec![
            busy(),
            json("500 x", ""),
            json("200 OK", r#"{"quote":"AA"}"#),
        ]);
        assert_eq!((outcome.expect("a quote"), requests.len()), (vec![0], 3));
        let (outcome, requests) = quote(vec![busy(), busy(), busy()]);
        assert_eq!(outcome.expect_err("busy").code(), "attester-metadata");
        assert_eq!(requests.len(), 3);
        let (outcome, requests) = quote(vec![json("404 Not Found", "{}")]);
        assert!(outcome.is_err() && requests.len() == 1);
    }

    #[test]
    fn answers_of_another_shape_are_refused() {
        let long = format!(r#"{{"quote":"{}"}}"#, "A".repeat(24 * 1024));
        for body in [
            "",
            "[]",
            "{}",
            r#"{"quote":1}"#,
            r#"{"quote":""}"#,
            r#"{"quote":"+/"}"#,
            &long,
        ] {
            let (outcome, _) = quote(vec![json("200 OK", body)]);
            assert!(outcome.is_err(), "{}", &body[..body.len().min(80)]);
        }
    }

    #[test]
    fn the_chips_certificates_become_endorsements() {
        let text = |certificate: &[u8]| String::from_utf8(pem::encode(certificate)).expect("text");
        let chain = text(b"ask") + &text(b"ark");
        let body = serde_json::json!({
            "vcekCert": text(b"vcek"), "tcbm": "D315000000000004",
            "certificateChain": chain, "cacheControl": "86400",
        });
        let server = Server::answering(vec![json("200 OK", &body.to_string())]);
        let endorsements = MetadataService::at(server.address)
            .snp_endorsements()
            .expect("endorsements");
        let document = |kind| endorsements.document(kind).expect("a document").to_vec();
        assert_eq!(document(EndorsementKind::SnpLeaf), b"vcek");
        assert_eq!(document(EndorsementKind::SnpIntermediate), b"ask");
        let request = &server.requests()[0];
        assert!(
            request.starts_with("GET /metadata/THIM/amd/certification HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nMetadata: true\r\n"), "{request}");

        for body in [r#"{"vcekCert":"","certificateChain":""}"#, r#"{"vcekCert":"x"}"#] {
            let server = Server::answering(vec![json("200 OK", body)]);
            assert!(
                MetadataService::at(server.address).snp_endorsements().is_err(),
                "{body}"
            );
            server.requests();
        }
    }
}
