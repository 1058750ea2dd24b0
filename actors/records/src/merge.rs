//! One run directory of the tasks of a sweep.
//!
//! - `MERGE-1` what is merged is what one run of all arms would have recorded, except for times and the order of the journal;
//!   tasks that differ in more than their arms and seeds are refused.
//! - `MERGE-2` the tasks stay as they are, and the merged directory appears when all of it is there.

use std::fs;
use std::path::{Path, PathBuf};

use scenarios::{ArmConfig, Experiment, ForkConfig};

use crate::arm_id::ArmId;
use crate::arm_state::ArmState;
use crate::checksum::FileSum;
use crate::environment::Environment;
use crate::error::RecordsError;
use crate::files::{link_or_copy, replace_file};
use crate::jsonl::json_lines;
use crate::run_dir::{ArmDir, RunDir};
use crate::sweep::{SweepDir, Task};

/// Why the tasks of a sweep can't be merged. One line each.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Some tasks are not done.
    #[error("{}: {} of {of} tasks are not done: {}; run them, or merge what there is with --partial", sweep.display(), tasks.len(), first_of(tasks))]
    Unfinished {
        /// The folder of the sweep.
        sweep: PathBuf,
        /// Each as its number, arm, seed and state.
        tasks: Vec<String>,
        /// Number of all tasks.
        of: usize,
    },
    /// No task has recorded anything.
    #[error("{}: no task has begun; run them first", .0.display())]
    Nothing(PathBuf),
    /// Two tasks were not run alike.
    #[error("{} and {} differ: {difference}; run one of them again as the other was", one.display(), other.display())]
    Differ {
        /// The run directory of a task.
        one: PathBuf,
        /// That of another one.
        other: PathBuf,
        /// In what.
        difference: String,
    },
    /// The scenario of a task can't be read.
    #[error(transparent)]
    Scenario(#[from] scenarios::ScenarioError),
    /// The merged directory exists already.
    #[error("{}: exists already; remove it, or choose another folder with --out", .0.display())]
    Exists(PathBuf),
    /// A file can't be read or written.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

fn first_of(tasks: &[String]) -> String {
    const NAMED: usize = 4;
    let more = tasks.len().saturating_sub(NAMED);
    let named = tasks[..tasks.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// A task that has recorded something.
struct Recorded {
    dir: RunDir,
    experiment: Experiment,
    environment: Environment,
}

impl SweepDir {
    /// The state of a task in a word or two: `done`, `not begun`, or that of its first arm that is not done.
    pub fn state_of(&self, task: &Task) -> String {
        let dir = self.task(task);
        if !dir.scenario().is_file() {
            return "not begun".to_owned();
        }
        let state = |arm: &String| dir.arm(&ArmId::new(arm.clone(), task.seed)).read_status().ok().flatten();
        let states = task.arms.iter().map(|arm| state(arm).map(|status| status.state));
        let unfinished = states.map(|state| state.unwrap_or_default()).find(|state| *state != ArmState::Done);
        unfinished.map_or("done", |state| state.name()).to_owned()
    }

    /// Makes the run directory `into` of all tasks; with `partial`, of those that have begun.
    ///
    /// Errors: [`MergeError`].
    pub fn merge(&self, into: &RunDir, partial: bool) -> Result<(), MergeError> {
        if into.path().exists() {
            return Err(MergeError::Exists(into.path().to_owned()));
        }
        let experiment = scenarios::load(&self.scenario(), &[], &[], None)?;
        let tasks = Task::all(&experiment);
        let unfinished: Vec<String> = tasks
            .iter()
            .map(|task| (task, self.state_of(task)))
            .filter(|(_, state)| state != "done")
            .map(|(task, state)| format!("{} {} ({state})", task.number, task.id()))
            .collect();
        if !partial && !unfinished.is_empty() {
            let sweep = self.path().to_owned();
            return Err(MergeError::Unfinished { sweep, tasks: unfinished, of: tasks.len() });
        }
        let dirs = tasks.iter().map(|task| self.task(task)).filter(|dir| dir.scenario().is_file());
        let recorded = dirs.map(Recorded::read).collect::<Result<Vec<_>, MergeError>>()?;
        let Some(first) = recorded.first() else { return Err(MergeError::Nothing(self.path().to_owned())) };
        let merged = merged(experiment, &recorded)?;

        let draft = RunDir::new(into.path().with_extension("draft"));
        let writing = |path: &Path, result: std::io::Result<()>| result.map_err(RecordsError::writing(path));
        if draft.path().exists() {
            writing(draft.path(), fs::remove_dir_all(draft.path()))?;
        }
        writing(draft.path(), fs::create_dir_all(draft.path()))?;
        for task in &recorded {
            for (arm, seeds) in task.dir.arms()? {
                for (seed, from) in seeds {
                    let id = ArmId::new(arm.clone(), seed);
                    copy_arm(&from, &draft.arm(&id), &into.arm(&id))?;
                }
            }
        }
        replace_file(&draft.scenario(), merged.to_toml().as_bytes())?;
        let environment = Environment {
            scenario: first.environment.scenario.clone(),
            scenario_folder: first.environment.scenario_folder.clone(),
            threads_per_arm: first.environment.threads_per_arm,
            ..Environment::of(&merged, first.environment.device.clone())
        };
        environment.write(&draft)?;
        merge_journals(&recorded, &draft)?;
        let of_judges: Vec<PathBuf> = recorded.iter().map(|task| task.dir.judge_spent()).collect();
        join_files(&of_judges, &draft.judge_spent())?;
        let logs: Vec<PathBuf> = recorded.iter().map(|task| task.dir.log()).collect();
        join_files(&logs, &draft.log())?;
        writing(into.path(), fs::rename(draft.path(), into.path()))?;
        Ok(())
    }
}

impl Recorded {
    fn read(dir: RunDir) -> Result<Self, MergeError> {
        let experiment = scenarios::load(&dir.scenario(), &[], &[], None)?;
        let environment = Environment::read(&dir).unwrap_or_default();
        Ok(Recorded { dir, experiment, environment })
    }

    fn arm(&self, name: &str) -> Option<&ArmConfig> {
        self.experiment.arms.iter().find(|arm| arm.name == name)
    }

    /// In what two tasks differ that should not.
    fn difference(&self, other: &Recorded) -> Option<String> {
        let (one, two) = (&self.environment, &other.environment);
        let facts = [
            ("version of the sandbox", &one.version, &two.version),
            ("device", &one.device, &two.device),
            ("architecture", &one.architecture, &two.architecture),
        ];
        let fact = facts.into_iter().find(|(_, one, two)| one != two);
        if let Some((what, one, two)) = fact {
            return Some(format!("{what} {one} and {two}"));
        }
        let arms = self.experiment.arms.iter().filter_map(|arm| Some((arm, other.arm(&arm.name)?)));
        let mut differences = arms.flat_map(|(arm, same)| {
            let unlike = same.settings_unlike(arm);
            unlike.into_iter().map(|setting| format!("arm `{}`: {setting}", arm.name))
        });
        differences.next()
    }
}

/// The experiment with the arms as they were recorded: with settled formats and the forks that were made.
fn merged(experiment: Experiment, recorded: &[Recorded]) -> Result<Experiment, MergeError> {
    for (place, task) in recorded.iter().enumerate() {
        for earlier in &recorded[..place] {
            if let Some(difference) = earlier.difference(task) {
                let (one, other) = (earlier.dir.path().to_owned(), task.dir.path().to_owned());
                return Err(MergeError::Differ { one, other, difference });
            }
        }
    }
    let mut merged = experiment;
    for task in recorded {
        for arm in &task.experiment.arms {
            match merged.arms.iter_mut().find(|known| known.name == arm.name) {
                Some(known) => {
                    let fork = both_forks(known.fork.take(), arm.fork.clone());
                    *known = ArmConfig { fork, ..arm.clone() };
                }
                None => merged.arms.push(arm.clone()),
            }
        }
    }
    Ok(merged)
}

/// A fork that several tasks have, under the seeds of all of them.
fn both_forks(known: Option<ForkConfig>, other: Option<ForkConfig>) -> Option<ForkConfig> {
    let (Some(known), Some(other)) = (&known, other) else { return known };
    // No seeds are all seeds.
    let mut seeds = known.seeds.clone();
    if !seeds.is_empty() {
        seeds.extend(other.seeds);
        seeds.sort_unstable();
        seeds.dedup();
    }
    Some(ForkConfig { seeds, ..known.clone() })
}

/// Copies the folder of an arm to `to`, which becomes `at`. The files of checkpoints, to which nobody writes again, are hard
/// links where the file system has them.
fn copy_arm(from: &ArmDir, to: &ArmDir, at: &ArmDir) -> Result<(), RecordsError> {
    copy_folder(from.path(), to.path(), &to.checkpoints())?;
    let Some(mut status) = to.read_status()? else { return Ok(()) };
    let folder = status.checkpoint.as_deref().and_then(Path::file_name);
    status.checkpoint = folder.map(|folder| at.checkpoints().join(folder));
    replace_file(&to.status(), status.to_text().as_bytes())
}

fn copy_folder(from: &Path, to: &Path, links_below: &Path) -> Result<(), RecordsError> {
    fs::create_dir_all(to).map_err(RecordsError::writing(to))?;
    for entry in fs::read_dir(from).map_err(RecordsError::reading(from))? {
        let entry = entry.map_err(RecordsError::reading(from))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to, links_below)?;
        } else if to.starts_with(links_below) {
            link_or_copy(&from, &to).map_err(RecordsError::writing(&to))?;
        } else {
            fs::copy(&from, &to).map(drop).map_err(RecordsError::writing(&to))?;
        }
    }
    Ok(())
}

/// The entries of all journals by their time. Versions count within an arm, so they stay as they are.
fn merge_journals(recorded: &[Recorded], into: &RunDir) -> Result<(), RecordsError> {
    let mut entries = Vec::new();
    for task in recorded {
        entries.extend(task.dir.read_journal()?);
    }
    if entries.is_empty() {
        return Ok(());
    }
    // RFC 3339 in UTC sorts as time does.
    entries.sort_by(|one, other| one.time.cmp(&other.time));
    let text = json_lines(&entries).join("\n") + "\n";
    replace_file(&into.journal(), text.as_bytes())?;
    into.seal_journal(&FileSum::of(text.as_bytes()))
}

/// Joins files, of which some may be missing.
fn join_files(files: &[PathBuf], into: &Path) -> Result<(), RecordsError> {
    let mut text = Vec::new();
    for file in files {
        match fs::read(file) {
            Ok(bytes) => text.extend(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(RecordsError::reading(file)(error)),
        }
    }
    if text.is_empty() { Ok(()) } else { replace_file(into, &text) }
}
