//! Why a query about a run's records has no answer.

use std::io;
use std::path::PathBuf;

use super::error::ApiError;

/// A query for metrics or rollouts that can't be answered. One line each.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    #[error("there is no field `{field}`; the fields are {known}")]
    UnknownField { field: String, known: String },
    #[error("cannot sort by `{sort}`; sort by {known}")]
    UnknownSort { sort: String, known: String },
    #[error("the search text has more than {most} characters; shorten it")]
    SearchTooLong { most: usize },
    #[error("cannot search for this text: {0}")]
    Search(#[from] regex::Error),
    #[error("{}: cannot be read: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Read { .. } => ApiError::failed(error.to_string()),
            QueryError::UnknownField { .. }
            | QueryError::UnknownSort { .. }
            | QueryError::SearchTooLong { .. }
            | QueryError::Search(_) => ApiError::bad(error.to_string()),
        }
    }
}
