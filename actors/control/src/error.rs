//! The answer to a request that is refused: a status and one line.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use records::{ArmId, ChangeSummary};
use run::ChangeError;

/// Greatest length of a message, in characters.
const LONGEST_MESSAGE: usize = 4_000;

/// The body of every answer with an error status.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct Refusal {
    /// What is wrong, and what to do instead, in one line.
    pub error: String,
    /// The place in the formula, in characters from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// The line in the TOML of a reward, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The arms whose conditions have changed since the version that the request names in `If-Match`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<StaleArm>,
}

/// An arm whose conditions have changed since the client read them.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(super) struct StaleArm {
    #[serde(flatten)]
    pub id: ArmId,
    /// The version that the client knew.
    pub known: u64,
    /// The newest version: with it in `If-Match`, the change is made on top of `changes`.
    pub version: u64,
    /// The changes after the version that the client knew, oldest first.
    pub changes: Vec<ChangeSummary>,
}

/// A [`Refusal`] with its status.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    refusal: Refusal,
}

impl ApiError {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let error = one_line(&error.into());
        ApiError { status, refusal: Refusal { error, place: None, line: None, stale: Vec::new() } }
    }

    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub fn unauthorized(error: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    pub fn forbidden(error: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, error)
    }

    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error)
    }

    pub fn conflict(error: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, error)
    }

    pub fn failed(error: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error)
    }

    pub fn method(error: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, error)
    }

    /// The refusal for an arm that is not trained by rewards.
    pub fn not_rewarded(arm: &str) -> Self {
        Self::conflict(format!("arm `{arm}` is not trained by rewards"))
    }

    /// The refusal for a change that was not made.
    pub fn of_change(arm: &ArmId, error: &ChangeError) -> Self {
        let message = error.to_string();
        match error {
            ChangeError::Stale { known, newest, changes } => {
                let (id, changes) = (arm.clone(), changes.clone());
                Self::stale(message, vec![StaleArm { id, known: *known, version: *newest, changes }])
            }
            ChangeError::Exists { .. } => Self::conflict(message),
            ChangeError::Invalid { place, .. } => Self::bad(message).at(*place),
            ChangeError::Trial { .. } => Self::bad(message),
            ChangeError::Ended { .. } | ChangeError::NoRewards { .. } => Self::conflict(message),
            ChangeError::Unrecorded(_) | ChangeError::Panicked(_) | ChangeError::NoCheckpoint(_) => {
                Self::failed(message)
            }
        }
    }

    /// The refusal of a change that was made from a stale view.
    pub fn stale(error: impl Into<String>, stale: Vec<StaleArm>) -> Self {
        let mut refused = Self::conflict(error);
        refused.refusal.stale = stale;
        refused
    }

    /// The arms whose conditions have changed since the client read them.
    pub fn stale_arms(&self) -> &[StaleArm] {
        &self.refusal.stale
    }

    /// Adds the place in the formula, in characters from 0.
    pub fn at(mut self, place: Option<usize>) -> Self {
        self.refusal.place = place;
        self
    }

    /// Adds the line in the TOML of a reward, from 1.
    pub fn at_line(mut self, line: usize) -> Self {
        self.refusal.line = Some(line);
        self
    }

    pub fn into_refusal(self) -> Refusal {
        self.refusal
    }
}

/// A message in one line of bounded length, without characters that a terminal would obey. It may repeat what a client
/// sent.
fn one_line(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = records::visible(&line);
    let end = line.char_indices().nth(LONGEST_MESSAGE).map(|(end, _)| end);
    match end {
        Some(end) => format!("{}…", &line[..end]),
        None => line.into_owned(),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.refusal)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_bounded_line_that_no_terminal_obeys() {
        let error = ApiError::bad(format!("no `\u{1b}[2J\u{202e}`\n{}", "x".repeat(1_000_000)));
        let message = error.into_refusal().error;
        assert!(message.starts_with("no `\\u001b[2J\\u202e` xxx"), "{}", &message[..40]);
        assert_eq!(message.chars().count(), LONGEST_MESSAGE + 1);
    }
}
