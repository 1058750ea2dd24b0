//! Finds secrets that are written into a scenario, and keeps values out of messages that may be secrets.
//!
//! A scenario is stored with the run, shown by the control channel and printed by `--dry-run`. It therefore contains the
//! names of environment variables, not the secrets in them. A secret is recognized by the name of its key, such as
//! `api_key` or the header `Authorization`, or by its form, such as `sk-…`.
//!
//! - SECRET-1 a secret in a scenario, in a `--set` or in a reward of a live change is refused before anything is stored.
//! - SECRET-2 no message repeats a value that may be a secret: one of a key that holds secrets or passes them on, or one
//!   in the form of a secret. The place of a mistake in a `--set` shows no text.

use toml::Value;

use super::tree::{Content, Node};
use super::words::leaf_name;
use crate::error::{Place, ScenarioError};

pub(crate) use form::{has_secret_form, is_variable_name};
pub(crate) use name::{is_secret_header, is_secret_name};

mod form;
mod name;

/// Shown instead of a value that may be a secret.
pub(crate) const HIDDEN: &str = "…";

/// A secret that is written out.
#[derive(Debug)]
pub(crate) struct Literal {
    /// Keys and list indices from the root.
    pub(crate) path: Vec<String>,
    place: Place,
}

/// Refuses a tree that contains a secret.
///
/// Errors: The first secret, at its place, with what to write instead of it.
pub(crate) fn refuse(root: &Node) -> Result<(), ScenarioError> {
    let Some(literal) = find(root) else { return Ok(()) };
    let path: Vec<&str> = literal.path.iter().map(String::as_str).collect();
    let problem = format!(
        "{} contains a secret, which would be stored with the run",
        leaf_name(path.strip_prefix(&["arm"]).unwrap_or(&path))
    );
    Err(ScenarioError::at(&literal.place, problem, instead(&path)))
}

/// The first secret in a tree that is written out.
pub(crate) fn find(root: &Node) -> Option<Literal> {
    let mut path = Vec::new();
    let place = search(root, &mut path)?;
    Some(Literal { path, place })
}

/// What to write instead of the secret at `path`.
pub(crate) fn instead(path: &[&str]) -> String {
    let leaf = path.iter().rev().find(|key| key.parse::<usize>().is_err()).copied().unwrap_or_default();
    let section = path.iter().find(|key| **key != "arm" && key.parse::<usize>().is_err());
    if section == Some(&"judge") && leaf == "proxy" {
        return "write the address without it, or \"environment\" and the address with its password in HTTPS_PROXY"
            .to_owned();
    }
    if section == Some(&"judge") && leaf != "base_url" {
        return "write api_key_env = \"NAME\", the name of an environment variable that holds the key"
            .to_owned();
    }
    if path.contains(&"headers") {
        return "write \"${NAME}\" instead, for an environment variable NAME that holds it".to_owned();
    }
    match leaf {
        "proxy" => "write proxy = \"${NAME}\", for an environment variable NAME that holds the address".to_owned(),
        "url" if path.contains(&"alarm") => {
            "write url_env = \"NAME\", for an environment variable NAME that holds the address".to_owned()
        }
        "url" => "write it as a header: headers = { authorization = \"Bearer ${NAME}\" }, for an environment variable NAME"
            .to_owned(),
        "base_url" | "urls" => {
            "write the address without it, and api_key_env = \"NAME\", the name of an environment variable".to_owned()
        }
        _ if path.contains(&"env") && leaf != "env" => {
            format!("export {leaf} and write env = [\"{leaf}\"], or write {leaf} = \"${{NAME}}\" for another variable")
        }
        _ => "put it into an environment variable NAME; a reward reads it from there with env = [\"NAME\"]".to_owned(),
    }
}

/// The place of the first secret below `node`, to whose path `path` is extended.
fn search(node: &Node, path: &mut Vec<String>) -> Option<Place> {
    match &node.content {
        Content::Table(table) => table.iter().find_map(|(key, entry)| {
            path.push(key.clone());
            let found = search(&entry.node, path);
            if found.is_none() {
                path.pop();
            }
            found
        }),
        Content::Array(items) => search_items(items, path),
        Content::Scalar(value) => is_secret(value, path).then(|| node.place.clone()),
    }
}

fn search_items(items: &[Node], path: &mut Vec<String>) -> Option<Place> {
    for (index, item) in items.iter().enumerate() {
        path.push(index.to_string());
        let flag = index.checked_sub(1).and_then(|before| text(&items[before]));
        let found = match text(item) {
            // `--token X` and `--token=X` of a command line, which every user of the machine can read.
            Some(item_text) if is_flag_value(flag, item_text) => Some(item.place.clone()),
            Some(_) | None => search(item, path),
        };
        if found.is_some() {
            return found;
        }
        path.pop();
    }
    None
}

fn text(node: &Node) -> Option<&str> {
    match &node.content {
        Content::Scalar(Value::String(text)) => Some(text),
        Content::Scalar(_) | Content::Table(_) | Content::Array(_) => None,
    }
}

fn is_flag_value(flag: Option<&str>, text: &str) -> bool {
    let named = |flag: &str| flag.strip_prefix("--").is_some_and(is_secret_name);
    let follows = flag.is_some_and(|flag| !flag.contains('=') && named(flag)) && !text.starts_with('-');
    let assigned = text.split_whitespace().any(|word| {
        word.split_once('=').is_some_and(|(name, value)| {
            let variable = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            (named(name) || variable && is_secret_name(name)) && form::is_written_out(value)
        })
    });
    follows && form::is_written_out(text) || assigned
}

fn is_secret(value: &Value, path: &[String]) -> bool {
    let mut keys = path.iter().rev().filter(|key| key.parse::<usize>().is_err());
    let key = keys.next().map(String::as_str).unwrap_or_default();
    let within = keys.next().map(String::as_str).unwrap_or_default();
    let named = match within {
        "headers" | "env" => is_secret_header(key),
        _ => is_secret_name(key),
    };
    match value {
        Value::String(text) => has_secret_form(text) || named && form::is_written_out(text),
        // A password of digits, from `--set`, is a number.
        Value::Integer(number) => named && number.unsigned_abs() > 99_999,
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => false,
    }
}

/// Whether a value at `path` may be a secret, and so must not be shown. More values are hidden than refused.
pub(crate) fn may_be_secret(path: &[&str], text: &str) -> bool {
    let hiding = |key: &&str| {
        ["headers", "env", "options", "extra", "api_key_env"].contains(key) || is_secret_header(key)
    };
    path.iter().any(hiding) || has_secret_form(text)
}

/// A `--set` argument for messages: numbers, flags and lists of them are shown, texts are not.
pub(crate) fn shown_setting(argument: &str, value: &Value) -> String {
    let Some((key, written)) = argument.split_once('=') else {
        // Without a `=` it may be anything.
        let key = |c: char| c.is_alphanumeric() || "_.+-".contains(c);
        let is_key = argument.contains('.') && argument.chars().all(key) && !has_secret_form(argument);
        return if is_key { argument.to_owned() } else { HIDDEN.to_owned() };
    };
    let named = key.split('.').any(|key| is_secret_header(key.trim()));
    let written = if is_harmless(value) && !named { written } else { HIDDEN };
    format!("{key}={written}")
}

fn is_harmless(value: &Value) -> bool {
    match value {
        Value::Float(_) | Value::Boolean(_) => true,
        Value::Integer(number) => number.unsigned_abs() < 1_000_000,
        Value::Array(items) => items.iter().all(is_harmless),
        Value::String(_) | Value::Datetime(_) | Value::Table(_) => false,
    }
}

#[cfg(test)]
mod tests;
