//! Finds the tensors of a policy that are no longer finite.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::Policy;

/// A tensor with numbers that are NaN or infinite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFiniteTensor {
    /// The tensor's hub name.
    pub name: String,
    /// How many of its weights are not finite.
    pub weights: u64,
    /// How many numbers of its gradient are not finite; 0 without a gradient.
    pub gradient: u64,
}

impl Policy {
    /// The tensors, frozen ones included, whose weights or gradients are not finite, sorted by name. Reads every weight
    /// once: use it when something is wrong already.
    pub fn nonfinite(&self) -> Vec<NonFiniteTensor> {
        tch::no_grad(|| {
            let params = &self.model.params;
            let tensors: BTreeMap<&String, &Tensor> = params.all().chain(params.trainable()).collect();
            let weights = finite(tensors.values().map(|tensor| tensor.shallow_clone()));
            let gradient = |tensor: &Tensor| {
                let gradient = tensor.grad();
                if gradient.defined() { gradient } else { Tensor::zeros([1], (Kind::Float, tensor.device())) }
            };
            let gradients = finite(tensors.values().map(|tensor| gradient(tensor)));
            tensors
                .iter()
                .zip(weights.iter().zip(&gradients))
                .filter(|(_, (weights, gradient))| !**weights || !**gradient)
                .map(|((name, tensor), _)| NonFiniteTensor {
                    name: (*name).clone(),
                    weights: count(tensor),
                    gradient: count(&gradient(tensor)),
                })
                .collect()
        })
    }

    /// Whether all trainable weights are finite. Reads each of them once.
    pub fn is_finite(&self) -> bool {
        tch::no_grad(|| finite(self.model.params.trainable().map(|(_, tensor)| tensor.shallow_clone())))
            .into_iter()
            .all(|finite| finite)
    }
}

/// Whether each tensor is finite: one sum of each, and one transfer from the device. A sum that is not finite may also
/// have overflowed, so its tensor is looked at again.
fn finite(tensors: impl Iterator<Item = Tensor>) -> Vec<bool> {
    let tensors: Vec<Tensor> = tensors.collect();
    if tensors.is_empty() {
        return Vec::new();
    }
    let sums: Vec<Tensor> = tensors.iter().map(|tensor| tensor.sum(Kind::Float)).collect();
    let sums = Tensor::stack(&sums, 0).to_device(tch::Device::Cpu);
    let is_finite =
        |(index, tensor): (i64, &Tensor)| sums.double_value(&[index]).is_finite() || count(tensor) == 0;
    (0i64..).zip(&tensors).map(is_finite).collect()
}

fn count(tensor: &Tensor) -> u64 {
    tensor.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_with_nan_or_infinity_is_found_and_a_sum_that_overflows_is_not() {
        let tensor = |values: &[f32]| Tensor::from_slice(values);
        let tensors = [
            tensor(&[1.0, -2.0]),
            tensor(&[1.0, f32::NAN]),
            tensor(&[f32::INFINITY, f32::NEG_INFINITY, 0.0]),
            tensor(&[3e38, 3e38]),
        ];
        assert_eq!(tensors.iter().map(count).collect::<Vec<_>>(), [0, 1, 2, 0]);
        assert_eq!(finite(tensors.into_iter()), [true, false, false, true]);
    }
}
