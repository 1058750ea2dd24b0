//! A policy: the model that generates completions and is trained on them.
//!
//! The program opens one [`Policy`] for each arm, which the learner trains; those of the same checkpoint share what none of
//! them trains ([`Bases`]). The sampler and the reference are
//! replicas of it that share the frozen weights. After each step, the tensors of the learner's [`Policy::publish`]
//! are passed to the sampler's [`Policy::load_trainable`].

pub(crate) mod directory;
mod fingerprint;
mod finite;
mod options;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::align::{Aligned, SpokenClip, align};
use crate::base::Bases;
use crate::checkpoint::{Checkpoint, Entry, write_sharded};
use crate::choose::{Chosen, choose};
use crate::config::ModelConfig;
use crate::decoder::attention::PromptAttention;
use crate::error::ModelError;
use crate::forward::{Forward, Memory, forward};
use crate::generate::{Context, OnToken, generate};
use crate::graph::Graphs;
use crate::logprobs::{CHUNK, Entropies, Group, GroupLogprobs, logprobs};
use crate::lora::{AdapterSet, Naming, Reach};
use crate::network::Network;
use crate::params::{Params, Source};
use crate::parts::Trained;
use crate::processor::{Processor, Prompt};
use crate::sampling::{Completion, SamplingParams};
use crate::tower::ClipFeatures;
use audio::LogMel;
use directory::{side_files, sync_files, write_directory};

pub use fingerprint::Fingerprint;
pub use finite::NonFiniteTensor;
pub use options::PolicyOptions;

/// Smallest width of a model whose layers are recomputed in the backward pass by default.
const LARGE_WIDTH: i64 = 1024;

/// A model with its processor. It is `Send`, so that an actor with its own thread can own it.
pub struct Policy {
    model: Network,
    processor: Processor,
    side_files: Arc<Vec<(&'static str, Vec<u8>)>>,
    /// The opened checkpoint, if it has tensors that this model does not read: vision and
    /// speech. [`Policy::merge`] copies them.
    unread: Option<Arc<Checkpoint>>,
    /// Whether layers are run again in the backward pass.
    recompute: bool,
    /// The steps that were captured for generation on a GPU. Each replica has its own.
    graphs: Graphs,
}

impl Policy {
    /// Opens a Hugging Face directory for training.
    ///
    /// Errors: A file is missing, is damaged, or contradicts another; the message names it.
    pub fn open(dir: &Path, options: &PolicyOptions) -> Result<Policy, ModelError> {
        Policy::open_with(&Bases::default(), dir, options)
    }

    /// Opens a directory as [`Policy::open`] does. The policy shares frozen tensors with those that were opened with the
    /// same `bases` and are still in use.
    ///
    /// Errors: The same errors as those of [`Policy::open`].
    pub fn open_with(bases: &Bases, dir: &Path, options: &PolicyOptions) -> Result<Policy, ModelError> {
        let config = Arc::new(ModelConfig::open(dir)?);
        let processor = Processor::with_config(dir, &config)?;
        let checkpoint = match options.from_scratch {
            Some(_) => None,
            None => Some(Checkpoint::open(dir, config.architecture)?),
        };
        let stored = checkpoint.as_ref().and_then(Checkpoint::half_kind);
        let kind = options.dtype.unwrap_or(match options.device {
            Device::Cpu => Kind::Float,
            _ => stored.unwrap_or(Kind::Float),
        });
        let source = match (&checkpoint, options.from_scratch) {
            (Some(checkpoint), _) => Source::Checkpoint(checkpoint),
            (None, seed) => Source::Random(seed.unwrap_or_default()),
        };
        let learns = options.trained != Trained::NOTHING || options.adapter.is_some();
        let base = match &checkpoint {
            Some(checkpoint) => bases.of(checkpoint, options.device, kind),
            None => Arc::default(),
        };
        let params = Params::new(base.clone(), options.device, kind, learns, options.trained);
        let params = match &options.adapter {
            Some(adapter) => {
                let naming = Naming { architecture: config.architecture, prefix: config.prefix() };
                let reach = Reach { tower: options.adapt_tower, whole: options.trained };
                params.with_adapter(AdapterSet::new(adapter, reach, naming, dir)?)
            }
            None => params,
        };
        let large = options.device != Device::Cpu || config.text.hidden_size >= LARGE_WIDTH;
        let recompute = options.gradient_checkpointing.unwrap_or(large);
        let model = Network::open(config, params, &source, &base)?;
        let side_files = Arc::new(side_files(dir)?);
        let unread = checkpoint.filter(|checkpoint| model.unread(checkpoint).next().is_some());
        Ok(Policy {
            model,
            processor,
            side_files,
            unread: unread.map(Arc::new),
            recompute,
            graphs: Graphs::default(),
        })
    }

    /// The tokenizer, chat template and feature extractor of the model.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// The model's dimensions, from `config.json`.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// The device that the model's tensors are on.
    pub fn device(&self) -> Device {
        self.model.device()
    }

    /// The dtype of weights and activations.
    pub fn dtype(&self) -> Kind {
        self.model.kind()
    }

    /// This policy with CUDA graphs switched on or off, for generation on an NVIDIA GPU. They are on at first. Where a step
    /// can't be captured, libtorch launches its operations one by one, with a warning.
    pub fn with_cuda_graphs(self, on: bool) -> Policy {
        self.use_cuda_graphs(on);
        self
    }

    pub(crate) fn use_cuda_graphs(&self, on: bool) {
        self.graphs.switch(on);
    }

    fn context(&self) -> Context<'_> {
        Context { model: &self.model, processor: &self.processor, graphs: &self.graphs }
    }

    /// Kernels of the step that was replayed last; `None` if the last generation was without a graph.
    pub(crate) fn launches_per_token(&self) -> Option<usize> {
        self.graphs.launches()
    }

    /// Generates `group_size` completions of each prompt. `seeds` has one seed for each completion, those of a
    /// prompt next to each other; the result has the same order. A completion depends only on its prompt, its
    /// seed and the weights.
    ///
    /// Errors: A parameter is out of range, the number of seeds is not that of the completions, a prompt's placeholders
    /// do not match its clips, or a prompt is too long.
    pub fn generate(
        &self,
        prompts: &[Prompt],
        group_size: usize,
        params: &SamplingParams,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, ModelError> {
        generate(&self.context(), prompts, group_size, params, seeds, None)
    }

    /// Generates one completion, and calls `on_token` with the id of each token as it is drawn. When that returns
    /// [`ControlFlow::Break`], the completion is cut off.
    ///
    /// Errors: The same errors as those of [`Policy::generate`].
    pub fn stream(
        &self,
        prompt: &Prompt,
        params: &SamplingParams,
        seed: u64,
        mut on_token: impl FnMut(i64) -> ControlFlow<()>,
    ) -> Result<Completion, ModelError> {
        let (prompts, seeds) = (std::slice::from_ref(prompt), [seed]);
        let mut on_token = |_: usize, id: i64| on_token(id);
        let on_token: Option<&mut OnToken<'_>> = Some(&mut on_token);
        let mut completions = generate(&self.context(), prompts, 1, params, &seeds, on_token)?;
        Ok(completions.remove(0))
    }

    /// Generates one of `texts` after each prompt. Each token is the most likely of those that continue one of the
    /// texts. No text may be the beginning of another.
    ///
    /// Errors: There is no text, a text is empty or not printable ASCII, a prompt's placeholders do not match its
    /// clips, or a prompt is too long.
    pub fn choose(&self, prompts: &[Prompt], texts: &[String]) -> Result<Vec<Chosen>, ModelError> {
        choose(&self.context(), prompts, texts)
    }

    /// The log-probabilities of completions under the temperature-scaled distribution, without gradients. Temperature 0
    /// is treated as 1. Groups may differ in size, and prompts and completions in length.
    ///
    /// Errors: There is no completion token, an id is outside the vocabulary, a prompt's placeholders do not match its
    /// clips, or a sequence is too long.
    pub fn logprobs(&self, groups: &[Group<'_>], temperature: f64) -> Result<GroupLogprobs, ModelError> {
        logprobs(&self.model, groups, if temperature == 0.0 { 1.0 } else { temperature })
    }

    /// The log-probabilities of completions as in [`Policy::logprobs`], with gradients. If the adapter
    /// has dropout, its masks are a function of `dropout_seed`. A loss that is computed from the result
    /// is passed to [`Forward::backward`].
    ///
    /// Errors: The same errors as those of [`Policy::logprobs`].
    pub fn forward(
        &self,
        groups: &[Group<'_>],
        temperature: f64,
        dropout_seed: u64,
    ) -> Result<Forward<'_>, ModelError> {
        self.forward_with_entropies(groups, temperature, dropout_seed, Entropies::Off)
    }

    /// As [`Policy::forward`], with the entropies of the tokens.
    ///
    /// Errors: The same errors as those of [`Policy::logprobs`].
    pub fn forward_with_entropies(
        &self,
        groups: &[Group<'_>],
        temperature: f64,
        dropout_seed: u64,
        entropies: Entropies,
    ) -> Result<Forward<'_>, ModelError> {
        let temperature = if temperature == 0.0 { 1.0 } else { temperature };
        let memory = Memory { recompute: self.recompute, logits: CHUNK };
        forward(&self.model, groups, temperature, dropout_seed, memory, entropies)
    }

    /// The loss by which the projector is fitted to the words that are spoken in some clips: each audio token is to be
    /// nearest to the embedding of its word. `vocabulary` has the token ids of all words of the data, from which a word is
    /// told apart, and as the last that of a pause.
    ///
    /// Errors: An id is outside the vocabulary of the model, the clips have no audio token, or the model is a text-only
    /// model.
    pub fn align(&self, clips: &[SpokenClip], vocabulary: &[i64]) -> Result<Aligned, ModelError> {
        align(&self.model, clips, vocabulary)
    }

    /// The logits at every position of some prompts, without gradients. Meant for inspection and tests.
    ///
    /// Shapes: → `[prompts, longest, vocabulary]`, f32; shorter prompts are padded on the left
    ///
    /// Errors: A prompt's placeholders do not match its clips, or a prompt is too long.
    pub fn logits(&self, prompts: &[Prompt]) -> Result<Tensor, ModelError> {
        let _guard = tch::no_grad_guard();
        let batch = self.model.batch(&prompts.iter().collect::<Vec<_>>())?;
        self.model.check_length(batch.rows.length)?;
        let decoder = &self.model.decoder;
        let mut attention = PromptAttention::new(&batch.rows, decoder.sizes, |_, _| ());
        let angles = decoder.angles(&self.model.upload(&batch.positions));
        let x = decoder.run(self.model.embed(&batch.ids, &batch), &angles, &mut attention, None);
        Ok(decoder.project(&x, 1.0).view([batch.rows.batch, batch.rows.length, -1]))
    }

    /// The audio tower's output for one clip, without gradients.
    ///
    /// Shapes: `clip`: log-mel `[bins, frames]`, f32 → see [`ClipFeatures`]
    ///
    /// Errors: The model is a text-only model, or the clip has other dimensions than the audio tower takes.
    pub fn encode_clip(&self, clip: &LogMel) -> Result<ClipFeatures, ModelError> {
        let _guard = tch::no_grad_guard();
        self.model.encode_clip(clip)
    }

    /// The trainable tensors with their hub names, sorted by name. Those of a learner take gradients; those of
    /// a replica do not.
    pub fn trainable(&self) -> Vec<(String, Tensor)> {
        self.model.params.trainable().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Copies of the trainable tensors, for [`Policy::load_trainable`] of a replica.
    pub fn publish(&self) -> Vec<(String, Tensor)> {
        self.model.params.trainable().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect()
    }

    /// Overwrites trainable tensors with others of the same name and shape.
    ///
    /// Errors: A name is not that of a trainable tensor, or a shape differs. In this case nothing is overwritten.
    pub fn load_trainable(&self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        self.model.load_trainable(tensors)
    }

    /// A replica of this policy for a sampler or the reference: it shares the frozen weights, and has its own copy of
    /// the trainable ones, without gradients.
    ///
    /// Errors: libtorch is out of memory on the policy's device.
    pub fn replica(&self) -> Result<Policy, ModelError> {
        self.copy(false)
    }

    /// A second learner that starts from the current weights: it shares the frozen ones, and has its own copy of the
    /// trainable ones, with gradients.
    ///
    /// Errors: libtorch is out of memory on the policy's device.
    pub fn learner(&self) -> Result<Policy, ModelError> {
        self.copy(true)
    }

    /// The reference policy of the KL term: a [replica](Policy::replica) of this policy, or with an adapter the base
    /// alone, which takes no further memory.
    ///
    /// Errors: libtorch is out of memory on the policy's device.
    pub fn reference(&self) -> Result<Policy, ModelError> {
        Ok(self.with_model(self.model.reference()?))
    }

    fn copy(&self, learns: bool) -> Result<Policy, ModelError> {
        Ok(self.with_model(self.model.replica(learns)?))
    }

    fn with_model(&self, model: Network) -> Policy {
        Policy {
            model,
            processor: self.processor.clone(),
            side_files: self.side_files.clone(),
            unread: self.unread.clone(),
            recompute: self.recompute,
            graphs: Graphs::default(),
        }
    }

    /// Reads the trainable tensors from a directory that [`Policy::save`] wrote, for [`Policy::load_trainable`].
    ///
    /// Errors: The directory holds no complete checkpoint or adapter, or one of other shapes.
    pub fn read_trainable(&self, dir: &Path) -> Result<Vec<(String, Tensor)>, ModelError> {
        if let Some(adapter) = self.model.params.adapter() {
            return self.model.params.read_adapter(adapter, dir);
        }
        let checkpoint = Checkpoint::open(dir, self.config().architecture)?;
        let read =
            |(name, tensor): (&String, &Tensor)| Ok((name.clone(), checkpoint.tensor(name, &tensor.size())?));
        self.model.params.trainable().map(read).collect()
    }

    /// Saves the policy as a directory. With an adapter, this is the adapter in PEFT's format, with the parts that train
    /// beside it; otherwise a complete Hugging Face directory. The directory is written under a temporary name and then
    /// renamed; an existing one is replaced. It does not wait for the disk: a checkpoint is synchronized as a whole.
    ///
    /// Errors: A file cannot be written, or `dir` does not end in a name.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        match self.model.params.adapter() {
            Some(adapter) => write_directory(dir, |draft| self.model.params.write_adapter(adapter, draft)),
            None => self.write_merged(dir),
        }
    }

    /// Writes a complete Hugging Face directory, with the adapter, if the policy has one, merged into the weights.
    /// Tensors of the opened directory that this model does not read are copied unchanged. The directory is written
    /// under a temporary name and then renamed; an existing one is replaced.
    ///
    /// Errors: A file cannot be written, or `dir` does not end in a name.
    pub fn merge(&self, dir: &Path) -> Result<(), ModelError> {
        self.write_merged(dir)?;
        sync_files(dir)
    }

    fn write_merged(&self, dir: &Path) -> Result<(), ModelError> {
        write_directory(dir, |draft| {
            for (name, bytes) in self.side_files.iter() {
                let path = draft.join(name);
                std::fs::write(&path, bytes).map_err(|source| ModelError::io(&path, source))?;
            }
            let (params, prefix) = (&self.model.params, self.config().prefix());
            let mut entries = Vec::new();
            for (name, tensor) in params.all() {
                let stored = format!("{prefix}{name}");
                entries.push(Entry::made(&stored, tensor, draft, move || params.merged(name, tensor))?);
            }
            if let Some(checkpoint) = &self.unread {
                entries.extend(self.model.unread(checkpoint));
            }
            write_sharded(draft, entries)
        })
    }
}

#[cfg(test)]
mod tests;
