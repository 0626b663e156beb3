//! The examination of a launch endorsement.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::endorsement::LaunchEndorsement;
use super::rules;
use crate::UnixTime;
use crate::examination::Examination;
use crate::policy::{GceFirmware, Machine};
use crate::x509::{Certificate, Path, PathFault, SignatureAlgorithm};

/// What is examined, and against what.
pub(crate) struct Evidence<'a> {
    pub(crate) document: Option<&'a [u8]>,
    pub(crate) policy: &'a GceFirmware,
    pub(crate) machine: Machine,
    /// Launch digest or MRTD.
    pub(crate) measurement: &'a [u8; 48],
}

/// Records a clause for each of [`rules::RULES`], and says whether the measurement is endorsed.
pub(crate) fn examine(examination: &mut Examination, evidence: &Evidence<'_>) -> bool {
    let endorsement = evidence.document.and_then(LaunchEndorsement::parse);
    let found = match evidence.document {
        None => String::from("none"),
        Some(document) => format!("{} bytes of another shape", document.len()),
    };
    let endorsement = examination.require(&rules::FORMAT, endorsement, "a launch endorsement", found);
    let Some(endorsement) = endorsement else {
        return false;
    };
    let signed = signed(examination, &endorsement, evidence.policy);
    let matches = measured(examination, &endorsement, evidence);
    let recent = recent(examination, &endorsement, evidence);
    signed && matches && recent
}

/// Whether Google's signer signed it, with a certificate that is valid now.
fn signed(examination: &mut Examination, endorsement: &LaunchEndorsement<'_>, policy: &GceFirmware) -> bool {
    let anchor = &policy.root_certificate.0;
    let signer = Certificate::parse(endorsement.certificate).ok();
    // The bundle goes from the root down; a path goes up.
    let authorities: Option<Vec<Certificate<'_>>> = endorsement
        .authorities
        .iter()
        .rev()
        .map(|authority| Certificate::parse(authority).ok())
        .collect();
    let key = signer
        .as_ref()
        .filter(|signer| signer.is_signer())
        .and_then(|signer| signer.public_key().ok());
    let path = signer.zip(authorities).map(|(signer, mut authorities)| {
        authorities.insert(0, signer);
        Path::walk(&authorities, anchor)
    });
    let found = match &path {
        None => String::from("malformed certificates"),
        Some(Err(fault)) => no_path(*fault),
        Some(Ok(_)) if key.is_none() => String::from("a certificate that is not for signatures"),
        Some(Ok(_)) => anchor.common_name.clone(),
    };
    let path = path.and_then(Result::ok);
    let chained = examination.check(
        &rules::CHAIN,
        path.is_some() && key.is_some(),
        anchor.common_name.clone(),
        found,
    );
    let signed = key.is_some_and(|key| {
        key.verifies(
            SignatureAlgorithm::RsaPssSha256,
            endorsement.golden,
            endorsement.signature,
        )
    });
    examination.check(
        &rules::SIGNATURE,
        signed,
        "RSASSA-PSS with SHA-256",
        if signed { "valid" } else { "not valid" },
    );
    let (now, issued) = (examination.now(), endorsement.issued);
    let until = path
        .as_ref()
        .map_or(UnixTime::from_seconds(0), |path| path.not_after);
    let valid = path.is_some_and(|path| path.is_valid_at(now) && issued <= now);
    examination.check(
        &rules::VALIDITY,
        valid,
        format!("issued and valid at {now}"),
        format!("issued {issued}, certificates until {until}"),
    );
    examination.relies_until(until);
    chained && signed && valid
}

fn no_path(fault: PathFault) -> String {
    match fault {
        PathFault::Length => String::from("too many certificates"),
        PathFault::NotAuthority(at) => format!("certificate {at} is no authority"),
        PathFault::UnknownCritical(at) => format!("certificate {at} has an unknown critical extension"),
        PathFault::NotIssued(at) => format!("certificate {at} is not issued by the next"),
    }
}

fn measured(
    examination: &mut Examination,
    endorsement: &LaunchEndorsement<'_>,
    evidence: &Evidence<'_>,
) -> bool {
    let (measurements, unit) = match evidence.machine {
        Machine::Snp => (&endorsement.snp, "vCPUs"),
        Machine::Tdx => (&endorsement.tdx, "GiB"),
    };
    let of_sizes = measurements.as_ref().map_or(&[][..], |known| &known.of_sizes);
    let sizes: Vec<u32> = of_sizes
        .iter()
        .filter(|(_, measurement)| measurement == evidence.measurement)
        .map(|(size, _)| *size)
        .collect();
    let accepted = evidence.policy.sizes(evidence.machine);
    let matches = sizes
        .iter()
        .any(|size| accepted.is_some_and(|accepted| accepted.contains(*size)));
    let found = if sizes.is_empty() {
        hex::encode(evidence.measurement)
    } else {
        let sizes: Vec<String> = sizes.iter().map(u32::to_string).collect();
        format!("endorsed for {} {unit}", sizes.join(" or "))
    };
    examination.check(
        &rules::MEASUREMENT,
        matches,
        format!(
            "one of {} of firmware {}, {} {unit}",
            of_sizes.len(),
            hex::encode(endorsement.firmware_digest),
            accepted.map_or_else(String::new, ToString::to_string),
        ),
        found,
    )
}

fn recent(
    examination: &mut Examination,
    endorsement: &LaunchEndorsement<'_>,
    evidence: &Evidence<'_>,
) -> bool {
    let measurements = match evidence.machine {
        Machine::Snp => &endorsement.snp,
        Machine::Tdx => &endorsement.tdx,
    };
    let (floor, minimum) = (evidence.policy.issued_after.0, evidence.policy.svn_minimum);
    let svn = measurements.as_ref().map(|known| known.svn);
    examination.check(
        &rules::FLOOR,
        endorsement.issued >= floor && svn.is_some_and(|svn| svn >= minimum),
        format!("issued after {floor}, at least version {minimum}"),
        format!(
            "issued {}, version {}",
            endorsement.issued,
            svn.map_or_else(|| String::from("none"), |svn| svn.to_string())
        ),
    )
}
