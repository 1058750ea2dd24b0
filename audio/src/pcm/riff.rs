//! WAV files: RIFF with the form `WAVE`, its big-endian sister RIFX, and RF64 and BW64 with lengths of 64 bits.

use super::super::decoder::{Decoder, Warning};
use super::super::error::Problem;
use super::super::input::Input;
use super::Stated;
use super::chunks::{Chunks, Fields, is_id};
use super::place::Place;
use super::wave_format::{FORMAT_BYTES, WaveFormat};

/// Lengths that are placeholders. A program that cannot seek back to write the length writes 2³² − 1 (ffmpeg), a little
/// less, or about 2³¹ − 4097 (sox) or 127 · 2²⁴ (sox, AIFF).
pub(super) fn is_placeholder(length: u32) -> bool {
    matches!(length, 0x7f00_0000..=0x8000_ffff | 0xffff_0000..)
}

pub(crate) fn open(input: Input) -> Result<Box<dyn Decoder>, Problem> {
    let magic = input.peek(0, 4)?;
    let (big_endian, wide) = (magic == b"RIFX", magic == b"RF64" || magic == b"BW64");
    let mut chunks = Chunks::new(&input, 12, big_endian);
    let (mut format, mut fact, mut wide_length) = (None, None, None);
    while let Some(chunk) = chunks.next()? {
        let fields = |count| Fields::read(&input, chunk.body, (chunk.length as usize).min(count), big_endian);
        match &chunk.id {
            b"fmt " if format.is_none() => {
                format = Some(WaveFormat::parse(&fields(FORMAT_BYTES)?, u64::from(chunk.length))?);
            }
            b"fact" => fact = Some(u64::from(fields(4)?.u32(0))),
            b"ds64" if wide => wide_length = Some(fields(16)?.u64(8)),
            b"data" => {
                let Some(format) = format else {
                    return Err(Problem::corrupt("its data chunk comes before its fmt chunk"));
                };
                let stated = match wide_length {
                    Some(length) if chunk.length == u32::MAX => wide_stated(&input, chunk.body, length),
                    _ => stated(&input, chunk.body, chunk.length, big_endian)?,
                };
                let mut warnings = Vec::new();
                if let Stated::Bytes(length) = stated {
                    warnings.extend(after(&input, chunk.body.saturating_add(length))?);
                }
                let place = Place { container: "WAV", offset: chunk.body, stated, fact, warnings };
                return format.decoder(input, place);
            }
            _ => {}
        }
    }
    let what = if format.is_some() { "data" } else { "fmt" };
    Err(Problem::corrupt(format!("{} before a {what} chunk", chunks.end())))
}

/// The length that a data chunk states.
fn stated(input: &Input, body: u64, length: u32, big_endian: bool) -> Result<Stated, Problem> {
    let rest = input.length() - body;
    Ok(match length {
        0 if rest > 0 && !are_chunks(input, body, big_endian)? => Stated::Unfinished,
        length if u64::from(length) > rest && is_placeholder(length) => Stated::Unfinished,
        length => Stated::Bytes(u64::from(length)),
    })
}

/// The length that a ds64 chunk states.
fn wide_stated(input: &Input, body: u64, length: u64) -> Stated {
    let rest = input.length() - body;
    match length {
        0 if rest > 0 => Stated::Unfinished,
        length if length > rest && (length > i64::MAX as u64 || length == u64::from(u32::MAX)) => {
            Stated::Unfinished
        }
        length => Stated::Bytes(length),
    }
}

/// Whether the bytes from `position` are chunks that end where the file ends. So it is after a data chunk that is really
/// empty; after one whose length was never written there are samples.
fn are_chunks(input: &Input, position: u64, big_endian: bool) -> Result<bool, Problem> {
    let mut chunks = Chunks::new(input, position, big_endian);
    let mut end = position;
    while let Some(chunk) = chunks.next()? {
        end = chunk.body + u64::from(chunk.length);
        if !is_id(&chunk.id) || end > input.length() {
            return Ok(false);
        }
    }
    Ok(input.length() - end <= 1)
}

/// A warning if what follows the samples is no chunk, or more samples: then the length of the data chunk is too small.
fn after(input: &Input, end: u64) -> Result<Option<Warning>, Problem> {
    let padded = end.saturating_add(end & 1);
    let rest = input.length().saturating_sub(padded);
    let ids = [input.peek(end, 4)?, input.peek(padded, 4)?];
    let described =
        ids.iter().any(|id| is_id(id) || id.starts_with(b"TAG")) && !ids.iter().any(|id| id == b"data");
    if rest < 8 || described {
        return Ok(None);
    }
    let text =
        format!("the {rest} bytes after its samples are not described by its header, and were not heard");
    Ok(Some(Warning::new("length", text)))
}

#[cfg(test)]
mod tests;
