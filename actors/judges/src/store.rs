//! The verdict cache: in memory for this run, and in an SQLite file that later and concurrent runs share.
//!
//! SQLite is used because several processes, such as runs with different seeds, access the file at the same time. If
//! the file can't be used, the run logs a warning and continues with the cache in memory.
//!
//! - `KEPT-1` a verdict is found only by the judge that gave it: the key has its settings, prompts, model, and the
//!   addresses of its servers.
//! - `KEPT-2` a file that is not such a cache, or of a newer format, is not changed; a row that is no verdict is not
//!   used.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use rewards::Verdict;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::JudgeError;

/// The key of a cached verdict: a hash of the judge's identity and of the texts it judged.
pub type VerdictKey = [u8; 32];

/// The cache of one SQLite file, or of memory only.
pub struct VerdictStore {
    memory: DashMap<VerdictKey, Verdict>,
    /// The replies to tasks, as the servers wrote them.
    replies: DashMap<VerdictKey, String>,
    max_entries: usize,
    disk: Option<Mutex<Disk>>,
}

impl VerdictStore {
    /// Opens the cache, with up to `max_entries` verdicts in memory and up to `max_mb` MB in `file`.
    pub fn open(file: Option<&Path>, max_entries: usize, max_mb: u64) -> Self {
        let disk = file.and_then(|file| match Disk::open(file, (max_mb * 1_000_000) as i64) {
            Ok(disk) => Some(Mutex::new(disk)),
            Err(error) => {
                tracing::warn!(
                    "{}: verdicts are not cached on disk ({error}); set judge.cache.path to another file, or \
                     judge.cache.disk = false",
                    file.display()
                );
                None
            }
        });
        Self { memory: DashMap::new(), replies: DashMap::new(), max_entries, disk }
    }

    /// Looks up verdicts, first in memory and then in the file; one result per key, in their order.
    pub async fn get(self: &Arc<Self>, keys: Vec<VerdictKey>) -> Vec<Option<Verdict>> {
        let mut found: Vec<Option<Verdict>> =
            keys.iter().map(|key| self.memory.get(key).map(|verdict| verdict.clone())).collect();
        if self.disk.is_none() || found.iter().all(Option::is_some) {
            return found;
        }
        let missing: Vec<usize> = (0..keys.len()).filter(|&place| found[place].is_none()).collect();
        let wanted: Vec<VerdictKey> = missing.iter().map(|&place| keys[place]).collect();
        let on_disk = self.clone().on_disk("read", move |disk| disk.get(&wanted)).await.unwrap_or_default();
        for (place, verdict) in missing.into_iter().zip(on_disk) {
            if let Some(verdict) = verdict {
                self.remember(keys[place], &verdict);
                found[place] = Some(verdict);
            }
        }
        found
    }

    /// Stores verdicts in memory and in the file.
    pub async fn put(self: &Arc<Self>, verdicts: Vec<(VerdictKey, Verdict)>) {
        for (key, verdict) in &verdicts {
            self.remember(*key, verdict);
        }
        if self.disk.is_some() && !verdicts.is_empty() {
            self.clone().on_disk("written", move |disk| disk.put(&verdicts)).await;
        }
    }

    /// Looks up the reply to a task, first in memory and then in the file.
    pub async fn reply(self: &Arc<Self>, key: VerdictKey) -> Option<String> {
        if let Some(reply) = self.replies.get(&key) {
            return Some(reply.clone());
        }
        self.disk.as_ref()?;
        let reply = self.clone().on_disk("read", move |disk| disk.reply(&key)).await.flatten()?;
        remember(&self.replies, self.max_entries, key, reply.clone());
        Some(reply)
    }

    /// Stores the reply to a task, and returns the one that is kept: another process may have been first, and its reply
    /// then counts for all.
    pub async fn keep_reply(self: &Arc<Self>, key: VerdictKey, reply: String) -> String {
        let kept = match &self.disk {
            None => None,
            Some(_) => {
                let new = reply.clone();
                self.clone().on_disk("written", move |disk| disk.keep_reply(&key, &new)).await.flatten()
            }
        };
        let kept = kept.unwrap_or(reply);
        remember(&self.replies, self.max_entries, key, kept.clone());
        kept
    }

    fn remember(&self, key: VerdictKey, verdict: &Verdict) {
        remember(&self.memory, self.max_entries, key, verdict.clone());
    }

    /// Runs `work` on the file on a blocking thread. A failure is logged once, with `what` in the message.
    async fn on_disk<T: Send + 'static>(
        self: Arc<Self>,
        what: &'static str,
        work: impl FnOnce(&mut Disk) -> rusqlite::Result<T> + Send + 'static,
    ) -> Option<T> {
        let done = tokio::task::spawn_blocking(move || {
            let disk = self.disk.as_ref()?;
            let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
            match work(&mut disk) {
                Ok(done) => Some(done),
                Err(error) => {
                    if !std::mem::replace(&mut disk.warned, true) {
                        tracing::warn!("cached verdicts could not be {what}: {error}");
                    }
                    None
                }
            }
        });
        done.await.ok().flatten()
    }
}

fn remember<T>(memory: &DashMap<VerdictKey, T>, max_entries: usize, key: VerdictKey, value: T) {
    if memory.len() >= max_entries {
        // Evicts arbitrary entries; those still needed are read from the file again.
        let evicted: Vec<VerdictKey> =
            memory.iter().take(max_entries / 10 + 1).map(|entry| *entry.key()).collect();
        for key in evicted {
            memory.remove(&key);
        }
    }
    memory.insert(key, value);
}

struct Disk {
    connection: Connection,
    max_bytes: i64,
    warned: bool,
}

/// How long to wait while another process has locked the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The time of last use is updated only if it is older than this, so that not every read becomes a write.
const USED_RESOLUTION_SECONDS: i64 = 3_600;

/// Version of the tables, in `user_version`.
const SCHEMA_VERSION: i64 = 1;

impl Disk {
    fn open(file: &Path, max_bytes: i64) -> Result<Self, JudgeError> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(|error| JudgeError::Cache(error.to_string()))?;
        }
        let unusable = |error: rusqlite::Error| JudgeError::Cache(error.to_string());
        let mut connection = Connection::open(file).map_err(unusable)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(unusable)?;
        match prepare(&mut connection).map_err(unusable)? {
            Found::Verdicts => {}
            Found::KeyedByModelOnly(0) => {}
            Found::KeyedByModelOnly(verdicts) => tracing::warn!(
                "{}: has {verdicts} verdicts of earlier versions, whose keys have no server; those of a local model are \
                 still used, those of servers are asked for again",
                file.display()
            ),
            Found::Newer(version) => {
                let message = format!("it has format {version}, and this version reads {SCHEMA_VERSION}");
                return Err(JudgeError::Cache(message));
            }
            Found::Foreign => {
                return Err(JudgeError::Cache("it is a database of another program".to_owned()));
            }
        }
        Ok(Self { connection, max_bytes, warned: false })
    }

    fn get(&mut self, keys: &[VerdictKey]) -> rusqlite::Result<Vec<Option<Verdict>>> {
        let now = seconds_now();
        let mut stale = Vec::new();
        let mut found = Vec::with_capacity(keys.len());
        {
            let mut select = self
                .connection
                .prepare("SELECT consistency, think_quality, used FROM verdicts WHERE key = ?1")?;
            for key in keys {
                let row = select.query_row([&key[..]], |row| Ok(kept_verdict(row))).optional()?.flatten();
                if row.as_ref().is_some_and(|(_, used)| used + USED_RESOLUTION_SECONDS < now) {
                    stale.push(key);
                }
                found.push(row.map(|(verdict, _)| verdict));
            }
        }
        if !stale.is_empty() {
            let change = self.connection.transaction()?;
            for key in stale {
                change.execute("UPDATE verdicts SET used = ?1 WHERE key = ?2", params![now, &key[..]])?;
            }
            change.commit()?;
        }
        Ok(found)
    }

    fn put(&mut self, verdicts: &[(VerdictKey, Verdict)]) -> rusqlite::Result<()> {
        let now = seconds_now();
        let change = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert = change.prepare("INSERT OR REPLACE INTO verdicts VALUES (?1, ?2, ?3, ?4)")?;
            for (key, verdict) in verdicts {
                insert.execute(params![&key[..], verdict.consistency, verdict.think_quality, now])?;
            }
        }
        change.commit()?;
        self.evict()
    }

    fn reply(&mut self, key: &VerdictKey) -> rusqlite::Result<Option<String>> {
        let row = self.connection.query_row(
            "SELECT reply, used FROM replies WHERE key = ?1",
            [&key[..]],
            // A damaged row is no reply.
            |row| Ok((row.get::<_, String>(0).ok(), row.get::<_, i64>(1).unwrap_or_default())),
        );
        let Some((Some(reply), used)) = row.optional()? else { return Ok(None) };
        let now = seconds_now();
        if used + USED_RESOLUTION_SECONDS < now {
            self.connection.execute("UPDATE replies SET used = ?1 WHERE key = ?2", params![now, &key[..]])?;
        }
        Ok(Some(reply))
    }

    fn keep_reply(&mut self, key: &VerdictKey, reply: &str) -> rusqlite::Result<Option<String>> {
        self.connection.execute(
            "INSERT OR IGNORE INTO replies VALUES (?1, ?2, ?3)",
            params![&key[..], reply, seconds_now()],
        )?;
        let kept = self.reply(key)?;
        self.evict()?;
        Ok(kept)
    }

    /// If the file is full, deletes the fifth of the verdicts, and of the replies, that was not used for the longest time.
    fn evict(&mut self) -> rusqlite::Result<()> {
        let pragma = |name: &str| -> rusqlite::Result<i64> {
            self.connection.pragma_query_value(None, name, |row| row.get(0))
        };
        let bytes = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
        if bytes > self.max_bytes {
            for table in ["verdicts", "replies"] {
                let oldest = format!(
                    "DELETE FROM {table} WHERE key IN
                     (SELECT key FROM {table} ORDER BY used, key LIMIT (SELECT count(*) / 5 + 1 FROM {table}))"
                );
                self.connection.execute(&oldest, [])?;
            }
        }
        Ok(())
    }
}

/// What a file has that is opened as a cache.
enum Found {
    /// The tables of this version; they are created in an empty file.
    Verdicts,
    /// The tables of this version, but this many verdicts from when keys had the model's name and no server. It is
    /// reported once per file.
    KeyedByModelOnly(i64),
    /// Tables of this newer version.
    Newer(i64),
    /// Tables of another program.
    Foreign,
}

/// Creates the tables if the file is empty, and tells what else it is.
fn prepare(connection: &mut Connection) -> rusqlite::Result<Found> {
    // In one statement, because another process may be creating the tables.
    let (version, tables, own): (i64, i64, i64) = connection.query_row(
        "SELECT (SELECT user_version FROM pragma_user_version), count(*), count(*) FILTER (WHERE name = 'verdicts')
         FROM sqlite_master WHERE type = 'table'",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    match version {
        0 if tables == 0 => {}
        SCHEMA_VERSION if own == 1 => {}
        newer if own == 1 && newer > SCHEMA_VERSION => return Ok(Found::Newer(newer)),
        _ => return Ok(Found::Foreign),
    }
    // With WAL, readers do not wait for a writer. A crash of the machine may lose the last verdicts only.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    change.execute_batch(
        "CREATE TABLE IF NOT EXISTS verdicts (
             key BLOB PRIMARY KEY, consistency REAL, think_quality REAL, used INTEGER NOT NULL
         ) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
    )?;
    change.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    let first = change.execute("INSERT OR IGNORE INTO about VALUES ('keys', 'with server')", [])? == 1;
    let old: i64 = change.query_row("SELECT count(*) FROM verdicts", [], |row| row.get(0))?;
    change.commit()?;
    Ok(if first { Found::KeyedByModelOnly(old) } else { Found::Verdicts })
}

/// A kept verdict and the time of its last use; `None` if the row is damaged.
fn kept_verdict(row: &Row<'_>) -> Option<(Verdict, i64)> {
    let score = |column: usize| -> Option<Option<f64>> {
        let score: Option<f64> = row.get(column).ok()?;
        score.is_none_or(|score| (0.0..=1.0).contains(&score)).then_some(score)
    };
    let verdict = Verdict { consistency: score(0)?, think_quality: score(1)?, note: None };
    Some((verdict, row.get(2).ok()?))
}

/// Seconds since 1970, as `i64` because SQLite stores integers in this type.
fn seconds_now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(quality: f64) -> Verdict {
        Verdict { consistency: Some(1.0), think_quality: Some(quality), note: None }
    }

    fn key(number: u32) -> VerdictKey {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[tokio::test]
    async fn stores_on_the_same_file_share_verdicts_while_both_are_open() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/verdicts.sqlite");
        let one = Arc::new(VerdictStore::open(Some(&file), 10, 10));
        let two = Arc::new(VerdictStore::open(Some(&file), 10, 10));
        one.put(vec![(key(1), verdict(0.3))]).await;
        assert_eq!(two.get(vec![key(2), key(1)]).await, [None, Some(verdict(0.3))]);
        two.put(vec![(key(2), Verdict { think_quality: None, ..verdict(0.0) })]).await;
        assert_eq!(one.get(vec![key(2)]).await[0].as_ref().unwrap().think_quality, None, "None stays None");
    }

    #[tokio::test]
    async fn memory_and_file_stay_within_their_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.sqlite");
        let store = Arc::new(VerdictStore::open(Some(&file), 100, 1));
        for batch in 0..20 {
            store.put((0..2_000).map(|number| (key(batch * 2_000 + number), verdict(0.5))).collect()).await;
        }
        assert!(store.memory.len() <= 100);
        let mut disk = store.disk.as_ref().unwrap().lock().unwrap();
        let kept: i64 =
            disk.connection.query_row("SELECT count(*) FROM verdicts", [], |row| row.get(0)).unwrap();
        assert!((5_000..30_000).contains(&kept), "{kept}");
        disk.max_bytes = 1;
        disk.evict().unwrap();
        let left: i64 =
            disk.connection.query_row("SELECT count(*) FROM verdicts", [], |row| row.get(0)).unwrap();
        assert_eq!(left, kept - (kept / 5 + 1));
    }

    #[tokio::test]
    async fn the_first_reply_to_a_task_is_kept_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.sqlite");
        let one = Arc::new(VerdictStore::open(Some(&file), 10, 10));
        let two = Arc::new(VerdictStore::open(Some(&file), 10, 10));
        assert_eq!(two.reply(key(1)).await, None);
        assert_eq!(one.keep_reply(key(1), "first".to_owned()).await, "first");
        assert_eq!(two.keep_reply(key(1), "second".to_owned()).await, "first");
        assert_eq!(two.reply(key(1)).await.as_deref(), Some("first"));
        assert_eq!(one.get(vec![key(1)]).await, [None], "a reply is no verdict");
        let memory = Arc::new(VerdictStore::open(None, 10, 10));
        assert_eq!(memory.keep_reply(key(1), "third".to_owned()).await, "third");
        assert_eq!(memory.reply(key(1)).await.as_deref(), Some("third"));
    }

    /// KEPT-2
    #[tokio::test]
    async fn a_file_of_another_program_or_of_a_newer_version_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        for (name, sql) in [
            ("foreign", "CREATE TABLE verdicts (of TEXT); INSERT INTO verdicts VALUES ('a jury');"),
            ("foreign-5", "CREATE TABLE jury (of TEXT); PRAGMA user_version = 5;"),
            ("newer", "CREATE TABLE verdicts (key BLOB, more TEXT); PRAGMA user_version = 2;"),
        ] {
            let file = folder.path().join(name);
            Connection::open(&file).unwrap().execute_batch(sql).unwrap();
            let before = std::fs::read(&file).unwrap();
            let store = VerdictStore::open(Some(&file), 10, 1);
            assert!(store.disk.is_none(), "{name}");
            assert_eq!(std::fs::read(&file).unwrap(), before, "{name}");
        }
    }

    /// A file of an earlier version keeps its verdicts, and its old keys are reported once.
    #[tokio::test]
    async fn a_file_of_an_earlier_version_stays_readable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.sqlite");
        let old = Connection::open(&file).unwrap();
        old.execute_batch(
            "CREATE TABLE verdicts (key BLOB PRIMARY KEY, consistency REAL, think_quality REAL, used INTEGER NOT NULL)
             WITHOUT ROWID; PRAGMA user_version = 1;",
        )
        .unwrap();
        let insert = "INSERT INTO verdicts VALUES (?1, 1.0, 0.3, 0)";
        old.execute(insert, [&key(1)[..]]).unwrap();
        let found = || prepare(&mut Connection::open(&file).unwrap()).unwrap();
        assert!(matches!(found(), Found::KeyedByModelOnly(1)));
        assert!(matches!(found(), Found::Verdicts));
        let store = Arc::new(VerdictStore::open(Some(&file), 10, 10));
        assert_eq!(store.get(vec![key(1)]).await, [Some(verdict(0.3))]);
    }

    /// KEPT-2
    #[tokio::test]
    async fn a_row_that_is_no_verdict_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.sqlite");
        let store = Arc::new(VerdictStore::open(Some(&file), 1, 10));
        store.put(vec![(key(4), verdict(0.3))]).await;
        let other = Connection::open(&file).unwrap();
        for (number, quality) in [(1, "7.0"), (2, "'high'"), (3, "-1e400")] {
            let insert = format!("INSERT INTO verdicts VALUES (?1, 1.0, {quality}, 0)");
            other.execute(&insert, [&key(number)[..]]).unwrap();
        }
        let found = store.get((1..=4).map(key).collect()).await;
        assert_eq!(found, [None, None, None, Some(verdict(0.3))]);
    }

    #[tokio::test]
    async fn with_an_unusable_file_the_cache_works_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("verdicts.sqlite");
        std::fs::write(&file, "not a database, and longer than its header would be".repeat(100)).unwrap();
        let store = Arc::new(VerdictStore::open(Some(&file), 10, 1));
        assert!(store.disk.is_none());
        store.put(vec![(key(1), verdict(0.3))]).await;
        assert_eq!(store.get(vec![key(1)]).await, [Some(verdict(0.3))]);
    }
}
