//! Factors that are reward components: each arm's formula is the scenario's, without those that are off.

use rewards::{Formula, FormulaError};
use toml::Value;

use crate::error::ScenarioError;
use crate::scenario::tree::{Content, Node};

/// A component that is off in an arm.
pub(super) struct Off<'a> {
    pub(super) component: &'a str,
    /// What stands in its place; `None` if its terms are left out.
    pub(super) instead: Option<&'a str>,
}

/// The formula of an arm, read with the names that the arm has.
///
/// Errors: the text is no formula, at its place.
pub(super) fn formula_of(arm: &Node) -> Result<Formula, ScenarioError> {
    let text = arm.at(&["shaping"]).and_then(|shaping| shaping.text("formula")).unwrap_or_default();
    parse(arm, text).map_err(|error| {
        let message = error.to_string();
        let (problem, instead) = message.split_once("; ").unwrap_or((&message, "correct the formula"));
        ScenarioError::at(arm.place_of(&["shaping", "formula"]), problem, instead)
    })
}

/// Reads a formula over the rewards and weights of an arm.
pub(super) fn parse(arm: &Node, text: &str) -> Result<Formula, FormulaError> {
    Formula::parse(text, names(arm, &["rewards"]), names(arm, &["shaping", "weights"]))
}

/// The keys of the table at a path.
pub(super) fn names<'a>(arm: &'a Node, path: &[&str]) -> Vec<&'a str> {
    let table = arm.at(path).and_then(Node::as_table);
    table.into_iter().flat_map(|table| table.keys().map(String::as_str)).collect()
}

/// Gives an arm the formula without the components that are off.
///
/// Errors: [`ScenarioError::Value`] if nothing of it is left.
pub(super) fn take_off(arm: &mut Node, off: &[Off<'_>]) -> Result<(), ScenarioError> {
    if off.is_empty() {
        return Ok(());
    }
    let whole = formula_of(arm)?;
    let mut text = whole.text().to_owned();
    // Those that are replaced come last, so that what replaces them stays.
    let (removed, replaced): (Vec<&Off<'_>>, Vec<&Off<'_>>) =
        off.iter().partition(|off| off.instead.is_none());
    for Off { component, instead } in removed.into_iter().chain(replaced) {
        let Ok(formula) = parse(arm, &text) else { continue };
        text = match instead {
            Some(instead) => formula.with_instead_of(component, instead),
            None => formula.without_component(component),
        };
    }
    let left = parse(arm, &text).map_err(|error| {
        ScenarioError::value(format!("the formula would be `{text}`: {error}"), "write a shorter formula")
    })?;
    if left.component_names().next().is_none() {
        return Err(ScenarioError::value(
            "nothing is left of the formula with every factor off",
            "give one of its components no factor, or its factor an `instead`",
        ));
    }
    if let Content::Table(sections) = &mut arm.content
        && let Some(shaping) = sections.get_mut("shaping")
        && let Content::Table(shaping) = &mut shaping.node.content
        && let Some(entry) = shaping.get_mut("formula")
    {
        entry.node.content = Content::Scalar(Value::String(text));
    }
    Ok(())
}
