//! The rows of a Parquet file as a table: numbers, texts, lists and structs, but not the sound.
//!
//! Rows are read in their order, a page of each column at a time. Columns of bytes, among them the Hub's `Audio`, are not
//! read: each cell becomes the text `FILE.parquet#COLUMN=ROW`, by which [`open_place`](crate::place::open_place) finds it
//! later. Columns that are lists of lists are left out.

mod column;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::footer::Footer;
use crate::error::AudioError;
use crate::input::Input;
use column::Column;

/// The rows of a Parquet file, in their order.
pub struct ParquetTable {
    path: PathBuf,
    input: Input,
    footer: Footer,
    fields: Vec<(String, Field)>,
    /// The row that is read next.
    row: u64,
}

/// A column of the table, which may be of several columns of the file.
enum Field {
    Value(Column),
    /// Sound, which is not read.
    Cell,
    Struct(Vec<(String, Column)>),
    List(Column),
    ListOfStructs(Vec<(String, Column)>),
}

impl ParquetTable {
    /// Opens a file and reads its footer.
    ///
    /// Errors: it cannot be read or is not a Parquet file that is understood.
    pub fn open(path: &Path) -> Result<Self, AudioError> {
        let footer = Input::open(path).and_then(|input| Ok((Footer::read(&input)?, input)));
        let (footer, input) = footer.map_err(|problem| problem.at(path))?;
        let fields = fields(&footer);
        Ok(Self { path: path.to_owned(), input, footer, fields, row: 0 })
    }

    /// The names of the columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.footer.rows
    }

    fn read_row(&mut self) -> Result<Map<String, Value>, crate::error::Problem> {
        let Self { path, input, footer, fields, row } = self;
        let mut values = Map::new();
        for (name, field) in fields {
            let value = match field {
                Field::Cell => Value::String(format!("{}#{name}={row}", path.display())),
                Field::Value(column) => column.value(input, footer)?,
                Field::List(column) => column.list(input, footer)?.map_or(Value::Null, Value::Array),
                Field::Struct(columns) => {
                    let mut object = Map::new();
                    for (name, column) in columns {
                        object.insert(name.clone(), column.value(input, footer)?);
                    }
                    let is_null = object.values().all(Value::is_null);
                    if is_null { Value::Null } else { Value::Object(object) }
                }
                Field::ListOfStructs(columns) => {
                    let mut objects: Option<Vec<Map<String, Value>>> = None;
                    for (name, column) in columns {
                        let Some(list) = column.list(input, footer)? else { continue };
                        let objects = objects.get_or_insert_with(|| vec![Map::new(); list.len()]);
                        for (object, value) in objects.iter_mut().zip(list) {
                            object.insert(name.clone(), value);
                        }
                    }
                    objects.map_or(Value::Null, |all| all.into_iter().map(Value::Object).collect())
                }
            };
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

impl Iterator for ParquetTable {
    type Item = Result<Map<String, Value>, AudioError>;

    /// The next row by the names of its columns. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.row >= self.footer.rows {
            return None;
        }
        let read = self.read_row();
        self.row = if read.is_ok() { self.row + 1 } else { u64::MAX };
        Some(read.map_err(|problem| problem.at(&self.path)))
    }
}

/// Joins the columns of the file that are fields of one struct.
fn fields(footer: &Footer) -> Vec<(String, Field)> {
    let mut fields: Vec<(String, Field)> = Vec::new();
    for (place, column) in footer.columns.iter().enumerate() {
        let (name, inner) = column.name.split_once('.').unwrap_or((&column.name, ""));
        let is_sound = column.is_bytes && !column.is_text && !column.repeated;
        if column.lists > 1 {
            continue;
        }
        let reader = Column::new(place, column);
        // A list is `words.list.element`; of older writers `words.array` or `words.bag.item`.
        let entry = ["list.element", "list.item", "bag.array_element", "bag.item", "array"]
            .into_iter()
            .find_map(|wrapper| inner.strip_prefix(wrapper))
            .unwrap_or(inner)
            .trim_start_matches('.')
            .to_owned();
        let last = fields.last_mut().filter(|(other, _)| other == name).map(|(_, field)| field);
        match last {
            Some(Field::Cell) => {}
            Some(field @ Field::Struct(_)) if is_sound && inner == "bytes" => *field = Field::Cell,
            Some(Field::Struct(columns)) if !column.repeated => columns.push((inner.to_owned(), reader)),
            Some(Field::ListOfStructs(columns)) if column.repeated => columns.push((entry, reader)),
            Some(_) => {}
            None => {
                let field = match (column.repeated, is_sound, inner) {
                    (false, true, "" | "bytes") => Field::Cell,
                    (false, _, "") => Field::Value(reader),
                    (false, ..) => Field::Struct(vec![(inner.to_owned(), reader)]),
                    (true, ..) if entry.is_empty() => Field::List(reader),
                    (true, ..) => Field::ListOfStructs(vec![(entry, reader)]),
                };
                fields.push((name.to_owned(), field));
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/place/golden").join(name)
    }

    /// The rows that table.py writes.
    #[test]
    fn rows_are_read_from_both_versions_of_pages_and_across_row_groups() {
        for name in ["table.parquet", "table-2.parquet", "table-pages.parquet"] {
            let path = golden(name);
            let table = ParquetTable::open(&path).unwrap();
            assert_eq!(table.rows(), 3);
            let names: Vec<&str> = table.columns().collect();
            assert_eq!(
                names,
                ["uid", "q", "options", "label", "start", "half", "loud", "audio", "turns", "meta"]
            );
            let rows: Vec<_> = table.map(|row| Value::Object(row.unwrap())).collect();
            let cell = |row| format!("{}#audio={row}", path.display());
            assert_eq!(
                rows,
                [
                    json!({
                        "uid": 7, "q": "What barks?", "options": ["dog", "cat"], "label": 0, "start": 0.5, "half": 0.25,
                        "loud": true, "audio": cell(0),
                        "turns": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}],
                        "meta": {"a": 1},
                    }),
                    json!({
                        "uid": -8, "q": "Größe?", "options": ["a", null, "c"], "label": 2, "start": null, "half": null,
                        "loud": false, "audio": cell(1), "turns": [], "meta": null,
                    }),
                    json!({
                        "uid": 9, "q": null, "options": [], "label": null, "start": null, "half": null,
                        "loud": null, "audio": cell(2), "turns": null, "meta": null,
                    }),
                ],
                "{name}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let message = |name: &str| {
            let mut rows = ParquetTable::open(&golden(name)).unwrap();
            let error = rows.find_map(Result::err).unwrap();
            assert!(rows.next().is_none(), "after an error there are no more rows");
            error.to_string()
        };
        assert!(message("brotli.parquet").ends_with(
            "it is compressed with Brotli, which is not read; write it again with snappy or zstd"
        ));
        let error = ParquetTable::open(&golden("make.py")).err().unwrap().to_string();
        assert!(error.contains("not a Parquet file"), "{error}");
    }
}
