//! Request and response bodies: the part of OpenAI's API that all supported servers implement.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use rewards::judge::logits::{ReplyToken, weigh};
use rewards::judge::prompt::{Asked, JudgePrompt, Scale, reply_schema};
use rewards::judge::reply::parse_reply;
use rewards::{FailureCause, JudgeFailure, Verdict};
use scenarios::OpenaiJudgeConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::JudgeError;

/// Longest response body that is read.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// Alternatives requested per token: the most that OpenAI's own servers return.
const ALTERNATIVES: u32 = 20;

/// The form of a request and of its reply.
#[derive(Clone, Copy)]
pub struct RequestForm {
    /// Whether the reply is constrained by a JSON Schema or a grammar.
    pub guided: bool,
    /// Whether the reply's tokens come with log-probabilities.
    pub logprobs: bool,
    pub asked: Asked,
    pub scale: Scale,
}

impl RequestForm {
    /// The body of a request. If `replies` is set, a guided request allows exactly these texts by a grammar, which
    /// llama.cpp supports. It accepts no schema for text completions, and a schema allows white space, with which small
    /// models fill their replies.
    pub fn body(
        &self,
        settings: &OpenaiJudgeConfig,
        prompt: &JudgePrompt,
        replies: Option<&[String]>,
    ) -> Value {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(settings.model));
        body.insert("temperature".to_owned(), json!(settings.temperature));
        body.insert("max_tokens".to_owned(), json!(settings.max_tokens));
        body.insert("stream".to_owned(), json!(false));
        match prompt {
            JudgePrompt::Chat { system, user } => {
                let turns = json!([
                    { "role": "system", "content": system },
                    { "role": "user", "content": user },
                ]);
                body.insert("messages".to_owned(), turns);
                if self.logprobs {
                    body.insert("logprobs".to_owned(), json!(true));
                    body.insert("top_logprobs".to_owned(), json!(ALTERNATIVES));
                }
            }
            JudgePrompt::Text(text) => {
                body.insert("prompt".to_owned(), json!(text));
                // Without a stop text, a base model would continue with the next example. A free verdict ends with its
                // line, as in the examples. One by a schema may span several lines, but contains no tag.
                body.insert("stop".to_owned(), json!([if self.guided { "<" } else { "\n" }]));
                if self.logprobs {
                    body.insert("logprobs".to_owned(), json!(ALTERNATIVES));
                }
            }
        }
        if let Some(replies) = replies.filter(|_| self.guided) {
            // The grammar's literals are quoted and escaped like JSON strings.
            let replies: Vec<String> = replies.iter().map(|reply| json!(reply).to_string()).collect();
            body.insert("grammar".to_owned(), json!(format!("root ::= {}", replies.join(" | "))));
        } else if self.guided {
            let schema = reply_schema(self.asked, self.scale);
            let format = json!({
                "type": "json_schema",
                "json_schema": { "name": "verdict", "strict": true, "schema": schema },
            });
            body.insert("response_format".to_owned(), format);
        }
        // The newer name of the same limit; servers that support it reject both together.
        if settings.extra.contains_key("max_completion_tokens") {
            body.remove("max_tokens");
        }
        for (key, value) in &settings.extra {
            // Every TOML value has a JSON form; dates become text.
            body.insert(key.clone(), serde_json::to_value(value).unwrap_or(Value::Null));
        }
        Value::Object(body)
    }

    /// Parses the verdict in an answer.
    pub fn verdict(&self, answer: &Answer) -> Result<Verdict, JudgeFailure> {
        if answer.declined {
            let message = format!("declined: {}", excerpt(&answer.text));
            return Err(JudgeFailure::new(FailureCause::Refused, message));
        }
        let verdict = parse_reply(&answer.text, self.asked, self.scale).map_err(|failure| {
            let cut_off = matches!(failure.cause, FailureCause::Malformed | FailureCause::Empty);
            if answer.out_of_tokens && cut_off {
                let message = format!("cut off at judge.max_tokens: {}", failure.message);
                return JudgeFailure::new(FailureCause::Truncated, message);
            }
            failure
        })?;
        Ok(if self.logprobs { weigh(verdict, &answer.tokens, self.asked) } else { verdict })
    }
}

/// A server's response, parsed.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// The text of the reply, or of the refusal.
    pub text: String,
    /// Whether the model refused, or the server's content filter stopped it.
    pub declined: bool,
    /// Whether the reply was cut off at `max_tokens`.
    pub out_of_tokens: bool,
    /// The reply's tokens with their alternatives; empty unless log-probabilities were requested.
    pub tokens: Vec<ReplyToken>,
    pub prompt_tokens: u64,
    pub reply_tokens: u64,
}

impl Answer {
    /// Parses the body of a response. Fails with [`JudgeError::Answer`] if it is not one of this API.
    pub fn read(body: &[u8]) -> Result<Self, JudgeError> {
        let not_an_answer =
            |what: String| JudgeError::Answer(format!("{what}: {}", excerpt(&String::from_utf8_lossy(body))));
        let reply: Reply = serde_json::from_slice(body)
            .map_err(|error| not_an_answer(format!("not a response of OpenAI's API ({error})")))?;
        let Some(choice) = reply.choices.into_iter().next() else {
            return Err(not_an_answer("a response without choices".to_owned()));
        };
        let usage = reply.usage.unwrap_or_default();
        let message = choice.message.unwrap_or_default();
        let refusal = message.refusal.filter(|refusal| !refusal.is_empty());
        let finish = choice.finish_reason.unwrap_or_default();
        Ok(Self {
            declined: refusal.is_some() || finish == "content_filter",
            text: refusal.or(message.content).or(choice.text).unwrap_or_default(),
            out_of_tokens: finish == "length",
            tokens: choice.logprobs.map(Logprobs::tokens).unwrap_or_default(),
            prompt_tokens: usage.prompt_tokens.unwrap_or(0),
            reply_tokens: usage.completion_tokens.unwrap_or(0),
        })
    }
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<UsageField>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    text: Option<String>,
    finish_reason: Option<String>,
    logprobs: Option<Logprobs>,
}

#[derive(Default, Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Default, Deserialize)]
struct UsageField {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

/// `/chat/completions` returns `content`, `/completions` returns `tokens` and `top_logprobs`.
#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<TokenField>>,
    tokens: Option<Vec<String>>,
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

#[derive(Deserialize)]
struct TokenField {
    token: String,
    #[serde(default)]
    top_logprobs: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    token: String,
    logprob: f64,
}

impl Logprobs {
    fn tokens(self) -> Vec<ReplyToken> {
        if let Some(content) = self.content {
            let token = |field: TokenField| ReplyToken {
                text: field.token,
                top: field.top_logprobs.into_iter().map(|other| (other.token, other.logprob)).collect(),
            };
            return content.into_iter().map(token).collect();
        }
        let mut tops = self.top_logprobs.unwrap_or_default().into_iter();
        let top = |top: Option<Option<Map<String, Value>>>| {
            let alternatives = top.flatten().unwrap_or_default().into_iter();
            alternatives.filter_map(|(token, logprob)| Some((token, logprob.as_f64()?))).collect()
        };
        let tokens = self.tokens.unwrap_or_default().into_iter();
        tokens.map(|text| ReplyToken { text, top: top(tops.next()) }).collect()
    }
}

/// The delay in the `Retry-After` header, if it is a number of seconds.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Whether the response to `/models` is from llama.cpp.
pub fn is_llama_cpp(body: &[u8]) -> bool {
    let list: Option<Value> = serde_json::from_slice(body).ok();
    list.is_some_and(|list| list["data"][0]["owned_by"] == "llamacpp")
}

/// The models that the response to `/models` lists.
pub fn model_names(body: &[u8]) -> Option<Vec<String>> {
    let list: Value = serde_json::from_slice(body).ok()?;
    let names = list.get("data")?.as_array()?.iter();
    Some(names.filter_map(|model| Some(model.get("id")?.as_str()?.to_owned())).collect())
}

/// An error and its causes, in one line.
pub fn error_chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// The first 300 characters of a text, in one line.
pub fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(Answer::read(chat.to_string().as_bytes()).unwrap(), expected);
        let text = json!({
            "choices": [{
                "text": "{}", "finish_reason": "length",
                "logprobs": { "tokens": ["{}"], "top_logprobs": [{ "{": -2.5 }] },
            }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 1 },
        });
        let expected = Answer { out_of_tokens: true, ..expected };
        assert_eq!(Answer::read(text.to_string().as_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_refusal_is_no_verdict_even_if_it_contains_one() {
        let form = RequestForm { guided: true, logprobs: false, asked: Asked::Both, scale: Scale::Tenths };
        let verdict = r#"{"consistent": 1, "quality": 1.0}"#;
        let refusals = [
            json!({ "choices": [{ "message": { "content": null, "refusal": verdict } }] }),
            json!({ "choices": [{ "message": { "content": verdict }, "finish_reason": "content_filter" }] }),
        ];
        for refusal in refusals {
            let answer = Answer::read(refusal.to_string().as_bytes()).unwrap();
            assert_eq!(form.verdict(&answer).unwrap_err().cause, FailureCause::Refused);
        }
    }
}
