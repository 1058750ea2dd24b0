//! Why there is no completion, and why a server can't be used.

use crate::checks::Unusable;
use crate::problem::Problem;

/// Why an attempt has no completion.
pub(crate) enum Failed {
    /// The server failed.
    Server(String),
    /// The answer failed a check.
    Check(String),
    /// The server no longer has the clips.
    Clips(String),
    /// The server does not take such requests.
    Refused(String),
}

impl Failed {
    /// The server failed in this way.
    pub(crate) fn server(problem: Problem) -> Self {
        Failed::Server(problem.to_string())
    }
}

impl From<Unusable> for Failed {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            // It lost the version, or never had it.
            Unusable::AnotherModel(message) => Failed::Server(message),
            Unusable::Check(message) => Failed::Check(message),
        }
    }
}

/// Why a server can't be used.
pub(crate) enum Unready {
    /// It fails; it is tried again.
    Server(String),
    /// It computes or serves something else; somebody has to look.
    Wrong(String),
}

impl Unready {
    /// The server failed in this way.
    pub(crate) fn server(problem: Problem) -> Self {
        Unready::Server(problem.to_string())
    }

    /// Something has to be repaired by hand.
    pub(crate) fn wrong(problem: Problem) -> Self {
        Unready::Wrong(problem.to_string())
    }
}

impl From<Failed> for Unready {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Server(reason) | Failed::Clips(reason) => Unready::Server(reason),
            Failed::Check(reason) | Failed::Refused(reason) => Unready::Wrong(reason),
        }
    }
}
