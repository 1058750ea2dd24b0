//! Seeds of random draws.
//!
//! Every draw is seeded from the scenario's seed and its place in the run (step, group, index), so a step draws the
//! same numbers whatever happened to the actors before it, also after a restart or a resume.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a seed is used for. Different purposes draw different numbers.
#[derive(Clone, Copy)]
pub enum Purpose {
    /// The order of the training rows within an epoch.
    RowOrder = 1,
    /// The tokens of a training completion.
    Completion = 2,
    /// The tokens of an evaluated completion.
    Evaluation = 3,
    /// The prompt style and the text of a supervised target.
    Target = 4,
    /// Weights from scratch, and the weights of a new adapter.
    Weights = 5,
    /// The dropout masks of an adapter.
    Dropout = 6,
    /// The part of a long clip that is heard.
    Window = 7,
    /// The order of a question's choices in a control.
    ChoiceOrder = 8,
    /// The noise in place of a clip in a control.
    Noise = 9,
    /// The rows that are asked in place of others.
    Selection = 10,
    /// The tokens that Clip-Cov leaves out.
    Covariance = 11,
    /// The tokens of a further slice of a completion that servers sample.
    Slice = 12,
}

/// The seed for `purpose` at `place` (step, group, index and the like) of the run seeded with `seed`.
pub fn derive(seed: u64, purpose: Purpose, place: &[u64]) -> u64 {
    let mut state = mix(seed ^ mix(purpose as u64));
    for &coordinate in place {
        state = mix(state ^ mix(coordinate.wrapping_add(1)));
    }
    state
}

/// A random number generator for `purpose` at `place`.
pub fn generator(seed: u64, purpose: Purpose, place: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(derive(seed, purpose, place))
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_purposes_have_seeds_of_their_own() {
        let mut seen = std::collections::BTreeSet::new();
        for purpose in [Purpose::RowOrder, Purpose::Completion] {
            for step in 0..50 {
                for index in 0..8 {
                    assert!(seen.insert(derive(7, purpose, &[step, index])));
                }
            }
        }
        // The first output of SplitMix64 seeded with 0, as published with the algorithm.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }
}
