//! Dropout on the input of an adapter, as a function of a seed.
//!
//! `forward.rs` recomputes layers in the backward pass. Masks that are a function of the seed, the adapter's name and
//! the element's place are the same in the recomputed pass (FORWARD-3).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tch::Tensor;

use crate::rng;

/// The seed of the current forward pass, shared by all adapters of a model. Outside of a training pass there is none,
/// and nothing is dropped.
#[derive(Debug, Default)]
pub(crate) struct DropoutSeed(AtomicU64);

impl DropoutSeed {
    /// Sets the seed until the guard is dropped.
    pub(crate) fn during(self: &Arc<Self>, seed: u64) -> DropoutGuard {
        // 0 means that there is no seed.
        self.set(rng::mix(seed).max(1))
    }

    /// Derives a seed for one part of the forward pass, such as a clip, until the guard is dropped.
    pub(crate) fn part(self: &Arc<Self>, part: u64) -> DropoutGuard {
        match self.get() {
            0 => self.set(0),
            seed => self.set(rng::mix(seed ^ rng::mix(part + 1)).max(1)),
        }
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(self: &Arc<Self>, seed: u64) -> DropoutGuard {
        DropoutGuard { before: self.0.swap(seed, Ordering::Relaxed), seed: self.clone() }
    }
}

/// Restores the previous seed when dropped.
pub(crate) struct DropoutGuard {
    seed: Arc<DropoutSeed>,
    before: u64,
}

impl Drop for DropoutGuard {
    fn drop(&mut self) {
        self.seed.0.store(self.before, Ordering::Relaxed);
    }
}

/// Dropout with a fixed probability.
pub(crate) struct Dropout {
    /// Probability with which an element is zeroed.
    probability: f64,
    seed: Arc<DropoutSeed>,
}

impl Dropout {
    /// `None` if the probability is 0.
    pub(crate) fn new(probability: f64, seed: &Arc<DropoutSeed>) -> Option<Dropout> {
        (probability > 0.0).then(|| Dropout { probability, seed: seed.clone() })
    }

    /// The seed of the current forward pass; `None` outside of a training pass.
    pub(crate) fn seed(&self) -> Option<u64> {
        Some(self.seed.get()).filter(|seed| *seed != 0)
    }

    /// Zeroes elements and divides the kept ones by the probability of being kept. `name` is the adapter's, so that
    /// adapters have different masks.
    ///
    /// Shapes: `x: [rows, width]`, any float dtype → the same
    pub(crate) fn apply(&self, x: &Tensor, seed: u64, name: &str) -> Tensor {
        x * mask(rng::named(seed, name), x, 1.0 - self.probability)
    }
}

/// A mask whose elements are `1 / kept` with probability `kept`, else 0. Each is decided by a hash of the seed, its
/// row and its column.
///
/// Shapes: `x: [rows, columns]` → the same shape, dtype and device
fn mask(seed: u64, x: &Tensor, kept: f64) -> Tensor {
    let _guard = tch::no_grad_guard();
    let (rows, columns) = x.size2().expect("rows and columns");
    let hashes = |count: i64, stream: u64| {
        let own = rng::mix(seed ^ stream);
        let hashes: Vec<i64> =
            (0..count as u64).map(|index| rng::mix(own.wrapping_add(index)) as i64).collect();
        Tensor::from_slice(&hashes).to_device(x.device())
    };
    let mut z =
        hashes(rows, 0x5851_f42d).unsqueeze(1).bitwise_xor_tensor(&hashes(columns, 0x1405_7b7e).unsqueeze(0));
    // The last steps of SplitMix64's finalizer. libtorch shifts arithmetically, so the sign bits are masked off.
    let _ = z.g_mul_scalar_(0xbf58_476d_1ce4_e5b9u64 as i64);
    z = z.bitwise_xor_tensor(&z.bitwise_right_shift_tensor_scalar(27).bitwise_and((1i64 << 37) - 1));
    let _ = z.g_mul_scalar_(0x94d0_49bb_1331_11ebu64 as i64);
    let high = z.bitwise_right_shift_tensor_scalar(33).bitwise_and((1i64 << 31) - 1);
    high.lt((kept * (1u64 << 31) as f64) as i64).to_kind(x.kind()) * (1.0 / kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn masks_keep_their_share_scale_it_up_and_depend_on_the_seed() {
        let x = Tensor::ones([1000, 200], (Kind::Float, Device::Cpu));
        let one = mask(7, &x, 0.75);
        assert_eq!(one, mask(7, &x, 0.75));
        assert_ne!(one, mask(8, &x, 0.75));
        let (smallest, largest) = (one.min().double_value(&[]), one.max().double_value(&[]));
        assert_eq!((smallest, largest as f32), (0.0, (1.0 / 0.75) as f32));
        // Binomial(200000, 0.75): standard deviation 194. Rows and columns: 150 of 200 (6.1), 750 of 1000 (13.7).
        let kept = one.gt(0.0).to_kind(Kind::Float);
        assert!((kept.sum(Kind::Float).double_value(&[]) - 150_000.0).abs() < 900.0);
        let extremes = |dim: i64| {
            let sums = kept.sum_dim_intlist([dim].as_slice(), false, Kind::Float);
            (sums.min().double_value(&[]), sums.max().double_value(&[]))
        };
        let (low, high) = extremes(1);
        assert!(low > 120.0 && high < 180.0, "{low} {high}");
        let (low, high) = extremes(0);
        assert!(low > 680.0 && high < 820.0, "{low} {high}");
        // Neighbours agree as often as independent elements do: 0.75² + 0.25² = 0.625 of the time.
        let agree = |dim: i64| {
            let length = kept.size()[dim as usize] - 1;
            let same = kept.narrow(dim, 0, length).eq_tensor(&kept.narrow(dim, 1, length));
            same.to_kind(Kind::Float).mean(Kind::Float).double_value(&[])
        };
        assert!((agree(0) - 0.625).abs() < 0.006 && (agree(1) - 0.625).abs() < 0.006);
    }

    #[test]
    fn nothing_is_dropped_outside_of_a_forward_pass() {
        let seed = Arc::new(DropoutSeed::default());
        let dropout = Dropout::new(0.5, &seed).unwrap();
        assert_eq!(dropout.seed(), None);
        let guard = seed.during(3);
        let whole = dropout.seed();
        assert!(whole.is_some());
        let part = seed.part(0);
        assert!(dropout.seed().is_some() && dropout.seed() != whole);
        drop(part);
        assert_eq!(dropout.seed(), whole);
        drop(guard);
        assert_eq!(dropout.seed(), None);
        assert!(Dropout::new(0.0, &seed).is_none());
    }
}
