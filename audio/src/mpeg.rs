//! MPEG audio, layers 1 to 3, without a container.

mod header;
mod info_tag;
mod length;

use super::decoder::{ClipInfo, Decoder};
use super::elementary::{Coded, Elementary};
use super::error::Problem;
use super::frames::{Frames, Header as _};
use super::input::Input;
use super::tags;

use header::Header;
use info_tag::InfoTag;

/// How far from the start of a file its first frame may be, tags not counted.
const LEAD: u64 = 64 << 10;

/// A header that states the file's size to within this many bytes counts its frames rightly.
const SIZE_SLACK: u64 = 4096;

/// Longest frame of the free format that is recognised.
const LONGEST_FREE: usize = 8 << 10;

/// Where the content begins after the ID3v2 tags at `start`, of which there may be several.
pub(crate) fn end_of_id3v2(input: &Input, start: u64) -> Result<u64, Problem> {
    let mut position = start;
    while let Some(length) = tags::id3v2(&input.peek(position, 10)?) {
        position += length;
    }
    Ok(position.min(input.length()))
}

/// Where the first frame of MPEG audio begins, if there is one near `start`: three frames of one format in a row, or
/// fewer if the file ends with them.
///
/// Errors: [`Problem::Unsupported`] if frames of the free format begin there.
pub(crate) fn find_start(input: &Input, start: u64) -> Result<Option<u64>, Problem> {
    let part = input.part(start, u64::MAX);
    if let Some(frame) = Frames::<Header>::new(part.clone())?.next_within(LEAD)? {
        return Ok(Some(start + frame.position));
    }
    if is_free_format(&part)? {
        return Err(Problem::unsupported("MPEG audio of the free format (a bitrate that no table lists)"));
    }
    Ok(None)
}

/// Opens MPEG audio.
pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let mut frames = Frames::<Header>::new(input.clone())?;
    let mut begin = frames.place();
    let Some(first) = frames.next_within(LEAD)? else {
        return Err(Problem::corrupt("it begins like MPEG audio, but no frames follow"));
    };
    let header = first.header;
    let tag = InfoTag::read(&header, frames.content(&first)?, input.length() - first.position);
    if tag.is_silent {
        begin = frames.place();
    }
    frames.go_to(begin);
    let promise = tag.frames.map(|count| tag.trim.heard(count * header.samples()));
    let start = if tag.is_silent { first.position + header.length() as u64 } else { first.position };
    let content = frames.end() - first.position;
    let is_exact = tag.bytes.is_some_and(|bytes| bytes.abs_diff(content) <= SIZE_SLACK);
    let stated = match promise.filter(|_| is_exact) {
        Some(promise) => Some(promise),
        None => length::measure(&input, &header, start, frames.end())?.map(|samples| tag.trim.heard(samples)),
    };
    let info = ClipInfo {
        format: "MPEG audio",
        codec: format!("MP{}", header.layer),
        rate: header.rate,
        channels: header.channels(),
        frames: stated,
    };
    Ok(Box::new(Elementary::new(frames, info, tag.trim, promise)))
}

/// Whether frames of the free format begin here: three headers that differ in nothing but padding, at equal distances.
fn is_free_format(input: &Input) -> Result<bool, Problem> {
    let bytes = input.peek(0, 2 * LONGEST_FREE + 8)?;
    let header = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied();
    let Some(first) = header(0).filter(|&first| header::is_free_format(first)) else { return Ok(false) };
    let alike = |at: usize| {
        header(at).is_some_and(|other| {
            other[..2] == first[..2] && (other[2] ^ first[2]) & 0xfd == 0 && (other[3] ^ first[3]) & 0xcf == 0
        })
    };
    // A frame with padding is longer by one byte, or by four in layer 1.
    let next = |at: usize, length: usize| [0, 1, 4].iter().any(|padding| alike(at + length + padding));
    Ok((24..LONGEST_FREE).any(|length| alike(length) && next(length, length)))
}

#[cfg(test)]
mod tests;
