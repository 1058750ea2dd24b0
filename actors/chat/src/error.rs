//! Why a server can't be asked, and why a request has no answer.

use rewards::JudgeFailure;

use crate::complaint::Complaint;

/// Why no server can be asked. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// A setting is missing or unusable.
    #[error("{0}")]
    Setting(String),
    /// No server can be used.
    #[error("{0}")]
    Server(String),
}

/// Why a request has no answer: the failure of its last attempt.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{failure}")]
pub struct Failed {
    /// The cause and a message that begins with the server's address.
    pub failure: JudgeFailure,
    /// What the server says about the request; empty if it says nothing.
    pub complaint: Complaint,
    /// The delay in the response's `Retry-After` header.
    pub(crate) retry_after: Option<std::time::Duration>,
}
