//! The adapter tensors of one model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::peft::{self, AdapterFile, PARTS};
use super::{Adapter, LoraConfig, TargetModules, Targets, names};
use crate::config::Architecture;
use crate::error::ModelError;
use crate::nn::DropoutSeed;
use crate::params::{Init, random};
use crate::rng;

/// Where a set's tensors come from while its model is built.
enum Start {
    Fresh {
        seed: u64,
        targets: Targets,
    },
    File(AdapterFile),
    /// Those of the model that is replicated.
    Replica,
}

/// The adapter of one model: its tensors by hub layer and part, `….q_proj.lora_A.weight`.
pub(crate) struct AdapterSet {
    pub(crate) config: LoraConfig,
    /// What seeds the dropout masks of the forward pass in hand.
    pub(crate) dropout: Arc<DropoutSeed>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    start: Start,
    /// Linear layers that were built, adapted or not.
    layers: Vec<String>,
    /// The base's architecture and directory, for whoever opens the adapter with PEFT.
    architecture: Architecture,
    base: PathBuf,
}

impl AdapterSet {
    /// An empty set, to be filled while the model is built. `tower` lets a fresh adapter reach into the audio tower.
    ///
    /// # Errors
    /// An adapter directory cannot be read, or the target modules are no regular expression.
    pub(crate) fn new(
        adapter: &Adapter,
        tower: bool,
        architecture: Architecture,
        base: &Path,
    ) -> Result<AdapterSet, ModelError> {
        let (config, start) = match adapter {
            Adapter::Fresh { config, seed } => {
                let targets = Targets::new(&config.target_modules, tower)?;
                (config.clone(), Start::Fresh { seed: *seed, targets })
            }
            Adapter::Directory(dir) => {
                let file = AdapterFile::open(dir)?;
                (file.config.clone(), Start::File(file))
            }
        };
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_path_buf());
        Ok(AdapterSet {
            config,
            dropout: Arc::default(),
            tensors: BTreeMap::new(),
            start,
            layers: Vec::new(),
            architecture,
            base,
        })
    }

    /// An empty set for a replica.
    pub(crate) fn for_replica(&self) -> AdapterSet {
        AdapterSet {
            config: self.config.clone(),
            dropout: Arc::default(),
            tensors: BTreeMap::new(),
            start: Start::Replica,
            layers: Vec::new(),
            architecture: self.architecture,
            base: self.base.clone(),
        }
    }

    /// A layer's `A` and `B` as they start, on the CPU or wherever the original is; `None` for a layer without adapter.
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
                if !targets.hit(module) {
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

    /// Keeps a layer's tensors under their names.
    pub(crate) fn keep(&mut self, module: &str, tensors: [&Tensor; 2]) {
        for (part, tensor) in PARTS.into_iter().zip(tensors) {
            self.tensors.insert(tensor_name(module, part), tensor.shallow_clone());
        }
    }

    /// Checks, once the model is built, that what the adapter was meant for was there.
    ///
    /// # Errors
    /// A target is no layer's name, there is nothing to adapt, or a file's tensor found no layer.
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        match &self.start {
            Start::File(file) => file.finish()?,
            Start::Fresh { targets, .. } => {
                let unused = targets.unused(&self.layers);
                if let Some(what) = unused.or(self.tensors.is_empty().then_some("the pattern")) {
                    return Err(ModelError::input(format!(
                        "target_modules: no linear layer that may be adapted goes by `{what}`; there are {}{}",
                        self.last_names(targets).join(", "),
                        if targets.tower {
                            ""
                        } else {
                            " (those of the audio tower with train_audio_tower = true)"
                        }
                    )));
                }
            }
            Start::Replica => (),
        }
        Ok(())
    }

    /// The last part of every layer's name, each once.
    fn last_names(&self, targets: &Targets) -> Vec<String> {
        let allowed = |layer: &&String| targets.tower || !names::is_tower(layer);
        let last = |layer: &String| layer.rsplit('.').next().unwrap_or_default().to_owned();
        let mut last: Vec<String> = self.layers.iter().filter(allowed).map(last).collect();
        last.sort();
        last.dedup();
        last
    }

    /// Whether a layer of the audio tower or its projector has an adapter.
    pub(crate) fn reaches_tower(&self) -> bool {
        self.tensors.keys().any(|name| names::is_tower(name))
    }

    /// What is added to a layer's weight when the adapter is merged, `[output, input]`, f32.
    pub(crate) fn delta(&self, module: &str) -> Option<Tensor> {
        let part =
            |part| self.tensors.get(&tensor_name(module, part)).map(|tensor| tensor.to_kind(Kind::Float));
        Some(part(PARTS[1])?.matmul(&part(PARTS[0])?) * self.config.scale())
    }

    /// Reads these tensors' values from a directory in PEFT's form.
    ///
    /// # Errors
    /// It holds no whole adapter, or one for other layers or of another rank.
    pub(crate) fn read(&self, dir: &Path) -> Result<Vec<(String, Tensor)>, ModelError> {
        let mut file = AdapterFile::open(dir)?;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, own) in &self.tensors {
            let Some(module) = name.strip_suffix(PARTS[0]).and_then(|rest| rest.strip_suffix('.')) else {
                continue;
            };
            let b = &self.tensors[&tensor_name(module, PARTS[1])];
            let shape = |tensor: &Tensor| <[i64; 2]>::try_from(tensor.size()).expect("a matrix");
            let values = file.take(module, [shape(own), shape(b)])?.ok_or_else(|| {
                ModelError::checkpoint(dir, format!("the adapter has nothing for the layer `{module}`"))
            })?;
            let named =
                PARTS.into_iter().zip(values).map(|(part, tensor)| (tensor_name(module, part), tensor));
            tensors.extend(named);
        }
        file.finish()?;
        tensors.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(tensors)
    }

    /// Writes the adapter into a directory in PEFT's form.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), ModelError> {
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.to_kind(Kind::Float)));
        peft::write(dir, &self.config, &self.targets(), &self.base, self.architecture, tensors)
    }

    /// `target_modules` that mean these layers to PEFT, whatever else the whole model may hold: a pattern if it says them
    /// exactly, or else every layer's name.
    fn targets(&self) -> TargetModules {
        let adapted = |layer: &&String| self.tensors.contains_key(&tensor_name(layer, PARTS[0]));
        let (adapted, others): (Vec<&String>, Vec<&String>) = self.layers.iter().partition(adapted);
        let pattern = |layer: &&String| -> String {
            let numbered = |part: &str| part.parse::<u64>().is_ok();
            let name = names::written(layer, self.architecture);
            let parts: Vec<&str> =
                name.split('.').map(|part| if numbered(part) { r"\d+" } else { part }).collect();
            parts.join(r"\.")
        };
        let mut patterns: Vec<String> = adapted.iter().map(pattern).collect();
        patterns.sort();
        patterns.dedup();
        if others.iter().map(pattern).any(|other| patterns.contains(&other)) {
            return TargetModules::Named(
                adapted.into_iter().map(|layer| names::written(layer, self.architecture)).collect(),
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
