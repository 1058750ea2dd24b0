//! What can be wrong with the parameters or the saved state of an optimizer.

use tch::Kind;

/// A parameter that cannot be trained, or a saved state that does not belong to the parameters.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum OptimError {
    #[error("parameter `{name}` is {kind:?}; train it in Float, BFloat16 or Half")]
    Kind { name: String, kind: Kind },
    #[error("two parameters are called `{name}`; state is kept by name, so give each its own")]
    Duplicate { name: String },
    #[error("the optimizer state has no `{name}`; it was saved for other parameters or in another dtype")]
    Missing { name: String },
    #[error(
        "the optimizer state has `{name}`, which belongs to no parameter here; it was saved for other parameters"
    )]
    Unexpected { name: String },
    #[error("optimizer state `{name}` has shape {found:?}, its parameter {expected:?}")]
    Shape { name: String, expected: Vec<i64>, found: Vec<i64> },
    #[error("optimizer state `{name}` cannot be read: {source}")]
    Torch { name: String, source: tch::TchError },
}
