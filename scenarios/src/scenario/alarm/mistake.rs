//! A mistake in the text of a condition or an action.

use rewards::FormulaError;

use super::super::words::name_advice;

/// What is wrong with a text, where, and what to write instead.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mistake {
    /// Column in the text, in characters from 1.
    pub(crate) column: usize,
    pub(crate) problem: String,
    pub(crate) instead: String,
    /// It is a number that this arm does not have; another arm may have it.
    pub(crate) is_unknown_number: bool,
}

impl Mistake {
    pub(crate) fn new(column: usize, problem: impl Into<String>, instead: impl Into<String>) -> Self {
        Mistake { column, problem: problem.into(), instead: instead.into(), is_unknown_number: false }
    }

    /// A name that the arm has no number of.
    pub(crate) fn unknown_number(column: usize, name: &str, known: &[String]) -> Self {
        let instead = match rewards::nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{}`?", rewards::Formula::name(near)),
            None => {
                "docs/metrics.md has the numbers of a step, and docs/alarms.md those of evaluations".into()
            }
        };
        Mistake {
            is_unknown_number: true,
            ..Mistake::new(column, format!("there is no number `{name}`"), instead)
        }
    }

    /// The mistake of a formula that begins after `before` characters of the text.
    pub(crate) fn of_formula(
        error: FormulaError,
        before: usize,
        known: &[String],
        functions: &[&str],
    ) -> Self {
        let column = before + error.column().unwrap_or(1);
        match error {
            FormulaError::UnknownName { what: "name", name, .. } => {
                Mistake::unknown_number(column, &name, known)
            }
            FormulaError::UnknownName { what, name, .. } => {
                let advice = name_advice(&name, functions.iter().copied(), "the functions are");
                Mistake::new(column, format!("unknown {what} `{name}`"), advice)
            }
            FormulaError::Empty => Mistake::new(
                column,
                "a side of the comparison is empty",
                "write for example `think_rate < 0.02`",
            ),
            FormulaError::Syntax { problem, .. } => match problem.split_once("; ") {
                Some((problem, instead)) => Mistake::new(column, problem, instead),
                None => Mistake::new(column, problem, "write for example `mean(reward, 10) > 0.5`"),
            },
            other => Mistake::new(column, other.to_string(), "write a shorter condition, or two alarms"),
        }
    }
}
