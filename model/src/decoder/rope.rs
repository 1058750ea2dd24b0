//! Rotary position embeddings (<https://arxiv.org/abs/2104.09864>), with Qwen2.5-Omni's three position sections.
//!
//! The decoder computes the [`Angles`] of its rows once per pass and applies them to the queries and
//! keys of every layer.

use tch::{Device, Kind, Tensor};

/// The rotary frequencies of a decoder, and which position each of them uses.
pub(crate) struct Rope {
    /// `[1, head width / 2]`, f32, in radians per position.
    frequencies: Tensor,
    /// `[head width / 2]`, i64: which of three positions (time 0, height 1, width 2) each frequency uses.
    sections: Option<Tensor>,
    kind: Kind,
}

/// The cosines and signed sines of some rows, `[rows, 1, head width]` each, in the model's dtype.
pub(crate) struct Angles {
    cos: Tensor,
    /// The sines, with the first half negated: the sign of the half that [`Angles::rotate`] moves to the front.
    sin: Tensor,
}

impl Rope {
    /// `width` is that of a head. `sections` are the numbers of frequencies that use each of three positions; their sum
    /// is `width / 2`.
    pub(crate) fn new(
        width: i64,
        theta: f64,
        sections: Option<[i64; 3]>,
        (kind, device): (Kind, Device),
    ) -> Rope {
        let frequencies: Vec<f32> = (0..width / 2)
            .map(|index| 1.0 / (theta as f32).powf((2 * index) as f32 / width as f32))
            .collect();
        let sections = sections.map(|widths| {
            let rows = (0i64..).zip(widths).flat_map(|(row, width)| std::iter::repeat_n(row, width as usize));
            Tensor::from_slice(&rows.collect::<Vec<i64>>()).to_device(device)
        });
        let frequencies = Tensor::from_slice(&frequencies).unsqueeze(0).to_device(device);
        Rope { frequencies, sections, kind }
    }

    /// The angles of some positions. For text and audio, the three positions of a decoder with sections are equal,
    /// and one is enough.
    ///
    /// Shapes: `positions: [rows]`, i64; or `[3, rows]` for a decoder with three sections
    pub(crate) fn angles(&self, positions: &Tensor) -> Angles {
        let positions = match &self.sections {
            Some(sections) if positions.dim() == 2 => positions.index_select(0, sections).tr(),
            _ => positions.unsqueeze(1),
        };
        let angles = positions.to_kind(Kind::Float) * &self.frequencies;
        let (cos, sin) = (angles.cos(), angles.sin());
        Angles {
            cos: Tensor::cat(&[&cos, &cos], 1).unsqueeze(1).to_kind(self.kind),
            sin: Tensor::cat(&[&sin.neg(), &sin], 1).unsqueeze(1).to_kind(self.kind),
        }
    }
}

impl Angles {
    /// The cosines, and the sines with the first half negated.
    ///
    /// Shapes: → `[rows, head width]` each, in the model's dtype
    pub(crate) fn tables(&self) -> [Tensor; 2] {
        [&self.cos, &self.sin].map(|x| x.squeeze_dim(1).contiguous())
    }

    /// The angles of some of these rows.
    ///
    /// Shapes: `rows: [selected rows]`, i64, indices
    pub(crate) fn select(&self, rows: &Tensor) -> Angles {
        Angles { cos: self.cos.index_select(0, rows), sin: self.sin.index_select(0, rows) }
    }

    /// Rotates every pair of elements (one of the first half, one of the second half) of each head by its row's angle.
    ///
    /// Shapes: `x: [rows, heads, head width]`, in the model's dtype → the same
    pub(crate) fn rotate(&self, x: &Tensor) -> Tensor {
        let half = x.size()[2] / 2;
        let swapped = x.roll(half, 2);
        (x * &self.cos).addcmul(&swapped, &self.sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read_tensors;
    use std::collections::HashMap;
    use std::path::Path;

    #[test]
    fn each_pair_is_rotated_by_position_times_frequency() {
        // Width 4, theta 10000: frequencies 1 and 0.01. At position 2 the pair (1, 3) is rotated by 2 rad, the pair (2,
        // 4) by 0.02 rad.
        let rope = Rope::new(4, 10_000.0, None, (Kind::Float, Device::Cpu));
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([1, 1, 4]);
        let rotated = rope.angles(&Tensor::from_slice(&[2i64])).rotate(&x);
        let rotated = Vec::<f32>::try_from(rotated.flatten(0, -1)).unwrap();
        let (c, s) = (2f32.cos(), 2f32.sin());
        let (c2, s2) = (0.02f32.cos(), 0.02f32.sin());
        let expected = [c - 3.0 * s, 2.0 * c2 - 4.0 * s2, 3.0 * c + s, 4.0 * c2 + 2.0 * s2];
        for (value, expected) in rotated.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{rotated:?}");
        }
    }

    #[test]
    fn each_section_uses_its_own_position() {
        // Width 6, theta 1: all frequencies are 1, so an angle is a position; one frequency per section.
        let rope = Rope::new(6, 1.0, Some([1, 1, 1]), (Kind::Float, Device::Cpu));
        let angles = rope.angles(&Tensor::from_slice(&[1i64, 2, 3]).view([3, 1]));
        let cos = Vec::<f32>::try_from(angles.cos.flatten(0, -1)).unwrap();
        for (value, position) in cos.iter().zip([1f32, 2.0, 3.0, 1.0, 2.0, 3.0]) {
            assert!((value - position.cos()).abs() < 1e-6, "{cos:?}");
        }
    }

    #[test]
    fn three_distinct_positions_give_the_angles_of_hugging_face() {
        let golden = golden("mrope");
        let rope = Rope::new(16, 1e6, Some([2, 3, 3]), (Kind::Float, Device::Cpu));
        let angles = rope.angles(&golden["position_ids_3x1x10"].squeeze_dim(1));
        let halves = |name: &str| golden[name].squeeze_dim(0).unsqueeze(1);
        let sign = Tensor::from_slice(&[-1f32, 1.0]).repeat_interleave_self_int(8, 0, None);
        for (found, expected) in [(angles.cos, halves("cos")), (angles.sin, halves("sin") * sign)] {
            assert_eq!(found.size(), expected.size());
            assert!((found - expected).abs().max().double_value(&[]) < 1e-5);
        }
    }

    #[test]
    fn three_equal_positions_give_the_angles_of_one() {
        let rope = Rope::new(16, 1e6, Some([2, 3, 3]), (Kind::Float, Device::Cpu));
        let plain = Rope::new(16, 1e6, None, (Kind::Float, Device::Cpu));
        let one = Tensor::arange(100, (Kind::Int64, Device::Cpu));
        let three = one.unsqueeze(0).expand([3, 100], false);
        for angles in [rope.angles(&three), rope.angles(&one)] {
            assert_eq!(angles.cos, plain.angles(&one).cos);
            assert_eq!(angles.sin, plain.angles(&one).sin);
        }
    }

    fn golden(name: &str) -> HashMap<String, Tensor> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/qwen2_5_omni");
        read_tensors(&fixtures.join(name).with_extension("safetensors")).unwrap().into_iter().collect()
    }
}
