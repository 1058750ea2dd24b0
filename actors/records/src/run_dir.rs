//! Where everything is in a run directory. Only this file and `arm_file.rs` spell these names.
//!
//! ```text
//! scenario.toml  environment.json  run.log  control.jsonl  control.sum.json  control.json  lock  judge-spent.jsonl
//! storage.json  bookmarks.jsonl  summary.json  summary.md  report.html
//! ARM/seed-N/    status.json  metrics.jsonl  rollouts.jsonl  eval.jsonl  data-problems.jsonl  checkpoints/step-000300/
//! ```

use std::path::{Path, PathBuf};

use crate::arm_file::ArmFile;
use crate::arm_id::ArmId;
use crate::bookmark::{Bookmark, bookmarks_in_force};
use crate::checksum::FileSum;
use crate::data_problem::DataProblem;
use crate::error::RecordsError;
use crate::evaluation::Evaluation;
use crate::files::replace_file;
use crate::journal::JournalEntry;
use crate::jsonl::{check_format, for_each_line, read_rows, refuse_newer};
use crate::metrics::StepMetrics;
use crate::sealed::seal;
use crate::status::Status;

/// A run directory. Nothing is read or created until a method says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir(PathBuf);

/// The folder of an arm under one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmDir(PathBuf);

/// The folders of an arm by their seeds, in rising order.
pub type SeedDirs = Vec<(u64, ArmDir)>;

impl RunDir {
    /// The file names below are relative to this one.
    pub const JOURNAL: &str = "control.jsonl";
    /// The name of [`RunDir::bookmarks`].
    pub const BOOKMARKS: &str = "bookmarks.jsonl";

    /// The run directory at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        RunDir(path.into())
    }

    /// The path of the run directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The resolved scenario; its presence makes a directory a run directory.
    pub fn scenario(&self) -> PathBuf {
        self.0.join("scenario.toml")
    }

    /// The machine and the arguments of the run, see [`Environment`](crate::Environment).
    pub fn environment(&self) -> PathBuf {
        self.0.join("environment.json")
    }

    /// The log of the process.
    pub fn log(&self) -> PathBuf {
        self.0.join("run.log")
    }

    /// Every change and command of the run, see [`JournalEntry`].
    pub fn journal(&self) -> PathBuf {
        self.0.join(Self::JOURNAL)
    }

    /// Places of the run that somebody marked, see [`Bookmark`].
    pub fn bookmarks(&self) -> PathBuf {
        self.0.join(Self::BOOKMARKS)
    }

    /// Length and SHA-256 of the journal after its last entry.
    pub fn journal_sum(&self) -> PathBuf {
        self.0.join("control.sum.json")
    }

    /// Writes [`RunDir::journal_sum`].
    ///
    /// Errors: [`RecordsError::Write`].
    pub fn seal_journal(&self, sum: &FileSum) -> Result<(), RecordsError> {
        replace_file(&self.journal_sum(), seal(sum).as_bytes())
    }

    /// What was spent on judges' servers: one line per request and per reply.
    pub fn judge_spent(&self) -> PathBuf {
        self.0.join("judge-spent.jsonl")
    }

    /// Names the process that writes to the directory, see [`OwnedRunDir`](crate::OwnedRunDir).
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// The address and the token of the control channel, while the run lives.
    pub fn control(&self) -> PathBuf {
        self.0.join("control.json")
    }

    /// Where the run is uploaded to, see [`StorageRecord`](crate::StorageRecord).
    pub fn storage(&self) -> PathBuf {
        self.0.join("storage.json")
    }

    /// `summary.json`: the figures of the report, for programs.
    pub fn summary_json(&self) -> PathBuf {
        self.0.join("summary.json")
    }

    /// The report as Markdown.
    pub fn summary_markdown(&self) -> PathBuf {
        self.0.join("summary.md")
    }

    /// The report as a page.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }

    /// The folder of an arm under one seed.
    pub fn arm(&self, id: &ArmId) -> ArmDir {
        ArmDir(self.0.join(id.folder()))
    }

    /// The arms that have a folder, sorted by name, each with its seeds in rising order.
    ///
    /// Errors: [`RecordsError::Read`].
    pub fn arms(&self) -> Result<Vec<(String, SeedDirs)>, RecordsError> {
        let mut arms = Vec::new();
        for folder in subfolders(&self.0)? {
            let mut seeds = Vec::new();
            for seed_folder in subfolders(&folder)? {
                if let Some(seed) = ArmId::seed_of_folder(&file_name(&seed_folder)) {
                    seeds.push((seed, ArmDir(seed_folder)));
                }
            }
            seeds.sort_by_key(|(seed, _)| *seed);
            if !seeds.is_empty() {
                arms.push((file_name(&folder), seeds));
            }
        }
        Ok(arms)
    }

    /// The folders of all arms.
    ///
    /// Errors: [`RecordsError::Read`].
    pub(crate) fn arm_dirs(&self) -> Result<Vec<ArmDir>, RecordsError> {
        Ok(self.arms()?.into_iter().flat_map(|(_, seeds)| seeds).map(|(_, dir)| dir).collect())
    }

    /// All complete lines of the journal, oldest first; none if nothing was ever changed.
    ///
    /// Errors: [`RecordsError`]: the file can't be read, or a line of it is no entry.
    pub fn read_journal(&self) -> Result<Vec<JournalEntry>, RecordsError> {
        read_rows(&self.journal(), "an entry of a journal")
    }

    /// The bookmarks that there are, by their numbers, and the number of lines that can't be read. Nothing is computed from
    /// bookmarks, so a damaged line stops nobody; [`verify()`](crate::verify()) finds it.
    ///
    /// Errors: [`RecordsError`]: the file can't be read, or is of a newer format.
    pub fn read_bookmarks(&self) -> Result<(Vec<Bookmark>, u64), RecordsError> {
        let mut rows = Vec::new();
        let unreadable = for_each_line(&self.bookmarks(), |line| {
            rows.push(serde_json::from_slice(line)?);
            Ok(())
        })?;
        Ok((bookmarks_in_force(rows), unreadable))
    }
}

impl ArmDir {
    /// The folder of an arm at `path`.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        ArmDir(path.into())
    }

    /// The path of the arm's folder, `ARM/seed-SEED`.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A JSON-lines file of the arm.
    pub fn file(&self, file: ArmFile) -> PathBuf {
        self.0.join(file.name())
    }

    /// One line per training step, see [`StepMetrics`].
    pub fn metrics(&self) -> PathBuf {
        self.file(ArmFile::Metrics)
    }

    /// One line per completion, see [`Rollout`](crate::Rollout).
    pub fn rollouts(&self) -> PathBuf {
        self.file(ArmFile::Rollouts)
    }

    /// One line per evaluation of a suite, see [`Evaluation`].
    pub fn evaluations(&self) -> PathBuf {
        self.file(ArmFile::Evaluations)
    }

    /// One line per row of the data that could not be used, see [`DataProblem`].
    pub fn data_problems(&self) -> PathBuf {
        self.file(ArmFile::DataProblems)
    }

    /// The answers to a suite in the benchmark's own format, written by `sandbox eval`.
    pub fn predictions(&self, suite: &str) -> PathBuf {
        let name: String =
            suite.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        self.0.join(Self::PREDICTIONS).join(name).with_added_extension("json")
    }

    /// The files of all [`ArmDir::predictions`].
    ///
    /// Errors: [`RecordsError::Read`].
    pub(crate) fn all_predictions(&self) -> Result<Vec<PathBuf>, RecordsError> {
        let folder = self.0.join(Self::PREDICTIONS);
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(RecordsError::reading(&folder))?,
        };
        let mut files: Vec<PathBuf> =
            entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        files.retain(|path| path.is_file());
        files.sort();
        Ok(files)
    }

    const PREDICTIONS: &str = "predictions";

    /// The answers that the policy gave before it was trained, and is taught again (`[sft.replay]`): one line each.
    pub fn replay(&self) -> PathBuf {
        self.0.join("replay.jsonl")
    }

    /// What an unfinished evaluation has counted; removed once it is recorded.
    pub fn evaluation_draft(&self) -> PathBuf {
        self.0.join("eval-draft.jsonl")
    }

    /// The arm's state, see [`Status`].
    pub fn status(&self) -> PathBuf {
        self.0.join(Self::STATUS)
    }

    /// The name of [`ArmDir::status`] within the folder.
    pub const STATUS: &str = "status.json";

    /// The adapters that servers which sample have loaded; none after the arm has ended.
    pub fn adapters(&self) -> PathBuf {
        self.0.join("adapters")
    }

    /// The folder that holds the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// The checkpoint written after `step` steps.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(Self::checkpoint_name(step))
    }

    /// The name of the folder of the checkpoint after `step` steps.
    pub(crate) fn checkpoint_name(step: u64) -> String {
        format!("step-{step:06}")
    }

    /// The metrics of all steps, in order.
    ///
    /// Errors: [`RecordsError`]: the file can't be read, or a line of it is no metrics row.
    pub fn read_metrics(&self) -> Result<Vec<StepMetrics>, RecordsError> {
        read_rows(&self.metrics(), "a line of metrics")
    }

    /// The metrics of all steps as plain JSON objects, to compare every field of two runs.
    ///
    /// Errors: as for [`ArmDir::read_metrics`].
    pub fn read_metrics_as_json(
        &self,
    ) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, RecordsError> {
        check_format(&self.metrics())?;
        read_rows(&self.metrics(), "a line of metrics")
    }

    /// All evaluations, in order.
    ///
    /// Errors: [`RecordsError`]: the file can't be read, or a line of it is no evaluation.
    pub fn read_evaluations(&self) -> Result<Vec<Evaluation>, RecordsError> {
        read_rows(&self.evaluations(), "an evaluation")
    }

    /// All rows of the data that could not be used so far, in the order in which they were met.
    ///
    /// Errors: [`RecordsError`]: the file can't be read, or a line of it is no such row.
    pub fn read_data_problems(&self) -> Result<Vec<DataProblem>, RecordsError> {
        read_rows(&self.data_problems(), "a data problem")
    }

    /// The arm's last written status; `None` if it has none or it can't be understood, as when the run was killed
    /// before the arm began.
    ///
    /// Errors: [`RecordsError::NewerFormat`].
    pub fn read_status(&self) -> Result<Option<Status>, RecordsError> {
        let Ok(json) = std::fs::read(self.status()) else { return Ok(None) };
        refuse_newer(&self.status(), &json)?;
        Ok(serde_json::from_slice(&json).ok())
    }

    /// Refuses an arm whose files are of a newer format, before anything in them is changed.
    ///
    /// Errors: [`RecordsError::NewerFormat`].
    pub fn check_formats(&self) -> Result<(), RecordsError> {
        self.read_status()?;
        ArmFile::ALL.iter().try_for_each(|&file| check_format(&self.file(file)))
    }
}

/// The folders within one, sorted by name.
fn subfolders(path: &Path) -> Result<Vec<PathBuf>, RecordsError> {
    let list = || {
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        folders.sort();
        Ok(folders)
    };
    list().map_err(RecordsError::reading(path))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
