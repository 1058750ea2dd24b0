//! Reads configuration structs from a [`Node`] tree with serde, and turns errors into messages with a place.

use std::fmt;

use serde::de::value::{StrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use toml::Value;

use super::tree::{Content, Entry, Node, Table};
use super::words::{is_index, leaf_name, name_advice, quoted_list, section_name};
use super::{keys, secret};
use crate::error::{Place, ScenarioError};

/// Reads a `T` from a tree. `section` is the path of the tree's root for messages; it is empty for an arm.
///
/// Errors: the first key or value that does not fit, at its place.
pub(crate) fn read<'a, T: Deserialize<'a>>(node: &'a Node, section: &[&str]) -> Result<T, ScenarioError> {
    T::deserialize(node).map_err(|mut problem| {
        problem.path.extend(section.iter().rev().map(|key| (*key).to_owned()));
        problem.path.reverse();
        problem.into_error(node, section.len())
    })
}

/// Why a node could not be read. serde passes it up the tree, where each level adds its key.
#[derive(Debug)]
pub(crate) struct Problem {
    place: Option<Place>,
    /// Keys from the leaf upwards; [`read`] reverses them.
    path: Vec<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    UnknownKey { key: String, known: &'static [&'static str] },
    MissingKey(&'static str),
    Unfit { found: String, instead: String },
    UnknownChoice { found: String, choices: &'static [&'static str] },
    Other(String),
}

impl Problem {
    fn new(what: What) -> Self {
        Self { place: None, path: Vec::new(), what }
    }

    fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    /// The error for the user. `root` is the tree that was read, and `depth` the length of its path.
    fn into_error(self, root: &Node, depth: usize) -> ScenarioError {
        let mut place = self.place.unwrap_or_else(|| root.place.clone());
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let table = path.get(depth..).and_then(|below| root.at(below));
        let (problem, instead) = match self.what {
            What::UnknownKey { key, known } => {
                if let Some(entry) = table.and_then(|table| table.entry(&[key.as_str()])) {
                    place = entry.key_place.clone();
                }
                unknown_key(&key, known, &path, table)
            }
            What::MissingKey(key) => {
                let section = section_name(&path);
                (format!("{section} has no `{key}`"), missing_key_advice(key, &path, table))
            }
            What::Unfit { found, instead } => {
                (format!("{} is {}", leaf_name(&path), shown(&found, &path)), format!("write {instead}"))
            }
            What::UnknownChoice { found, choices } => {
                let bare = found.trim_matches('"');
                let advice = match rewards::nearest(bare, choices.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("write one of {}", quoted_list(choices.iter().copied())),
                };
                (format!("{} is {}", leaf_name(&path), shown(&found, &path)), advice)
            }
            What::Other(message) => match message.split_once("; ") {
                Some((problem, instead)) => (problem.to_owned(), instead.to_owned()),
                None => {
                    (message, "see scenarios/scenario.schema.json for the values that are allowed".to_owned())
                }
            },
        };
        ScenarioError::at(&place, problem, instead)
    }
}

/// A value as messages show it, unless it may be a secret.
pub(crate) fn shown<'a>(found: &'a str, path: &[&str]) -> &'a str {
    if found.starts_with('"') && secret::may_be_secret(path, found) { "a text" } else { found }
}

/// The problem with a key that the table at `path` may not have, and what to write instead.
fn unknown_key(key: &str, known: &[&str], path: &[&str], table: Option<&Node>) -> (String, String) {
    let section = section_name(path);
    let Some(tagged) = keys::tagged(path) else {
        return (format!("unknown key `{key}` in {section}"), unknown_key_advice(key, known, path));
    };
    let tag = &tagged.tag;
    let value = table.and_then(|table| table.text(tag));
    let owners = tagged.variants_with(&[key]);
    if owners.is_empty() {
        let known = tagged.keys(value);
        return (format!("unknown key `{key}` in {section}"), unknown_key_advice(key, &known, path));
    }
    let belongs = format!("`{key}` in {section} belongs to {tag} = {}", quoted_list(owners.iter().copied()));
    match value {
        Some(value) => {
            let problem = format!("{belongs}, and its `{tag}` is \"{value}\"");
            (problem, format!("leave `{key}` out, or write {tag} = {}", quoted_list(owners)))
        }
        None => {
            let problem = format!("{belongs}, and {section} has no `{tag}`");
            (problem, format!("write {tag} = {} beside it", quoted_list(fitting(&tagged, table, owners))))
        }
    }
}

/// The variants that have all keys of the table; if there are none, `owners`.
fn fitting<'a>(tagged: &'a keys::Tagged, table: Option<&Node>, owners: Vec<&'a str>) -> Vec<&'a str> {
    let keys: Vec<&str> = table
        .and_then(Node::as_table)
        .into_iter()
        .flat_map(|table| table.keys().map(String::as_str))
        .collect();
    Some(tagged.variants_with(&keys)).filter(|variants| !variants.is_empty()).unwrap_or(owners)
}

fn missing_key_advice(key: &str, path: &[&str], table: Option<&Node>) -> String {
    match keys::tagged(path).filter(|tagged| tagged.tag == key) {
        Some(tagged) => {
            let all = tagged.variants_with(&[]);
            format!("add a line {key} = {}", quoted_list(fitting(&tagged, table, all)))
        }
        None => format!("add a line `{key} = …`"),
    }
}

/// What to write instead of an unknown key of a section: the section it belongs to, or a similar key.
pub(crate) fn unknown_key_advice(key: &str, known: &[&str], path: &[&str]) -> String {
    let here: Vec<&str> = path.iter().copied().filter(|key| !is_index(key)).collect();
    let elsewhere = keys::sections_with(key).into_iter().filter(|section| section != &here.join("."));
    let elsewhere: Vec<String> = elsewhere.map(|section| format!("[{section}]")).collect();
    if !elsewhere.is_empty() {
        return format!("`{key}` belongs in {}", elsewhere.join(" or "));
    }
    name_advice(key, known.iter().copied(), "the keys are")
}

fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(flag) => flag.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => format!("{number:?}"),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Advice for what serde expected, in the terms of TOML.
fn instead(expected: &dyn Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "f64" | "f32" => "a number such as 0.5".to_owned(),
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number of 0 or more".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text in quotes".to_owned(),
        "path string" => "a path in quotes".to_owned(),
        "a sequence" => "a list in [ ]".to_owned(),
        "a map" => "a table".to_owned(),
        other => {
            let length = ["an array of length ", "a tuple of size "]
                .iter()
                .find_map(|prefix| other.strip_prefix(prefix));
            match (other.strip_prefix("struct "), length) {
                (Some(_), _) => "a table".to_owned(),
                (_, Some(length)) => format!("a list of {length} values"),
                _ => other.to_owned(),
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(What::Unfit { found: found(unexpected), instead: instead(expected) })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(What::Unfit { found: format!("a list of {length} values"), instead: instead(expected) })
    }

    fn unknown_variant(variant: &str, choices: &'static [&'static str]) -> Self {
        Self::new(What::UnknownChoice { found: format!("{variant:?}"), choices })
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(What::UnknownKey { key: field.to_owned(), known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(What::MissingKey(field))
    }
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let read = match &self.content {
            Content::Table(table) => visitor.visit_map(Entries::of(table)),
            Content::Array(items) => visitor.visit_seq(Items { rest: items.iter().enumerate() }),
            Content::Scalar(Value::String(text)) => visitor.visit_borrowed_str(text),
            Content::Scalar(Value::Integer(number)) => visitor.visit_i64(*number),
            Content::Scalar(Value::Float(number)) => visitor.visit_f64(*number),
            Content::Scalar(Value::Boolean(flag)) => visitor.visit_bool(*flag),
            Content::Scalar(other) => visitor.visit_string(other.to_string()),
        };
        read.map_err(|problem| problem.at(&self.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        choices: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let read = match &self.content {
            Content::Scalar(Value::String(text)) => {
                let choice: StrDeserializer<'_, Problem> = text.as_str().into_deserializer();
                visitor.visit_enum(choice)
            }
            Content::Scalar(other) => {
                Err(Problem::new(What::UnknownChoice { found: other.to_string(), choices }))
            }
            Content::Array(_) => {
                Err(Problem::new(What::UnknownChoice { found: "a list".to_owned(), choices }))
            }
            Content::Table(_) => {
                Err(Problem::new(What::UnknownChoice { found: "a table".to_owned(), choices }))
            }
        };
        read.map_err(|problem| problem.at(&self.place))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The key that tables with variants have to be given first, see [`super::tagged`].
const TAG: &str = "kind";

/// The entries of a table: first [`TAG`], then the others in the order of their keys.
struct Entries<'de> {
    tag: Option<(&'de String, &'de Entry)>,
    rest: std::collections::btree_map::Iter<'de, String, Entry>,
    value: Option<(&'de String, &'de Entry)>,
}

impl<'de> Entries<'de> {
    fn of(table: &'de Table) -> Self {
        Self { tag: table.get_key_value(TAG), rest: table.iter(), value: None }
    }

    fn next(&mut self) -> Option<(&'de String, &'de Entry)> {
        self.tag.take().or_else(|| self.rest.find(|(key, _)| *key != TAG))
    }
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let Some((key, entry)) = self.next() else { return Ok(None) };
        self.value = Some((key, entry));
        let name: StringDeserializer<Problem> = key.clone().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|problem| problem.at(&entry.key_place))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let Some((key, entry)) = self.value.take() else {
            return Err(de::Error::custom("a value was read before its key"));
        };
        seed.deserialize(&entry.node).map_err(|mut problem| {
            problem.path.push(key.clone());
            problem.at(&entry.node.place)
        })
    }
}

struct Items<'de> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Problem;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        let Some((index, node)) = self.rest.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|mut problem| {
            problem.path.push(index.to_string());
            problem.at(&node.place)
        })
    }
}
