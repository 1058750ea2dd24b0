//! `rollouts.jsonl` by an index: where each line begins and what one can sort and choose by. The lines themselves
//! stay on disk, so that 100,000 of them cost a few megabytes.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lines::Lines;
use records::Phase;

/// Rollouts that are sent where nobody asks for more or fewer, and the most there can be at once.
const LIMIT: usize = 50;
const MOST: usize = 500;

/// The longest text to search for, in characters.
const LONGEST_SEARCH: usize = 200;

/// Which rollouts are wanted, and in which order.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RolloutsQuery {
    /// Of training or of evaluations. Default: both.
    #[schemars(with = "Option<String>", extend("enum" = ["train", "eval"]))]
    pub phase: Option<Phase>,
    /// Of this step.
    pub step: Option<u64>,
    /// Of the question with this id.
    pub id: Option<String>,
    /// With this text, whatever its case, in the id, the question, a choice, the answer or the completion.
    pub q: Option<String>,
    /// By `step`, `reward`, `advantage`, `tokens` or `components.NAME`; those without it come last. Default: `step`.
    pub sort: Option<String>,
    /// `asc` or `desc`. Default: `desc`.
    pub order: Order,
    /// How many to pass over.
    pub offset: usize,
    /// How many to send. Default 50, at most 500.
    pub limit: Option<usize>,
}

/// Up or down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Small ones first.
    Asc,
    /// Large ones first.
    #[default]
    Desc,
}

/// A page of rollouts.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RolloutsPage {
    /// How many there are, sent or not.
    pub total: usize,
    /// The lines of `rollouts.jsonl`, each with `audio`: what to ask `/api/audio/` for.
    pub rollouts: Vec<Map<String, Value>>,
}

/// What of a line is in the index.
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

/// What of a line is searched.
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

/// The lines read so far. Not a number stands for no value.
#[derive(Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
    ids: HashMap<String, u32>,
    /// A score per entry, as far as there are any.
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
    /// The page that is asked for; `clip_id` gives the clip at a path an id.
    ///
    /// # Errors
    /// One line: something to sort by that there is not, or a file that can't be read.
    pub fn page(
        &self,
        file: Option<File>,
        query: &RolloutsQuery,
        clip_id: impl Fn(&str) -> String,
    ) -> Result<RolloutsPage, PageError> {
        let key = self.sort_key(query.sort.as_deref().unwrap_or("step")).map_err(PageError::Query)?;
        let mut chosen = self.chosen(query);
        let Some(mut file) = file else { return Ok(RolloutsPage { total: 0, rollouts: Vec::new() }) };
        if let Some(text) = query.q.as_deref().filter(|text| !text.is_empty()) {
            chosen = self.with_text(&mut file, chosen, text)?;
        }
        // Stable: within equals, the order of the file.
        chosen.sort_by(|&one, &other| compare(key(one), key(other), query.order));
        let limit = query.limit.unwrap_or(LIMIT).min(MOST);
        let mut rollouts = Vec::new();
        for &place in chosen.iter().skip(query.offset).take(limit) {
            let entry = &self.entries[place];
            let mut line = vec![0; entry.length];
            file.seek(SeekFrom::Start(entry.offset))?;
            file.read_exact(&mut line)?;
            let mut rollout: Map<String, Value> = serde_json::from_slice(&line).map_err(io::Error::from)?;
            let clip = rollout.get("audio_path").and_then(Value::as_str);
            let clip = clip.map(&clip_id).map_or(Value::Null, Value::String);
            rollout.insert("audio".to_owned(), clip);
            rollouts.push(rollout);
        }
        Ok(RolloutsPage { total: chosen.len(), rollouts })
    }

    fn chosen(&self, query: &RolloutsQuery) -> Vec<usize> {
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

    /// Those of `places`, which rise, whose line has the text.
    fn with_text(&self, file: &mut File, places: Vec<usize>, text: &str) -> Result<Vec<usize>, PageError> {
        if text.chars().count() > LONGEST_SEARCH {
            return Err(PageError::Query(format!("{LONGEST_SEARCH} characters are the most to search for")));
        }
        let pattern = |text: &str| {
            RegexBuilder::new(&regex::escape(text))
                .case_insensitive(true)
                .build()
                .map_err(|error| PageError::Query(error.to_string()))
        };
        let spoken = pattern(text)?;
        // Most lines are out by a look at the raw JSON, in which quotes and the like are escaped.
        let quoted = serde_json::to_string(text).map_err(io::Error::from)?;
        let raw = pattern(&quoted[1..quoted.len() - 1])?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let (mut at, mut line, mut found) = (reader.stream_position()?, Vec::new(), Vec::new());
        for place in places {
            let entry = &self.entries[place];
            // Both are far below 2^63.
            reader.seek_relative(entry.offset as i64 - at as i64)?;
            line.resize(entry.length, 0);
            reader.read_exact(&mut line)?;
            at = entry.offset + entry.length as u64;
            if raw.is_match(&line) && has_text(&line, &spoken) {
                found.push(place);
            }
        }
        Ok(found)
    }

    fn sort_key(&self, sort: &str) -> Result<Box<dyn Fn(usize) -> f64 + '_>, String> {
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
                    format!(
                        "cannot sort by `{other}`; sort by step, reward, advantage, tokens{}",
                        names.concat()
                    )
                })?;
                Box::new(|place| column.get(place).copied().unwrap_or(f64::NAN))
            }
        })
    }
}

/// By value, those without one last whichever way.
fn compare(one: f64, other: f64, order: Order) -> Ordering {
    match (one.is_nan(), other.is_nan()) {
        (false, false) if order == Order::Asc => one.total_cmp(&other),
        (false, false) => other.total_cmp(&one),
        (one, other) => one.cmp(&other),
    }
}

fn has_text(line: &[u8], text: &Regex) -> bool {
    let Ok(line) = serde_json::from_slice::<Searched<'_>>(line) else { return false };
    let whole = [&line.id, &line.question, &line.answer_gold, &line.completion];
    whole.into_iter().chain(&line.choices).any(|part| text.is_match(part.as_bytes()))
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Query(String),
    /// The file can't be read.
    #[error("rollouts.jsonl cannot be read: {0}")]
    Read(#[from] io::Error),
}

#[cfg(test)]
mod tests;
