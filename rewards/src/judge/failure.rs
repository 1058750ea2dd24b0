//! Why a verdict could not be had.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The causes under which missing verdicts are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// No whole reply within the time allowed.
    Timeout,
    /// No server answered, or the connection broke.
    Connection,
    /// The server turned the request away for coming too often (429).
    #[serde(rename = "http_429")]
    Http429,
    /// The server failed (500-599).
    #[serde(rename = "http_5xx")]
    Http5xx,
    /// The server did not accept the request (any other status).
    #[serde(rename = "http_4xx")]
    Http4xx,
    /// The reply was empty.
    Empty,
    /// The reply was cut off before it held a verdict.
    Truncated,
    /// The prompt is longer than what the judge reads.
    TooLong,
    /// The judge declined to judge.
    Refused,
    /// The reply was not the structure asked for, or held more than one verdict.
    Malformed,
    /// The reply held a score that is not on the scale.
    OutOfRange,
    /// The judge looked and could not tell.
    Undecided,
    /// Too few members of a panel had a verdict.
    NoQuorum,
    /// The judge itself broke down.
    Panicked,
}

impl FailureCause {
    /// Every cause.
    pub const ALL: [Self; 14] = [
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
        Self::Panicked,
    ];

    /// The name in metrics.
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
            Self::Panicked => "panicked",
        }
    }

    /// Whether the same request may well succeed if it is made again: the server or the way to it failed, not
    /// what the judge said.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Timeout | Self::Connection | Self::Http429 | Self::Http5xx)
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A verdict that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {message}")]
pub struct JudgeFailure {
    /// What it is counted under.
    pub cause: FailureCause,
    /// One line for people.
    pub message: String,
}

impl JudgeFailure {
    /// A failure of this cause.
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
