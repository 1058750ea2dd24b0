//! What an arm takes on this machine, measured on a short run of it by this program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ::evaluation::open_suites;
use records::{ArmId, RunDir, StepMetrics};
use scenarios::{ArmConfig, Method};

use crate::failure::Failure;
use crate::memory::most_memory;

/// Steps of the short run. The first is not counted: it opens files and fills caches.
pub const STEPS: u64 = 6;

/// Most questions of each suite that it answers.
pub const QUESTIONS: usize = 64;

/// Pause between two looks at the memory of the short run.
const LOOK: Duration = Duration::from_millis(20);

/// What an arm took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Opening policy and data, and ending.
    pub startup_seconds: f64,
    pub step_seconds: f64,
    /// Evaluating all suites once.
    pub evaluation_seconds: f64,
    pub tokens_per_step: f64,
    pub memory_bytes: u64,
}

impl Measured {
    /// The time of an arm that takes `steps` steps.
    pub fn seconds(&self, arm: &ArmConfig, steps: u64) -> f64 {
        let steps = if arm.method == Method::None { 0 } else { steps };
        self.startup_seconds
            + self.step_seconds * steps as f64
            + self.evaluation_seconds * evaluations(arm, steps) as f64
    }
}

/// How often an arm is evaluated: every so many steps, after the last one, and if `eval.at_start` before the first.
fn evaluations(arm: &ArmConfig, steps: u64) -> u64 {
    let at_start = u64::from(arm.eval.at_start && steps > 0);
    let during = steps.saturating_sub(1).checked_div(arm.eval.every).unwrap_or(0);
    at_start + during + 1
}

/// Runs an arm for a few steps under the first seed.
///
/// Errors: [`Failure`] of the short run, with its last line.
pub fn measure(scenario: &Path, set: &[String], arm: &ArmConfig, seeds: &[u64]) -> Result<Measured, Failure> {
    let seed = seeds.first().copied().unwrap_or_default();
    let out = tempfile::tempdir().map_err(Failure::running)?;
    let program = std::env::current_exe().map_err(Failure::running)?;
    let questions = arm.eval.limit.map_or(QUESTIONS, |limit| limit.min(QUESTIONS));
    let mut command = Command::new(program);
    command.arg(scenario).args([
        "--arm",
        &arm.name,
        "--seeds",
        &seed.to_string(),
        "--no-control",
        "-q",
        "--out",
    ]);
    command.arg(out.path());
    for setting in set {
        command.args(["--set", setting]);
    }
    let short = [
        format!("run.steps={STEPS}"),
        format!("eval.limit={questions}"),
        "eval.every=0".to_owned(),
        "eval.at_start=false".to_owned(),
    ];
    for setting in &short {
        command.args(["--set", setting]);
    }
    let started = Instant::now();
    let memory_bytes = run(command, &arm.name)?;
    let wall = started.elapsed().as_secs_f64();
    let dirs: Vec<_> = std::fs::read_dir(out.path()).map_err(Failure::running)?.flatten().collect();
    let run_dir = dirs.first().map(|dir| RunDir::new(dir.path()));
    let run_dir =
        run_dir.ok_or_else(|| Failure::Running(format!("{}: the short run left nothing", arm.name)))?;
    read(&run_dir, arm, seed, wall, memory_bytes)
}

/// Runs the command to its end; returns the most memory that it took, in bytes.
fn run(mut command: Command, arm: &str) -> Result<u64, Failure> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(Failure::running)?;
    let mut most = 0;
    let status = loop {
        // None once it has ended.
        most = most.max(most_memory(&child.id().to_string()).unwrap_or_default());
        if let Some(status) = child.try_wait().map_err(Failure::running)? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    if status.success() {
        return Ok(most);
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        // Without it the exit status is all there is to say.
        let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
    }
    let last = said.lines().last().unwrap_or("it said nothing").to_owned();
    Err(Failure::Running(format!("arm {arm} could not be measured ({status}): {last}")))
}

fn read(
    run_dir: &RunDir,
    arm: &ArmConfig,
    seed: u64,
    wall: f64,
    memory_bytes: u64,
) -> Result<Measured, Failure> {
    let dir = run_dir.arm(&ArmId::new(arm.name.clone(), seed));
    let rows =
        if arm.method == Method::None { Vec::new() } else { dir.read_metrics().map_err(Failure::running)? };
    let steps: Vec<f64> = rows.iter().filter_map(StepMetrics::step_seconds).collect();
    let counted = steps.get(1..).unwrap_or_default();
    let step_seconds = counted.iter().sum::<f64>() / counted.len().max(1) as f64;
    let tokens: f64 = rows.iter().map(tokens_of).sum();
    let evaluations = dir.read_evaluations().map_err(Failure::running)?;
    let (mut evaluation_seconds, mut measured_seconds) = (0.0, 0.0);
    let suites = open_suites(arm)?;
    for row in &evaluations {
        measured_seconds += row.eval_seconds;
        let all = suites.iter().find(|suite| suite.name() == row.suite).map_or(0, |suite| suite.rows.rows());
        let asked = arm.eval.limit.map_or(all, |limit| limit.min(all)) as f64;
        evaluation_seconds += row.eval_seconds * asked / row.asked.max(1) as f64;
    }
    Ok(Measured {
        startup_seconds: (wall - steps.iter().sum::<f64>() - measured_seconds).max(0.0),
        step_seconds,
        evaluation_seconds,
        tokens_per_step: tokens / rows.len().max(1) as f64,
        memory_bytes,
    })
}

/// Tokens that a step sampled; none in a supervised step.
fn tokens_of(row: &StepMetrics) -> f64 {
    let sampled = row.grpo().and_then(|row| Some(row.tokens_per_second? * row.step_seconds?));
    sampled.unwrap_or_default()
}
