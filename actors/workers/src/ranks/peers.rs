//! The other ranks during a training step.

use distributed::{Group, RankError};
use model::Policy;
use model::loss::LossMetrics;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::ratios::SamplingRatios;

use super::message::{LeavingOrder, decode, encode};

/// Every so many versions of the weights, the ranks compare theirs.
const CHECK_EVERY: u64 = 20;

/// The other ranks, as one of them sees them while it takes a step.
pub(crate) struct Peers<'a> {
    group: &'a mut Group,
}

/// What a rank computed of an optimizer step, beside its gradient.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Metrics of a GRPO step.
    pub(crate) metrics: LossMetrics,
    /// How far the policy that sampled was from this one, where that is measured.
    pub(crate) ratios: SamplingRatios,
    /// The loss of a supervised step.
    pub(crate) loss: f64,
    /// The fingerprint of the weights before the step, where ranks compare theirs.
    pub(crate) weights: Option<u64>,
}

impl<'a> Peers<'a> {
    pub(crate) fn new(group: &'a mut Group) -> Self {
        Peers { group }
    }

    /// The number of ranks.
    pub(crate) fn ranks(&self) -> usize {
        self.group.size()
    }

    /// Rank 0: sends each other rank its part of a step.
    ///
    /// Errors: A rank is gone.
    pub(crate) fn order(&mut self, orders: &[Vec<u8>]) -> Result<(), RankError> {
        self.group.order(orders)
    }

    /// Rank 0: sends all other ranks the same order.
    ///
    /// Errors: A rank is gone.
    pub(crate) fn order_all(&mut self, order: &LeavingOrder<'_>) -> Result<(), RankError> {
        order_all(self.group, order)
    }

    /// Adds up the gradients of all ranks, so that the policy has those of the whole step. Rank 0 gets the parts added up as
    /// well.
    ///
    /// Errors: A rank is gone or has other weights.
    pub(crate) fn add_up(&mut self, policy: &Policy, version: u64, part: Part) -> Result<Part, RankError> {
        let weights = version.is_multiple_of(CHECK_EVERY).then(|| policy.trained_fingerprint());
        let part = Part { weights, ..part };
        let parts = self.group.agree(&encode(&part), |parts| same_weights(parts, weights, version))?;
        let mut parts = parts
            .iter()
            .enumerate()
            .map(|(rank, part)| decode::<Part>(part).ok_or(RankError::Garbled { rank }));
        let mut whole = parts.next().transpose()?.unwrap_or(part);
        for part in parts {
            let Part { metrics, ratios, loss, .. } = part?;
            whole.metrics.merge(&metrics);
            whole.ratios.add(&ratios);
            whole.loss += loss;
        }
        let gradient = flat_gradient(policy, self.group.device());
        self.group.sum(&gradient)?;
        set_gradient(policy, &gradient);
        Ok(whole)
    }

    /// The values of all ranks, `count` of them, on the CPU. Those of this rank are `own` and begin at `before`.
    ///
    /// Shapes: `own`: one-dimensional → `[count]`, f32
    ///
    /// Errors: A rank is gone.
    pub(crate) fn gather(
        &mut self,
        own: &[Tensor],
        before: usize,
        count: usize,
    ) -> Result<Tensor, RankError> {
        let all = Tensor::zeros([count as i64], (Kind::Float, Device::Cpu));
        let mut place = before as i64;
        for values in own {
            let length = values.size()[0].min(count as i64 - place);
            all.narrow(0, place, length).copy_(&values.narrow(0, 0, length));
            place += length;
        }
        self.group.agree(&[], |_| Ok(()))?;
        if count > 0 {
            self.group.sum(&all)?;
        }
        Ok(all)
    }
}

/// Sends all followers the same order.
pub(super) fn order_all(group: &mut Group, order: &LeavingOrder<'_>) -> Result<(), RankError> {
    let order = encode(order);
    let orders = vec![order; group.size() - 1];
    group.order(&orders)
}

/// Fails if a rank's weights are not those of rank 0.
fn same_weights(parts: &[Vec<u8>], own: Option<u64>, version: u64) -> Result<(), RankError> {
    for (rank, part) in parts.iter().enumerate() {
        let part: Part = decode(part).ok_or(RankError::Garbled { rank })?;
        if part.weights != own {
            let hex =
                |weights: Option<u64>| weights.map_or("none".into(), |weights| format!("{weights:016x}"));
            let what = format!("weights of version {version}");
            return Err(RankError::Unlike { rank, what, own: hex(own), other: hex(part.weights) });
        }
    }
    Ok(())
}

/// All gradients in one tensor, in the order of the parameters' names, which is the same on all ranks; zeros where there is
/// none.
///
/// Shapes: → `[elements]`, f32, on `device`
fn flat_gradient(policy: &Policy, device: Device) -> Tensor {
    tch::no_grad(|| {
        let flat = |(_, tensor): (String, Tensor)| {
            let gradient = tensor.grad();
            let gradient = if gradient.defined() { gradient } else { tensor.zeros_like() };
            gradient.reshape([-1]).to_kind(Kind::Float).to_device(device)
        };
        Tensor::cat(&sorted(policy).into_iter().map(flat).collect::<Vec<_>>(), 0)
    })
}

/// Replaces the gradients by their slices of `flat`.
fn set_gradient(policy: &Policy, flat: &Tensor) {
    let mut start = 0;
    for (_, tensor) in sorted(policy) {
        if !tensor.grad().defined() {
            // The only way to give a tensor a gradient; its values are replaced below.
            tensor.sum(tensor.kind()).backward();
        }
        let elements = tensor.numel() as i64;
        let slice = flat.narrow(0, start, elements).view(tensor.size().as_slice());
        tch::no_grad(|| tensor.grad().copy_(&slice));
        start += elements;
    }
}

/// The trained tensors by name.
pub(super) fn sorted(policy: &Policy) -> Vec<(String, Tensor)> {
    let mut tensors = policy.trainable();
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    tensors
}
