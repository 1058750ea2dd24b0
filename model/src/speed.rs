//! How fast a device is, measured in a fraction of a second: for the estimate of `sandbox check`, for the number format of
//! `policy.dtype = "fastest"`, and as the limit that `sandbox bench` compares a [policy](PolicySpeed) with.

mod agreement;
mod policy;

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor, no_grad};

pub use agreement::{Agreement, Gap};
pub use policy::{Decoding, Phase, PolicySpeed, Sample, SpeedError, Workload};

/// Time for each of the measurements.
const TIME: Duration = Duration::from_millis(150);

/// Width and height of the matrices that are multiplied on a CPU, and on a GPU, which needs more to be busy.
const MATRIX: [i64; 2] = [512, 4096];

/// Elements that are copied on a CPU, and on a GPU: more than fits into a cache.
const COPIED: [i64; 2] = [1 << 23, 1 << 27];

/// What a device does in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Additions and multiplications in a product of large matrices, per second.
    pub flops: f64,
    /// Bytes that are read and written, per second.
    pub bytes: f64,
    /// Time of an operation on a small tensor, in seconds.
    pub operation: f64,
}

/// Measures a device, with products in bf16 or in f32, with `threads` threads; 0 leaves libtorch's own choice.
pub fn measure(device: Device, bf16: bool, threads: usize) -> Speed {
    let kind = if bf16 { Kind::BFloat16 } else { Kind::Float };
    if let Ok(threads @ 1..) = i32::try_from(threads) {
        tch::set_num_threads(threads);
    }
    let gpu = usize::from(device.is_cuda());
    no_grad(|| {
        let width = MATRIX[gpu];
        let matrix = Tensor::rand([width, width], (kind, device));
        let product = seconds(device, || drop(matrix.matmul(&matrix)));
        let elements = COPIED[gpu];
        let source = Tensor::zeros([elements], (Kind::Float, device));
        let mut target = source.zeros_like();
        let copy = seconds(device, || target.copy_(&source));
        let small = Tensor::rand([64, 64], (Kind::Float, device));
        let operation = seconds(device, || {
            let mut sum = small.shallow_clone();
            for _ in 0..100 {
                sum = &sum + &small;
            }
        });
        Speed {
            flops: 2.0 * (width as f64).powi(3) / product,
            bytes: 8.0 * elements as f64 / copy,
            operation: operation / 100.0,
        }
    })
}

/// How many times as fast products in bf16 must be for [`fastest_kind`] to choose it: rounding costs accuracy, and the other
/// operations gain nothing from it.
const GAIN: f64 = 1.2;

/// The number format with the faster matrix products. CPUs with AMX multiply in bf16 several times as fast as in f32, CPUs
/// without it more slowly. On a GPU it is bf16, without a measurement.
pub fn fastest_kind(device: Device) -> Kind {
    if bf16_is_faster(device) { Kind::BFloat16 } else { Kind::Float }
}

/// Whether [`fastest_kind`] is bf16.
pub fn bf16_is_faster(device: Device) -> bool {
    if device.is_cuda() {
        return true;
    }
    let [single, half] = fastest_products();
    single > GAIN * half
}

/// Time of the fastest product of two matrices on the CPU in f32 and in bf16, in seconds. The formats take turns and only the fastest
/// of many counts, so that other work of the machine does not decide.
fn fastest_products() -> [f64; 2] {
    no_grad(|| {
        let size = [MATRIX[0]; 2];
        let matrices = [Kind::Float, Kind::BFloat16].map(|kind| Tensor::rand(size, (kind, Device::Cpu)));
        let mut fastest = [f64::INFINITY; 2];
        let begun = Instant::now();
        while begun.elapsed() < 2 * TIME {
            for (fastest, matrix) in fastest.iter_mut().zip(&matrices) {
                let begun = Instant::now();
                drop(matrix.matmul(matrix));
                *fastest = fastest.min(begun.elapsed().as_secs_f64());
            }
        }
        fastest
    })
}

/// The mean time of several runs, in seconds, after one that is not counted: what else the machine does slows a run down
/// too.
fn seconds(device: Device, mut work: impl FnMut()) -> f64 {
    let mut finished = || {
        work();
        if let Device::Cuda(index) = device {
            tch::Cuda::synchronize(index as i64);
        }
    };
    finished();
    let (begun, mut runs) = (Instant::now(), 0.0);
    while runs == 0.0 || begun.elapsed() < TIME {
        finished();
        runs += 1.0;
    }
    (begun.elapsed().as_secs_f64() / runs).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_of_matrices_is_counted_in_flops_and_a_copy_in_bytes() {
        let Speed { flops, bytes, operation } = measure(Device::Cpu, false, 1);
        // Between a very slow and an impossibly fast core.
        assert!((1e8..1e13).contains(&flops), "{flops}");
        assert!((1e8..1e12).contains(&bytes), "{bytes}");
        assert!((1e-8..1e-2).contains(&operation), "{operation}");
    }

    #[test]
    fn bf16_is_chosen_where_its_products_are_clearly_faster() {
        let [single, half] = fastest_products();
        // Formats that are close may come out either way.
        if single > 2.0 * half || single < half {
            let expected = if single > half { Kind::BFloat16 } else { Kind::Float };
            assert_eq!(fastest_kind(Device::Cpu), expected, "f32 {single} s, bf16 {half} s");
        }
        assert_eq!(fastest_kind(Device::Cuda(0)), Kind::BFloat16);
    }
}
