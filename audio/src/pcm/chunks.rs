//! Chunks with an id of four characters and a length of 32 bits, as in RIFF and AIFF files; and numbers in them.

use super::super::error::Problem;
use super::super::input::Input;

/// Most chunks that are looked at: a chunk can have 8 bytes, and a file of them would take minutes to walk through.
const MAX_CHUNKS: usize = 10_000;

/// The bytes of a header. Fields past its end are 0.
pub(super) struct Fields {
    pub bytes: Vec<u8>,
    pub big_endian: bool,
}

impl Fields {
    pub fn read(input: &Input, position: u64, count: usize, big_endian: bool) -> Result<Self, Problem> {
        Ok(Self { bytes: input.peek(position, count)?, big_endian })
    }

    fn bytes_at<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut field = self.bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N]);
        if self.big_endian {
            field.reverse();
        }
        field
    }

    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes_at(at))
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes_at(at))
    }

    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes_at(at))
    }
}

pub(super) struct Chunk {
    pub id: [u8; 4],
    /// Where its content begins, in bytes.
    pub body: u64,
    /// Length of its content in bytes, as stated.
    pub length: u32,
}

/// The chunks of a file, one after another.
pub(super) struct Chunks<'a> {
    input: &'a Input,
    big_endian: bool,
    /// Where the next chunk begins, unless the last one has an odd length and no pad byte.
    position: u64,
    odd: bool,
    seen: usize,
    /// The last chunk, if it reaches beyond the end of the file.
    too_long: Option<([u8; 4], u32)>,
}

impl<'a> Chunks<'a> {
    pub fn new(input: &'a Input, position: u64, big_endian: bool) -> Self {
        Self { input, big_endian, position, odd: false, seen: 0, too_long: None }
    }

    /// The next chunk; `None` at the end of the file.
    pub fn next(&mut self) -> Result<Option<Chunk>, Problem> {
        self.seen += 1;
        if self.seen > MAX_CHUNKS {
            return Err(Problem::corrupt(format!("it has more than {MAX_CHUNKS} chunks")));
        }
        if self.odd && self.is_unpadded()? {
            self.position -= 1;
        }
        let header = Fields::read(self.input, self.position, 8, self.big_endian)?;
        let Ok(&[a, b, c, d, ..]) = <&[u8; 8]>::try_from(header.bytes.as_slice()) else { return Ok(None) };
        let (id, length, body) = ([a, b, c, d], header.u32(4), self.position + 8);
        let end = body + u64::from(length);
        self.too_long = (end > self.input.length()).then_some((id, length));
        self.odd = length % 2 == 1;
        self.position = end + u64::from(length % 2);
        Ok(Some(Chunk { id, body, length }))
    }

    /// Whether the writer of the file left out the pad byte before this chunk. Chunks should begin at even positions.
    fn is_unpadded(&self) -> Result<bool, Problem> {
        const COMMON: [&[u8; 4]; 14] = [
            b"fmt ", b"data", b"fact", b"LIST", b"JUNK", b"bext", b"cue ", b"PEAK", b"id3 ", b"ID3 ",
            b"COMM", b"SSND", b"FVER", b"CHAN",
        ];
        let common = |id: &[u8]| COMMON.iter().any(|one| one.as_slice() == id);
        let bytes = self.input.peek(self.position - 1, 5)?;
        let (without, with) = (bytes.get(..4).unwrap_or_default(), bytes.get(1..).unwrap_or_default());
        Ok(!common(with) && (common(without) || is_id(without) && !is_id(with)))
    }

    /// Where the file ends if this is the end of its chunks, in words for an error.
    pub fn end(&self) -> String {
        match self.too_long {
            Some((id, length)) => {
                format!(
                    "its {:?} chunk of {length} bytes reaches beyond its end",
                    String::from_utf8_lossy(&id)
                )
            }
            None => "it ends".to_owned(),
        }
    }
}

/// Whether four bytes look like the id of a chunk: printable characters.
pub(super) fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == 4 && bytes.iter().all(|byte| (0x20..0x7f).contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(bytes: &[u8]) -> Vec<String> {
        let input = Input::of_bytes(bytes);
        let mut chunks = Chunks::new(&input, 0, false);
        std::iter::from_fn(|| chunks.next().unwrap())
            .map(|chunk| String::from_utf8_lossy(&chunk.id).into_owned())
            .collect()
    }

    #[test]
    fn odd_chunks_are_followed_with_and_without_a_pad_byte() {
        assert_eq!(ids(b"LIST\x03\0\0\0abc\0fmt \x02\0\0\0xydata\0\0\0\0"), ["LIST", "fmt ", "data"]);
        assert_eq!(ids(b"LIST\x03\0\0\0abcfmt \x01\0\0\0xdata\0\0\0\0"), ["LIST", "fmt ", "data"]);
        // A pad byte that is not zero.
        assert_eq!(ids(b"LIST\x03\0\0\0abc fmt \0\0\0\0"), ["LIST", "fmt "]);
    }

    #[test]
    fn a_file_of_empty_chunks_is_given_up() {
        let input = Input::of_bytes(vec![0; 8 * (MAX_CHUNKS + 1)]);
        let mut chunks = Chunks::new(&input, 0, false);
        let result =
            std::iter::repeat_with(|| chunks.next().map(|chunk| chunk.is_some())).find(|next| next.is_err());
        assert_eq!(
            result.unwrap().unwrap_err().to_string(),
            "corrupt audio: it has more than 10000 chunks; fetch it again"
        );
    }

    #[test]
    fn a_chunk_beyond_the_end_is_named() {
        let input = Input::of_bytes(*b"LIST\xff\xff\xff\xffab");
        let mut chunks = Chunks::new(&input, 0, false);
        assert!(chunks.next().unwrap().is_some());
        assert!(chunks.next().unwrap().is_none());
        assert_eq!(chunks.end(), "its \"LIST\" chunk of 4294967295 bytes reaches beyond its end");
    }

    #[test]
    fn fields_follow_the_byte_order_and_are_zero_past_the_end() {
        let fields = |big_endian| Fields { bytes: vec![1, 2, 3, 4, 5, 6, 7, 8], big_endian };
        assert_eq!((fields(false).u16(1), fields(true).u16(1)), (0x0302, 0x0203));
        assert_eq!((fields(false).u32(0), fields(true).u32(0)), (0x0403_0201, 0x0102_0304));
        assert_eq!((fields(true).u64(0), fields(true).u64(1)), (0x0102_0304_0506_0708, 0));
    }
}
