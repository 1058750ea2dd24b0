//! AdamW over the policy's trainable tensors, with its state in f32.
//!
//! Parameters are grouped into a few buckets whose state is flat, so that a step takes a dozen kernels for each bucket
//! and not for each parameter (a LoRA has hundreds of small ones). Parameters in bf16 or f16 have a master copy in f32,
//! because an update of 1e-6 is below their resolution.
//!
//! - `OPTIM-1` A step equals PyTorch's `clip_grad_norm_` followed by `AdamW`
//!   (<https://arxiv.org/abs/1711.05101>), with one deviation: a parameter without a gradient counts as one with
//!   gradient 0, so that all parameters share one step count.
//! - `OPTIM-2` Training continues bit-identically after `load_state(state())`.
//! - `OPTIM-3` A gradient that is not finite changes neither parameters nor state.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::error::OptimError;

/// Most elements in a bucket. On a GPU, a bucket should be large enough to use it fully and small enough for temporary
/// copies; on a CPU, small enough to stay in the cache from one operation to the next.
fn bucket_elements(device: Device) -> i64 {
    if device == Device::Cpu { 1 << 17 } else { 64 << 20 }
}

/// Settings of [`AdamW`]. The learning rate is an argument of each step.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay rates of the running means of the gradient and of its square, each from 0 up to, but not including, 1.
    pub betas: (f64, f64),
    /// Constant that is added to the denominator of the update.
    pub eps: f64,
    /// Decoupled decay: each step multiplies the parameters by `1 − lr × weight_decay`.
    pub weight_decay: f64,
    /// Global norm that larger gradients are scaled down to; `None` for no clipping.
    pub max_grad_norm: Option<f64>,
    /// Factors of the learning rate by the beginning of a parameter's name; the first that fits counts. Parameters that
    /// none fits have the factor 1.
    pub lr_factors: Vec<(String, f64)>,
}

impl AdamWConfig {
    fn lr_factor(&self, name: &str) -> f64 {
        let fits = |(start, _): &&(String, f64)| name.starts_with(start.as_str());
        self.lr_factors.iter().find(fits).map_or(1.0, |(_, factor)| *factor)
    }
}

impl Default for AdamWConfig {
    fn default() -> Self {
        AdamWConfig {
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: Some(1.0),
            lr_factors: Vec::new(),
        }
    }
}

/// The result of [`AdamW::step`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Global norm of the gradients before clipping.
    pub grad_norm: f64,
    /// Whether the parameters were updated. If the norm is not finite, the step is skipped.
    pub applied: bool,
}

/// What the parameters of a bucket have in common: dtype, device, and the bits of the factor of their learning rate.
type Alike = (&'static str, String, u64);

/// AdamW for named tensors that it shares with the policy.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    buckets: Vec<Bucket>,
    steps: u64,
}

/// Parameters of one dtype, device and factor of the learning rate. Their state is in flat tensors, in which each parameter has a slice, in order.
#[derive(Debug)]
struct Bucket {
    params: Vec<(String, Tensor)>,
    lr_factor: f64,
    /// `[elements]`, f32: the running mean of the gradient.
    exp_avg: Tensor,
    /// `[elements]`, f32: the running mean of the gradient's square.
    exp_avg_sq: Tensor,
    /// `[elements]`, f32: the master copy of parameters in bf16 or f16.
    master: Option<Tensor>,
}

impl AdamW {
    /// An optimizer for these named tensors, which it shares with the policy and updates in place.
    ///
    /// Errors: A tensor is not f32, bf16 or f16, or a name occurs twice.
    pub fn new(params: Vec<(String, Tensor)>, config: AdamWConfig) -> Result<AdamW, OptimError> {
        let mut by_kind: BTreeMap<Alike, Vec<(String, Tensor)>> = BTreeMap::new();
        let mut names = std::collections::BTreeSet::new();
        for (name, tensor) in params {
            let kind = match tensor.kind() {
                Kind::Float => "f32",
                Kind::BFloat16 => "bf16",
                Kind::Half => "f16",
                kind => return Err(OptimError::Kind { name, kind }),
            };
            if !names.insert(name.clone()) {
                return Err(OptimError::Duplicate { name });
            }
            let key = (kind, format!("{:?}", tensor.device()), config.lr_factor(&name).to_bits());
            by_kind.entry(key).or_default().push((name, tensor));
        }
        let alike = |((_, _, factor), params): (Alike, Vec<_>)| {
            let factor = f64::from_bits(factor);
            split_into_buckets(params).into_iter().map(move |params| Bucket::new(params, factor))
        };
        let buckets = by_kind.into_iter().flat_map(alike).collect();
        Ok(AdamW { config, buckets, steps: 0 })
    }

    /// Updates the parameters from their gradients, after clipping, at the learning rate `lr`, which
    /// [`AdamWConfig::lr_factors`] may change for some, and returns the gradients' norm. The gradients are
    /// not changed: call [`zero_grad`](Self::zero_grad) before the next backward pass.
    pub fn step(&mut self, lr: f64) -> Step {
        tch::no_grad(|| {
            let grad_norm = self.grad_norm();
            if !grad_norm.is_finite() {
                return Step { grad_norm, applied: false };
            }
            self.steps += 1;
            // The formula of PyTorch's clip_grad_norm_, including its 1e-6.
            let scale = self.config.max_grad_norm.map_or(1.0, |max| (max / (grad_norm + 1e-6)).min(1.0));
            for bucket in &mut self.buckets {
                bucket.update(&self.config, self.steps, lr, scale);
            }
            Step { grad_norm, applied: true }
        })
    }

    /// Sets the gradients of all parameters to zero.
    pub fn zero_grad(&mut self) {
        for (_, tensor) in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.params) {
            tensor.zero_grad();
        }
    }

    /// The number of steps applied so far, without skipped ones.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A copy of the optimizer's state: the step count as `step`, and for each parameter `exp_avg.NAME`,
    /// `exp_avg_sq.NAME` and, if it is stored in 16 bits, `master.NAME`.
    ///
    /// Shapes: → `step: []`, i64; all others in the shape of the parameter, f32
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let step = Tensor::from(self.steps as i64);
        let mut state = vec![("step".to_owned(), step)];
        state.extend(self.slots().map(|slot| (slot.name, slot.flat.view(slot.shape.as_slice()).copy())));
        state
    }

    /// Restores a state that [`state`](Self::state) returned; its tensors may be on any device. Parameters with a
    /// master copy are set to it. The caller must have restored all other parameters.
    ///
    /// Errors: A tensor is missing, is not part of this optimizer's state, or has another shape. The
    /// optimizer is then unchanged.
    pub fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<(), OptimError> {
        let mut by_name: BTreeMap<&str, &Tensor> = state.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let mut take = |name: &str, expected: &[i64]| {
            let tensor = by_name.remove(name).ok_or_else(|| OptimError::Missing { name: name.to_owned() })?;
            let found = tensor.size();
            if found != expected {
                return Err(OptimError::Shape { name: name.to_owned(), expected: expected.to_vec(), found });
            }
            Ok(tensor)
        };
        let step = take("step", &[])?;
        let steps =
            step.f_int64_value(&[]).map_err(|source| OptimError::Torch { name: "step".into(), source })?;
        let slots: Vec<Slot> = self.slots().collect();
        let saved = slots.iter().map(|slot| take(&slot.name, &slot.shape)).collect::<Result<Vec<_>, _>>()?;
        if let Some(name) = by_name.keys().next() {
            return Err(OptimError::Unexpected { name: (*name).to_owned() });
        }
        tch::no_grad(|| {
            for (mut slot, saved) in slots.into_iter().zip(saved) {
                slot.flat
                    .f_copy_(&saved.reshape([-1]))
                    .map_err(|source| OptimError::Torch { name: slot.name, source })?;
            }
            for bucket in &mut self.buckets {
                bucket.round_master();
            }
            Ok(())
        })?;
        self.steps = steps.max(0) as u64;
        Ok(())
    }

    /// Forgets the moments and the number of steps, as a new optimizer of the same parameters has none.
    pub fn reset(&mut self) {
        self.steps = 0;
        for bucket in &mut self.buckets {
            let _ = bucket.exp_avg.zero_();
            let _ = bucket.exp_avg_sq.zero_();
        }
    }

    /// The global norm of all gradients.
    fn grad_norm(&self) -> f64 {
        let norms: Vec<Tensor> = self.buckets.iter().map(|bucket| bucket.gradient().norm()).collect();
        // Each value is a transfer from a GPU, where there are few buckets.
        norms.iter().map(|norm| norm.double_value(&[]).powi(2)).sum::<f64>().sqrt()
    }

    /// The state of all parameters, as views into the buckets.
    fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.buckets.iter().flat_map(|bucket| {
            let states = [
                ("exp_avg", Some(&bucket.exp_avg)),
                ("exp_avg_sq", Some(&bucket.exp_avg_sq)),
                ("master", bucket.master.as_ref()),
            ];
            states.into_iter().filter_map(|(prefix, flat)| Some((prefix, flat?))).flat_map(
                |(prefix, flat)| {
                    bucket.slices(flat).map(move |(name, shape, flat)| Slot {
                        name: format!("{prefix}.{name}"),
                        shape,
                        flat,
                    })
                },
            )
        })
    }
}

/// One named piece of the state of a parameter.
struct Slot {
    name: String,
    shape: Vec<i64>,
    /// One-dimensional view into a bucket.
    flat: Tensor,
}

/// Distributes parameters to buckets in order. A parameter larger than a bucket gets a bucket of its own.
fn split_into_buckets(params: Vec<(String, Tensor)>) -> Vec<Vec<(String, Tensor)>> {
    let mut buckets: Vec<Vec<(String, Tensor)>> = Vec::new();
    let mut room = 0;
    for (name, tensor) in params {
        let elements = tensor.numel() as i64;
        if buckets.is_empty() || elements > room {
            buckets.push(Vec::new());
            room = bucket_elements(tensor.device());
        }
        room -= elements;
        if let Some(bucket) = buckets.last_mut() {
            bucket.push((name, tensor));
        }
    }
    buckets
}

impl Bucket {
    fn new(params: Vec<(String, Tensor)>, lr_factor: f64) -> Bucket {
        let device = params.first().map_or(Device::Cpu, |(_, tensor)| tensor.device());
        let elements: i64 = params.iter().map(|(_, tensor)| tensor.numel() as i64).sum();
        let zeros = || Tensor::zeros([elements], (Kind::Float, device));
        let reduced = params.first().is_some_and(|(_, tensor)| tensor.kind() != Kind::Float);
        let master = reduced.then(|| {
            let values: Vec<Tensor> =
                params.iter().map(|(_, tensor)| tensor.detach().reshape([-1])).collect();
            Tensor::cat(&values, 0).to_kind(Kind::Float)
        });
        Bucket { exp_avg: zeros(), exp_avg_sq: zeros(), master, params, lr_factor }
    }

    /// A flat copy of all gradients.
    ///
    /// Shapes: → `[elements of the bucket]`, f32
    fn gradient(&self) -> Tensor {
        let flat = |(_, tensor): &(String, Tensor)| {
            let gradient = tensor.grad();
            if gradient.defined() { gradient.reshape([-1]) } else { tensor.zeros_like().reshape([-1]) }
        };
        Tensor::cat(&self.params.iter().map(flat).collect::<Vec<_>>(), 0).to_kind(Kind::Float)
    }

    /// The name and shape of each parameter, and its slice of a flat tensor.
    fn slices(&self, flat: &Tensor) -> impl Iterator<Item = (&str, Vec<i64>, Tensor)> {
        let mut start = 0;
        self.params.iter().map(move |(name, tensor)| {
            let elements = tensor.numel() as i64;
            let slice = flat.narrow(0, start, elements);
            start += elements;
            (name.as_str(), tensor.size(), slice)
        })
    }

    /// One AdamW update of the bucket's parameters. `grad_scale` is the factor of the clipping.
    fn update(&mut self, config: &AdamWConfig, steps: u64, lr: f64, grad_scale: f64) {
        let (beta1, beta2) = config.betas;
        let lr = lr * self.lr_factor;
        let mut gradient = self.gradient();
        if grad_scale != 1.0 {
            let _ = gradient.g_mul_scalar_(grad_scale);
        }
        let _ = self.exp_avg.lerp_(&gradient, 1.0 - beta1);
        let _ = self.exp_avg_sq.lerp_(&gradient.square_(), 1.0 - beta2);
        let correction1 = 1.0 - beta1.powf(steps as f64);
        let correction2 = 1.0 - beta2.powf(steps as f64);
        // The memory of the gradient is reused for the denominator, and then for the update.
        let mut update = gradient;
        update.copy_(&self.exp_avg_sq);
        let _ = update.sqrt_().g_mul_scalar_(1.0 / correction2.sqrt()).g_add_scalar_(config.eps);
        let _ = update.reciprocal_().g_mul_(&self.exp_avg).g_mul_scalar_(-lr / correction1);

        let decay = 1.0 - lr * config.weight_decay;
        if let Some(master) = &mut self.master {
            let _ = master.g_mul_scalar_(decay).g_add_(&update);
            self.round_master();
            return;
        }
        let slices: Vec<Tensor> =
            self.slices(&update).map(|(_, shape, slice)| slice.view(shape.as_slice())).collect();
        for ((_, tensor), slice) in self.params.iter_mut().zip(slices) {
            if decay != 1.0 {
                let _ = tensor.g_mul_scalar_(decay);
            }
            let _ = tensor.g_add_(&slice);
        }
    }

    /// Rounds the master copy, if the bucket has one, to the dtype of the parameters and copies it to them.
    fn round_master(&mut self) {
        let Some(master) = &self.master else { return };
        let slices: Vec<Tensor> =
            self.slices(master).map(|(_, shape, slice)| slice.view(shape.as_slice())).collect();
        for ((_, tensor), slice) in self.params.iter_mut().zip(slices) {
            tensor.copy_(&slice);
        }
    }
}

#[cfg(test)]
mod tests;
