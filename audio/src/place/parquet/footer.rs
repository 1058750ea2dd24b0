//! The footer of a Parquet file: its columns, and where the rows of each are.
//!
//! The format is described at <https://parquet.apache.org/docs/file-format/>; the numbers of fields are those of its
//! `parquet.thrift`.

use std::collections::BTreeSet;

use super::thrift::{Kind, Thrift};
use crate::error::Problem;
use crate::input::Input;

/// Longest footer that is read, in bytes.
const LONGEST: u64 = 32 << 20;

/// Most columns of a file, and longest name of one.
const MOST_COLUMNS: usize = 10_000;
const LONGEST_NAME: usize = 4096;

/// Bytes that the footer needs at least for the columns of a row group, each. A footer that claims more is damaged, and
/// would need much more memory than it is long.
const BYTES_PER_CHUNK: usize = 8;

/// Deepest nesting of columns.
const DEEPEST: usize = 64;

/// Parquet's number for byte strings.
const BYTE_ARRAY: i64 = 6;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Footer {
    pub columns: Vec<Column>,
    pub groups: Vec<RowGroup>,
    pub rows: u64,
    /// Bytes of the footer, for what it weighs in memory.
    pub length: usize,
}

/// A column with values, which may be a field of a struct.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Column {
    /// Names from the outermost struct to the field, joined by dots.
    pub name: String,
    /// How many of them may be null: the level at which there is a value.
    pub nullable: u8,
    /// Whether it is within a list.
    pub repeated: bool,
    /// How many lists it is within.
    pub lists: u8,
    /// The level from which on the innermost list has an entry.
    pub entry: u8,
    /// Parquet's number for the kind of its values.
    pub physical: i64,
    pub is_bytes: bool,
    pub is_text: bool,
}

/// Some consecutive rows.
#[derive(Debug, Default)]
pub(super) struct RowGroup {
    pub first_row: u64,
    pub rows: u64,
    /// Where the values of each column are.
    pub chunks: Vec<Chunk>,
}

/// The values of a column in a row group.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Chunk {
    pub codec: i64,
    /// Its first page.
    pub start: u64,
    /// Length of its pages in bytes.
    pub length: u64,
    /// Whether it is in another file.
    pub elsewhere: bool,
}

/// An element of the schema, which is a tree written from the root on, parents before their children.
#[derive(Default)]
struct Element {
    physical: Option<i64>,
    repetition: i64,
    name: String,
    children: i64,
    converted: Option<i64>,
}

pub(super) fn damaged(what: &str) -> Problem {
    Problem::Archive { what: format!("the Parquet file is damaged: {what}"), remedy: "fetch it again".into() }
}

impl Footer {
    pub fn read(input: &Input) -> Result<Self, Problem> {
        let refused =
            |what: &str, remedy: &str| Problem::Archive { what: what.into(), remedy: remedy.into() };
        let end = input.length();
        let tail = input.peek(end.saturating_sub(8), 8)?;
        match (input.peek(0, 4)?.as_slice(), tail.get(4..)) {
            (b"PARE", _) | (_, Some(b"PARE")) => {
                return Err(refused("the Parquet file is encrypted", "write it without encryption"));
            }
            (b"PAR1", Some(b"PAR1")) if end >= 12 => {}
            (b"PAR1", _) => return Err(damaged("it has no footer, so its end is missing")),
            _ => {
                let remedy = "name a cell of a Parquet file, `FILE.parquet#COLUMN=ROW`, or a file";
                return Err(refused("what is before the `#` is not a Parquet file", remedy));
            }
        }
        let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
        if length > end - 12 {
            return Err(damaged("its footer is longer than the file"));
        }
        if length > LONGEST {
            return Err(refused("its footer is too long", "write it with larger row groups"));
        }
        let bytes = input.peek(end - 8 - length, length as usize)?;
        parse(&bytes).ok_or_else(|| damaged("its footer"))
    }

    /// The place of a column by its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The row group of a row.
    pub fn group_of(&self, row: u64) -> Option<&RowGroup> {
        let after = self.groups.partition_point(|group| group.first_row <= row);
        // Of empty groups the row is in none.
        self.groups[..after]
            .iter()
            .rev()
            .find(|group| group.rows > 0)
            .filter(|group| row - group.first_row < group.rows)
    }

    /// The columns that can hold a clip, for messages: structs like those of the Hub by the name of the struct.
    pub fn names(&self) -> String {
        let name = |column: &Column| column.name.strip_suffix(".bytes").unwrap_or(&column.name).to_owned();
        let usable = self.columns.iter().filter(|column| column.is_bytes && !column.repeated);
        let names: BTreeSet<String> =
            usable.filter(|column| !column.name.ends_with(".path")).map(name).take(8).collect();
        if names.is_empty() {
            return "no column of bytes".into();
        }
        names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

fn parse(bytes: &[u8]) -> Option<Footer> {
    let (mut elements, mut chunks) = (Vec::new(), 0);
    let mut footer = Footer { length: bytes.len(), ..Footer::default() };
    Thrift::new(bytes).structure(|thrift, number, kind| {
        match (number, kind) {
            (2, Kind::LIST) => thrift.list(Kind::STRUCT, |thrift| {
                elements.push(element(thrift)?);
                (elements.len() <= 2 * MOST_COLUMNS).then_some(())
            })?,
            (4, Kind::LIST) => thrift.list(Kind::STRUCT, |thrift| {
                let group = row_group(thrift, footer.rows)?;
                chunks += 1 + group.chunks.len();
                if chunks > bytes.len() / BYTES_PER_CHUNK {
                    return None;
                }
                footer.rows = footer.rows.checked_add(group.rows)?;
                footer.groups.push(group);
                Some(())
            })?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    footer.columns = columns(elements)?;
    let complete = |group: &RowGroup| group.chunks.len() == footer.columns.len();
    footer.groups.iter().all(complete).then_some(footer)
}

fn element(thrift: &mut Thrift<'_>) -> Option<Element> {
    let mut element = Element::default();
    thrift.structure(|thrift, number, kind| {
        match number {
            1 => element.physical = Some(thrift.integer(kind)?),
            3 => element.repetition = thrift.integer(kind)?,
            4 if kind == Kind::BINARY => {
                element.name = String::from_utf8_lossy(thrift.binary()?).into_owned()
            }
            5 => element.children = thrift.integer(kind)?,
            6 => element.converted = Some(thrift.integer(kind)?),
            _ => return Some(false),
        }
        Some(true)
    })?;
    Some(element)
}

/// Goes through the schema from the root on; what remains are the elements with values.
fn columns(elements: Vec<Element>) -> Option<Vec<Column>> {
    /// A struct whose fields follow.
    struct Open {
        fields_left: i64,
        within: Column,
    }
    let mut elements = elements.into_iter();
    let root = elements.next()?;
    let mut open = vec![Open { fields_left: root.children, within: Column::default() }];
    let mut columns = Vec::new();
    while let Some(parent) = open.last_mut() {
        if parent.fields_left <= 0 {
            open.pop();
            continue;
        }
        parent.fields_left -= 1;
        let element = elements.next()?;
        let mut column = parent.within.clone();
        if !column.name.is_empty() {
            column.name.push('.');
        }
        column.name.push_str(&element.name);
        if column.name.len() > LONGEST_NAME || columns.len() > MOST_COLUMNS {
            return None;
        }
        column.repeated |= element.repetition == 2;
        column.nullable += u8::from(element.repetition != 0);
        if element.repetition == 2 {
            (column.lists, column.entry) = (column.lists + 1, column.nullable);
        }
        if element.children > 0 {
            if open.len() > DEEPEST {
                return None;
            }
            open.push(Open { fields_left: element.children, within: column });
        } else {
            column.physical = element.physical.unwrap_or(-1);
            column.is_bytes = element.physical == Some(BYTE_ARRAY);
            column.is_text = column.is_bytes && element.converted == Some(0);
            columns.push(column);
        }
    }
    elements.next().is_none().then_some(columns)
}

fn row_group(thrift: &mut Thrift<'_>, first_row: u64) -> Option<RowGroup> {
    let mut group = RowGroup { first_row, ..RowGroup::default() };
    thrift.structure(|thrift, number, kind| {
        match (number, kind) {
            (1, Kind::LIST) => thrift.list(Kind::STRUCT, |thrift| {
                group.chunks.push(chunk(thrift)?);
                (group.chunks.len() <= MOST_COLUMNS + 1).then_some(())
            })?,
            (3, _) => group.rows = u64::try_from(thrift.integer(kind)?).ok()?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    Some(group)
}

fn chunk(thrift: &mut Thrift<'_>) -> Option<Chunk> {
    let mut chunk = Chunk::default();
    let (mut data, mut dictionary) = (0, 0);
    thrift.structure(|thrift, number, kind| {
        match (number, kind) {
            (1, Kind::BINARY) => chunk.elsewhere = !thrift.binary()?.is_empty(),
            (3, Kind::STRUCT) => thrift.structure(|thrift, number, kind| {
                match number {
                    4 => chunk.codec = thrift.integer(kind)?,
                    7 => chunk.length = u64::try_from(thrift.integer(kind)?).ok()?,
                    9 => data = u64::try_from(thrift.integer(kind)?).ok()?,
                    11 => dictionary = u64::try_from(thrift.integer(kind)?).ok()?,
                    _ => return Some(false),
                }
                Some(true)
            })?,
            _ => return Some(false),
        }
        Some(true)
    })?;
    // Some writers state a dictionary at 0 where there is none.
    chunk.start = if dictionary > 0 { data.min(dictionary) } else { data };
    Some(chunk)
}
