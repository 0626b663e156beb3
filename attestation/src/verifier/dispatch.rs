//! Which code examines which platform, and which rules it must have recorded.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{RawEvidence, Verifier};
use crate::claims::Claims;
use crate::clause::Question::{Expected, Genuine};
use crate::examination::{Examination, Fault, Rule};
use crate::policy::{SnpPolicy, TdxPolicy};
use crate::simulated::SignatureDomain;
use crate::{
    Assurance, PlatformTag, ReportData, azure, gce, nvidia, snp, statement, tdx, tpm, vtpm_qualifying_data,
};

static PLATFORM: Rule = Rule::new(
    "platform-accepted",
    Genuine,
    Fault::Refused,
    "policy: a table for the platform",
    "evidence of a kind that nobody asked for; simulated evidence",
);
static EVENT_LOG: Rule = Rule::new(
    "event-log-absent",
    Expected,
    Fault::Unsupported,
    "Adyton, bundle: evidence without run-time registers has no log",
    "a log that nobody compared with anything",
);
static COMMON: &[&Rule] = &[&PLATFORM];
static WITHOUT_LOG: &[&Rule] = &[&EVENT_LOG];

impl Verifier {
    /// Has the platform examined; `report_data` is `None` if the statement could not be read.
    pub(super) fn examine_platform(
        &self,
        examination: &mut Examination,
        evidence: &RawEvidence<'_>,
        report_data: Option<&ReportData>,
    ) -> Option<Claims> {
        let platform = evidence.platform;
        if !self.accept(examination, platform) {
            return None;
        }
        check_log_absent(examination, evidence);
        let collateral_age_seconds_max = self.policy.collateral_age_seconds_max;
        let domain = domain(platform);
        let snp = |policy, anchors| snp::Evidence {
            platform,
            domain,
            report: evidence.evidence,
            endorsements: evidence.endorsements,
            policy,
            anchors,
            collateral_age_seconds_max,
            report_data,
        };
        let tdx = |policy, anchor| tdx::Evidence {
            platform,
            domain,
            quote: evidence.evidence,
            endorsements: evidence.endorsements,
            event_log: evidence.event_log,
            policy,
            anchor,
            collateral_age_seconds_max,
            report_data,
        };
        let policy = &self.policy;
        match platform {
            PlatformTag::AmdSevSnp => {
                snp::examine(examination, &snp(policy.snp.as_ref()?, &self.snp_anchors))
            }
            PlatformTag::SimulatedAmdSevSnp => snp::examine(
                examination,
                &snp(policy.simulated_snp.as_ref()?, &self.simulated_snp_anchors),
            ),
            PlatformTag::IntelTdx => {
                tdx::examine(examination, &tdx(policy.tdx.as_ref()?, self.tdx_anchor.as_ref()?))
            }
            PlatformTag::SimulatedIntelTdx => {
                let policy = policy.simulated_tdx.as_ref()?;
                tdx::examine(examination, &tdx(policy, &policy.root_certificate.as_ref()?.0))
            }
            PlatformTag::AzureAmdSevSnp
            | PlatformTag::AzureIntelTdx
            | PlatformTag::SimulatedAzureAmdSevSnp => {
                let qualifying_data = report_data.map(vtpm_qualifying_data);
                let qualifying_data = qualifying_data.as_ref().map(|data| &data[..]);
                self.examine_azure(examination, evidence, qualifying_data)
            }
        }
    }

    pub(super) fn accept(&self, examination: &mut Examination, platform: PlatformTag) -> bool {
        let accepted = PlatformTag::ALL
            .into_iter()
            .filter(|tag| self.policy.accepts(*tag));
        let expected = accepted.map(PlatformTag::as_str).collect::<Vec<_>>().join(" or ");
        let accepts = self.policy.accepts(platform);
        examination.check(&PLATFORM, accepts, expected, platform.to_string())
    }

    /// Azure's evidence, whose vTPM signed `qualifying_data`.
    pub(super) fn examine_azure(
        &self,
        examination: &mut Examination,
        evidence: &RawEvidence<'_>,
        qualifying_data: Option<&[u8]>,
    ) -> Option<Claims> {
        let (real, simulated) = (&self.policy.azure, &self.policy.simulated_azure);
        let (policy, processor, anchor) = match evidence.platform {
            PlatformTag::AzureAmdSevSnp => {
                let policy = real.as_ref()?;
                let processor = azure::Processor::Snp(policy.snp.as_ref()?, &self.snp_anchors);
                (policy, processor, self.azure_anchor.as_ref()?)
            }
            PlatformTag::AzureIntelTdx => {
                let policy = real.as_ref()?;
                let processor = azure::Processor::Tdx(policy.tdx.as_ref()?, self.tdx_anchor.as_ref()?);
                (policy, processor, self.azure_anchor.as_ref()?)
            }
            PlatformTag::SimulatedAzureAmdSevSnp => {
                let policy = simulated.as_ref()?;
                let anchors = &self.simulated_azure_snp_anchors;
                let processor = azure::Processor::Snp(policy.snp.as_ref()?, anchors);
                (policy, processor, &policy.vtpm_root_certificate.as_ref()?.0)
            }
            _ => return None,
        };
        azure::examine(
            examination,
            &azure::Evidence {
                platform: evidence.platform,
                domain: domain(evidence.platform),
                evidence: evidence.evidence,
                event_log: evidence.event_log,
                endorsements: evidence.endorsements,
                policy,
                processor,
                anchor,
                collateral_age_seconds_max: self.policy.collateral_age_seconds_max,
                qualifying_data,
            },
        )
    }

    /// The rules on evidence of a platform, [`COMMON`] included.
    pub(super) fn platform_rules(&self, platform: PlatformTag) -> Vec<&'static [&'static Rule]> {
        let rules: &[_] = match platform {
            PlatformTag::AmdSevSnp | PlatformTag::SimulatedAmdSevSnp => &[COMMON, snp::RULES, WITHOUT_LOG],
            PlatformTag::IntelTdx | PlatformTag::SimulatedIntelTdx => &[COMMON, tdx::RULES],
            PlatformTag::AzureAmdSevSnp | PlatformTag::SimulatedAzureAmdSevSnp => {
                &[COMMON, azure::RULES, tpm::RULES, snp::RULES]
            }
            PlatformTag::AzureIntelTdx => &[COMMON, azure::RULES, azure::TD_RULES, tpm::RULES, tdx::RULES],
        };
        let mut rules = rules.to_vec();
        if self.takes_googles_word(platform) {
            rules.push(gce::RULES);
        }
        rules
    }

    /// Whether the policy takes firmware on Google's endorsement.
    fn takes_googles_word(&self, platform: PlatformTag) -> bool {
        let policy = &self.policy;
        let snp = |policy: &Option<SnpPolicy>| policy.as_ref().is_some_and(|snp| snp.gce_firmware.is_some());
        let tdx = |policy: &Option<TdxPolicy>| policy.as_ref().is_some_and(|tdx| tdx.gce_firmware.is_some());
        match platform {
            PlatformTag::AmdSevSnp => snp(&policy.snp),
            PlatformTag::SimulatedAmdSevSnp => snp(&policy.simulated_snp),
            PlatformTag::IntelTdx => tdx(&policy.tdx),
            PlatformTag::SimulatedIntelTdx => tdx(&policy.simulated_tdx),
            // The paravisor's measurement is Microsoft's; a policy that says otherwise is refused at reading.
            PlatformTag::AzureAmdSevSnp
            | PlatformTag::AzureIntelTdx
            | PlatformTag::SimulatedAzureAmdSevSnp => false,
        }
    }
}

/// Every rule of every platform, each once, with the name of the group that it belongs to.
pub(crate) fn every_rule() -> Vec<(&'static str, &'static [&'static Rule])> {
    alloc::vec![
        ("Every platform", COMMON),
        ("AMD SEV-SNP", snp::RULES),
        ("Evidence without run-time registers", WITHOUT_LOG),
        ("Intel TDX", tdx::RULES),
        ("Azure confidential VMs", azure::RULES),
        ("Azure confidential VMs on TDX", azure::TD_RULES),
        ("vTPM quotes", tpm::RULES),
        ("Google launch endorsements", gce::RULES),
        ("Google vTPM (run by the host, outside the TEE)", gce::VTPM_RULES),
        ("NVIDIA devices", nvidia::RULES),
        ("NVIDIA reference manifests", nvidia::MANIFEST_RULES),
        ("NVIDIA devices of one machine", nvidia::SET_RULES),
        ("Devices in a bundle", super::devices::RULES),
        ("Identity statement", statement::STATEMENT_RULES),
        ("Binding", statement::REPORT_DATA_RULES),
        ("A revocation list on its own", super::alone::list::RULES),
        ("An event log on its own", super::alone::log::RULES),
    ]
}

/// The domain in which evidence of a platform is signed.
const fn domain(platform: PlatformTag) -> SignatureDomain {
    if platform.is_simulated() {
        SignatureDomain::Simulated
    } else {
        SignatureDomain::Hardware
    }
}

pub(super) const fn assurance(platform: PlatformTag) -> Assurance {
    if platform.is_simulated() {
        Assurance::Simulated
    } else {
        Assurance::Hardware
    }
}

/// On platforms whose registers a log explains, their own rules are about the log.
fn check_log_absent(examination: &mut Examination, evidence: &RawEvidence<'_>) {
    if matches!(
        evidence.platform,
        PlatformTag::AmdSevSnp | PlatformTag::SimulatedAmdSevSnp
    ) {
        let absent = evidence.event_log.is_none();
        let found = if absent { "none" } else { "an event log" };
        examination.check(&EVENT_LOG, absent, "no event log", found);
    }
}
