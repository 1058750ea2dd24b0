//! Checks of a server's answers. vLLM answers some wrong requests with status 200, and computes something else.
//!
//! - `ROLLOUT-1` what fails a check is no completion.

use model::{Completion, Finish};
use serde_json::Value;

use crate::asked::{AskedPrompt, Placeholder};
use crate::wire::Draw;

/// The greatest log-probability that counts as one: 0 and rounding.
const MOST: f64 = 1e-3;

/// vLLM writes this in the place of a log-probability that is no number, or minus infinity.
const NO_NUMBER: f64 = -9000.0;

/// What an answer is compared with.
pub(crate) struct Expected<'a> {
    /// The model that was asked.
    pub(crate) model: &'a str,
    pub(crate) prompt: &'a AskedPrompt,
    /// Tokens of the completion that were sent with the prompt.
    pub(crate) so_far: &'a [i64],
    /// Number of ids in the vocabulary.
    pub(crate) vocabulary: i64,
    /// Ids that are never drawn, in rising order.
    pub(crate) suppressed: &'a [i64],
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It is of another model or version than was asked.
    AnotherModel(String),
    /// It fails another check; one line.
    Check(String),
}

type Checked<T> = Result<T, Unusable>;

fn fail<T>(message: impl Into<String>) -> Checked<T> {
    Err(Unusable::Check(message.into()))
}

impl Expected<'_> {
    /// The completion of an answer.
    pub(crate) fn completion(&self, answer: &Value, draw: &Draw) -> Checked<Completion> {
        self.check_prompt(answer)?;
        let choice = only_choice(answer)?;
        let Some(ids) = integers(&choice["token_ids"]) else {
            return fail("the completion has no token ids");
        };
        if ids.is_empty() || ids.len() > draw.max_tokens {
            return fail(format!("the completion has {} tokens, of 1 to {}", ids.len(), draw.max_tokens));
        }
        if let Some(id) = ids.iter().find(|id| !(0..self.vocabulary).contains(*id)) {
            return fail(format!(
                "the completion has the id {id}, and the vocabulary {} ids",
                self.vocabulary
            ));
        }
        if let Some(id) = ids.iter().find(|id| self.suppressed.binary_search(id).is_ok()) {
            return fail(format!("the completion has the id {id}, which must not be drawn"));
        }
        let logprobs = logprobs(choice, &ids)?;
        let ended = ids.iter().position(|id| draw.eos.contains(id));
        let finish = match (choice["finish_reason"].as_str(), ended) {
            (Some("stop"), Some(place)) if place + 1 == ids.len() => Finish::Eos,
            (Some("length"), None) if ids.len() == draw.max_tokens => Finish::Length,
            (reason, _) => {
                let reason = reason.unwrap_or("none");
                return fail(format!("finish_reason is {reason}, which does not fit {} tokens", ids.len()));
            }
        };
        Ok(Completion { ids, logprobs, forced: 0..0, finish })
    }

    /// The log-probabilities of the prompt's tokens from place `from` on.
    pub(crate) fn scores(&self, answer: &Value, from: usize) -> Checked<Vec<f32>> {
        self.check_prompt(answer)?;
        let places = answer["prompt_logprobs"].as_array().map(Vec::as_slice).unwrap_or_default();
        if places.len() != self.prompt.expanded.len() {
            return fail(format!(
                "prompt_logprobs has {} of {} tokens",
                places.len(),
                self.prompt.expanded.len()
            ));
        }
        let scores = self.prompt.expanded.iter().zip(places).skip(from).map(|(id, place)| {
            let logprob = place[id.to_string()]["logprob"].as_f64();
            match logprob.filter(|value| usable(*value)) {
                Some(value) => Ok(value as f32),
                None => fail("prompt_logprobs lacks a token of the prompt"),
            }
        });
        scores.collect()
    }

    /// Model, expanded prompt and places of the clips.
    fn check_prompt(&self, answer: &Value) -> Checked<()> {
        let model = answer["model"].as_str().unwrap_or_default();
        if model != self.model {
            let message = format!("the answer is of the model {model:?}, and {:?} was asked", self.model);
            return Err(Unusable::AnotherModel(message));
        }
        let placeholders = placeholders(&answer["mm_placeholders"])?;
        let expected = &self.prompt.placeholders;
        if placeholders.len() != expected.len() {
            return fail(format!("the server found {} clips of {}", placeholders.len(), expected.len()));
        }
        if let Some((found, expected)) =
            placeholders.iter().zip(expected).find(|(found, expected)| found != expected)
        {
            return fail(format!(
                "a clip has {} tokens from place {} on, and should have {} from place {} on",
                found.length, found.offset, expected.length, expected.offset
            ));
        }
        let prompt = integers(&answer["prompt_token_ids"]).unwrap_or_default();
        let expected = self.prompt.expanded.iter().chain(self.so_far);
        let length = self.prompt.expanded.len() + self.so_far.len();
        if prompt.len() != length {
            return fail(format!("the server's prompt has {} tokens of {length}", prompt.len()));
        }
        match expected.eq(&prompt) {
            true => Ok(()),
            false => fail("the server's prompt has other tokens than were sent"),
        }
    }
}

fn only_choice(answer: &Value) -> Checked<&Value> {
    match answer["choices"].as_array().map(Vec::as_slice) {
        Some([choice]) => Ok(choice),
        other => fail(format!("the answer has {} completions of 1", other.unwrap_or_default().len())),
    }
}

/// One log-probability per token.
fn logprobs(choice: &Value, ids: &[i64]) -> Checked<Vec<f32>> {
    let content = choice["logprobs"]["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    if content.len() != ids.len() {
        return fail(format!("the completion has {} log-probabilities of {}", content.len(), ids.len()));
    }
    let of_token = |(token, id): (&Value, &i64)| {
        let same = token["token_id"].as_i64().is_none_or(|found| found == *id);
        match token["logprob"].as_f64().filter(|value| same && usable(*value)) {
            Some(value) => Ok(value as f32),
            None => fail("a log-probability is no number, or of another token"),
        }
    };
    content.iter().zip(ids).map(of_token).collect()
}

fn usable(logprob: f64) -> bool {
    logprob.is_finite() && logprob <= MOST && logprob > NO_NUMBER
}

fn placeholders(found: &Value) -> Checked<Vec<Placeholder>> {
    let audio = match found {
        Value::Null => return Ok(Vec::new()),
        Value::Object(modalities) => modalities.get("audio").and_then(Value::as_array),
        _ => return fail("mm_placeholders can't be read"),
    };
    let place = |place: &Value| {
        let number = |key: &str| place[key].as_u64().map(|number| number as usize);
        match (number("offset"), number("length")) {
            (Some(offset), Some(length)) => Ok(Placeholder { offset, length }),
            _ => fail("mm_placeholders can't be read"),
        }
    };
    audio.map(Vec::as_slice).unwrap_or_default().iter().map(place).collect()
}

fn integers(list: &Value) -> Option<Vec<i64>> {
    list.as_array()?.iter().map(Value::as_i64).collect()
}

#[cfg(test)]
mod tests;
