//! The adapter tensors of one model.
//!
//! `params.rs` owns an [`AdapterSet`] and fills it layer by layer while the model is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::config::{Adapter, LoraConfig, TargetModules};
use super::names::Naming;
use super::peft::{self, AdapterFile, Description, PARTS};
use super::targets::{Reach, Targets};
use crate::dropout::DropoutSeed;
use crate::error::{CheckpointError, InputError, ModelError};
use crate::init::{Init, random};
use crate::parts::{Part, Trained};
use crate::rng;

/// Where the tensors of a set come from while the model is built.
enum Start {
    Fresh {
        seed: u64,
        targets: Targets,
    },
    File(AdapterFile),
    /// The tensors of the model that is replicated.
    Replica,
}

/// The adapter of one model. Its tensors are named by the layer's hub name and the part, as `….q_proj.lora_A.weight`.
pub(crate) struct AdapterSet {
    pub(crate) config: LoraConfig,
    /// The seed of the dropout masks of the current forward pass.
    pub(crate) dropout: Arc<DropoutSeed>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    start: Start,
    /// The parts of the base that the adapter's file replaces (LORA-4).
    pub(crate) replaces: Trained,
    /// The hub names of all linear layers that were built, with an adapter or without.
    layers: Vec<String>,
    /// How its layers are named in its file.
    naming: Naming,
    /// The base's directory, which is written into `adapter_config.json`.
    base: PathBuf,
}

impl AdapterSet {
    /// An empty set, filled while the model is built. `reach` limits a fresh adapter. Fails if the adapter's directory cannot be read or the pattern of target modules is
    /// not a valid regular expression.
    pub(crate) fn new(
        adapter: &Adapter,
        reach: Reach,
        naming: Naming,
        base: &Path,
    ) -> Result<AdapterSet, ModelError> {
        let (config, start) = match adapter {
            Adapter::Fresh { config, seed } => {
                let targets = Targets::new(&config.target_modules, reach)?;
                (config.clone(), Start::Fresh { seed: *seed, targets })
            }
            Adapter::Directory(dir) => {
                let file = AdapterFile::open(dir)?;
                (file.config.clone(), Start::File(file))
            }
        };
        let replaces = if let Start::File(file) = &start { file.replaces() } else { Trained::NOTHING };
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_path_buf());
        Ok(AdapterSet {
            config,
            dropout: Arc::default(),
            tensors: BTreeMap::new(),
            start,
            replaces,
            layers: Vec::new(),
            naming,
            base,
        })
    }

    /// An empty set for a replica of this model.
    pub(crate) fn for_replica(&self) -> AdapterSet {
        AdapterSet {
            config: self.config.clone(),
            dropout: Arc::default(),
            tensors: BTreeMap::new(),
            start: Start::Replica,
            replaces: self.replaces,
            layers: Vec::new(),
            naming: self.naming,
            base: self.base.clone(),
        }
    }

    /// The initial `A` and `B` of a layer; `None` for a layer without adapter.
    ///
    /// Shapes: `[input, output]` → `A: [rank, input]`, `B: [output, rank]`; on the CPU, or for a replica
    /// on the original's device
    pub(crate) fn start(
        &mut self,
        original: Option<&AdapterSet>,
        module: &str,
        [input, output]: [i64; 2],
    ) -> Result<Option<[Tensor; 2]>, ModelError> {
        self.layers.push(module.to_owned());
        let rank = self.config.rank;
        let shapes = [[rank, input], [output, rank]];
        match &mut self.start {
            Start::Fresh { seed, targets } => {
                if !targets.matches(module) {
                    return Ok(None);
                }
                let a = random(rng::named(*seed, &tensor_name(module, PARTS[0])), &shapes[0], Init::Linear)?;
                Ok(Some([a, Tensor::f_zeros(shapes[1], (Kind::Float, tch::Device::Cpu))?]))
            }
            Start::File(file) => file.take(module, shapes),
            Start::Replica => {
                let part = |part| original?.tensors.get(&tensor_name(module, part)).map(Tensor::detach);
                Ok(part(PARTS[0]).zip(part(PARTS[1])).map(|(a, b)| [a, b]))
            }
        }
    }

    /// Stores a layer's tensors under their names.
    pub(crate) fn keep(&mut self, module: &str, tensors: [&Tensor; 2]) {
        for (part, tensor) in PARTS.into_iter().zip(tensors) {
            self.tensors.insert(tensor_name(module, part), tensor.shallow_clone());
        }
    }

    /// Checks the adapter against the layers, once the model is built. Fails if a target matches no layer, if there is
    /// nothing to adapt, or if a tensor of the file has no layer.
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        match &self.start {
            Start::File(file) => file.finish()?,
            Start::Fresh { targets, .. } => {
                let unmatched = targets.first_unmatched(&self.layers).map(|name| format!("`{name}`"));
                let nothing = || self.tensors.is_empty().then(|| "the pattern".to_owned());
                if let Some(target) = unmatched.or_else(nothing) {
                    let layers = self.last_names(targets).join(", ");
                    return Err(
                        InputError::NoTarget { target, layers, tower_hint: targets.tower_hint() }.into()
                    );
                }
            }
            Start::Replica => (),
        }
        Ok(())
    }

    /// The last parts of the names of the layers that may get an adapter, sorted and without duplicates.
    fn last_names(&self, targets: &Targets) -> Vec<String> {
        let allowed = |layer: &&String| targets.allows(layer);
        let last = |layer: &String| layer.rsplit('.').next().unwrap_or_default().to_owned();
        let mut last: Vec<String> = self.layers.iter().filter(allowed).map(last).collect();
        last.sort();
        last.dedup();
        last
    }

    /// Whether a layer of this part has an adapter.
    pub(crate) fn reaches(&self, part: Part) -> bool {
        self.tensors.keys().any(|name| Part::of(name) == part)
    }

    /// The tensor of this name that the adapter's file holds as a whole, if any (LORA-4).
    ///
    /// Shapes: → `shape`, on the CPU in the stored dtype
    pub(crate) fn whole(&mut self, name: &str, shape: &[i64]) -> Result<Option<Tensor>, ModelError> {
        if let Start::File(file) = &mut self.start { file.take_whole(name, shape) } else { Ok(None) }
    }

    /// `scale · B·A` of a layer, which merging adds to its weight; `None` for a layer without adapter.
    ///
    /// Shapes: → `[output, input]`, f32
    pub(crate) fn delta(&self, module: &str) -> Option<Tensor> {
        let part =
            |part| self.tensors.get(&tensor_name(module, part)).map(|tensor| tensor.to_kind(Kind::Float));
        Some(part(PARTS[1])?.matmul(&part(PARTS[0])?) * self.config.scale())
    }

    /// Reads values for the tensors of this set from a directory in PEFT's format, and for the tensors of the base in
    /// `whole`, of which those that are `true` are returned too; sorted by name. Fails if the directory holds no complete
    /// adapter, or one for other layers or of another rank.
    pub(crate) fn read<'a>(
        &self,
        dir: &Path,
        whole: impl Iterator<Item = (&'a String, &'a Tensor, bool)>,
    ) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut file = AdapterFile::open(dir)?;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, own, trains) in whole {
            match file.take_whole(name, &own.size())? {
                Some(tensor) if trains => tensors.push((name.clone(), tensor)),
                None if trains => {
                    let problem = CheckpointError::NotSaved { name: name.clone() };
                    return Err(ModelError::checkpoint(dir, problem));
                }
                _ => (),
            }
        }
        for (name, own) in &self.tensors {
            let Some(module) = name.strip_suffix(PARTS[0]).and_then(|rest| rest.strip_suffix('.')) else {
                continue;
            };
            let b = &self.tensors[&tensor_name(module, PARTS[1])];
            let shape = |tensor: &Tensor| <[i64; 2]>::try_from(tensor.size()).expect("a matrix");
            let values = file.take(module, [shape(own), shape(b)])?.ok_or_else(|| {
                ModelError::checkpoint(dir, CheckpointError::UnadaptedLayer { layer: module.to_owned() })
            })?;
            let named =
                PARTS.into_iter().zip(values).map(|(part, tensor)| (tensor_name(module, part), tensor));
            tensors.extend(named);
        }
        file.finish()?;
        tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(tensors)
    }

    /// Writes the adapter into a directory in PEFT's format, with the modules of the base that hold these parts.
    /// `base` are the tensors of the base.
    pub(crate) fn write(
        &self,
        dir: &Path,
        parts: Trained,
        base: &BTreeMap<String, Tensor>,
    ) -> Result<(), ModelError> {
        let parts = [Part::Projector, Part::Tower].into_iter().filter(|part| parts.has(*part));
        let modules: Vec<&str> = parts.map(|part| part.module(self.naming.architecture)).collect();
        let within = |name: &str| {
            modules.iter().any(|module| name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.')))
        };
        let description = Description {
            config: &self.config,
            targets: &self.targets(),
            whole: &modules,
            base: &self.base,
            naming: self.naming,
        };
        let whole = base.iter().filter(|(name, _)| within(name));
        let tensors = self.tensors.iter().chain(whole);
        peft::write(
            dir,
            description,
            tensors.map(|(name, tensor)| (name.clone(), tensor.to_kind(Kind::Float))),
        )
    }

    /// `target_modules` that select exactly the adapted layers in PEFT, which opens the whole model with parts
    /// that this crate does not build. A regular expression where it matches no other layer; otherwise the names
    /// of all adapted layers.
    fn targets(&self) -> TargetModules {
        let adapted = |layer: &&String| self.tensors.contains_key(&tensor_name(layer, PARTS[0]));
        let (adapted, others): (Vec<&String>, Vec<&String>) = self.layers.iter().partition(adapted);
        let pattern = |layer: &&String| -> String {
            let numbered = |part: &str| part.parse::<u64>().is_ok();
            let name = self.naming.written(layer);
            let parts: Vec<&str> =
                name.split('.').map(|part| if numbered(part) { r"\d+" } else { part }).collect();
            parts.join(r"\.")
        };
        let mut patterns: Vec<String> = adapted.iter().map(pattern).collect();
        patterns.sort();
        patterns.dedup();
        if others.iter().map(pattern).any(|other| patterns.contains(&other)) {
            return TargetModules::Named(
                adapted.into_iter().map(|layer| self.naming.written(layer)).collect(),
            );
        }
        let mut by_parent: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pattern in &patterns {
            let (parent, last) = pattern.rsplit_once(r"\.").unwrap_or(("", pattern));
            by_parent.entry(parent).or_default().push(last);
        }
        let alternatives = by_parent.into_iter().map(|(parent, last)| match parent {
            "" => last.join("|"),
            parent => format!(r"{parent}\.({})", last.join("|")),
        });
        TargetModules::Pattern(alternatives.collect::<Vec<_>>().join("|"))
    }
}

fn tensor_name(module: &str, part: &str) -> String {
    format!("{module}.{part}")
}
