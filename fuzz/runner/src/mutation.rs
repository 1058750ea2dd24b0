//! Makes inputs from seeds, dictionaries and a seeded generator.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::targets::Target;

/// Numbers at which parsers go wrong, as text.
const NUMBERS: [&str; 20] = [
    "0",
    "-0",
    "-1",
    "1e400",
    "-1e400",
    "1e-400",
    "NaN",
    "Infinity",
    "127",
    "255",
    "32768",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "0.1e18446744073709551616",
];

/// Characters that are special in some encoding, alphabet or parser.
const CHARACTERS: [&str; 18] = [
    "\u{0}",
    "\n",
    "\r",
    "\t",
    "\"",
    "\\",
    "'",
    "\u{a0}",
    "é",
    "狗",
    "🐕",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "\u{fdfa}",
    "\u{301}",
    "\u{e0041}",
    "\u{ffff}",
];

/// Sizes and counts as they stand in binary headers.
const INTEGERS: [u64; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x7fff_ffff_ffff_ffff];

/// Makes the inputs of one target.
pub struct Mutator {
    seeds: Vec<Vec<u8>>,
    dictionary: &'static [&'static str],
    longest: usize,
    seed: u64,
}

impl Mutator {
    /// The inputs of this target that `seed` determines. `seeds` must not be empty.
    pub fn new(target: &Target, seeds: Vec<Vec<u8>>, seed: u64) -> Self {
        assert!(!seeds.is_empty(), "fuzz/seeds/{} has no files", target.name);
        let named =
            target.name.bytes().fold(seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        Self { seeds, dictionary: target.dictionary, longest: target.longest, seed: named }
    }

    /// Input number `index`. The first ones are the seeds as they are.
    pub fn input(&self, index: u64) -> Vec<u8> {
        if let Some(seed) = usize::try_from(index).ok().and_then(|index| self.seeds.get(index)) {
            return seed.clone();
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let mut input = self.any_seed(&mut rng).to_vec();
        // One change in half of the inputs: many parsers stop at the first mistake.
        let mut changes = 1;
        while changes < 24 && rng.random_bool(0.5) {
            changes += 1 + changes / 3;
        }
        for _ in 0..changes {
            self.change(&mut input, &mut rng);
        }
        input.truncate(self.longest);
        input
    }

    fn any_seed(&self, rng: &mut ChaCha8Rng) -> &[u8] {
        &self.seeds[rng.random_range(0..self.seeds.len())]
    }

    fn change(&self, input: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
        let at = rng.random_range(0..=input.len());
        // Headers are at the beginning of a file.
        let at = if rng.random_bool(0.3) { at.min(rng.random_range(0..64)) } else { at };
        let end = (at + length(rng)).min(input.len());
        match rng.random_range(0..14) {
            0 => flip(input, at, 1 << rng.random_range(0..8)),
            1 => flip(input, at, rng.random()),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let again = input[at..end].to_vec();
                insert(input, at, &again);
            }
            5 => overwrite_integer(input, at, rng),
            6 | 7 => insert(input, at, self.word(rng).as_bytes()),
            8 => {
                let word = self.word(rng).repeat(1 << rng.random_range(0..14));
                insert(input, at, &word.as_bytes()[..word.len().min(self.longest)]);
            }
            9 | 10 => replace_number(input, at, choose(&NUMBERS, rng)),
            11 => insert(input, at, choose(&CHARACTERS, rng).as_bytes()),
            12 => {
                let other = self.any_seed(rng);
                let from = rng.random_range(0..=other.len());
                let to = (from + length(rng)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                let word = self.word(rng);
                input.splice(at..end, word.bytes());
            }
        }
        // Keeps repeated doubling from filling the memory.
        input.truncate(2 * self.longest);
    }

    fn word(&self, rng: &mut ChaCha8Rng) -> &'static str {
        match self.dictionary {
            [] => choose(&CHARACTERS, rng),
            words => words[rng.random_range(0..words.len())],
        }
    }
}

/// The length of a changed part: mostly short.
fn length(rng: &mut ChaCha8Rng) -> usize {
    let most = 1 << rng.random_range(1..11);
    rng.random_range(1..=most)
}

fn choose(words: &[&'static str], rng: &mut ChaCha8Rng) -> &'static str {
    words[rng.random_range(0..words.len())]
}

fn flip(input: &mut [u8], at: usize, bits: u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= bits;
    }
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    input.splice(at..at, bytes.iter().copied());
}

/// Overwrites two, four or eight bytes by a number in either order.
fn overwrite_integer(input: &mut [u8], at: usize, rng: &mut ChaCha8Rng) {
    let number = INTEGERS[rng.random_range(0..INTEGERS.len())].wrapping_add(rng.random_range(0..3));
    let width = 1 << rng.random_range(1..4);
    let mut bytes = number.to_le_bytes()[..width].to_vec();
    if rng.random_bool(0.5) {
        bytes.reverse();
    }
    if let Some(place) = input.get_mut(at..at + width) {
        place.copy_from_slice(&bytes);
    }
}

/// Replaces the first run of digits at or after `at`.
fn replace_number(input: &mut Vec<u8>, at: usize, number: &str) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let digits = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    input.splice(start..start + digits, number.bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target = Target { name: "test", dictionary: &["{", "key"], longest: 64, run: |_| () };

    fn inputs(seed: u64) -> Vec<Vec<u8>> {
        let mutator = Mutator::new(&TARGET, vec![b"{\"a\": 12}".to_vec(), b"[1, 2]".to_vec()], seed);
        (0..500).map(|index| mutator.input(index)).collect()
    }

    #[test]
    fn inputs_are_a_function_of_seed_and_index() {
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }

    #[test]
    fn inputs_differ_stay_short_and_begin_with_the_seeds() {
        let inputs = inputs(7);
        assert_eq!((inputs[0].as_slice(), inputs[1].as_slice()), (&b"{\"a\": 12}"[..], &b"[1, 2]"[..]));
        assert!(inputs.iter().all(|input| input.len() <= 64));
        let distinct: std::collections::BTreeSet<_> = inputs.iter().collect();
        assert!(distinct.len() > 300, "{} of 500 inputs are distinct", distinct.len());
    }
}
