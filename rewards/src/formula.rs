//! The shaping formula, which combines components and weights into one reward.
//!
//! A scenario contains it as text, and it can be changed while a run is in progress. [`shape`](crate::shape) evaluates
//! it for every completion of a step. A formula consists of:
//!
//! - the names of components, and `w_NAME` for the weight of NAME; names with characters other than letters, digits and
//!   underscores are put in braces: `{my-reward}`, `{w_my-reward}`;
//! - numbers such as `2`, `0.5` and `1e-3`; `+ - * / ^` with their usual precedence; parentheses;
//! - `min(a, b, …)`, `max(a, b, …)`, `abs`, `exp`, `ln`, `sqrt`, `tanh`, `floor`, `ceil` and `round`.
//!
//! `scan` checks the text and reports mistakes in one line with their column. Then the `exmex` crate parses the
//! expression and evaluates it.
//!
//! Invariants, which the tests check:
//! - FORMULA-1 any text either is refused in one line or has its usual mathematical meaning. `-x^2` and `a^b^c`, whose
//!   meaning differs between programs, are refused.
//! - FORMULA-2 length and nesting are bounded, so that no formula overflows the stack or delays a step.
//! - FORMULA-3 a result that is not finite counts as missing.

use std::collections::BTreeMap;

use exmex::{Express, FlatEx};

use crate::Weights;

mod error;
mod factors;
mod operators;
mod scan;
pub mod terms;
mod token;

pub use error::{FormulaError, MAX_LENGTH, MAX_NESTING};
use operators::Operators;
pub use token::WEIGHT_PREFIX;
use token::{Slot, Token};

/// A formula that has been checked and parsed.
#[derive(Clone, Debug)]
pub struct Formula {
    text: String,
    expression: FlatEx<f64, Operators>,
    slots: Vec<Slot>,
    /// The text, token by token; [`terms`] takes it apart by them.
    tokens: Vec<Token>,
}

impl Formula {
    /// Checks and parses a formula. `components` and `weights` are the names it may use, weights without their `w_`.
    ///
    /// ```
    /// use rewards::Formula;
    ///
    /// let error = Formula::parse("0.5 * accuracy + w_fromat * format", ["accuracy", "format"], ["format"]);
    /// assert_eq!(
    ///     error.unwrap_err().to_string(),
    ///     "formula, column 18: unknown name `w_fromat`; did you mean `w_format`? \
    ///      (known: accuracy, format, w_format)",
    /// );
    /// ```
    ///
    /// Errors: The text is not a formula or uses an unknown name; the message names the column and
    /// what to write instead.
    pub fn parse<C, W>(text: &str, components: C, weights: W) -> Result<Self, FormulaError>
    where
        C: IntoIterator<Item: AsRef<str>>,
        W: IntoIterator<Item: AsRef<str>>,
    {
        let names = scan::Names::new(components, weights);
        let scan::Scanned { expression, slots, tokens } = scan::scan(text, &names)?;
        // Constant folding is skipped: numbers are variables here, so there are no constants.
        let expression = FlatEx::parse_wo_compile(&expression).map_err(|problem| FormulaError::Syntax {
            column: 1,
            problem: problem.msg().split_whitespace().collect::<Vec<_>>().join(" "),
        })?;
        Ok(Self { text: text.to_owned(), expression, slots, tokens })
    }

    /// The name as it is written in a formula: in braces if it needs them.
    pub fn name(name: &str) -> String {
        scan::written(name)
    }

    /// The text that was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of the components it uses, each once.
    pub fn component_names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Component(name) => Some(name.as_str()),
            Slot::Weight(_) | Slot::Number(_) => None,
        })
    }

    /// The names of the weights it uses, each once and without its `w_`.
    pub fn weight_names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Weight(name) => Some(name.as_str()),
            Slot::Component(_) | Slot::Number(_) => None,
        })
    }

    /// Evaluates it for one completion; `None` if a component or weight that it uses is missing or its value is
    /// not a finite number.
    pub fn eval(&self, components: &BTreeMap<String, f64>, weights: &Weights) -> Option<f64> {
        let mut bound = self.bind(weights)?;
        let row: Vec<Option<f64>> =
            self.component_names().map(|name| components.get(name).copied()).collect();
        bound.eval_with(|column| row[column])
    }

    /// Fills in the weights, for the evaluation of many completions; `None` if a weight is missing.
    pub(crate) fn bind(&self, weights: &Weights) -> Option<Bound<'_>> {
        let value_of = |slot: &Slot| match slot {
            Slot::Component(_) => Some(0.0),
            Slot::Weight(name) => weights.values.get(name).copied(),
            Slot::Number(number) => Some(*number),
        };
        let values = self.slots.iter().map(value_of).collect::<Option<Vec<f64>>>()?;
        let is_component = |slot: &usize| matches!(self.slots[*slot], Slot::Component(_));
        let columns = (0..self.slots.len()).filter(is_component).collect();
        Some(Bound { expression: &self.expression, values, columns })
    }
}

/// A formula with values for its weights.
pub(crate) struct Bound<'a> {
    expression: &'a FlatEx<f64, Operators>,
    values: Vec<f64>,
    /// Index in `values` of each component, in the order of [`Formula::component_names`].
    columns: Vec<usize>,
}

impl Bound<'_> {
    /// Evaluates the formula for one completion. `score` returns the score of a component, given the index of its name
    /// in the order of [`Formula::component_names`].
    pub(crate) fn eval_with(&mut self, score: impl Fn(usize) -> Option<f64>) -> Option<f64> {
        for (column, slot) in self.columns.iter().enumerate() {
            self.values[*slot] = score(column)?;
        }
        self.expression.eval(&self.values).ok().filter(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests;
