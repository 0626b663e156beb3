//! What the other verifiers say.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dcap_qvl::QuoteCollateralV3;
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::Opinion;
use crate::corpus::{Collateral, Documents, Piece};

/// The name of the verifier that was asked.
pub fn name(piece: &Piece) -> &'static str {
    match piece.documents {
        Documents::Snp { .. } => "sev",
        Documents::Tdx(_) => "dcap-qvl",
    }
}

/// Its opinion, and its words.
pub fn opinion(piece: &Piece) -> (Opinion, String) {
    let asked = catch_unwind(AssertUnwindSafe(|| match &piece.documents {
        Documents::Snp {
            leaf,
            intermediate,
            root,
            ..
        } => sev(&piece.evidence, [leaf, intermediate, root]),
        Documents::Tdx(collateral) => dcap_qvl(&piece.evidence, collateral, piece.now.seconds()),
    }));
    match asked {
        Ok(Ok(())) => (Opinion::Accept, String::new()),
        Ok(Err(words)) => (Opinion::Reject, words),
        Err(_) => (Opinion::Panic, String::new()),
    }
}

fn sev(report: &[u8], [leaf, intermediate, root]: [&[u8]; 3]) -> Result<(), String> {
    let certificate = |der: &[u8]| Certificate::from_der(der).map_err(|error| error.to_string());
    let chain = Chain {
        ca: ca::Chain {
            ark: certificate(root)?,
            ask: certificate(intermediate)?,
        },
        vek: certificate(leaf)?,
    };
    let report = AttestationReport::from_bytes(report).map_err(|error| error.to_string())?;
    (&chain, &report).verify().map_err(|error| error.to_string())
}

/// Its `verify` leaves the status to the caller: only UpToDate is accepted, as by our default.
fn dcap_qvl(quote: &[u8], collateral: &Collateral, now_seconds: u64) -> Result<(), String> {
    let bytes = |hexadecimal: &str| hex::decode(hexadecimal).map_err(|error| error.to_string());
    let collateral = QuoteCollateralV3 {
        pck_crl_issuer_chain: collateral.pck_crl_issuer_chain.clone(),
        root_ca_crl: bytes(&collateral.root_ca_crl)?,
        pck_crl: bytes(&collateral.pck_crl)?,
        tcb_info_issuer_chain: collateral.tcb_info_issuer_chain.clone(),
        tcb_info: collateral.tcb_info.clone(),
        tcb_info_signature: bytes(&collateral.tcb_info_signature)?,
        qe_identity_issuer_chain: collateral.qe_identity_issuer_chain.clone(),
        qe_identity: collateral.qe_identity.clone(),
        qe_identity_signature: bytes(&collateral.qe_identity_signature)?,
        pck_certificate_chain: None,
    };
    let verified =
        dcap_qvl::verify::verify(quote, &collateral, now_seconds).map_err(|error| format!("{error:#}"))?;
    if verified.status == "UpToDate" {
        Ok(())
    } else {
        Err(verified.status)
    }
}
