//! The embedded store: SQLite through sqlx, one writer.
//!
//! A record is durable when [`audit::Store::commit`] returns: journal mode WAL with `synchronous = FULL` syncs the
//! write-ahead log at every commit, and the entries are read back through a second connection, which sees them in the
//! files and not in the writer's memory. Changes of the model table ride in the transaction of their record.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use audit::{Batch, ReadBack};
use sealed_model::Wrap;
use sqlx::{
    Connection, QueryBuilder, Row, Sqlite, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    directory::RegisteredModel,
    error::{BrokerError, Result},
    history::History,
    model_policy::ReleasePolicy,
};

const PAGE_BYTES: u64 = 4096;
/// SQLite takes 32,766 variables in one statement; a row of the log has two.
const ROWS_IN_STATEMENT_MAX: usize = 1000;

/// A change of the model table, written in the transaction of its record.
pub(crate) enum RowChange {
    Put(ModelRow),
    Rewrap { model_id: String, wrap: String },
}

/// One row of the model table.
pub(crate) struct ModelRow {
    pub(crate) model_id: String,
    pub(crate) version: u64,
    pub(crate) manifest_digest: [u8; 32],
    pub(crate) owner_key: String,
    pub(crate) policy: String,
    pub(crate) wrap: String,
}

/// The writer's side of the store. Held by the one task that writes records.
pub struct Store {
    writer: Held,
    read_back: Held,
    riding: Mutex<Vec<RowChange>>,
    history: History,
    // The kernel gives the lock back when the descriptor closes, however the process ends.
    _lock: File,
}

/// A reader's side of the store.
pub struct Reader(Held);

/// A connection until it is closed.
struct Held(tokio::sync::Mutex<Option<SqliteConnection>>);

impl Held {
    async fn open(options: &SqliteConnectOptions) -> std::result::Result<Self, sqlx::Error> {
        let connection = SqliteConnection::connect_with(options).await?;
        Ok(Self(tokio::sync::Mutex::new(Some(connection))))
    }

    fn alone(&mut self) -> std::result::Result<&mut SqliteConnection, sqlx::Error> {
        self.0.get_mut().as_mut().ok_or(sqlx::Error::PoolClosed)
    }

    async fn close(&self) {
        if let Some(connection) = self.0.lock().await.take() {
            // Everything that was promised is durable already.
            let _ = connection.close().await;
        }
    }
}

impl Store {
    /// Opens the store, making it on the first start; refused while another process has it open.
    ///
    /// # Errors
    /// `store`, `store-version`, or `key-file` when the file cannot be made.
    pub async fn open(file: &Path, bytes_max: u64) -> Result<(Self, Reader)> {
        let lock = lock(file)?;
        if !file.exists() {
            crate::key_store::write_new(file, &[])?;
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .page_size(PAGE_BYTES as u32)
            .pragma("trusted_schema", "OFF")
            .pragma("max_page_count", (bytes_max / PAGE_BYTES).to_string());
        let mut writer = Held::open(&options).await?;
        sqlx::migrate!("./migrations").run(writer.alone()?).await?;
        let reading = options.pragma("query_only", "ON");
        let read_back = Held::open(&reading).await?;
        let reader = Reader(Held::open(&reading).await?);
        let store = Self {
            writer,
            read_back,
            riding: Mutex::default(),
            history: History::default(),
            _lock: lock,
        };
        Ok((store, reader))
    }

    /// What the log said when it was loaded.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// Puts changes into the transaction of the next commit. They are gone after it, whether it succeeded or not.
    pub(crate) fn ride(&self, changes: Vec<RowChange>) {
        *self.riding.lock().unwrap_or_else(PoisonError::into_inner) = changes;
    }

    /// Closes the files. What is asked of the store after that fails.
    pub(crate) async fn close(&self) {
        self.read_back.close().await;
        self.writer.close().await;
    }

    /// Writes, syncs and takes back some pages: as much as a batch of records needs.
    pub(crate) async fn probe(&self) -> Written {
        let mut held = self.writer.0.lock().await;
        let writer = held.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let probed = async {
            begin(writer).await?;
            sqlx::query("INSERT INTO probe (pages) VALUES (zeroblob(65536))")
                .execute(&mut *writer)
                .await?;
            sqlx::query("DELETE FROM probe")
                .execute(&mut *writer)
                .await
                .map(drop)
        };
        let written = probed.await;
        end(writer, written).await
    }
}

type Written = std::result::Result<(), sqlx::Error>;

async fn begin(writer: &mut SqliteConnection) -> Written {
    sqlx::query("BEGIN IMMEDIATE").execute(writer).await.map(drop)
}

/// Commits what was written, or rolls back.
async fn end(writer: &mut SqliteConnection, written: Written) -> Written {
    let ended = match written {
        Ok(()) => sqlx::query("COMMIT").execute(&mut *writer).await.map(drop),
        Err(error) => Err(error),
    };
    if ended.is_err() {
        // Some failures (disk full) have rolled back already; then there is nothing to roll back, and no harm.
        let _ = sqlx::query("ROLLBACK").execute(writer).await;
    }
    ended
}

async fn write_batch(writer: &mut SqliteConnection, batch: &Batch, changes: &[RowChange]) -> Written {
    let first = index(batch.first_index)?;
    let rows: Vec<(i64, &[u8])> = (first..)
        .zip(batch.entries.iter().map(|entry| entry.as_bytes()))
        .collect();
    for rows in rows.chunks(ROWS_IN_STATEMENT_MAX) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO audit_entry (entry_index, entry) ");
        insert.push_values(rows, |mut values, (at, entry)| {
            values.push_bind(*at).push_bind(*entry);
        });
        insert.build().execute(&mut *writer).await?;
    }
    sqlx::query(
        "INSERT INTO audit_checkpoint (id, note) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET note = ?1",
    )
    .bind(&batch.signed_checkpoint)
    .execute(&mut *writer)
    .await?;
    for change in changes {
        write_change(writer, change).await?;
    }
    Ok(())
}

async fn write_change(writer: &mut SqliteConnection, change: &RowChange) -> Written {
    match change {
        RowChange::Put(row) => {
            sqlx::query(
                "INSERT INTO model (model_id, version, manifest_digest, owner_key, policy, wrap)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (model_id) DO UPDATE
                     SET version = ?2, manifest_digest = ?3, owner_key = ?4, policy = ?5, wrap = ?6",
            )
            .bind(&row.model_id)
            .bind(index(row.version)?)
            .bind(row.manifest_digest.as_slice())
            .bind(&row.owner_key)
            .bind(&row.policy)
            .bind(&row.wrap)
            .execute(&mut *writer)
            .await?;
        }
        RowChange::Rewrap { model_id, wrap } => {
            sqlx::query("UPDATE model SET wrap = ?2 WHERE model_id = ?1")
                .bind(model_id)
                .bind(wrap)
                .execute(&mut *writer)
                .await?;
        }
    }
    Ok(())
}

impl audit::Store for Store {
    type Error = sqlx::Error;

    async fn commit(&mut self, batch: &Batch) -> std::result::Result<ReadBack, sqlx::Error> {
        let changes = std::mem::take(&mut *self.riding.lock().unwrap_or_else(PoisonError::into_inner));
        let writer = self.writer.alone()?;
        begin(writer).await?;
        let written = write_batch(writer, batch, &changes).await;
        end(writer, written).await?;
        read_from(self.read_back.alone()?, index(batch.first_index)?, i64::MAX).await
    }

    async fn load(&mut self) -> std::result::Result<ReadBack, sqlx::Error> {
        let held = read_from(self.read_back.alone()?, 0, i64::MAX).await?;
        self.history = History::default();
        for entry in &held.entries {
            self.history.push(entry);
        }
        Ok(held)
    }
}

impl Reader {
    /// Closes the file.
    pub(crate) async fn close(&self) {
        self.0.close().await;
    }

    /// Up to `limit` entries from `first` on, with the newest checkpoint.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn entries(&self, first: u64, limit: u32) -> Result<ReadBack> {
        let mut held = self.0.0.lock().await;
        let connection = held.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok(read_from(connection, index(first)?, i64::from(limit)).await?)
    }

    /// The model table, each row checked against the log and completed from it.
    pub(crate) async fn models(&self, history: &History) -> Result<Vec<RegisteredModel>> {
        let mut held = self.0.0.lock().await;
        let connection = held.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let rows =
            sqlx::query("SELECT model_id, version, manifest_digest, owner_key, policy, wrap FROM model")
                .fetch_all(connection)
                .await?;
        if rows.len() != history.models() {
            return Err(BrokerError::LogDamaged(
                "the model table has other models than the log",
            ));
        }
        rows.iter().map(|row| registered(row, history)).collect()
    }
}

fn registered(row: &sqlx::sqlite::SqliteRow, history: &History) -> Result<RegisteredModel> {
    let model_id: String = row.try_get("model_id")?;
    let damaged = |difference| BrokerError::RegistrationDamaged {
        model_id: model_id.clone(),
        difference,
    };
    let known = history
        .model(&model_id)
        .ok_or_else(|| damaged("it is not in the log"))?;
    let policy = ReleasePolicy::parse(row.try_get("policy")?).map_err(|_| damaged("policy"))?;
    if policy.model_id().as_str() != model_id {
        return Err(damaged("policy"));
    }
    let wrap: Wrap = serde_json::from_str(row.try_get("wrap")?).map_err(|_| damaged("wrap"))?;
    let digest: &[u8] = row.try_get("manifest_digest")?;
    let model = RegisteredModel {
        policy,
        version: u64::try_from(row.try_get::<i64, _>("version")?).map_err(|_| damaged("version"))?,
        manifest_digest: digest.try_into().map_err(|_| damaged("manifest digest"))?,
        owner_key: row.try_get("owner_key")?,
        wrap,
        disabled: known.disabled,
        earlier_digests: known.earlier_digests.clone(),
    };
    known.check(&model)?;
    Ok(model)
}

async fn read_from(
    connection: &mut SqliteConnection,
    first: i64,
    limit: i64,
) -> std::result::Result<ReadBack, sqlx::Error> {
    // One transaction, so that the checkpoint is of the same moment as the entries.
    let mut snapshot = connection.begin().await?;
    let rows = sqlx::query(
        "SELECT entry_index, entry FROM audit_entry WHERE entry_index >= ?1 ORDER BY entry_index LIMIT ?2",
    )
    .bind(first)
    .bind(limit)
    .fetch_all(&mut *snapshot)
    .await?;
    let mut entries = Vec::with_capacity(rows.len());
    for (row, expected) in rows.iter().zip(first..) {
        // A gap ends the list: what follows it is not at its place.
        if row.try_get::<i64, _>("entry_index")? != expected {
            break;
        }
        entries.push(row.try_get("entry")?);
    }
    let note = sqlx::query("SELECT note FROM audit_checkpoint WHERE id = 1")
        .fetch_optional(&mut *snapshot)
        .await?;
    let signed_checkpoint = note
        .map(|row| row.try_get("note"))
        .transpose()?
        .unwrap_or_default();
    snapshot.rollback().await?;
    Ok(ReadBack {
        entries,
        signed_checkpoint,
    })
}

/// SQLite's integers are signed; a position above their range exists nowhere.
fn index(value: u64) -> std::result::Result<i64, sqlx::Error> {
    i64::try_from(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn lock(file: &Path) -> Result<File> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let path = file.with_file_name(name);
    let failed = |source| BrokerError::KeyFile {
        path: path.clone(),
        source,
    };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(BrokerError::StoreInUse(file.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
