//! The edit list of an MP4/M4A file: which part of the decoded audio is played.
//!
//! An AAC decoder needs some samples before it produces the signal. Encoders put these before the sound
//! (1024 with ffmpeg) and cut them off again with an edit. Symphonia reads edit lists but does not apply
//! them, so `decode.rs` does.

/// The part of the audio track that is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Edit {
    /// Length to drop at the start, in seconds.
    pub start: f64,
    /// Length to keep after `start`, in seconds; `None` to keep everything.
    pub length: Option<f64>,
}

/// The edit of the first audio track, if the file is an MP4 with one simple edit.
pub(super) fn sound_edit(bytes: &[u8]) -> Option<Edit> {
    if bytes.get(4..8)? != b"ftyp" {
        return None;
    }
    let movie = find(bytes, b"moov")?;
    let movie_scale = time_scale(find(movie, b"mvhd")?)?;
    let mut tracks = boxes(movie).filter(|(kind, _)| *kind == b"trak").map(|(_, track)| track);
    let track = tracks.find(|track| is_sound(track))?;
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

/// The type and content of each box at the top level of `bytes`, up to the first malformed box.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let kind = bytes.get(4..8)?.first_chunk()?;
        let (header, length) = match u32_at(bytes, 0)? {
            0 => (8, bytes.len()),
            1 => (16, usize::try_from(u64_at(bytes, 8)?).ok()?),
            length => (8, length as usize),
        };
        let content = bytes.get(header..length)?;
        bytes = &bytes[length..];
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

    fn movie(entries: &[(u32, i32)]) -> Vec<u8> {
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

    #[test]
    fn aac_priming_samples_are_an_edit() {
        // Start: 1024 samples at 44.1 kHz. Length: 500 units of 1/1000 s.
        let edit = sound_edit(&movie(&[(500, 1024)])).unwrap();
        assert_eq!(edit, Edit { start: 1024.0 / 44_100.0, length: Some(0.5) });
    }

    #[test]
    fn leading_silence_and_unknown_length_cut_nothing() {
        let edit = sound_edit(&movie(&[(20, -1), (0, 2112)])).unwrap();
        assert_eq!(edit, Edit { start: 2112.0 / 44_100.0, length: None });
    }

    #[test]
    fn files_without_an_edit_have_none() {
        assert_eq!(sound_edit(&movie(&[])), None);
        assert_eq!(sound_edit(b"RIFF...."), None);
        assert_eq!(sound_edit(b""), None);
    }

    #[test]
    fn a_truncated_file_has_no_edit() {
        let whole = movie(&[(500, 1024)]);
        for length in 0..whole.len() {
            assert_eq!(sound_edit(&whole[..length]), None);
        }
    }
}
