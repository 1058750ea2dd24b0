//! Rotary positions.

use tch::{Device, Kind, Tensor};

/// The rotary frequencies of a decoder.
pub(crate) struct Rope {
    /// `[1, head width / 2]`, f32
    frequencies: Tensor,
    kind: Kind,
}

/// Cosines and signed sines for some rows, `[rows, 1, head width]` each.
pub(crate) struct Angles {
    cos: Tensor,
    /// `sin` with its first half negated: the sign of the half that [`Angles::rotate`] moves to the front.
    sin: Tensor,
}

impl Rope {
    pub(crate) fn new(width: i64, theta: f64, device: Device, kind: Kind) -> Rope {
        let frequencies: Vec<f32> = (0..width / 2)
            .map(|index| 1.0 / (theta as f32).powf((2 * index) as f32 / width as f32))
            .collect();
        Rope { frequencies: Tensor::from_slice(&frequencies).unsqueeze(0).to_device(device), kind }
    }

    /// # Shapes
    /// `positions: [rows]`, integers
    pub(crate) fn angles(&self, positions: &Tensor) -> Angles {
        let angles = positions.to_kind(Kind::Float).unsqueeze(1) * &self.frequencies;
        let (cos, sin) = (angles.cos(), angles.sin());
        Angles {
            cos: Tensor::cat(&[&cos, &cos], 1).unsqueeze(1).to_kind(self.kind),
            sin: Tensor::cat(&[&sin.neg(), &sin], 1).unsqueeze(1).to_kind(self.kind),
        }
    }
}

impl Angles {
    /// The angles of some of these rows.
    pub(crate) fn select(&self, rows: &Tensor) -> Angles {
        Angles { cos: self.cos.index_select(0, rows), sin: self.sin.index_select(0, rows) }
    }

    /// Turns every pair (first half, second half) of each head by its row's angle.
    ///
    /// # Shapes
    /// `x: [rows, heads, head width]`
    pub(crate) fn rotate(&self, x: &Tensor) -> Tensor {
        let half = x.size()[2] / 2;
        let swapped = x.roll(half, 2);
        (x * &self.cos).addcmul(&swapped, &self.sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_turns_by_position_times_frequency() {
        // Width 4, theta 10000: frequencies 1 and 0.01. At position 2 the pair (1, 3) turns by 2, the pair (2, 4) by 0.02.
        let rope = Rope::new(4, 10_000.0, Device::Cpu, Kind::Float);
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([1, 1, 4]);
        let turned = rope.angles(&Tensor::from_slice(&[2i64])).rotate(&x);
        let turned = Vec::<f32>::try_from(turned.flatten(0, -1)).unwrap();
        let (c, s) = (2f32.cos(), 2f32.sin());
        let (c2, s2) = (0.02f32.cos(), 0.02f32.sin());
        let expected = [c - 3.0 * s, 2.0 * c2 - 4.0 * s2, 3.0 * c + s, 4.0 * c2 + 2.0 * s2];
        for (value, expected) in turned.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{turned:?}");
        }
    }
}
