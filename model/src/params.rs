//! The named tensors of a model: where they come from, which of them train, and which are shared.
//!
//! A model is built by asking a [`Params`] for each tensor by its hub name and shape. The same building code thereby
//! serves a checkpoint, a random start and a replica:
//!
//! - PARAM-1 a replica shares the storage of every frozen tensor, and has its own copy of every trainable one.
//! - PARAM-2 where several projections of the same input do not train, they lie in one tensor and their hub names are
//!   views into it: one multiplication instead of three, without a second copy of the weights.
//! - PARAM-3 with an adapter nothing else trains: a replica shares the whole base.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::Checkpoint;
use crate::error::ModelError;
use crate::lora::{AdapterSet, is_tower};
use crate::rng;

/// How a tensor starts when there is no checkpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    /// Normal with deviation 1, as PyTorch's embeddings start.
    Embedding,
    /// Uniform within ±1/√fan_in, as PyTorch's linear layers start.
    Linear,
    Zeros,
    Ones,
    /// Normal with variance 2/fan_in (He): the sound is then as loud as the positions that are added to it.
    Conv,
    /// Whisper's sines and cosines of each row's position, at a tenth of their size: a sound of few frequencies moves
    /// the convolutions of a small tower by little, and must not drown in its positions.
    Sinusoids,
}

/// Where tensors come from.
pub(crate) enum Source<'a> {
    Checkpoint(&'a Checkpoint),
    Random(u64),
    /// A replica of another model.
    Replica(&'a Params),
}

/// Which of the base's tensors train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trained {
    /// None: an adapter trains, or nothing does.
    Nothing,
    LanguageModel,
    /// The audio tower and its projector too.
    Everything,
}

/// The tensors of one model, by hub name.
pub(crate) struct Params {
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    /// The tensors take gradients: this model is a learner's, not a sampler's.
    pub(crate) learns: bool,
    trained: Trained,
    tensors: BTreeMap<String, Tensor>,
    /// Projections that lie in one tensor (PARAM-2), by the first part's name.
    joined: BTreeMap<String, Tensor>,
    adapter: Option<AdapterSet>,
}

impl Params {
    /// An empty set, to be filled while the model is built.
    pub(crate) fn new(device: Device, kind: Kind, learns: bool, trained: Trained) -> Params {
        let (tensors, joined) = (BTreeMap::new(), BTreeMap::new());
        Params { device, kind, learns, trained, tensors, joined, adapter: None }
    }

    /// An empty set for a model whose base is frozen and has an adapter.
    pub(crate) fn adapted(device: Device, kind: Kind, learns: bool, adapter: AdapterSet) -> Params {
        Params { adapter: Some(adapter), ..Params::new(device, kind, learns, Trained::Nothing) }
    }

    /// An empty set for a replica of this one.
    pub(crate) fn for_replica(&self, learns: bool) -> Params {
        match &self.adapter {
            Some(adapter) => Params::adapted(self.device, self.kind, learns, adapter.for_replica()),
            None => Params::new(self.device, self.kind, learns, self.trained),
        }
    }

    /// An empty set for a replica that does not learn, without this one's adapter.
    pub(crate) fn for_reference(&self) -> Params {
        Params::new(self.device, self.kind, false, self.trained)
    }

    /// The adapter, if there is one.
    pub(crate) fn adapter(&self) -> Option<&AdapterSet> {
        self.adapter.as_ref()
    }

    /// Whether a tensor of the base changes during training. The positions of the audio tower are constants.
    fn is_trainable(&self, name: &str) -> bool {
        match self.trained {
            Trained::Nothing => false,
            Trained::LanguageModel => !is_tower(name),
            Trained::Everything => name != "audio_tower.embed_positions.weight",
        }
    }

    /// The tower's features change during training.
    pub(crate) fn tower_trains(&self) -> bool {
        self.trained == Trained::Everything || self.adapter.as_ref().is_some_and(AdapterSet::reaches_tower)
    }

    /// The tower takes gradients here.
    pub(crate) fn tower_learns(&self) -> bool {
        self.learns && self.tower_trains()
    }

    /// Whether this is one of the tensors.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A tensor of the base with what the adapter adds to it, if there is one that does.
    pub(crate) fn merged(&self, name: &str, tensor: &Tensor) -> Tensor {
        let _guard = tch::no_grad_guard();
        let module = name.strip_suffix(".weight").unwrap_or(name);
        match self.adapter().and_then(|adapter| adapter.delta(module)) {
            Some(delta) => (tensor.to_kind(Kind::Float) + delta).to_kind(tensor.kind()),
            None => tensor.detach(),
        }
    }

    /// All tensors of the base, by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.tensors.iter()
    }

    /// The trainable tensors, by name: the adapter's, or those of the base that train.
    pub(crate) fn trainable(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        let base = self.tensors.iter().filter(|(name, _)| self.is_trainable(name));
        base.chain(self.adapter.iter().flat_map(|adapter| &adapter.tensors))
    }

    fn trainable_tensor(&self, name: &str) -> Option<&Tensor> {
        let base = self.tensors.get(name).filter(|_| self.is_trainable(name));
        base.or_else(|| self.adapter.as_ref()?.tensors.get(name))
    }

    /// Takes one tensor into the model.
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
            Source::Checkpoint(checkpoint) => checkpoint.load(name, shape, self.device, Some(self.kind))?,
            Source::Random(seed) => self.place(&random(rng::named(*seed, name), shape, init)?)?,
            Source::Replica(base) => {
                let original = base.tensors.get(name).ok_or_else(|| {
                    ModelError::input(format!("the model to replicate has no tensor `{name}`"))
                })?;
                if trainable { original.detach().copy() } else { original.shallow_clone() }
            }
        };
        let tensor = tensor.set_requires_grad(self.learns && trainable);
        self.tensors.insert(name.to_owned(), tensor.shallow_clone());
        Ok(tensor)
    }

    /// Takes several tensors that share their trailing dimensions into the model; if they do not learn, they are laid
    /// into one (PARAM-2), which is returned first.
    pub(crate) fn joined(
        &mut self,
        source: &Source<'_>,
        parts: &[(String, Vec<i64>)],
        init: Init,
    ) -> Result<(Option<Tensor>, Vec<Tensor>), ModelError> {
        let first = parts[0].0.as_str();
        let learns = self.learns && self.is_trainable(first);
        let shared = match source {
            Source::Replica(base) if !self.is_trainable(first) => {
                base.joined.get(first).map(Tensor::shallow_clone)
            }
            _ => None,
        };
        let mut tensors = Vec::with_capacity(parts.len());
        for (name, shape) in parts {
            tensors.push(self.tensor(source, name, shape, init)?);
        }
        if learns {
            return Ok((None, tensors));
        }
        let _guard = tch::no_grad_guard();
        let whole = match shared {
            Some(whole) => whole,
            None => Tensor::f_cat(&tensors, 0)?,
        };
        let mut row = 0;
        for ((name, shape), tensor) in parts.iter().zip(&mut tensors) {
            *tensor = whole.f_narrow(0, row, shape[0])?;
            self.tensors.insert(name.clone(), tensor.shallow_clone());
            row += shape[0];
        }
        self.joined.insert(first.to_owned(), whole.shallow_clone());
        Ok((Some(whole), tensors))
    }

    /// Takes the adapter's two tensors of a linear layer into the model, if that layer has an adapter: f32 where they
    /// learn, else in the model's number format (LORA-1).
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

    /// Puts views into larger tensors in the place of a layer's two adapter tensors.
    pub(crate) fn keep_adapter_views(&mut self, module: &str, views: [&Tensor; 2]) {
        if let Some(adapter) = &mut self.adapter {
            adapter.keep(module, views);
        }
    }

    /// Overwrites trainable tensors.
    ///
    /// # Errors
    /// A name is not one of the trainable tensors, or its shape differs; nothing is written then.
    pub(crate) fn load_trainable(&self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        let _guard = tch::no_grad_guard();
        let mut pairs = Vec::with_capacity(tensors.len());
        for (name, new) in tensors {
            let Some(current) = self.trainable_tensor(name) else {
                return Err(ModelError::input(format!("`{name}` is not a trainable tensor of this model")));
            };
            if current.size() != new.size() {
                let (found, expected) = (new.size(), current.size());
                let message = format!("tensor `{name}` has shape {found:?}; this model's has {expected:?}");
                return Err(ModelError::input(message));
            }
            pairs.push((current.shallow_clone(), new));
        }
        for (mut current, new) in pairs {
            current.f_copy_(new)?;
        }
        Ok(())
    }

    /// Onto the model's device, in its number format, in memory of its own.
    fn place(&self, tensor: &Tensor) -> Result<Tensor, ModelError> {
        Ok(tensor.f_to_device(self.device)?.f_to_kind(self.kind)?)
    }
}

/// Initial values, on the CPU in f32.
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

/// Rows of `[sin(p·f_0) … sin(p·f_{w/2-1}), cos(p·f_0) …]` with frequencies falling from 1 to 1/10000.
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

    fn parts() -> Vec<(String, Vec<i64>)> {
        vec![("language_model.q".to_owned(), vec![2, 3]), ("language_model.k".to_owned(), vec![1, 3])]
    }

    fn learner() -> (Params, Tensor, Vec<Tensor>) {
        let mut params = Params::new(Device::Cpu, Kind::Float, true, Trained::LanguageModel);
        let source = Source::Random(5);
        let frozen = params.tensor(&source, "audio_tower.conv1.weight", &[2, 3, 3], Init::Conv).unwrap();
        let (whole, tensors) = params.joined(&source, &parts(), Init::Linear).unwrap();
        assert!(whole.is_none(), "what learns stays apart");
        (params, frozen, tensors)
    }

    #[test]
    fn replica_shares_frozen_storage_and_copies_the_rest() {
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

        // Loading reaches the joined tensor through its views: row 2 is the part `k`.
        replica
            .load_trainable(&[(
                "language_model.k".to_owned(),
                Tensor::from_slice(&[7.0f32, 8.0, 9.0]).reshape([1, 3]),
            )])
            .unwrap();
        assert_eq!(Vec::<f32>::try_from(whole.get(2)).unwrap(), [7.0, 8.0, 9.0]);
    }

    #[test]
    fn loading_refuses_unknown_names_and_shapes_and_then_writes_nothing() {
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
    fn random_start_is_a_function_of_seed_and_name() {
        let (first, _, tensors) = learner();
        let (second, _, _) = learner();
        for ((name, one), (_, two)) in first.all().zip(second.all()) {
            assert_eq!(one, two, "{name}");
        }
        assert_ne!(tensors[0].get(0), tensors[0].get(1));
    }

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
