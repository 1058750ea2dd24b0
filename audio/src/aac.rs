//! Which AAC can be decoded: low complexity (LC) in mono and stereo. Everything else is refused by name.
//!
//! HE-AAC needs care: its frames are LC frames of half the rate with spectral band replication (SBR) in an element that LC
//! decoders skip. Where only the frames tell, decoding them as LC would lose the upper half of the spectrum in silence,
//! so the frames are searched for that element.

use std::collections::BTreeSet;

use super::error::Problem;

/// Different frames that are searched for SBR, and how many are looked at to find them (silent ones are all the same).
const SEARCHED: usize = 30;
const LOOKED_AT: usize = 256;

/// With fewer different frames nothing is concluded, since an element can be found by chance.
const CONCLUSIVE: usize = 4;

/// Fill elements that may follow the one with SBR.
const FILLS: usize = 4;

pub(crate) const HE_AAC: &str = "HE-AAC (spectral band replication)";

/// Fails for an AudioSpecificConfig whose frames cannot be decoded.
pub(crate) fn check_config(config: &[u8]) -> Result<(), Problem> {
    match read_config(config) {
        None => Err(Problem::corrupt("its AAC configuration ends too early")),
        Some(Config::Decodable) => Ok(()),
        Some(Config::Other(what)) => Err(Problem::unsupported(what)),
    }
}

/// What an AudioSpecificConfig asks for.
enum Config {
    Decodable,
    /// Something that is not decoded.
    Other(String),
}

/// `None` if the configuration ends too early.
fn read_config(config: &[u8]) -> Option<Config> {
    let mut position = 0;
    let mut take = |count: usize| {
        position += count;
        bits(config, position - count, count)
    };
    let object_type = match take(5)? {
        31 => 32 + take(6)?,
        object_type => object_type,
    };
    if take(4)? == 15 {
        take(24)?;
    }
    let channels = take(4)?;
    if let Some(what) = undecodable(object_type, channels) {
        return Some(Config::Other(what));
    }
    if take(1)? == 1 {
        return Some(Config::Other("AAC with frames of 960 samples".into()));
    }
    if take(1)? == 1 {
        take(14)?;
    }
    take(1)?;
    // An extension that decoders of LC do not see.
    let is_he = take(11) == Some(0x2b7) && take(5) == Some(5) && take(1) == Some(1);
    Some(if is_he { Config::Other(HE_AAC.into()) } else { Config::Decodable })
}

/// Names what a decoder of LC in mono and stereo cannot decode.
pub(crate) fn undecodable(object_type: u32, channel_config: u32) -> Option<String> {
    let profile = match object_type {
        2 => None,
        1 => Some("AAC Main"),
        3 => Some("AAC SSR"),
        4 => Some("AAC LTP"),
        5 => Some(HE_AAC),
        29 => Some("HE-AAC v2 (parametric stereo)"),
        23 => Some("AAC-LD"),
        39 => Some("AAC-ELD"),
        42 => Some("xHE-AAC (USAC)"),
        other => return Some(format!("AAC of object type {other}")),
    };
    if let Some(profile) = profile {
        return Some(profile.into());
    }
    match channel_config {
        1 | 2 => None,
        0 => Some("AAC with a channel layout of its own".into()),
        7 | 12 | 14 => Some("AAC with 8 channels".into()),
        11 => Some("AAC with 7 channels".into()),
        13 => Some("AAC with 24 channels".into()),
        count => Some(format!("AAC with {count} channels")),
    }
}

/// Collects frames and decides whether they hold SBR.
#[derive(Default)]
pub(crate) struct SbrSearch {
    searched: BTreeSet<Vec<u8>>,
    found: usize,
    looked_at: usize,
}

impl SbrSearch {
    /// Adds a frame (a raw data block); returns whether more are wanted.
    pub fn add(&mut self, block: &[u8]) -> bool {
        self.looked_at += 1;
        if !self.searched.contains(block) {
            self.found += usize::from(has_sbr(block));
            self.searched.insert(block.to_vec());
        }
        self.searched.len() < SEARCHED && self.looked_at < LOOKED_AT
    }

    /// Fails if at least 80 % of the frames hold SBR. A frame without it seems to in 2 % of cases.
    pub fn check(&self) -> Result<(), Problem> {
        let is_he = self.searched.len() >= CONCLUSIVE && self.found * 5 >= self.searched.len() * 4;
        if is_he { Err(Problem::unsupported(HE_AAC)) } else { Ok(()) }
    }
}

/// Whether a frame seems to end with a fill element that holds SBR.
///
/// Where elements begin is known only to who decodes all of them, so the frame is searched from its end: the last bits
/// that are set are the end element `111`, and a fill element of any length may stand before it.
pub(crate) fn has_sbr(block: &[u8]) -> bool {
    let Some(last) = block.iter().rposition(|&byte| byte != 0) else { return false };
    let end = last * 8 + 8 - block[last].trailing_zeros() as usize;
    end >= 3 && bits(block, end - 3, 3) == Some(7) && sbr_ends_at(block, end - 3, FILLS)
}

/// Whether a fill element with SBR ends at a bit, or another one before which there is one with SBR.
fn sbr_ends_at(block: &[u8], end: usize, fills: usize) -> bool {
    (0..=269).any(|count| {
        let Some((start, payload)) = fill_before(block, end, count) else { return false };
        match bits(block, payload, 4) {
            Some(0xd | 0xe) if count > 0 => true,
            kind => {
                fills > 0
                    && (count == 0 || is_padding(block, payload, count, kind))
                    && sbr_ends_at(block, start, fills - 1)
            }
        }
    })
}

/// Where a fill element with `count` bytes begins, and its bytes, if it ends at `end`: the identifier `110`, four bits
/// of count, eight more if these are all set.
fn fill_before(block: &[u8], end: usize, count: usize) -> Option<(usize, usize)> {
    let payload = end.checked_sub(8 * count)?;
    let (start, expected, length) = match count {
        0..=14 => (payload.checked_sub(7)?, 6 << 4 | count as u32, 7),
        _ => (payload.checked_sub(15)?, 6 << 12 | 15 << 8 | (count as u32 - 14), 15),
    };
    (bits(block, start, length) == Some(expected)).then_some((start, payload))
}

/// Whether the bytes of a fill element are what encoders fill frames with: zeros, or `0xa5`.
fn is_padding(block: &[u8], payload: usize, count: usize, kind: Option<u32>) -> bool {
    let filled_with = |value: u32| (1..count).all(|i| bits(block, payload + 8 * i, 8) == Some(value));
    bits(block, payload + 4, 4) == Some(0)
        && (kind == Some(0) && filled_with(0) || kind == Some(1) && filled_with(0xa5))
}

/// `count` bits (at most 24) from a position in bits.
fn bits(bytes: &[u8], position: usize, count: usize) -> Option<u32> {
    let mut value = 0;
    for at in position..position + count {
        value = value << 1 | u32::from(*bytes.get(at / 8)? >> (7 - at % 8) & 1);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits, the highest of a value first.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(mut self, value: u32, count: usize) -> Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        /// Bits that stand for a channel element; they are different for each `seed`.
        fn noise(mut self, seed: u32, count: usize) -> Self {
            let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
            for _ in 0..count {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                self.0.push(state >> 31 == 1);
            }
            self
        }

        fn fill(self, count: u32, kind: u32, value: u32) -> Self {
            let mut fill = self.put(6, 3);
            fill = if count < 15 { fill.put(count, 4) } else { fill.put(15, 4).put(count - 14, 8) };
            if count > 0 {
                fill = fill.put(kind, 4).put(0, 4);
            }
            (1..count).fold(fill, |fill, _| fill.put(value, 8))
        }

        fn end(mut self) -> Vec<u8> {
            self = self.put(7, 3);
            self.0.resize(self.0.len().next_multiple_of(8), false);
            self.0.chunks(8).map(|bits| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect()
        }
    }

    fn noise(seed: u32) -> Writer {
        Writer::default().noise(seed, 300 + seed as usize % 8)
    }

    #[test]
    fn sbr_before_the_end_is_found_at_every_length_and_alignment() {
        for count in [1, 2, 14, 15, 16, 60, 269] {
            for seed in 0..8 {
                assert!(has_sbr(&noise(seed).fill(count, 0xd, 0x5b).end()), "{count} {seed}");
                assert!(has_sbr(&noise(seed).fill(count, 0xe, 0).end()), "{count} {seed}");
            }
        }
    }

    #[test]
    fn sbr_before_padding_is_found() {
        assert!(has_sbr(&noise(1).fill(20, 0xd, 0x5b).fill(0, 0, 0).end()));
        assert!(has_sbr(&noise(1).fill(20, 0xd, 0x5b).fill(100, 1, 0xa5).fill(3, 0, 0).end()));
    }

    #[test]
    fn frames_without_sbr_seldom_seem_to_have_it() {
        let found =
            |count: u32| (0..5000).filter(|&seed| has_sbr(&noise(seed).fill(count, 0, 0).end())).count();
        // 15 short counts, each by chance in 2^-7 · 2/16; and as much again for all the long ones, where they fit.
        let by_chance = (0..5000).filter(|&seed| has_sbr(&noise(seed).end())).count();
        assert!(by_chance < 150, "{by_chance}");
        assert!(found(30) < 150, "{}", found(30));
        assert!(!has_sbr(&[]) && !has_sbr(&[0; 8]) && !has_sbr(&[7]));
    }

    #[test]
    fn a_file_is_he_aac_if_most_of_its_different_frames_have_sbr() {
        let check = |blocks: &mut dyn Iterator<Item = Vec<u8>>| {
            let mut search = SbrSearch::default();
            while blocks.next().is_some_and(|block| search.add(&block)) {}
            search.check()
        };
        let sbr = |seed| noise(seed).fill(40, 0xd, 0x11).end();
        let message = check(&mut (0..100).map(sbr)).unwrap_err().to_string();
        assert!(message.starts_with("HE-AAC (spectral band replication) is not supported"), "{message}");
        assert!(check(&mut (0..100).map(|seed| noise(seed).end())).is_ok());
        // Silence first: frames that are all the same say nothing.
        assert!(check(&mut (0..250).map(|i| sbr(i.max(200)))).is_err());
        assert!(check(&mut (0..100).map(|_| sbr(1))).is_ok());
    }

    #[test]
    fn configurations_are_named() {
        let name = |config: &[u8]| check_config(config).err().map(|problem| problem.to_string());
        let starts =
            |config: &[u8], what: &str| name(config).is_some_and(|message| message.starts_with(what));
        // LC, 44.1 kHz (index 4), stereo: 00010 0100 0010 000.
        assert_eq!(name(&[0x12, 0x10]), None);
        // ... 0x2b7, object type 5, SBR absent; and present.
        assert_eq!(name(&[0x12, 0x10, 0x56, 0xe5, 0x00]), None);
        assert!(starts(&[0x12, 0x10, 0x56, 0xe5, 0x80], "HE-AAC (spectral band"));
        // 00101 0111 0010 ...; 11101 0111 0001 ...; 00010 0100 0110 000; 00001 0100 0010 000.
        assert!(starts(&[0x2b, 0x92, 0x08, 0x00], "HE-AAC (spectral band"));
        assert!(starts(&[0xeb, 0x8a, 0x08, 0x00], "HE-AAC v2"));
        assert!(starts(&[0x12, 0x30], "AAC with 6 channels"));
        assert!(starts(&[0x0a, 0x10], "AAC Main"));
        // 11111 001010 ...: 32 + 10.
        assert!(starts(&[0xf9, 0x48, 0x40], "xHE-AAC"));
        assert!(starts(&[0x12, 0x14], "AAC with frames of 960"));
        assert!(starts(&[0x12], "corrupt audio"));
    }
}
