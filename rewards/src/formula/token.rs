//! The tokens of a formula.

use std::ops::Range;

/// The prefix of a weight's name in a formula: the weight of `think` is written `w_think`.
pub const WEIGHT_PREFIX: &str = "w_";

/// The meaning of a variable of the expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Slot {
    /// A component, by its name.
    Component(String),
    /// A weight, by its name without [`WEIGHT_PREFIX`].
    Weight(String),
    /// A number as it is written in the text.
    Number(f64),
}

/// One token of the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// Its place in the text, in characters from 0.
    pub(super) range: Range<usize>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A name or a number, as an index into the formula's slots.
    Operand(usize),
    /// A `+` or `-` in front of an operand.
    Sign(char),
    /// An operator between two operands.
    Operator(char),
    /// A parenthesis that groups.
    Open,
    /// A function's name with its opening parenthesis.
    Call,
    /// A comma between the arguments of a function.
    Comma,
    /// The parenthesis that closes a group or a call.
    Close,
}
