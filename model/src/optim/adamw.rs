//! AdamW over the policy's trainable tensors, with everything it remembers in f32.
//!
//! Parameters are packed into a few flat buckets, so that a step costs a dozen kernels per bucket instead of per
//! parameter (a LoRA has many hundred small ones). Parameters in bf16 or f16 keep an f32 master copy: an update of
//! 1e-6 is below their resolution.
//!
//! - `OPTIM-1`: equal to PyTorch's `clip_grad_norm_` followed by `AdamW` (<https://arxiv.org/abs/1711.05101>), with
//!   one deviation: a parameter without a gradient has gradient 0, so that all parameters share one step count.
//! - `OPTIM-2`: `load_state(state())` continues bit-identically.
//! - `OPTIM-3`: a gradient that is not finite changes neither parameters nor state.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

/// Elements per bucket: on a GPU large enough to fill it and small enough that temporary copies stay out of the way,
/// on a CPU what stays in the cache between two passes.
fn bucket_elements(device: Device) -> i64 {
    if device == Device::Cpu { 1 << 17 } else { 64 << 20 }
}

/// What can be wrong with an optimizer's parameters or saved state.
#[derive(Debug, thiserror::Error)]
pub enum OptimError {
    /// A parameter of a kind that cannot be trained.
    #[error("parameter `{name}` is {kind:?}; train it in Float, BFloat16 or Half")]
    Kind {
        /// The parameter.
        name: String,
        /// Its kind.
        kind: Kind,
    },
    /// Two parameters with one name.
    #[error("two parameters are called `{name}`; state is kept by name, so give each its own")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A tensor is missing from a saved state.
    #[error("the optimizer state has no `{name}`; it was saved for other parameters or in another dtype")]
    Missing {
        /// The missing tensor.
        name: String,
    },
    /// A saved state has a tensor too many.
    #[error("the optimizer state has `{name}`, which belongs to no parameter here")]
    Unexpected {
        /// The surplus tensor.
        name: String,
    },
    /// A saved tensor has another shape than its parameter.
    #[error("optimizer state `{name}` has shape {found:?}, its parameter {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// The parameter's shape.
        expected: Vec<i64>,
        /// The saved shape.
        found: Vec<i64>,
    },
    /// libtorch refused an operation.
    #[error("optimizer state `{name}` cannot be read: {source}")]
    Torch {
        /// The tensor.
        name: String,
        /// What libtorch says.
        source: tch::TchError,
    },
}

/// Settings of [`AdamW`]; the learning rate comes with each step.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay rates of the gradient's running mean and of its square's.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Decoupled decay: parameters shrink by `lr × weight_decay` per step.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm; `None` leaves them alone.
    pub max_grad_norm: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        AdamWConfig { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, max_grad_norm: Some(1.0) }
    }
}

/// What a call of [`AdamW::step`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// False if the norm was not finite and the step was skipped.
    pub applied: bool,
}

/// AdamW over named tensors that it shares with the policy.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    buckets: Vec<Bucket>,
    steps: u64,
}

/// Parameters of one kind and device, with flat state that they own slices of, in order.
#[derive(Debug)]
struct Bucket {
    params: Vec<(String, Tensor)>,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    /// f32 values of parameters that are stored in fewer bits.
    master: Option<Tensor>,
}

impl AdamW {
    /// An optimizer of these named tensors, which it shares with the policy and changes in place.
    ///
    /// # Errors
    /// If a tensor is not floating-point of at most 32 bits, or a name occurs twice.
    pub fn new(params: Vec<(String, Tensor)>, config: AdamWConfig) -> Result<AdamW, OptimError> {
        let mut by_kind: BTreeMap<(&'static str, String), Vec<(String, Tensor)>> = BTreeMap::new();
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
            by_kind.entry((kind, format!("{:?}", tensor.device()))).or_default().push((name, tensor));
        }
        let buckets = by_kind.into_values().flat_map(split_into_buckets).map(Bucket::new).collect();
        Ok(AdamW { config, buckets, steps: 0 })
    }

    /// Clips the gradients, updates the parameters and says what the norm was. Gradients stay as they are: call
    /// [`zero_grad`](Self::zero_grad) before the next backward pass.
    pub fn step(&mut self, lr: f64) -> Step {
        tch::no_grad(|| {
            let grad_norm = self.grad_norm();
            if !grad_norm.is_finite() {
                return Step { grad_norm, applied: false };
            }
            self.steps += 1;
            // PyTorch's clip_grad_norm_, its 1e-6 included.
            let scale = self.config.max_grad_norm.map_or(1.0, |max| (max / (grad_norm + 1e-6)).min(1.0));
            for bucket in &mut self.buckets {
                bucket.update(&self.config, self.steps, lr, scale);
            }
            Step { grad_norm, applied: true }
        })
    }

    /// Sets all gradients to zero.
    pub fn zero_grad(&mut self) {
        for (_, tensor) in self.buckets.iter_mut().flat_map(|bucket| &mut bucket.params) {
            tensor.zero_grad();
        }
    }

    /// Steps applied so far (skipped ones not counted).
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A copy of everything the optimizer remembers: `step`, and `exp_avg.NAME`, `exp_avg_sq.NAME` and, for
    /// parameters of fewer than 32 bits, `master.NAME` in f32 and the parameter's shape.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let step = Tensor::from(self.steps as i64);
        let mut state = vec![("step".to_owned(), step)];
        state.extend(self.slots().map(|slot| (slot.name, slot.flat.view(slot.shape.as_slice()).copy())));
        state
    }

    /// Puts back what [`state`](Self::state) returned, on whatever device it lies now. Parameters with a master copy
    /// are set to it; all others are expected to have been restored already.
    ///
    /// # Errors
    /// If a tensor is missing, superfluous or of another shape. The optimizer is then unchanged.
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
                bucket.publish_master();
            }
            Ok(())
        })?;
        self.steps = steps.max(0) as u64;
        Ok(())
    }

    fn grad_norm(&self) -> f64 {
        let norms: Vec<Tensor> = self.buckets.iter().map(|bucket| bucket.gradient().norm()).collect();
        // On a GPU each is a transfer, but there buckets are few.
        norms.iter().map(|norm| norm.double_value(&[]).powi(2)).sum::<f64>().sqrt()
    }

    /// Every named piece of state, as a view into the buckets.
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

/// One parameter's piece of state.
struct Slot {
    name: String,
    shape: Vec<i64>,
    /// One-dimensional view.
    flat: Tensor,
}

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
    fn new(params: Vec<(String, Tensor)>) -> Bucket {
        let device = params.first().map_or(Device::Cpu, |(_, tensor)| tensor.device());
        let elements: i64 = params.iter().map(|(_, tensor)| tensor.numel() as i64).sum();
        let zeros = || Tensor::zeros([elements], (Kind::Float, device));
        let reduced = params.first().is_some_and(|(_, tensor)| tensor.kind() != Kind::Float);
        let master = reduced.then(|| {
            let values: Vec<Tensor> =
                params.iter().map(|(_, tensor)| tensor.detach().reshape([-1])).collect();
            Tensor::cat(&values, 0).to_kind(Kind::Float)
        });
        Bucket { exp_avg: zeros(), exp_avg_sq: zeros(), master, params }
    }

    /// A fresh flat f32 copy of all gradients.
    fn gradient(&self) -> Tensor {
        let flat = |(_, tensor): &(String, Tensor)| {
            let gradient = tensor.grad();
            if gradient.defined() { gradient.reshape([-1]) } else { tensor.zeros_like().reshape([-1]) }
        };
        Tensor::cat(&self.params.iter().map(flat).collect::<Vec<_>>(), 0).to_kind(Kind::Float)
    }

    /// Each parameter's name, shape and slice of a flat state tensor.
    fn slices(&self, flat: &Tensor) -> impl Iterator<Item = (&str, Vec<i64>, Tensor)> {
        let mut start = 0;
        self.params.iter().map(move |(name, tensor)| {
            let elements = tensor.numel() as i64;
            let slice = flat.narrow(0, start, elements);
            start += elements;
            (name.as_str(), tensor.size(), slice)
        })
    }

    fn update(&mut self, config: &AdamWConfig, steps: u64, lr: f64, grad_scale: f64) {
        let (beta1, beta2) = config.betas;
        let mut gradient = self.gradient();
        if grad_scale != 1.0 {
            let _ = gradient.g_mul_scalar_(grad_scale);
        }
        let _ = self.exp_avg.lerp_(&gradient, 1.0 - beta1);
        let _ = self.exp_avg_sq.lerp_(&gradient.square_(), 1.0 - beta2);
        let correction1 = 1.0 - beta1.powf(steps as f64);
        let correction2 = 1.0 - beta2.powf(steps as f64);
        // The gradient's memory becomes the denominator's, and then the update's.
        let mut update = gradient;
        update.copy_(&self.exp_avg_sq);
        let _ = update.sqrt_().g_mul_scalar_(1.0 / correction2.sqrt()).g_add_scalar_(config.eps);
        let _ = update.reciprocal_().g_mul_(&self.exp_avg).g_mul_scalar_(-lr / correction1);

        let decay = 1.0 - lr * config.weight_decay;
        if let Some(master) = &mut self.master {
            let _ = master.g_mul_scalar_(decay).g_add_(&update);
            self.publish_master();
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

    /// Rounds the master copy, if there is one, into the parameters.
    fn publish_master(&mut self) {
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
