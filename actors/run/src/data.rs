//! The rows of an arm: the training set and the suites, and the rows of both that cannot be used.
//!
//! - `DATA-4` a row that cannot be used costs that row only. It is left out, counted by cause, and listed once in
//!   `data-problems.jsonl` with its file and line; before the first step where that is possible, else when it is met.
//! - `DATA-5` if no row of a source can be used, or more of the training set cannot than `data.max_unusable_fraction`
//!   allows, the arm does not start.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use evaluation::Source;
use records::DataProblem;
use rewards::Question;
use scenarios::{ArmConfig, Dataset, Method, RowCause, Split, causes_in_words};
use workers::AudioSource;

use crate::error::InputError;
use crate::prompt::{Prompter, TextFits, Unusable};
use crate::sound::first_window;

/// Most clips that are decoded before the first step to learn whether their prompts fit into the model's context.
const CLIPS_TRIED: usize = 256;

/// The training set; without rows for an arm that is not trained.
///
/// Errors: the file can't be read.
pub(crate) fn open_training(config: &ArmConfig) -> Result<Source, InputError> {
    let data = &config.data;
    let rows = match config.method {
        Method::None => Dataset::default(),
        Method::Grpo | Method::Sft => {
            scenarios::open_dataset_filtered(&data.train, &data.worlds(), Split::Train, &data.row_filter())?
        }
    };
    Ok(Source { suite: None, rows })
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
    let unusable = rows.faults().count();
    let most = config.data.max_unusable_fraction;
    let first = rows.faults().next().or(rows.problems.first());
    let first = first.map(|problem| problem.message.clone()).unwrap_or_default();
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
                first.get_or_insert_with(|| {
                    source.problem(0, &question, unusable.cause, &unusable.message).message
                });
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
    /// By suite, by the line within the file, and by id, since a JSON array may have all its rows on one line.
    rows: HashSet<(Option<String>, u64, Option<String>)>,
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
            if !listed.rows.insert((problem.suite.clone(), problem.row, problem.id.clone())) {
                continue;
            }
            listed.training += u64::from(problem.suite.is_none() && problem.cause.is_fault());
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
        DataProblem { row, ..source.problem(1, &Question::default(), RowCause::AudioSilent, "silent") }
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
        let beside = |id: &str| DataProblem { id: Some(id.into()), ..problem(None, 1) };
        assert_eq!(problems.add(vec![beside("a"), beside("b")]).len(), 2, "two rows of a line");
    }
}
