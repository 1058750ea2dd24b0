//! What a request is made of, and what a reply costs.

use std::sync::atomic::{AtomicU64, Ordering};

use rewards::JudgeFailure;
use serde_json::Value;

use crate::answer::Answer;
use crate::error::Failed;

/// A request that may be worded anew for each attempt.
pub trait Request: Send {
    /// The path of the endpoint behind `/v1`.
    fn path(&self) -> &'static str {
        "/chat/completions"
    }

    /// Length of the prompt in characters and longest reply in tokens, for the limit of tokens per minute.
    fn size(&self) -> (usize, usize);

    /// Asks for leave to send the next attempt.
    ///
    /// Errors: why it may not be sent; the request then fails with it.
    fn permit(&mut self) -> Result<(), JudgeFailure> {
        Ok(())
    }

    /// The body of the next attempt.
    fn body(&mut self) -> Value;

    /// Whether the request can do without what the server refuses. It is then sent again at once, which is no retry.
    fn adapt(&mut self, failed: &Failed) -> bool {
        let _ = failed;
        false
    }

    /// Whether it is in vain to send the request again.
    fn is_hopeless(&self, failed: &Failed) -> bool {
        !failed.failure.cause.is_transient()
    }

    /// Where retries are counted, so that the count survives a request that is given up.
    fn retries(&self) -> Option<&AtomicU64> {
        None
    }
}

/// An answer and what it took.
#[derive(Debug)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Attempts after the first.
    pub retries: u64,
}

/// A chat request with one body. It does without `seed` and with `max_completion_tokens` in place of `max_tokens` if the
/// server asks for that.
pub struct Plain {
    body: Value,
}

impl Plain {
    /// A request with this body, which has `max_tokens`.
    pub fn new(body: Value) -> Self {
        Self { body }
    }
}

/// Fields that a model may refuse to take and that a request can go without.
const OPTIONAL: [&str; 1] = ["seed"];

impl Request for Plain {
    fn size(&self) -> (usize, usize) {
        let texts = |content: &Value| match content {
            Value::String(text) => text.chars().count(),
            Value::Array(parts) => parts.iter().map(|part| part["text"].as_str().map_or(0, str::len)).sum(),
            _ => 0,
        };
        let turns = self.body["messages"].as_array().into_iter().flatten();
        let reply = self.body["max_tokens"].as_u64().or(self.body["max_completion_tokens"].as_u64());
        (turns.map(|turn| texts(&turn["content"])).sum(), reply.unwrap_or_default() as usize)
    }

    fn body(&mut self) -> Value {
        self.body.clone()
    }

    /// Some servers answer 500 if their model takes no audio.
    fn is_hopeless(&self, failed: &Failed) -> bool {
        !failed.failure.cause.is_transient() || failed.complaint.refuses_audio()
    }

    fn adapt(&mut self, failed: &Failed) -> bool {
        let complaint = &failed.complaint;
        let Some(body) = self.body.as_object_mut() else { return false };
        if failed.failure.cause != rewards::FailureCause::Http4xx {
            return false;
        }
        if complaint.names(&["max_completion_tokens"])
            && let Some(most) = body.remove("max_tokens")
        {
            body.insert("max_completion_tokens".to_owned(), most);
            return true;
        }
        let refused =
            OPTIONAL.into_iter().find(|field| body.contains_key(*field) && complaint.is_about(field));
        refused.is_some_and(|field| body.remove(field).is_some())
    }
}

/// Adds to a counter that may not be there.
pub(crate) fn count(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rewards::{FailureCause, JudgeFailure};
    use serde_json::json;

    use super::*;
    use crate::complaint::Complaint;

    fn refusal(message: &str) -> Failed {
        let body = json!({ "error": { "message": message } });
        Failed {
            failure: JudgeFailure::new(FailureCause::Http4xx, message),
            complaint: Complaint::of_status(400, "", Some(&body)),
            retry_after: None,
        }
    }

    #[test]
    fn a_request_does_without_what_the_server_refuses_once() {
        let mut request = Plain::new(json!({ "max_tokens": 7, "seed": 3, "temperature": 0.0 }));
        assert!(request.adapt(&refusal("use 'max_completion_tokens' instead of 'max_tokens'")));
        assert!(request.adapt(&refusal("Unknown parameter: 'seed'")));
        assert_eq!(request.body(), json!({ "max_completion_tokens": 7, "temperature": 0.0 }));
        for message in ["Unknown parameter: 'seed'", "max_completion_tokens is too large", "no audio"] {
            assert!(!request.adapt(&refusal(message)), "{message}");
        }
    }

    #[test]
    fn the_size_of_a_request_leaves_out_its_audio() {
        let parts = json!([{ "type": "text", "text": "abcd" }, { "type": "input_audio", "input_audio": {"data": "xx"} }]);
        let request =
            Plain::new(json!({ "max_tokens": 9, "messages": [{ "role": "user", "content": parts }] }));
        assert_eq!(request.size(), (4, 9));
    }
}
