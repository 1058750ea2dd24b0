//! A run in one line, for `sandbox ls`. Only small files are read, and nothing is written.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use records::{ArmDir, ArmId, ArmState, RunDir, Tally, is_owned};
use scenarios::Method;
use serde::Serialize;
use serde_json::Value;

use crate::error::ReportError;

/// The state of a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A process owns the run directory, and an arm is running or about to.
    Running,
    /// A process owns the run directory, and every arm that has begun and not ended is paused.
    Paused,
    /// Every arm is done.
    Done,
    /// An arm has failed.
    Failed,
    /// An arm was stopped, and can be resumed.
    Stopped,
    /// The process ended before its arms did.
    Killed,
    /// No arm has begun, and no process owns the run directory.
    NotStarted,
}

impl RunState {
    /// The state's name, as `sandbox ls` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Killed => "killed",
            Self::NotStarted => "not started",
        }
    }

    /// The state of a run with these states of its arms; `None` for an arm that has not begun.
    fn of(arms: &[Option<ArmState>], owned: bool) -> Self {
        let any = |wanted: fn(&ArmState) -> bool| arms.iter().flatten().any(wanted);
        let active = any(ArmState::is_active);
        if owned {
            let paused = active && !any(|state| *state == ArmState::Running);
            return if paused { Self::Paused } else { Self::Running };
        }
        let begun = arms.iter().flatten().any(|state| *state != ArmState::Planned);
        if active {
            Self::Killed
        } else if any(|state| state.failure().is_some()) {
            Self::Failed
        } else if any(|state| *state == ArmState::Stopped) {
            Self::Stopped
        } else if arms.iter().all(|state| *state == Some(ArmState::Done)) {
            Self::Done
        } else if begun {
            Self::Killed
        } else {
            Self::NotStarted
        }
    }
}

/// The best arm on the run's first suite.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Best {
    /// Share of right answers in its latest evaluation, pooled over seeds; 0 to 1.
    pub accuracy: f64,
    /// The arm.
    pub arm: String,
    /// The evaluation suite.
    pub suite: String,
}

/// What `sandbox ls` says of a run.
#[derive(Clone, Debug, Serialize)]
pub struct RunOverview {
    /// Name of the run directory.
    pub name: String,
    /// Path of the run directory, as it was given.
    pub path: PathBuf,
    /// When the run began, RFC 3339 in UTC: by the first line of its log, else by its name, else by its files.
    pub started: Option<String>,
    /// The state of the run.
    pub state: RunState,
    /// Arms that are done, each counted once per seed.
    pub arms_done: usize,
    /// All arms, each counted once per seed.
    pub arms: usize,
    /// Training steps that were taken, over all arms and seeds.
    pub steps_done: u64,
    /// Training steps of the whole run.
    pub steps_total: u64,
    /// The best arm; `None` if nothing has been evaluated.
    pub best: Option<Best>,
    /// Size on disk.
    pub bytes: u64,
}

/// Looks at a run directory in any state, also at a copy of one.
///
/// Errors: it is no run directory, or a file that the overview needs is damaged or of a newer format.
pub fn overview(run_dir: &RunDir) -> Result<RunOverview, ReportError> {
    let path = run_dir.path();
    if !run_dir.scenario().is_file() {
        return Err(ReportError::NotARun { path: path.to_owned() });
    }
    let experiment = scenarios::load(&run_dir.scenario(), &[], &[], None)?;
    let (mut states, mut steps_done, mut steps_total) = (Vec::new(), 0, 0);
    let mut best: Vec<Best> = Vec::new();
    let mut suites: Vec<String> = Vec::new();
    for arm in &experiment.arms {
        let mut latest: BTreeMap<String, Tally> = BTreeMap::new();
        for &seed in experiment.run.seeds.iter().filter(|seed| arm.has_seed(**seed)) {
            let dir = run_dir.arm(&ArmId::new(&arm.name, seed));
            let status = dir.read_status()?;
            if status.is_none() && dir.status().exists() {
                return Err(ReportError::Status { path: dir.status() });
            }
            let steps = if arm.method == Method::None { 0 } else { arm.steps };
            steps_total += steps;
            steps_done += status.as_ref().map_or(0, |status| status.step.min(steps));
            states.push(status.map(|status| status.state));
            for (suite, tally) in latest_evaluations(&dir, &mut suites)? {
                latest.entry(suite).or_default().merge(&tally);
            }
        }
        best.extend(latest.into_iter().filter(|(_, tally)| tally.n > 0).map(|(suite, tally)| {
            let accuracy = tally.correct as f64 / tally.n as f64;
            Best { accuracy, arm: arm.name.clone(), suite }
        }));
    }
    let first = suites.first();
    let of_first = best.into_iter().filter(|best| Some(&best.suite) == first);
    // Of equal arms, the scenario's first.
    let best = of_first.reduce(|best, other| if other.accuracy > best.accuracy { other } else { best });
    Ok(RunOverview {
        name: name(path),
        path: path.to_owned(),
        started: started(run_dir).and_then(|time| Some(time.round(Unit::Second).ok()?.to_string())),
        state: RunState::of(&states, is_owned(run_dir)),
        arms_done: states.iter().filter(|state| **state == Some(ArmState::Done)).count(),
        arms: states.len(),
        steps_done,
        steps_total,
        best,
        bytes: bytes(path, &mut HashSet::new()),
    })
}

/// The latest evaluation of each suite; adds the names of suites in the order in which they were first evaluated.
fn latest_evaluations(
    dir: &ArmDir,
    suites: &mut Vec<String>,
) -> Result<BTreeMap<String, Tally>, ReportError> {
    let mut latest: BTreeMap<String, (u64, Tally)> = BTreeMap::new();
    for row in dir.read_evaluations()? {
        if !suites.contains(&row.suite) {
            suites.push(row.suite.clone());
        }
        let newest = latest.entry(row.suite).or_default();
        if row.step >= newest.0 {
            *newest = (row.step, row.overall);
        }
    }
    Ok(latest.into_iter().map(|(suite, (_, tally))| (suite, tally)).collect())
}

fn name(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// When the run began. The log and the name survive a copy; the times of files may not.
fn started(run_dir: &RunDir) -> Option<Timestamp> {
    let logged = || {
        let mut line = String::new();
        BufReader::new(File::open(run_dir.log()).ok()?).read_line(&mut line).ok()?;
        match serde_json::from_str::<Value>(&line) {
            // With --log-format json.
            Ok(line) => line["time"].as_str()?.parse().ok(),
            Err(_) => line.split_whitespace().next()?.parse().ok(),
        }
    };
    let written = || {
        let modified = fs::metadata(run_dir.scenario()).ok()?.modified().ok()?;
        Timestamp::try_from(modified).ok()
    };
    logged().or_else(|| named(&name(run_dir.path()))).or_else(written)
}

/// The time in a name such as `ablation-20260131-120000`, which is local time.
fn named(name: &str) -> Option<Timestamp> {
    let parts: Vec<&str> = name.split('-').collect();
    let time = parts.windows(2).rev().find_map(|pair| {
        let digits = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        let stamp = (digits(pair[0], 8) && digits(pair[1], 6)).then(|| format!("{}T{}", pair[0], pair[1]))?;
        stamp.parse::<DateTime>().ok()
    })?;
    Some(time.to_zoned(TimeZone::system()).ok()?.timestamp())
}

/// The blocks of all files below a path, those with several names once. Links are not followed.
fn bytes(path: &Path, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    if !seen.insert((found.dev(), found.ino())) {
        return 0;
    }
    // A block of `stat` has 512 bytes on every file system.
    let own = found.blocks() * 512;
    if !found.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| bytes(&entry.path(), seen)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabricate;

    #[test]
    fn a_run_has_the_state_of_its_arms_and_its_process() {
        use ArmState::{Done, Planned, Running, Stopped};
        let failed = || Some(ArmState::Failed { reason: "x".into() });
        let paused = || Some(ArmState::Paused { reason: "x".into() });
        let of =
            |arms: &[Option<ArmState>]| [RunState::of(arms, true).name(), RunState::of(arms, false).name()];
        assert_eq!(of(&[Some(Done), Some(Running)]), ["running", "killed"]);
        assert_eq!(of(&[Some(Done), paused()]), ["paused", "killed"]);
        assert_eq!(of(&[Some(Running), paused()])[0], "running");
        assert_eq!(of(&[Some(Done), failed(), Some(Stopped)])[1], "failed");
        assert_eq!(of(&[Some(Done), Some(Stopped), None])[1], "stopped");
        assert_eq!(of(&[Some(Done), Some(Done)])[1], "done");
        assert_eq!(of(&[Some(Done), None])[1], "killed");
        assert_eq!(of(&[Some(Planned), None]), ["running", "not started"]);
    }

    #[test]
    fn the_time_in_a_name_is_found_behind_any_name_and_before_a_number() {
        let local =
            |text: &str| text.parse::<DateTime>().unwrap().to_zoned(TimeZone::system()).unwrap().timestamp();
        let expected = Some(local("2026-01-31T12:00:05"));
        assert_eq!(named("ablation-20260131-120005"), expected);
        assert_eq!(named("my-run-2-20260131-120005-3"), expected);
        assert_eq!(named("ablation-20250101-000000-replay-20260131-120005"), expected);
        assert_eq!((named("mine"), named("a-20261399-120000")), (None, None));
    }

    #[test]
    fn a_killed_run_is_described_by_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ablation-20250131-120000");
        fs::create_dir(&path).unwrap();
        fabricate::run(&path, &[7], 30);
        let run_dir = RunDir::new(&path);
        let found = overview(&run_dir).unwrap();
        assert_eq!((found.name.as_str(), found.arms), ("ablation-20250131-120000", 8));
        let best = found.best.unwrap();
        assert!(
            best.suite == "builtin:soundscapes" && best.accuracy > 0.5 && best.accuracy < 1.0,
            "{best:?}"
        );
        assert!(found.bytes > 10_000, "{}", found.bytes);
        assert!(found.started.is_some());
        // The first line of the log is more exact than the name.
        fs::write(run_dir.log(), "2025-01-31T12:00:01.25Z  INFO run: started\n").unwrap();
        assert_eq!(overview(&run_dir).unwrap().started.as_deref(), Some("2025-01-31T12:00:01Z"));
        fs::write(run_dir.log(), "{\"time\":\"2025-01-31T12:00:02.25Z\",\"level\":\"info\"}\n").unwrap();
        assert_eq!(overview(&run_dir).unwrap().started.as_deref(), Some("2025-01-31T12:00:02Z"));
    }

    #[test]
    fn damage_is_an_error_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        fabricate::run(folder.path(), &[7], 6);
        let run_dir = RunDir::new(folder.path());
        let status = run_dir.arm(&ArmId::new("base", 7)).status();
        fs::write(&status, "{").unwrap();
        let error = overview(&run_dir).unwrap_err().to_string();
        assert_eq!(error, format!("{}: damaged: not the status of an arm", status.display()));
        fs::write(run_dir.scenario(), "[run").unwrap();
        assert!(overview(&run_dir).unwrap_err().to_string().contains("scenario.toml:1:"));
        fs::remove_file(run_dir.scenario()).unwrap();
        assert!(overview(&run_dir).unwrap_err().to_string().contains("not a run directory"));
    }
}
