//! A run directory and a store in memory that fails when it is told to.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use records::{
    CheckpointState, FileSum, FormatVersion, Progress, RecordSums, RecordsError, RunDir, StorageRecord,
};
use scenarios::StorageConfig;

use crate::error::StorageError;
use crate::target::Target;
use crate::upload::Upload;
use crate::uploader::{Missing, Uploader};
use crate::{fetch, look};

/// A store in memory. Requests fail from the `left`-th on; the one on which they begin to is carried out and its answer lost.
#[derive(Debug)]
struct Faulty {
    memory: Arc<InMemory>,
    left: AtomicI64,
    sent: AtomicU64,
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

fn lost() -> Error {
    Error::Generic { store: "S3", source: "the connection was lost".into() }
}

impl Faulty {
    fn new(memory: &Arc<InMemory>, left: i64) -> Arc<Self> {
        Arc::new(Faulty { memory: memory.clone(), left: AtomicI64::new(left), sent: AtomicU64::new(0) })
    }

    fn before(&self) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) < 0 { Err(lost()) } else { Ok(()) }
    }

    fn after(&self) -> Result<()> {
        if self.left.load(Ordering::Relaxed) < 0 { Err(lost()) } else { Ok(()) }
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.before()?;
        self.sent.fetch_add(payload.content_length() as u64, Ordering::Relaxed);
        let result = self.memory.put_opts(path, payload, options).await?;
        self.after()?;
        Ok(result)
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unimplemented!("parts are objects of their own")
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.before()?;
        self.memory.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.before() {
            Ok(()) => self.memory.delete_stream(paths),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.before() {
            Ok(()) => self.memory.list(prefix),
            Err(error) => futures_util::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unimplemented!("nothing is copied within a store")
    }
}

const URL: &str = "s3://bucket/audio/run";
const HEALTHY: i64 = i64::MAX / 2;

fn target(store: Arc<Faulty>) -> Target {
    Target::of_store(store, Path::from("audio/run"), URL)
}

/// A run directory whose arm has taken some steps, with a checkpoint after every second one.
struct Written {
    folder: tempfile::TempDir,
    run_dir: RunDir,
}

const ARM: &str = "grpo+atar/seed-7";

impl Written {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(folder.path().join("run"));
        std::fs::create_dir_all(run_dir.path().join(ARM)).unwrap();
        std::fs::write(run_dir.scenario(), "[run]\nname = \"run\"\n").unwrap();
        std::fs::write(run_dir.log(), "started\n").unwrap();
        std::fs::write(run_dir.control(), "the token").unwrap();
        Written { folder, run_dir }
    }

    fn metrics(&self) -> std::path::PathBuf {
        self.run_dir.path().join(ARM).join("metrics.jsonl")
    }

    fn records(&self) -> RecordSums {
        let sum = FileSum::of_file(&self.metrics()).unwrap();
        RecordSums([("metrics.jsonl".to_owned(), sum)].into())
    }

    fn take_step(&self, step: u64, salt: &str) {
        let mut text = std::fs::read_to_string(self.metrics()).unwrap_or_default();
        text.push_str(&format!(
            "{{\"format_version\":1,\"step\":{step},\"policy_version\":{step},\"salt\":\"{salt}\"}}\n"
        ));
        std::fs::write(self.metrics(), text).unwrap();
        if step.is_multiple_of(2) {
            let records = Some(self.records());
            let progress = Progress { step, ..Progress::default() };
            let format_version = FormatVersion::CURRENT;
            let state =
                CheckpointState { format_version, policy_version: step, progress, conditions: None, records };
            let dir = self.run_dir.path().join(ARM).join(format!("checkpoints/step-{step:06}"));
            let tensors = |draft: &FilePath| -> std::result::Result<(), RecordsError> {
                std::fs::write(draft.join("model.safetensors"), format!("{step} {salt}").repeat(1000))
                    .unwrap();
                Ok(())
            };
            state.write(&dir, tensors).unwrap();
        }
    }

    fn record(&self) -> StorageRecord {
        StorageRecord { format_version: FormatVersion::CURRENT, run: "the run".into(), url: URL.into() }
    }

    fn upload(&self, store: Arc<Faulty>) -> Upload {
        Upload::new(self.run_dir.clone(), target(store), self.record())
    }
}

fn newest_step(run_dir: &RunDir) -> u64 {
    run_dir.stored_checkpoints(1).unwrap().first().map_or(0, |place| place.step)
}

async fn fetched(memory: &Arc<InMemory>) -> (tempfile::TempDir, RunDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("elsewhere");
    let fetched = fetch(&target(Faulty::new(memory, HEALTHY)), &dir).await.unwrap();
    (folder, fetched.run_dir)
}

fn content(run_dir: &RunDir, path: &str) -> Vec<u8> {
    std::fs::read(run_dir.path().join(path)).unwrap()
}

#[tokio::test]
async fn a_fetched_run_has_what_was_uploaded_and_no_token() {
    let memory = Arc::new(InMemory::new());
    let written = Written::new();
    (1..=5).for_each(|step| written.take_step(step, "a"));
    written.upload(Faulty::new(&memory, HEALTHY)).pass(2).await.unwrap();
    let (_folder, run_dir) = fetched(&memory).await;
    for path in ["scenario.toml", "run.log", "grpo+atar/seed-7/metrics.jsonl"] {
        assert_eq!(content(&run_dir, path), content(&written.run_dir, path), "{path}");
    }
    assert_eq!(newest_step(&run_dir), 4);
    assert!(!run_dir.control().exists());
    assert_eq!(StorageRecord::read(&run_dir).unwrap().unwrap(), written.record());
}

/// STORE-1: the connection is lost, or the process killed, at every request of an upload.
#[tokio::test]
async fn what_is_in_the_store_can_be_resumed_wherever_the_upload_was_cut() {
    let mut steps_seen = std::collections::BTreeSet::new();
    for left in 0.. {
        let memory = Arc::new(InMemory::new());
        let written = Written::new();
        (1..=3).for_each(|step| written.take_step(step, "a"));
        written.upload(Faulty::new(&memory, HEALTHY)).pass(1).await.unwrap();
        (4..=7).for_each(|step| written.take_step(step, "b"));
        let cut = written.upload(Faulty::new(&memory, left)).pass(1).await;
        let (_folder, run_dir) = fetched(&memory).await;
        steps_seen.insert(newest_step(&run_dir));
        // Another process, which sends the rest.
        written.upload(Faulty::new(&memory, HEALTHY)).pass(1).await.unwrap();
        let (_folder, run_dir) = fetched(&memory).await;
        assert_eq!(newest_step(&run_dir), 6);
        assert_eq!(
            content(&run_dir, "grpo+atar/seed-7/metrics.jsonl"),
            std::fs::read(written.metrics()).unwrap()
        );
        let objects = memory.list(None).count().await;
        let run = look(&target(Faulty::new(&memory, HEALTHY))).await.unwrap();
        let named: usize = run.files.values().map(|file| file.parts.len()).sum();
        assert_eq!(objects, named + 1, "nothing is left that no file names");
        if cut.is_ok() {
            break;
        }
    }
    assert_eq!(steps_seen.into_iter().collect::<Vec<_>>(), [2, 6]);
}

/// STORE-5, and that what was sent before a lost connection is not sent again by the same process.
#[tokio::test]
async fn nothing_is_sent_twice_after_the_connection_was_lost() {
    let memory = Arc::new(InMemory::new());
    let written = Written::new();
    (1..=4).for_each(|step| written.take_step(step, "a"));
    let store = Faulty::new(&memory, HEALTHY);
    let mut upload = written.upload(store.clone());
    upload.claim().await.unwrap();
    // Fails after one more request, again and again.
    let mut attempts = 0;
    loop {
        store.left.store(1, Ordering::Relaxed);
        attempts += 1;
        if upload.pass(2).await.is_ok() {
            break;
        }
        assert!(attempts < 200, "the upload makes no progress");
    }
    assert!(attempts > 5, "{attempts}");
    let run = look(&target(Faulty::new(&memory, HEALTHY))).await.unwrap();
    let bytes: u64 = run.files.values().map(|file| file.bytes()).sum();
    assert_eq!(upload.bytes_sent, bytes);
}

#[tokio::test]
async fn records_that_a_resume_cut_and_wrote_anew_replace_the_stored_ones() {
    let memory = Arc::new(InMemory::new());
    let written = Written::new();
    let store = Faulty::new(&memory, HEALTHY);
    let mut upload = written.upload(store);
    for step in 1..=40 {
        written.take_step(step, "a");
        upload.pass(1).await.unwrap();
    }
    // The next process goes on from step 20 and takes other steps, more than before.
    let text = std::fs::read_to_string(written.metrics()).unwrap();
    let kept: String = text.lines().take(20).map(|line| format!("{line}\n")).collect();
    std::fs::write(written.metrics(), kept).unwrap();
    std::fs::remove_dir_all(written.run_dir.path().join(ARM).join("checkpoints")).unwrap();
    (21..=50).for_each(|step| written.take_step(step, "b"));
    written.upload(Faulty::new(&memory, HEALTHY)).pass(1).await.unwrap();
    let (_folder, run_dir) = fetched(&memory).await;
    assert_eq!(
        content(&run_dir, "grpo+atar/seed-7/metrics.jsonl"),
        std::fs::read(written.metrics()).unwrap()
    );
    assert_eq!(newest_step(&run_dir), 50);
}

/// STORE-2.
#[tokio::test]
async fn another_run_is_refused_and_a_run_that_was_resumed_elsewhere_is_not_written_on() {
    let memory = Arc::new(InMemory::new());
    let written = Written::new();
    written.take_step(1, "a");
    let mut first = written.upload(Faulty::new(&memory, HEALTHY));
    first.pass(1).await.unwrap();

    let other = StorageRecord { run: "another run".into(), ..written.record() };
    let mut other = Upload::new(written.run_dir.clone(), target(Faulty::new(&memory, HEALTHY)), other);
    let error = other.pass(1).await.unwrap_err();
    assert!(matches!(error, StorageError::OtherRun { .. }) && error.is_of_input(), "{error}");
    assert!(error.to_string().contains("has the run run of process"), "{error}");

    let mut second = written.upload(Faulty::new(&memory, HEALTHY));
    second.pass(1).await.unwrap();
    written.take_step(2, "a");
    let error = first.pass(1).await.unwrap_err();
    assert!(matches!(error, StorageError::TakenOver { .. }) && error.is_final(), "{error}");
    second.pass(1).await.unwrap();
    let (_folder, run_dir) = fetched(&memory).await;
    assert_eq!(newest_step(&run_dir), 2);
}

/// STORE-4.
#[tokio::test]
async fn a_changed_byte_and_a_path_outside_are_refused() {
    let memory = Arc::new(InMemory::new());
    let written = Written::new();
    (1..=2).for_each(|step| written.take_step(step, "a"));
    written.upload(Faulty::new(&memory, HEALTHY)).pass(1).await.unwrap();
    let target = target(Faulty::new(&memory, HEALTHY));
    let run = look(&target).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("x");

    for path in ["../x", "/etc/x", "a/../../x", "control.json", "lock"] {
        let mut planted = run.clone();
        planted.files.insert(path.to_owned(), run.files["run.log"].clone());
        let text = PutPayload::from(planted.to_text().into_bytes());
        memory.put(&target.object("run.json"), text).await.unwrap();
        let error = fetch(&target, &dir).await.unwrap_err().to_string();
        assert!(error.contains("is no path of a file that a run stores"), "{path}: {error}");
    }
    let text = run.to_text().replacen("run.log", "run.lag", 1);
    memory.put(&target.object("run.json"), PutPayload::from(text.into_bytes())).await.unwrap();
    let error = fetch(&target, &dir).await.unwrap_err().to_string();
    assert!(error.contains("run.json was changed after it was written"), "{error}");

    memory.put(&target.object("run.json"), PutPayload::from(run.to_text().into_bytes())).await.unwrap();
    let part = &run.files["run.log"].parts[0];
    memory.put(&target.object(&part.object), PutPayload::from("startad\n")).await.unwrap();
    let error = fetch(&target, &dir).await.unwrap_err().to_string();
    assert!(error.contains("run.log does not fit its checksum"), "{error}");
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_folder_without_a_run_is_named_and_one_that_was_only_claimed_too() {
    let memory = Arc::new(InMemory::new());
    let folder = tempfile::tempdir().unwrap();
    let written = Written::new();
    let claimed = Arc::new(InMemory::new());
    written.upload(Faulty::new(&claimed, HEALTHY)).claim().await.unwrap();
    let error = fetch(&target(Faulty::new(&claimed, HEALTHY)), &folder.path().join("x")).await.unwrap_err();
    assert!(error.to_string().contains("ended before anything of it was uploaded"), "{error}");
    let error = fetch(&target(Faulty::new(&memory, HEALTHY)), &folder.path().join("x")).await.unwrap_err();
    assert!(error.to_string().contains("no run is stored there"), "{error}");
}

/// STORE-3: a store that never answers delays neither the start nor the end beyond what is set.
#[test]
fn a_store_that_fails_leaves_a_list_of_what_it_lacks() {
    let memory = Arc::new(InMemory::new());
    let written = Written::new();
    written.take_step(1, "a");
    let settings = StorageConfig::default();
    let start = |left| {
        let target = target(Faulty::new(&memory, left));
        Uploader::start_to(&written.run_dir, target, written.record(), &settings).unwrap()
    };
    let ended = start(0).finish(Duration::ZERO);
    assert!(ended.problem.is_some());
    let bytes = written.metrics().metadata().unwrap().len();
    let metrics = Missing { path: "grpo+atar/seed-7/metrics.jsonl".into(), bytes };
    assert!(ended.missing.contains(&metrics), "{:?}", ended.missing);
    let ended = start(HEALTHY).finish(Duration::from_secs(30));
    assert_eq!((ended.missing, ended.problem), (Vec::new(), None));
    assert!(ended.bytes_sent > bytes);
}

/// What could not begin leaves nothing behind.
#[tokio::test]
async fn an_abandoned_upload_is_removed() {
    let memory = Arc::new(InMemory::new());
    let written = Written::new();
    let settings = StorageConfig { every_seconds: 3600.0, ..StorageConfig::default() };
    let mut upload = written.upload(Faulty::new(&memory, HEALTHY));
    upload.claim().await.unwrap();
    upload.remove_if_empty().await;
    assert_eq!(memory.list(None).count().await, 0);
    drop((settings, written.folder));
}
