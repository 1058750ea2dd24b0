//! The shaping formula: how components and weights become one reward.
//!
//! A scenario writes it as text, a researcher may change it while a run goes on; [`shape`](crate::shape)
//! evaluates it for every completion of a step. What may stand in it:
//!
//! - the names of components, and `w_NAME` for the weight of NAME; in braces if a name has other characters
//!   than letters, digits and underscores: `{my-reward}`, `{w_my-reward}`;
//! - numbers: `2`, `0.5`, `1e-3`; `+ - * / ^` with their usual precedence; parentheses;
//! - `min(a, b, …)`, `max(a, b, …)`, `abs`, `exp`, `ln`, `sqrt`, `tanh`, `floor`, `ceil`, `round`.
//!
//! `scan` checks the text and says in one line, with the column, what is wrong; the expression itself is
//! parsed and evaluated by the `exmex` crate.
//!
//! Invariants:
//! - FORMULA-1 any text is either refused in one line or evaluates as it reads: `-x^2` and `a^b^c`, on which
//!   readers and programs disagree, are refused.
//! - FORMULA-2 text length and nesting are bounded, so that no formula exhausts the stack or the time of a
//!   step.
//! - FORMULA-3 a result that is not finite is no result.

use std::collections::BTreeMap;

use exmex::{Express, FlatEx};

use crate::Weights;

mod error;
mod operators;
mod scan;
pub mod terms;
mod token;

pub use error::{FormulaError, MAX_LENGTH, MAX_NESTING};
use operators::Operators;
pub use token::WEIGHT_PREFIX;
use token::{Slot, Token};

/// A checked formula.
#[derive(Clone, Debug)]
pub struct Formula {
    text: String,
    expression: FlatEx<f64, Operators>,
    slots: Vec<Slot>,
    /// The text, token by token; [`terms`] takes it apart by them.
    tokens: Vec<Token>,
}

impl Formula {
    /// Checks and parses a formula over these components and weights (weights without their `w_`).
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
    /// # Errors
    /// It is not a formula, or names what is not there; one line says where and what to write instead.
    pub fn parse<C, W>(text: &str, components: C, weights: W) -> Result<Self, FormulaError>
    where
        C: IntoIterator<Item: AsRef<str>>,
        W: IntoIterator<Item: AsRef<str>>,
    {
        let names = scan::Names::new(components, weights);
        let scan::Scanned { expression, slots, tokens } = scan::scan(text, &names)?;
        // Not compiled: exmex's constant folding has nothing to fold, for numbers are variables here.
        let expression = FlatEx::parse_wo_compile(&expression).map_err(|problem| FormulaError::Syntax {
            column: 1,
            problem: problem.msg().split_whitespace().collect::<Vec<_>>().join(" "),
        })?;
        Ok(Self { text: text.to_owned(), expression, slots, tokens })
    }

    /// A name as a formula has it: in braces if it needs them.
    pub fn name(name: &str) -> String {
        scan::written(name)
    }

    /// The text it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The components it uses.
    pub fn component_names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Component(name) => Some(name.as_str()),
            Slot::Weight(_) | Slot::Number(_) => None,
        })
    }

    /// The weights it uses, without their `w_`.
    pub fn weight_names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Weight(name) => Some(name.as_str()),
            Slot::Component(_) | Slot::Number(_) => None,
        })
    }

    /// Its value for one completion; `None` if a component or weight it uses is missing or the value is not
    /// finite.
    pub fn eval(&self, components: &BTreeMap<String, f64>, weights: &Weights) -> Option<f64> {
        let mut bound = self.bind(weights)?;
        let row: Vec<Option<f64>> =
            self.component_names().map(|name| components.get(name).copied()).collect();
        bound.eval_with(|column| row[column])
    }

    /// The formula with its weights filled in, to be evaluated for many completions; `None` if a weight is
    /// missing.
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

/// A formula whose weights are filled in.
pub(crate) struct Bound<'a> {
    expression: &'a FlatEx<f64, Operators>,
    values: Vec<f64>,
    /// The slot of each component, in the order of [`Formula::component_names`].
    columns: Vec<usize>,
}

impl Bound<'_> {
    /// The value for one row, given the score of each component by its place in [`Formula::component_names`].
    pub(crate) fn eval_with(&mut self, score: impl Fn(usize) -> Option<f64>) -> Option<f64> {
        for (column, slot) in self.columns.iter().enumerate() {
            self.values[*slot] = score(column)?;
        }
        self.expression.eval(&self.values).ok().filter(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests;
