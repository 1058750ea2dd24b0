//! What the rows of a data file become: questions, or problems that say why a row cannot be used.
//!
//! One bad row must not cost a run: it is left out, and named. The run counts such rows, writes them to
//! `data-problems.jsonl`, and limits their share (`data.max_unusable_fraction`).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use rewards::Question;
use serde::{Deserialize, Serialize};

use crate::questions::Questions;

/// Why a row cannot be used: `cause` in `data-problems.jsonl`, and the reason under which its group is excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowCause {
    /// The row comes after the first `eval.limit` ones.
    BeyondLimit,
    /// `data.filter` leaves the row out: the policy answers it without the clip.
    AnsweredWithoutAudio,
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
            RowCause::BeyondLimit => "beyond_limit",
            RowCause::AnsweredWithoutAudio => "answered_without_audio",
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

impl RowCause {
    /// Whether something is wrong with the row. The others are left out because the scenario says so.
    pub fn is_fault(self) -> bool {
        !matches!(self, RowCause::BeyondLimit | RowCause::AnsweredWithoutAudio)
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

/// The rows of a data file that were read, or of the files of a folder.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// The data file or the folder.
    pub path: PathBuf,
    /// The questions that can be asked, in the order of the rows.
    pub questions: Questions,
    /// Rows after the limit, which were not read. 0 also for the part of a file that `holdout` makes, whose rows would have
    /// to be read to be counted.
    pub beyond_limit: usize,
    /// The rows that cannot be used, in the order of the file (DATA-3).
    pub problems: Vec<RowProblem>,
    /// First line of the row of each question, and the place of each by its id.
    lines: Vec<u32>,
    places: Places,
    /// The files of a folder, and the number of lines before each; empty for a single file.
    files: Vec<(usize, PathBuf)>,
    /// The URLs of clips that are downloaded, by the files they are downloaded to.
    remote: BTreeMap<PathBuf, String>,
}

impl Dataset {
    pub(crate) fn new(path: &Path) -> Self {
        Dataset { path: path.to_owned(), ..Dataset::default() }
    }

    /// Begins the next file. Its lines are counted on from those of the file before, so that each row of a folder has a
    /// number of its own; messages have the line within the file.
    pub(crate) fn begin_file(&mut self, path: &Path) {
        if path != self.path {
            let last = self
                .lines
                .last()
                .map(|&line| line as usize)
                .max(self.problems.last().map(|problem| problem.line));
            self.files.push((last.unwrap_or(0), path.to_owned()));
        }
    }

    /// Number of lines before those of the file that is read.
    fn before(&self) -> usize {
        self.files.last().map_or(0, |(before, _)| *before)
    }

    /// Adds a question, whose row begins at this line of the file.
    ///
    /// Errors: an earlier question has its id (DATA-2).
    pub(crate) fn add(&mut self, question: Question, line: usize) -> Result<(), RowError> {
        if let Some(earlier) = self.places.of(&question.id, &self.questions) {
            let (file, line) = self.file_and_line(self.lines[earlier] as usize);
            let file = if self.files.is_empty() { String::new() } else { format!(" of {}", file.display()) };
            let problem = format!("id `{}` is also that of line {line}{file}", question.id);
            return Err(RowError::new(RowCause::DuplicateId, problem, "give each row an id of its own"));
        }
        self.places.insert(&question.id, self.questions.len());
        self.lines.push((self.before() + line) as u32);
        self.questions.push(question);
        Ok(())
    }

    /// Adds a question as [`add`](Self::add) does. `url` is that of its clip, if it is to be downloaded.
    pub(crate) fn add_at(
        &mut self,
        question: Question,
        line: usize,
        url: Option<String>,
    ) -> Result<(), RowError> {
        let path = url.is_some().then(|| question.audio_path.clone());
        self.add(question, line)?;
        self.remote.extend(path.zip(url));
        Ok(())
    }

    /// The clips that are downloaded: their files, which may not exist yet, and their URLs.
    pub fn remote(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.remote.iter().map(|(path, url)| (path.as_path(), url.as_str()))
    }

    /// The URL of the clip at `path`, if it is one that is downloaded.
    pub fn url_of(&self, path: &Path) -> Option<&str> {
        self.remote.get(path).map(String::as_str)
    }

    /// Adds a row of the file that cannot be used.
    pub(crate) fn add_problem(&mut self, problem: RowProblem) {
        let line = self.before() + problem.line;
        self.problems.push(RowProblem { line, ..problem });
    }

    /// Number of rows, those that cannot be used included.
    pub fn rows(&self) -> usize {
        self.questions.len() + self.problems.len()
    }

    /// The first line of a question's row; 0 for a question of another dataset. The lines of a folder's files are counted
    /// on from file to file.
    pub fn line_of(&self, question: &Question) -> usize {
        let place = self.places.of(&question.id, &self.questions);
        place.and_then(|place| self.lines.get(place)).map_or(0, |&line| line as usize)
    }

    /// The file of a question's row, and the line in it, for messages.
    pub fn place_of(&self, question: &Question) -> (&Path, usize) {
        self.file_and_line(self.line_of(question))
    }

    fn file_and_line(&self, line: usize) -> (&Path, usize) {
        let after = self.files.partition_point(|&(before, _)| before < line);
        match after.checked_sub(1).and_then(|place| self.files.get(place)) {
            Some((before, path)) => (path, line - before),
            None => (&self.path, line),
        }
    }

    /// Moves the questions for which `problem` returns a cause and a message to the problems. The message begins with
    /// what is wrong; the place is added.
    pub fn exclude(&mut self, mut problem: impl FnMut(&Question) -> Option<(RowCause, String)>) {
        let (mut places, mut excluded) = (Vec::new(), Vec::new());
        for (place, question) in self.questions.iter().enumerate() {
            let Some((cause, wrong)) = problem(&question) else { continue };
            let line = self.lines[place] as usize;
            let (path, line_in_file) = self.file_and_line(line);
            let message = format!("{}:{line_in_file}: {wrong}", path.display());
            let id = Some(question.id.clone());
            excluded.push(RowProblem { path: path.to_owned(), line, id, cause, message });
            places.push(place);
        }
        if places.is_empty() {
            return;
        }
        self.questions.remove(&places);
        let mut kept = (0..self.lines.len()).map(|place| places.binary_search(&place).is_err());
        self.lines.retain(|_| kept.next() == Some(true));
        self.places.remove(&places);
        self.problems.extend(excluded);
        self.problems.sort_by_key(|problem| problem.line);
    }

    /// The rows with which something is wrong.
    pub fn faults(&self) -> impl Iterator<Item = &RowProblem> {
        self.problems.iter().filter(|problem| problem.cause.is_fault())
    }

    /// Number of rows that are left out, by cause.
    pub fn causes(&self) -> BTreeMap<RowCause, u64> {
        let mut causes = BTreeMap::new();
        for problem in &self.problems {
            *causes.entry(problem.cause).or_default() += 1;
        }
        causes
    }
}

/// Where in a dataset the question with an id is. Ids are kept as hashes; a million of them would take much more memory.
#[derive(Clone, Debug, Default)]
struct Places {
    hasher: RandomState,
    by_hash: HashMap<u32, u32>,
    /// Ids whose hash is also that of another: a hundred of a million.
    others: HashMap<String, u32>,
}

impl Places {
    fn hash(&self, id: &str) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    fn of(&self, id: &str, questions: &Questions) -> Option<usize> {
        let is_it = |&&place: &&u32| questions.get(place as usize).is_some_and(|question| question.id == id);
        let place = self.by_hash.get(&self.hash(id)).filter(is_it);
        place.or_else(|| self.others.get(id)).map(|&place| place as usize)
    }

    /// Removes the questions at these places, which are in increasing order; those after them move up.
    fn remove(&mut self, removed: &[usize]) {
        let stays = |place: &mut u32| match removed.binary_search(&(*place as usize)) {
            Ok(_) => false,
            Err(before) => {
                *place -= before as u32;
                true
            }
        };
        self.by_hash.retain(|_, place| stays(place));
        self.others.retain(|_, place| stays(place));
    }

    /// Notes the place of an id that has none yet.
    fn insert(&mut self, id: &str, place: usize) {
        let place = place as u32;
        if *self.by_hash.entry(self.hash(id)).or_insert(place) != place {
            self.others.insert(id.to_owned(), place);
        }
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
        dataset
            .exclude(|question| (question.id == "a").then(|| (RowCause::PromptTooLong, "too long".into())));
        assert_eq!(dataset.questions.first().map(|question| dataset.line_of(&question)), Some(2));
        assert_eq!(dataset.problems[1].message, "train.jsonl:5: too long");
        assert_eq!(causes_in_words(&dataset.causes()), "2 prompt_too_long");
        assert_eq!(dataset.line_of(&Question { id: "a".into(), ..Question::default() }), 0);
    }

    #[test]
    fn rows_of_a_folder_have_a_number_each_and_are_named_by_file_and_line() {
        let mut dataset = Dataset::new(Path::new("folder"));
        let question = |id: &str| Question { id: id.into(), ..Question::default() };
        dataset.begin_file(Path::new("folder/a.jsonl"));
        dataset.add(question("1"), 1).unwrap();
        dataset.add(question("2"), 4).unwrap();
        dataset.begin_file(Path::new("folder/b.jsonl"));
        dataset.add(question("3"), 2).unwrap();
        assert_eq!(dataset.line_of(&question("3")), 6);
        assert_eq!(dataset.place_of(&question("3")), (Path::new("folder/b.jsonl"), 2));
        assert_eq!(dataset.place_of(&question("2")), (Path::new("folder/a.jsonl"), 4));
        let error = dataset.add(question("2"), 3).unwrap_err();
        assert_eq!(error.problem, "id `2` is also that of line 4 of folder/a.jsonl");
        dataset
            .exclude(|question| (question.id == "3").then(|| (RowCause::PromptTooLong, "too long".into())));
        assert_eq!(dataset.problems[0].message, "folder/b.jsonl:2: too long");
        assert_eq!(dataset.problems[0].line, 6);
    }

    #[test]
    fn ids_with_one_hash_are_told_apart() {
        let questions: Questions =
            ["a", "b"].map(|id| Question { id: id.into(), ..Question::default() }).into_iter().collect();
        let mut places = Places::default();
        places.insert("a", 0);
        // `b` as if it had the hash of `a`.
        let hash = places.hash("b");
        places.by_hash.insert(hash, 0);
        places.insert("b", 1);
        assert_eq!((places.of("a", &questions), places.of("b", &questions)), (Some(0), Some(1)));
        assert_eq!(places.of("c", &questions), None);
    }
}
