//! The padding at the end of a sound track in Matroska and WebM files, which symphonia reads over.
//!
//! An encoder fills its last frame up; the block of that frame states how much of it is padding. Clusters are skipped by
//! their lengths, so that only the last one is looked at.
//!
//! <https://www.rfc-editor.org/rfc/rfc9559>

use std::io;

use super::input::Input;

const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;

/// Most elements that are looked at: the blocks of a day, where no lengths are stated.
const MOST_ELEMENTS: usize = 1 << 23;

/// The padding after the last block of a track, in nanoseconds.
pub(crate) fn end_padding(input: &Input, track: u32) -> io::Result<u64> {
    let (mut last_cluster, mut padding, mut position) = (None, 0, 0);
    for _ in 0..MOST_ELEMENTS {
        let Some(element) = Element::read(input, position)? else { break };
        match (element.id, element.end) {
            (SEGMENT, _) | (CLUSTER, None) => position = element.body,
            (CLUSTER, Some(end)) => (last_cluster, position) = (Some(element.body..end), end),
            // In a cluster without a length.
            (SIMPLE_BLOCK | BLOCK_GROUP, Some(end)) => {
                if let Some(found) = padding_of(input, &element, end, track)? {
                    (padding, last_cluster) = (found, None);
                }
                position = end;
            }
            (_, Some(end)) => position = end,
            (_, None) => break,
        }
    }
    let Some(cluster) = last_cluster else { return Ok(padding) };
    let mut position = cluster.start;
    while let Some(element) = Element::read(input, position)?.filter(|element| element.body <= cluster.end) {
        let Some(end) = element.end else { break };
        padding = padding_of(input, &element, end, track)?.unwrap_or(padding);
        position = end;
    }
    Ok(padding)
}

/// The padding of a block, if it is one of the track.
fn padding_of(input: &Input, element: &Element, end: u64, track: u32) -> io::Result<Option<u64>> {
    if element.id == SIMPLE_BLOCK {
        return Ok(is_of(input, element.body, track)?.then_some(0));
    }
    if element.id != BLOCK_GROUP {
        return Ok(None);
    }
    let (mut position, mut ours, mut padding) = (element.body, false, 0);
    while position < end
        && let Some(child) = Element::read(input, position)?
        && let Some(child_end) = child.end
    {
        match child.id {
            BLOCK => ours = is_of(input, child.body, track)?,
            DISCARD_PADDING => {
                let bytes = input.peek(child.body, (child_end - child.body).min(8) as usize)?;
                let positive = bytes.first().is_some_and(|byte| byte & 0x80 == 0);
                padding = if positive { number(&bytes) } else { 0 };
            }
            _ => {}
        }
        position = child_end;
    }
    Ok(ours.then_some(padding))
}

/// Whether the block that begins here belongs to a track: its number comes first.
fn is_of(input: &Input, position: u64, track: u32) -> io::Result<bool> {
    Ok(variable(&input.peek(position, 8)?).is_some_and(|(number, _)| number == Some(track.into())))
}

/// The header of an element.
struct Element {
    id: u32,
    /// Where its content begins and ends; a cluster that is written live does not state its end.
    body: u64,
    end: Option<u64>,
}

impl Element {
    /// Reads the header at a position; `None` if there is none, or the element does not fit in the file.
    fn read(input: &Input, position: u64) -> io::Result<Option<Self>> {
        let bytes = input.peek(position, 12)?;
        let Some(id_length) = bytes.first().map(|first| first.leading_zeros() as usize + 1) else {
            return Ok(None);
        };
        let (Some(id), Some((length, length_bytes))) =
            (bytes.get(..id_length).filter(|id| id.len() <= 4), bytes.get(id_length..).and_then(variable))
        else {
            return Ok(None);
        };
        let body = position + (id_length + length_bytes) as u64;
        let id = number(id) as u32;
        let end = match length {
            Some(length) => body.checked_add(length).filter(|&end| end <= input.length()),
            None => None,
        };
        // A file that was cut short ends within its segment, and within a cluster.
        let known = end.is_some() || length.is_none() || matches!(id, SEGMENT | CLUSTER);
        Ok(known.then_some(Self { id, body, end }))
    }
}

/// A number whose first bits state its length, and that length in bytes. The number of all ones stands for none.
fn variable(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let value = number(bytes.get(..length)?);
    let mask = (1 << (7 * length)) - 1;
    Some(((value & mask != mask).then_some(value & mask), length))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(id: &[u8], content: &[u8]) -> Vec<u8> {
        [id, &[0x40, content.len() as u8], content].concat()
    }

    /// A block of track 1 with this padding in nanoseconds, as ffmpeg writes the last one.
    fn group(padding: u32) -> Vec<u8> {
        let block = make(&[0xa1], &[0x81, 0, 0, 0, 7, 7]);
        make(&[0xa0], &[block, make(&[0x75, 0xa2], &padding.to_be_bytes())].concat())
    }

    fn simple(track: u8) -> Vec<u8> {
        make(&[0xa3], &[0x80 | track, 0, 0, 0x80, 7])
    }

    fn file(clusters: &[Vec<u8>], lengths: bool) -> Input {
        let segment: Vec<u8> = clusters
            .iter()
            .flat_map(|cluster| match lengths {
                true => make(&CLUSTER.to_be_bytes(), cluster),
                false => [&CLUSTER.to_be_bytes()[..], &[0xff], cluster].concat(),
            })
            .collect();
        let head = make(&[0x1a, 0x45, 0xdf, 0xa3], &[0; 9]);
        Input::of_bytes([head, SEGMENT.to_be_bytes().to_vec(), vec![0xff], segment].concat())
    }

    #[test]
    fn the_last_block_of_the_track_states_the_padding() {
        for lengths in [true, false] {
            let padding = |clusters: &[Vec<u8>]| end_padding(&file(clusters, lengths), 1).unwrap();
            assert_eq!(padding(&[simple(1), [simple(1), group(13_500_000)].concat()]), 13_500_000);
            // Of another track, and of a block that is not the last.
            assert_eq!(padding(&[[group(5_000_000), simple(2)].concat()]), 5_000_000);
            assert_eq!(padding(&[[group(5_000_000), simple(1)].concat()]), 0);
            assert_eq!(padding(&[group(5_000_000), simple(1)]), 0);
            // Negative: silence to insert, which is not done.
            assert_eq!(padding(&[group(0x8000_0001)]), 0);
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_read_to_its_end() {
        let whole = file(&[simple(1), group(13_500_000)], true).peek(0, 1000).unwrap();
        for length in 0..whole.len() {
            assert_eq!(end_padding(&Input::of_bytes(&whole[..length]), 1).unwrap(), 0);
        }
    }
}
