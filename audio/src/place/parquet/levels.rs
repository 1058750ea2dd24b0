//! Small numbers as Parquet packs them: definition levels, and indices into a dictionary.
//!
//! They are written as runs: a number that is repeated, or groups of eight numbers of a few bits each.

use super::thrift::varint;

/// Packed numbers of `width` bits each, 1 to 32.
pub(super) struct Levels<'a> {
    bytes: &'a [u8],
    width: u32,
}

enum Run<'a> {
    Repeated { count: u64, value: u64 },
    Packed { count: u64, bytes: &'a [u8] },
}

impl<'a> Levels<'a> {
    pub fn new(bytes: &'a [u8], width: u32) -> Self {
        Self { bytes, width }
    }

    /// The number at `place`; `None` if there are fewer.
    pub fn at(&self, mut place: u64) -> Option<u64> {
        for run in self.runs() {
            match run {
                Run::Repeated { count, value } if place < count => return Some(value),
                Run::Packed { count, bytes } if place < count => return Some(self.unpack(bytes, place)),
                Run::Repeated { count, .. } | Run::Packed { count, .. } => place -= count,
            }
        }
        None
    }

    /// How many of the numbers before `place` are `wanted`; `None` if there are fewer than `place`.
    pub fn count_before(&self, mut place: u64, wanted: u64) -> Option<u64> {
        let mut found = 0;
        for run in self.runs() {
            if place == 0 {
                break;
            }
            let passed;
            match run {
                Run::Repeated { count, value } => {
                    passed = count.min(place);
                    found += if value == wanted { passed } else { 0 };
                }
                Run::Packed { count, bytes } => {
                    passed = count.min(place);
                    found += (0..passed).filter(|&i| self.unpack(bytes, i) == wanted).count() as u64;
                }
            }
            place -= passed;
        }
        (place == 0).then_some(found)
    }

    /// The first `count` numbers; `None` if there are fewer.
    pub fn first(&self, count: usize) -> Option<Vec<u32>> {
        let mut all = Vec::new();
        for run in self.runs() {
            let left = (count - all.len()) as u64;
            match run {
                Run::Repeated { count, value } => {
                    all.resize(all.len() + count.min(left) as usize, u32::try_from(value).ok()?);
                }
                Run::Packed { count, bytes } => {
                    all.extend((0..count.min(left)).map(|place| self.unpack(bytes, place) as u32));
                }
            }
            if all.len() == count {
                break;
            }
        }
        (all.len() == count).then_some(all)
    }

    fn runs(&self) -> impl Iterator<Item = Run<'a>> + use<'a> {
        let (mut bytes, width) = (self.bytes, self.width as usize);
        std::iter::from_fn(move || {
            let (header, length) = varint(bytes)?;
            bytes = &bytes[length..];
            if header & 1 == 0 {
                let (value, rest) = bytes.split_at_checked(width.div_ceil(8))?;
                bytes = rest;
                let value = value.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
                return Some(Run::Repeated { count: header >> 1, value });
            }
            // Eight numbers of `width` bits are `width` bytes. The last run may be cut where its numbers end.
            let length = usize::try_from(header >> 1).ok()?.checked_mul(width)?.min(bytes.len());
            let packed;
            (packed, bytes) = bytes.split_at(length);
            Some(Run::Packed { count: (length as u64 * 8) / width as u64, bytes: packed })
        })
    }

    /// The number at `place` of a packed run, whose lowest bits come first.
    fn unpack(&self, bytes: &[u8], place: u64) -> u64 {
        let bit = place as usize * self.width as usize;
        let window = bytes[bit / 8..].iter().take(8);
        let value = window.enumerate().fold(0u64, |sum, (i, &byte)| sum | u64::from(byte) << (8 * i));
        value >> (bit % 8) & ((1 << self.width) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_repeated_or_packed() {
        // 3 × 5 in 3 bits, then one group of eight: 0 to 7, packed as in the format's own example.
        let bytes = [6, 5, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let levels = Levels::new(&bytes, 3);
        let all: Vec<u64> = (0..11).map_while(|place| levels.at(place)).collect();
        assert_eq!(all, [5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(levels.at(11), None);
        assert_eq!(levels.first(5).unwrap(), [5, 5, 5, 0, 1]);
        assert_eq!((levels.first(0), levels.first(12)), (Some(vec![]), None));
        // 5 is at 0, 1, 2 and 8.
        assert_eq!(
            [0, 2, 8, 9, 11, 12].map(|place| levels.count_before(place, 5)),
            [Some(0), Some(2), Some(3), Some(4), Some(4), None]
        );
    }

    #[test]
    fn damaged_runs_end_the_numbers() {
        for bytes in
            [&[][..], &[6], &[0x80], &[0xff; 10], &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
        {
            assert_eq!(Levels::new(bytes, 3).at(0), None, "{bytes:?}");
        }
    }
}
