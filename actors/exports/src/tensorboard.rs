//! Event files, which TensorBoard reads: the steps and evaluations of one arm under one seed as scalars.
//!
//! TensorBoard shows all event files of a folder as one run, so a folder should be the arm's alone. A resumed arm repeats the
//! steps after its checkpoint; [`EventFile::rewrite`] therefore writes the file anew from the records, which end at the
//! checkpoint by then (EXPORT-1).

mod event;
mod record;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use records::{ArmDir, Evaluation, RecordsError};
use serde_json::{Map, Value};

use crate::error::ExportError;
use crate::leaves::each_leaf;
use event::Content;

/// How the name of an event file begins; TensorBoard looks for `tfevents` in names, and reads them in their order.
const PREFIX: &str = "events.out.tfevents.";

/// Fields of a metrics row that are not plotted over the steps.
const NOT_PLOTTED: [&str; 2] = ["step", "format_version"];

/// An event file that rows are appended to.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
    /// Length in bytes up to the last whole event.
    length: u64,
    /// The last step, and the evaluations by step and suite, so that a row that was recorded before the file was rewritten
    /// and is appended after it appears once.
    last_step: u64,
    evaluated: HashSet<(u64, String)>,
}

impl EventFile {
    /// Removes the event files of the folder, which is made if it is missing, and writes a new one with all steps and
    /// evaluations that the arm has recorded. The records have no times: the last row gets the time at which its file
    /// was last written, and each row before it an earlier one by the durations recorded since.
    ///
    /// Errors: [`ExportError::Records`].
    pub fn rewrite(folder: &Path, arm: &ArmDir) -> Result<EventFile, ExportError> {
        let steps = arm.read_metrics_as_json()?;
        let evaluations = arm.read_evaluations()?;
        let recorded: f64 = steps.iter().map(step_seconds).sum::<f64>()
            + evaluations.iter().map(|evaluation| evaluation.eval_seconds).sum::<f64>();
        let mut time = last_written(arm) - recorded;

        let mut events = EventFile::create(folder, time).map_err(RecordsError::writing(folder))?;
        let mut evaluations = evaluations.iter().peekable();
        for row in &steps {
            // An evaluation at step n comes after n steps.
            while let Some(evaluation) = evaluations.next_if(|next| Some(next.step) < step_of(row)) {
                time += evaluation.eval_seconds;
                events.write_evaluation(evaluation, time)?;
            }
            time += step_seconds(row);
            events.write_step(row, time)?;
        }
        for evaluation in evaluations {
            time += evaluation.eval_seconds;
            events.write_evaluation(evaluation, time)?;
        }
        Ok(events)
    }

    /// Appends every number of a row of `metrics.jsonl`, under `train/`, with the present time. A step that the file has
    /// already is passed over.
    ///
    /// Errors: [`ExportError::NoStep`], [`ExportError::Records`].
    pub fn append_step(&mut self, row: &Value) -> Result<(), ExportError> {
        self.write_step(row.as_object().ok_or(ExportError::NoStep)?, seconds_since_1970(SystemTime::now()))
    }

    /// Appends the means of a row of `eval.jsonl`, under `eval/SUITE/`, with the present time.
    ///
    /// Errors: [`ExportError::Evaluation`], [`ExportError::Records`].
    pub fn append_evaluation(&mut self, row: &Value) -> Result<(), ExportError> {
        let evaluation = serde_json::from_value(row.clone()).map_err(ExportError::Evaluation)?;
        self.write_evaluation(&evaluation, seconds_since_1970(SystemTime::now()))
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn create(folder: &Path, time: f64) -> io::Result<EventFile> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(PREFIX) {
                fs::remove_file(entry.path())?;
            }
        }
        // A name of its own for each rewrite: under the same name, an open TensorBoard would read on from where it was.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(format!("{PREFIX}{:010}.{:09}", now.as_secs(), now.subsec_nanos()));
        let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let mut events = EventFile { path, file, length: 0, last_step: 0, evaluated: HashSet::new() };
        events.write(&event::encoded(time, 0, Content::FileVersion))?;
        events.write(&event::encoded(time, 0, Content::SessionStart))?;
        Ok(events)
    }

    fn write_step(&mut self, row: &Map<String, Value>, time: f64) -> Result<(), ExportError> {
        let step = step_of(row).ok_or(ExportError::NoStep)?;
        if step <= self.last_step {
            return Ok(());
        }
        self.last_step = step;
        let mut scalars = Vec::new();
        each_leaf(row, '/', &mut |path, value| {
            if let Some(number) = value.as_f64().filter(|_| !NOT_PLOTTED.contains(&path.as_str())) {
                scalars.push((format!("train/{path}"), number));
            }
        });
        self.write_scalars(step, &scalars, time)
    }

    fn write_evaluation(&mut self, evaluation: &Evaluation, time: f64) -> Result<(), ExportError> {
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
        let scalars: Vec<(String, f64)> = means
            .iter()
            .filter(|(_, _, n)| *n > 0)
            .map(|(name, sum, n)| (format!("eval/{suite}/{name}"), sum / *n as f64))
            .collect();
        self.write_scalars(evaluation.step, &scalars, time)
    }

    fn write_scalars(&mut self, step: u64, scalars: &[(String, f64)], time: f64) -> Result<(), ExportError> {
        let event = event::encoded(time, step, Content::Scalars(scalars));
        Ok(self.write(&event).map_err(RecordsError::writing(&self.path))?)
    }

    /// Writes an event with one call to the operating system, so that TensorBoard sees it at once and a kill can tear the last
    /// event only. What a full disk leaves of an event is cut off again: TensorBoard would not read beyond it.
    fn write(&mut self, event: &[u8]) -> io::Result<()> {
        let record = record::framed(event);
        if let Err(error) = self.file.write_all(&record) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += record.len() as u64;
        Ok(())
    }
}

fn step_of(row: &Map<String, Value>) -> Option<u64> {
    row.get("step")?.as_u64()
}

fn step_seconds(row: &Map<String, Value>) -> f64 {
    row.get("step_seconds").and_then(Value::as_f64).unwrap_or(0.0)
}

/// When the later of the arm's two files was last written, in seconds since 1970; now if it has neither.
fn last_written(arm: &ArmDir) -> f64 {
    let modified = |path: PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    let last = modified(arm.metrics()).max(modified(arm.evaluations()));
    seconds_since_1970(last.unwrap_or_else(SystemTime::now))
}

fn seconds_since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests;
