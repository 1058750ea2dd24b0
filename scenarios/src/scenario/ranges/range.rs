//! Checks a single value and makes the error if it is out of its range.

use std::fmt::Display;

use crate::error::ScenarioError;
use crate::scenario::de::shown;
use crate::scenario::tree::Node;
use crate::scenario::words::leaf_name;

pub(super) type Checked = Result<(), ScenarioError>;

/// Checks values of a tree; an error gets the place of the value at a path.
pub(super) struct Ranges<'a>(pub(super) &'a Node);

impl Ranges<'_> {
    /// Requires a condition for the value at `path`, whose keys are separated by dots.
    pub(super) fn need(&self, good: bool, path: &str, value: impl Display, instead: &str) -> Checked {
        self.need_below("", good, path, value, instead)
    }

    pub(super) fn need_below(
        &self,
        within: &str,
        good: bool,
        path: &str,
        value: impl Display,
        instead: &str,
    ) -> Checked {
        if good {
            return Ok(());
        }
        let keys: Vec<&str> = path.split('.').collect();
        let full: Vec<&str> =
            within.split('.').filter(|key| !key.is_empty()).chain(keys.iter().copied()).collect();
        let value = value.to_string();
        let problem = format!("{} is {}", leaf_name(&full), shown(&value, &full));
        Err(ScenarioError::at(self.0.place_of(&keys), problem, format!("write {instead}")))
    }

    pub(super) fn at_least_one(&self, value: usize, path: &str) -> Checked {
        self.need(value >= 1, path, value, "1 or more")
    }

    pub(super) fn positive(&self, value: f64, path: &str) -> Checked {
        self.need(value > 0.0 && value.is_finite(), path, number(value), "a number above 0")
    }

    pub(super) fn not_negative(&self, value: f64, path: &str) -> Checked {
        self.need(value >= 0.0 && value.is_finite(), path, number(value), "0 or more")
    }

    pub(super) fn fraction(&self, value: f64, path: &str) -> Checked {
        self.need((0.0..=1.0).contains(&value), path, number(value), "a number from 0 to 1")
    }
}

/// A number for messages, in its shortest form: `0.5`, `1e-7`, `2`.
pub(super) fn number(value: f64) -> String {
    format!("{value:?}").trim_end_matches(".0").to_owned()
}

/// A text in quotes, for messages.
pub(super) fn text(value: &str) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_their_shortest_form() {
        assert_eq!([number(2.0), number(-0.5), number(1e-7)], ["2", "-0.5", "1e-7"]);
    }
}
