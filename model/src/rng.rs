//! Counter-based random numbers, computed on the CPU.
//!
//! The n-th number of a seed is a function of both. A completion therefore depends on its own seed and not on the
//! others in its batch, and the initial values of a tensor depend on its name only.

/// The finalizer of SplitMix64, a bijection that maps nearby inputs to unrelated outputs.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn bits(seed: u64, counter: u64) -> u64 {
    mix(mix(seed).wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// A uniform number strictly between 0 and 1: the middle of one of 2²³ equal intervals. The largest is lowered by half
/// an interval so that `u * total` in f32 is below `total` for every `total`; otherwise inverse-CDF sampling could
/// select an index past the end.
pub(crate) fn uniform(seed: u64, counter: u64) -> f32 {
    const GRID: f32 = 1.0 / (1 << 23) as f32;
    (((bits(seed, counter) >> 41) as f32 + 0.5) * GRID).min(1.0 - GRID)
}

/// A standard normal number, by the Box-Muller transform.
pub(crate) fn normal(seed: u64, counter: u64) -> f32 {
    const GRID: f64 = 1.0 / (1u64 << 53) as f64;
    let radius = ((bits(seed, 2 * counter) >> 11) as f64 + 0.5) * GRID;
    let angle = (bits(seed, 2 * counter + 1) >> 11) as f64 * GRID;
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}

/// Derives the seed of a named stream, such as the initial values of one tensor.
pub(crate) fn named(seed: u64, name: &str) -> u64 {
    name.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_numbers_fill_the_unit_interval_evenly() {
        let draws: Vec<f32> = (0..100_000).map(|counter| uniform(7, counter)).collect();
        assert!(draws.iter().all(|draw| *draw > 0.0 && *draw < 1.0));
        for decile in 0..10 {
            let low = decile as f32 / 10.0;
            let count = draws.iter().filter(|draw| (low..low + 0.1).contains(draw)).count();
            // Binomial(100000, 0.1): standard deviation 95.
            assert!((9_600..10_400).contains(&count), "{count} in decile {decile}");
        }
    }

    #[test]
    fn largest_uniform_times_a_total_stays_below_it() {
        let largest = 1.0f32 - 1.0 / (1 << 23) as f32;
        for total in [1.0f32, 1.0000001, 1.1, 1.5, 1.9999999, 0.37, 3.0] {
            assert!(largest * total < total);
        }
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let draws: Vec<f64> = (0..50_000).map(|counter| f64::from(normal(3, counter))).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
