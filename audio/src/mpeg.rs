//! MPEG audio, layers 1 to 3, without a container.

use super::decoder::Decoder;
use super::error::Problem;
use super::input::Input;

/// Where the content begins after the ID3v2 tags at `start`, of which there may be several.
pub(crate) fn end_of_id3v2(input: &Input, start: u64) -> Result<u64, Problem> {
    let mut position = start;
    while let Ok(header) = <[u8; 10]>::try_from(input.peek(position, 10)?)
        && &header[..3] == b"ID3"
        && header[6..10].iter().all(|byte| byte & 0x80 == 0)
    {
        let length = header[6..10].iter().fold(0u64, |length, &byte| length << 7 | u64::from(byte));
        let footer = if header[5] & 0x10 != 0 { 10 } else { 0 };
        position += 10 + length + footer;
    }
    Ok(position.min(input.length()))
}

/// Where the first frame of MPEG audio begins, if there is one near `start`.
pub(crate) fn find_start(_input: &Input, start: u64) -> Result<Option<u64>, Problem> {
    Ok(Some(start))
}

/// Opens the decoder of a range of MPEG frames.
pub(crate) fn open(_input: Input) -> Result<Box<dyn Decoder>, Problem> {
    Err(Problem::unsupported("MPEG audio in WAV"))
}
