//! The tags that stand before, between and after the frames of an MP3 or AAC file: ID3, APE and Lyrics3.
//!
//! Joined files have them in the middle. None of them is sound, and their pictures contain bytes that look like frames,
//! so they are skipped by the lengths that they state.

use std::io;

use super::input::Input;

const ID3V1: u64 = 128;
const ID3V1_ENHANCED: u64 = 227;
/// Header or footer of an APE tag.
const APE: u64 = 32;
/// Longest Lyrics3 tag: its length is written with six digits.
const LYRICS: usize = 1_000_000;
/// Longest lyrics of version 1, which states no length.
const LYRICS_V1: u64 = 5100;

/// First bytes of the tags that [`length_at`] knows.
pub(crate) const FIRST_BYTES: [u8; 4] = *b"ITAL";

/// The length of the tag at `position` of a file whose content ends at `end`; 0 if there is none.
pub(crate) fn length_at(input: &Input, position: u64, end: u64) -> io::Result<u64> {
    let head = input.peek(position, APE as usize)?;
    let starts = |magic: &[u8]| head.starts_with(magic);
    let length = if starts(b"ID3") {
        id3v2(&head).unwrap_or(0)
    } else if starts(b"TAG+") {
        ID3V1_ENHANCED
    } else if starts(b"TAG") {
        ID3V1
    } else if starts(b"APETAGEX") {
        // A footer ends the tag, and a header is followed by what it counts.
        ape(&head).map_or(0, |tag| if tag.is_header { APE + tag.counted } else { APE })
    } else if starts(b"LYRICSBEGIN") {
        lyrics(&input.peek(position, LYRICS)?)
    } else {
        0
    };
    // A tag that is longer than the file is not one, or its length is wrong: frames may follow.
    Ok(if length <= end.saturating_sub(position) { length } else { 0 })
}

/// Where the sound of a file ends: before the tags at its end, several of which may follow each other.
pub(crate) fn end_of_sound(input: &Input) -> io::Result<u64> {
    let mut end = input.length();
    // Few files have more than three; the limit is for files of nothing but tags.
    for _ in 0..64 {
        let length = length_before(input, end)?;
        if length == 0 {
            break;
        }
        end -= length;
    }
    Ok(end)
}

/// The length of the tag that ends at `end`; 0 if there is none.
fn length_before(input: &Input, end: u64) -> io::Result<u64> {
    let tail = |count: u64| input.peek(end.saturating_sub(count), count.min(end) as usize);
    if end >= ID3V1 && tail(ID3V1)?.starts_with(b"TAG") {
        let enhanced = ID3V1 + ID3V1_ENHANCED;
        return Ok(if end >= enhanced && tail(enhanced)?.starts_with(b"TAG+") { enhanced } else { ID3V1 });
    }
    let footer = tail(APE)?;
    let length = match ape(&footer) {
        Some(tag) if !tag.is_header => tag.counted + if tag.has_header { APE } else { 0 },
        Some(_) => 0,
        None => {
            let bytes = tail(15)?;
            let digits = bytes.get(..6).and_then(|digits| std::str::from_utf8(digits).ok());
            if bytes.ends_with(b"LYRICS200") {
                digits.and_then(|digits| digits.parse::<u64>().ok()).map_or(0, |counted| counted + 15)
            } else if bytes.ends_with(b"LYRICSEND") {
                let text = tail(LYRICS_V1 + 20)?;
                let begin = text.windows(11).rposition(|window| window == b"LYRICSBEGIN");
                begin.map_or(0, |begin| (text.len() - begin) as u64)
            } else {
                0
            }
        }
    };
    Ok(if length <= end { length } else { 0 })
}

/// The length of the ID3v2 tag that begins with `head`.
pub(crate) fn id3v2(head: &[u8]) -> Option<u64> {
    let header: &[u8; 10] = head.first_chunk()?;
    if !header.starts_with(b"ID3") || header[3] == 0xff || header[6..].iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let length = header[6..].iter().fold(0u64, |length, &byte| length << 7 | u64::from(byte));
    let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
    Some(10 + length + footer)
}

struct Ape {
    /// Length of the items and of the footer.
    counted: u64,
    is_header: bool,
    has_header: bool,
}

fn ape(bytes: &[u8]) -> Option<Ape> {
    let bytes: &[u8; APE as usize] = bytes.first_chunk()?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    // Version 1 has no header, and no flags.
    let flags = if word(8) >= 2000 { word(20) } else { 0 };
    bytes.starts_with(b"APETAGEX").then(|| Ape {
        counted: u64::from(word(12)),
        is_header: flags & 1 << 29 != 0,
        has_header: flags & 1 << 31 != 0,
    })
}

/// The length of the Lyrics3 tag that `bytes` begin with.
fn lyrics(bytes: &[u8]) -> u64 {
    let end = bytes.windows(9).position(|window| window == b"LYRICS200" || window == b"LYRICSEND");
    end.map_or(0, |end| end as u64 + 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id3(content: usize, flags: u8) -> Vec<u8> {
        let size = [
            (content >> 21) as u8,
            (content >> 14) as u8 & 0x7f,
            (content >> 7) as u8 & 0x7f,
            content as u8 & 0x7f,
        ];
        [&b"ID3\x04\0"[..], &[flags], &size, &vec![b'x'; content]].concat()
    }

    fn ape_part(counted: u32, flags: u32) -> Vec<u8> {
        [
            &b"APETAGEX"[..],
            &2000u32.to_le_bytes(),
            &counted.to_le_bytes(),
            &[1, 0, 0, 0],
            &flags.to_le_bytes(),
            &[0; 8],
        ]
        .concat()
    }

    fn length(bytes: &[u8]) -> u64 {
        let input = Input::of_bytes([bytes, &[0; 400]].concat());
        length_at(&input, 0, input.length()).unwrap()
    }

    #[test]
    fn each_tag_is_as_long_as_it_says() {
        // 10 + 300, and 10 more with a footer (flag 0x10).
        assert_eq!(length(&id3(300, 0)), 310);
        assert_eq!(length(&id3(300, 0x10)), 320);
        assert_eq!(length(b"TAGtitle"), 128);
        assert_eq!(length(b"TAG+title"), 227);
        // The header (flag 1 << 29) counts 40 bytes after itself; the footer only ends what came before.
        assert_eq!(length(&ape_part(40, 1 << 29 | 1 << 31)), 72);
        assert_eq!(length(&ape_part(40, 1 << 31)), 32);
        assert_eq!(length(b"LYRICSBEGININD0000200000020LYRICS200"), 36);
        assert_eq!(length(b"LYRICSBEGIN la la LYRICSEND"), 27);
        assert_eq!(length(b"\xff\xfb\x90\0"), 0);
    }

    #[test]
    fn a_tag_that_is_longer_than_the_file_is_not_skipped() {
        let input = Input::of_bytes(id3(300, 0));
        assert_eq!(length_at(&input, 0, 309).unwrap(), 0);
        assert_eq!(length_at(&input, 0, 310).unwrap(), 310);
    }

    #[test]
    fn tags_at_the_end_are_found_backwards() {
        let mut file = b"sound".to_vec();
        file.extend(b"LYRICSBEGININD0000200000027LYRICS200");
        file[5 + 21..5 + 27].copy_from_slice(b"000021");
        file.extend(ape_part(32 + 4, 1 << 29 | 1 << 31));
        file.extend(b"item");
        file.extend(ape_part(32 + 4, 1 << 31));
        let before_id3v1 = file.len();
        file.extend([&b"TAG"[..], &[b' '; 125]].concat());
        assert_eq!(end_of_sound(&Input::of_bytes(file.clone())).unwrap(), 5);
        file.truncate(before_id3v1 - 1);
        assert_eq!(end_of_sound(&Input::of_bytes(file)).unwrap(), before_id3v1 as u64 - 1);
    }

    #[test]
    fn a_file_of_nothing_but_tags_ends_at_its_start() {
        let file = [&b"TAG"[..], &[0; 125]].concat();
        assert_eq!(end_of_sound(&Input::of_bytes(file)).unwrap(), 0);
    }
}
