//! An index of `rollouts.jsonl`: the offset of each line, and the fields to filter and sort by. The lines themselves
//! stay on disk, so that the index of 100,000 rollouts takes some ten megabytes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::filter::{Facts, Filter};
use super::breakdown::Breakdown;
use super::contribution::ScoredBatch;
use super::lines::{Follower, Lines};
use super::query_error::QueryError;
use records::{GradedCompletion, Phase};
use rewards::Mode;

mod filter;

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
    pub phase: Option<Phase>,
    /// Rollouts of this step.
    pub step: Option<u64>,
    /// Rollouts of the question with this id.
    pub id: Option<String>,
    /// `wrong-and-confident`, `thinks-needlessly` or `judge-disagrees`; see `Filter`.
    pub filter: Option<Filter>,
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
    #[serde(borrow, default)]
    suite: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    control: Option<Cow<'a, str>>,
    #[serde(default)]
    group: u64,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(borrow, default)]
    answer: Option<Cow<'a, str>>,
    #[serde(default)]
    correct: bool,
    #[serde(default)]
    think_quality: Option<f64>,
    #[serde(default)]
    judge_disagreement: Option<f64>,
    #[serde(default)]
    graded: BTreeMap<String, GradedCompletion>,
    #[serde(default)]
    weights_version: Option<u64>,
}

impl Indexed<'_> {
    /// The completions of one question at one step have the same; other questions have another.
    fn group_key(&self) -> u64 {
        hash(&(self.phase as u8, self.step, &self.suite, &self.control, self.group, &self.id))
    }

    fn facts(&self) -> Facts {
        let ratings = self.graded.values().filter_map(|graded| graded.disagreement);
        Facts {
            correct: self.correct,
            thinks: self.mode == Some(Mode::Think),
            answer: self.answer.as_ref().map(|answer| hash(&answer.trim().to_lowercase())),
            think_quality: self.think_quality,
            disagreement: ratings.chain(self.judge_disagreement).reduce(f64::max),
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
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
    /// The place of the first completion of its group; the group lies together.
    group: usize,
    group_key: u64,
    /// The version of the conditions that scored it.
    version: Option<u64>,
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
    /// One for each entry.
    facts: Vec<Facts>,
}

impl Lines for Index {
    fn take(&mut self, offset: u64, line: &[u8]) {
        let Ok(line_read) = serde_json::from_slice::<Indexed<'_>>(line) else { return };
        let next = self.ids.len() as u32;
        let (group_key, facts) = (line_read.group_key(), line_read.facts());
        let place = self.entries.len();
        let group = match self.entries.last() {
            Some(last) if last.group_key == group_key => last.group,
            _ => place,
        };
        self.facts.push(facts);
        let id = match self.ids.get(&*line_read.id) {
            Some(&id) => id,
            None => *self.ids.entry(line_read.id.into_owned()).or_insert(next),
        };
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
            group,
            group_key,
            version: line_read.weights_version,
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
        self.batch(self.entries.iter().rfind(|entry| entry.phase == Phase::Train)?.step)
    }

    /// The scores of a training step; `None` if it has no completions.
    pub fn batch(&self, step: u64) -> Option<ScoredBatch> {
        let is_of_step = |entry: &Entry| entry.phase == Phase::Train && entry.step == step;
        let places: Vec<usize> =
            (0..self.entries.len()).filter(|&place| is_of_step(&self.entries[place])).collect();
        let version = self.entries[*places.first()?].version;
        let number = |value: f64| Some(value).filter(|value| !value.is_nan());
        let score = |column: &[f64], place: usize| number(column.get(place).copied()?);
        let scores = |(name, column): (&String, &Vec<f64>)| {
            (name.clone(), places.iter().map(|&place| score(column, place)).collect())
        };
        Some(ScoredBatch {
            step,
            version,
            components: self.components.iter().map(scores).collect(),
            advantages: places.iter().map(|&place| number(self.entries[place].advantage)).collect(),
            thinks: places.iter().map(|&place| self.facts[place].thinks).collect(),
        })
    }

    /// The completions to a question the last time that it was asked, as far as `query` allows: by its `phase`, and not after
    /// its `step`. `None` if it was not asked.
    ///
    /// Errors: [`QueryError`]: the file can't be read.
    pub fn newest(
        &self,
        source: &Follower<Index>,
        query: &RolloutsQuery,
        complete: impl FnMut(Map<String, Value>) -> RolloutLine,
    ) -> Result<Option<Vec<RolloutLine>>, QueryError> {
        let unreadable = |error| QueryError::Read { path: source.path().to_owned(), error };
        let up_to = RolloutsQuery { step: None, ..query.clone() };
        let in_time = |place: &usize| query.step.is_none_or(|step| self.entries[*place].step <= step);
        let (Some(place), Some(mut file)) =
            (self.selected(&up_to).into_iter().rfind(in_time), source.open().map_err(unreadable)?)
        else {
            return Ok(None);
        };
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
        let lines: io::Result<Vec<_>> =
            self.group(place).take(limit).map(|place| self.entries[place].read(&mut file)).collect();
        Ok(Some(lines.map_err(unreadable)?.into_iter().map(complete).collect()))
    }

    /// The places of the group that a completion is in.
    fn group(&self, place: usize) -> Range<usize> {
        let first = self.entries[place].group;
        let behind = self.entries[place..].iter().position(|entry| entry.group != first);
        first..behind.map_or(self.entries.len(), |behind| place + behind)
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
        let passes = |place: usize, filter: Filter| {
            let group = self.group(place);
            filter.passes(&self.facts[group.clone()], place - group.start)
        };
        (0..self.entries.len())
            .filter(|&place| fits(&self.entries[place]))
            .filter(|&place| query.filter.is_none_or(|filter| passes(place, filter)))
            .collect()
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
