//! The random numbers of the worlds: SplitMix64, implemented here so that no dependency can change the generated files.

use std::f64::consts::TAU;

use crate::cache::stable_hash;

/// A stream of random numbers, determined by a seed and a label.
pub(crate) struct Rng {
    state: u64,
    spare_normal: Option<f64>,
}

impl Rng {
    /// The stream of a seed for the purpose named by `label`.
    pub(crate) fn new(seed: u64, label: &str) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stable_hash(label.as_bytes()),
            spare_normal: None,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform number in [0, 1) with 53 random bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A uniform number in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A uniform integer in 0..count. For the small counts used here the bias of this method is below 2⁻⁵⁰.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// Returns true with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of `items`, with equal probabilities; `None` if there are none.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.below(items.len())) }
    }

    /// One of the keys, with probabilities proportional to the weights; `None` if no weight is positive.
    pub(crate) fn weighted<T>(&mut self, items: impl Iterator<Item = (T, f64)> + Clone) -> Option<T> {
        let positive = items.filter(|(_, weight)| *weight > 0.0);
        let mut left = self.unit() * positive.clone().map(|(_, weight)| weight).sum::<f64>();
        let mut chosen = None;
        for (item, weight) in positive {
            chosen = Some(item);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        chosen
    }

    /// Shuffles a slice by the method of Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A standard normal number, by the transform of Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        let (radius, angle) = ((-2.0 * (1.0 - self.unit()).ln()).sqrt(), TAU * self.unit());
        self.spare_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_splitmix64() {
        // The reference implementation's first outputs from state 1234567.
        let mut rng = Rng { state: 1234567, spare_normal: None };
        assert_eq!(rng.next(), 6457827717110365317);
        assert_eq!(rng.next(), 3203168211198807973);
    }

    #[test]
    fn streams_differ_by_seed_and_by_label() {
        let first = |seed, label| Rng::new(seed, label).next();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }

    #[test]
    fn keys_are_drawn_in_proportion_to_their_weights_and_those_of_weight_zero_never() {
        let mut rng = Rng::new(3, "weights");
        let weights = [("never", 0.0), ("once", 1.0), ("thrice", 3.0)];
        let drawn: Vec<_> = (0..4000).filter_map(|_| rng.weighted(weights.into_iter())).collect();
        let thrice = drawn.iter().filter(|&&name| name == "thrice").count();
        // 3000 expected, standard deviation √(4000·¾·¼) = 27: four of them.
        assert!(thrice.abs_diff(3000) < 110, "{thrice}");
        assert!(!drawn.contains(&"never"));
        assert_eq!(rng.weighted([("never", 0.0)].into_iter()), None);
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let mut rng = Rng::new(4, "normal");
        let values: Vec<f64> = (0..20_000).map(|_| rng.normal()).collect();
        let mean = values.iter().sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|value| value * value).sum::<f64>() / 20_000.0;
        // Standard errors 0.007 and 0.01.
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }
}
