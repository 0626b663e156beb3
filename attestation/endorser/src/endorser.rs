//! The Endorser's side of a deployment: endorsements for evidence, from the cache or their publishers.
//!
//! 1. The evidence names a subject; the cache may hold its endorsements.
//! 2. If they are fresh they are given.
//! 3. Otherwise the publishers are asked, and what they answer is kept ([`crate::keeper`]).
//! 4. If that fails, what is kept is given with a warning, but only while it is usable at all
//!    ([`crate::condition`]); else the error says what is missing and why nothing newer came.

use std::path::Path;

use attestation::{
    EndorsementKind, Endorsements, Lookup, PlatformTag, UnixTime, endorsement_lookup, endorsement_subject,
};

use crate::cache::Cache;
use crate::condition::{Ages, Condition, judge};
use crate::gce::{GceTcb, Technology};
use crate::kds::Kds;
use crate::keeper::{self, Offer};
use crate::ledger::Ledger;
use crate::nvidia::{Gpu, Nvidia};
use crate::pcs::Pcs;
use crate::place::Place;
use crate::service::Services;
use crate::thim::Thim;
use crate::{EndorserError, Transport};

/// Fetches and keeps endorsements.
pub struct Endorser {
    cache: Cache,
    services: Services,
    transport: Transport,
}

/// Evidence whose endorsements are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What kind of evidence it is.
    pub platform: PlatformTag,
    /// Raw report or quote.
    pub evidence: &'a [u8],
    /// Endorsements that came with the evidence: a certificate among them is not fetched again.
    pub with: Option<&'a Endorsements>,
    /// Whether Google's launch endorsement of its measurement is wanted too.
    pub launch_endorsement: bool,
}

/// Endorsements, and whether the publishers confirmed them lately.
#[derive(Debug)]
pub struct Served {
    /// The endorsements.
    pub endorsements: Endorsements,
    /// The subject for people.
    pub subject: String,
    /// Whether the publishers were asked and answered.
    pub fetched: bool,
    /// Why they are not as fresh as they should be: the publishers' failure.
    pub warning: Option<EndorserError>,
}

/// What to ask for.
enum Request<'a> {
    Platform {
        lookup: Lookup,
        known: Endorsements,
        launch_endorsement: bool,
    },
    Gpu(&'a Gpu),
    /// Nobody can be asked.
    Nothing(PlatformTag),
}

impl Endorser {
    /// An endorser over a cache folder.
    pub fn new(folder: &Path, services: Services, transport: Transport) -> Result<Self, EndorserError> {
        Ok(Self {
            cache: Cache::open(folder)?,
            services,
            transport,
        })
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The endorsements for evidence.
    pub async fn endorsements(
        &self,
        wanted: Wanted<'_>,
        ages: Ages,
        now: UnixTime,
    ) -> Result<Served, EndorserError> {
        let Wanted {
            platform, evidence, ..
        } = wanted;
        let subject = endorsement_subject(platform, evidence).map_err(EndorserError::Evidence)?;
        let place = Place::of(platform, &subject)?;
        let mut required = place.required(Some(&subject)).to_vec();
        if wanted.launch_endorsement {
            required.push(EndorsementKind::GceLaunchEndorsement);
        }
        let request = if platform.is_simulated() {
            Request::Nothing(platform)
        } else {
            Request::Platform {
                lookup: endorsement_lookup(platform, evidence).map_err(EndorserError::Evidence)?,
                known: wanted.with.cloned().unwrap_or_default(),
                launch_endorsement: wanted.launch_endorsement,
            }
        };
        self.serve(place, &subject, &required, request, ages, now).await
    }

    /// The endorsements for a GPU.
    pub async fn gpu_endorsements(
        &self,
        gpu: &Gpu,
        ages: Ages,
        now: UnixTime,
    ) -> Result<Served, EndorserError> {
        let subject = gpu.subject();
        let place = Place::of_gpu(subject)?;
        let required = place.required(Some(subject));
        self.serve(place, subject, required, Request::Gpu(gpu), ages, now)
            .await
    }

    async fn serve(
        &self,
        place: Place,
        subject: &[u8],
        required: &[EndorsementKind],
        request: Request<'_>,
        ages: Ages,
        now: UnixTime,
    ) -> Result<Served, EndorserError> {
        let ledger = Ledger::read(&self.cache)?;
        let kept = match self.cache.read(&place) {
            // A broken file is as good as none: it is fetched again.
            Err(error @ EndorserError::Malformed { .. }) => {
                self.transport.tell(&error.to_string());
                None
            }
            other => other?,
        };
        let condition = kept.as_ref().map_or_else(
            || Condition::Expired("nothing is kept".to_owned()),
            |kept| judge(&place, required, kept, &ledger, ages, now),
        );
        let text = place.describe(Some(subject));
        let served = |endorsements, fetched, warning| Served {
            endorsements,
            subject: text.clone(),
            fetched,
            warning,
        };
        if let (Condition::Fresh, Some(kept)) = (&condition, &kept) {
            return Ok(served(kept.clone(), false, None));
        }
        let renewed = match self.fetch(&request, kept.as_ref()).await {
            Ok(endorsements) => self.take_in(&place, subject, &request, endorsements, now),
            Err(error) => Err(error),
        };
        match (renewed, condition, kept) {
            (Ok((endorsements, ledger)), ..) => {
                match judge(&place, required, &endorsements, &ledger, ages, now) {
                    // Fresh from the publisher and of no use all the same: the Verifier would say so.
                    Condition::Expired(problem) => Err(EndorserError::Unusable {
                        subject: text.clone(),
                        problem,
                        cause: None,
                    }),
                    _ => Ok(served(endorsements, true, None)),
                }
            }
            (Err(error), Condition::Stale(_), Some(kept)) => Ok(served(kept, false, Some(error))),
            (Err(error), condition, _) => Err(EndorserError::Unusable {
                subject: text.clone(),
                problem: condition.reason().unwrap_or_default().to_owned(),
                cause: Some(Box::new(error)),
            }),
        }
    }

    fn take_in(
        &self,
        place: &Place,
        subject: &[u8],
        request: &Request<'_>,
        endorsements: Endorsements,
        now: UnixTime,
    ) -> Result<(Endorsements, Ledger), EndorserError> {
        let _lock = self.cache.lock()?;
        // Others may have written while the publishers were asked.
        let mut ledger = Ledger::read(&self.cache)?;
        if let Request::Platform {
            lookup: Lookup::Tdx(lookup),
            ..
        } = request
        {
            ledger.know(&lookup.authority_certificate);
        }
        let offer = Offer {
            place: place.clone(),
            subject: Some(subject),
            endorsements,
            fetched: Some(now),
        };
        keeper::refuse_unfit(&offer, &ledger, now)?;
        let kept = keeper::keep(&self.cache, &mut ledger, offer)?;
        ledger.write(&self.cache)?;
        Ok((kept, ledger))
    }

    async fn fetch(
        &self,
        request: &Request<'_>,
        kept: Option<&Endorsements>,
    ) -> Result<Endorsements, EndorserError> {
        let transport = &self.transport;
        match request {
            Request::Nothing(platform) => Err(EndorserError::Unpublished(*platform)),
            Request::Gpu(gpu) => {
                let nvidia = Nvidia {
                    transport,
                    rim: &self.services.nvidia_rim,
                    ocsp: &self.services.nvidia_ocsp,
                };
                nvidia.endorsements(gpu).await
            }
            Request::Platform {
                lookup,
                known,
                launch_endorsement,
            } => {
                let mut known = known.clone();
                if let Some(kept) = kept {
                    known.fill_from(kept);
                }
                let (mut endorsements, technology, measurement) = match lookup {
                    Lookup::Snp(lookup) => {
                        let thim = self.services.azure_thim.as_ref();
                        let kds = Kds {
                            transport,
                            base: &self.services.amd_kds,
                            thim: thim.map(|base| Thim { transport, base }),
                        };
                        let endorsements = kds.endorsements(lookup, &known).await?;
                        (endorsements, Technology::SevSnp, &lookup.measurement)
                    }
                    Lookup::Tdx(lookup) => {
                        let pcs = Pcs {
                            transport,
                            base: &self.services.intel_pcs,
                            root_crl: &self.services.intel_root_crl,
                            update: self.services.intel_update,
                        };
                        (pcs.endorsements(lookup).await?, Technology::Tdx, &lookup.mrtd)
                    }
                    _ => {
                        return Err(EndorserError::Unidentified(
                            "its manufacturer's service is not known",
                        ));
                    }
                };
                if *launch_endorsement {
                    let bucket = GceTcb {
                        transport,
                        base: &self.services.gce_tcb,
                    };
                    let launch = bucket.launch_endorsement(technology, measurement).await?;
                    endorsements.insert(EndorsementKind::GceLaunchEndorsement, launch);
                }
                Ok(endorsements)
            }
        }
    }
}
