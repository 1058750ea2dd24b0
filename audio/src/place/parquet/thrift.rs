//! Thrift's compact protocol, in which Parquet writes its footer and the header of each page.
//!
//! Every method returns `None` when the bytes end too early or contradict the protocol. Nothing is allocated by a length
//! that the bytes state.

/// Deepest nesting that is skipped.
const DEEPEST: usize = 32;

/// The type of a field or of a list's elements, as the protocol numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    const TRUE: Self = Self(1);
    const FALSE: Self = Self(2);
    pub const BINARY: Self = Self(8);
    pub const LIST: Self = Self(9);
    pub const STRUCT: Self = Self(12);

    /// The value of a boolean field, which its type holds.
    pub fn boolean(self) -> Option<bool> {
        match self {
            Self::TRUE => Some(true),
            Self::FALSE => Some(false),
            _ => None,
        }
    }

    /// Whether it is an integer of 16 to 64 bits, which are all written alike.
    fn is_integer(self) -> bool {
        (4..=6).contains(&self.0)
    }
}

/// Bytes that are being read.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Thrift<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes that have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Reads a struct. `take` gets the number and type of each field; it returns false for those that it has not read.
    pub fn structure(&mut self, mut take: impl FnMut(&mut Self, i16, Kind) -> Option<bool>) -> Option<()> {
        self.structure_within(DEEPEST, &mut take)
    }

    fn structure_within(
        &mut self,
        depth: usize,
        take: &mut dyn FnMut(&mut Self, i16, Kind) -> Option<bool>,
    ) -> Option<()> {
        let mut number = 0i16;
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Some(());
            }
            let kind = Kind(byte & 0x0f);
            number = match byte >> 4 {
                0 => i16::try_from(self.zigzag()?).ok()?,
                step => number.checked_add(step.into())?,
            };
            if !take(self, number, kind)? {
                self.skip(kind, depth)?;
            }
        }
    }

    /// Reads a list, whose elements must be of `kind`.
    pub fn list(&mut self, kind: Kind, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let (count, found) = self.list_header()?;
        if found != kind && count > 0 {
            return None;
        }
        (0..count).try_for_each(|_| element(self))
    }

    /// Reads an integer field.
    pub fn integer(&mut self, kind: Kind) -> Option<i64> {
        if kind.is_integer() { self.zigzag() } else { None }
    }

    /// Reads a byte string.
    pub fn binary(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        self.take(length)
    }

    /// The number of elements and their type. Each element needs a byte at least.
    fn list_header(&mut self) -> Option<(usize, Kind)> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            count => count.into(),
        };
        (count <= self.bytes.len() - self.position).then_some((count, Kind(byte & 0x0f)))
    }

    fn skip(&mut self, kind: Kind, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind.0 {
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.take(8).map(drop),
            8 => self.binary().map(drop),
            9 | 10 => {
                let (count, kind) = self.list_header()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => {
                let count = usize::try_from(self.varint()?).ok()?;
                if count == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..count).try_for_each(|_| {
                    self.skip_element(Kind(kinds >> 4), depth)?;
                    self.skip_element(Kind(kinds & 0x0f), depth)
                })
            }
            12 => self.structure_within(depth, &mut |_, _, _| Some(false)),
            13 => self.take(16).map(drop),
            _ => None,
        }
    }

    /// Skips an element of a collection, in which a boolean takes a byte.
    fn skip_element(&mut self, kind: Kind, depth: usize) -> Option<()> {
        if kind.boolean().is_some() { self.byte().map(drop) } else { self.skip(kind, depth) }
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(count)?;
        let bytes = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, length) = varint(&self.bytes[self.position..])?;
        self.position += length;
        Some(value)
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }
}

/// The number at the start of the bytes, of 7 bits in each byte, lowest first; and how many bytes it takes.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_varints_and_zigzag() {
        // 300 = 0b10_0101100: the low seven bits first, with the top bit set.
        assert_eq!(varint(&[0xac, 0x02, 0xff]), Some((300, 2)));
        assert_eq!(varint(&[0xff; 9]), None);
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Some((u64::MAX, 10))
        );
        // Field 1, i32, zigzag 5 = -3; then the end.
        let mut found = None;
        let take = |thrift: &mut Thrift<'_>, number, kind| {
            found = Some((number, thrift.integer(kind)?));
            Some(true)
        };
        assert_eq!(Thrift::new(&[0x15, 0x05, 0x00]).structure(take), Some(()));
        assert_eq!(found, Some((1, -3)));
    }

    #[test]
    fn fields_that_are_not_taken_are_skipped_and_deep_nesting_is_refused() {
        // A list of two booleans, a map of one i8 to a binary, a struct with a double, then i32 = 1 as field 4.
        let bytes = [
            &[0x19, 0x21, 1, 2][..],
            &[0x1b, 1, 0x38, 7, 2, b'h', b'i'],
            &[0x1c, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x15, 0x02, 0x00],
        ]
        .concat();
        let mut four = None;
        let mut thrift = Thrift::new(&bytes);
        let read = thrift.structure(|thrift, number, kind| {
            if number == 4 {
                four = thrift.integer(kind);
            }
            Some(number == 4)
        });
        assert_eq!((read, four, thrift.position()), (Some(()), Some(1), bytes.len()));
        // A struct in a struct in a struct …
        assert_eq!(Thrift::new(&[0x1c; 100_000]).structure(|_, _, _| Some(false)), None);
        // A list that claims 2^28 elements in five bytes.
        assert_eq!(
            Thrift::new(&[0x19, 0xf5, 0x80, 0x80, 0x80, 0x80, 1]).structure(|_, _, _| Some(false)),
            None
        );
    }
}
