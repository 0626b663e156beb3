//! Evidence over the current identity statement, collected anew for each nonce.
//!
//! Endorsements come with the evidence where the platform hands them over, else from the host's cache. Nobody
//! trusts them for that: every document is signed by the manufacturer and checked by whoever verifies.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use attestation::{
    Bundle, DevicePolicy, Endorsements, Nonce, ReportData, Statement, VerifiedDevices, device_subject,
    endorsement_subject,
};
use attester::{Attester, Collected};
use tokio::sync::Semaphore;
use wire::{limits, message::StreamPurpose};

use crate::{
    clock::now,
    error::{EnclaveError, Result},
    transport::Channel,
};

/// Collections at once: the security processor is one device.
const COLLECTIONS_MAX: usize = 4;
/// How long endorsements from the host's cache are used before it is asked again.
const ENDORSEMENTS_SECONDS_MAX: Duration = Duration::from_secs(600);
/// Statements remembered for the receipts of requests still in flight.
const STATEMENTS_MAX: usize = 4;

/// Collects evidence and keeps the statements it is about.
pub(crate) struct EvidenceDesk {
    attester: Arc<dyn Attester>,
    channel: Channel,
    collections: Semaphore,
    statements: RwLock<VecDeque<(u64, Arc<Statement>)>>,
    endorsements: Mutex<Option<(Instant, Endorsements)>>,
}

impl EvidenceDesk {
    /// A desk without a statement.
    pub(crate) fn new(attester: Arc<dyn Attester>, channel: Channel) -> Self {
        Self {
            attester,
            channel,
            collections: Semaphore::new(COLLECTIONS_MAX),
            statements: RwLock::new(VecDeque::new()),
            endorsements: Mutex::new(None),
        }
    }

    /// From now on evidence is about `statement`, the one of `epoch`.
    pub(crate) fn publish(&self, epoch: u64, statement: Arc<Statement>) {
        let mut statements = self.statements.write().unwrap_or_else(PoisonError::into_inner);
        if statements.len() == STATEMENTS_MAX {
            statements.pop_front();
        }
        statements.push_back((epoch, statement));
    }

    /// The current statement.
    pub(crate) fn statement(&self) -> Result<Arc<Statement>> {
        let statements = self.statements.read().unwrap_or_else(PoisonError::into_inner);
        let (_, statement) = statements
            .back()
            .ok_or(EnclaveError::Evidence("no statement yet"))?;
        Ok(Arc::clone(statement))
    }

    /// SHA-256 of the statement of `epoch`, while it is remembered.
    pub(crate) fn statement_sha256(&self, epoch: u64) -> Option<[u8; 32]> {
        let statements = self.statements.read().unwrap_or_else(PoisonError::into_inner);
        statements
            .iter()
            .find(|(of, _)| *of == epoch)
            .map(|(_, statement)| statement.sha256())
    }

    /// Has the devices of this machine answer for report data of our own, and appraises them: before they are stated,
    /// and so before anything is asked of the broker.
    pub(crate) async fn appraise_devices(&self, policy: &DevicePolicy) -> Result<VerifiedDevices> {
        let mut report_data = [0; 64];
        getrandom::fill(&mut report_data).map_err(|_| EnclaveError::Keys("no randomness"))?;
        let mut collected = self.collect(report_data).await?;
        self.endorse_devices(&mut collected).await;
        policy
            .appraise(&collected.devices, &report_data, now())
            .map_err(|error| EnclaveError::Devices {
                clause: error.clause().id,
            })
    }

    /// The encoded bundle: fresh evidence over `statement` and `nonce`.
    pub(crate) async fn bundle(&self, statement: &Statement, nonce: &Nonce) -> Result<Vec<u8>> {
        let mut collected = self.collect(statement.report_data(nonce)).await?;
        let platform = self.attester.platform();
        if !self.attester.brings_endorsements() {
            let known = self.published(&collected).await?;
            collected.endorsements.fill_from(&known);
        }
        self.endorse_devices(&mut collected).await;
        let bundle = Bundle {
            platform,
            evidence: collected.evidence,
            statement: statement.statement_bytes().to_vec(),
            event_log: collected.event_log,
            endorsements: collected.endorsements,
            devices: collected.devices,
        };
        bundle
            .encode()
            .map_err(|_| EnclaveError::Evidence("over the bounds of a bundle"))
    }

    /// What the platform says over `report_data`, without anything that was published about it.
    pub(crate) async fn collect(&self, report_data: ReportData) -> Result<Collected> {
        let _turn = self
            .collections
            .acquire()
            .await
            .map_err(|_| EnclaveError::Evidence("stopping"))?;
        let attester = Arc::clone(&self.attester);
        tokio::task::spawn_blocking(move || attester.evidence(&report_data))
            .await
            .map_err(|_| EnclaveError::Evidence("collection failed"))?
            .map_err(|error| EnclaveError::Evidence(error.code()))
    }

    /// What the manufacturer published, by way of the host's cache.
    async fn published(&self, collected: &Collected) -> Result<Endorsements> {
        let kept = self
            .endorsements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some((at, endorsements)) = &kept
            && at.elapsed() < ENDORSEMENTS_SECONDS_MAX
        {
            return Ok(endorsements.clone());
        }
        let platform = self.attester.platform();
        let subject = endorsement_subject(platform, &collected.evidence)
            .map_err(|_| EnclaveError::Evidence("the platform's evidence is not readable"))?;
        match self.ask_host(platform.as_str(), subject).await {
            Ok(endorsements) => {
                let mut place = self.endorsements.lock().unwrap_or_else(PoisonError::into_inner);
                *place = Some((Instant::now(), endorsements.clone()));
                Ok(endorsements)
            }
            // The older ones are better than none: how old is too old is for whoever verifies.
            Err(error) => kept.map(|(_, endorsements)| endorsements).ok_or(error),
        }
    }

    /// Adds what NVIDIA published about each device. What the host does not have, whoever appraises will miss.
    async fn endorse_devices(&self, collected: &mut Collected) {
        for device in &mut collected.devices {
            let subject = device_subject(device.kind, &device.evidence, &device.certificates);
            let Some(subject) = subject else { continue };
            if let Ok(known) = self.ask_host(device.kind.as_str(), subject).await {
                device.endorsements.fill_from(&known);
            }
        }
    }

    async fn ask_host(&self, platform: &str, subject: Vec<u8>) -> Result<Endorsements> {
        let purpose = StreamPurpose::Endorsements {
            platform: platform.to_owned(),
            subject,
        };
        let bytes = self.channel.ask(purpose, limits::ENDORSEMENTS_BYTES_MAX).await?;
        Endorsements::decode(&bytes)
            .map_err(|_| EnclaveError::Evidence("the host's endorsements are malformed"))
    }
}
