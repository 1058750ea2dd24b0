//! What symphonia does not tell of an Ogg file: whether it holds several recordings, one after another, and what the codec
//! is if it is unknown.

use std::io;

use super::input::Input;

/// Bytes of a page's header, without the lengths of its packets.
const HEADER: usize = 27;

/// The longest page.
const LONGEST_PAGE: u64 = 65_307;

/// Most streams of a recording that are looked at.
const MOST_STREAMS: usize = 64;

/// Longest file of which all pages are looked at: 4000 of them, an hour of Opus.
const WALKED: u64 = 16 << 20;

/// Whether a stream begins after the first ones. In a long file, only the last page is looked at: if its stream does not
/// begin where the file does, there is another recording.
pub(crate) fn is_chained(input: &Input) -> io::Result<bool> {
    let (mut serials, mut position) = (Vec::new(), 0);
    while serials.len() < MOST_STREAMS
        && let Some(page) = Page::read(input, position)?
        && page.is_first
    {
        serials.push(page.serial);
        position += page.bytes;
    }
    if input.length() <= WALKED {
        while let Some(page) = Page::read(input, position)? {
            if page.is_first {
                return Ok(true);
            }
            position += page.bytes;
        }
    }
    let tail_start = input.length().saturating_sub(LONGEST_PAGE);
    let tail = input.peek(tail_start, LONGEST_PAGE as usize)?;
    let last = tail.windows(HEADER).rposition(|window| window.starts_with(b"OggS\0"));
    let last = last.and_then(|at| serial(&tail[at..]));
    Ok(last.is_some_and(|last| !serials.is_empty() && !serials.contains(&last)))
}

/// What a file holds that symphonia finds no track in, by the first packet of its first stream.
pub(crate) fn unknown_codec(input: &Input) -> io::Result<Option<&'static str>> {
    let bytes = input.peek(0, HEADER + 255 + 32)?;
    let lengths = usize::from(bytes.get(HEADER - 1).copied().unwrap_or(0));
    let packet = bytes.get(HEADER + lengths..).unwrap_or_default();
    Ok(match packet {
        [b'S', b'p', b'e', b'e', b'x', b' ', ..] => Some("Speex in Ogg"),
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => {
            Some("Ogg of Theora video without a known sound track")
        }
        // The byte after the gain is the family of the channel mapping.
        _ if packet.starts_with(b"OpusHead") && packet.get(18).is_some_and(|&family| family > 1) => {
            Some("Opus in Ogg with channels that have no loudspeakers")
        }
        _ => None,
    })
}

/// What is needed of a page.
struct Page {
    serial: u32,
    /// Whether a stream begins with it.
    is_first: bool,
    bytes: u64,
}

impl Page {
    fn read(input: &Input, position: u64) -> io::Result<Option<Self>> {
        let bytes = input.peek(position, HEADER + 255)?;
        let (Some(serial), Some(&flags), Some(&count)) =
            (serial(&bytes), bytes.get(5), bytes.get(HEADER - 1))
        else {
            return Ok(None);
        };
        let lengths = bytes[HEADER..].iter().take(count.into());
        let content: u64 = lengths.map(|&length| u64::from(length)).sum();
        Ok(Some(Self { serial, is_first: flags & 2 != 0, bytes: HEADER as u64 + u64::from(count) + content }))
    }
}

/// The number of the stream that a page belongs to.
fn serial(page: &[u8]) -> Option<u32> {
    let number = page.get(14..18).filter(|_| page.starts_with(b"OggS"))?;
    Some(u32::from_le_bytes(*number.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(serial: u8, first: bool) -> Vec<u8> {
        let flags = if first { 2 } else { 0 };
        let head = [b"OggS", &[0, flags][..], &[0; 8], &[serial, 0, 0, 0], &[0; 8], &[2, 255, 9]].concat();
        [head, vec![1; 264]].concat()
    }

    fn chained(pages: &[Vec<u8>]) -> bool {
        is_chained(&Input::of_bytes(pages.concat())).unwrap()
    }

    #[test]
    fn streams_that_begin_together_are_one_recording() {
        assert!(!chained(&[page(1, true), page(1, false)]));
        assert!(!chained(&[page(1, true), page(2, true), page(1, false), page(2, false)]));
        assert!(chained(&[page(1, true), page(1, false), page(2, true), page(2, false)]));
        assert!(chained(&[page(1, true), page(1, false), page(1, true), page(1, false)]));
        assert!(!chained(&[page(1, true)[..20].to_vec()]));
        assert!(!chained(&[]));
    }
    #[test]
    fn codecs_that_symphonia_does_not_know_are_named() {
        let named = |packet: &[u8]| {
            let mut bytes = page(1, true)[..HEADER + 2].to_vec();
            bytes.extend(packet);
            unknown_codec(&Input::of_bytes(bytes)).unwrap()
        };
        assert_eq!(named(b"Speex   1.2"), Some("Speex in Ogg"));
        assert!(
            named(b"OpusHead\x01\x04\0\0\0\0\0\0\0\0\xff").unwrap().starts_with("Opus in Ogg with channels")
        );
        assert_eq!(named(b"OpusHead\x01\x04\0\0\0\0\0\0\0\0\x01"), None);
        assert_eq!(unknown_codec(&Input::of_bytes(*b"OggS")).unwrap(), None);
    }
}
