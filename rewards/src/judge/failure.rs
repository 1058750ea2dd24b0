//! The causes of a missing verdict.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The cause under which a missing verdict is counted in `judge_failures` of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// The reply was not complete within the time limit.
    Timeout,
    /// No server could be reached, or the connection broke.
    Connection,
    /// The server refused the request because of its rate limit (status 429). This and the next two causes also count
    /// errors in a body with status 200, by the status that they name.
    #[serde(rename = "http_429")]
    Http429,
    /// The server failed (status 500-599).
    #[serde(rename = "http_5xx")]
    Http5xx,
    /// The server refused the request (any other status).
    #[serde(rename = "http_4xx")]
    Http4xx,
    /// The reply was empty.
    Empty,
    /// The reply was cut off before it had a verdict.
    Truncated,
    /// The prompt is longer than the judge's context.
    TooLong,
    /// The judge declined to judge.
    Refused,
    /// The reply did not have the required form, or had several verdicts.
    Malformed,
    /// The reply had a grade outside its scale.
    OutOfRange,
    /// The judge could not decide, as the rules often cannot about free text.
    Undecided,
    /// Fewer members of a panel than its quorum gave a verdict.
    NoQuorum,
    /// The row has no rubric that can be used.
    NoRubric,
    /// The row has no caption that can be used.
    NoCaption,
    /// The judge hears clips, and this one could not be had.
    NoClip,
    /// The run's budget for its judges is spent.
    Budget,
    /// The judge itself failed, for example for lack of memory.
    Panicked,
}

impl FailureCause {
    /// All causes, in the order of their declaration.
    pub const ALL: [Self; 18] = [
        Self::Timeout,
        Self::Connection,
        Self::Http429,
        Self::Http5xx,
        Self::Http4xx,
        Self::Empty,
        Self::Truncated,
        Self::TooLong,
        Self::Refused,
        Self::Malformed,
        Self::OutOfRange,
        Self::Undecided,
        Self::NoQuorum,
        Self::NoRubric,
        Self::NoCaption,
        Self::NoClip,
        Self::Budget,
        Self::Panicked,
    ];

    /// The name of the cause in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Http429 => "http_429",
            Self::Http5xx => "http_5xx",
            Self::Http4xx => "http_4xx",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::TooLong => "too_long",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::OutOfRange => "out_of_range",
            Self::Undecided => "undecided",
            Self::NoQuorum => "no_quorum",
            Self::NoRubric => "no_rubric",
            Self::NoCaption => "no_caption",
            Self::NoClip => "no_clip",
            Self::Budget => "budget",
            Self::Panicked => "panicked",
        }
    }

    /// Whether the same request may succeed if it is sent again. It may if the server or the connection failed, but not
    /// if the judge itself did.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Timeout | Self::Connection | Self::Http429 | Self::Http5xx)
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The reason why a completion has no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {message}")]
pub struct JudgeFailure {
    /// The cause under which it is counted.
    pub cause: FailureCause,
    /// Details in one line, for warnings and notes.
    pub message: String,
}

impl JudgeFailure {
    /// A failure with this cause and message.
    pub fn new(cause: FailureCause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_written_by_its_name() {
        for cause in FailureCause::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{cause}\""));
        }
    }
}
