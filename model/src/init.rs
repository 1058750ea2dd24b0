//! Initial values of the tensors of a model without a checkpoint, and of fresh adapters.
//!
//! The values of a tensor depend only on its seed, which is derived from the tensor's name: the order in which a model
//! is built does not matter.

use tch::Tensor;

use crate::error::ModelError;
use crate::rng;

/// The distribution that a tensor's initial values are drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// Normal with standard deviation 1, the default of PyTorch's embeddings.
    Embedding,
    /// Uniform within ±1/√fan_in, the default of PyTorch's linear layers.
    Linear,
    Zeros,
    Ones,
    /// Normal with variance 2/fan_in (He), which gives the encoded audio the scale of the position
    /// embeddings added to it.
    Conv,
    /// Whisper's sinusoidal position embeddings, scaled by 0.1. A sound of few frequencies changes the output of a
    /// small tower's convolutions by little, and unscaled position embeddings would dominate it.
    Sinusoids,
}

/// Initial values, a function of the seed.
///
/// Shapes: → `shape`, f32, on the CPU
pub(crate) fn random(seed: u64, shape: &[i64], init: Init) -> Result<Tensor, ModelError> {
    let count = shape.iter().product::<i64>() as u64;
    let fan_in = shape[1..].iter().product::<i64>() as f32;
    let values: Vec<f32> = match init {
        Init::Zeros => vec![0.0; count as usize],
        Init::Ones => vec![1.0; count as usize],
        Init::Embedding => (0..count).map(|index| rng::normal(seed, index)).collect(),
        Init::Linear => {
            let bound = 1.0 / fan_in.sqrt();
            (0..count).map(|index| bound * (2.0 * rng::uniform(seed, index) - 1.0)).collect()
        }
        Init::Conv => {
            let deviation = (2.0 / fan_in).sqrt();
            (0..count).map(|index| deviation * rng::normal(seed, index)).collect()
        }
        Init::Sinusoids => sinusoids(shape[0], shape[1]).into_iter().map(|value| 0.1 * value).collect(),
    };
    Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?)
}

/// Whisper's position embeddings: row `p` is `[sin(p·f_0) … sin(p·f_{w/2-1}), cos(p·f_0) … cos(p·f_{w/2-1})]`, with
/// frequencies that fall geometrically from 1 to 1/10000.
///
/// Shapes: → `[positions, width]`, f32, row-major
pub(crate) fn sinusoids(positions: i64, width: i64) -> Vec<f32> {
    let half = width / 2;
    let step = 10_000f64.ln() / (half - 1).max(1) as f64;
    let mut rows = Vec::with_capacity((positions * width) as usize);
    for position in 0..positions {
        let angle = |index: i64| position as f64 * (-step * index as f64).exp();
        rows.extend((0..half).map(|index| angle(index).sin() as f32));
        rows.extend((0..width - half).map(|index| angle(index).cos() as f32));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_whispers_sinusoids() {
        // Width 4: frequencies 1 and 1/10000; row 1 is sin 1, sin 0.0001, cos 1, cos 0.0001.
        let rows = sinusoids(2, 4);
        assert_eq!(&rows[..4], [0.0, 0.0, 1.0, 1.0]);
        let expected = [1f64.sin() as f32, 1e-4f64.sin() as f32, 1f64.cos() as f32, 1e-4f64.cos() as f32];
        for (value, expected) in rows[4..].iter().zip(expected) {
            assert!((value - expected).abs() < 1e-7);
        }
    }
}
