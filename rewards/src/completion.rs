//! Reads a completion: did it think, what did it think, what did it answer, is the form valid?
//!
//! Text comes from the sampler (special tokens already taken out); the result goes to every reward, the judge, the
//! evaluator and the rollout file. The two valid forms (paper, section on the adaptive prompt):
//!
//! - think:    `<think> … </think><answer> … </answer>`
//! - no-think: `<answer> … </answer>`
//!
//! Invariants:
//! - PARSE-1 `well_formed` iff each tag of the form occurs exactly once, in order, with nothing but white space around
//!   and between the two elements, and the answer is not blank. A tag quoted inside the text is a second tag.
//! - PARSE-2 a malformed completion is `Think` iff a `<think>` was opened anywhere.
//! - PARSE-3 any text is parsed; nothing panics.
//!
//! Deviation: other work marks no-think by an empty `<think></think>`; by default that is read as a well-formed
//! no-think completion, see [`ParserOptions`].

use serde::{Deserialize, Serialize};

const THINK_OPEN: &str = "<think>";
const THINK_CLOSE: &str = "</think>";
const ANSWER_OPEN: &str = "<answer>";
const ANSWER_CLOSE: &str = "</answer>";

/// Whether a completion thought before it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It thought.
    Think,
    /// It answered right away.
    NoThink,
}

/// What the parser may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParserOptions {
    /// `<think></think><answer>…</answer>` is a well-formed no-think completion (default). If not, it is a think
    /// completion with nothing in its thinking.
    pub empty_think_is_no_think: bool,
}

impl Default for ParserOptions {
    fn default() -> Self {
        Self { empty_think_is_no_think: true }
    }
}

/// A completion, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsedCompletion {
    /// Whether it thought.
    pub mode: Mode,
    /// Whether it has one of the two valid forms.
    pub well_formed: bool,
    /// The thinking, trimmed. Of a malformed completion: what follows its first `<think>`, as far as can be told.
    pub think: Option<String>,
    /// The answer, trimmed. Of a malformed completion: the last closed `<answer>` that is not blank, for the record
    /// only, since a malformed completion counts as wrong whatever it says.
    pub answer: Option<String>,
}

/// Takes a completion apart.
///
/// ```
/// use rewards::{Mode, ParserOptions, parse_completion};
///
/// let parsed = parse_completion("<think> a bark </think>\n<answer> dog </answer>", &ParserOptions::default());
/// assert!(parsed.well_formed);
/// assert_eq!(parsed.mode, Mode::Think);
/// assert_eq!(parsed.think.as_deref(), Some("a bark"));
/// assert_eq!(parsed.answer.as_deref(), Some("dog"));
/// ```
pub fn parse_completion(text: &str, options: &ParserOptions) -> ParsedCompletion {
    let Some((think, answer)) = valid_form(text.trim()) else {
        return malformed(text);
    };
    let think = think.filter(|think| !(think.is_empty() && options.empty_think_is_no_think));
    ParsedCompletion {
        mode: if think.is_some() { Mode::Think } else { Mode::NoThink },
        well_formed: true,
        think: think.map(str::to_owned),
        answer: Some(answer.to_owned()),
    }
}

/// The thinking and the answer, both trimmed, of a text that has one of the valid forms.
fn valid_form(text: &str) -> Option<(Option<&str>, &str)> {
    let (think, rest) = match text.strip_prefix(THINK_OPEN) {
        Some(opened) => {
            let (think, rest) = opened.split_once(THINK_CLOSE)?;
            (Some(think), rest.trim_start())
        }
        None => (None, text),
    };
    let answer = rest.strip_prefix(ANSWER_OPEN)?.strip_suffix(ANSWER_CLOSE)?;
    let clean = |text: &str| {
        [THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE].into_iter().all(|tag| !text.contains(tag))
    };
    let valid = clean(answer) && think.is_none_or(clean) && !answer.trim().is_empty();
    valid.then(|| (think.map(str::trim), answer.trim()))
}

/// What can still be told of a text that has neither form.
fn malformed(text: &str) -> ParsedCompletion {
    let think = text.split_once(THINK_OPEN).map(|(_, opened)| {
        let end = [THINK_CLOSE, ANSWER_OPEN].into_iter().filter_map(|tag| opened.find(tag)).min();
        opened[..end.unwrap_or(opened.len())].trim().to_owned()
    });
    ParsedCompletion {
        mode: if think.is_some() { Mode::Think } else { Mode::NoThink },
        well_formed: false,
        think,
        answer: last_answer(text),
    }
}

/// The last `<answer>` that is closed and not blank.
fn last_answer(text: &str) -> Option<String> {
    let mut end = text.len();
    while let Some(close) = text[..end].rfind(ANSWER_CLOSE) {
        let open = text[..close].rfind(ANSWER_OPEN)?;
        let answer = text[open + ANSWER_OPEN.len()..close].trim();
        if !answer.is_empty() {
            return Some(answer.to_owned());
        }
        end = open;
    }
    None
}
