//! The body of a request, and the verdict in its answer.

use chat::{Answer, excerpt};
use rewards::judge::logits::weigh;
use rewards::judge::prompt::{Asked, JudgePrompt, Scale, reply_schema};
use rewards::judge::reply::parse_reply;
use rewards::{FailureCause, JudgeFailure, Verdict};
use scenarios::OpenaiJudgeConfig;
use serde_json::{Map, Value, json};

use crate::clip::{SentClip, user_content};

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
        clip: Option<&SentClip>,
        replies: Option<&[String]>,
    ) -> Value {
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(settings.model));
        body.insert("temperature".to_owned(), json!(settings.temperature));
        // The newer name of the same limit; servers that support it reject both together.
        match settings.max_completion_tokens {
            Some(most) => body.insert("max_completion_tokens".to_owned(), json!(most)),
            None => body.insert("max_tokens".to_owned(), json!(settings.max_tokens)),
        };
        body.insert("stream".to_owned(), json!(false));
        match prompt {
            JudgePrompt::Chat { system, user } => {
                let turns = json!([
                    { "role": "system", "content": system },
                    { "role": "user", "content": user_content(user, clip) },
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
        if settings.extra.contains_key("max_completion_tokens") {
            body.remove("max_tokens");
        }
        for (key, value) in &settings.extra {
            // Every TOML value has a JSON form; dates become text.
            body.insert(key.clone(), serde_json::to_value(value).unwrap_or(Value::Null));
        }
        Value::Object(body)
    }

    /// Parses the verdict in an answer. `limit` is the key that limits the reply's length.
    pub fn verdict(&self, answer: &Answer, limit: &str) -> Result<Verdict, JudgeFailure> {
        check_answer(answer, limit)?;
        let cut_off = |message: &str| {
            JudgeFailure::new(FailureCause::Truncated, format!("cut off at {limit}: {message}"))
        };
        let verdict =
            parse_reply(&answer.text, self.asked, self.scale).map_err(|failure| match failure.cause {
                FailureCause::Malformed | FailureCause::Empty if answer.out_of_tokens => {
                    cut_off(&failure.message)
                }
                _ => failure,
            })?;
        // The digits of a bare number may go on after the cut; an object is complete.
        if answer.out_of_tokens && !answer.text.contains('}') {
            return Err(cut_off(&excerpt(&answer.text)));
        }
        Ok(if self.logprobs { weigh(verdict, &answer.tokens, self.asked) } else { verdict })
    }
}

/// Fails if the answer is a refusal, or is a thought without a reply. `limit` is the key that limits the reply's length.
pub fn check_answer(answer: &Answer, limit: &str) -> Result<(), JudgeFailure> {
    if answer.declined {
        let message = format!("declined: {}", excerpt(&answer.text));
        return Err(JudgeFailure::new(FailureCause::Refused, message));
    }
    if answer.only_thought {
        let (cause, what) = match answer.out_of_tokens {
            true => (FailureCause::Truncated, "was still thinking when its tokens ran out"),
            false => (FailureCause::Empty, "only thought and gave no reply"),
        };
        let message = format!("the judge {what}; raise {limit}, or turn its thinking off by judge.extra");
        return Err(JudgeFailure::new(cause, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: RequestForm =
        RequestForm { guided: true, logprobs: false, asked: Asked::Both, scale: Scale::Tenths };
    const VERDICT: &str = r#"{"consistent": 1, "quality": 1.0}"#;

    fn verdict(form: RequestForm, answer: Answer) -> Result<Verdict, FailureCause> {
        form.verdict(&answer, "judge.max_tokens").map_err(|failure| failure.cause)
    }

    #[test]
    fn a_refusal_is_no_verdict_even_if_it_contains_one() {
        let answer = Answer { text: VERDICT.to_owned(), declined: true, ..Answer::default() };
        assert_eq!(verdict(FORM, answer), Err(FailureCause::Refused));
    }

    #[test]
    fn what_was_cut_off_counts_only_if_it_is_complete() {
        let cut = |text: &str| Answer { text: text.to_owned(), out_of_tokens: true, ..Answer::default() };
        let quality = RequestForm { asked: Asked::Quality, ..FORM };
        assert!(verdict(FORM, cut(VERDICT)).is_ok());
        assert!(verdict(FORM, cut(&format!("{VERDICT}\nBecause the"))).is_ok());
        for (form, text) in [(FORM, "{\"consistent\": 1, \"qua"), (FORM, ""), (quality, "0"), (quality, "0.")]
        {
            assert_eq!(verdict(form, cut(text)), Err(FailureCause::Truncated), "{text}");
        }
        let whole = Answer { out_of_tokens: false, ..cut("0.8") };
        assert!(verdict(quality, whole).is_ok());
        let thought = |out_of_tokens| Answer { only_thought: true, out_of_tokens, ..Answer::default() };
        assert_eq!(verdict(FORM, thought(true)), Err(FailureCause::Truncated));
        assert_eq!(verdict(FORM, thought(false)), Err(FailureCause::Empty));
    }

    #[test]
    fn a_request_has_one_limit_of_its_reply() {
        let prompt = JudgePrompt::Text("Grade:".to_owned());
        let body = |change: fn(&mut OpenaiJudgeConfig)| {
            let mut settings = OpenaiJudgeConfig::default();
            change(&mut settings);
            FORM.body(&settings, &prompt, None, None)
        };
        let limits = |body: Value| [body["max_tokens"].as_u64(), body["max_completion_tokens"].as_u64()];
        assert_eq!(limits(body(|_| {})), [Some(64), None]);
        assert_eq!(limits(body(|settings| settings.max_completion_tokens = Some(9))), [None, Some(9)]);
        let extra = |settings: &mut OpenaiJudgeConfig| {
            settings.extra.insert("max_completion_tokens".to_owned(), 7.into());
        };
        assert_eq!(limits(body(extra)), [None, Some(7)]);
    }
}
