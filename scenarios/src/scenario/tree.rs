//! A parsed TOML document that keeps the place of every key and value.
//!
//! A file and each `--set` are parsed into [`Node`]s. [`super::merge`] merges them, and [`super::de`] reads the
//! configuration structs from the result, so that a mistake is reported at its own place in whichever layer it is.
//!
//! - TREE-1 a node keeps its place through every merge.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;
use toml::de::{DeTable, DeValue};

use crate::error::{Place, ScenarioError};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// The content of a [`Node`].
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Table(Table),
    Array(Vec<Node>),
    /// A text, number, flag or date; never a table or an array.
    Scalar(Value),
}

/// The entries of a table by key.
pub(crate) type Table = BTreeMap<String, Entry>;

/// The value of a key, and the place of the key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

impl Node {
    /// An empty table with this place.
    pub(crate) fn empty(place: Place) -> Self {
        Self { place, content: Content::Table(Table::new()) }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.content {
            Content::Table(table) => Some(table),
            Content::Array(_) | Content::Scalar(_) => None,
        }
    }

    /// The entry at a path of keys; `None` if there is none.
    pub(crate) fn entry(&self, path: &[&str]) -> Option<&Entry> {
        let (first, rest) = path.split_first()?;
        let entry = self.as_table()?.get(*first)?;
        if rest.is_empty() { Some(entry) } else { entry.node.entry(rest) }
    }

    /// The node at a path of keys and list indices; `None` if there is none.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Node> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        self.child(first)?.at(rest)
    }

    fn child(&self, key: &str) -> Option<&Node> {
        match &self.content {
            Content::Table(table) => table.get(key).map(|entry| &entry.node),
            Content::Array(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)),
            Content::Scalar(_) => None,
        }
    }

    /// The text at a key; `None` if the value is missing or not a text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.child(key)?.content {
            Content::Scalar(Value::String(text)) => Some(text),
            Content::Scalar(_) | Content::Table(_) | Content::Array(_) => None,
        }
    }

    /// The place of the value at a path; if the value was not written, that of the innermost table on the path.
    pub(crate) fn place_of(&self, path: &[&str]) -> &Place {
        let Some((first, rest)) = path.split_first() else { return &self.place };
        self.child(first).map_or(&self.place, |node| node.place_of(rest))
    }

    /// The value without places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Table(table) => {
                Value::Table(table.iter().map(|(key, entry)| (key.clone(), entry.node.to_value())).collect())
            }
            Content::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Scalar(value) => value.clone(),
        }
    }

    /// A node of a value, all parts of which get the same place.
    pub(crate) fn from_value(value: Value, place: &Place) -> Self {
        let content = match value {
            Value::Table(table) => Content::Table(
                table
                    .into_iter()
                    .map(|(key, value)| {
                        (key, Entry { key_place: place.clone(), node: Self::from_value(value, place) })
                    })
                    .collect(),
            ),
            Value::Array(items) => {
                Content::Array(items.into_iter().map(|value| Self::from_value(value, place)).collect())
            }
            scalar => Content::Scalar(scalar),
        };
        Self { place: place.clone(), content }
    }
}

/// Parses a document. `path` is used for places only.
///
/// Errors: the text is not TOML; the error has the line and column.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Node, ScenarioError> {
    let lines = Lines { text, path };
    let document = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let problem = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        ScenarioError::at(&lines.place(offset), problem, "see https://toml.io for the notation")
    })?;
    lines
        .table(document.get_ref())
        .map(|table| Node { place: lines.place(0), content: Content::Table(table) })
}

/// Converts byte offsets of a text into places.
struct Lines<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Lines<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Result<Table, ScenarioError> {
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
            let key_place = self.place(key.span().start);
            let node = self.node(value.get_ref(), value.span().start)?;
            Ok((key.get_ref().to_string(), Entry { key_place, node }))
        };
        table.iter().map(entry).collect()
    }

    fn node(&self, value: &DeValue<'_>, offset: usize) -> Result<Node, ScenarioError> {
        let place = self.place(offset);
        let content = match value {
            DeValue::Table(table) => Content::Table(self.table(table)?),
            DeValue::Array(items) => Content::Array(
                items
                    .iter()
                    .map(|item| self.node(item.get_ref(), item.span().start))
                    .collect::<Result<_, _>>()?,
            ),
            DeValue::String(text) => Content::Scalar(Value::String(text.to_string())),
            DeValue::Boolean(flag) => Content::Scalar(Value::Boolean(*flag)),
            DeValue::Datetime(moment) => Content::Scalar(Value::Datetime(*moment)),
            DeValue::Integer(integer) => {
                let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
                Content::Scalar(Value::Integer(parsed.map_err(|_| {
                    ScenarioError::at(
                        &place,
                        "the number is too large",
                        format!("write a whole number up to {}", i64::MAX),
                    )
                })?))
            }
            DeValue::Float(float) => {
                let parsed = float.as_str().parse::<f64>();
                Content::Scalar(Value::Float(parsed.map_err(|_| {
                    ScenarioError::at(
                        &place,
                        format!("{float} is not a number"),
                        "write one such as 0.5 or 1e-4",
                    )
                })?))
            }
        };
        Ok(Node { place, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_line_and_column() {
        let tree = parse("[run]\nname = \"ü\" # é\n[grpo]\n  lr = 1e-3\n", Path::new("x.toml")).unwrap();
        assert_eq!(tree.place_of(&["run", "name"]).to_string(), "x.toml:2:8");
        assert_eq!(tree.place_of(&["grpo", "lr"]).to_string(), "x.toml:4:8");
        assert_eq!(tree.entry(&["grpo", "lr"]).unwrap().key_place.to_string(), "x.toml:4:3");
    }

    #[test]
    fn a_missing_value_has_the_place_of_its_section() {
        let tree = parse("a = 1\n[grpo]\nlr = 1\n", Path::new("x.toml")).unwrap();
        assert_eq!(tree.place_of(&["grpo", "clip"]).to_string(), "x.toml:2:1");
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        let tree = parse("a = { \"ü\" = \"é\", b = 1 }", Path::new("x.toml")).unwrap();
        assert_eq!(tree.place_of(&["a", "b"]).to_string(), "x.toml:1:22");
    }

    #[test]
    fn text_that_is_not_toml_is_reported_in_one_line() {
        let error = parse("[run]\nname = \n", Path::new("x.toml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.toml:2:8: this is not TOML: string values must be quoted, expected literal string; see https://toml.io for the notation"
        );
    }
}
