//! The boxes of an MP4 file that symphonia does not apply: the edit list, and what the codec is.

use std::io;

use super::error::Problem;
use super::input::Input;

/// Largest index of a movie that is read, in bytes: that of a day of AAC has 20 MB.
const LARGEST_INDEX: u64 = 64 << 20;

/// The code of the first sound track's codec, and the object type in its `esds` box, if it has one.
pub(crate) fn sample_entry(input: &Input) -> io::Result<Option<([u8; 4], Option<u8>)>> {
    let Ok(Some(movie)) = movie(input) else { return Ok(None) };
    let table = sound_track(&movie)
        .and_then(|track| find(find(find(track, b"mdia")?, b"minf")?, b"stbl"))
        .and_then(|table| find(table, b"stsd"));
    // Version, flags and the number of entries come first; then the length of the entry, and its code.
    Ok(table.and_then(|table| Some((*table.get(12..16)?.first_chunk()?, object_type(table)))))
}

/// `esds` has a version, an ES descriptor (tag 3: its length, an id and flags), and in it a decoder configuration (tag 4:
/// its length, the object type).
fn object_type(table: &[u8]) -> Option<u8> {
    let start = table.windows(4).position(|window| window == b"esds")? + 8;
    let inside = descriptor(table.get(start..)?, 3)?;
    descriptor(inside.get(3..)?, 4)?.first().copied()
}

/// The content of a descriptor with this tag, whose length has seven bits in each of one to four bytes.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (&found, rest) = bytes.split_first()?;
    let lengths = rest.iter().take(4).take_while(|&&byte| byte & 0x80 != 0).count() + 1;
    if found == tag { rest.get(lengths..) } else { None }
}

/// The content of the `moov` box.
///
/// Errors: the file ends long before one of its boxes does.
pub(crate) fn movie(input: &Input) -> Result<Option<Vec<u8>>, Problem> {
    let (mut position, mut movie) = (0, None);
    // A file has a handful of boxes at its top level, and a fragmented one two for each fragment.
    for _ in 0..1 << 20 {
        let header = input.peek(position, 16)?;
        let rest = input.length() - position;
        let Some((header_length, length)) = box_lengths(&header, rest) else {
            let cut = header.get(4..8).filter(|name| [&b"mdat"[..], b"moov"].contains(name));
            if let (Some(name), Some((_, promised))) = (cut, box_lengths(&header, u64::MAX))
                && promised > rest + rest / 100
            {
                let name = name.escape_ascii();
                let what = format!("it is truncated: its {name} box promises {promised} bytes, {rest} found");
                return Err(Problem::corrupt(what));
            }
            break;
        };
        if header.get(4..8) == Some(b"moov") && movie.is_none() {
            let content = length - header_length;
            if content <= LARGEST_INDEX {
                movie = Some(input.peek(position + header_length, content as usize)?);
            }
        }
        position += length;
        if length == 0 || position >= input.length() {
            break;
        }
    }
    Ok(movie)
}

/// The lengths in bytes of a box's header and of the whole box, of which `rest` bytes are there.
fn box_lengths(header: &[u8], rest: u64) -> Option<(u64, u64)> {
    let (header_length, length) = match u32_at(header, 0)? {
        0 => (8, rest),
        1 => (16, u64_at(header, 8)?),
        length => (8, u64::from(length)),
    };
    (length >= header_length && length <= rest).then_some((header_length, length))
}

/// The part of the audio track that is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Edit {
    /// Length to drop at the start, in seconds.
    pub start: f64,
    /// Length to keep after `start`, in seconds; `None` to keep everything.
    pub length: Option<f64>,
}

/// The edit of the first audio track, if the movie has one simple edit and is not fragmented: ffmpeg plays the priming of
/// fragmented files.
pub(crate) fn sound_edit(movie: &[u8]) -> Option<Edit> {
    if find(movie, b"mvex").is_some() {
        return None;
    }
    let movie_scale = time_scale(find(movie, b"mvhd")?)?;
    let track = sound_track(movie)?;
    let media_scale = time_scale(find(find(track, b"mdia")?, b"mdhd")?)?;
    let list = find(find(track, b"edts")?, b"elst")?;
    // An entry with a negative time is silence before the track, which aligns it with the video.
    let mut edits = edits(list).filter(|&(_, time)| time >= 0);
    let (length, time) = edits.next()?;
    let only = edits.next().is_none();
    Some(Edit {
        start: time as f64 / media_scale,
        length: (only && length > 0).then(|| length as f64 / movie_scale),
    })
}

fn sound_track(movie: &[u8]) -> Option<&[u8]> {
    boxes(movie).filter(|(kind, _)| *kind == b"trak").map(|(_, track)| track).find(|track| is_sound(track))
}

/// The type and content of each box at the top level of `bytes`, up to the first malformed box.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let kind = bytes.get(4..8)?.first_chunk()?;
        let (header, length) = box_lengths(bytes, bytes.len() as u64)?;
        let content = &bytes[header as usize..length as usize];
        bytes = &bytes[length as usize..];
        Some((kind, content))
    })
}

fn find<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

fn is_sound(track: &[u8]) -> bool {
    let handler = find(track, b"mdia").and_then(|media| find(media, b"hdlr"));
    handler.and_then(|handler| handler.get(8..12)) == Some(b"soun")
}

/// Time units per second of an `mvhd` or `mdhd` box. The box's version determines the size of the two
/// dates before the field.
fn time_scale(header: &[u8]) -> Option<f64> {
    let scale = u32_at(header, if *header.first()? == 1 { 20 } else { 12 })?;
    (scale > 0).then_some(f64::from(scale))
}

/// The entries of an `elst` box: the length in units of the movie, and the start in units of the track.
fn edits(list: &[u8]) -> impl Iterator<Item = (u64, i64)> {
    let wide = list.first() == Some(&1);
    let entry_bytes = if wide { 20 } else { 12 };
    let count = u32_at(list, 4).unwrap_or(0) as usize;
    let entries = list.get(8..).unwrap_or_default();
    entries.chunks_exact(entry_bytes).take(count).filter_map(move |entry| {
        if wide {
            Some((u64_at(entry, 0)?, u64_at(entry, 8)? as i64))
        } else {
            Some((u32_at(entry, 0)?.into(), (u32_at(entry, 4)? as i32).into()))
        }
    })
}

fn u32_at(bytes: &[u8], position: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], position: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(position..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    fn numbers(values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_be_bytes()).collect()
    }

    fn file(entries: &[(u32, i32)]) -> Vec<u8> {
        let header = |scale| numbers(&[0, 0, 0, scale, 0]);
        let handler = make(b"hdlr", &[&numbers(&[0, 0])[..], b"soun"].concat());
        let media = make(b"mdia", &[make(b"mdhd", &header(44_100)), handler].concat());
        let mut list = numbers(&[0, entries.len() as u32]);
        for &(length, time) in entries {
            list.extend(numbers(&[length, time as u32, 0x1_0000]));
        }
        let edit = make(b"edts", &make(b"elst", &list));
        let track = make(b"trak", &[edit, media].concat());
        let movie = make(b"moov", &[make(b"mvhd", &header(1000)), track].concat());
        [make(b"ftyp", b"M4A "), make(b"mdat", &[7; 100]), movie].concat()
    }

    fn edit_of(bytes: Vec<u8>) -> Option<Edit> {
        sound_edit(&movie(&Input::of_bytes(bytes)).ok()??)
    }

    #[test]
    fn aac_priming_samples_are_an_edit() {
        // Start: 1024 samples at 44.1 kHz. Length: 500 units of 1/1000 s.
        let edit = edit_of(file(&[(500, 1024)])).unwrap();
        assert_eq!(edit, Edit { start: 1024.0 / 44_100.0, length: Some(0.5) });
    }

    #[test]
    fn leading_silence_and_unknown_length_cut_nothing() {
        let edit = edit_of(file(&[(20, -1), (0, 2112)])).unwrap();
        assert_eq!(edit, Edit { start: 2112.0 / 44_100.0, length: None });
    }

    #[test]
    fn files_without_an_edit_have_none() {
        assert_eq!(edit_of(file(&[])), None);
        assert_eq!(edit_of(b"RIFF....".to_vec()), None);
        assert_eq!(edit_of(Vec::new()), None);
    }

    #[test]
    fn a_truncated_file_has_no_edit() {
        let whole = file(&[(500, 1024)]);
        for length in 0..whole.len() {
            assert_eq!(edit_of(whole[..length].to_vec()), None);
        }
    }
}
