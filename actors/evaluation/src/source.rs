//! The rows of an arm's data: the suites that it is asked, and which of their rows cannot be used.

use std::collections::BTreeMap;

use records::{DataProblem, FormatVersion, Phase};
use rewards::Question;
use scenarios::{ArmConfig, Dataset, RowCause, RowProblem, ScenarioError, Split, causes_in_words};

/// A training set or a suite.
#[derive(Clone, Debug)]
pub struct Source {
    /// The suite's name in tables, such as `builtin:soundscapes`; `None` for the training set.
    pub suite: Option<String>,
    /// Its questions, and the rows that can't be used.
    pub rows: Dataset,
}

impl Source {
    /// Its name in tables; empty for the training set.
    pub fn name(&self) -> &str {
        self.suite.as_deref().unwrap_or_default()
    }

    fn phase(&self) -> Phase {
        if self.suite.is_some() { Phase::Eval } else { Phase::Train }
    }

    /// The record of a question that was found to be unusable after `step` steps.
    pub fn problem(&self, step: u64, question: &Question, cause: RowCause, message: &str) -> DataProblem {
        let line = self.rows.line_of(question);
        let (file, line_in_file) = self.rows.place_of(question);
        self.record(
            step,
            &RowProblem {
                path: file.to_owned(),
                line,
                id: Some(question.id.clone()),
                cause,
                message: format!("{}:{line_in_file}: {message}", file.display()),
            },
        )
    }

    fn record(&self, step: u64, problem: &RowProblem) -> DataProblem {
        DataProblem {
            format_version: FormatVersion::CURRENT,
            phase: self.phase(),
            step,
            suite: self.suite.clone(),
            file: problem.path.clone(),
            row: problem.line as u64,
            id: problem.id.clone(),
            cause: problem.cause,
            message: problem.message.clone(),
        }
    }

    /// Number of rows in its file, those included that are not read because of `eval.limit`.
    pub fn rows_in_file(&self) -> u64 {
        (self.rows.rows() + self.rows.beyond_limit) as u64
    }

    /// The rows that are not asked, as far as it is known before the first is asked, by cause.
    pub fn causes(&self) -> BTreeMap<RowCause, u64> {
        let mut causes = self.rows.causes();
        if self.rows.beyond_limit > 0 {
            causes.insert(RowCause::BeyondLimit, self.rows.beyond_limit as u64);
        }
        causes
    }

    /// What is known of its unusable rows before the first step.
    pub fn problems(&self) -> Vec<DataProblem> {
        self.rows.problems.iter().map(|problem| self.record(0, problem)).collect()
    }

    /// One line about its unusable rows; `None` if there are none.
    pub fn warning(&self) -> Option<String> {
        let first = self.rows.faults().next()?;
        let mut causes = self.rows.causes();
        causes.retain(|cause, _| cause.is_fault());
        Some(format!(
            "{}: {} of {} rows can't be used and are left out ({}); data-problems.jsonl lists them. The first: {}",
            self.rows.path.display(),
            causes.values().sum::<u64>(),
            self.rows.rows(),
            causes_in_words(&causes),
            first.message
        ))
    }
}

/// The suites of `[eval]`.
///
/// Errors: a file can't be read.
pub fn open_suites(config: &ArmConfig) -> Result<Vec<Source>, ScenarioError> {
    let (filter, worlds) = (config.suite_filter(), config.data.worlds());
    let open = |source: &scenarios::DataSource| {
        let rows = scenarios::open_dataset_filtered(source, &worlds, Split::Heldout, &filter)?;
        Ok(Source { suite: Some(source.name()), rows })
    };
    config.eval.suites.iter().map(open).collect()
}
