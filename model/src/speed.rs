//! How fast a device is, measured in a fraction of a second: for the estimate of `sandbox check`.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor, no_grad};

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
}
