//! The values of one column, in their order.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::super::footer::{self, Footer, damaged};
use super::super::levels::Levels;
use super::super::page::{
    PLAIN, PLAIN_DICTIONARY, Page, PageAt, Pages, RLE, RLE_DICTIONARY, unread_encoding,
};
use crate::error::Problem;
use crate::input::Input;

/// Most entries of a page. Writers put some thousand into one; a damaged file may claim billions in a few bytes.
const MOST_ENTRIES: u64 = 1 << 24;

/// Reads a column from its first row on.
pub(super) struct Column {
    place: usize,
    /// The level at which there is a value, and the one from which on a list has an entry.
    nullable: u8,
    entry: u8,
    repeated: bool,
    physical: i64,
    /// The row group that is read next.
    group: usize,
    codec: i64,
    /// The pages of the group that follow.
    pages: VecDeque<PageAt>,
    dictionary: Option<Arc<Vec<Value>>>,
    page: Entries,
}

/// The entries of a page.
#[derive(Default)]
struct Entries {
    count: usize,
    next: usize,
    /// For each entry, whether it continues a list; empty if there are no lists.
    repetition: Vec<u32>,
    /// For each entry, the level up to which it is not null; empty if nothing can be null.
    levels: Vec<u32>,
    values: Values,
}

/// The values of a page, of which null entries have none.
enum Values {
    Dictionary { values: Arc<Vec<Value>>, indices: std::vec::IntoIter<u32> },
    Booleans(std::vec::IntoIter<u32>),
    Plain { bytes: Arc<[u8]>, at: usize, bit: u8 },
}

impl Default for Values {
    fn default() -> Self {
        Self::Booleans(Vec::new().into_iter())
    }
}

impl Column {
    pub fn new(place: usize, column: &footer::Column) -> Self {
        let footer::Column { nullable, entry, repeated, physical, .. } = *column;
        let (pages, page) = (VecDeque::new(), Entries::default());
        Self { place, nullable, entry, repeated, physical, group: 0, codec: 0, pages, dictionary: None, page }
    }

    /// The value of the next row.
    pub fn value(&mut self, input: &Input, footer: &Footer) -> Result<Value, Problem> {
        if !self.fill(input, footer, true)? {
            return Err(damaged("a column has fewer values than there are rows"));
        }
        Ok(self.take()?.1)
    }

    /// The list of the next row; `None` if it is null.
    pub fn list(&mut self, input: &Input, footer: &Footer) -> Result<Option<Vec<Value>>, Problem> {
        if !self.fill(input, footer, true)? {
            return Err(damaged("a column has fewer values than there are rows"));
        }
        let (level, first) = self.take()?;
        if level < u32::from(self.entry) {
            return Ok((level + 1 == u32::from(self.entry)).then(Vec::new));
        }
        let mut list = vec![first];
        // A list may go on in the next page, but not in the next row group.
        while self.fill(input, footer, false)? && self.page.repetition.get(self.page.next) == Some(&1) {
            list.push(self.take()?.1);
        }
        Ok(Some(list))
    }

    /// Reads pages until there is an entry, and returns whether there is one; `beyond` the row group if that is over.
    fn fill(&mut self, input: &Input, footer: &Footer, beyond: bool) -> Result<bool, Problem> {
        while self.page.next >= self.page.count {
            if let Some(at) = self.pages.pop_front() {
                self.page = self.read(input, &at)?;
                continue;
            }
            if !beyond {
                return Ok(false);
            }
            let Some(group) = footer.groups.get(self.group) else { return Ok(false) };
            let chunk = group.chunks[self.place];
            if chunk.elsewhere {
                let what = "its columns are in files of their own".into();
                return Err(Problem::Archive { what, remedy: "write it as one file".into() });
            }
            let pages = Pages::read(input, &chunk)?;
            self.codec = chunk.codec;
            self.dictionary = match &pages.dictionary {
                Some(at) => Some(Arc::new(self.read_dictionary(input, at)?)),
                None => None,
            };
            self.pages = pages.data.into_iter().map(|(_, page)| page).collect();
            self.group += 1;
        }
        Ok(true)
    }

    fn read(&self, input: &Input, at: &PageAt) -> Result<Entries, Problem> {
        let lost = || damaged("the values of a page");
        let page = Page::read_any(input, at, self.codec, self.nullable, self.repeated)?;
        if at.values > MOST_ENTRIES {
            return Err(damaged("a page claims an implausible number of values"));
        }
        let count = at.values as usize;
        let levels = |range: std::ops::Range<usize>, most: u8| match most {
            0 => Some(Vec::new()),
            most => Levels::new(&page.bytes[range], u8::BITS - most.leading_zeros()).first(count),
        };
        let repetition = levels(page.repetition.clone(), self.repeated.into()).ok_or_else(lost)?;
        let definition = levels(page.levels.clone(), self.nullable).ok_or_else(lost)?;
        let present = match self.nullable {
            0 => count,
            nullable => definition.iter().filter(|&&level| level == u32::from(nullable)).count(),
        };
        let rest = &page.bytes[page.values..];
        let values = match page.encoding {
            _ if present == 0 => Values::default(),
            PLAIN => Values::Plain { bytes: page.bytes.clone(), at: page.values, bit: 0 },
            PLAIN_DICTIONARY | RLE_DICTIONARY => {
                let values =
                    self.dictionary.clone().ok_or_else(|| damaged("a column's dictionary is missing"))?;
                let (&width, indices) = rest.split_first().ok_or_else(lost)?;
                let indices = match width {
                    0 => vec![0; present],
                    1..=32 => Levels::new(indices, width.into()).first(present).ok_or_else(lost)?,
                    _ => return Err(lost()),
                };
                Values::Dictionary { values, indices: indices.into_iter() }
            }
            // Booleans are packed like levels, with their length in front.
            RLE if self.physical == BOOLEAN => {
                let packed = rest.get(4..).ok_or_else(lost)?;
                Values::Booleans(Levels::new(packed, 1).first(present).ok_or_else(lost)?.into_iter())
            }
            encoding => return Err(unread_encoding(encoding)),
        };
        Ok(Entries { count, next: 0, repetition, levels: definition, values })
    }

    fn read_dictionary(&self, input: &Input, at: &PageAt) -> Result<Vec<Value>, Problem> {
        let page = Page::read(input, at, self.codec, 0)?;
        let mut values = Values::Plain { bytes: page.bytes, at: page.values, bit: 0 };
        (0..at.values).map(|_| values.next(self.physical).ok_or_else(|| damaged("a dictionary"))).collect()
    }

    /// The next entry of the page and its level.
    fn take(&mut self) -> Result<(u32, Value), Problem> {
        let most = u32::from(self.nullable);
        let level = self.page.levels.get(self.page.next).copied().unwrap_or(most);
        self.page.next += 1;
        if level < most {
            return Ok((level, Value::Null));
        }
        let value = self.page.values.next(self.physical).ok_or_else(|| damaged("the values of a page"))?;
        Ok((level, value))
    }
}

const BOOLEAN: i64 = 0;

impl Values {
    /// The next value; `None` if there are no more.
    fn next(&mut self, physical: i64) -> Option<Value> {
        match self {
            Values::Dictionary { values, indices } => values.get(indices.next()? as usize).cloned(),
            Values::Booleans(bits) => bits.next().map(|bit| Value::Bool(bit == 1)),
            Values::Plain { bytes, at, bit } if physical == BOOLEAN => {
                let value = bytes.get(*at)? >> *bit & 1 == 1;
                (*at, *bit) = if *bit == 7 { (*at + 1, 0) } else { (*at, *bit + 1) };
                Some(value.into())
            }
            Values::Plain { bytes, at, .. } => {
                let rest = bytes.get(*at..)?;
                let (length, value) = plain(rest, physical)?;
                *at += length;
                Some(value)
            }
        }
    }
}

/// The first of some values and the number of its bytes. Kinds that no column of a table needs, such as decimals, are null.
fn plain(bytes: &[u8], physical: i64) -> Option<(usize, Value)> {
    const INT32: i64 = 1;
    const INT64: i64 = 2;
    const FLOAT: i64 = 4;
    const DOUBLE: i64 = 5;
    const BYTE_ARRAY: i64 = 6;
    Some(match physical {
        INT32 => (4, i32::from_le_bytes(*bytes.first_chunk()?).into()),
        INT64 => (8, i64::from_le_bytes(*bytes.first_chunk()?).into()),
        FLOAT => (4, f64::from(f32::from_le_bytes(*bytes.first_chunk()?)).into()),
        DOUBLE => (8, f64::from_le_bytes(*bytes.first_chunk()?).into()),
        BYTE_ARRAY => {
            let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
            let text = bytes.get(4..length.checked_add(4)?)?;
            (4 + length, String::from_utf8_lossy(text).into_owned().into())
        }
        _ => (0, Value::Null),
    })
}
