//! What the rows of a data file become: questions, or problems that say why a row cannot be used.
//!
//! One bad row must not cost a run: it is left out, and named. The run counts such rows, writes them to
//! `data-problems.jsonl`, and limits their share (`data.max_unusable_fraction`).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rewards::Question;
use serde::{Deserialize, Serialize};

/// Why a row cannot be used: `cause` in `data-problems.jsonl`, and the reason under which its group is excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowCause {
    /// The row is not a JSON object.
    NotJson,
    /// The row has bytes that are not UTF-8.
    NotUtf8,
    /// A column is missing or has a value that does not fit the format.
    BadColumn,
    /// The question has no words.
    EmptyQuestion,
    /// There are fewer than two choices.
    TooFewChoices,
    /// Two choices have the same text.
    RepeatedChoices,
    /// The right answer is not one of the choices.
    AnswerNotAChoice,
    /// An earlier row has the same id.
    DuplicateId,
    /// The clip cannot be decoded.
    AudioUnreadable,
    /// Every sample of the clip is 0.
    AudioSilent,
    /// The prompt and its completion are longer than the model's context.
    PromptTooLong,
    /// No prompt can be made of the row for another reason.
    PromptUnusable,
    /// The server that is evaluated gave no answer.
    ServerFailed,
}

impl RowCause {
    /// The cause as it is written in records.
    pub fn name(self) -> &'static str {
        match self {
            RowCause::NotJson => "not_json",
            RowCause::NotUtf8 => "not_utf8",
            RowCause::BadColumn => "bad_column",
            RowCause::EmptyQuestion => "empty_question",
            RowCause::TooFewChoices => "too_few_choices",
            RowCause::RepeatedChoices => "repeated_choices",
            RowCause::AnswerNotAChoice => "answer_not_a_choice",
            RowCause::DuplicateId => "duplicate_id",
            RowCause::AudioUnreadable => "audio_unreadable",
            RowCause::AudioSilent => "audio_silent",
            RowCause::PromptTooLong => "prompt_too_long",
            RowCause::PromptUnusable => "prompt_unusable",
            RowCause::ServerFailed => "server_failed",
        }
    }
}

impl fmt::Display for RowCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a row; the reader of the file adds where the row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowError {
    pub(crate) cause: RowCause,
    pub(crate) problem: String,
    /// What to write instead.
    pub(crate) instead: String,
}

impl RowError {
    pub(crate) fn new(cause: RowCause, problem: impl Into<String>, instead: impl Into<String>) -> Self {
        RowError { cause, problem: problem.into(), instead: instead.into() }
    }

    pub(crate) fn in_row(self, path: &Path, line: usize, id: Option<String>) -> RowProblem {
        let RowError { cause, problem, instead } = self;
        let message = format!("{}:{line}: {problem}; {instead}", path.display());
        RowProblem { path: path.to_owned(), line, id, cause, message }
    }
}

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProblem {
    /// The data file.
    pub path: PathBuf,
    /// First line of the row, from 1.
    pub line: usize,
    /// The row's id, if it has one.
    pub id: Option<String>,
    /// Why it cannot be used.
    pub cause: RowCause,
    /// One line: the file and the line, what is wrong, and what to write instead.
    pub message: String,
}

/// The rows of a data file that were read.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// The data file.
    pub path: PathBuf,
    /// The questions that can be asked, in the order of the rows.
    pub questions: Vec<Arc<Question>>,
    /// The rows that cannot be used, in the order of the file (DATA-3).
    pub problems: Vec<RowProblem>,
    /// First line of the row of each question, by the question's id.
    lines: HashMap<String, usize>,
}

impl Dataset {
    pub(crate) fn new(path: &Path) -> Self {
        Dataset { path: path.to_owned(), ..Dataset::default() }
    }

    /// Adds a question.
    ///
    /// Errors: an earlier question has its id (DATA-2).
    pub(crate) fn add(&mut self, question: Question, line: usize) -> Result<(), RowError> {
        if let Some(earlier) = self.lines.get(&question.id) {
            let problem = format!("id `{}` is also that of line {earlier}", question.id);
            return Err(RowError::new(RowCause::DuplicateId, problem, "give each row an id of its own"));
        }
        self.lines.insert(question.id.clone(), line);
        self.questions.push(Arc::new(question));
        Ok(())
    }

    /// Number of rows, those that cannot be used included.
    pub fn rows(&self) -> usize {
        self.questions.len() + self.problems.len()
    }

    /// The first line of a question's row; 0 for a question of another dataset.
    pub fn line_of(&self, question: &Question) -> usize {
        self.lines.get(&question.id).copied().unwrap_or_default()
    }

    /// Moves the questions for which `problem` returns a cause and a message to the problems. The message begins with
    /// what is wrong; the place is added.
    pub fn exclude(&mut self, mut problem: impl FnMut(&Question) -> Option<(RowCause, String)>) {
        let questions = std::mem::take(&mut self.questions);
        for question in questions {
            let Some((cause, wrong)) = problem(&question) else {
                self.questions.push(question);
                continue;
            };
            let (line, id) = (self.line_of(&question), Some(question.id.clone()));
            let message = format!("{}:{line}: {wrong}", self.path.display());
            self.problems.push(RowProblem { path: self.path.clone(), line, id, cause, message });
        }
        self.problems.sort_by_key(|problem| problem.line);
    }

    /// Number of rows that cannot be used, by cause.
    pub fn causes(&self) -> BTreeMap<RowCause, u64> {
        let mut causes = BTreeMap::new();
        for problem in &self.problems {
            *causes.entry(problem.cause).or_default() += 1;
        }
        causes
    }
}

/// Counts by cause in words, such as `3 audio_unreadable, 1 not_json`.
pub fn causes_in_words(causes: &BTreeMap<RowCause, u64>) -> String {
    causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_cause_is_how_it_is_serialized() {
        for cause in
            [RowCause::NotJson, RowCause::AnswerNotAChoice, RowCause::AudioSilent, RowCause::PromptTooLong]
        {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
    }

    #[test]
    fn an_excluded_question_is_named_with_its_line_and_counted() {
        let mut dataset = Dataset::new(Path::new("train.jsonl"));
        for (line, id) in [(1, "a"), (2, "b"), (5, "c")] {
            dataset.add(Question { id: id.into(), ..Question::default() }, line).unwrap();
        }
        dataset
            .exclude(|question| (question.id == "c").then(|| (RowCause::PromptTooLong, "too long".into())));
        assert_eq!((dataset.questions.len(), dataset.rows()), (2, 3));
        assert_eq!(dataset.problems[0].message, "train.jsonl:5: too long");
        assert_eq!(causes_in_words(&dataset.causes()), "1 prompt_too_long");
    }
}
