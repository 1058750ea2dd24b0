//! Frames that follow each other without a container: MPEG audio and ADTS.
//!
//! Nothing in such a file says where it ends or how many frames it has, and any byte may be the start of one. A frame is
//! taken for one if it stands where the last one ended and has the same format; anywhere else (at the start, after
//! junk, where the format changes) other frames must follow it. So the reader goes on to the last frame, over tags and
//! damage, and finds few that are none.

use std::io;

use super::input::Input;
use super::tags;

/// Bytes that are read at a time.
const WINDOW: usize = 64 << 10;

/// Bytes before the one that is asked for which stay readable, since the search for a frame looks ahead and comes back.
const BACK: u64 = 8 << 10;

/// Frames of one format in a row that show that a file, or another format in it, begins.
const SURE: usize = 3;

/// What the header of a frame says.
pub(crate) trait Header: Copy {
    /// Bytes of a header.
    const BYTES: usize;

    /// Reads a header; `None` if the bytes are none.
    fn parse(bytes: &[u8]) -> Option<Self>;

    /// Bytes of the frame, which are not fewer than those of its header.
    fn length(&self) -> usize;

    /// Whether one decoder decodes both frames.
    fn matches(&self, other: &Self) -> bool;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<H> {
    pub header: H,
    /// Where it begins.
    pub position: u64,
}

/// Where a reader is.
#[derive(Clone, Copy)]
pub(crate) struct Place<H> {
    position: u64,
    /// The last frame, if there was any.
    previous: Option<H>,
    /// Whether a frame or a tag ends here.
    in_step: bool,
    /// Bytes that were skipped, tags not counted.
    junk: u64,
}

/// Reads frame after frame, tags and junk left out.
pub(crate) struct Frames<H> {
    input: Input,
    /// Some bytes of the file, and where they stand.
    window: Vec<u8>,
    window_start: u64,
    /// Where the sound ends.
    end: u64,
    place: Place<H>,
}

impl<H: Header> Frames<H> {
    pub fn new(input: Input) -> io::Result<Self> {
        let end = tags::end_of_sound(&input)?;
        let place = Place { position: 0, previous: None, in_step: true, junk: 0 };
        Ok(Self { input, window: Vec::new(), window_start: 0, end, place })
    }

    /// Where the sound ends: the tags at the end of the file begin here.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of junk so far.
    pub fn junk(&self) -> u64 {
        self.place.junk
    }

    /// Where the reader is, to come back with [`Frames::go_to`].
    pub fn place(&self) -> Place<H> {
        self.place
    }

    pub fn go_to(&mut self, place: Place<H>) {
        self.place = place;
    }

    /// Searches the next frame from `position` on, as at the start of a file.
    pub fn start_at(&mut self, position: u64) {
        self.place = Place { position, previous: None, in_step: false, junk: 0 };
    }

    /// The next frame; `None` at the end of the file. A last frame of which the end is missing is left out.
    pub fn next(&mut self) -> io::Result<Option<Frame<H>>> {
        self.next_within(u64::MAX)
    }

    /// The next frame, if there is one after at most `limit` bytes of junk in all.
    pub fn next_within(&mut self, limit: u64) -> io::Result<Option<Frame<H>>> {
        while self.place.position < self.end && self.place.junk <= limit {
            let position = self.place.position;
            if let Some(header) = self.header_at(position)? {
                let follows = self.place.in_step && self.continues(&header);
                let next = position + header.length() as u64;
                if follows && next > self.end {
                    break;
                }
                if follows || self.is_confirmed(position, &header)? {
                    self.place =
                        Place { position: next, previous: Some(header), in_step: true, ..self.place };
                    return Ok(Some(Frame { header, position }));
                }
            }
            match self.tag_at(position)? {
                0 => self.skip_junk()?,
                length => self.place = Place { position: position + length, in_step: true, ..self.place },
            }
        }
        self.place.position = self.place.position.max(self.end);
        Ok(None)
    }

    /// The bytes of a frame.
    pub fn content(&mut self, frame: &Frame<H>) -> io::Result<&[u8]> {
        self.bytes(frame.position, frame.header.length())
    }

    fn continues(&self, header: &H) -> bool {
        self.place.previous.is_some_and(|previous| previous.matches(header))
    }

    /// Whether enough frames like this one follow it, or the file ends with them.
    fn is_confirmed(&mut self, position: u64, header: &H) -> io::Result<bool> {
        let wanted = if self.continues(header) { 2 } else { SURE };
        // One frame alone is taken for one if it is the whole file, or the end of one with such frames.
        let enough_at_end = if self.continues(header) || self.place.junk == 0 { 1 } else { 2 };
        let mut next = position + header.length() as u64;
        for found in 1..wanted {
            if next >= self.end || self.tag_at(next)? > 0 {
                return Ok(next <= self.end && found >= enough_at_end);
            }
            match self.header_at(next)? {
                Some(follower) if follower.matches(header) => next += follower.length() as u64,
                // A header of which only some bytes are there.
                None if next + H::BYTES as u64 > self.end => return Ok(found >= enough_at_end.max(2)),
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn header_at(&mut self, position: u64) -> io::Result<Option<H>> {
        if position + H::BYTES as u64 > self.end {
            return Ok(None);
        }
        let bytes = self.bytes(position, H::BYTES)?;
        Ok(if bytes.len() == H::BYTES { H::parse(bytes) } else { None })
    }

    fn tag_at(&mut self, position: u64) -> io::Result<u64> {
        match self.bytes(position, 1)? {
            [byte] if tags::FIRST_BYTES.contains(byte) => tags::length_at(&self.input, position, self.end),
            _ => Ok(0),
        }
    }

    /// Goes to the next byte that may begin a frame or a tag.
    fn skip_junk(&mut self) -> io::Result<()> {
        let from = self.place.position + 1;
        let room = (self.end.saturating_sub(from)).min(BACK) as usize;
        let bytes = self.bytes(from, room)?;
        let begins = |&byte: &u8| byte == 0xff || tags::FIRST_BYTES.contains(&byte);
        let count = 1 + bytes.iter().position(begins).unwrap_or(bytes.len()) as u64;
        self.place =
            Place { position: from - 1 + count, in_step: false, junk: self.place.junk + count, ..self.place };
        Ok(())
    }

    /// `count` bytes from `position`, or as many as there are; `count` is at most a window less [`BACK`].
    fn bytes(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let inside = |window: &[u8], start: u64| {
            position >= start && position + count as u64 <= start + window.len() as u64
        };
        if !inside(&self.window, self.window_start) {
            self.window_start = position.saturating_sub(BACK);
            self.window.resize(WINDOW, 0);
            let filled = self.input.read_at(self.window_start, &mut self.window)?;
            self.window.truncate(filled);
        }
        let from = ((position - self.window_start) as usize).min(self.window.len());
        let to = from.saturating_add(count).min(self.window.len());
        Ok(&self.window[from..to])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of a made-up format: `0xff`, a format, and the length of the frame.
    #[derive(Clone, Copy, Debug)]
    struct Toy {
        format: u8,
        length: usize,
    }

    impl Header for Toy {
        const BYTES: usize = 3;

        fn parse(bytes: &[u8]) -> Option<Self> {
            let toy = Self { format: bytes[1], length: bytes[2].into() };
            (bytes[0] == 0xff && toy.format < 10 && toy.length >= Self::BYTES).then_some(toy)
        }

        fn length(&self) -> usize {
            self.length
        }

        fn matches(&self, other: &Self) -> bool {
            self.format == other.format
        }
    }

    fn frame(format: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0; length.into()];
        bytes[..3].copy_from_slice(&[0xff, format, length]);
        bytes
    }

    /// Positions of the frames in a file, and the bytes of junk.
    fn read(file: &[&[u8]]) -> (Vec<u64>, u64) {
        let mut frames = Frames::<Toy>::new(Input::of_bytes(file.concat())).unwrap();
        let mut positions = Vec::new();
        while let Some(frame) = frames.next().unwrap() {
            positions.push(frame.position);
        }
        (positions, frames.junk())
    }

    #[test]
    fn frames_follow_each_other_to_the_last_whole_one() {
        let one = frame(1, 10);
        assert_eq!(read(&[&one, &frame(1, 20), &one]), (vec![0, 10, 30], 0));
        assert_eq!(read(&[&one, &one, &one[..9]]), (vec![0, 10], 0));
        assert_eq!(read(&[&one, &one, &one[..2]]), (vec![0, 10], 2));
        assert_eq!(read(&[&one]), (vec![0], 0));
        assert_eq!(read(&[]), (vec![], 0));
    }

    #[test]
    fn junk_that_begins_like_a_frame_is_not_one() {
        let one = frame(1, 10);
        let junk = [0xff, 2, 7, 5];
        // 4 bytes of junk: the 7 bytes that it claims lead into the middle of the next frame.
        assert_eq!(read(&[&junk, &one, &one, &one]), (vec![4, 14, 24], 4));
        assert_eq!(read(&[&one, &one, &one, &junk, &one, &one]), (vec![0, 10, 20, 34, 44], 4));
        // At the end nothing can follow it.
        assert_eq!(read(&[&one, &one, &one, &[9, 0xff, 1, 7, 5]]), (vec![0, 10, 20], 5));
    }

    #[test]
    fn another_format_begins_only_with_three_frames_of_it() {
        let (one, two) = (frame(1, 10), frame(2, 10));
        assert_eq!(read(&[&one, &one, &one, &two, &two, &two]).0.len(), 6);
        // A frame whose format is damaged is left out, and so are two at the start that nothing follows.
        assert_eq!(read(&[&one, &one, &one, &two, &one, &one]), (vec![0, 10, 20, 40, 50], 10));
        assert_eq!(read(&[&two, &two, &one, &one, &one]), (vec![20, 30, 40], 20));
    }

    #[test]
    fn tags_anywhere_are_no_junk() {
        let one = frame(1, 10);
        let (id3v1, id3v2) =
            ([&b"TAG"[..], &[0xff; 125]].concat(), b"ID3\x03\0\0\0\0\0\x05\xff\x01\x03\xff\x01");
        let file: [&[u8]; 9] = [id3v2, id3v2, &one, &one, &id3v1, id3v2, &one, &one, &id3v1];
        assert_eq!(read(&file), (vec![30, 40, 193, 203], 0));
    }

    #[test]
    fn a_reader_comes_back_to_a_place() {
        let one = frame(1, 10);
        let file = [&one.repeat(3)[..], &[7; 5], &one, &one].concat();
        let mut frames = Frames::<Toy>::new(Input::of_bytes(file)).unwrap();
        for _ in 0..3 {
            frames.next().unwrap();
        }
        let place = frames.place();
        for _ in 0..2 {
            assert_eq!((frames.next().unwrap().unwrap().position, frames.junk()), (35, 5));
            frames.go_to(place);
        }
    }

    #[test]
    fn frames_across_the_edges_of_windows_are_read_whole() {
        let mut file = Vec::new();
        while file.len() < 3 * WINDOW {
            file.extend(frame(1, 251));
        }
        let count = file.len() / 251;
        let mut frames = Frames::<Toy>::new(Input::of_bytes(file)).unwrap();
        for i in 0..count as u64 {
            let frame = frames.next().unwrap().unwrap();
            assert_eq!(frame.position, i * 251);
            assert_eq!(frames.content(&frame).unwrap()[..3], [0xff, 1, 251]);
        }
        assert!(frames.next().unwrap().is_none());
    }
}
