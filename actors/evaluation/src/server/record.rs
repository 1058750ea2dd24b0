//! The run directory of a server's evaluation: the same files as those of a run, written whole when their content is
//! known. A process that is killed while it writes them leaves the draft, from which the next one writes them again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use records::{
    ArmDir, ArmFile, ArmId, ArmState, DataProblem, Environment, FileSum, FormatVersion, GroupCounts, Health,
    RecordSums, RecordsError, RunDir, Status, json_lines, replace_file,
};
use scenarios::{Experiment, Method};

use crate::tallies::Tallies;

/// Writes the records of the only arm.
pub(super) struct Record {
    dir: ArmDir,
    id: ArmId,
    /// What was written, by file name.
    sums: BTreeMap<String, FileSum>,
    problems: Vec<DataProblem>,
    began: Instant,
    /// The state in which the directory was found.
    found: Option<ArmState>,
}

impl Record {
    /// Writes the scenario and the environment, and that the arm runs. A finished evaluation stays as it is.
    pub(super) fn begin(experiment: &Experiment, run_dir: &RunDir, id: ArmId) -> Result<Self, RecordsError> {
        let dir = run_dir.arm(&id);
        let found = dir.read_status()?.map(|status| status.state);
        let record =
            Record { dir, id, sums: BTreeMap::new(), problems: Vec::new(), began: Instant::now(), found };
        if record.is_done() {
            return Ok(record);
        }
        std::fs::create_dir_all(record.dir.path())
            .map_err(|source| RecordsError::Write { path: record.dir.path().to_owned(), source })?;
        replace_file(&run_dir.scenario(), experiment.to_toml().as_bytes())?;
        Environment::of(experiment, "server").write(run_dir)?;
        record.status(ArmState::Running, 0.0)?;
        Ok(record)
    }

    /// Whether the directory has a finished evaluation.
    pub(super) fn is_done(&self) -> bool {
        self.found == Some(ArmState::Done)
    }

    /// Where answered questions are kept until all are.
    pub(super) fn draft(&self) -> PathBuf {
        self.dir.evaluation_draft()
    }

    /// Writes the rows that can't be used, as far as they are known before the first question.
    pub(super) fn problems(&mut self, known: Vec<DataProblem>) -> Result<(), RecordsError> {
        self.problems = known;
        if self.problems.is_empty() { Ok(()) } else { self.write_problems() }
    }

    /// Records the results of all passes, and that the arm is done.
    pub(super) fn finish(&mut self, passes: Vec<Tallies>) -> Result<(), RecordsError> {
        let (mut evaluations, mut rollouts, mut seconds) = (Vec::new(), Vec::new(), 0.0);
        for tallies in passes {
            seconds += tallies.evaluation.eval_seconds;
            evaluations.push(tallies.evaluation);
            rollouts.extend(tallies.rollouts);
            // A row is listed once, also if several passes could not ask it.
            for problem in tallies.problems {
                // A JSON array may have all its rows on one line.
                let place = |problem: &DataProblem| (problem.suite.clone(), problem.row, problem.id.clone());
                let same = |other: &DataProblem| place(other) == place(&problem);
                if !self.problems.iter().any(same) {
                    self.problems.push(problem);
                }
            }
        }
        self.write(ArmFile::Evaluations, json_lines(evaluations))?;
        self.write(ArmFile::Rollouts, json_lines(rollouts))?;
        if !self.problems.is_empty() {
            self.write_problems()?;
        }
        self.status(ArmState::Done, seconds)
    }

    /// Records that the evaluation was interrupted.
    pub(super) fn stopped(&self) -> Result<(), RecordsError> {
        self.status(ArmState::Stopped, self.began.elapsed().as_secs_f64())
    }

    /// Records that the evaluation could not go on.
    pub(super) fn failed(&self, reason: &str) -> Result<(), RecordsError> {
        self.status(ArmState::Failed { reason: reason.to_owned() }, self.began.elapsed().as_secs_f64())
    }

    fn write_problems(&mut self) -> Result<(), RecordsError> {
        self.write(ArmFile::DataProblems, json_lines(&self.problems))
    }

    fn write(&mut self, file: ArmFile, lines: Vec<String>) -> Result<(), RecordsError> {
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        replace_file(&self.dir.file(file), text.as_bytes())?;
        self.sums.insert(file.name().to_owned(), FileSum::of(text.as_bytes()));
        Ok(())
    }

    fn status(&self, state: ArmState, wall_seconds: f64) -> Result<(), RecordsError> {
        let status = Status {
            format_version: FormatVersion::CURRENT,
            id: self.id.clone(),
            method: Method::None,
            state,
            step: 0,
            total_steps: 0,
            checkpoint: None,
            groups: GroupCounts::default(),
            health: Health::default(),
            wall_seconds,
            records: Some(RecordSums(self.sums.clone())),
        };
        replace_file(&self.dir.status(), status.to_text().as_bytes())
    }
}
