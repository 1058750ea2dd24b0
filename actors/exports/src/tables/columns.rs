//! The columns of a table, and a row's values for them.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::leaves::each_leaf;

/// What the values of a column are. Each may also be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    /// Fits into an `i64`.
    Integer,
    Float,
    /// Text as it is; any other value as JSON.
    Text,
}

impl Kind {
    /// `None` for null, which can be of any kind.
    fn of(value: &Value) -> Option<Kind> {
        match value {
            Value::Null => None,
            Value::Bool(_) => Some(Kind::Boolean),
            Value::Number(number) if number.is_i64() => Some(Kind::Integer),
            Value::Number(number) if number.is_f64() => Some(Kind::Float),
            Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => Some(Kind::Text),
        }
    }

    /// The kind that can hold the values of both.
    fn or(self, other: Kind) -> Kind {
        match (self, other) {
            (one, same) if one == same => one,
            (Kind::Integer, Kind::Float) | (Kind::Float, Kind::Integer) => Kind::Float,
            _ => Kind::Text,
        }
    }

    /// The value as one of this kind.
    fn cell(self, value: &Value) -> Value {
        match (self, value) {
            (_, Value::Null) => Value::Null,
            (Kind::Float, number) => number.as_f64().into(),
            (Kind::Text, Value::String(_)) => value.clone(),
            (Kind::Text, other) => other.to_string().into(),
            (Kind::Boolean | Kind::Integer, value) => value.clone(),
        }
    }
}

/// A column; its name is the path of the value in the row, such as `components.format`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// The columns of the rows seen so far.
#[derive(Default)]
pub(super) struct Columns {
    /// The positions of the rows' fields.
    fields: HashMap<String, usize>,
    /// By the position of the field and the path of the value.
    kinds: BTreeMap<(usize, String), Kind>,
}

impl Columns {
    /// The columns of a row type, from a row without contents. `null_kinds` has the kinds of its null fields that are not
    /// [`Kind::Float`].
    pub(super) fn of(empty_row: &Map<String, Value>, null_kinds: &[(&str, Kind)]) -> Self {
        let mut columns = Columns::default();
        for name in empty_row.keys() {
            columns.position(name);
        }
        each_leaf(empty_row, '.', &mut |path, value| {
            let listed = || null_kinds.iter().find(|(name, _)| *name == path).map(|(_, kind)| *kind);
            let kind = Kind::of(value).or_else(listed).unwrap_or(Kind::Float);
            columns.kinds.insert((columns.fields[field_of(&path)], path), kind);
        });
        columns
    }

    /// Adds the columns that only this row has. One whose values are all null is [`Kind::Float`], as a score is.
    pub(super) fn add(&mut self, row: &Map<String, Value>) {
        for name in row.keys() {
            self.position(name);
        }
        let mut nulls = Vec::new();
        each_leaf(row, '.', &mut |path, value| {
            let key = (self.fields[field_of(&path)], path);
            match Kind::of(value) {
                Some(kind) => {
                    self.kinds.entry(key).and_modify(|known| *known = known.or(kind)).or_insert(kind);
                }
                None => nulls.push(key),
            }
        });
        for key in nulls {
            self.kinds.entry(key).or_insert(Kind::Float);
        }
    }

    /// All columns: the fields in the order of the rows, the columns of one field by name.
    pub(super) fn in_order(self) -> Vec<Column> {
        self.kinds.into_iter().map(|((_, name), kind)| Column { name, kind }).collect()
    }

    fn position(&mut self, field: &str) {
        if !self.fields.contains_key(field) {
            self.fields.insert(field.to_owned(), self.fields.len());
        }
    }
}

/// The field of the row that a path begins with.
fn field_of(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

/// The row's value for each of the columns.
pub(super) fn cells(columns: &[Column], row: &Map<String, Value>) -> Vec<Value> {
    let mut values = HashMap::new();
    each_leaf(row, '.', &mut |path, value| {
        values.insert(path, value);
    });
    columns
        .iter()
        .map(|column| values.get(&column.name).map_or(Value::Null, |value| column.kind.cell(value)))
        .collect()
}
