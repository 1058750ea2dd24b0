//! Short values by which processes find out whether their policies are the same.

use tch::{Kind, Tensor};

use super::Policy;

/// Elements whose bits are added up at a time, which bounds the memory beside the weights.
const CHUNK: i64 = 1 << 22;

/// Elements have one of so many weights in the sum, so that two that changed places are noticed.
const PLACES: i64 = 8191;

/// What two policies that were opened alike have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the names, shapes and dtypes of all tensors, and of which are trained.
    pub tensors: u64,
    /// Of the bits of all weights, frozen ones included.
    pub weights: u64,
}

impl Policy {
    /// The fingerprint of this policy. Reads every weight once. It depends on neither the device nor the number of threads.
    pub fn fingerprint(&self) -> Fingerprint {
        let params = &self.model.params;
        let mut tensors = Sum::default();
        let mut weights = Sum::default();
        let trained = params.trainable().map(|(name, tensor)| (name, tensor, "trained"));
        for (name, tensor, how) in params.all().map(|(name, tensor)| (name, tensor, "")).chain(trained) {
            tensors.add_text(&format!("{name} {:?} {:?} {how};", tensor.size(), tensor.kind()));
            weights.add(bits(tensor));
        }
        Fingerprint { tensors: tensors.0, weights: weights.0 }
    }

    /// A fingerprint of the bits of the trained weights.
    pub fn trained_fingerprint(&self) -> u64 {
        let mut weights = Sum::default();
        self.model.params.trainable().for_each(|(_, tensor)| weights.add(bits(tensor)));
        weights.0
    }
}

/// Numbers in a given order as one (FNV-1a over words).
struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Sum(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    fn add(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x0000_0100_0000_01b3);
    }

    fn add_text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.add(u64::from(byte)));
    }
}

/// The bits of a tensor's elements as integers, each times a weight of its place, added up. Integers have the same sum in any
/// order.
fn bits(tensor: &Tensor) -> u64 {
    tch::no_grad(|| {
        let kind = match tensor.kind() {
            Kind::Float => Kind::Int,
            Kind::BFloat16 | Kind::Half => Kind::Int16,
            other => other,
        };
        let flat = tensor.detach().contiguous().view([-1]).view_dtype(kind);
        let count = flat.size()[0];
        let mut sum = Sum::default();
        let places = Tensor::arange(count.min(CHUNK), (Kind::Int64, tensor.device())).remainder(PLACES) + 1;
        for start in (0..count).step_by(CHUNK as usize) {
            let length = CHUNK.min(count - start);
            let part = flat.narrow(0, start, length).to_kind(Kind::Int64) * places.narrow(0, 0, length);
            sum.add(part.sum(Kind::Int64).int64_value(&[]) as u64);
        }
        sum.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_bit_and_two_that_changed_places_are_noticed() {
        let of = |values: &[f32]| bits(&Tensor::from_slice(values));
        let before = of(&[1.0, 2.0, 3.0]);
        assert_eq!(of(&[1.0, 2.0, 3.0]), before);
        for other in [[2.0, 1.0, 3.0], [1.0, 2.0, f32::from_bits(3f32.to_bits() + 1)], [1.0, 2.0, f32::NAN]] {
            assert_ne!(of(&other), before, "{other:?}");
        }
        assert_ne!(of(&[0.0]), of(&[-0.0]));
        let half = Tensor::from_slice(&[1f32, 2.0]).to_kind(Kind::BFloat16);
        assert_eq!(bits(&half), bits(&half.copy()));
        assert_ne!(bits(&half), bits(&(half + 1)));
    }

    #[test]
    fn all_parts_of_a_large_tensor_count() {
        let zeros = Tensor::zeros([CHUNK + 5], (Kind::Float, tch::Device::Cpu));
        let before = bits(&zeros);
        let _ = zeros.narrow(0, CHUNK + 4, 1).fill_(1.0);
        assert_ne!(bits(&zeros), before);
        assert_ne!(bits(&zeros.narrow(0, 0, CHUNK)), before);
    }
}
