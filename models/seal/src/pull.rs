//! `pull`: a model from a hub, sealed as it arrives. No byte of it rests on disk in the clear.
//!
//! The hub is asked what it holds, the broker whether it would register, and only then a key is made. With a key file, a
//! pull that was interrupted goes on with the same command; without one, what arrived is removed with its key.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sealed_model::{
    Arrival, ArrivingFile, ArrivingObject, FinishedObject, Manifest, ModelKey, OwnerSigningKey, Progressed,
    SealRequest,
};

use crate::cli::Pull;
use crate::error::{Result, SealError};
use crate::hub::Hub;
use crate::output::{Meter, Output};
use crate::seal::Registration;
use crate::selection::select;
use crate::{keys, seal, store};

/// Failures in a row, without one byte between them, after which a pull gives up.
const FAILURES_MAX: u32 = 6;
/// Pause after the first failure; doubled after each further one.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// Pulls, seals, and registers if a broker was named.
pub(crate) async fn pull(arguments: Pull, output: Output) -> Result<()> {
    let owner = keys::signing_key(&arguments.owner_key)?;
    let owner_key = owner.public_key();
    let repository = &arguments.repository;
    let model_id = arguments
        .model_id
        .clone()
        .unwrap_or_else(|| repository.name.clone());
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => store::place_for(&repository.name)?,
    };
    let hub = Hub::new(
        &arguments.hub,
        arguments.hub_token_file.as_deref(),
        arguments.hub_ca.as_deref(),
    )?;
    let listing = hub.listing(repository).await?;
    let files = select(listing.files, &arguments.files)?;
    let source = format!("hf:{}@{}", repository.name, listing.commit);
    output.step(&format!(
        "{source}: {} files, {} bytes",
        files.len(),
        files.iter().map(|file| file.bytes).sum::<u64>()
    ));
    let registration = match &arguments.broker {
        Some(broker) => Some(Registration::prepare(broker, &model_id).await?),
        None => None,
    };

    let kept = arguments.model_key_file.as_deref();
    let key = model_key(kept, &out)?;
    let job = Job {
        hub: &hub,
        arguments: &arguments,
        commit: listing.commit.as_str(),
        source: &source,
        output,
    };
    let pulled = tokio::select! {
        pulled = job.run(files, &model_id, &out, &owner, &key) => pulled,
        Ok(()) = tokio::signal::ctrl_c() => Err(SealError::Stopped),
    };
    let manifest = match pulled {
        Ok(manifest) => manifest,
        Err(error) if kept.is_some() && error.may_go_on() => {
            return Err(SealError::Interrupted {
                source: Box::new(error),
            });
        }
        Err(error) => return Err(error),
    };
    seal::complete(
        &manifest,
        &owner_key,
        &key,
        registration,
        &out,
        kept.is_some(),
        output,
    )
    .await
}

/// The key of an arrival that was interrupted, or a new one.
fn model_key(kept: Option<&Path>, out: &Path) -> Result<ModelKey> {
    match kept {
        Some(path) if path.exists() && Arrival::is_begun(out) => keys::read_model_key(path),
        Some(path) => {
            let key = ModelKey::generate()?;
            keys::write_model_key(path, &key)?;
            Ok(key)
        }
        None => Ok(ModelKey::generate()?),
    }
}

/// One pull.
struct Job<'a> {
    hub: &'a Hub,
    arguments: &'a Pull,
    commit: &'a str,
    source: &'a str,
    output: Output,
}

impl Job<'_> {
    async fn run(
        &self,
        files: Vec<ArrivingFile>,
        model_id: &str,
        out: &Path,
        owner: &OwnerSigningKey,
        key: &ModelKey,
    ) -> Result<Manifest> {
        let request = SealRequest {
            model_id,
            version: self.arguments.model_version,
            key,
            owner,
            threads: 1,
            stop: &AtomicBool::new(false),
        };
        let kept = self.arguments.model_key_file.is_some();
        let arrival = Arrival::open(out, &request, self.source, files, kept)?;
        let mut progress = Progress {
            meter: self.output.progress("pulling"),
            before: 0,
            bytes_total: arrival.files().iter().map(|file| file.bytes).sum(),
        };
        let mut objects = Vec::with_capacity(arrival.files().len());
        for (position, file) in arrival.files().iter().enumerate() {
            objects.push(self.file(file, arrival.object(position)?, &progress).await?);
            progress.before += file.bytes;
        }
        drop(progress);
        Ok(arrival.finish(objects)?)
    }

    /// Fetches what is missing of one file, with pauses between failures.
    async fn file(
        &self,
        file: &ArrivingFile,
        mut object: ArrivingObject,
        progress: &Progress,
    ) -> Result<FinishedObject> {
        let mut failures = 0;
        while object.bytes_done() < file.bytes {
            let before = object.bytes_done();
            let Err(error) = self.fetch(file, &mut object, progress).await else {
                continue;
            };
            if !error.may_go_on() {
                return Err(error);
            }
            failures = if object.bytes_done() > before {
                1
            } else {
                failures + 1
            };
            if failures == FAILURES_MAX {
                return Err(error);
            }
            self.output.step(&format!("{}: {error}; trying again", file.name));
            tokio::time::sleep(PAUSE_MIN * 2_u32.pow(failures - 1)).await;
        }
        Ok(object.finish()?)
    }

    async fn fetch(
        &self,
        file: &ArrivingFile,
        object: &mut ArrivingObject,
        progress: &Progress,
    ) -> Result<()> {
        let repository = &self.arguments.repository;
        let offset = object.bytes_done();
        let mut content = self.hub.content(repository, self.commit, file, offset).await?;
        while let Some(bytes) = content.next().await? {
            object.write(&bytes)?;
            progress.show(object.bytes_done());
        }
        if object.bytes_done() < file.bytes {
            return Err(SealError::HubUnreachable("the answer ended early".to_owned()));
        }
        Ok(())
    }
}

struct Progress {
    meter: Meter,
    /// Bytes of the files before this one.
    before: u64,
    bytes_total: u64,
}

impl Progress {
    fn show(&self, bytes_of_file: u64) {
        self.meter.show(Progressed {
            bytes_done: self.before + bytes_of_file,
            bytes_total: self.bytes_total,
        });
    }
}

impl SealError {
    /// Whether the same pull can succeed later, with what arrived until now.
    fn may_go_on(&self) -> bool {
        matches!(self, Self::HubUnreachable(_) | Self::HubBusy | Self::Stopped)
    }
}
