//! What a server says when it does not answer: an error status, or an error in a body with status 200.
//!
//! Each server words its errors in its own way. [`Complaint::cause`] decides under which cause they are counted, and
//! so whether the request is sent again.

use rewards::FailureCause;
use serde_json::Value;

/// A server's complaint about a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Complaint {
    /// What the server says.
    pub message: String,
    /// The status, of the response or, with status 200, the one that the body names.
    pub status: Option<u16>,
    /// The parameter of the request that the server names, if any.
    param: String,
    /// All of it in lower case, with the error's code and type, to search for words.
    words: String,
}

/// Phrases for a prompt that does not fit into the model's context, in lower case.
const TOO_LONG: [&str; 15] = [
    "context length",
    "context_length",
    "context window",
    "context size",
    "exceed_context",
    "max_model_len",
    "maximum model length",
    "maximum input length",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "input too long",
    "string_above_max_length",
    "reduce the length",
    "`inputs` tokens + `max_new_tokens` must be",
];

/// Phrases for a prompt or a reply that a content filter stopped.
const FILTERED: [&str; 3] = ["content_filter", "content management policy", "responsibleai"];

/// Phrases for a model that takes no audio, in lower case: vLLM, SGLang, llama.cpp, OpenAI and routers word it differently.
const NO_AUDIO: [&str; 9] = [
    "audio",
    "multimodal",
    "multi-modal",
    "modalit",
    "mmproj",
    "content part",
    "content type",
    "unsupported content",
    "content must be a string",
];

/// Phrases for too many requests, if the server gives no status.
const BUSY: [&str; 6] = ["rate limit", "rate_limit", "too many requests", "overloaded", "quota", "throttl"];

/// Phrases for a request that would be turned down again, if the server gives no status.
const PERMANENT: [&str; 9] = [
    "invalid_request",
    "invalid request",
    "invalid_api_key",
    "api key",
    "authentication",
    "permission",
    "not found",
    "not_found",
    "unsupported",
];

impl Complaint {
    /// The complaint in a body; `None` if the body has none.
    pub fn in_body(body: &Value) -> Option<Self> {
        // Google's servers put the error into a list.
        let body = body.get(0).unwrap_or(body);
        let error = match &body["error"] {
            error if !is_absent(error) => error,
            _ if body["choices"].is_array() => choice_error(body)?,
            // An error without the usual key around it.
            _ => body,
        };
        let message = match error {
            Value::String(text) => text.clone(),
            _ => {
                let said = ["message", "detail", "msg", "errors"].iter().find_map(|key| said(&error[*key]));
                said.or_else(|| (error != body).then(|| error.to_string()))?
            }
        };
        let text = |key: &str| error[key].as_str().unwrap_or_default();
        let words = ["code", "type", "error_type", "status", "param"].map(text).join(" ");
        Some(Self {
            status: ["code", "status", "status_code"].iter().find_map(|key| status_of(&error[*key])),
            param: text("param").to_lowercase(),
            words: format!("{words} {message}").to_lowercase(),
            message,
        })
    }

    /// The complaint of a response with an error status, whatever its body is.
    pub fn of_status(status: u16, text: &str, body: Option<&Value>) -> Self {
        let plain = || Self { message: text.to_owned(), words: text.to_lowercase(), ..Self::default() };
        Self { status: Some(status), ..body.and_then(Self::in_body).unwrap_or_else(plain) }
    }

    /// Whether it has one of these words, in lower case.
    pub fn names(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.words.contains(word))
    }

    /// The cause under which the missing answer is counted. Without a status, an error that says nothing else may have
    /// passed when the request is sent again.
    pub fn cause(&self) -> FailureCause {
        match self.status {
            Some(408) => FailureCause::Timeout,
            Some(429) => FailureCause::Http429,
            Some(413) => FailureCause::TooLong,
            _ if self.names(&TOO_LONG) => FailureCause::TooLong,
            _ if self.names(&FILTERED) => FailureCause::Refused,
            Some(500..=599) => FailureCause::Http5xx,
            Some(_) => FailureCause::Http4xx,
            None if self.names(&BUSY) => FailureCause::Http429,
            None if self.names(&PERMANENT) => FailureCause::Http4xx,
            None => FailureCause::Http5xx,
        }
    }

    /// Whether the server says that it takes no audio; only of use for a request that has some. A clip that is too long or
    /// cannot be decoded is another complaint.
    pub fn refuses_audio(&self) -> bool {
        let about_the_clip = ["decod", "duration", "corrupt", "sample rate", "too long", "too large"];
        matches!(self.cause(), FailureCause::Http4xx | FailureCause::Http5xx)
            && self.status.is_some()
            && self.names(&NO_AUDIO)
            && !self.names(&about_the_clip)
    }

    /// Whether the server's complaint is about this field of the request: it names it as the parameter, or names no
    /// parameter and mentions it.
    pub fn is_about(&self, field: &str) -> bool {
        if self.param.is_empty() { self.words.contains(field) } else { self.param.contains(field) }
    }
}

/// The error in a choice, as routers to other servers report it.
fn choice_error(body: &Value) -> Option<&Value> {
    body["choices"].as_array()?.iter().map(|choice| &choice["error"]).find(|error| !is_absent(error))
}

/// Whether the value of `error` says that there is none.
fn is_absent(error: &Value) -> bool {
    matches!(error, Value::Null | Value::Bool(false)) || error == ""
}

/// A message: a text, or a list of what is wrong with the parts of the request.
fn said(message: &Value) -> Option<String> {
    match message {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) if !parts.is_empty() => {
            let part = |part: &Value| {
                let text = part["msg"].as_str().or(part["message"].as_str()).or(part.as_str())?;
                let place = part["loc"].as_array().into_iter().flatten();
                let place: Vec<String> =
                    place.map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)).collect();
                let colon = if place.is_empty() { "" } else { ": " };
                Some(format!("{}{colon}{text}", place.join(".")))
            };
            let parts: Vec<String> = parts.iter().filter_map(part).collect();
            (!parts.is_empty()).then(|| parts.join(", "))
        }
        Value::Object(inner) => said(inner.get("message")?),
        _ => None,
    }
}

/// An error status, written as a number or as its digits.
fn status_of(code: &Value) -> Option<u16> {
    let status = match code {
        Value::String(digits) => digits.parse().ok()?,
        _ => u16::try_from(code.as_u64()?).ok()?,
    };
    (400..600).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> FailureCause {
        Complaint::in_body(&body).unwrap_or_else(|| panic!("{body}")).cause()
    }

    #[test]
    fn errors_in_a_body_have_the_cause_that_they_name() {
        use FailureCause::*;
        for (body, cause) in [
            (json!({ "error": { "message": "Rate limit exceeded", "code": 429 } }), Http429),
            (json!({ "error": { "message": "slow down", "code": "rate_limit_exceeded" } }), Http429),
            (json!({ "choices": null, "error": { "message": "upstream gone", "code": 502 } }), Http5xx),
            (json!({ "choices": [{ "error": { "message": "gone", "code": "502" } }] }), Http5xx),
            (json!({ "error": "model is loading" }), Http5xx),
            (json!({ "error": {} }), Http5xx),
            (json!({ "error": { "message": "Incorrect API key", "type": "authentication_error" } }), Http4xx),
            (json!([{ "error": { "message": "bad", "code": 400, "status": "INVALID_ARGUMENT" } }]), Http4xx),
            (json!({ "object": "error", "message": "The model x does not exist", "code": 404 }), Http4xx),
            (json!({ "error": { "message": "filtered", "code": "content_filter" } }), Refused),
        ] {
            assert_eq!(read(body.clone()), cause, "{body}");
        }
        for body in [json!({ "choices": [] }), json!({ "error": "", "choices": [{}] }), json!(3), json!([])] {
            assert_eq!(Complaint::in_body(&body), None, "{body}");
        }
    }

    #[test]
    fn every_server_s_words_for_a_long_prompt_are_known() {
        for message in [
            "This model's maximum context length is 512 tokens. However, you requested 700 tokens.",
            "the request exceeds the available context size. try increasing the context size",
            "The decoder prompt (length 9000) is longer than the maximum model length of 4096.",
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
            "prompt is too long: 210000 tokens > 200000 maximum",
        ] {
            let body = json!({ "error": { "message": message, "code": 400 } });
            assert_eq!(read(body), FailureCause::TooLong, "{message}");
        }
        let coded = json!({ "error": { "message": "no", "code": "context_length_exceeded" } });
        assert_eq!(read(coded), FailureCause::TooLong);
        let both = json!({ "error": { "message": "max_tokens is too large: 64. This model's maximum context length \
            is 512", "code": 400, "param": "max_tokens" } });
        assert_eq!(read(both), FailureCause::TooLong);
        let busy = json!({ "error": { "message": "reduce the length or wait", "code": 429 } });
        assert_eq!(read(busy), FailureCause::Http429);
    }

    #[test]
    fn a_complaint_is_about_the_parameter_that_it_names_or_else_about_what_it_mentions() {
        let about = |message: &str, param: Option<&str>, field: &str| {
            let body = json!({ "error": { "message": message, "param": param } });
            Complaint::of_status(400, "", Some(&body)).is_about(field)
        };
        assert!(about("not seed", Some("temperature"), "temperature"));
        assert!(!about("not seed", Some("temperature"), "seed"));
        assert!(about("'seed' is not supported", None, "seed"));
        let detail = json!({ "detail": [{ "loc": ["body", "temperature"], "msg": "must be above 0" }] });
        let complaint = Complaint::of_status(422, "", Some(&detail));
        assert_eq!(complaint.message, "body.temperature: must be above 0");
        assert!(complaint.is_about("temperature"));
    }

    #[test]
    fn servers_refuse_audio_in_their_own_words() {
        let refuses = |status: u16, message: &str| {
            let body = json!({ "error": { "message": message } });
            Complaint::of_status(status, "", Some(&body)).refuses_audio()
        };
        for (status, message) in [
            (
                500,
                "audio input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
            ),
            (400, "Qwen/Qwen3-8B is not a multimodal model"),
            (400, "Unknown part type: input_audio"),
            (400, "At most 0 audio(s) may be provided in one request."),
            (422, "Invalid value: 'input_audio'. Supported content types are: 'text'"),
        ] {
            assert!(refuses(status, message), "{message}");
        }
        for (status, message) in [
            (400, "failed to decode audio"),
            (429, "audio quota"),
            (400, "temperature must be 1"),
            (503, "audio"),
        ] {
            assert_eq!(refuses(status, message), status == 503, "{message}");
        }
    }

    #[test]
    fn a_status_without_json_has_its_text_as_the_message() {
        let complaint = Complaint::of_status(502, "<html>Bad gateway</html>", None);
        assert_eq!(
            (complaint.cause(), complaint.message.as_str()),
            (FailureCause::Http5xx, "<html>Bad gateway</html>")
        );
        assert_eq!(Complaint::of_status(413, "", None).cause(), FailureCause::TooLong);
    }
}
