//! The durable store: which projects are deployed, where, and as which revision.
//!
//! One SQLite file. A deploy is one transaction over all of its virtual hosts; it's on disk before [`Store::apply`]
//! returns. Rows say what shall be served, never what has been published: publication is derived from them, at every start
//! anew.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection as _, Row, SqlSafeStr, Sqlite, Transaction};
use tokio::time::Instant;

mod origin;
#[cfg(test)]
mod tests;

pub use self::origin::{FOLDER, Origin};

/// Name of the store in the state folder.
pub const FILE: &str = "trireme.db";

/// Page cache of the connection: negative = KiB.
const CACHE: &str = "-256";
/// How long a write waits for another process that holds the store.
const BUSY: Duration = Duration::from_secs(5);

/// SHA-256 of a project archive.
pub type Digest = [u8; 32];

/// The digest that a project is kept under.
#[must_use]
pub fn digest(project: &[u8]) -> Digest {
    Sha256::digest(project).into()
}

/// One API on one virtual host of one organization.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Organization.
    pub organization: String,
    /// Virtual host.
    pub vhost: String,
    /// Identifier of the API.
    pub api_id: String,
}

/// What is deployed under an [`Identity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Whose.
    pub identity: Identity,
    /// Name of the API.
    pub name: String,
    /// Version of the API.
    pub version: String,
    /// Versioned base path.
    pub base_path: String,
    /// Kind as listed: `HTTP`, `WS`, `GRAPHQL`.
    pub kind: String,
    /// Environments (labels) that serve it; never empty.
    pub environments: BTreeSet<String>,
    /// Who put it there.
    pub origin: Origin,
    /// The project it's made from.
    pub digest: Digest,
}

/// A [`Deployment`] with its place in the store's count of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What is deployed.
    pub deployment: Deployment,
    /// Count of its last change.
    pub counter: u64,
    /// Count of its first appearance; decides between organizations that claim one base path.
    pub created: u64,
}

/// Changes that are stored together or not at all.
#[derive(Debug, Default)]
pub struct Changes {
    /// Projects that `put` refers to and the store may not have yet, by digest.
    pub projects: Vec<(Digest, Bytes)>,
    /// Deployments to add or replace.
    pub put: Vec<Deployment>,
    /// Deployments to remove, done before `put`.
    pub remove: Vec<Identity>,
}

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file holds something else, or is damaged.
    #[error("store {} is damaged: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The database refused an operation: disk full, read-only, no longer there.
    #[error("store refused the operation")]
    Database(#[source] sqlx::Error),
    /// The file or its folder can't be made or opened.
    #[error("store {} can't be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The file was written by another version, or isn't ours.
    #[error("store {} has a schema this version doesn't know", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Handle of the open store; clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    path: PathBuf,
    epoch: u64,
    /// Why the last write failed, until one succeeds.
    failure: Arc<Mutex<Option<String>>>,
    volatile: Option<Volatile>,
}

/// Why the store is in memory, and the connection that keeps it there.
type Volatile = (Arc<str>, Arc<tokio::sync::Mutex<sqlx::SqliteConnection>>);

/// The connection while it writes. Unless it is [kept](Self::keep), it is closed at the end: after an error SQLite may have
/// rolled back by itself (disk full), and sqlx would go on counting a transaction that is no longer there, so that no later one
/// could begin.
struct Writer(Option<PoolConnection<Sqlite>>);

impl Store {
    /// Opens the store in `folder`, making both when they aren't there. Where nothing can be written, and nothing is there, the
    /// store is in memory: what is deployed lasts as long as the process.
    ///
    /// # Errors
    /// When the file can't be opened or made, is damaged, or isn't a store of this version. Nothing is repaired or
    /// overwritten: the data path goes on without us while somebody looks at the file.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let failed = |source| StoreError::Open {
            path: path.clone(),
            source,
        };
        match prepare(folder, &path) {
            Ok(0) => Err(StoreError::Corrupt {
                path: path.clone(),
                reason: "it is empty, as no store ever is: it was cut off".to_owned(),
            }),
            Ok(_) => {
                let pool = connect(on_disk(&path))
                    .await
                    .map_err(|error| damaged_or(&path, error))?;
                check(&pool, &path).await?;
                Self::over(pool, path, None).await
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match Self::make(folder, &path).await {
                Ok(()) => {
                    let pool = connect(on_disk(&path))
                        .await
                        .map_err(|error| damaged_or(&path, error))?;
                    Self::over(pool, path, None).await
                }
                Err(StoreError::Open { source, .. }) if is_refused(&source) => {
                    Self::in_memory(path, &source).await
                }
                Err(error) => Err(error),
            },
            Err(error) if is_refused(&error) && !path.exists() => Self::in_memory(path, &error).await,
            Err(error) => Err(failed(error)),
        }
    }

    /// Makes a new store, whole or not at all: a file of that name has a store in it from its first moment on.
    async fn make(folder: &Path, path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let new = folder.join(format!("{FILE}.new"));
        for end in ["", "-wal", "-shm", "-journal"] {
            let left = folder.join(format!("{FILE}.new{end}"));
            match std::fs::remove_file(&left) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&new)
            .map_err(failed)?;
        let store = Self::over(connect(on_disk(&new)).await?, new.clone(), None).await?;
        // The last connection takes the side files along.
        store.close().await;
        std::fs::rename(&new, path).map_err(failed)
    }

    async fn in_memory(path: PathBuf, error: &io::Error) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::from_str("sqlite::memory:")?.foreign_keys(true);
        // A connection that fails is closed, and the last one would take the data along.
        let anchor = sqlx::SqliteConnection::connect_with(&options).await?;
        let reason = format!("{}: {error}", path.display());
        let pool = connect(options).await?;
        Self::over(
            pool,
            path,
            Some((reason.into(), Arc::new(tokio::sync::Mutex::new(anchor)))),
        )
        .await
    }

    async fn over(pool: SqlitePool, path: PathBuf, volatile: Option<Volatile>) -> Result<Self, StoreError> {
        migrator().run(&pool).await.map_err(|source| StoreError::Schema {
            path: path.clone(),
            source,
        })?;
        let epoch = epoch(&pool).await?;
        Ok(Self {
            pool,
            path,
            epoch,
            failure: Arc::default(),
            volatile,
        })
    }

    /// Why nothing outlives the process, where that is so.
    #[must_use]
    pub fn volatile(&self) -> Option<&str> {
        self.volatile.as_ref().map(|(reason, _)| &**reason)
    }

    /// Identity of the store: the Unix milliseconds of its creation. Part of every revision.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Every deployment, in order of identity.
    ///
    /// # Errors
    /// When the database fails, or a row doesn't make sense.
    pub async fn list(&self) -> Result<Vec<Record>, StoreError> {
        let rows = sqlx::query(
            "SELECT organization, vhost, api_id, name, version, base_path, kind, environments, origin, digest, counter, \
             created FROM deployment ORDER BY organization, vhost, api_id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|error| damaged_or(&self.path, error))?;
        rows.iter().map(|row| self.record(row)).collect()
    }

    /// The archive with that digest, `None` when there is none.
    ///
    /// # Errors
    /// When the database fails, or the bytes aren't those the digest was made of.
    pub async fn project(&self, wanted: &Digest) -> Result<Option<Bytes>, StoreError> {
        let row = sqlx::query("SELECT bytes FROM project WHERE digest = ?")
            .bind(wanted.as_slice())
            .fetch_optional(&self.pool)
            .await
            .map_err(|error| damaged_or(&self.path, error))?;
        let Some(row) = row else { return Ok(None) };
        let bytes: Vec<u8> = row.try_get(0)?;
        if digest(&bytes) != *wanted {
            return Err(self.corrupt("a project doesn't match its digest"));
        }
        Ok(Some(Bytes::from(bytes)))
    }

    /// Stores `changes`, all or none, and returns the records of `changes.put` in their order.
    ///
    /// A deployment equal to the stored one keeps its counter. The transaction is finished even when the future is
    /// dropped before it resolves, unless it was dropped before the commit: then nothing is stored.
    ///
    /// # Errors
    /// When the database fails; nothing is stored then.
    pub async fn apply(&self, changes: &Changes) -> Result<Vec<Record>, StoreError> {
        let deadline = Instant::now() + BUSY;
        let outcome = loop {
            match self.try_apply(changes).await {
                Err(StoreError::Database(error)) if is_busy(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                outcome => break outcome,
            }
        };
        self.note(&outcome);
        outcome
    }

    /// Whether the store can be written, as far as is known: after a write that failed, another is tried.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn writable(&self) -> Result<(), String> {
        if self.failure().is_none() {
            return Ok(());
        }
        let outcome = self.touch().await;
        self.note(&outcome);
        self.failure().map_or(Ok(()), Err)
    }

    /// Waits for the connection to close, which folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn try_apply(&self, changes: &Changes) -> Result<Vec<Record>, StoreError> {
        let mut writer = Writer(Some(self.pool.acquire().await?));
        let mut transaction = writer.begin().await?;
        for identity in &changes.remove {
            sqlx::query("DELETE FROM deployment WHERE organization = ? AND vhost = ? AND api_id = ?")
                .bind(&identity.organization)
                .bind(&identity.vhost)
                .bind(&identity.api_id)
                .execute(&mut *transaction)
                .await?;
        }
        for (digest, project) in &changes.projects {
            sqlx::query("INSERT OR IGNORE INTO project (digest, bytes) VALUES (?, ?)")
                .bind(digest.as_slice())
                .bind(project.as_ref())
                .execute(&mut *transaction)
                .await?;
        }
        let mut records = Vec::with_capacity(changes.put.len());
        for deployment in &changes.put {
            records.push(self.put(&mut transaction, deployment).await?);
        }
        sqlx::query("DELETE FROM project WHERE digest NOT IN (SELECT digest FROM deployment)")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        writer.keep();
        Ok(records)
    }

    /// Writes something that nobody reads: SQLite would leave a page alone that does not change.
    async fn touch(&self) -> Result<(), StoreError> {
        let mut writer = Writer(Some(self.pool.acquire().await?));
        let mut transaction = writer.begin().await?;
        let count = "INSERT INTO meta (key, value) VALUES ('touched', 1) \
                     ON CONFLICT (key) DO UPDATE SET value = value + 1";
        sqlx::query(count).execute(&mut *transaction).await?;
        transaction.commit().await?;
        writer.keep();
        Ok(())
    }

    /// Remembers how a write ended.
    fn note<T>(&self, outcome: &Result<T, StoreError>) {
        let failure = outcome.as_ref().err().map(|error| crate::event::chain(error));
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn put(
        &self,
        transaction: &mut Transaction<'_, Sqlite>,
        deployment: &Deployment,
    ) -> Result<Record, StoreError> {
        let identity = &deployment.identity;
        let stored = sqlx::query(
            "SELECT organization, vhost, api_id, name, version, base_path, kind, environments, origin, digest, counter, \
             created FROM deployment WHERE organization = ? AND vhost = ? AND api_id = ?",
        )
        .bind(&identity.organization)
        .bind(&identity.vhost)
        .bind(&identity.api_id)
        .fetch_optional(&mut **transaction)
        .await?
        .map(|row| self.record(&row))
        .transpose()?;
        if let Some(record) = &stored
            && record.deployment == *deployment
        {
            return Ok(record.clone());
        }
        let counter: i64 =
            sqlx::query("UPDATE meta SET value = value + 1 WHERE key = 'counter' RETURNING value")
                .fetch_one(&mut **transaction)
                .await?
                .try_get(0)?;
        let counter = self.unsigned(counter)?;
        let record = Record {
            deployment: deployment.clone(),
            counter,
            created: stored.map_or(counter, |record| record.created),
        };
        sqlx::query(
            "INSERT INTO deployment (organization, vhost, api_id, name, version, base_path, kind, environments, origin, \
             digest, counter, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (organization, vhost, api_id) DO UPDATE SET name = excluded.name, version = excluded.version, \
             base_path = excluded.base_path, kind = excluded.kind, environments = excluded.environments, \
             origin = excluded.origin, digest = excluded.digest, counter = excluded.counter",
        )
        .bind(&identity.organization)
        .bind(&identity.vhost)
        .bind(&identity.api_id)
        .bind(&deployment.name)
        .bind(&deployment.version)
        .bind(&deployment.base_path)
        .bind(&deployment.kind)
        .bind(Vec::from_iter(deployment.environments.iter().map(String::as_str)).join("\n"))
        .bind(deployment.origin.to_string())
        .bind(deployment.digest.as_slice())
        .bind(i64::try_from(record.counter).unwrap_or(i64::MAX))
        .bind(i64::try_from(record.created).unwrap_or(i64::MAX))
        .execute(&mut **transaction)
        .await?;
        Ok(record)
    }

    fn record(&self, row: &SqliteRow) -> Result<Record, StoreError> {
        let environments: String = row.try_get(7)?;
        let digest: Vec<u8> = row.try_get(9)?;
        Ok(Record {
            deployment: Deployment {
                identity: Identity {
                    organization: row.try_get(0)?,
                    vhost: row.try_get(1)?,
                    api_id: row.try_get(2)?,
                },
                name: row.try_get(3)?,
                version: row.try_get(4)?,
                base_path: row.try_get(5)?,
                kind: row.try_get(6)?,
                environments: environments.lines().map(str::to_owned).collect(),
                origin: Origin::parse(row.try_get(8)?),
                digest: Digest::try_from(digest).map_err(|_| self.corrupt("a digest hasn't 32 bytes"))?,
            },
            counter: self.unsigned(row.try_get(10)?)?,
            created: self.unsigned(row.try_get(11)?)?,
        })
    }

    fn unsigned(&self, value: i64) -> Result<u64, StoreError> {
        u64::try_from(value).map_err(|_| self.corrupt("a count is negative"))
    }

    fn corrupt(&self, reason: &str) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

// === impl Writer ===

impl Writer {
    async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, sqlx::Error> {
        let connection = self.0.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        connection.begin_with("BEGIN IMMEDIATE").await
    }

    /// All went well: the connection goes back.
    fn keep(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(mut connection) = self.0.take() {
            connection.close_on_drop();
        }
    }
}

fn on_disk(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        // Archives are read once, at start: the pages of 2 MiB of them would stay in memory for nothing.
        .pragma("cache_size", CACHE)
        .foreign_keys(true)
}

/// One connection: writes are serial anyway, and each connection is a thread with a page cache of its own.
async fn connect(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
}

/// Whether the system lets nobody write there: a root that is read-only, a folder of somebody else.
fn is_refused(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Makes the folder and gives the file owner-only permissions; its length.
fn prepare(folder: &Path, path: &Path) -> io::Result<u64> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let metadata = file.metadata()?;
    // Projects may hold backend passwords. SQLite gives its side files the permissions of the main one.
    if metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(metadata.len())
}

fn migrator() -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        "deployments".into(),
        MigrationType::Simple,
        include_str!("schema.sql").into_sql_str(),
        false,
    )])
}

async fn check(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let verdict: String = sqlx::query("PRAGMA quick_check(1)")
        .fetch_one(pool)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| damaged_or(path, error))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(StoreError::Corrupt {
            path: path.to_owned(),
            reason: verdict,
        })
    }
}

/// Reads the identity of the store, giving it one when it's new.
async fn epoch(pool: &SqlitePool) -> Result<u64, StoreError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT OR IGNORE INTO meta (key, value) VALUES ('epoch', ?), ('counter', 0)")
        .bind(i64::try_from(now).unwrap_or(i64::MAX))
        .execute(&mut *transaction)
        .await?;
    let epoch: i64 = sqlx::query("SELECT value FROM meta WHERE key = 'epoch'")
        .fetch_one(&mut *transaction)
        .await?
        .try_get(0)?;
    transaction.commit().await?;
    Ok(u64::try_from(epoch).unwrap_or_default())
}

/// Primary result code of SQLite.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    i32::from_str(&code).ok().map(|code| code & 0xff)
}

fn is_busy(error: &sqlx::Error) -> bool {
    // SQLITE_BUSY, SQLITE_LOCKED
    matches!(code(error), Some(5 | 6))
}

fn damaged_or(path: &Path, error: sqlx::Error) -> StoreError {
    match code(&error) {
        // SQLITE_CORRUPT, SQLITE_NOTADB
        Some(11 | 26) => StoreError::Corrupt {
            path: path.to_owned(),
            reason: error.to_string(),
        },
        _ => StoreError::Database(error),
    }
}
