//! `sandbox plan`: the tasks of a sweep, what they will take, and a script that starts them.
//!
//! Nothing is guessed: every arm takes a few steps and answers some questions on this machine, and the rest is multiplication.
//! A policy whose completions grow during the training takes longer than planned.

use std::collections::BTreeMap;
use std::fs;

use records::{ArmId, SweepDir, Task, replace_file};
use rewards::RewardRegistry;
use scenarios::Experiment;
use serde::{Deserialize, Serialize};

use crate::check::{features_to_come, gpu_bytes, load_and_check};
use crate::cli::PlanOptions;
use crate::failure::Failure;
use crate::streams::{columns, errln, outln};
use crate::table::Table;

mod measure;
mod scripts;
mod taken;

use measure::{Measured, QUESTIONS, STEPS, measure};
pub use taken::keep_memory_taken;
use taken::memory_taken;

/// The tasks of a sweep, and what each will take; the content of `plan.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Whether each task takes a GPU.
    gpu: bool,
    tasks: Vec<PlannedTask>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PlannedTask {
    number: usize,
    arms: Vec<String>,
    seed: u64,
    /// Absent where nothing was measured.
    needs: Option<TaskNeeds>,
}

/// What a task takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct TaskNeeds {
    seconds: f64,
    /// The most memory of the process, in bytes, without that of a GPU.
    memory_bytes: u64,
    /// The most memory of a GPU, in bytes. It is computed from the dimensions of the model and the lengths of prompts, not
    /// measured; absent on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gpu_bytes: Option<u64>,
    /// Tokens sampled in training.
    tokens: f64,
}

pub fn plan(options: &PlanOptions, registry: &RewardRegistry) -> Result<(), Failure> {
    let seeds = options.seeds();
    let experiment =
        load_and_check(&options.scenario, &options.set, &options.arms, seeds.as_deref(), registry)?;
    let sweep = options.sweep.as_ref().map(SweepDir::new);
    if let Some(sweep) = &sweep {
        sweep.join(&experiment).map_err(Failure::input)?;
    }
    let known = sweep.as_ref().and_then(read).filter(|plan| plan.is_of(&experiment));
    let plan = match known {
        // The same sweep was measured before.
        Some(known) if known.is_measured() || options.no_measure => known,
        _ => Plan::of(&experiment, options)?,
    };
    if let Some(sweep) = &sweep {
        let json = serde_json::to_string_pretty(&plan).map_err(Failure::running)?;
        replace_file(&sweep.plan(), format!("{json}\n").as_bytes()).map_err(Failure::running)?;
    }
    match (options.array, &options.sweep) {
        (Some(array), Some(dir)) => {
            outln!("{}", scripts::script(array, &plan, &experiment, options, dir)?.trim_end())
        }
        _ if options.json => outln!("{}", serde_json::to_string_pretty(&plan).map_err(Failure::running)?),
        _ => {
            outln!("{}", plan.table().text(columns()).trim_end());
            outln!("{}", plan.total());
        }
    }
    Ok(())
}

fn read(sweep: &SweepDir) -> Option<Plan> {
    serde_json::from_slice(&fs::read(sweep.plan()).ok()?).ok()
}

impl Plan {
    fn of(experiment: &Experiment, options: &PlanOptions) -> Result<Self, Failure> {
        let gpu = is_for_gpu(experiment, options)?;
        let mut measured = BTreeMap::new();
        if !options.no_measure {
            let to_come = features_to_come(experiment, STEPS, QUESTIONS)?;
            for arm in &experiment.arms {
                // A fork can't begin without the arm that it is copied from, and takes as much.
                let of_parent = arm.fork.as_ref().and_then(|fork| measured.get(&fork.arm)).cloned();
                let of_arm = match of_parent {
                    Some(known) => known,
                    None => {
                        errln!("measuring {}", arm.name);
                        let mut of_arm =
                            measure(&options.scenario, &options.set, arm, &experiment.run.seeds)?;
                        // The short run has heard a few of the clips, and the memory keeps all.
                        of_arm.memory_bytes += to_come.get(&arm.name).copied().unwrap_or_default();
                        of_arm
                    }
                };
                measured.insert(arm.name.clone(), of_arm);
            }
        }
        let computed = if gpu && !options.no_measure { gpu_bytes(experiment)? } else { BTreeMap::new() };
        let planned = |task: Task| {
            let needs = (!options.no_measure).then(|| needs(experiment, &task, &measured, &computed));
            PlannedTask { number: task.number, arms: task.arms, seed: task.seed, needs }
        };
        let tasks = Task::all(experiment).into_iter().map(planned).collect();
        Ok(Plan { gpu, tasks })
    }

    /// Whether its tasks are those of an experiment.
    fn is_of(&self, experiment: &Experiment) -> bool {
        let of = |task: &PlannedTask| (task.number, task.arms.clone(), task.seed);
        let tasks = Task::all(experiment);
        self.tasks.iter().map(of).eq(tasks.into_iter().map(|task| (task.number, task.arms, task.seed)))
    }

    fn is_measured(&self) -> bool {
        self.tasks.iter().all(|task| task.needs.is_some())
    }

    /// What the largest task takes, and all of them together.
    fn largest(&self) -> Option<TaskNeeds> {
        let needs = self.tasks.iter().map(|task| task.needs).collect::<Option<Vec<_>>>()?;
        needs.into_iter().reduce(|one, other| TaskNeeds {
            seconds: one.seconds.max(other.seconds),
            memory_bytes: one.memory_bytes.max(other.memory_bytes),
            gpu_bytes: one.gpu_bytes.max(other.gpu_bytes),
            tokens: one.tokens.max(other.tokens),
        })
    }

    fn table(&self) -> Table {
        let mut heads = vec!["task", "arm", "seed", "time", "memory", "tokens"];
        if self.gpu {
            heads.push("GPU memory, computed");
        }
        let mut table = Table::new(&heads);
        for task in &self.tasks {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
            let mut cells = vec![
                task.number.to_string(),
                task.arms.join(", "),
                task.seed.to_string(),
                or_dash(task.needs.map(|needs| time(needs.seconds))),
                or_dash(task.needs.map(|needs| gigabytes(needs.memory_bytes))),
                or_dash(task.needs.map(|needs| format!("{:.2} M", needs.tokens / 1e6))),
            ];
            if self.gpu {
                cells.push(or_dash(task.needs.and_then(|needs| needs.gpu_bytes).map(gigabytes)));
            }
            table.row(cells);
        }
        table
    }

    fn total(&self) -> String {
        let count = self.tasks.len();
        let needs: Option<Vec<TaskNeeds>> = self.tasks.iter().map(|task| task.needs).collect();
        let Some(needs) = needs else { return format!("{count} tasks; nothing was measured") };
        let seconds: f64 = needs.iter().map(|needs| needs.seconds).sum();
        let tokens: f64 = needs.iter().map(|needs| needs.tokens).sum();
        let hours = if self.gpu { format!(", {:.1} GPU-hours", seconds / 3600.0) } else { String::new() };
        format!(
            "{count} tasks, one after another: {}{hours}, {:.2} M sampled tokens; measured on this machine",
            time(seconds),
            tokens / 1e6
        )
    }
}

/// What a task takes: its arms one after another.
fn needs(
    experiment: &Experiment,
    task: &Task,
    measured: &BTreeMap<String, Measured>,
    computed: &BTreeMap<String, u64>,
) -> TaskNeeds {
    let mut needs = TaskNeeds::default();
    for name in &task.arms {
        let config = experiment.arms.iter().find(|arm| arm.name == *name);
        let (Some(config), Some(measured)) = (config, measured.get(name)) else { continue };
        let steps = config.steps.saturating_sub(config.fork.as_ref().map_or(0, |fork| fork.step));
        needs.seconds += measured.seconds(config, steps);
        needs.tokens += measured.tokens_per_step * steps as f64;
        needs.memory_bytes = needs.memory_bytes.max(measured.memory_bytes);
        needs.gpu_bytes = needs.gpu_bytes.max(computed.get(name).copied());
    }
    needs
}

/// Whether tensors are on a GPU. A plan without measurements is also made where there is none, such as on a login node.
fn is_for_gpu(experiment: &Experiment, options: &PlanOptions) -> Result<bool, Failure> {
    let named = experiment.run.device.to_string();
    match model::device::resolve(&named) {
        Ok(resolved) => Ok(resolved.device.is_cuda()),
        Err(_) if options.no_measure && named.starts_with("cuda") => Ok(true),
        Err(error) => Err(Failure::input(error)),
    }
}

/// How the time and the memory that the tasks of a sweep took compare with its plan, in a line each; none without both.
pub fn planned_and_taken(sweep: &SweepDir) -> Vec<String> {
    let Some(plan) = read(sweep) else { return Vec::new() };
    time_line(sweep, &plan).into_iter().chain(memory_line(sweep, &plan)).collect()
}

fn memory_line(sweep: &SweepDir, plan: &Plan) -> Option<String> {
    let (mut planned, mut taken, mut furthest) = (0, 0, 0.0_f64);
    for task in &plan.tasks {
        let needs = task.needs?;
        let bytes = memory_taken(sweep, task.number)?;
        let off = 100.0 * (bytes as f64 / needs.memory_bytes.max(1) as f64 - 1.0);
        furthest = if off.abs() > furthest.abs() { off } else { furthest };
        planned = planned.max(needs.memory_bytes);
        taken = taken.max(bytes);
    }
    let off = 100.0 * (taken as f64 / planned.max(1) as f64 - 1.0);
    Some(format!(
        "memory of the largest task planned: {}; taken: {} ({off:+.0} %); the task that was furthest off: {furthest:+.0} %",
        gigabytes(planned),
        gigabytes(taken)
    ))
}

fn time_line(sweep: &SweepDir, plan: &Plan) -> Option<String> {
    let (mut planned, mut taken) = (0.0, 0.0);
    for task in &plan.tasks {
        let dir = sweep.task(&Task { number: task.number, arms: task.arms.clone(), seed: task.seed });
        let mut seconds = 0.0;
        for arm in &task.arms {
            seconds += dir.arm(&ArmId::new(arm.clone(), task.seed)).read_status().ok()??.wall_seconds;
        }
        planned += task.needs?.seconds;
        taken += seconds;
    }
    let off = 100.0 * (taken / planned - 1.0);
    Some(format!("time planned: {}; taken: {} ({off:+.0} %)", time(planned), time(taken)))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

fn time(seconds: f64) -> String {
    match seconds {
        ..100.0 => format!("{seconds:.0} s"),
        100.0..6000.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
