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

/// Whether each tensor is finite, with one transfer from the device.
fn finite(tensors: impl Iterator<Item = Tensor>) -> Vec<bool> {
    let flags: Vec<Tensor> = tensors.map(|tensor| tensor.isfinite().all()).collect();
    if flags.is_empty() {
        return Vec::new();
    }
    let flags = Tensor::stack(&flags, 0).to_kind(Kind::Int64).to_device(tch::Device::Cpu);
    (0..flags.numel() as i64).map(|index| flags.int64_value(&[index]) != 0).collect()
}

fn count(tensor: &Tensor) -> u64 {
    tensor.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]) as u64
}
