//! Pages of a Parquet column: where they are, and the values in them.
//!
//! A page is compressed as a whole, so it is read as a whole. Of each page it is checked before it is decompressed that
//! what its header promises is plausible, so that a damaged header cannot claim gigabytes of memory.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use super::footer::{Chunk, damaged};
use super::levels::Levels;
use super::thrift::{Kind, Thrift};
use crate::error::Problem;
use crate::input::Input;

/// Lengths of the windows in which a page's header is looked for. Headers are short unless they hold statistics, such as
/// the least and the greatest value.
const HEADER_WINDOWS: [usize; 4] = [512, 64 << 10, 1 << 20, 16 << 20];

/// Most pages of a chunk.
const MOST_PAGES: usize = 1 << 20;

/// How many times its compressed length a page may be, beyond [`FREE_LENGTH`]. Sound is hardly compressed by it; only
/// digital silence is.
const MOST_COMPRESSED: u64 = 64;

/// Length in bytes that every page may have.
const FREE_LENGTH: u64 = 16 << 20;

/// A page before it is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PageAt {
    /// Where its content is in the file.
    pub offset: u64,
    /// Length of the content in the file.
    compressed: u64,
    /// Length when it is decompressed.
    length: u64,
    /// Number of rows, for a column that is not in a list; else of entries.
    pub values: u64,
    encoding: i64,
    /// Lengths of the levels that are not compressed, in the second version of the format.
    second: Option<Second>,
}

#[derive(Debug, Clone, Copy)]
struct Second {
    repetition: u64,
    definition: u64,
    is_compressed: bool,
}

/// The pages of a chunk.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub dictionary: Option<PageAt>,
    /// First row of each page, counted within the row group, and the page.
    pub data: Vec<(u64, PageAt)>,
}

impl Pages {
    /// Goes through the headers of a chunk's pages.
    pub fn read(input: &Input, chunk: &Chunk) -> Result<Self, Problem> {
        let end = chunk.start.checked_add(chunk.length).filter(|&end| end <= input.length());
        let end = end.ok_or_else(|| damaged("a column reaches beyond the end of the file"))?;
        let (mut at, mut row, mut pages) = (chunk.start, 0u64, Self::default());
        while at < end {
            let (kind, page) = header(input, at, end)?;
            // Both are within the file, whose length is far from that of a number.
            at = page.offset + page.compressed;
            if at > end {
                return Err(damaged("a page reaches beyond its column"));
            }
            match kind {
                DICTIONARY if pages.dictionary.is_none() && pages.data.is_empty() => {
                    pages.dictionary = Some(page)
                }
                DATA | DATA_2 => {
                    pages.data.push((row, page));
                    row += page.values;
                }
                // An index page, of which there is no use here.
                1 => {}
                _ => return Err(damaged("a page of unknown kind")),
            }
            if pages.data.len() > MOST_PAGES {
                return Err(damaged("a column has too many pages"));
            }
        }
        Ok(pages)
    }

    /// The page of a row, which is counted within the row group, and the place of the row in it.
    pub fn of_row(&self, row: u64) -> Option<(&PageAt, u64)> {
        let after = self.data.partition_point(|&(first, _)| first <= row);
        let (first, page) = self.data[..after].last()?;
        Some((page, row - first)).filter(|&(page, place)| place < page.values)
    }
}

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_2: i64 = 3;

/// Reads the header of the page at `at`; returns its kind, and the page.
fn header(input: &Input, at: u64, end: u64) -> Result<(i64, PageAt), Problem> {
    for window in HEADER_WINDOWS {
        let whole = window as u64 >= end - at;
        let bytes = input.peek(at, window.min((end - at) as usize))?;
        if let Some((length, kind, page)) = parse_header(&bytes) {
            return Ok((kind, PageAt { offset: at + length as u64, ..page }));
        }
        if whole {
            break;
        }
    }
    Err(damaged("the header of a page"))
}

fn parse_header(bytes: &[u8]) -> Option<(usize, i64, PageAt)> {
    fn size(thrift: &mut Thrift<'_>, kind: Kind) -> Option<u64> {
        u32::try_from(thrift.integer(kind)?).ok().map(u64::from)
    }
    let mut thrift = Thrift::new(bytes);
    let (mut page, mut kind_of_page) = (PageAt::default(), -1);
    thrift.structure(|thrift, number, kind| {
        match (number, kind) {
            (1, _) => kind_of_page = thrift.integer(kind)?,
            (2, _) => page.length = size(thrift, kind)?,
            (3, _) => page.compressed = size(thrift, kind)?,
            (5 | 7, Kind::STRUCT) => thrift.structure(|thrift, number, kind| {
                match number {
                    1 => page.values = size(thrift, kind)?,
                    2 => page.encoding = thrift.integer(kind)?,
                    _ => return Some(false),
                }
                Some(true)
            })?,
            (8, Kind::STRUCT) => {
                let mut second = Second { repetition: 0, definition: 0, is_compressed: true };
                thrift.structure(|thrift, number, kind| {
                    match number {
                        1 => page.values = size(thrift, kind)?,
                        4 => page.encoding = thrift.integer(kind)?,
                        5 => second.definition = size(thrift, kind)?,
                        6 => second.repetition = size(thrift, kind)?,
                        7 => second.is_compressed = kind.boolean()?,
                        _ => return Some(false),
                    }
                    Some(true)
                })?;
                page.second = Some(second);
            }
            _ => return Some(false),
        }
        Some(true)
    })?;
    (kind_of_page >= 0).then_some((thrift.position(), kind_of_page, page))
}

/// The content of a page, decompressed.
pub(super) struct Page {
    pub bytes: Arc<[u8]>,
    /// Where the repetition levels are, which say whether an entry begins a row; of a column in a list only.
    pub repetition: Range<usize>,
    /// Where the definition levels are, which say whether a row has a value.
    pub levels: Range<usize>,
    /// Where the values begin.
    pub values: usize,
    pub encoding: i64,
}

impl Page {
    /// Reads a page of a column of which `nullable` of the names may be null, and which is in no list.
    pub fn read(input: &Input, at: &PageAt, codec: i64, nullable: u8) -> Result<Self, Problem> {
        Self::read_any(input, at, codec, nullable, false)
    }

    /// Reads a page of a column that may be in a list.
    pub fn read_any(
        input: &Input,
        at: &PageAt,
        codec: i64,
        nullable: u8,
        repeated: bool,
    ) -> Result<Self, Problem> {
        if at.length > at.compressed.saturating_mul(MOST_COMPRESSED).saturating_add(FREE_LENGTH) {
            return Err(damaged("a page claims an implausible length"));
        }
        let stored = input.peek(at.offset, at.compressed as usize)?;
        if (stored.len() as u64) < at.compressed {
            return Err(damaged("it ends within a page"));
        }
        let short = || damaged("a page is too short");
        let (bytes, repetition, levels, values) = match at.second {
            Some(second) => {
                let levels = usize::try_from(second.repetition + second.definition).map_err(|_| short())?;
                let (head, rest) = stored.split_at_checked(levels).ok_or_else(short)?;
                let codec = if second.is_compressed { codec } else { UNCOMPRESSED };
                let length = (at.length as usize).checked_sub(levels).ok_or_else(short)?;
                let mut bytes = head.to_vec();
                bytes.extend(decompress(rest, codec, length)?);
                let repetition = second.repetition as usize;
                (bytes, 0..repetition, repetition..levels, levels)
            }
            None => {
                let bytes = decompress(&stored, codec, at.length as usize)?;
                // Each kind of levels has its length in front of it.
                let after = |start: usize, present: bool| {
                    if !present {
                        return Ok(start..start);
                    }
                    let length = bytes.get(start..).and_then(|bytes| bytes.first_chunk());
                    let length = length.map(|&length| u32::from_le_bytes(length) as usize);
                    let end = length.map(|length| start + 4 + length).filter(|&end| end <= bytes.len());
                    end.map(|end| start + 4..end).ok_or_else(short)
                };
                let repetition = after(0, repeated)?;
                let levels = after(repetition.end, nullable > 0)?;
                let values = levels.end;
                (bytes, repetition, levels, values)
            }
        };
        Ok(Self { bytes: bytes.into(), repetition, levels, values, encoding: at.encoding })
    }

    /// Memory that it needs, in bytes.
    pub fn weight(&self) -> usize {
        self.bytes.len()
    }

    /// The value of the row at `place` in the page; `None` if it is null. `dictionary` returns the chunk's dictionary.
    pub fn value(
        &self,
        place: u64,
        nullable: u8,
        dictionary: impl FnOnce() -> Result<Arc<Page>, Problem>,
    ) -> Result<Option<Input>, Problem> {
        let lost = || damaged("the values of a page");
        let mut number = place;
        if nullable > 0 {
            let levels = Levels::new(&self.bytes[self.levels.clone()], u8::BITS - nullable.leading_zeros());
            let present = u64::from(nullable);
            if levels.at(place).ok_or_else(lost)? != present {
                return Ok(None);
            }
            number = levels.count_before(place, present).ok_or_else(lost)?;
        }
        match self.encoding {
            PLAIN => self.plain(number).map(Some).ok_or_else(lost),
            PLAIN_DICTIONARY | RLE_DICTIONARY => {
                let (&width, indices) = self.bytes[self.values..].split_first().ok_or_else(lost)?;
                let index = match width {
                    0 => 0,
                    1..=32 => Levels::new(indices, width.into()).at(number).ok_or_else(lost)?,
                    _ => return Err(lost()),
                };
                dictionary()?.plain(index).map(Some).ok_or_else(lost)
            }
            encoding => Err(unread_encoding(encoding)),
        }
    }

    /// A value of a page where each has its length in front of it.
    fn plain(&self, number: u64) -> Option<Input> {
        let mut at = self.values;
        for number in (0..=number).rev() {
            let length = u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?) as usize;
            let (start, end) = (at + 4, at.checked_add(length)?.checked_add(4)?);
            if end > self.bytes.len() {
                return None;
            }
            if number == 0 {
                return Some(Input::of_bytes(self.bytes.clone()).part(start as u64, length as u64));
            }
            at = end;
        }
        None
    }
}

/// The error for an encoding that is not read.
pub(super) fn unread_encoding(encoding: i64) -> Problem {
    let name = match encoding {
        5 => "DELTA_BINARY_PACKED".to_owned(),
        6 => "DELTA_LENGTH_BYTE_ARRAY".to_owned(),
        7 => "DELTA_BYTE_ARRAY".to_owned(),
        9 => "BYTE_STREAM_SPLIT".to_owned(),
        number => format!("number {number}"),
    };
    let what = format!("its values are in the encoding {name}, which is not read");
    Problem::Archive { what, remedy: "write it again with pandas, pyarrow or datasets".into() }
}

pub(super) const PLAIN: i64 = 0;
pub(super) const PLAIN_DICTIONARY: i64 = 2;
pub(super) const RLE: i64 = 3;
pub(super) const RLE_DICTIONARY: i64 = 8;

const UNCOMPRESSED: i64 = 0;

/// Decompresses bytes that become `length` bytes.
fn decompress(bytes: &[u8], codec: i64, length: usize) -> Result<Vec<u8>, Problem> {
    let failed = || damaged("a page cannot be decompressed");
    let mut out = Vec::new();
    // One byte more than promised would show that the promise is wrong; more are never made.
    let most = length as u64 + 1;
    match codec {
        UNCOMPRESSED => out.extend_from_slice(bytes),
        1 => {
            if snap::raw::decompress_len(bytes).map_err(|_| failed())? != length {
                return Err(failed());
            }
            out = snap::raw::Decoder::new().decompress_vec(bytes).map_err(|_| failed())?;
        }
        2 => {
            flate2::read::MultiGzDecoder::new(bytes)
                .take(most)
                .read_to_end(&mut out)
                .map_err(|_| failed())?;
        }
        6 => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|_| failed())?;
            decoder.take(most).read_to_end(&mut out).map_err(|_| failed())?;
        }
        7 => {
            out.resize(length, 0);
            let written = lz4_flex::block::decompress_into(bytes, &mut out).map_err(|_| failed())?;
            out.truncate(written);
        }
        other => {
            let name = match other {
                3 => "LZO",
                4 => "Brotli",
                5 => "the old LZ4",
                _ => return Err(damaged("its compression is unknown")),
            };
            let remedy = "write it again with snappy or zstd".into();
            return Err(Problem::Archive {
                what: format!("it is compressed with {name}, which is not read"),
                remedy,
            });
        }
    }
    if out.len() == length { Ok(out) } else { Err(failed()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_page_that_claims_gigabytes_is_refused_before_they_are_taken() {
        let input = Input::of_bytes([7; 100]);
        let page = |length| PageAt { compressed: 100, length, ..PageAt::default() };
        // 64 × 100 bytes, and the 16 MiB that every page may have.
        for (length, expected) in [
            (6400 + (16 << 20), "a page cannot be decompressed"),
            (6401 + (16 << 20), "a page claims an implausible length"),
        ] {
            let Err(problem) = Page::read(&input, &page(length), 1, 0) else { panic!("{length}") };
            assert_eq!(
                problem.to_string(),
                format!("the Parquet file is damaged: {expected}; fetch it again")
            );
        }
    }

    #[test]
    fn no_more_is_decompressed_than_the_header_promises() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = gzip.finish().unwrap();
        assert_eq!(decompress(&bomb, 2, 1 << 20).unwrap().len(), 1 << 20);
        assert!(decompress(&bomb, 2, 1000).is_err());
        assert!(decompress(&bomb, 2, 2 << 20).is_err());
    }

    #[test]
    fn a_page_of_a_million_rows_in_a_few_bytes_costs_nothing() {
        // 2^31 null rows: one run of level 0, in front of which is its length, 6.
        let levels = [&6u32.to_le_bytes()[..], &[0x80, 0x80, 0x80, 0x80, 0x10, 0]].concat();
        let length = levels.len() as u64;
        let at = PageAt { compressed: length, length, values: 1 << 31, ..PageAt::default() };
        let page = Page::read(&Input::of_bytes(levels), &at, UNCOMPRESSED, 1).unwrap();
        assert!(page.value((1 << 31) - 1, 1, || panic!("there is no dictionary")).unwrap().is_none());
        assert!(page.value(1 << 31, 1, || panic!("there is no dictionary")).is_err());
    }
}
