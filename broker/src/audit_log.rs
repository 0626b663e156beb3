//! The one task that writes records, and the handle to it.
//!
//! Everything that must be in order happens here, one after another: records of releases and refusals (committed
//! together when several wait), and changes by owners, each in one transaction with its record. A release is checked
//! against the directory once more in this task, so that after the record of a disablement no release is recorded.

use std::sync::{Arc, Mutex, PoisonError};

use attestation::UnixTime;
use audit::{Entry, Log, Receipt};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    change::{Change, Prepared},
    directory::Directory,
    error::{BrokerError, Result},
    gate::{Appraised, Recorded, Refused},
    key_store::TenantKeys,
    metrics::Metrics,
    refusal::RefusalCode,
    store::Store,
};

/// Records in one transaction.
const BATCH_MAX: usize = 256;
/// Commands that wait; more wait in their senders.
const QUEUE_MAX: usize = 1024;

/// The newest head of the log, for whoever asks.
#[derive(Debug, Clone)]
pub struct Head {
    /// Entries committed.
    pub entries: u64,
    /// The signed checkpoint.
    pub signed_checkpoint: String,
}

/// The handle to the writing task; cheap to clone. The task ends when every handle is gone.
#[derive(Clone)]
pub struct AuditLog {
    commands: mpsc::Sender<Command>,
    head: watch::Receiver<Head>,
    budget: Arc<Mutex<RefusalBudget>>,
    metrics: Metrics,
}

enum Command {
    Record(Record),
    Change {
        change: Change,
        now: UnixTime,
        reply: oneshot::Sender<Result<u64>>,
    },
    Probe {
        reply: oneshot::Sender<bool>,
    },
}

enum Record {
    Release {
        appraised: Box<Appraised>,
        reply: oneshot::Sender<std::result::Result<Recorded, Refused>>,
    },
    Refusal {
        refused: Refused,
        reply: oneshot::Sender<Refused>,
    },
}

impl AuditLog {
    /// Starts the task. `log` was resumed, so it is verified.
    pub fn start(
        log: Log<Store>,
        directory: Arc<Directory>,
        keys: Arc<std::sync::RwLock<TenantKeys>>,
        metrics: Metrics,
        refusals_per_minute_max: u32,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (commands, inbox) = mpsc::channel(QUEUE_MAX);
        let head = Head {
            entries: log.size(),
            signed_checkpoint: log.signed_checkpoint().to_owned(),
        };
        metrics.audit_size(head.entries);
        let (announce, head) = watch::channel(head);
        let task = Writer {
            log,
            directory,
            keys,
            announce,
            metrics: metrics.clone(),
        };
        let budget = Arc::new(Mutex::new(RefusalBudget::new(refusals_per_minute_max)));
        (
            Self {
                commands,
                head,
                budget,
                metrics,
            },
            tokio::spawn(task.run(inbox)),
        )
    }

    /// Makes the record of a release durable.
    ///
    /// # Errors
    /// A refusal: something changed meanwhile, or `audit-unavailable`. Either way the key is gone.
    pub async fn record_release(&self, appraised: Appraised) -> std::result::Result<Recorded, Refused> {
        let (reply, answer) = oneshot::channel();
        let unavailable = Unavailable::of(&appraised);
        let command = Command::Record(Record::Release {
            appraised: Box::new(appraised),
            reply,
        });
        if self.commands.send(command).await.is_err() {
            return Err(unavailable.refused());
        }
        answer.await.unwrap_or_else(|_| Err(unavailable.refused()))
    }

    /// Makes the record of a refusal durable and gives the refusal back; as `audit-unavailable` when it could not be
    /// recorded. Over the bound per minute it is counted only.
    pub async fn record_refusal(&self, refused: Refused, now: UnixTime) -> Refused {
        let within = self
            .budget
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(now);
        if !within {
            self.metrics.unrecorded_refusal();
            return refused;
        }
        let (reply, answer) = oneshot::channel();
        let unavailable = Unavailable(refused.clone());
        if self
            .commands
            .send(Command::Record(Record::Refusal { refused, reply }))
            .await
            .is_err()
        {
            return unavailable.refused();
        }
        answer.await.unwrap_or_else(|_| unavailable.refused())
    }

    /// Makes an owner's change durable together with its record, and then effective. Gives the index of the (last) record.
    ///
    /// # Errors
    /// What the change found wrong, or `audit-unavailable`; then nothing has changed.
    pub async fn change(&self, change: Change, now: UnixTime) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Change { change, now, reply };
        self.commands
            .send(command)
            .await
            .map_err(|_| BrokerError::AuditUnavailable)?;
        answer.await.map_err(|_| BrokerError::AuditUnavailable)?
    }

    /// Whether the store takes writes at this moment: writes, syncs and takes back some pages.
    pub async fn is_writable(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Probe { reply }).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// The newest head.
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }
}

/// The refusal to give when the writing task is not there any more.
struct Unavailable(Refused);

impl Unavailable {
    fn of(appraised: &Appraised) -> Self {
        Self(appraised.refusal(RefusalCode::AuditUnavailable))
    }

    fn refused(self) -> Refused {
        self.0.unrecorded()
    }
}

struct Writer {
    log: Log<Store>,
    directory: Arc<Directory>,
    keys: Arc<std::sync::RwLock<TenantKeys>>,
    announce: watch::Sender<Head>,
    metrics: Metrics,
}

impl Writer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let mut waiting = Vec::new();
        while let Some(first) = inbox.recv().await {
            let mut next = Some(first);
            while let Some(command) = next {
                match command {
                    Command::Record(record) => waiting.push(record),
                    Command::Change { change, now, reply } => {
                        self.write(&mut waiting).await;
                        // The one who asked may have gone; the change stands all the same.
                        let _ = reply.send(self.change(change, now).await);
                    }
                    Command::Probe { reply } => {
                        self.write(&mut waiting).await;
                        let writable = self.log.store().probe().await.is_ok();
                        let _ = reply.send(writable);
                    }
                }
                if waiting.len() == BATCH_MAX {
                    self.write(&mut waiting).await;
                }
                next = inbox.try_recv().ok();
            }
            self.write(&mut waiting).await;
        }
        self.log.store().close().await;
    }

    /// Writes the waiting records in one transaction and answers each.
    async fn write(&mut self, waiting: &mut Vec<Record>) {
        if waiting.is_empty() {
            return;
        }
        let records: Vec<Pending> = waiting
            .drain(..)
            .map(|record| Pending::of(record, &self.directory))
            .collect();
        let entries = records.iter().map(Pending::entry).collect();
        match self.commit(entries).await {
            Ok(receipts) => {
                for (pending, receipt) in records.into_iter().zip(receipts) {
                    pending.recorded(receipt);
                }
            }
            Err(_) => records.into_iter().for_each(Pending::failed),
        }
    }

    async fn commit(&mut self, entries: Vec<Entry>) -> audit::Result<Vec<Receipt>> {
        let count = entries.len();
        let committed = self.log.commit_all(entries).await;
        match &committed {
            Ok(receipts) => {
                debug_assert_eq!(receipts.len(), count);
                let signed_checkpoint = self.log.signed_checkpoint().to_owned();
                let head = Head {
                    entries: self.log.size(),
                    signed_checkpoint,
                };
                self.metrics.audit_size(head.entries);
                self.announce.send_replace(head);
            }
            Err(_) => self.metrics.audit_failed(),
        }
        committed
    }

    async fn change(&mut self, change: Change, now: UnixTime) -> Result<u64> {
        let prepared = {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            change.prepare(&self.directory, &mut keys)?
        };
        let Prepared {
            details,
            rows,
            effect,
        } = prepared;
        self.log.store().ride(rows);
        let entries = details.iter().map(|detail| detail.entry(now)).collect();
        let receipts = self
            .commit(entries)
            .await
            .map_err(|_| BrokerError::AuditUnavailable)?;
        effect.apply(&self.directory);
        receipts
            .last()
            .map(Receipt::index)
            .ok_or(BrokerError::AuditUnavailable)
    }
}

/// A record on its way to the store, with its answer.
enum Pending {
    Release {
        entry: Entry,
        appraised: Box<Appraised>,
        reply: oneshot::Sender<std::result::Result<Recorded, Refused>>,
    },
    /// A release that something came before.
    Overtaken {
        refused: Refused,
        reply: oneshot::Sender<std::result::Result<Recorded, Refused>>,
    },
    Refusal {
        refused: Refused,
        reply: oneshot::Sender<Refused>,
    },
}

impl Pending {
    fn of(record: Record, directory: &Directory) -> Self {
        match record {
            Record::Refusal { refused, reply } => Self::Refusal { refused, reply },
            Record::Release { appraised, reply } => match directory.permits(appraised.model()) {
                Ok(()) => Self::Release {
                    entry: appraised.entry().clone(),
                    appraised,
                    reply,
                },
                Err(code) => Self::Overtaken {
                    refused: appraised.refuse(code),
                    reply,
                },
            },
        }
    }

    fn entry(&self) -> Entry {
        match self {
            Self::Release { entry, .. } => entry.clone(),
            Self::Overtaken { refused, .. } | Self::Refusal { refused, .. } => refused.entry(),
        }
    }

    // In the two functions below a missing receiver is a connection that was closed meanwhile: the answer is dropped with
    // what it holds.

    fn recorded(self, receipt: Receipt) {
        match self {
            Self::Release { appraised, reply, .. } => drop(reply.send(appraised.recorded(receipt))),
            Self::Overtaken { refused, reply } => drop(reply.send(Err(refused))),
            Self::Refusal { refused, reply } => drop(reply.send(refused)),
        }
    }

    fn failed(self) {
        match self {
            Self::Release { appraised, reply, .. } => {
                drop(reply.send(Err(appraised.refuse(RefusalCode::AuditUnavailable))));
            }
            Self::Overtaken { refused, reply } => drop(reply.send(Err(refused.unrecorded()))),
            Self::Refusal { refused, reply } => drop(reply.send(refused.unrecorded())),
        }
    }
}

/// Refusals that may still be recorded in this minute.
struct RefusalBudget {
    per_minute_max: u32,
    minute: u64,
    left: u32,
}

impl RefusalBudget {
    fn new(per_minute_max: u32) -> Self {
        Self {
            per_minute_max,
            minute: 0,
            left: per_minute_max,
        }
    }

    fn take(&mut self, now: UnixTime) -> bool {
        let minute = now.seconds() / 60;
        if minute != self.minute {
            (self.minute, self.left) = (minute, self.per_minute_max);
        }
        let within = self.left > 0;
        self.left = self.left.saturating_sub(1);
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_bounded_in_each_minute() {
        let mut budget = RefusalBudget::new(2);
        let taken = |budget: &mut RefusalBudget, seconds| budget.take(UnixTime::from_seconds(seconds));
        assert!(taken(&mut budget, 0) && taken(&mut budget, 1) && !taken(&mut budget, 59));
        assert!(taken(&mut budget, 60) && taken(&mut budget, 61) && !taken(&mut budget, 62));
    }
}
