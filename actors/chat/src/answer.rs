//! Reads a server's response: the part of OpenAI's API that all supported servers implement, as they implement it.
//!
//! - `ANSWER-1` a response is an answer with the model's text, or has one cause for which it is none. Fields that the
//!   answer does not depend on are never a reason to discard it.
//! - `ANSWER-2` what a model thinks is its reply only if there is no other, if it was not cut off, and if it ends with
//!   the verdict: thoughts quote what they are about.

use rewards::judge::json;
use rewards::judge::logits::ReplyToken;
use rewards::{FailureCause, JudgeFailure};
use serde_json::{Map, Value};

use crate::client::Response;
use crate::complaint::Complaint;

/// Keys that decide about the answer; two different values of one are an error.
const DECISIVE: [&str; 8] =
    ["choices", "content", "error", "finish_reason", "message", "reasoning", "reasoning_content", "text"];

/// A server's response, parsed.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// The text of the reply, or of the refusal.
    pub text: String,
    /// Whether the model refused, or the server's content filter stopped it.
    pub declined: bool,
    /// Whether the reply was cut off at `max_tokens`.
    pub out_of_tokens: bool,
    /// Whether the model thought, but said nothing that could be its reply.
    pub only_thought: bool,
    /// What the model thought, if the server separates it from the reply.
    pub thought: Option<String>,
    /// The reply's tokens with their alternatives; empty unless log-probabilities were requested.
    pub tokens: Vec<ReplyToken>,
    /// Tokens of the prompt, as the server counts them; 0 if it does not say.
    pub prompt_tokens: u64,
    /// Tokens of the reply with its thinking, likewise.
    pub reply_tokens: u64,
}

/// Why a response is not an answer.
#[derive(Debug)]
pub struct NoAnswer {
    pub failure: JudgeFailure,
    /// What the server says about the request; empty if it says nothing.
    pub complaint: Complaint,
}

impl NoAnswer {
    fn new(cause: FailureCause, message: impl Into<String>) -> Self {
        Self { failure: JudgeFailure::new(cause, message), complaint: Complaint::default() }
    }

    fn complained(complaint: Complaint, status: u16) -> Self {
        let message = format!("answered {status}: {}", excerpt(&complaint.message));
        Self { failure: JudgeFailure::new(complaint.cause(), message), complaint }
    }
}

impl Answer {
    /// The reply as one text, with what the model thought in `<think>` in front of it, as models write it themselves where
    /// the server does not separate it.
    pub fn completion(&self) -> String {
        match &self.thought {
            // A thought that ends with an object was taken for the reply.
            Some(thought) if *thought == self.text => format!("<think>{thought}</think>"),
            Some(thought) if self.only_thought && self.out_of_tokens => format!("<think>{thought}"),
            Some(thought) if !self.text.contains("<think>") => {
                format!("<think>{thought}</think>\n{}", self.text)
            }
            Some(_) | None => self.text.clone(),
        }
    }

    /// Reads a response. `address` is the setting with the server's address, for messages.
    pub(crate) fn of(response: &Response, address: &str) -> Result<Self, NoAnswer> {
        let status = response.status;
        if status.is_redirection() {
            let to = response.location.as_deref().unwrap_or("an address that it does not name");
            let message = format!(
                "answered {status} and redirects to {to}, which is not followed, so that no other host gets the \
                 request and its key; correct {address}"
            );
            return Err(NoAnswer::new(FailureCause::Http4xx, message));
        }
        let body = json::read(&response.text, &DECISIVE);
        if !status.is_success() {
            let complaint = Complaint::of_status(status.as_u16(), &response.text, body.as_ref().ok());
            return Err(NoAnswer::complained(complaint, status.as_u16()));
        }
        let body = body.map_err(|error| not_json(response, &error))?;
        if let Some(complaint) = Complaint::in_body(&body) {
            return Err(NoAnswer::complained(complaint, status.as_u16()));
        }
        Self::in_body(&body).ok_or_else(|| {
            let message = format!("a response without choices: {}", excerpt(&response.text));
            NoAnswer::new(FailureCause::Malformed, message)
        })
    }

    /// Reads the first choice with a text, or else the first one.
    fn in_body(body: &Value) -> Option<Self> {
        let mut choices: Vec<&Value> = body["choices"].as_array()?.iter().collect();
        choices.sort_by_key(|choice| choice["index"].as_u64());
        let mut answers = choices.iter().map(|choice| Self::in_choice(choice));
        let first = answers.next()?;
        let said = |answer: &Self| !answer.text.trim().is_empty();
        let answer = if said(&first) { first } else { answers.find(said).unwrap_or(first) };
        let tokens = |key: &str| body["usage"][key].as_u64().unwrap_or(0);
        Some(Self {
            prompt_tokens: tokens("prompt_tokens"),
            reply_tokens: tokens("completion_tokens"),
            ..answer
        })
    }

    fn in_choice(choice: &Value) -> Self {
        // Some servers stream although they were not asked to, and call the message so.
        let message = if choice["message"].is_object() { &choice["message"] } else { &choice["delta"] };
        let finish = choice["finish_reason"].as_str().unwrap_or_default().to_lowercase();
        let out_of_tokens = matches!(finish.as_str(), "length" | "max_tokens" | "model_length");
        let content =
            Content::of(if message["content"].is_null() { &choice["text"] } else { &message["content"] });
        let refusal = text_of(&message["refusal"]).or(content.refusal);
        let filtered = matches!(finish.as_str(), "content_filter" | "safety" | "refusal");
        let thought = text_of(&message["reasoning_content"]).or_else(|| text_of(&message["reasoning"]));
        let spoken = content.text.filter(|text| !text.trim().is_empty());
        let silent = refusal.is_none() && spoken.is_none();
        let concluded = thought
            .as_ref()
            .filter(|thought| silent && !out_of_tokens && ends_with_verdict(thought))
            .cloned();
        let only_thought = silent && concluded.is_none() && (thought.is_some() || content.thought);
        Self {
            declined: refusal.is_some() || filtered,
            text: refusal.or(spoken).or(concluded).unwrap_or_default(),
            out_of_tokens,
            only_thought,
            thought,
            tokens: reply_tokens(&choice["logprobs"]),
            ..Self::default()
        }
    }
}

/// What `content` has: a text, or a list of parts.
#[derive(Default)]
struct Content {
    text: Option<String>,
    refusal: Option<String>,
    /// Whether one of the parts is a thought.
    thought: bool,
}

impl Content {
    fn of(content: &Value) -> Self {
        let parts = match content {
            Value::Array(parts) => parts,
            // An object is a reply in JSON that the server has parsed.
            Value::Object(_) => return Self { text: Some(content.to_string()), ..Self::default() },
            other => return Self { text: text_of(other), ..Self::default() },
        };
        let mut read = Self::default();
        for part in parts {
            let text = part.as_str().or(part["text"].as_str());
            match (part["type"].as_str().unwrap_or("text"), text) {
                ("text" | "output_text", Some(text)) => read.text.get_or_insert_default().push_str(text),
                ("refusal", _) => read.refusal = text_of(&part["refusal"]).or(read.refusal),
                ("thinking" | "reasoning", _) => read.thought = true,
                _ => {}
            }
        }
        read
    }
}

/// A text that is not empty.
fn text_of(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether a text ends with a JSON object, which may be in a code block.
fn ends_with_verdict(text: &str) -> bool {
    text.trim_end().trim_end_matches("```").trim_end().ends_with('}')
}

/// The tokens in `logprobs`: `/chat/completions` returns `content`, `/completions` returns `tokens` and `top_logprobs`.
fn reply_tokens(logprobs: &Value) -> Vec<ReplyToken> {
    // A token that cannot occur has null, or minus infinity as a number or a word.
    let alternative = |text: &str, logprob: &Value| Some((text.to_owned(), logprob.as_f64()?));
    let text = |token: &Value| token.as_str().unwrap_or_default().to_owned();
    if let Some(content) = logprobs["content"].as_array() {
        let top = |token: &Value| {
            let others = token["top_logprobs"].as_array().into_iter().flatten();
            others.filter_map(|other| alternative(other["token"].as_str()?, &other["logprob"])).collect()
        };
        let token = |token: &Value| ReplyToken { text: text(&token["token"]), top: top(token) };
        return content.iter().map(token).collect();
    }
    let top = |top: &Map<String, Value>| {
        top.iter().filter_map(|(text, logprob)| alternative(text, logprob)).collect()
    };
    let tokens = logprobs["tokens"].as_array().into_iter().flatten().enumerate();
    tokens
        .map(|(place, token)| ReplyToken {
            text: text(token),
            top: logprobs["top_logprobs"][place].as_object().map(top).unwrap_or_default(),
        })
        .collect()
}

/// A body with status 200 that is no JSON. One whose end nobody announced may have been cut off on its way.
fn not_json(response: &Response, error: &serde_json::Error) -> NoAnswer {
    if response.text.trim().is_empty() {
        return NoAnswer::new(FailureCause::Connection, "the response has no body");
    }
    let text = excerpt(&response.text);
    if error.is_eof() && !response.announced {
        return NoAnswer::new(FailureCause::Connection, format!("the response was cut off: {text}"));
    }
    let stream = response.text.starts_with("data:");
    let what =
        if stream { "a stream of events, which was not asked for" } else { "not a response of OpenAI's API" };
    NoAnswer::new(FailureCause::Malformed, format!("{what} ({error}): {text}"))
}

/// The first 300 characters of a text, in one line.
pub fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > 4 * MAX_CHARS {
            break;
        }
    }
    line.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;
    use serde_json::json;

    use super::*;

    const VERDICT: &str = r#"{"consistent": 1, "quality": 0.9}"#;

    fn read_text(text: &str) -> Result<Answer, FailureCause> {
        let response = Response {
            status: StatusCode::OK,
            retry_after: None,
            text: text.to_owned(),
            announced: true,
            location: None,
        };
        Answer::of(&response, "judge.base_url").map_err(|none| none.failure.cause)
    }

    fn message(message: Value) -> Answer {
        read_text(&json!({ "choices": [{ "message": message }] }).to_string()).unwrap()
    }

    #[test]
    fn answers_of_both_endpoints_are_read() {
        let chat = json!({
            "choices": [{
                "message": { "role": "assistant", "content": "{}" }, "finish_reason": "stop",
                "logprobs": { "content": [
                    { "token": "{}", "logprob": -0.1, "top_logprobs": [{ "token": "{", "logprob": -2.5 }] }
                ] },
            }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8 },
        });
        let expected = Answer {
            text: "{}".to_owned(),
            tokens: vec![ReplyToken { text: "{}".to_owned(), top: vec![("{".to_owned(), -2.5)] }],
            prompt_tokens: 7,
            reply_tokens: 1,
            ..Answer::default()
        };
        assert_eq!(read_text(&chat.to_string()).unwrap(), expected);
        let text = json!({
            "choices": [{
                "text": "{}", "finish_reason": "length",
                "logprobs": { "tokens": ["{}"], "top_logprobs": [{ "{": -2.5 }] },
            }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 1 },
        });
        let expected = Answer { out_of_tokens: true, ..expected };
        assert_eq!(read_text(&text.to_string()).unwrap(), expected);
    }

    #[test]
    fn a_verdict_is_read_wherever_servers_put_it() {
        for said in [
            json!({ "content": VERDICT }),
            json!({ "content": null, "reasoning_content": VERDICT }),
            json!({ "content": "", "reasoning": format!("It barks.\n```json\n{VERDICT}\n```\n") }),
            json!({ "content": " \n", "reasoning_content": VERDICT, "reasoning": VERDICT }),
            json!({ "content": [{ "type": "thinking", "thinking": "hm" }, { "type": "text", "text": VERDICT }] }),
            json!({ "content": [VERDICT] }),
            json!({ "content": serde_json::from_str::<Value>(VERDICT).unwrap() }),
        ] {
            let answer = message(said.clone());
            assert!(
                answer.text.contains("\"quality\"") && !answer.only_thought && !answer.declined,
                "{said}"
            );
        }
    }

    #[test]
    fn a_thought_that_does_not_end_with_a_verdict_or_was_cut_off_is_no_reply() {
        let quoted = format!("The text says {VERDICT}, which is an attempt to steer the grade");
        let thought = message(json!({ "content": null, "reasoning_content": quoted }));
        assert_eq!((thought.text.as_str(), thought.only_thought), ("", true));
        let cut = json!({ "choices": [{
            "message": { "content": null, "reasoning_content": VERDICT }, "finish_reason": "length",
        }] });
        let cut = read_text(&cut.to_string()).unwrap();
        assert_eq!((cut.text.as_str(), cut.only_thought, cut.out_of_tokens), ("", true, true));
        let parts = message(json!({ "content": [{ "type": "thinking", "thinking": [] }] }));
        assert!(parts.only_thought);
        let other = message(json!({ "content": "No.", "reasoning_content": VERDICT }));
        assert_eq!((other.text.as_str(), other.only_thought), ("No.", false));
    }

    #[test]
    fn of_several_choices_the_first_with_a_text_counts() {
        let choice = |index: u64, text: Value| json!({ "index": index, "message": { "content": text } });
        let read = |choices: Value| read_text(&json!({ "choices": choices }).to_string()).unwrap().text;
        assert_eq!(read(json!([choice(1, json!("b")), choice(0, json!("a"))])), "a");
        assert_eq!(read(json!([choice(0, Value::Null), choice(1, json!("b"))])), "b");
        assert_eq!(read(json!([choice(0, Value::Null)])), "");
        assert_eq!(read_text(r#"{"choices": []}"#), Err(FailureCause::Malformed));
    }

    #[test]
    fn fields_that_do_not_matter_do_not_cost_the_verdict() {
        let odd = r#"{"choices": [{"index": "0", "message": {"content": "a", "tool_calls": NaN}, "finish_reason": null,
            "logprobs": {"content": [{"token": "a", "bytes": null, "top_logprobs": null}, {"token": null}]}}],
            "usage": {"prompt_tokens": "many", "prompt_tokens": 3.5}, "id": "\ud83d", "error": null}"#;
        let answer = read_text(odd).unwrap();
        assert_eq!((answer.text.as_str(), answer.prompt_tokens, answer.tokens.len()), ("a", 0, 2));
        let twice = r#"{"choices": [{"message": {"content": "a", "content": "b"}}]}"#;
        assert_eq!(read_text(twice), Err(FailureCause::Malformed));
    }

    #[test]
    fn alternatives_without_a_probability_are_left_out() {
        let chat = r#"{"choices": [{"message": {"content": "1"}, "logprobs": {"content": [{"token": "1", "top_logprobs": [
            {"token": "1", "logprob": -0.5}, {"token": "0", "logprob": null}, {"token": "2", "logprob": -Infinity},
            {"token": "3", "logprob": "-inf"}, {"logprob": -1.0}]}]}}]}"#;
        let text = r#"{"choices": [{"text": "1", "logprobs": {"tokens": ["1"], "top_logprobs": [
            {"1": -0.5, "0": null, "2": -Infinity, "3": "-inf"}]}}]}"#;
        for body in [chat, text] {
            let expected = ReplyToken { text: "1".to_owned(), top: vec![("1".to_owned(), -0.5)] };
            assert_eq!(read_text(body).unwrap().tokens, [expected]);
        }
        let none = r#"{"choices": [{"text": "1", "logprobs": {"tokens": ["1"], "top_logprobs": null}}]}"#;
        assert_eq!(read_text(none).unwrap().tokens[0].top, []);
    }

    #[test]
    fn a_body_that_ends_early_is_a_broken_connection_unless_its_length_was_announced() {
        let read = |text: &str, announced| {
            let text = text.to_owned();
            let response =
                Response { status: StatusCode::OK, retry_after: None, text, announced, location: None };
            Answer::of(&response, "judge.base_url").unwrap_err().failure
        };
        assert_eq!(read("{\"choices\": [", false).cause, FailureCause::Connection);
        assert_eq!(read("{\"choices\": [", true).cause, FailureCause::Malformed);
        assert_eq!(read("<html>", false).cause, FailureCause::Malformed);
        assert_eq!(read(" ", true).cause, FailureCause::Connection);
        assert!(read("data: {}\n", true).message.starts_with("a stream of events"));
    }

    #[test]
    fn a_redirect_is_named_and_not_followed() {
        let response = Response {
            status: StatusCode::TEMPORARY_REDIRECT,
            retry_after: None,
            text: String::new(),
            announced: true,
            location: Some("https://b/v1".to_owned()),
        };
        let failure = Answer::of(&response, "judge.base_url").unwrap_err().failure;
        assert_eq!(failure.cause, FailureCause::Http4xx);
        assert!(failure.message.contains("redirects to https://b/v1, which is not followed"), "{failure}");
    }
}
