//! Runs in a store: the upload beside a run, `sandbox upload`, `sandbox fetch` and `--resume s3://…`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use records::{RunDir, StorageRecord, is_owned};
use scenarios::{Experiment, StorageConfig};
use storage::{
    Ended, Fetched, Missing, StorageError, Target, Uploader, fetch as fetch_run, look, upload_once,
};

use crate::cli::{FetchOptions, RunOptions, StoreOptions, UploadOptions};
use crate::existing::existing_run_dir;
use crate::failure::Failure;
use crate::progress::Screen;
use crate::streams::{errln, outln};

/// Most files that a message names.
const NAMED: usize = 5;

/// Starts the upload beside a run whose scenario has `storage.url`.
pub(crate) fn start(
    run_dir: &RunDir,
    settings: &StorageConfig,
    screen: &Screen,
) -> Result<Option<Uploader>, Failure> {
    let uploader = Uploader::start(run_dir, settings).map_err(Failure::input)?;
    if let Some(uploader) = &uploader {
        screen.line(&format!("uploads to {}", uploader.url()));
    }
    Ok(uploader)
}

/// Uploads what a run that has ended left to upload. `ended` is how the run ended otherwise; a run that did well fails if not all
/// of it is in the store.
pub(crate) fn finish(
    uploader: Option<Uploader>,
    run_dir: &RunDir,
    settings: &StorageConfig,
    screen: &Screen,
    ended: Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(uploader) = uploader else { return ended };
    let wait = settings.wait_seconds;
    screen.line(&format!("uploading the rest to {}, for at most {wait} s", uploader.url()));
    let uploaded = uploader.finish(Duration::from_secs_f64(wait));
    match (report(&uploaded, run_dir), ended) {
        (Ok(()), ended) => {
            screen.line(&format!("uploaded to {}", uploaded.url));
            ended
        }
        (Err(problem), Ok(())) => Err(problem),
        (Err(problem), Err(ended)) => {
            // How the run ended decides the exit code.
            problem.report();
            Err(ended)
        }
    }
}

/// Fails, with what to do, if something is not in the store.
fn report(uploaded: &Ended, run_dir: &RunDir) -> Result<(), Failure> {
    if uploaded.missing.is_empty() {
        return Ok(());
    }
    let names = |missing: &Missing| format!("{} ({} bytes)", missing.path, missing.bytes);
    let named: Vec<String> = uploaded.missing.iter().take(NAMED).map(names).collect();
    let more = match uploaded.missing.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more files"),
    };
    let why = uploaded.problem.as_ref().map_or_else(String::new, |problem| format!("; {problem}"));
    Err(Failure::NotUploaded(format!(
        "not uploaded to {}: {}{more}{why}; the run directory has all of it: sandbox upload {}",
        uploaded.url,
        named.join(", "),
        run_dir.path().display()
    )))
}

/// Uploads a run directory.
pub fn upload(options: &UploadOptions) -> Result<(), Failure> {
    let run_dir = existing_run_dir(&options.dir)?;
    let mut settings = settings_of(&run_dir);
    if is_owned(&run_dir) && settings.url.is_some() {
        let dir = run_dir.path().display();
        return Err(Failure::Input(format!(
            "{dir}: this run is in progress and uploads itself; wait until it ends"
        )));
    }
    overlay(&mut settings, &options.store);
    let wait = options.wait.unwrap_or(settings.wait_seconds);
    if !(0.0..=604_800.0).contains(&wait) {
        return Err(Failure::Input(format!("--wait {wait}: write a number of seconds from 0 to 604800")));
    }
    let uploaded = upload_once(&run_dir, options.url.as_deref(), &settings, Duration::from_secs_f64(wait))
        .map_err(failure)?;
    report(&uploaded, &run_dir)?;
    outln!(
        "{}: uploaded, {} bytes sent; to go on elsewhere: sandbox --resume {}",
        uploaded.url,
        uploaded.bytes_sent,
        uploaded.url
    );
    Ok(())
}

/// Fetches a stored run.
pub fn fetch(options: &FetchOptions) -> Result<(), Failure> {
    let mut settings = StorageConfig::default();
    overlay(&mut settings, &options.store);
    let fetched = fetched(&options.url, &settings, |name| {
        options.dir.clone().unwrap_or_else(|| Path::new("runs").join(name))
    })?;
    let (dir, files, bytes) = (fetched.run_dir.path().display(), fetched.files, fetched.bytes);
    outln!(
        "{dir}: {files} files, {bytes} bytes, all as their checksums say; to go on: sandbox --resume {dir}"
    );
    Ok(())
}

/// The options of a run that is resumed: from a store it is fetched first.
pub(crate) fn fetched_to_resume(options: &RunOptions) -> Result<RunOptions, Failure> {
    let Some(resume) = &options.resume else { return Ok(options.clone()) };
    let Some(url) = resume.to_str().filter(|resume| resume.starts_with("s3://")) else {
        if options.out.is_some() {
            return Err(Failure::Input("--out: a run is resumed where it is; leave --out out".into()));
        }
        return Ok(options.clone());
    };
    let out = options.out.clone().unwrap_or_else(|| PathBuf::from("runs"));
    let fetched = fetched(url, &StorageConfig::default(), |name| out.join(name))?;
    errln!("{url} → {} ({} files, {} bytes)", fetched.run_dir.path().display(), fetched.files, fetched.bytes);
    Ok(RunOptions { resume: Some(fetched.run_dir.path().to_owned()), out: None, ..options.clone() })
}

fn fetched(
    url: &str,
    settings: &StorageConfig,
    dir: impl FnOnce(&str) -> PathBuf,
) -> Result<Fetched, Failure> {
    let target = Target::new(url, settings).map_err(failure)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::Running(format!("the async runtime could not be started: {error}")))?;
    runtime.block_on(async {
        let run = look(&target).await.map_err(failure)?;
        // The name is what somebody wrote into the store; only its last part is a folder here.
        let name = Path::new(&run.name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        fetch_run(&target, &dir(&name)).await.map_err(failure)
    })
}

/// `[storage]` of the scenario of a run directory, or the defaults.
fn settings_of(run_dir: &RunDir) -> StorageConfig {
    let experiment: Option<Experiment> = scenarios::load(&run_dir.scenario(), &[], &[], None).ok();
    let mut settings = experiment.map(|experiment| experiment.storage).unwrap_or_default();
    // Where it went before comes first: the scenario names the folder of all runs.
    if let Ok(Some(record)) = StorageRecord::read(run_dir)
        && settings.url.is_none()
    {
        settings.url = record.url.rsplit_once('/').map(|(base, _)| base.to_owned());
    }
    settings
}

fn overlay(settings: &mut StorageConfig, options: &StoreOptions) {
    settings.endpoint = options.endpoint.clone().or_else(|| settings.endpoint.take());
    settings.region = options.region.clone().or_else(|| settings.region.take());
}

fn failure(error: StorageError) -> Failure {
    if error.is_of_input() { Failure::input(error) } else { Failure::running(error) }
}
