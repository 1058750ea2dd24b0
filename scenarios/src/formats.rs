//! Readers of the public data formats, one per file. Each turns a row into a [`Question`].
//!
//! The formats are those of MMAU (arXiv 2410.19168), MMAU-Pro (arXiv 2508.13992), MMAR (arXiv 2505.13032), MMSU (arXiv
//! 2506.04779), AIR-Bench (arXiv 2402.07729), and AVQA as R1-AQA (arXiv 2503.11197) publishes it. Columns that a reader does
//! not use become the question's metadata.
//!
//! To add a format, write its reader, then add it to [`DataFormat`]; the JSON Schema of scenarios is generated.

mod air_bench;
mod audio_mcq;
mod avqa;
mod bytes;
mod chat;
mod clip;
mod container;
mod delimited;
mod folder;
mod mmar;
mod mmau;
mod mmau_pro;
mod mmsu;
mod repair;
mod row;
mod table;

use std::path::{Path, PathBuf};

use rewards::{OfficialRule, Question};
use serde_json::{Map, Value};

use crate::cache::cache_dir;
use crate::error::ScenarioError;
use crate::file_keys::check_keys;
use crate::holdout::Holdout;
use crate::rows::{Dataset, RowError};
use crate::source::{DataFormat, FileSource};
use chat::Chat;
use container::Rows;
use row::{NoRow, Row};
use table::Table;

/// The column that says where a row's clip lies.
fn audio_column(format: DataFormat) -> &'static str {
    match format {
        DataFormat::Avqa
        | DataFormat::Mmar
        | DataFormat::Mmsu
        | DataFormat::MmauPro
        | DataFormat::AudioMcq => "audio_path",
        DataFormat::Mmau => "audio_id",
        DataFormat::AirBench => "path",
        DataFormat::Table | DataFormat::Chat => chat::AUDIO,
    }
}

/// Turns a row of a file in this format into a question.
fn published_question(format: DataFormat, row: Row) -> Result<Question, RowError> {
    match format {
        DataFormat::Avqa => avqa::question(row),
        DataFormat::Mmau => mmau::question(row),
        DataFormat::Mmar => mmar::question(row),
        DataFormat::AirBench => air_bench::question(row),
        DataFormat::Mmsu => mmsu::question(row),
        DataFormat::MmauPro => mmau_pro::question(row),
        DataFormat::AudioMcq => audio_mcq::question(row),
        // What these two need of the source is not known here.
        DataFormat::Table => Table::default().question(row),
        DataFormat::Chat => chat::question(Chat::default(), row),
    }
}

/// The rows of a file as they are, without those that are no objects.
///
/// Errors: the file cannot be read.
pub(crate) fn raw_rows(path: &Path) -> Result<Vec<Map<String, Value>>, ScenarioError> {
    let mut rows = Vec::new();
    for row in Rows::open(path)? {
        match row {
            Ok(row) => rows.push(row.rest()),
            Err(NoRow::Problem(_)) => {}
            Err(NoRow::File(error)) => return Err(error),
        }
    }
    Ok(rows)
}

/// The id of the question that a row of this format becomes; `None` if the row lacks it.
pub(crate) fn id(format: DataFormat, row: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| match row.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match format {
        DataFormat::AirBench => {
            Some(air_bench::id(&text("task_name")?, &text("dataset_name")?, &text("uniq_id")?))
        }
        DataFormat::Avqa
        | DataFormat::Mmau
        | DataFormat::Mmar
        | DataFormat::Mmsu
        | DataFormat::MmauPro
        | DataFormat::AudioMcq
        | DataFormat::Table
        | DataFormat::Chat => text("id"),
    }
}

/// Turns the rows of a source into questions.
enum Reader {
    Published(DataFormat),
    Table(Box<Table>),
    Chat(Chat),
}

impl Reader {
    /// Errors: the columns or the answers of a table cannot be told.
    fn of(source: &FileSource, files: &[PathBuf]) -> Result<Self, ScenarioError> {
        Ok(match source.format {
            DataFormat::Table => Reader::Table(Box::new(Table::of(source, files)?)),
            DataFormat::Chat => {
                let tolerance = source.tolerance.unwrap_or(0.0);
                Reader::Chat(Chat { asked: source.answer_type, tolerance })
            }
            format => Reader::Published(format),
        })
    }

    fn audio_column(&self) -> &str {
        match self {
            Reader::Published(format) => audio_column(*format),
            Reader::Table(table) => &table.roles.audio,
            Reader::Chat(_) => chat::AUDIO,
        }
    }

    fn question(&self, row: Row) -> Result<Question, RowError> {
        match self {
            Reader::Published(format) => published_question(*format, row),
            Reader::Table(table) => table.question(row),
            Reader::Chat(chat) => chat::question(*chat, row),
        }
    }
}

/// Selects the rows of a source that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Use only the first rows, up to this number. `None` uses all.
    pub limit: Option<usize>,
    /// Exclude AVQA rows whose `question_relation` is `View`: they are about what is seen.
    pub drop_view: bool,
    /// Exclude questions that contain `color` or `colour`.
    pub drop_color: bool,
    /// Whether rows may name their clip by an `http://` or `https://` URL, which is downloaded before it is heard.
    pub fetch: bool,
}

/// Number of first rows whose audio files are checked; if all are missing, `audio_root` is wrong.
const AUDIO_CHECKED: usize = 20;

/// Reads the rows of `path` that `filter` selects, in their order. Lines are read one by one, up to the limit, to which
/// rows that cannot be used count too.
///
/// Errors: the file cannot be read, no row is selected, none of the first audio files exists, or sound that a row itself
/// contains cannot be written to the cache.
pub(crate) fn read(
    format: DataFormat,
    path: &Path,
    audio_root: &Path,
    filter: &RowFilter,
) -> Result<Dataset, ScenarioError> {
    read_with_cache(format, path, audio_root, filter, &cache_dir())
}

/// Reads the rows of a source: of a file, or of the files of a folder one after another.
///
/// Errors: as for [`read`]; also if the keys of the source do not fit one another or its files.
pub(crate) fn read_source(source: &FileSource, filter: &RowFilter) -> Result<Dataset, ScenarioError> {
    let in_file = |error| match error {
        ScenarioError::Value { problem, instead } => {
            ScenarioError::File { path: source.path.clone(), problem, instead }
        }
        other => other,
    };
    check_keys(source).map_err(in_file)?;
    read_files(source, filter, &cache_dir())
}

fn read_with_cache(
    format: DataFormat,
    path: &Path,
    audio_root: &Path,
    filter: &RowFilter,
    cache: &Path,
) -> Result<Dataset, ScenarioError> {
    let audio_root = Some(audio_root.to_owned());
    read_files(&FileSource { audio_root, ..FileSource::new(format, path) }, filter, cache)
}

fn read_files(source: &FileSource, filter: &RowFilter, cache: &Path) -> Result<Dataset, ScenarioError> {
    let files = folder::files(&source.path, source.split.as_deref())?;
    let reading = Reading {
        reader: Reader::of(source, &files.paths)?,
        official: source.format.official(),
        audio_root: source.audio_root.as_deref().unwrap_or(&files.root),
        holdout: Holdout::of(source)?,
        elsewhere: clip::Elsewhere { cache, fetch: filter.fetch },
    };
    let mut dataset = Dataset::new(&source.path);
    for path in &files.paths {
        dataset.begin_file(path);
        let mut rows = Rows::open(path)?;
        loop {
            if filter.limit.is_some_and(|limit| dataset.rows() >= limit) {
                if reading.holdout.is_none() {
                    dataset.beyond_limit += rows.count_rest();
                }
                break;
            }
            let Some(row) = rows.next() else { break };
            match row {
                Ok(row) if is_left_out(&row, filter) => {}
                Ok(row) => reading.add(row, path, &mut dataset)?,
                Err(NoRow::Problem(problem)) => dataset.add_problem(problem),
                Err(NoRow::File(error)) => return Err(error),
            }
        }
    }
    check(&source.path, &dataset)?;
    Ok(dataset)
}

/// What the rows of a source have in common.
struct Reading<'a> {
    reader: Reader,
    official: OfficialRule,
    audio_root: &'a Path,
    holdout: Option<Holdout>,
    elsewhere: clip::Elsewhere<'a>,
}

impl Reading<'_> {
    /// Adds the question of a row, or the problem of a row that cannot be used.
    ///
    /// Errors: sound that the row contains cannot be written to the cache.
    fn add(&self, row: Row, path: &Path, dataset: &mut Dataset) -> Result<(), ScenarioError> {
        let (line, id) = (row.line, row.id());
        let added = match self.question(row)? {
            Ok((question, url)) => {
                // The names of downloaded clips follow from their URLs.
                let fetched = url.is_some().then(|| question.audio_path.parent()).flatten();
                let root = fetched.unwrap_or(self.audio_root);
                if self.holdout.as_ref().is_some_and(|split| !split.takes(&question, root)) {
                    return Ok(());
                }
                dataset.add_at(question, line, url)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = added {
            dataset.add_problem(error.in_row(path, line, id));
        }
        Ok(())
    }

    /// Turns a row into a question, with the place of its clip and the part of it that is asked about, and the URL of the
    /// clip if it is to be downloaded.
    fn question(&self, mut row: Row) -> Result<Result<(Question, Option<String>), RowError>, ScenarioError> {
        if let Reader::Published(DataFormat::MmauPro) = self.reader
            && let Err(error) = mmau_pro::one_clip(&mut row)
        {
            return Ok(Err(error));
        }
        if let Reader::Chat(_) = self.reader
            && let Err(error) = chat::prepare(&mut row)
        {
            return Ok(Err(error));
        }
        let url = match clip::settle(&mut row, self.reader.audio_column(), &self.elsewhere)? {
            Ok(url) => url,
            Err(error) => return Ok(Err(error)),
        };
        Ok(clip::part(&mut row).and_then(|(start, end)| {
            let question = self.reader.question(row)?;
            let audio_path = self.audio_root.join(&question.audio_path);
            let audio_path = clip::with_slashes(&audio_path).unwrap_or(audio_path);
            let audio_path = match self.reader {
                Reader::Published(DataFormat::AirBench) => air_bench::clip(&question, audio_path),
                _ => audio_path,
            };
            Ok((Question { audio_path, start, end, official: self.official, ..question }, url))
        }))
    }
}

/// Whether the filter excludes the row.
fn is_left_out(row: &Row, filter: &RowFilter) -> bool {
    if !filter.drop_view && !filter.drop_color {
        return false;
    }
    let relation = row.peek("question_relation");
    let text = row.peek("question_text").or_else(|| row.peek("question"));
    let text = text.unwrap_or_default().to_lowercase();
    filter.drop_view && relation.is_some_and(|relation| relation.eq_ignore_ascii_case("view"))
        || filter.drop_color && (text.contains("color") || text.contains("colour"))
}

/// Checks that there are rows and that the audio root is right. The loader handles a single missing clip; if all
/// are missing, the root is wrong.
fn check(path: &Path, dataset: &Dataset) -> Result<(), ScenarioError> {
    let fail = |problem, instead: &str| {
        Err(ScenarioError::File { path: path.into(), problem, instead: instead.to_owned() })
    };
    let Some(first) = dataset.questions.first() else {
        if !dataset.problems.is_empty() {
            // The caller, which lists the problems, reports that no row is left.
            return Ok(());
        }
        let problem = "it has no questions, or the filters exclude all of them".to_owned();
        return fail(problem, "change [data]");
    };
    let may_be_there = |path: &Path| clip::has_file(path) || dataset.url_of(path).is_some();
    if dataset.questions.iter().take(AUDIO_CHECKED).any(|question| may_be_there(&question.audio_path)) {
        return Ok(());
    }
    let missing = first.audio_path.display();
    let problem = format!("the audio files of its rows are missing: there is no {missing}");
    if missing.to_string().contains('\\') {
        return fail(
            problem,
            "set audio_root, and write paths with `/`: `\\` separates folders on Windows only",
        );
    }
    fail(problem, "set audio_root to the folder that the paths are relative to")
}

#[cfg(test)]
mod tests;
