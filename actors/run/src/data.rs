//! The rows of an arm: the training set and the suites, and the rows of both that cannot be used.
//!
//! - `DATA-4` a row that cannot be used costs that row only. It is left out, counted by cause, and listed once in
//!   `data-problems.jsonl` with its file and line; before the first step where that is possible, else when it is met.
//! - `DATA-5` if no row of a source can be used, or more of the training set cannot than `data.max_unusable_fraction`
//!   allows, the arm does not start.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use records::{DataProblem, FormatVersion, Phase};
use rewards::Question;
use scenarios::{ArmConfig, Dataset, Method, RowCause, RowProblem, Split, causes_in_words};
use workers::AudioSource;

use crate::error::InputError;
use crate::prompt::{Prompter, TextFits, Unusable};
use crate::sound::first_window;

/// Most clips that are decoded before the first step to learn whether their prompts fit into the model's context.
const CLIPS_TRIED: usize = 256;

/// A training set or a suite.
pub(crate) struct Source {
    /// The suite's name in tables, such as `builtin:soundscapes`; `None` for the training set.
    pub(crate) suite: Option<String>,
    pub(crate) rows: Dataset,
}

impl Source {
    fn phase(&self) -> Phase {
        if self.suite.is_some() { Phase::Eval } else { Phase::Train }
    }

    /// The record of a question that was found to be unusable after `step` steps.
    pub(crate) fn problem(&self, step: u64, question: &Question, unusable: &Unusable) -> DataProblem {
        let line = self.rows.line_of(question);
        let (file, line_in_file) = self.rows.place_of(question);
        self.record(
            step,
            &RowProblem {
                path: file.to_owned(),
                line,
                id: Some(question.id.clone()),
                cause: unusable.cause,
                message: format!("{}:{line_in_file}: {}", file.display(), unusable.message),
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

    /// What is known of its unusable rows before the first step.
    pub(crate) fn problems(&self) -> Vec<DataProblem> {
        self.rows.problems.iter().map(|problem| self.record(0, problem)).collect()
    }

    /// One line about its unusable rows; `None` if there are none.
    pub(crate) fn warning(&self) -> Option<String> {
        let first = self.rows.problems.first()?;
        Some(format!(
            "{}: {} of {} rows can't be used and are left out ({}); data-problems.jsonl lists them. The first: {}",
            self.rows.path.display(),
            self.rows.problems.len(),
            self.rows.rows(),
            causes_in_words(&self.rows.causes()),
            first.message
        ))
    }
}

/// The training set; without rows for an arm that is not trained.
///
/// Errors: the file can't be read.
pub(crate) fn open_training(config: &ArmConfig) -> Result<Source, InputError> {
    let data = &config.data;
    let rows = match config.method {
        Method::None => Dataset::default(),
        Method::Grpo | Method::Sft => scenarios::open_dataset_filtered(
            &data.train,
            &data.soundscapes,
            Split::Train,
            &data.row_filter(),
        )?,
    };
    Ok(Source { suite: None, rows })
}

/// The suites of `[eval]`.
///
/// Errors: a file can't be read.
pub(crate) fn open_suites(config: &ArmConfig) -> Result<Vec<Source>, InputError> {
    let (filter, world) = (config.eval.row_filter(), &config.data.soundscapes);
    let open = |source: &scenarios::DataSource| {
        let rows = scenarios::open_dataset_filtered(source, world, Split::Heldout, &filter)?;
        Ok(Source { suite: Some(source.name()), rows })
    };
    config.eval.suites.iter().map(open).collect()
}

/// Leaves out the rows whose prompts are longer than the model's context. `texts` returns the user turns in which a
/// question may be asked; `completion` is the number of tokens that a completion needs.
pub(crate) fn exclude_too_long(
    source: &mut Source,
    prompter: &Prompter,
    audio: &AudioSource,
    texts: impl Fn(&Question) -> Vec<String>,
    completion: usize,
) {
    let mut tried = 0;
    source.rows.exclude(|question| {
        let problem =
            texts(question).into_iter().find_map(|text| match prompter.check_text(&text, completion) {
                TextFits::Yes => None,
                TextFits::No(unusable) => Some(unusable),
                TextFits::DependsOnClip if tried < CLIPS_TRIED => {
                    tried += 1;
                    let clip = audio(&first_window(question));
                    prompter.prompt(question, &text, clip, completion).err()
                }
                TextFits::DependsOnClip => None,
            });
        problem.map(|unusable| (unusable.cause, unusable.message))
    });
}

/// Checks that a source has a row that can be used, by trying them in their order, and that not too many can't.
///
/// Errors: [`InputError::NoUsableRow`], [`InputError::TooManyUnusableRows`] (DATA-5).
pub(crate) fn check_source(
    source: &Source,
    config: &ArmConfig,
    ask: impl Fn(&Question) -> Result<(), Unusable>,
) -> Result<(), InputError> {
    let rows = &source.rows;
    if rows.rows() == 0 {
        return Ok(());
    }
    let unusable = rows.problems.len();
    let most = config.data.max_unusable_fraction;
    let first = rows.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
    if source.suite.is_none() && !rows.questions.is_empty() && unusable as f64 > most * rows.rows() as f64 {
        return Err(InputError::TooManyUnusableRows {
            path: rows.path.clone(),
            unusable,
            rows: rows.rows(),
            causes: causes_in_words(&rows.causes()),
            most,
            first,
        });
    }
    let mut first = Some(first).filter(|first| !first.is_empty());
    for question in &rows.questions {
        match ask(&question) {
            Ok(()) => return Ok(()),
            Err(unusable) => {
                first.get_or_insert_with(|| source.problem(0, &question, &unusable).message);
            }
        }
    }
    let first = first.unwrap_or_default();
    Err(InputError::NoUsableRow { path: rows.path.clone(), rows: rows.rows(), first })
}

/// The rows that `data-problems.jsonl` lists already.
pub(crate) struct DataProblems(Mutex<Listed>);

#[derive(Default)]
struct Listed {
    /// By suite, and by the line within the file.
    rows: HashSet<(Option<String>, u64)>,
    causes: BTreeMap<RowCause, u64>,
    /// Those of the training set.
    training: u64,
}

impl DataProblems {
    /// Those that the arm listed before it was resumed.
    pub(crate) fn resumed(listed: Vec<DataProblem>) -> Self {
        let problems = DataProblems(Mutex::default());
        problems.add(listed);
        problems
    }

    /// Takes note of problems, and returns those that are new, each with the number of its cause so far.
    pub(crate) fn add(&self, found: Vec<DataProblem>) -> Vec<(DataProblem, u64)> {
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for problem in found {
            if !listed.rows.insert((problem.suite.clone(), problem.row)) {
                continue;
            }
            listed.training += u64::from(problem.suite.is_none());
            let count = listed.causes.entry(problem.cause).or_default();
            *count += 1;
            new.push((problem, *count));
        }
        new
    }

    /// Number of rows of the training set that can't be used, as far as is known.
    pub(crate) fn of_training(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).training
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(suite: Option<&str>, row: u64) -> DataProblem {
        let mut rows = Dataset::default();
        rows.path = "rows.jsonl".into();
        let source = Source { suite: suite.map(str::to_owned), rows };
        let unusable = Unusable { cause: RowCause::AudioSilent, message: "silent".into() };
        DataProblem { row, ..source.problem(1, &Question::default(), &unusable) }
    }

    // DATA-4
    #[test]
    fn a_row_is_listed_once_also_after_the_arm_was_resumed() {
        let problems = DataProblems::resumed(vec![problem(None, 3)]);
        let new =
            problems.add(vec![problem(None, 3), problem(None, 4), problem(Some("s"), 3), problem(None, 4)]);
        let new: Vec<_> = new.into_iter().map(|(found, count)| (found.suite, found.row, count)).collect();
        assert_eq!(new, [(None, 4, 2), (Some("s".into()), 3, 3)]);
        assert_eq!(problems.of_training(), 2);
    }
}
