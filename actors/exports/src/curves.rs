//! The curves of an arm: its steps and evaluations as named numbers over the steps, for programs that plot them.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use records::{ArmDir, ArmState, Evaluation};
use serde_json::{Map, Value};

use crate::error::ExportError;
use crate::leaves::each_leaf;

/// Fields of a metrics row that are not plotted over the steps.
const NOT_PLOTTED: [&str; 2] = ["step", "format_version"];

/// Where points go: a file, or the server of a tracker.
pub trait Sink: Send {
    /// Adds the numbers of one row. `time` is in seconds since 1970; names are such as `train/loss`.
    ///
    /// Errors: the file can't be written.
    fn add(&mut self, step: u64, time: f64, numbers: &[(String, f64)]) -> Result<(), ExportError>;

    /// The arm has ended: done, failed or stopped.
    ///
    /// Errors: the file can't be written.
    fn end(&mut self, state: &ArmState) -> Result<(), ExportError>;

    /// Path of the file, or address of the server.
    fn place(&self) -> String;
}

/// The curves of one arm under one seed. A row appears once, also if it was recorded before the sink was made and is
/// appended afterwards (EXPORT-1).
pub struct Curves {
    sink: Box<dyn Sink>,
    last_step: u64,
    evaluated: HashSet<(u64, String)>,
}

impl Curves {
    /// Makes a sink, whose first row has the given time, and adds all steps and evaluations that the arm has recorded. The
    /// records have no times: the last row gets the time at which its file was last written, and each row before it an
    /// earlier one by the durations recorded since.
    ///
    /// Errors: [`ExportError::Records`], or the error of the sink.
    pub fn of_recorded<S: Sink + 'static>(
        arm: &ArmDir,
        make: impl FnOnce(f64) -> Result<S, ExportError>,
    ) -> Result<Self, ExportError> {
        let steps = arm.read_metrics_as_json()?;
        let evaluations = arm.read_evaluations()?;
        let recorded: f64 = steps.iter().map(step_seconds).sum::<f64>()
            + evaluations.iter().map(|evaluation| evaluation.eval_seconds).sum::<f64>();
        let mut time = last_written(arm) - recorded;

        let mut curves = Curves { sink: Box::new(make(time)?), last_step: 0, evaluated: HashSet::new() };
        let mut evaluations = evaluations.iter().peekable();
        for row in &steps {
            // An evaluation at step n comes after n steps.
            while let Some(evaluation) = evaluations.next_if(|next| Some(next.step) < step_of(row)) {
                time += evaluation.eval_seconds;
                curves.add_evaluation(evaluation, time)?;
            }
            time += step_seconds(row);
            curves.add_step(row, time)?;
        }
        for evaluation in evaluations {
            time += evaluation.eval_seconds;
            curves.add_evaluation(evaluation, time)?;
        }
        Ok(curves)
    }

    /// Adds every number of a row of `metrics.jsonl`, under `train/`, with the present time. A step that was added already
    /// is passed over.
    ///
    /// Errors: [`ExportError::NoStep`], or the error of the sink.
    pub fn append_step(&mut self, row: &Value) -> Result<(), ExportError> {
        self.add_step(row.as_object().ok_or(ExportError::NoStep)?, seconds_since_1970(SystemTime::now()))
    }

    /// Adds the means of a row of `eval.jsonl`, under `eval/SUITE/`, with the present time.
    ///
    /// Errors: [`ExportError::Evaluation`], or the error of the sink.
    pub fn append_evaluation(&mut self, row: &Value) -> Result<(), ExportError> {
        let evaluation = serde_json::from_value(row.clone()).map_err(ExportError::Evaluation)?;
        self.add_evaluation(&evaluation, seconds_since_1970(SystemTime::now()))
    }

    /// The arm has ended.
    ///
    /// Errors: the error of the sink.
    pub fn end(&mut self, state: &ArmState) -> Result<(), ExportError> {
        self.sink.end(state)
    }

    /// Path of the file, or address of the server.
    pub fn place(&self) -> String {
        self.sink.place()
    }

    fn add_step(&mut self, row: &Map<String, Value>, time: f64) -> Result<(), ExportError> {
        let step = step_of(row).ok_or(ExportError::NoStep)?;
        if step <= self.last_step {
            return Ok(());
        }
        self.last_step = step;
        let mut numbers = Vec::new();
        each_leaf(row, '/', &mut |path, value| {
            if let Some(number) = value.as_f64().filter(|_| !NOT_PLOTTED.contains(&path.as_str())) {
                numbers.push((format!("train/{path}"), number));
            }
        });
        self.sink.add(step, time, &numbers)
    }

    fn add_evaluation(&mut self, evaluation: &Evaluation, time: f64) -> Result<(), ExportError> {
        let counts = &evaluation.overall;
        let suite = evaluation.label();
        if !self.evaluated.insert((evaluation.step, suite.clone())) {
            return Ok(());
        }
        let means = [
            ("accuracy", counts.correct as f64, counts.n),
            ("think_rate", counts.think as f64, counts.n),
            ("consistency", counts.consistency_sum, counts.consistency_n),
            ("think_quality", counts.think_quality_sum, counts.think_quality_n),
            ("completion_tokens", counts.completion_tokens as f64, counts.n),
        ];
        let numbers: Vec<(String, f64)> = means
            .iter()
            .filter(|(_, _, n)| *n > 0)
            .map(|(name, sum, n)| (format!("eval/{suite}/{name}"), sum / *n as f64))
            .collect();
        self.sink.add(evaluation.step, time, &numbers)
    }
}

fn step_of(row: &Map<String, Value>) -> Option<u64> {
    row.get("step")?.as_u64()
}

fn step_seconds(row: &Map<String, Value>) -> f64 {
    row.get("step_seconds").and_then(Value::as_f64).unwrap_or(0.0)
}

/// When the later of the arm's two files was last written, in seconds since 1970; now if it has neither.
pub(crate) fn last_written(arm: &ArmDir) -> f64 {
    let modified = |path: PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    let last = modified(arm.metrics()).max(modified(arm.evaluations()));
    seconds_since_1970(last.unwrap_or_else(SystemTime::now))
}

fn seconds_since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
