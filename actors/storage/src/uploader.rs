//! Uploading while a run goes on: on a thread with an async runtime of its own, which reads the files that the run has written
//! and shares nothing else with it (STORE-3).

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use records::{FormatVersion, RunDir, StorageRecord};
use scenarios::StorageConfig;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::error::StorageError;
use crate::target::Target;
use crate::upload::Upload;

/// Longest wait at the start of a run for the first answer of the store. Without one the run begins, and the store is tried again.
const FIRST_ANSWER: Duration = Duration::from_secs(20);
/// Pauses between failed attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest wait for the thread after it had to be done.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Uploads a run directory until [`Uploader::finish`].
#[derive(Debug)]
pub struct Uploader {
    finish: watch::Sender<Option<Instant>>,
    ended: mpsc::Receiver<Ended>,
    thread: JoinHandle<()>,
    url: String,
}

/// What an upload came to.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The folder of the store that has the run.
    pub url: String,
    /// What is not in the store; empty if all is.
    pub missing: Vec<Missing>,
    /// Why, if the last attempt failed.
    pub problem: Option<String>,
    /// Bytes that this process sent.
    pub bytes_sent: u64,
}

/// A file of which something is not in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The path below the run directory.
    pub path: String,
    /// How much of it is missing.
    pub bytes: u64,
}

impl Uploader {
    /// Starts to upload a run directory to the folder of `settings`, if they name one.
    ///
    /// Errors: [`StorageError`], if the settings can't be used, the store refuses them, or the folder has another run. A store that
    /// does not answer is no error: it is tried again while the run goes on.
    pub fn start(run_dir: &RunDir, settings: &StorageConfig) -> Result<Option<Self>, StorageError> {
        let Some(base) = &settings.url else { return Ok(None) };
        let record = recorded(run_dir, base)?;
        let target = Target::new(&record.url, settings)?;
        Self::start_to(run_dir, target, record, settings).map(Some)
    }

    pub(crate) fn start_to(
        run_dir: &RunDir,
        target: Target,
        record: StorageRecord,
        settings: &StorageConfig,
    ) -> Result<Self, StorageError> {
        let url = target.url().to_owned();
        let (finish, finishing) = watch::channel(None);
        let (say_claimed, claimed) = mpsc::channel();
        let (say_ended, ended) = mpsc::channel();
        let upload = Upload::new(run_dir.clone(), target, record.clone());
        let settings = settings.clone();
        let work = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            // Nobody may wait for the end any more.
            let _ = say_ended.send(runtime.block_on(work(upload, settings, finishing, say_claimed)));
        };
        let thread = std::thread::Builder::new().name("uploader".into()).spawn(work).map_err(|error| {
            StorageError::Setting(format!("{url}: the thread that uploads can't be started: {error}"))
        })?;
        match claimed.recv_timeout(FIRST_ANSWER) {
            Ok(Ok(())) => record.write(run_dir)?,
            Ok(Err(error)) if error.is_of_input() => return Err(error),
            Ok(Err(error)) => {
                record.write(run_dir)?;
                tracing::warn!("{error}; the upload is tried again while the run goes on");
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                record.write(run_dir)?;
                tracing::warn!("{url}: no answer yet; the upload is tried again while the run goes on");
            }
        }
        Ok(Uploader { finish, ended, thread, url })
    }

    /// Uploads what is left, for at most `wait`, and says what is not in the store then.
    pub fn finish(self, wait: Duration) -> Ended {
        // The thread may have ended, after another process had taken over.
        let _ = self.finish.send(Some(Instant::now() + wait));
        let ended = self.ended.recv_timeout(wait + LAST_WORDS);
        match ended {
            Ok(ended) => {
                // It has nothing left to do but to end.
                let _ = self.thread.join();
                ended
            }
            Err(_) => Ended {
                url: self.url,
                missing: vec![Missing { path: ".".to_owned(), bytes: 0 }],
                problem: Some("the upload did not end in time".to_owned()),
                bytes_sent: 0,
            },
        }
    }

    /// Ends the upload of a run that could not begin. If nothing of it was uploaded, the store keeps no trace of it.
    pub fn abandon(self) {
        drop(self.finish);
        // What stays in the store is an empty run, which hurts nobody.
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }

    /// The folder of the store that gets the run.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Uploads a run directory once, to a folder of `base` or, without one, to where it was uploaded before. Tries for at most `wait`.
///
/// Errors: as for [`Uploader::start`], and [`StorageError::Setting`] if nothing says where to.
pub fn upload_once(
    run_dir: &RunDir,
    base: Option<&str>,
    settings: &StorageConfig,
    wait: Duration,
) -> Result<Ended, StorageError> {
    let base = base.map(str::to_owned).or_else(|| settings.url.clone());
    let record = match (&base, StorageRecord::read(run_dir)?) {
        (None, Some(record)) => record,
        (None, None) => {
            return Err(StorageError::Setting(format!(
                "{}: neither its scenario nor an earlier upload says where to; add an address such as s3://bucket/audio",
                run_dir.path().display()
            )));
        }
        (Some(base), _) => recorded(run_dir, base)?,
    };
    let target = Target::new(&record.url, settings)?;
    Ok(Uploader::start_to(run_dir, target, record, settings)?.finish(wait))
}

/// The record of a run directory in the store at `base`: that of its earlier uploads to there, or a new one. A run that goes
/// elsewhere keeps its id.
fn recorded(run_dir: &RunDir, base: &str) -> Result<StorageRecord, StorageError> {
    let base = base.trim_end_matches('/');
    let before = StorageRecord::read(run_dir)?;
    if let Some(record) = &before
        && record.url.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
    {
        return Ok(record.clone());
    }
    let name = run_dir.stored_name();
    let run = before.map_or_else(|| format!("{:032x}", rand::random::<u128>()), |record| record.run);
    Ok(StorageRecord { format_version: FormatVersion::CURRENT, run, url: format!("{base}/{name}") })
}

async fn work(
    mut upload: Upload,
    settings: StorageConfig,
    mut finishing: watch::Receiver<Option<Instant>>,
    say_claimed: mpsc::Sender<Result<(), StorageError>>,
) -> Ended {
    let claimed = upload.claim().await;
    let is_refused = claimed.as_ref().is_err_and(StorageError::is_of_input);
    // The caller may have stopped waiting; then it goes on without the answer.
    let _ = say_claimed.send(claimed);
    let mut attempts = Attempts { problem: None, pause: FIRST_PAUSE };
    if !is_refused {
        attempts.repeat(&mut upload, &settings, &mut finishing).await;
    }
    if finishing.has_changed().is_err() {
        upload.remove_if_empty().await;
    }
    ended(&upload, settings.keep_checkpoints, attempts.problem)
}

/// The uploads so far.
struct Attempts {
    /// Why the last one failed.
    problem: Option<String>,
    /// The pause after the next one that fails.
    pause: Duration,
}

impl Attempts {
    /// Uploads again and again until it is time to finish and all is uploaded, or the time for that is over.
    async fn repeat(
        &mut self,
        upload: &mut Upload,
        settings: &StorageConfig,
        finishing: &mut watch::Receiver<Option<Instant>>,
    ) {
        loop {
            let deadline = *finishing.borrow_and_update();
            let keep = settings.keep_checkpoints;
            let passed = match deadline {
                None => tokio::select! {
                    passed = upload.pass(keep) => passed,
                    changed = finishing.changed() => match changed {
                        // What was sent is remembered, so the pass with the last files begins where this one stopped.
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                },
                Some(deadline) => match timeout_at(deadline, upload.pass(keep)).await {
                    Ok(passed) => passed,
                    Err(_) => {
                        self.problem.get_or_insert_with(|| "the time for it is over".to_owned());
                        return;
                    }
                },
            };
            let is_done = passed.is_ok() && deadline.is_some();
            let is_hopeless = passed.as_ref().is_err_and(StorageError::is_final);
            let failed_pause = self.note(upload, passed);
            // A store that fails at once never lets the time run out while it is asked.
            let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if is_done || is_hopeless || is_late {
                return;
            }
            let pause = failed_pause.unwrap_or(Duration::from_secs_f64(settings.every_seconds));
            match deadline {
                None => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    changed = finishing.changed() => match changed {
                        Ok(()) => self.pause = FIRST_PAUSE,
                        Err(_) => return,
                    },
                },
                Some(deadline) => tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await,
            }
        }
    }

    /// Says what is new about an attempt, and returns the pause after one that failed.
    fn note(&mut self, upload: &Upload, passed: Result<(), StorageError>) -> Option<Duration> {
        let Err(error) = passed else {
            if self.problem.take().is_some() {
                tracing::warn!("{}: uploads work again", upload.target.url());
            }
            self.pause = FIRST_PAUSE;
            return None;
        };
        let pause = self.pause;
        let is_new = self.problem.replace(error.to_string()).is_none();
        if error.is_final() {
            tracing::warn!("{error}");
        } else if is_new {
            tracing::warn!("{error}; the upload is tried again");
        } else {
            tracing::info!("{error}; the upload is tried again in {} s", pause.as_secs());
        }
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

fn ended(upload: &Upload, keep: usize, problem: Option<String>) -> Ended {
    let (missing, problem) = match (upload.missing(keep), problem) {
        (Ok(missing), problem) => (missing, problem),
        (Err(error), problem) => {
            (vec![(".".to_owned(), 0)], Some(problem.unwrap_or_else(|| error.to_string())))
        }
    };
    let missing = missing.into_iter().map(|(path, bytes)| Missing { path, bytes }).collect();
    Ended { url: upload.target.url().to_owned(), missing, problem, bytes_sent: upload.bytes_sent }
}
