//! Parses `--set a.b=c`, a setting from the command line.

use toml::Value;

use super::secret;
use super::tree::{Content, Entry, Node, Table};
use crate::error::{Place, ScenarioError};

/// The keys that select a variant of their section, or on which others of its keys depend.
const TAGS: [&str; 3] = ["kind", "train", "schedule"];

/// A setting from a `--set` argument.
#[derive(Debug)]
pub(crate) struct Override {
    /// The arm that it applies to; `None` for all arms.
    pub(crate) arm: Option<String>,
    /// A tree with its value only.
    pub(crate) tree: Node,
    /// Whether it sets one of [`TAGS`].
    pub(crate) is_tag: bool,
}

/// Parses `a.b=c` or `arm.NAME.a.b=c`. A value that is not TOML is a text.
///
/// Errors: there is no `=`, a key is empty, the arm does not exist, or the value is a secret.
pub(crate) fn parse(argument: &str, arms: &[String]) -> Result<Override, ScenarioError> {
    let value = argument.split_once('=').map_or(Value::Boolean(true), |(_, value)| parse_value(value.trim()));
    // The message of a mistake shows the argument without a text, which may be a secret (SECRET-2).
    let place = Place::Argument(format!("--set {}", secret::shown_setting(argument, &value)));
    let Some((path, _)) = argument.split_once('=') else {
        return Err(ScenarioError::at(&place, "there is no `=`", "write --set section.key=value"));
    };
    let (arm, path) = split_arm(path.trim(), arms, &place)?;
    let keys: Vec<&str> = path.split('.').map(str::trim).collect();
    if keys.iter().any(|key| key.is_empty()) {
        return Err(ScenarioError::at(&place, "a key is empty", "write --set section.key=value"));
    }
    let tree = nested(&keys, value, &place);
    secret::refuse(&tree)?;
    let is_tag = keys.last().is_some_and(|key| TAGS.contains(key));
    Ok(Override { arm, tree, is_tag })
}

/// A value below a path of keys.
pub(super) fn nested(keys: &[&str], value: Value, place: &Place) -> Node {
    keys.iter().rev().fold(Node::from_value(value, place), |node, key| {
        let entry = Entry { key_place: place.clone(), node };
        Node { place: place.clone(), content: Content::Table(Table::from([((*key).to_owned(), entry)])) }
    })
}

/// A command line as it is stored with a run: values of `--set` that contain a secret are left out (SECRET-1).
pub fn storable_arguments(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut follows_set = false;
    let storable = |argument: String| {
        let is_value = std::mem::replace(&mut follows_set, argument == "--set");
        let (flag, setting) = match argument.strip_prefix("--set=") {
            Some(setting) => ("--set=", setting),
            None => ("", if is_value { argument.as_str() } else { "" }),
        };
        let Some((path, value)) = setting.split_once('=') else {
            return if secret::has_secret_form(&argument) { secret::HIDDEN.to_owned() } else { argument };
        };
        let keys: Vec<&str> = path.split('.').map(str::trim).collect();
        let tree = nested(&keys, parse_value(value.trim()), &Place::Argument(String::new()));
        if secret::find(&tree).is_some() { format!("{flag}{path}={}", secret::HIDDEN) } else { argument }
    };
    arguments.into_iter().map(storable).collect()
}

/// Splits `arm.NAME.` off a path. Names may contain dots, so the longest matching name is used.
fn split_arm<'a>(
    path: &'a str,
    arms: &[String],
    place: &Place,
) -> Result<(Option<String>, &'a str), ScenarioError> {
    let Some(rest) = path.strip_prefix("arm.") else { return Ok((None, path)) };
    let fits = |name: &&String| rest.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'));
    match arms.iter().filter(fits).max_by_key(|name| name.len()) {
        Some(name) => Ok((Some(name.clone()), &rest[name.len() + 1..])),
        None if arms.iter().any(|name| name == rest) => Err(ScenarioError::at(
            place,
            format!("no key of the arm `{rest}` is given"),
            format!("write --set arm.{rest}.section.key=value"),
        )),
        None => {
            let named = rest.split('.').next().unwrap_or_default();
            Err(unknown_arm(place, named, arms))
        }
    }
}

/// The error about an arm that does not exist.
pub(crate) fn unknown_arm(place: &Place, name: &str, arms: &[String]) -> ScenarioError {
    let list = arms.join(", ");
    let instead = match rewards::nearest(name, arms.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? The arms are {list}"),
        None => format!("the arms are {list}"),
    };
    ScenarioError::at(place, format!("there is no arm `{name}`"), instead)
}

pub(in crate::scenario) fn parse_value(text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    match format!("value = {text}").parse::<toml::Table>() {
        // No setting is a date, so a value that looks like one is a text.
        Ok(table) if table.len() == 1 => table
            .into_iter()
            .next()
            .map(|(_, value)| value)
            .filter(|v| !v.is_datetime())
            .unwrap_or_else(as_text),
        _ => as_text(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str) -> Value {
        parse(argument, &[]).unwrap().tree.to_value()
    }

    #[test]
    fn values_that_are_toml_are_parsed() {
        let value = |text: &str| parse_value(text);
        assert_eq!(value("3"), Value::Integer(3));
        assert_eq!(value("1e-4"), Value::Float(1e-4));
        assert_eq!(value("true"), Value::Boolean(true));
        assert_eq!(value("[1, 2]"), Value::Array(vec![Value::Integer(1), Value::Integer(2)]));
        assert_eq!(value("cuda:0"), Value::String("cuda:0".to_owned()));
        assert_eq!(value("a = b"), Value::String("a = b".to_owned()));
        assert_eq!(value("2025-01-01"), Value::String("2025-01-01".to_owned()));
        assert_eq!(value(""), Value::String(String::new()));
    }

    #[test]
    fn a_path_becomes_nested_tables() {
        assert_eq!(read("grpo.lr=1").to_string(), "{ grpo = { lr = 1 } }");
    }

    #[test]
    fn an_arm_is_found_by_a_name_with_dots_and_signs() {
        let arms = ["grpo".to_owned(), "grpo+x.5".to_owned(), "grpo+x".to_owned()];
        let read = parse("arm.grpo+x.5.grpo.lr=1", &arms).unwrap();
        assert_eq!(read.arm.as_deref(), Some("grpo+x.5"));
        assert_eq!(read.tree.to_value().to_string(), "{ grpo = { lr = 1 } }");
        assert_eq!(
            parse("arm.grop.grpo.lr=1", &arms).unwrap_err().to_string(),
            "--set arm.grop.grpo.lr=1: there is no arm `grop`; did you mean `grpo`? The arms are grpo, grpo+x.5, grpo+x"
        );
    }

    #[test]
    fn an_argument_without_an_assignment_is_refused() {
        let error = |argument: &str| parse(argument, &[]).unwrap_err().to_string();
        assert_eq!(error("grpo.lr"), "--set grpo.lr: there is no `=`; write --set section.key=value");
        let no_key = parse("arm.grpo=1", &["grpo".to_owned()]).unwrap_err().to_string();
        assert_eq!(
            no_key,
            "--set arm.grpo=1: no key of the arm `grpo` is given; write --set arm.grpo.section.key=value"
        );
        assert_eq!(error("grpo.=1"), "--set grpo.=1: a key is empty; write --set section.key=value");
    }
}
