//! The JSON messages that the sandbox and plug-ins exchange, version 1: building those to a plug-in, and parsing those
//! from it. The fields of a completion are named as in `rollouts.jsonl`. `docs/plugins.md` defines the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use records::MissingCause;
use rewards::{RewardBatch, RewardItem};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::error::PluginError;
use crate::notes::Notes;
use crate::scored::{Answer, Failure};

/// Version of the protocol that the sandbox uses.
pub const PROTOCOL: u64 = 1;

/// Characters of a plug-in's text that a message quotes; the rest is cut.
const MAX_QUOTED_CHARS: usize = 200;

/// Characters of the description of a call.
const MAX_CALL_CHARS: usize = 600;

/// A field of completions that only plug-ins get which ask for it.
const ON_REQUEST: &str = "completion_ids";

/// The fields of a completion that a plug-in asked for in `ready`; `None` for all.
pub type Columns = Option<BTreeSet<String>>;

/// The first message to a child process.
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

/// The message that asks for the scores of `items`, which are completions of `batch`.
pub fn score(id: u64, batch: &RewardBatch, items: &[RewardItem], columns: &Columns) -> Map<String, Value> {
    let mut message = Map::new();
    message.insert("type".into(), "score".into());
    message.insert("id".into(), id.into());
    message.insert("step".into(), batch.step.into());
    message.insert("total_steps".into(), batch.total_steps.into());
    message.insert("group_size".into(), batch.group_size.into());
    message.insert("items".into(), items.iter().map(|item| fields(item, columns)).collect());
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
    put("start", question.start.into());
    put("end", question.end.into());
    put("duration_seconds", item.duration_seconds.into());
    put("difficulty", question.difficulty.map(|difficulty| difficulty.name()).into());
    put("kind", question.kind.clone().into());
    put("reasoning_steps", question.steps.clone().into());
    put("completion", item.completion.clone().into());
    put("mode", if item.thinks() { "think" } else { "no_think" }.into());
    put("think", item.parsed.think.clone().into());
    put("answer", item.parsed.answer.clone().into());
    put("well_formed", item.parsed.well_formed.into());
    put("correct", item.readings.strict.into());
    put("correct_official", item.readings.official.into());
    put("correct_lenient", item.readings.lenient.into());
    put("consistency", verdict.and_then(|verdict| verdict.consistency).into());
    put("think_quality", verdict.and_then(|verdict| verdict.think_quality).into());
    put("tokens", item.completion_tokens.into());
    put("truncated", item.truncated.into());
    put("metadata", question.metadata.clone().into());
    if columns.as_ref().is_some_and(|columns| columns.contains(ON_REQUEST)) {
        put(ON_REQUEST, item.completion_ids.clone().into());
    }
    Value::Object(fields)
}

/// A message from a plug-in.
#[derive(Debug, PartialEq)]
pub enum PluginMessage {
    /// The answer to `hello`: the plug-in can score.
    Ready { columns: Columns, call: Option<Call> },
    /// The scores of the batch `id`, which a server may leave out. [`parse_scores`] checks the values. `fields` are all of
    /// the message.
    Scores { id: Option<u64>, scores: Vec<Value>, fields: Map<String, Value> },
    /// The plug-in could not start, or could not score the batch `id`.
    Error { id: Option<u64>, message: String },
}

/// How a plug-in says that it calls the user's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The convention, such as `trl`.
    pub convention: String,
    /// The function and its arguments.
    pub call: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.convention, self.call)
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line {
    Ready { protocol: u64, columns: Option<BTreeSet<String>>, convention: Option<Value>, call: Option<Value> },
    Scores { id: Option<u64>, scores: Vec<Value> },
    Error { id: Option<u64>, message: String },
}

/// Whether a line of standard output is meant as a protocol message: the start of a JSON object, valid or not, or a
/// JSON list. All other lines are output that the program prints for people.
pub fn is_message(line: &str) -> bool {
    line.starts_with('{') || line.starts_with('[') && serde_json::from_str::<Vec<IgnoredAny>>(line).is_ok()
}

/// Parses a message from a plug-in. Fails with [`PluginError::Message`] if the text is not JSON, is not a message of
/// the protocol, or has another version.
pub fn parse(text: &str) -> Result<PluginMessage, PluginError> {
    let bad = |problem: String| PluginError::Message { problem };
    let expected = r#"write {"type": "scores", "id": …, "scores": […]}, as in docs/plugins.md"#;
    let value: Value = serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&quote_non_finite(text)))
        .map_err(|error| bad(format!("sent `{}`, which is not JSON ({error}); {expected}", quote(text))))?;
    let line = Line::deserialize(&value).map_err(|error| {
        bad(format!("sent `{}` ({}); {expected}", quote(text), quote(&error.to_string())))
    })?;
    match line {
        Line::Ready { protocol: PROTOCOL, columns, convention, call } => {
            Ok(PluginMessage::Ready { columns, call: described(convention.as_ref(), call.as_ref()) })
        }
        Line::Ready { protocol, .. } => {
            Err(bad(format!("uses version {protocol} of the protocol; the sandbox uses version {PROTOCOL}")))
        }
        Line::Scores { id, scores } => {
            let fields = value.as_object().cloned().unwrap_or_default();
            Ok(PluginMessage::Scores { id, scores, fields })
        }
        Line::Error { id, message } => Ok(PluginMessage::Error { id, message: quote(&message) }),
    }
}

/// Parses the body of a server's response like [`parse`], except that `type` may be left out.
pub fn parse_body(body: &str) -> Result<PluginMessage, PluginError> {
    let typed = match serde_json::from_str(body).or_else(|_| serde_json::from_str(&quote_non_finite(body))) {
        Ok(Value::Object(mut fields)) if !fields.contains_key("type") => {
            let kind = if fields.contains_key("scores") { "scores" } else { "error" };
            fields.insert("type".into(), kind.into());
            Value::Object(fields).to_string()
        }
        _ => body.to_owned(),
    };
    parse(&typed)
}

/// The call that `ready` describes, if it does.
fn described(convention: Option<&Value>, call: Option<&Value>) -> Option<Call> {
    let text = |value: Option<&Value>| Some(shorten(value?.as_str()?, MAX_CALL_CHARS));
    Some(Call { convention: text(convention)?, call: text(call)? })
}

/// Reads the answer for a batch of `items` completions: the scores, and the optional fields beside them, of which those that
/// do not fit are passed over. Fails like [`parse_scores`].
pub fn read_answer(scores: Vec<Value>, fields: &Map<String, Value>, items: usize) -> Result<Answer, Failure> {
    let texts = fields.get("warnings").and_then(Value::as_array).into_iter().flatten();
    let errors = fields.get("errors").and_then(Value::as_object).into_iter().flatten();
    let error = |(place, text): (&String, &Value)| Some((place.parse().ok()?, quote(text.as_str()?)));
    Ok(Answer {
        scores: parse_scores(scores)?,
        errors: errors.filter_map(error).collect::<BTreeMap<usize, String>>(),
        notes: Notes::read(fields, items),
        warnings: texts.filter_map(Value::as_str).map(quote).collect(),
    })
}

/// Converts scores to numbers: null becomes `None`, and the words NaN, Infinity and -Infinity become NaN. Fails if a
/// score is neither a number nor null.
pub fn parse_scores(scores: Vec<Value>) -> Result<Vec<Option<f64>>, Failure> {
    let number = |(place, score): (usize, Value)| match score {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64()),
        // `quote_non_finite` has turned these words into strings.
        Value::String(word) if NON_FINITE.contains(&word.as_str()) => Ok(Some(f64::NAN)),
        other => Err(Failure {
            cause: MissingCause::BadAnswer,
            message: format!("score {place} is {}; write a number or null", quote(&other.to_string())),
        }),
    };
    scores.into_iter().enumerate().map(number).collect()
}

/// What many JSON writers produce for numbers that JSON can't express.
const NON_FINITE: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Puts [`NON_FINITE`] words outside of strings in quotes, so that the text parses as JSON.
fn quote_non_finite(text: &str) -> String {
    let mut valid = String::with_capacity(text.len());
    let (mut rest, mut in_string, mut escaped) = (text, false, false);
    while let Some(next) = rest.chars().next() {
        let word = NON_FINITE.iter().find(|word| !in_string && rest.starts_with(**word));
        if let Some(word) = word {
            valid.extend(["\"", word, "\""]);
            rest = &rest[word.len()..];
            continue;
        }
        in_string ^= next == '"' && !escaped;
        escaped = next == '\\' && !escaped;
        valid.push(next);
        rest = &rest[next.len_utf8()..];
    }
    valid
}

/// Shortens a plug-in's text to one line of at most [`MAX_QUOTED_CHARS`] characters, to be quoted in a message.
pub fn quote(text: &str) -> String {
    shorten(text, MAX_QUOTED_CHARS)
}

fn shorten(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
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
        let all = score(7, &batch, &batch.items, &None);
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
        assert!(first.get("completion_ids").is_none(), "sent only to those that ask for it");
        let some =
            score(7, &batch, &batch.items, &Some(["answer".to_owned(), "unheard-of".to_owned()].into()));
        assert_eq!(some["items"], json!([{"answer": "dog"}, {"answer": "bell"}]));
        let ids = score(7, &batch, &batch.items[1..], &Some(["completion_ids".to_owned()].into()));
        assert_eq!(ids["items"], json!([{"completion_ids": [0, 1, 2]}]));
    }

    #[test]
    fn messages_are_parsed() {
        assert_eq!(
            parse(r#"{"type":"ready","protocol":1,"later":true}"#),
            Ok(PluginMessage::Ready { columns: None, call: None })
        );
        let ready = parse(r#"{"type":"ready","protocol":1,"convention":"trl","call":"f(x)"}"#);
        let call = Some(Call { convention: "trl".into(), call: "f(x)".into() });
        assert_eq!(ready, Ok(PluginMessage::Ready { columns: None, call }));
        let ready = parse(r#"{"type":"ready","protocol":1,"convention":7,"call":["f"]}"#);
        assert_eq!(ready, Ok(PluginMessage::Ready { columns: None, call: None }), "fields of other plug-ins");
        let scores = parse(r#"{"type":"scores","id":3,"scores":[0.5,null]}"#);
        let Ok(PluginMessage::Scores { id: Some(3), scores, .. }) = scores else { panic!("{scores:?}") };
        assert_eq!(scores, [json!(0.5), Value::Null]);
        let error = parse(r#"{"type":"error","message":"no\nmodel"}"#);
        assert_eq!(error, Ok(PluginMessage::Error { id: None, message: "no model".into() }));
        assert!(
            parse(r#"{"type":"ready","protocol":2}"#).unwrap_err().to_string().contains("uses version 2")
        );
        assert!(parse("[0.5]").unwrap_err().to_string().starts_with("sent `[0.5]` ("));
        let several_lines = parse(r#"{"type":"\nmodel"}"#).unwrap_err().to_string();
        assert_eq!(several_lines.lines().count(), 1, "{several_lines}");
        assert!(parse("{oops").unwrap_err().to_string().contains("sent `{oops`, which is not JSON"));
        let body = parse_body(r#"{"scores":[1]}"#);
        assert!(matches!(body, Ok(PluginMessage::Scores { id: None, .. })), "{body:?}");
        assert_eq!(
            parse_body(r#"{"message":"busy"}"#),
            Ok(PluginMessage::Error { id: None, message: "busy".into() })
        );
    }

    #[test]
    fn printed_lines_are_told_apart_from_messages() {
        for (line, expected) in
            [("{", true), ("[1, null]", true), ("[INFO] loading", false), ("0.5", false), ("ready", false)]
        {
            assert_eq!(is_message(line), expected, "{line}");
        }
    }

    #[test]
    fn nan_and_infinity_are_read_and_strings_are_left_alone() {
        let text = r#"{"type":"scores","id":1,"scores":[NaN,-Infinity,1,"NaN"],"note":"a \"NaN, b"}"#;
        let Ok(PluginMessage::Scores { scores, .. }) = parse(text) else { panic!("scores") };
        let read = parse_scores(scores).unwrap();
        assert!(read[0].unwrap().is_nan() && read[1].unwrap().is_nan() && read[3].unwrap().is_nan());
        assert_eq!(read[2], Some(1.0));
        assert_eq!(quote_non_finite(r#"["a NaN \\",NaN]"#), r#"["a NaN \\","NaN"]"#);
        let failure = parse_scores(vec![json!(0.5), json!("high")]).unwrap_err();
        assert_eq!(failure.message, r#"score 1 is "high"; write a number or null"#);
    }

    #[test]
    fn the_optional_fields_of_scores_are_read_and_what_does_not_fit_is_passed_over() {
        let line = r#"{"type":"scores","id":1,"scores":[1,null],"metrics":{"a":2,"nan":NaN},
            "errors":{"1":"ValueError:\n no","x":"?","0":3},"warnings":["one\ntwo",3]}"#;
        let Ok(PluginMessage::Scores { scores, fields, .. }) = parse(line) else { panic!("scores") };
        let answer = read_answer(scores, &fields, 2).unwrap();
        assert_eq!(answer.scores, [Some(1.0), None]);
        assert_eq!(answer.errors, [(1, "ValueError: no".to_owned())].into());
        assert_eq!(answer.warnings, ["one two"]);
        assert_eq!(answer.notes.metrics.keys().collect::<Vec<_>>(), ["a"]);
        let other = json!({"errors": 0, "warnings": "none", "metrics": []});
        let answer = read_answer(vec![json!(1)], other.as_object().unwrap(), 1).unwrap();
        assert_eq!(answer, Answer { scores: vec![Some(1.0)], ..Answer::default() });
    }
}
