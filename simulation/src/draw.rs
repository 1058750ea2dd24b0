//! What is drawn. Every draw has a stream of its own by what it is for, so that two simulations that differ in the number of
//! samplers or judges have the same completions and, as far as they can, the same failures.

use std::f64::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::inputs::Distribution;

/// What a stream is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Lengths,
    Judging,
    Evaluation,
    LearnerFailures,
    SamplerFailures,
    JudgeFailures,
}

/// A stream of random numbers.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of a purpose at a place, such as an arm and a step.
    pub(crate) fn new(seed: u64, purpose: Purpose, place: [u64; 2]) -> Self {
        let mut mixed = seed;
        for part in [purpose as u64 + 1, place[0], place[1]] {
            mixed = mix(mixed ^ part);
        }
        Stream(ChaCha8Rng::seed_from_u64(mixed))
    }

    /// A number from 0 to below 1.
    fn uniform(&mut self) -> f64 {
        self.0.random()
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    pub(crate) fn draw(&mut self, distribution: &Distribution) -> f64 {
        match distribution {
            Distribution::Fixed { value } => *value,
            Distribution::Exponential { mean } => self.exponential(*mean),
            Distribution::Lognormal { mean, sigma } => {
                // Box and Muller's normal. The mean of exp(σ·n) is exp(σ²/2).
                let normal = (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (TAU * self.uniform()).cos();
                mean * (sigma * normal - sigma * sigma / 2.0).exp()
            }
            Distribution::Empirical { values } => {
                let place = (self.uniform() * values.len() as f64) as usize;
                values.get(place).copied().unwrap_or_default()
            }
        }
    }
}

/// The finalizer of splitmix64: every bit of the result depends on every bit of the number.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_that_their_distribution_states() {
        let distributions = [
            Distribution::Exponential { mean: 3.0 },
            Distribution::Lognormal { mean: 3.0, sigma: 0.7 },
            Distribution::Empirical { values: vec![1.0, 2.0, 6.0] },
        ];
        for distribution in distributions {
            let mut stream = Stream::new(1, Purpose::Lengths, [0, 0]);
            let count = 40_000;
            let mean = (0..count).map(|_| stream.draw(&distribution)).sum::<f64>() / f64::from(count);
            // Standard error of the worst, the exponential: 3 / 200 = 0.015.
            assert!((mean - 3.0).abs() < 0.06, "{distribution:?}: {mean}");
        }
    }

    #[test]
    fn streams_of_other_places_are_other_streams() {
        let first = |purpose, place| Stream::new(1, purpose, place).uniform();
        let one = first(Purpose::Lengths, [0, 1]);
        assert_eq!(one, first(Purpose::Lengths, [0, 1]));
        assert!(one != first(Purpose::Lengths, [1, 0]) && one != first(Purpose::Judging, [0, 1]));
    }
}
