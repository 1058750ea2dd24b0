//! Regular fractions of the combinations of factors with two levels (Box, Hunter and Hunter 1978, chapter 12).
//!
//! An arm is a set of factors that are on, as bits; with −1 for off and +1 for on, an effect is a set of factors whose signs are
//! multiplied. In a regular fraction some products have the same sign in every arm. These *words* decide which effects can't be
//! told apart: an effect and its product with a word. The length of the shortest word is the *resolution*.
//!
//! - FRACTION-1 in a fraction of resolution R, an effect of p factors is told apart from all effects of fewer than R − p.

use super::super::ablation::MOST_ARMS;

/// A regular fraction, or all combinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fraction {
    arms: Vec<u32>,
    words: Vec<u32>,
}

impl Fraction {
    /// The fraction with this number of arms whose words are longest: of the greatest resolution, then with the fewest of the
    /// shortest words (minimum aberration). All factors on is always one of its arms. `None` if there is no such fraction.
    pub fn best(factors: usize, runs: usize) -> Option<Self> {
        let basic = runs.checked_ilog2()? as usize;
        if !Self::possible_runs(factors).contains(&runs) {
            return None;
        }
        // The other factors are products of basic ones; larger products first.
        let mut products: Vec<u32> =
            (1..1_u32 << basic).filter(|product| product.count_ones() >= 2).collect();
        products.sort_by_key(|product| (std::cmp::Reverse(product.count_ones()), *product));
        let mut search = Search { basic, products: &products, wanted: factors - basic, best: None };
        search.extend(0, &mut Vec::new());
        let (_, generators) = search.best?;
        let mut arms = Vec::new();
        for of_basic in 0..1_u32 << basic {
            let mut arm = of_basic;
            for (at, product) in generators.iter().enumerate() {
                let off = (product & !of_basic).count_ones();
                arm |= u32::from(off.is_multiple_of(2)) << (basic + at);
            }
            arms.push(arm);
        }
        Some(Self { arms, words: words(basic, &generators) })
    }

    /// The numbers of arms of fractions of so many factors, from the smallest in which the effects of single factors can be told
    /// apart.
    pub fn possible_runs(factors: usize) -> Vec<usize> {
        let able = |basic: &usize| 1_usize << basic > factors && *basic < factors && 1 << basic <= MOST_ARMS;
        (2..factors).filter(able).map(|basic| 1 << basic).collect()
    }

    /// The smallest number of arms with resolution IV, or the smallest of all if no fraction has it.
    pub fn default_runs(factors: usize) -> Option<usize> {
        let possible = Self::possible_runs(factors);
        let four = |runs: &&usize| {
            Self::best(factors, **runs)
                .and_then(|fraction| fraction.resolution())
                .is_some_and(|resolution| resolution >= 4)
        };
        possible.iter().find(four).or(possible.first()).copied()
    }

    /// The regular fraction that these arms are; `None` if they are none.
    pub fn of(factors: usize, arms: &[u32]) -> Option<Self> {
        let first = *arms.first()?;
        let closed = arms.iter().all(|a| arms.iter().all(|b| arms.contains(&(a ^ b ^ first))));
        let different = arms.iter().enumerate().all(|(at, arm)| !arms[..at].contains(arm));
        if !closed || !different {
            return None;
        }
        let alike = |word: &u32| arms.iter().all(|arm| ((arm ^ first) & word).count_ones().is_multiple_of(2));
        Some(Self { arms: arms.to_vec(), words: (1..1_u32 << factors).filter(alike).collect() })
    }

    /// The arms, each as the bits of the factors that are on.
    pub fn arms(&self) -> &[u32] {
        &self.arms
    }

    /// The length of the shortest word; `None` for all combinations, which have none.
    pub fn resolution(&self) -> Option<u32> {
        self.words.iter().map(|word| word.count_ones()).min()
    }

    /// The effects that can't be told apart from this one, those of fewer factors first.
    pub fn aliases(&self, effect: u32) -> Vec<u32> {
        let mut aliases: Vec<u32> = self.words.iter().map(|word| word ^ effect).collect();
        aliases.sort_by_key(|alias| (alias.count_ones(), *alias));
        aliases
    }

    /// The sign of an effect in each arm, in the order of [`arms`](Self::arms).
    pub fn signs(&self, effect: u32) -> Vec<f64> {
        let sign = |arm: &u32| if (effect & !arm).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        self.arms.iter().map(sign).collect()
    }
}

/// All products of the generators' words.
fn words(basic: usize, generators: &[u32]) -> Vec<u32> {
    let mut words = vec![0];
    for (at, product) in generators.iter().enumerate() {
        let word = product | 1 << (basic + at);
        words.extend(words.clone().into_iter().map(|other| other ^ word));
    }
    words.retain(|word| *word != 0);
    words.sort_unstable();
    words
}

/// The search for the products that stand for the other factors.
struct Search<'a> {
    basic: usize,
    products: &'a [u32],
    wanted: usize,
    /// The numbers of words of length 1, 2, … of the best so far, and its products.
    best: Option<(Vec<usize>, Vec<u32>)>,
}

impl Search<'_> {
    fn extend(&mut self, from: usize, chosen: &mut Vec<u32>) {
        if chosen.len() == self.wanted {
            let mut lengths = vec![0; self.basic + self.wanted];
            for word in words(self.basic, chosen) {
                lengths[word.count_ones() as usize - 1] += 1;
            }
            if self.best.as_ref().is_none_or(|(best, _)| lengths < *best) {
                self.best = Some((lengths, chosen.clone()));
            }
            return;
        }
        for at in from..self.products.len() {
            chosen.push(self.products[at]);
            self.extend(at + 1, chosen);
            chosen.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The resolutions of Box, Hunter and Hunter's table 12.15.
    #[test]
    fn fractions_have_the_resolution_of_the_textbook() {
        for (factors, runs, resolution) in [
            (3, 4, 3),
            (4, 8, 4),
            (5, 8, 3),
            (5, 16, 5),
            (6, 8, 3),
            (6, 16, 4),
            (6, 32, 6),
            (7, 8, 3),
            (7, 16, 4),
            (7, 32, 4),
            (7, 64, 7),
            (8, 16, 4),
            (9, 32, 4),
            (10, 32, 4),
        ] {
            let fraction = Fraction::best(factors, runs).unwrap();
            assert_eq!(fraction.resolution(), Some(resolution), "{factors} factors, {runs} runs");
            assert_eq!(fraction.arms().len(), runs);
            assert!(fraction.arms().contains(&((1 << factors) - 1)), "all factors on is an arm");
            let mut again = Fraction::of(factors, fraction.arms()).unwrap();
            again.words.sort_unstable();
            assert_eq!(again, fraction);
        }
    }

    #[test]
    fn the_effects_of_single_factors_are_orthogonal() {
        for factors in 3..=10 {
            let fraction = Fraction::best(factors, Fraction::default_runs(factors).unwrap()).unwrap();
            for a in 0..factors {
                let of_a = fraction.signs(1 << a);
                assert_eq!(of_a.iter().sum::<f64>(), 0.0, "as often on as off");
                for b in a + 1..factors {
                    let product: f64 = of_a.iter().zip(fraction.signs(1 << b)).map(|(a, b)| a * b).sum();
                    assert_eq!(product, 0.0, "{factors} factors: {a} and {b}");
                }
            }
        }
    }

    #[test]
    fn the_default_is_the_smallest_with_resolution_four() {
        let default = |factors| Fraction::default_runs(factors);
        assert_eq!(
            [2, 3, 4, 5, 6, 7, 8, 9].map(default),
            [None, Some(4), Some(8), Some(16), Some(16), Some(16), Some(16), Some(32)]
        );
        assert_eq!(Fraction::possible_runs(5), [8, 16]);
        assert_eq!((Fraction::best(5, 12), Fraction::best(5, 4), Fraction::best(5, 32)), (None, None, None));
    }

    // FRACTION-1
    #[test]
    fn effects_mix_with_what_the_words_say() {
        // d = a·b·c. The word is a·b·c·d; a mixes with b·c·d, a·b with c·d.
        let fraction = Fraction::best(4, 8).unwrap();
        assert_eq!((fraction.aliases(0b0001), fraction.aliases(0b0011)), (vec![0b1110], vec![0b1100]));
        assert_eq!(fraction.signs(0b0011), fraction.signs(0b1100));
    }

    #[test]
    fn arms_that_are_no_fraction_are_told() {
        assert_eq!(Fraction::of(2, &[0, 1, 2]), None);
        assert_eq!(Fraction::of(3, &[0, 1, 2, 4]), None, "add-one-in is none");
        assert_eq!(Fraction::of(2, &[0, 1, 2, 3]).unwrap().resolution(), None);
    }
}
