//! Sweeps: `--sweep DIR --task N` runs one task of an experiment that many processes train, and `sandbox merge-runs` makes one
//! run of them.

use records::{RunDir, SweepDir, Task};
use rewards::RewardRegistry;
use scenarios::Experiment;

use crate::check::load_and_check;
use crate::cli::{MergeRunsOptions, RunOptions};
use crate::failure::Failure;
use crate::plan::{keep_memory_taken, planned_and_taken};
use crate::report;
use crate::streams::{errln, outln};

/// The options that run a task of a sweep: from its beginning, or from its last checkpoints. `None` if it is done.
///
/// Any number of processes may be started for a task, one after another, as a scheduler does that requeues it.
pub fn task_options(options: &RunOptions, registry: &RewardRegistry) -> Result<Option<RunOptions>, Failure> {
    let (Some(sweep), Some(number), Some(scenario)) = (&options.sweep, options.task, &options.scenario)
    else {
        return Ok(Some(options.clone()));
    };
    let seeds = options.seeds();
    let experiment = load_and_check(scenario, &options.set, &options.arms, seeds.as_deref(), registry)?;
    let task = task(&experiment, number)?;
    let sweep = SweepDir::new(sweep);
    sweep.join(&experiment).map_err(Failure::input)?;
    let dir = sweep.task(&task);
    if sweep.state_of(&task) == "done" {
        errln!("task {number} ({}) is done: {}", task.id(), dir.path().display());
        return Ok(None);
    }
    let own = RunOptions { sweep: None, task: None, seeds: Vec::new(), ..options.clone() };
    if dir.scenario().is_file() {
        // What the process before was to do is in its directory, with the changes and forks that were made since.
        let resume = Some(dir.path().to_owned());
        return Ok(Some(RunOptions { scenario: None, set: Vec::new(), arms: Vec::new(), resume, ..own }));
    }
    let seeds = vec![crate::cli::Seeds(vec![task.seed])];
    Ok(Some(RunOptions { arms: task.arms, seeds, run_dir: Some(dir.path().to_owned()), ..own }))
}

fn task(experiment: &Experiment, number: usize) -> Result<Task, Failure> {
    let tasks = Task::all(experiment);
    let count = tasks.len();
    tasks.into_iter().find(|task| task.number == number).ok_or_else(|| {
        Failure::Input(format!(
            "--task {number}: the sweep has {count} tasks; write a number from 1 to {count}"
        ))
    })
}

/// Merges the tasks of a sweep into one run directory and writes its report.
pub fn merge_runs(options: &MergeRunsOptions) -> Result<(), Failure> {
    let sweep = SweepDir::new(&options.dir);
    if !sweep.scenario().is_file() {
        let dir = options.dir.display();
        return Err(Failure::Input(format!(
            "{dir}: not a sweep (no sweep.toml); name the folder that was given with --sweep"
        )));
    }
    let into = options.out.as_ref().map_or_else(|| sweep.merged(), RunDir::new);
    sweep.merge(&into, options.partial).map_err(Failure::input)?;
    report::write_and_print(&into, options.json)?;
    if !options.json {
        planned_and_taken(&sweep).iter().for_each(|line| outln!("{line}"));
    }
    Ok(())
}

/// Keeps the most memory that this process took for a task, for the comparison with the plan.
pub fn keep_memory(options: &RunOptions) {
    let (Some(sweep), Some(number)) = (&options.sweep, options.task) else { return };
    if let Err(error) = keep_memory_taken(&SweepDir::new(sweep), number) {
        errln!("warning: {error}");
    }
}
