//! A sweep: an experiment whose arms are trained by many processes, on one machine or on several that share a folder.
//!
//! ```text
//! SWEEP/sweep.toml              the experiment, with every setting resolved
//! SWEEP/plan.json               what it was estimated to take
//! SWEEP/tasks/001-grpo-seed-7/  the run directory of a task: an arm with its forks, under one seed
//! SWEEP/merged/                 the run directory of all of them
//! ```
//!
//! - `SWEEP-1` every task writes to a run directory of its own, which one process at a time owns (LOCK-1). No file is
//!   written by two tasks but `sweep.toml`, which all would write alike.
//! - `SWEEP-2` a task whose experiment is not that of `sweep.toml` is refused.

use std::fs;
use std::path::{Path, PathBuf};

use scenarios::{ArmConfig, Experiment};

use crate::arm_id::ArmId;
use crate::error::RecordsError;
use crate::files::replace_file;
use crate::run_dir::RunDir;

/// The part of a sweep that one process trains: an arm and the forks of it, under one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// From 1, in the order in which a run would start the arms.
    pub number: usize,
    /// The arm, then its forks.
    pub arms: Vec<String>,
    /// The seed.
    pub seed: u64,
}

impl Task {
    /// The tasks of an experiment.
    pub fn all(experiment: &Experiment) -> Vec<Task> {
        let mut tasks = Vec::new();
        for &seed in &experiment.run.seeds {
            for arm in experiment.arms.iter().filter(|arm| arm.fork.is_none()) {
                let mut arms = Vec::new();
                add_with_forks(experiment, arm, seed, &mut arms);
                tasks.push(Task { number: tasks.len() + 1, arms, seed });
            }
        }
        tasks
    }

    /// The arm that is not a fork, under the task's seed.
    pub fn id(&self) -> ArmId {
        ArmId::new(self.arms.first().cloned().unwrap_or_default(), self.seed)
    }

    fn folder(&self) -> String {
        let id = self.id();
        format!("{:03}-{}-seed-{}", self.number, id.arm, id.seed)
    }
}

fn add_with_forks(experiment: &Experiment, arm: &ArmConfig, seed: u64, arms: &mut Vec<String>) {
    arms.push(arm.name.clone());
    for fork in experiment.forks_of(&arm.name, seed) {
        add_with_forks(experiment, fork, seed, arms);
    }
}

/// The folder of a sweep. Nothing is read or created until a method says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepDir(PathBuf);

impl SweepDir {
    /// The folder at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        SweepDir(path.into())
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The experiment; its presence makes a folder a sweep.
    pub fn scenario(&self) -> PathBuf {
        self.0.join("sweep.toml")
    }

    /// What the sweep was estimated to take.
    pub fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// The run directory of a task.
    pub fn task(&self, task: &Task) -> RunDir {
        RunDir::new(self.0.join("tasks").join(task.folder()))
    }

    /// The run directory of all tasks together.
    pub fn merged(&self) -> RunDir {
        RunDir::new(self.0.join("merged"))
    }

    /// Makes the folder, with the experiment in it, or compares the experiment with the one that is there (SWEEP-2).
    ///
    /// Errors: [`RecordsError::OtherSweep`]; [`RecordsError::Read`] and [`RecordsError::Write`].
    pub fn join(&self, experiment: &Experiment) -> Result<(), RecordsError> {
        let (path, wanted) = (self.scenario(), experiment.to_toml());
        if !path.exists() {
            fs::create_dir_all(&self.0).map_err(RecordsError::writing(&self.0))?;
            // Tasks that start at the same time write the same.
            replace_file(&path, wanted.as_bytes())?;
        }
        let found = fs::read_to_string(&path).map_err(RecordsError::reading(&path))?;
        let line = |text: &str, place: usize| text.lines().nth(place).unwrap_or_default().to_owned();
        let lines = found.lines().count().max(wanted.lines().count());
        match (0..lines).find(|&place| line(&found, place) != line(&wanted, place)) {
            None => Ok(()),
            Some(place) => Err(RecordsError::OtherSweep {
                path,
                line: place as u64 + 1,
                found: line(&found, place),
                wanted: line(&wanted, place),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(text: &str) -> Experiment {
        let head = "[run]\nseeds = [1, 2]\n[rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n";
        scenarios::scenario::parse(&format!("{head}{text}"), Path::new("a.toml"), &[], &[], None).unwrap()
    }

    #[test]
    fn a_fork_belongs_to_the_task_of_the_arm_it_is_copied_from() {
        let experiment = experiment(
            "[[arm]]\nname = \"a\"\n[[arm]]\nname = \"b\"\n[[arm]]\nname = \"c\"\nfork = { arm = \"a\", step = 2 }\n\
             [[arm]]\nname = \"d\"\nfork = { arm = \"c\", step = 3, seeds = [2] }\n",
        );
        let tasks: Vec<String> = Task::all(&experiment)
            .iter()
            .map(|task| format!("{} {} {}", task.folder(), task.arms.join(","), task.seed))
            .collect();
        assert_eq!(
            tasks,
            ["001-a-seed-1 a,c 1", "002-b-seed-1 b 1", "003-a-seed-2 a,c,d 2", "004-b-seed-2 b 2"]
        );
    }

    #[test]
    fn another_experiment_is_refused_with_the_line_that_differs() {
        // SWEEP-2.
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepDir::new(folder.path().join("s"));
        let arm = |lr: &str| experiment(&format!("[grpo]\nlr = {lr}\n[[arm]]\nname = \"a\"\n"));
        sweep.join(&arm("1e-4")).unwrap();
        sweep.join(&arm("1e-4")).unwrap();
        let error = sweep.join(&arm("2e-4")).unwrap_err().to_string();
        assert!(
            error.contains("sweep.toml:")
                && error.contains("`lr = 0.0001`")
                && error.contains("`lr = 0.0002`"),
            "{error}"
        );
    }
}
