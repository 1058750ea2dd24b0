//! What the answers of a table are, which is decided once for the file.

use rewards::Question;
use rewards::matching::named_choice;
use rewards::numbers::number;
use serde_json::Value;

use super::cells;
use crate::formats::row::unfit;
use crate::rows::{RowCause, RowError};
use crate::source::{AnswerIs, AnswerType, FileSource};

/// How the answers of a table are read.
#[derive(Debug, Default)]
pub(super) struct Answers {
    asked: AnswerType,
    is: AnswerIs,
    base: u8,
    tolerance: f64,
}

/// Rows that were looked at: how many answers fit each reading.
#[derive(Default)]
struct Fits {
    rows: usize,
    text: usize,
    index: usize,
    letter: usize,
    /// Indices as if the first choice were 1.
    from_one: usize,
    zeros: usize,
    /// Answers that name different choices as text and as index.
    disagree: usize,
    /// An answer that fits no reading, or one that fits two.
    example: Option<String>,
}

impl Answers {
    /// Decides how the answers in the column `key` are read, from some rows with their choices and answers.
    ///
    /// Errors: they can be read in two ways, or in none.
    pub(super) fn of(
        source: &FileSource,
        key: &str,
        rows: impl Iterator<Item = (Vec<String>, Value)>,
    ) -> Result<Self, (String, String)> {
        let asked = source.answer_type.unwrap_or_default();
        let base = source.answer_base.unwrap_or(0);
        let tolerance = source.tolerance.unwrap_or(0.0);
        let answers = |is| Ok(Self { asked, is, base, tolerance });
        match (asked, source.answer_is, source.answer_base) {
            (AnswerType::Text | AnswerType::Number, ..) => return answers(AnswerIs::Text),
            (_, Some(is), _) => return answers(is),
            (_, None, Some(_)) => return answers(AnswerIs::Index),
            (_, None, None) => {}
        }
        let mut fits = Fits::default();
        for (choices, value) in rows {
            fits.add(&choices, value);
        }
        fits.decide(key).and_then(answers)
    }

    /// The tolerance of each question, if it asks for a number.
    pub(super) fn tolerance(&self) -> Option<f64> {
        (self.asked == AnswerType::Number).then_some(self.tolerance)
    }

    /// Reads an answer, or several: the first, and the others.
    ///
    /// Errors: it is none of the choices, or no number where one is asked for.
    pub(super) fn read(
        &self,
        key: &str,
        value: Value,
        choices: &[String],
    ) -> Result<(String, Vec<String>), RowError> {
        let golds = golds(&value);
        if golds.is_empty() {
            return Err(unfit(key, &value, "write the right answer"));
        }
        let mut read =
            golds.iter().map(|gold| self.read_one(key, gold, choices)).collect::<Result<Vec<_>, _>>()?;
        let first = read.remove(0);
        Ok((first, read))
    }

    fn read_one(&self, key: &str, gold: &str, choices: &[String]) -> Result<String, RowError> {
        let wrong = |instead: String| {
            RowError::new(RowCause::AnswerNotAChoice, format!("`{key}` is \"{gold}\""), instead)
        };
        match self.asked {
            AnswerType::Text => return Ok(gold.to_owned()),
            AnswerType::Number if number(gold).is_some() => return Ok(gold.to_owned()),
            AnswerType::Number => {
                let instead = "write a number, such as 3.5 or 1,000".to_owned();
                return Err(RowError { cause: RowCause::BadColumn, ..wrong(instead) });
            }
            AnswerType::Choice => {}
        }
        let place = match self.is {
            AnswerIs::Text => by_text(gold, choices),
            AnswerIs::Index => index(gold, self.base).filter(|&place| place < choices.len()),
            AnswerIs::Letter => letter(gold).filter(|&place| place < choices.len()),
        };
        place.and_then(|place| choices.get(place)).cloned().ok_or_else(|| {
            wrong(match self.is {
                AnswerIs::Text => format!("write the text of one of the choices {choices:?}"),
                AnswerIs::Index => {
                    let base = usize::from(self.base);
                    format!("write the index of a choice, from {base} to {}", choices.len() - 1 + base)
                }
                AnswerIs::Letter => format!("write a letter from A to {}", last_letter(choices.len())),
            })
        })
    }
}

impl Fits {
    fn add(&mut self, choices: &[String], value: Value) {
        let Some(gold) = golds(&value).into_iter().next() else { return };
        self.rows += 1;
        let text = by_text(&gold, choices);
        let zero_based = index(&gold, 0);
        let within = |place: &usize| *place < choices.len();
        let by_index = zero_based.filter(within);
        let by_letter = letter(&gold).filter(within);
        self.text += usize::from(text.is_some());
        self.index += usize::from(by_index.is_some());
        self.letter += usize::from(by_letter.is_some());
        self.from_one += usize::from(index(&gold, 1).filter(within).is_some());
        self.zeros += usize::from(zero_based == Some(0));
        let differ =
            text.is_some() && [by_index, by_letter].into_iter().flatten().any(|place| Some(place) != text);
        self.disagree += usize::from(differ);
        if differ || (self.example.is_none() && text.is_none() && by_index.is_none() && by_letter.is_none()) {
            self.example = Some(gold);
        }
    }

    fn decide(&self, key: &str) -> Result<AnswerIs, (String, String)> {
        let example = self.example.as_deref().unwrap_or_default();
        let best = self.text.max(self.index).max(self.letter).max(self.from_one);
        if self.rows == 0 {
            return Ok(AnswerIs::Text);
        }
        if best == 0 {
            let problem =
                format!("`{key}`, such as \"{example}\", is no text, index or letter of a choice in any row");
            return Err((
                problem,
                "name the column in columns = { answer = \"…\" }, or set answer_type = \"text\"".into(),
            ));
        }
        // Indices from 1: none is 0, and some are beyond the last choice if the first is 0.
        if self.from_one == best && self.index < best && self.text < best && self.zeros == 0 {
            let problem = format!("`{key}` has indices from 1 on, and none that is 0");
            return Err((problem, "set answer_base = 1".into()));
        }
        let other = self.index.max(self.letter);
        if self.text == best {
            if self.text > other || self.disagree == 0 {
                return Ok(AnswerIs::Text);
            }
            let kind = if self.index == best { "index" } else { "letter" };
            let problem = format!("`{key}` is \"{example}\", which may be a choice's text or its {kind}");
            return Err((problem, format!("set answer_is to \"text\" or \"{kind}\"")));
        }
        Ok(if self.index == best { AnswerIs::Index } else { AnswerIs::Letter })
    }
}

/// The right answers of a cell, which may be a list of them.
fn golds(value: &Value) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(if *value { "yes" } else { "no" }.to_owned()),
        _ => None,
    };
    match value {
        Value::Array(values) => values.iter().filter_map(one).collect(),
        Value::String(text) => match cells::list(text) {
            Some(list) if !list.is_empty() && text.trim_start().starts_with('[') => {
                list.iter().filter_map(one).collect()
            }
            _ => one(value).into_iter().collect(),
        },
        other => one(other).into_iter().collect(),
    }
}

/// The choice whose text this is, also without the letter that choices may be written with.
fn by_text(gold: &str, choices: &[String]) -> Option<usize> {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let exact = choices.iter().position(|choice| choice == gold);
    let exact = exact.or_else(|| choices.iter().position(|choice| plain(choice) == plain(gold)));
    if exact.is_some() || letter(gold).is_some() {
        return exact;
    }
    named_choice(gold, &Question { choices: choices.to_vec(), ..Question::default() })
}

/// The place of the choice with this index, if the first one has the index `base`. pandas writes `2.0` for 2.
fn index(gold: &str, base: u8) -> Option<usize> {
    let whole = gold.strip_suffix(".0").unwrap_or(gold);
    whole.parse::<usize>().ok()?.checked_sub(base.into())
}

/// The place of the choice with this letter: `B`, `b.` or `(B)`.
fn letter(gold: &str) -> Option<usize> {
    let bare = gold.trim_matches(['(', ')', '.', ':', ' ']);
    match bare.as_bytes() {
        [letter] if letter.is_ascii_alphabetic() => Some((letter.to_ascii_uppercase() - b'A').into()),
        _ => None,
    }
}

fn last_letter(count: usize) -> char {
    ('A'..='Z').nth(count.saturating_sub(1)).unwrap_or('Z')
}

#[cfg(test)]
mod tests;
