//! The error of a formula, and the limits on its size.

use thiserror::Error;

/// Largest length of a formula, in characters.
pub const MAX_LENGTH: usize = 2_000;

/// Largest depth to which parentheses and function calls may be nested.
pub const MAX_NESTING: usize = 32;

/// Why a text is not a formula. Columns are in characters, from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormulaError {
    /// The text is blank.
    #[error("the formula is empty; write for example `accuracy + 0.5 * format`")]
    Empty,
    /// The text is longer than [`MAX_LENGTH`].
    #[error("the formula has {length} characters; at most {MAX_LENGTH} are allowed")]
    TooLong {
        /// Number of characters of the text.
        length: usize,
    },
    /// Parentheses or calls are nested deeper than [`MAX_NESTING`].
    #[error("formula, column {column}: parentheses are nested deeper than {MAX_NESTING}")]
    TooDeep {
        /// Column of the parenthesis that exceeds the limit.
        column: usize,
    },
    /// A name is neither a component nor a weight nor a function.
    #[error("formula, column {column}: unknown {what} `{name}`{hint}")]
    UnknownName {
        /// Column of its first character.
        column: usize,
        /// The word for it in the message: `name` or `function`.
        what: &'static str,
        /// The unknown name, shortened to 40 characters.
        name: String,
        /// The most similar name and all known ones, from [`did_you_mean`](crate::did_you_mean).
        hint: String,
    },
    /// A name is both a component and the weight of another component.
    #[error(
        "formula, column {column}: `{name}` is both a component and the weight of one; rename the component"
    )]
    Ambiguous {
        /// Column of its first character.
        column: usize,
        /// The name with two meanings.
        name: String,
    },
    /// The text breaks another rule of the notation.
    #[error("formula, column {column}: {problem}")]
    Syntax {
        /// Column of the mistake.
        column: usize,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

impl FormulaError {
    /// Column of the mistake, in characters from 1; `None` if it concerns the text as a whole.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Empty | Self::TooLong { .. } => None,
            Self::TooDeep { column }
            | Self::UnknownName { column, .. }
            | Self::Ambiguous { column, .. }
            | Self::Syntax { column, .. } => Some(*column),
        }
    }
}
