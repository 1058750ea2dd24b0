//! Which key of `[judge]` would help after a server's complaint.

use chat::Complaint;
use rewards::FailureCause;

/// What to change in the scenario, if a key of `[judge]` would help. `newer_limit` says whether the request had
/// `max_completion_tokens`, `hears_clip` whether it had a clip.
pub fn advice(complaint: &Complaint, newer_limit: bool, hears_clip: bool) -> Option<&'static str> {
    let about = |field: &str| complaint.is_about(field);
    let unsupported = complaint.names(&["support", "unrecognized", "unknown", "not permitted", "unexpected"]);
    if hears_clip && complaint.refuses_audio() {
        return Some(
            "this model takes no audio: set judge.hears_clip = false, or judge.model to a model that hears",
        );
    }
    match complaint.cause() {
        FailureCause::TooLong if hears_clip => {
            return Some(
                "lower judge.clip_seconds or judge.max_chars, or give the server's model a longer context",
            );
        }
        FailureCause::TooLong => {
            return Some("lower judge.max_chars, or give the server's model a longer context");
        }
        FailureCause::Http4xx | FailureCause::Http5xx => {}
        _ => return None,
    }
    if about("temperature") {
        return Some("set judge.temperature to a value that this model accepts, such as 1");
    }
    if newer_limit && about("max_completion_tokens") {
        return Some(
            "leave out judge.max_completion_tokens, or correct it; judge.max_tokens is the older name",
        );
    }
    if !newer_limit && about("max_tokens") && (unsupported || complaint.names(&["max_completion_tokens"])) {
        return Some("set judge.max_completion_tokens, which is sent instead of judge.max_tokens");
    }
    if about("max_tokens") {
        return Some("correct judge.max_tokens");
    }
    if about("response_format") || about("json_schema") || about("grammar") {
        return Some("set judge.guided = \"none\"");
    }
    if about("logprobs") {
        return Some("set judge.scoring = \"text\"");
    }
    if complaint.names(&["model"]) && complaint.names(&["not found", "not_found", "not exist", "no such"]) {
        return Some("correct judge.model");
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_key_to_change_is_named() {
        let advice = |message: &str, param: Option<&str>, newer| {
            let body = json!({ "error": { "message": message, "param": param } });
            advice(&Complaint::of_status(400, "", Some(&body)), newer, false).unwrap_or_default()
        };
        let temperature = "Unsupported value: 'temperature' does not support 0 with this model.";
        assert!(advice(temperature, Some("temperature"), false).contains("judge.temperature"));
        assert!(advice(temperature, None, false).contains("judge.temperature"));
        let limit =
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.";
        for param in [Some("max_tokens"), None] {
            assert!(advice(limit, param, false).starts_with("set judge.max_completion_tokens"));
        }
        let newer = "Unknown parameter: max_completion_tokens";
        assert!(advice(newer, None, true).starts_with("leave out judge.max_completion_tokens"));
        assert_eq!(
            advice("max_tokens must be at most 16", Some("max_tokens"), false),
            "correct judge.max_tokens"
        );
        assert!(advice("'response_format.type' must be 'text'", None, false).contains("judge.guided"));
        assert_eq!(advice("The model `q` does not exist", None, false), "correct judge.model");
        let both = "max_tokens is too large: 64. This model's maximum context length is 512";
        assert!(advice(both, Some("max_tokens"), false).contains("judge.max_chars"));
        let no_audio = json!({ "error": { "message": "At most 0 audio(s) may be provided in one prompt." } });
        let heard =
            |hears_clip| super::advice(&Complaint::of_status(400, "", Some(&no_audio)), false, hears_clip);
        assert!(heard(true).unwrap().contains("set judge.hears_clip = false"));
        assert_eq!(heard(false), None);
    }
}
