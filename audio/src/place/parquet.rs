//! Cells of Parquet files that hold a clip: a column of bytes, or the struct that the Hub makes of an `Audio` column.
//!
//! The Hub's struct has the fields `bytes` and `path`; where `bytes` is null, `path` names a file. A file is read from its
//! end: the footer says where the row groups and columns are, the headers of a column's pages say which page holds a row,
//! and that page is decompressed. All three are kept, so that rows read in their order cost one page each.
//!
//! This is a reader of its own, for byte columns only, because the files come from anywhere. `parquet` of Apache Arrow
//! follows the lengths and the nesting that a file states: a damaged file could take gigabytes of memory, or the stack.

mod footer;
mod levels;
mod page;
mod table;
mod thrift;

pub use table::ParquetTable;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::kept::{Kept, Key};
use crate::error::Problem;
use crate::input::Input;
use footer::{Footer, damaged};
use page::{Page, PageAt, Pages};

/// Memory for what is kept of all files, in bytes. Writers put some hundred clips into a page; without the page that was
/// read last, each clip would cost as much as all of them.
static FOOTERS: Kept<Footer> = Kept::new(32 << 20);
static CHUNKS: Kept<Pages> = Kept::new(16 << 20);
static PAGES: Kept<Page> = Kept::new(128 << 20);

/// Longest path in a cell, in bytes.
const LONGEST_PATH: u64 = 4096;

/// What a cell holds.
pub(super) enum Content {
    /// The bytes of a clip.
    Bytes(Input),
    /// The path of a file, which is relative to the Parquet file.
    Path(Vec<u8>),
}

/// Reads the cell of `row`, counted from 0 over the whole file.
///
/// Errors: the file is damaged or not of this kind; it has no such column or row; the cell is null.
pub(super) fn read_cell(path: &Path, column: &str, row: u64) -> Result<Content, Problem> {
    let key = Key::of(path)?;
    let input = Input::open(path)?;
    let weigh = |footer: &Footer| footer.length * 4;
    let footer = FOOTERS.get(&key, weigh, || Footer::read(&input))?;
    let file = File { key, input, footer: &footer };
    if row >= footer.rows {
        let what = format!("row {row} is not in it; it has {} rows, counted from 0", footer.rows);
        return Err(Problem::Absent { what });
    }
    if let Some(place) = footer.column(column) {
        let found = file.value(place, row)?.ok_or_else(|| null(column, row))?;
        return if footer.columns[place].is_text { file_name(found) } else { Ok(Content::Bytes(found)) };
    }
    let field = |name: &str| footer.column(&format!("{column}.{name}"));
    if let Some(place) = field("bytes")
        && let Some(found) = file.value(place, row)?
    {
        return Ok(Content::Bytes(found));
    }
    match field("path") {
        Some(place) => file_name(file.value(place, row)?.ok_or_else(|| null(column, row))?),
        None if field("bytes").is_some() => Err(null(column, row)),
        None => Err(Problem::Absent {
            what: format!("no column `{column}` of clips in it; it has {}", footer.names()),
        }),
    }
}

fn null(column: &str, row: u64) -> Problem {
    Problem::Absent { what: format!("row {row} of column `{column}` is null, so it has no clip") }
}

fn file_name(mut cell: Input) -> Result<Content, Problem> {
    if cell.length() == 0 || cell.length() > LONGEST_PATH {
        let what = format!("a path of {} bytes in the Parquet file", cell.length());
        return Err(Problem::Absent { what });
    }
    let mut path = Vec::new();
    cell.read_to_end(&mut path)?;
    Ok(Content::Path(path))
}

/// An open file.
struct File<'a> {
    key: Key,
    input: Input,
    footer: &'a Footer,
}

impl File<'_> {
    /// The value of a column in a row; `None` if it is null.
    fn value(&self, place: usize, row: u64) -> Result<Option<Input>, Problem> {
        let column = &self.footer.columns[place];
        if column.repeated || !column.is_bytes {
            let what = format!(
                "column `{}` is {}",
                column.name,
                if column.repeated { "a list" } else { "no bytes" }
            );
            return Err(Problem::Archive {
                what,
                remedy: "name a column of bytes, or of an `Audio` feature".into(),
            });
        }
        let lost = || damaged("a row is in none of its pages");
        let group = self.footer.group_of(row).ok_or_else(lost)?;
        let chunk = group.chunks[place];
        if chunk.elsewhere {
            let what = "its columns are in files of their own".into();
            return Err(Problem::Archive { what, remedy: "write it as one file".into() });
        }
        let weigh = |pages: &Pages| (pages.data.len() + 1) * 96;
        let pages = CHUNKS.get(&self.key.at(chunk.start), weigh, || Pages::read(&self.input, &chunk))?;
        let read = |at: &PageAt, nullable| {
            PAGES.get(&self.key.at(at.offset), Page::weight, || {
                Page::read(&self.input, at, chunk.codec, nullable)
            })
        };
        let (at, place) = pages.of_row(row - group.first_row).ok_or_else(lost)?;
        let dictionary = || -> Result<Arc<Page>, Problem> {
            // The values of a dictionary are never null.
            read(pages.dictionary.as_ref().ok_or_else(|| damaged("a column's dictionary is missing"))?, 0)
        };
        read(at, column.nullable)?.value(place, column.nullable, dictionary)
    }
}
