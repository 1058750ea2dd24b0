//! The JSON that plug-ins and the sandbox exchange, version 1. The names of a completion's fields are those of
//! `rollouts.jsonl`.

use std::collections::BTreeSet;

use records::MissingCause;
use rewards::{RewardBatch, RewardItem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::error::PluginError;
use crate::scored::Failure;

/// The version spoken.
pub const PROTOCOL: u64 = 1;

/// Text quoted from a plug-in in a message is cut to this many characters.
const QUOTED: usize = 200;

/// The columns of a completion that a plug-in asked for; `None`: all.
pub type Columns = Option<BTreeSet<String>>;

/// The first line to a child process.
pub fn hello(name: &str, options: &toml::Table) -> String {
    let hello = json!({
        "type": "hello",
        "protocol": PROTOCOL,
        "sandbox": env!("CARGO_PKG_VERSION"),
        "name": name,
        "options": options,
    });
    hello.to_string()
}

/// A batch to score.
pub fn score(id: u64, batch: &RewardBatch, columns: &Columns) -> Map<String, Value> {
    let mut message = Map::new();
    message.insert("type".into(), "score".into());
    message.insert("id".into(), id.into());
    message.insert("step".into(), batch.step.into());
    message.insert("total_steps".into(), batch.total_steps.into());
    message.insert("group_size".into(), batch.group_size.into());
    message.insert("items".into(), batch.items.iter().map(|item| fields(item, columns)).collect());
    message
}

fn fields(item: &RewardItem, columns: &Columns) -> Value {
    let question = &item.question;
    let verdict = item.verdict.as_ref();
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if columns.as_ref().is_none_or(|columns| columns.contains(name)) {
            fields.insert(name.into(), value);
        }
    };
    put("group", item.group.into());
    put("id", question.id.clone().into());
    put("question", question.text.clone().into());
    put("choices", question.choices.clone().into());
    put("answer_gold", question.answer.clone().into());
    put("audio_path", question.audio_path.display().to_string().into());
    put("duration_seconds", item.duration_seconds.into());
    put("difficulty", question.difficulty.map(|difficulty| difficulty.name()).into());
    put("kind", question.kind.clone().into());
    put("reasoning_steps", question.steps.clone().into());
    put("completion", item.completion.clone().into());
    put("mode", if item.thinks() { "think" } else { "no_think" }.into());
    put("think", item.parsed.think.clone().into());
    put("answer", item.parsed.answer.clone().into());
    put("well_formed", item.parsed.well_formed.into());
    put("correct", item.correct.into());
    put("consistency", verdict.and_then(|verdict| verdict.consistency).into());
    put("think_quality", verdict.and_then(|verdict| verdict.think_quality).into());
    put("tokens", item.completion_tokens.into());
    put("truncated", item.truncated.into());
    put("metadata", question.metadata.clone().into());
    Value::Object(fields)
}

/// What a plug-in says.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// It is ready.
    Ready {
        /// The columns it wants.
        columns: Columns,
    },
    /// The scores of a batch, as they came.
    Scores {
        /// The batch; a server may leave it out.
        id: Option<u64>,
        /// A number or null each, it is hoped.
        scores: Vec<Value>,
    },
    /// It can't do what it was asked.
    Error {
        /// The batch, if it is about one.
        id: Option<u64>,
        /// Why.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Ready { protocol: u64, columns: Option<BTreeSet<String>> },
    Scores { id: Option<u64>, scores: Vec<Value> },
    Error { id: Option<u64>, message: String },
}

/// Whether a line is meant for us at all: a JSON object, well-formed or not, or a list. All else is noise.
pub fn is_addressed(line: &str) -> bool {
    line.starts_with('{') || line.starts_with('[') && serde_json::from_str::<Vec<IgnoredAny>>(line).is_ok()
}

/// Reads what a plug-in said.
///
/// # Errors
/// What is wrong with it, and what it should be.
pub fn read(text: &str) -> Result<Said, PluginError> {
    let bad = |problem: String| PluginError::Message { problem };
    let expected = r#"write {"type": "scores", "id": …, "scores": […]}, as docs/plugins.md says"#;
    let value: Value = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&with_words(text)))
        .map_err(|error| bad(format!("said `{}`, which is not JSON ({error}); {expected}", quote(text))))?;
    let line = Line::deserialize(&value)
        .map_err(|error| bad(format!("said `{}` ({error}); {expected}", quote(text))))?;
    match line {
        Line::Ready { protocol: PROTOCOL, columns } => Ok(Said::Ready { columns }),
        Line::Ready { protocol, .. } => {
            Err(bad(format!("speaks version {protocol} of the protocol, this program version {PROTOCOL}")))
        }
        Line::Scores { id, scores } => Ok(Said::Scores { id, scores }),
        Line::Error { id, message } => Ok(Said::Error { id, message: quote(&message) }),
    }
}

/// The body of a server's answer, in which `type` may be left out.
///
/// # Errors
/// As [`read`].
pub fn read_body(body: &str) -> Result<Said, PluginError> {
    let typed = match serde_json::from_str(body).or_else(|_| serde_json::from_str(&with_words(body))) {
        Ok(Value::Object(mut fields)) if !fields.contains_key("type") => {
            let kind = if fields.contains_key("scores") { "scores" } else { "error" };
            fields.insert("type".into(), kind.into());
            Value::Object(fields).to_string()
        }
        _ => body.to_owned(),
    };
    read(&typed)
}

/// The scores as numbers.
///
/// # Errors
/// One that is neither a number nor null.
pub fn numbers(scores: Vec<Value>) -> Result<Vec<Option<f64>>, Failure> {
    let number = |(place, score): (usize, Value)| match score {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64()),
        // JSON has no such numbers; they come as words, see `with_words`.
        Value::String(word) if WORDS.contains(&word.as_str()) => Ok(Some(f64::NAN)),
        other => Err(Failure {
            cause: MissingCause::BadAnswer,
            message: format!("score {place} is {}; write a number or null", quote(&other.to_string())),
        }),
    };
    scores.into_iter().enumerate().map(number).collect()
}

/// What many a JSON writer makes of numbers that JSON does not have.
const WORDS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// The same text with these words in quotes where they stand for values.
fn with_words(text: &str) -> String {
    let mut sound = String::with_capacity(text.len());
    let (mut rest, mut quoted, mut escaped) = (text, false, false);
    while let Some(next) = rest.chars().next() {
        let word = WORDS.iter().find(|word| !quoted && rest.starts_with(**word));
        if let Some(word) = word {
            sound.extend(["\"", word, "\""]);
            rest = &rest[word.len()..];
            continue;
        }
        quoted ^= next == '"' && !escaped;
        escaped = next == '\\' && !escaped;
        sound.push(next);
        rest = &rest[next.len_utf8()..];
    }
    sound
}

/// A text of a plug-in's, fit for a line of ours.
pub fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample_batch;

    #[test]
    fn a_batch_has_the_columns_asked_for() {
        let batch = sample_batch();
        let all = score(7, &batch, &None);
        assert_eq!(
            (&all["type"], &all["id"], &all["step"], &all["group_size"]),
            (&json!("score"), &json!(7), &json!(1), &json!(2))
        );
        let first = &all["items"][0];
        assert_eq!(first["completion"], "<think> a bark , then a bell </think> <answer> dog </answer>");
        assert_eq!(first["think"], "a bark , then a bell");
        assert_eq!(
            (&first["mode"], &first["answer"], &first["correct"]),
            (&json!("think"), &json!("dog"), &json!(true))
        );
        assert_eq!((&first["consistency"], &all["items"][1]["consistency"]), (&json!(1.0), &Value::Null));
        let some = score(7, &batch, &Some(["answer".to_owned(), "unheard-of".to_owned()].into()));
        assert_eq!(some["items"], json!([{"answer": "dog"}, {"answer": "bell"}]));
    }

    #[test]
    fn what_is_said_is_read() {
        assert_eq!(read(r#"{"type":"ready","protocol":1,"later":true}"#), Ok(Said::Ready { columns: None }));
        let scores = read(r#"{"type":"scores","id":3,"scores":[0.5,null]}"#);
        assert_eq!(scores, Ok(Said::Scores { id: Some(3), scores: vec![json!(0.5), Value::Null] }));
        let error = read(r#"{"type":"error","message":"no\nmodel"}"#);
        assert_eq!(error, Ok(Said::Error { id: None, message: "no model".into() }));
        assert!(read(r#"{"type":"ready","protocol":2}"#).unwrap_err().to_string().contains("speaks version 2"));
        assert!(read("[0.5]").unwrap_err().to_string().starts_with("said `[0.5]` ("));
        assert!(read("{oops").unwrap_err().to_string().contains("said `{oops`, which is not JSON"));
        assert_eq!(read_body(r#"{"scores":[1]}"#), Ok(Said::Scores { id: None, scores: vec![json!(1)] }));
        assert_eq!(read_body(r#"{"message":"busy"}"#), Ok(Said::Error { id: None, message: "busy".into() }));
    }

    #[test]
    fn what_programs_print_is_told_from_what_they_answer() {
        for (line, addressed) in
            [("{", true), ("[1, null]", true), ("[INFO] loading", false), ("0.5", false), ("ready", false)]
        {
            assert_eq!(is_addressed(line), addressed, "{line}");
        }
    }

    #[test]
    fn numbers_that_json_does_not_have_are_read_as_such_and_texts_are_left_alone() {
        let text = r#"{"type":"scores","id":1,"scores":[NaN,-Infinity,1,"NaN"],"note":"a \"NaN, b"}"#;
        let Ok(Said::Scores { scores, .. }) = read(text) else { panic!("scores") };
        let read = numbers(scores).unwrap();
        assert!(read[0].unwrap().is_nan() && read[1].unwrap().is_nan() && read[3].unwrap().is_nan());
        assert_eq!(read[2], Some(1.0));
        assert_eq!(with_words(r#"["a NaN \\",NaN]"#), r#"["a NaN \\","NaN"]"#);
        let failure = numbers(vec![json!(0.5), json!("high")]).unwrap_err();
        assert_eq!(failure.message, r#"score 1 is "high"; write a number or null"#);
    }
}
