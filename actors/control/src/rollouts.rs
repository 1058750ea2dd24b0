//! An index of `rollouts.jsonl`: the offset of each line, and the fields to filter and sort by. The lines themselves
//! stay on disk, so that the index of 100,000 rollouts takes a few megabytes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::breakdown::Breakdown;
use super::contribution::ScoredBatch;
use super::lines::{Follower, Lines};
use super::query_error::QueryError;
use records::Phase;

/// Rollouts in an answer without `limit`.
const DEFAULT_LIMIT: usize = 50;

/// The most rollouts in an answer.
const MAX_LIMIT: usize = 500;

/// The longest text to search for, in characters.
const LONGEST_SEARCH: usize = 200;

/// The filter and the order of a page of rollouts.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RolloutsQuery {
    /// Rollouts of training or of evaluations. Default: both.
    #[schemars(with = "Option<String>", extend("enum" = ["train", "eval"]))]
    pub phase: Option<Phase>,
    /// Rollouts of this step.
    pub step: Option<u64>,
    /// Rollouts of the question with this id.
    pub id: Option<String>,
    /// Rollouts with this text, in upper or lower case, in the id, the question, a choice, the gold
    /// answer or the completion.
    pub q: Option<String>,
    /// The field to sort by: `step`, `reward`, `advantage`, `tokens` or `components.NAME`. Default: `step`. Rollouts
    /// without a value come last.
    pub sort: Option<String>,
    /// `asc` or `desc`. Default: `desc`.
    pub order: Order,
    /// The number of rollouts to skip.
    pub offset: usize,
    /// The most rollouts to send. Default 50, at most 500.
    pub limit: Option<usize>,
}

/// The order of sorted values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// The smallest value first.
    Asc,
    /// The largest value first.
    #[default]
    Desc,
}

/// A page of rollouts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RolloutsPage {
    /// The number of rollouts that pass the filter.
    pub total: usize,
    /// Those of them on this page.
    pub rollouts: Vec<RolloutLine>,
}

/// A line of `rollouts.jsonl`, and what the server adds to it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RolloutLine {
    #[serde(flatten)]
    pub line: Map<String, Value>,
    /// The id of its clip, for `/api/audio/{id}` and `/api/clips/{id}/heard.wav`.
    pub audio: Option<String>,
    /// Its reward, term by term; `null` for evaluations, and where the formula and weights are no longer known.
    pub breakdown: Option<Breakdown>,
}

/// The indexed fields of a line.
#[derive(Deserialize)]
struct Indexed<'a> {
    phase: Phase,
    step: u64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    components: BTreeMap<Cow<'a, str>, Option<f64>>,
    reward: Option<f64>,
    advantage: Option<f64>,
    #[serde(default)]
    tokens: u64,
}

/// The searched fields of a line.
#[derive(Deserialize)]
struct Searched<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    question: Cow<'a, str>,
    #[serde(borrow)]
    choices: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    answer_gold: Cow<'a, str>,
    #[serde(borrow)]
    completion: Cow<'a, str>,
}

struct Entry {
    offset: u64,
    length: usize,
    phase: Phase,
    step: u64,
    id: u32,
    tokens: f64,
    reward: f64,
    advantage: f64,
}

impl Entry {
    fn read(&self, file: &mut File) -> io::Result<Map<String, Value>> {
        let mut line = vec![0; self.length];
        file.seek(SeekFrom::Start(self.offset))?;
        file.read_exact(&mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

/// The index of the lines read so far. NaN stands for a missing value.
#[derive(Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    ids: HashMap<String, u32>,
    /// The scores of each component by entry; entries behind the last one with a score are left out.
    components: BTreeMap<String, Vec<f64>>,
}

impl Lines for Index {
    fn take(&mut self, offset: u64, line: &[u8]) {
        let Ok(line_read) = serde_json::from_slice::<Indexed<'_>>(line) else { return };
        let next = self.ids.len() as u32;
        let id = match self.ids.get(&*line_read.id) {
            Some(&id) => id,
            None => *self.ids.entry(line_read.id.into_owned()).or_insert(next),
        };
        let place = self.entries.len();
        for (name, score) in line_read.components {
            if !self.components.contains_key(&*name) {
                self.components.insert(name.to_string(), Vec::new());
            }
            if let (Some(column), Some(score)) = (self.components.get_mut(&*name), score) {
                column.resize(place, f64::NAN);
                column.push(score);
            }
        }
        self.entries.push(Entry {
            offset,
            length: line.len(),
            phase: line_read.phase,
            step: line_read.step,
            id,
            tokens: line_read.tokens as f64,
            reward: line_read.reward.unwrap_or(f64::NAN),
            advantage: line_read.advantage.unwrap_or(f64::NAN),
        });
    }
}

impl Index {
    /// The page for a query. The lines come from the file that `source` follows; `complete` adds what is
    /// not in the file.
    ///
    /// Errors: [`QueryError`]: an unknown field to sort by, a search that can't be made, or a file that can't be read.
    pub fn page(
        &self,
        source: &Follower<Index>,
        query: &RolloutsQuery,
        complete: impl FnMut(Map<String, Value>) -> RolloutLine,
    ) -> Result<RolloutsPage, QueryError> {
        let key = self.sort_key(query.sort.as_deref().unwrap_or("step"))?;
        let search = query.q.as_deref().filter(|text| !text.is_empty()).map(Search::new).transpose()?;
        let unreadable = |error| QueryError::Read { path: source.path().to_owned(), error };
        let Some(mut file) = source.open().map_err(unreadable)? else {
            return Ok(RolloutsPage { total: 0, rollouts: Vec::new() });
        };
        let mut selected = self.selected(query);
        if let Some(search) = search {
            selected = self.matches(&mut file, selected, &search).map_err(unreadable)?;
        }
        // A stable sort: equal values keep the order of the file.
        selected.sort_by(|&one, &other| compare(key(one), key(other), query.order));
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let shown = selected.iter().skip(query.offset).take(limit);
        let lines: io::Result<Vec<_>> = shown.map(|&place| self.entries[place].read(&mut file)).collect();
        let rollouts = lines.map_err(unreadable)?.into_iter().map(complete).collect();
        Ok(RolloutsPage { total: selected.len(), rollouts })
    }

    /// The scores of the newest training step; `None` before the first.
    pub fn last_batch(&self) -> Option<ScoredBatch> {
        let is_train = |place: &usize| self.entries[*place].phase == Phase::Train;
        let step = self.entries.iter().rfind(|entry| entry.phase == Phase::Train)?.step;
        let mut places: Vec<usize> = (0..self.entries.len())
            .rev()
            .filter(is_train)
            .take_while(|&place| self.entries[place].step == step)
            .collect();
        places.reverse();
        let score = |column: &[f64], place: usize| column.get(place).copied().filter(|score| !score.is_nan());
        let scores = |(name, column): (&String, &Vec<f64>)| {
            (name.clone(), places.iter().map(|&place| score(column, place)).collect())
        };
        Some(ScoredBatch { step, components: self.components.iter().map(scores).collect() })
    }

    /// The places of the entries that pass the filter, except for its text.
    fn selected(&self, query: &RolloutsQuery) -> Vec<usize> {
        let id = match &query.id {
            None => None,
            Some(id) => match self.ids.get(id) {
                Some(&id) => Some(id),
                None => return Vec::new(),
            },
        };
        let fits = |entry: &Entry| {
            query.phase.is_none_or(|phase| entry.phase == phase)
                && query.step.is_none_or(|step| entry.step == step)
                && id.is_none_or(|id| entry.id == id)
        };
        (0..self.entries.len()).filter(|&place| fits(&self.entries[place])).collect()
    }

    /// Those of `places`, which must increase, whose line matches.
    fn matches(&self, file: &mut File, places: Vec<usize>, search: &Search) -> io::Result<Vec<usize>> {
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let (mut at, mut line, mut found) = (reader.stream_position()?, Vec::new(), Vec::new());
        for place in places {
            let entry = &self.entries[place];
            // Both are far below 2^63.
            reader.seek_relative(entry.offset as i64 - at as i64)?;
            line.resize(entry.length, 0);
            reader.read_exact(&mut line)?;
            at = entry.offset + entry.length as u64;
            if search.matches(&line) {
                found.push(place);
            }
        }
        Ok(found)
    }

    /// The value of each entry by which it is sorted.
    fn sort_key(&self, sort: &str) -> Result<Box<dyn Fn(usize) -> f64 + '_>, QueryError> {
        let entries = &self.entries;
        Ok(match sort {
            "step" => Box::new(|place| entries[place].step as f64),
            "reward" => Box::new(|place| entries[place].reward),
            "advantage" => Box::new(|place| entries[place].advantage),
            "tokens" => Box::new(|place| entries[place].tokens),
            other => {
                let column = other.strip_prefix("components.").and_then(|name| self.components.get(name));
                let column = column.ok_or_else(|| {
                    let names: Vec<String> =
                        self.components.keys().map(|name| format!(", components.{name}")).collect();
                    let known = format!("step, reward, advantage, tokens{}", names.concat());
                    QueryError::UnknownSort { sort: other.to_owned(), known }
                })?;
                Box::new(|place| column.get(place).copied().unwrap_or(f64::NAN))
            }
        })
    }
}

/// Compares by value; missing values come last in either order.
fn compare(one: f64, other: f64, order: Order) -> Ordering {
    match (one.is_nan(), other.is_nan()) {
        (false, false) if order == Order::Asc => one.total_cmp(&other),
        (false, false) => other.total_cmp(&one),
        (one, other) => one.cmp(&other),
    }
}

/// A text to search for.
struct Search {
    text: Regex,
    /// The same text as JSON escapes it. Most lines are ruled out by it without being parsed.
    escaped: Regex,
}

impl Search {
    fn new(text: &str) -> Result<Self, QueryError> {
        if text.chars().count() > LONGEST_SEARCH {
            return Err(QueryError::SearchTooLong { most: LONGEST_SEARCH });
        }
        let pattern = |text: &str| RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        let quoted = Value::from(text).to_string();
        Ok(Search { text: pattern(text)?, escaped: pattern(&quoted[1..quoted.len() - 1])? })
    }

    fn matches(&self, line: &[u8]) -> bool {
        if !self.escaped.is_match(line) {
            return false;
        }
        let Ok(line) = serde_json::from_slice::<Searched<'_>>(line) else { return false };
        let texts = [&line.id, &line.question, &line.answer_gold, &line.completion];
        texts.into_iter().chain(&line.choices).any(|part| self.text.is_match(part.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
