//! The named tensors of a model: where they come from, which of them train, and which are shared between replicas.
//!
//! A model is built by requesting each tensor from a [`Params`] by its hub name and shape. The same code therefore
//! builds a model from a checkpoint, from random values, or as a replica of another.
//!
//! - `PARAM-1` A replica shares the storage of every frozen tensor, and has its own copy of every trainable one.
//! - `PARAM-2` Several projections of the same input that do not take gradients are stored in one tensor, and their hub
//!   names are views into it: one multiplication instead of three, without a second copy of the weights.
//! - `PARAM-3` With an adapter, a replica shares the whole base but for the parts that train beside it.
//!
//! Policies that are opened from the same checkpoint share its frozen tensors as well (`base.rs`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::base::Base;
use crate::checkpoint::Checkpoint;
use crate::error::{InputError, ModelError};
use crate::init::{Init, random};
use crate::lora::AdapterSet;
use crate::parts::{Part, Trained};
use crate::rng;

/// Where the tensors of a model come from while it is built.
pub(crate) enum Source<'a> {
    Checkpoint(&'a Checkpoint),
    /// Random values drawn with this seed.
    Random(u64),
    /// The tensors of the model that is replicated.
    Replica(&'a Params),
}

/// The tensors of one model, by hub name.
pub(crate) struct Params {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    /// Whether trainable tensors take gradients: true for a learner, false for a sampler or reference.
    pub(crate) learns: bool,
    trained: Trained,
    /// The checkpoint's tensors that other policies keep frozen too.
    base: Arc<Base>,
    tensors: BTreeMap<String, Tensor>,
    /// The tensors that hold several projections (PARAM-2), by the name of the first projection.
    joined: BTreeMap<String, Tensor>,
    adapter: Option<AdapterSet>,
    /// The base's tensors that an adapter's file replaced (LORA-4), for the reference.
    replaced: BTreeMap<String, Tensor>,
}

impl Params {
    /// An empty set, filled while the model is built.
    pub(crate) fn new(base: Arc<Base>, device: Device, kind: Kind, learns: bool, trained: Trained) -> Params {
        let (tensors, joined, replaced) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Params { device, kind, learns, trained, base, tensors, joined, adapter: None, replaced }
    }

    /// This empty set for a model with an adapter, whose decoder is frozen.
    pub(crate) fn with_adapter(self, adapter: AdapterSet) -> Params {
        let trained = Trained { decoder: false, ..self.trained };
        Params { adapter: Some(adapter), trained, ..self }
    }

    /// An empty set for a replica of this model.
    pub(crate) fn for_replica(&self, learns: bool) -> Params {
        let params = Params::new(self.base.clone(), self.device, self.kind, learns, self.trained);
        match &self.adapter {
            Some(adapter) => params.with_adapter(adapter.for_replica()),
            None => params,
        }
    }

    /// An empty set for a replica without gradients and without this model's adapter.
    pub(crate) fn for_reference(&self) -> Params {
        Params::new(self.base.clone(), self.device, self.kind, false, self.trained)
    }

    /// The model's adapter, if it has one.
    pub(crate) fn adapter(&self) -> Option<&AdapterSet> {
        self.adapter.as_ref()
    }

    /// Whether a tensor of the base changes during training. The position embeddings of the audio tower are constants.
    fn is_trainable(&self, name: &str) -> bool {
        self.trained.has(Part::of(name)) && name != "audio_tower.embed_positions.weight"
    }

    /// Whether a part changes during training, as a whole or by an adapter.
    fn trains(&self, part: Part) -> bool {
        self.trained.has(part) || self.adapter.as_ref().is_some_and(|adapter| adapter.reaches(part))
    }

    /// Whether what the tower encodes changes during training.
    pub(crate) fn tower_trains(&self) -> bool {
        self.trains(Part::Tower)
    }

    /// Whether the tower takes gradients in this model.
    pub(crate) fn tower_learns(&self) -> bool {
        self.learns && self.trains(Part::Tower)
    }

    /// Whether the features of clips, which tower and projector make, have gradients in this model.
    pub(crate) fn features_learn(&self) -> bool {
        self.learns && (self.trains(Part::Tower) || self.trains(Part::Projector))
    }

    /// Whether the adapter's file replaces the base's tower (LORA-4).
    pub(crate) fn replaces_tower(&self) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.replaces.tower)
    }

    /// Whether the base has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor of the base with the adapter merged into it; unchanged if its layer has no adapter.
    ///
    /// Shapes: `tensor`: as stored → the same shape and dtype; the sum is computed in f32
    pub(crate) fn merged(&self, name: &str, tensor: &Tensor) -> Tensor {
        let _guard = tch::no_grad_guard();
        let module = name.strip_suffix(".weight").unwrap_or(name);
        match self.adapter().and_then(|adapter| adapter.delta(module)) {
            Some(delta) => (tensor.to_kind(Kind::Float) + delta).to_kind(tensor.kind()),
            None => tensor.detach(),
        }
    }

    /// All tensors of the base, sorted by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter()
    }

    /// The trainable tensors with their names: those of the base that train, and those of the adapter.
    pub(crate) fn trainable(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        let base = self.tensors.iter().filter(|(name, _)| self.is_trainable(name));
        base.chain(self.adapter.iter().flat_map(|adapter| &adapter.tensors))
    }

    /// Writes the adapter in PEFT's format, with the parts that train as a whole or that its file replaced.
    pub(crate) fn write_adapter(&self, adapter: &AdapterSet, dir: &Path) -> Result<(), ModelError> {
        let Trained { projector, tower, .. } = self.trained;
        let replaced = adapter.replaces;
        let parts = Trained {
            decoder: false,
            projector: projector || replaced.projector,
            tower: tower || replaced.tower,
        };
        adapter.write(dir, parts, &self.tensors)
    }

    /// Reads what [`Params::write_adapter`] wrote, for the trainable tensors.
    pub(crate) fn read_adapter(
        &self,
        adapter: &AdapterSet,
        dir: &Path,
    ) -> Result<Vec<(String, Tensor)>, ModelError> {
        let base = self.tensors.iter().map(|(name, tensor)| (name, tensor, self.is_trainable(name)));
        adapter.read(dir, base)
    }

    fn trainable_tensor(&self, name: &str) -> Option<&Tensor> {
        let base = self.tensors.get(name).filter(|_| self.is_trainable(name));
        base.or_else(|| self.adapter.as_ref()?.tensors.get(name))
    }

    /// Adds one tensor to the model and returns it, on the model's device and in its dtype.
    pub(crate) fn tensor(
        &mut self,
        source: &Source<'_>,
        name: &str,
        shape: &[i64],
        init: Init,
    ) -> Result<Tensor, ModelError> {
        let _guard = tch::no_grad_guard();
        let trainable = self.is_trainable(name);
        let tensor = match source {
            Source::Checkpoint(checkpoint) => {
                let load = || checkpoint.load(name, shape, self.device, Some(self.kind));
                let whole =
                    self.adapter.as_mut().map(|adapter| adapter.whole(name, shape)).transpose()?.flatten();
                match whole {
                    Some(whole) => {
                        self.replaced.insert(name.to_owned(), self.base.tensor(name, load)?);
                        self.place(&whole)?
                    }
                    None if trainable => load()?,
                    None => self.base.tensor(name, load)?,
                }
            }
            Source::Random(seed) => self.place(&random(rng::named(*seed, name), shape, init)?)?,
            Source::Replica(base) => {
                let missing = || InputError::NotInOriginal { name: name.to_owned() };
                let of_base = base.replaced.get(name);
                if let (Some(stored), Some(_)) = (of_base, &self.adapter) {
                    self.replaced.insert(name.to_owned(), stored.shallow_clone());
                }
                let own = base.tensors.get(name);
                let original = if self.adapter.is_none() { of_base.or(own) } else { own };
                let original = original.ok_or_else(missing)?;
                if trainable { original.detach().copy() } else { original.shallow_clone() }
            }
        };
        let tensor = tensor.set_requires_grad(self.learns && trainable);
        self.tensors.insert(name.to_owned(), tensor.shallow_clone());
        Ok(tensor)
    }

    /// Whether the adapter's file has a tensor in the place of the base's of this name (LORA-4).
    fn is_replaced(&self, name: &str) -> bool {
        self.adapter.as_ref().is_some_and(|adapter| adapter.replaces.has(Part::of(name)))
    }

    /// Whether a tensor of `base` is an adapter's, and this model has no adapter.
    fn is_replaced_in(&self, base: &Params, name: &str) -> bool {
        self.adapter.is_none() && base.replaced.contains_key(name)
    }

    /// Adds several tensors that differ only in their first dimension to the model and returns them. If they take no
    /// gradients, they become views into one tensor (PARAM-2), which is returned first.
    pub(crate) fn joined(
        &mut self,
        source: &Source<'_>,
        parts: &[(String, Vec<i64>)],
        init: Init,
    ) -> Result<(Option<Tensor>, Vec<Tensor>), ModelError> {
        let first = parts[0].0.as_str();
        let trainable = self.is_trainable(first);
        let whole = match source {
            Source::Checkpoint(checkpoint) if !trainable && !self.is_replaced(first) => {
                self.base.joined(first, || self.load_joined(checkpoint, parts))?
            }
            _ => {
                let mut tensors = Vec::with_capacity(parts.len());
                for (name, shape) in parts {
                    tensors.push(self.tensor(source, name, shape, init)?);
                }
                if trainable && self.learns {
                    return Ok((None, tensors));
                }
                let of_original = match source {
                    Source::Replica(base) if !trainable && !self.is_replaced_in(base, first) => {
                        base.joined.get(first).map(Tensor::shallow_clone)
                    }
                    _ => None,
                };
                of_original.map_or_else(|| tch::no_grad(|| Tensor::f_cat(&tensors, 0)), Ok)?
            }
        };
        let _guard = tch::no_grad_guard();
        let (mut views, mut row) = (Vec::with_capacity(parts.len()), 0);
        for (name, shape) in parts {
            let view = whole.f_narrow(0, row, shape[0])?;
            self.tensors.insert(name.clone(), view.shallow_clone());
            views.push(view);
            row += shape[0];
        }
        self.joined.insert(first.to_owned(), whole.shallow_clone());
        Ok((Some(whole), views))
    }

    /// Loads several tensors into one.
    fn load_joined(
        &self,
        checkpoint: &Checkpoint,
        parts: &[(String, Vec<i64>)],
    ) -> Result<Tensor, ModelError> {
        let _guard = tch::no_grad_guard();
        let load =
            |(name, shape): &(String, Vec<i64>)| checkpoint.load(name, shape, self.device, Some(self.kind));
        let tensors = parts.iter().map(load).collect::<Result<Vec<_>, ModelError>>()?;
        Ok(Tensor::f_cat(&tensors, 0)?)
    }

    /// Adds the two adapter tensors of a linear layer to the model and returns them, if that layer has an adapter.
    ///
    /// Shapes: `sizes: [input, output]` → `A: [rank, input]`, `B: [output, rank]`; f32 if they take gradients, else in
    /// the model's dtype (LORA-1)
    pub(crate) fn adapter_tensors(
        &mut self,
        source: &Source<'_>,
        module: &str,
        sizes: [i64; 2],
    ) -> Result<Option<[Tensor; 2]>, ModelError> {
        let _guard = tch::no_grad_guard();
        let Some(adapter) = &mut self.adapter else { return Ok(None) };
        let original = match source {
            Source::Replica(base) => base.adapter.as_ref(),
            _ => None,
        };
        let Some([a, b]) = adapter.start(original, module, sizes)? else { return Ok(None) };
        let kind = if self.learns { Kind::Float } else { self.kind };
        let place = |tensor: Tensor| -> Result<Tensor, ModelError> {
            let own = tensor.f_to_device(self.device)?.f_to_kind(kind)?.copy();
            Ok(own.set_requires_grad(self.learns))
        };
        let tensors = [place(a)?, place(b)?];
        adapter.keep(module, tensors.each_ref());
        Ok(Some(tensors))
    }

    /// Replaces the two adapter tensors of a layer by views into larger tensors.
    pub(crate) fn keep_adapter_views(&mut self, module: &str, views: [&Tensor; 2]) {
        if let Some(adapter) = &mut self.adapter {
            adapter.keep(module, views);
        }
    }

    /// Overwrites trainable tensors with others of the same name and shape. Fails, and overwrites nothing, if a name is
    /// not that of a trainable tensor or a shape differs.
    pub(crate) fn load_trainable(&self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        let _guard = tch::no_grad_guard();
        let mut pairs = Vec::with_capacity(tensors.len());
        for (name, new) in tensors {
            let Some(current) = self.trainable_tensor(name) else {
                return Err(InputError::NotTrainable { name: name.clone() }.into());
            };
            if current.size() != new.size() {
                let (found, expected) = (new.size(), current.size());
                return Err(InputError::TensorShape { name: name.clone(), found, expected }.into());
            }
            pairs.push((current.shallow_clone(), new));
        }
        for (mut current, new) in pairs {
            current.f_copy_(new)?;
        }
        Ok(())
    }

    /// Moves a tensor to the model's device and converts it to its dtype.
    fn place(&self, tensor: &Tensor) -> Result<Tensor, ModelError> {
        Ok(tensor.f_to_device(self.device)?.f_to_kind(self.kind)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<(String, Vec<i64>)> {
        vec![("language_model.q".to_owned(), vec![2, 3]), ("language_model.k".to_owned(), vec![1, 3])]
    }

    fn learner() -> (Params, Tensor, Vec<Tensor>) {
        let mut params = Params::new(Arc::default(), Device::Cpu, Kind::Float, true, Trained::DECODER);
        let source = Source::Random(5);
        let frozen = params.tensor(&source, "audio_tower.conv1.weight", &[2, 3, 3], Init::Conv).unwrap();
        let (whole, tensors) = params.joined(&source, &parts(), Init::Linear).unwrap();
        assert!(whole.is_none(), "tensors with gradients are not joined");
        (params, frozen, tensors)
    }

    #[test]
    fn replica_shares_frozen_storage_and_copies_the_rest() {
        // PARAM-1.
        let (params, frozen, tensors) = learner();
        assert!(tensors[0].requires_grad() && !frozen.requires_grad());
        let mut replica = params.for_replica(false);
        let source = Source::Replica(&params);
        let shared = replica.tensor(&source, "audio_tower.conv1.weight", &[2, 3, 3], Init::Conv).unwrap();
        assert_eq!(shared.data_ptr(), frozen.data_ptr());
        let (whole, copies) = replica.joined(&source, &parts(), Init::Linear).unwrap();
        let whole = whole.unwrap();
        assert_eq!(copies[0], tensors[0].detach());
        assert_ne!(copies[0].data_ptr(), tensors[0].data_ptr());
        assert!(!whole.requires_grad());

        // PARAM-2. Loading writes to the joined tensor through its views: row 2 is the part `k`.
        replica
            .load_trainable(&[(
                "language_model.k".to_owned(),
                Tensor::from_slice(&[7.0f32, 8.0, 9.0]).reshape([1, 3]),
            )])
            .unwrap();
        assert_eq!(Vec::<f32>::try_from(whole.get(2)).unwrap(), [7.0, 8.0, 9.0]);
    }

    #[test]
    fn loading_unknown_names_or_shapes_fails_and_writes_nothing() {
        let (params, _, tensors) = learner();
        let before = tensors[0].detach().copy();
        let good = ("language_model.q".to_owned(), Tensor::ones([2, 3], (Kind::Float, Device::Cpu)));
        let wrong_shape = ("language_model.k".to_owned(), Tensor::ones([3], (Kind::Float, Device::Cpu)));
        let message = params.load_trainable(&[good, wrong_shape]).unwrap_err().to_string();
        assert_eq!(message, "tensor `language_model.k` has shape [3]; this model's has [1, 3]");
        assert_eq!(tensors[0].detach(), before);
        let frozen =
            ("audio_tower.conv1.weight".to_owned(), Tensor::ones([2, 3, 3], (Kind::Float, Device::Cpu)));
        assert!(params.load_trainable(&[frozen]).is_err());
    }

    #[test]
    fn random_values_are_a_function_of_seed_and_name() {
        let (first, _, tensors) = learner();
        let (second, _, _) = learner();
        for ((name, one), (_, two)) in first.all().zip(second.all()) {
            assert_eq!(one, two, "{name}");
        }
        assert_ne!(tensors[0].get(0), tensors[0].get(1));
    }
}
