//! Why a text is not a formula.

use thiserror::Error;

/// The longest formula, in characters.
pub const MAX_LENGTH: usize = 2_000;

/// The deepest nesting of parentheses and function calls.
pub const MAX_NESTING: usize = 32;

/// Why a text is not a formula. Columns count characters from 1.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FormulaError {
    /// The text is empty or only white space.
    #[error("the formula is empty; write for example `accuracy + 0.5 * format`")]
    Empty,
    /// The text is longer than [`MAX_LENGTH`].
    #[error("the formula has {length} characters; {MAX_LENGTH} is the most")]
    TooLong {
        /// Its length in characters.
        length: usize,
    },
    /// Nested deeper than [`MAX_NESTING`].
    #[error("formula, column {column}: parentheses are nested deeper than {MAX_NESTING}")]
    TooDeep {
        /// The column of the first parenthesis beyond the limit.
        column: usize,
    },
    /// A name that is neither component nor weight nor function.
    #[error("formula, column {column}: unknown {what} `{name}`{hint}")]
    UnknownName {
        /// The column of its first character.
        column: usize,
        /// Either `name` or `function`.
        what: &'static str,
        /// The name as written, cut to 40 characters.
        name: String,
        /// The nearest name and the ones there are.
        hint: String,
    },
    /// A name that is both a component and a weight.
    #[error(
        "formula, column {column}: `{name}` is both a component and the weight of one; rename the component"
    )]
    Ambiguous {
        /// The column of its first character.
        column: usize,
        /// The name as written, cut to 40 characters.
        name: String,
    },
    /// Any other mistake, such as a missing operand.
    #[error("formula, column {column}: {problem}")]
    Syntax {
        /// The column of the first character that does not fit.
        column: usize,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

impl FormulaError {
    /// Where it is wrong, in characters from 1; `None` if it is wrong as a whole.
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
