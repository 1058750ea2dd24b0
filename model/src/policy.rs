//! A policy: the model that writes completions and learns from them.
//!
//! One [`Policy`] is opened per arm and learns; the sampler and the reference are its replicas, which share the frozen
//! weights. After a step the learner's [`Policy::publish`] goes to the sampler's [`Policy::load_trainable`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::audio::LogMel;
use crate::checkpoint::{Checkpoint, Entry, write_sharded};
use crate::choose::{Chosen, choose};
use crate::config::ModelConfig;
use crate::decoder::attention::PromptAttention;
use crate::error::ModelError;
use crate::forward::{Forward, Memory, forward};
use crate::generate::generate;
use crate::logprobs::{CHUNK, Group, GroupLogprobs, logprobs};
use crate::lora::{Adapter, AdapterSet};
use crate::network::Network;
use crate::params::{Params, Source, Trained};
use crate::processor::{Processor, Prompt};
use crate::sampling::{Completion, SamplingParams};
use crate::tower::ClipFeatures;

/// Width from which on layers are recomputed in the backward pass if nothing else is asked for.
const LARGE_WIDTH: i64 = 1024;

/// The files beside the weights that make a Hugging Face directory whole.
const SIDE_FILES: [&str; 13] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    // The voices of a whole Qwen2.5-Omni, without which transformers does not open it.
    "spk_dict.pt",
];

/// How a policy is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyOptions {
    /// Where it runs; see [`crate::device::resolve`].
    pub device: Device,
    /// Number format of the weights. None: f32 on the CPU; on a GPU bf16 if the checkpoint is stored in 16 bits, else f32.
    pub dtype: Option<Kind>,
    /// The checkpoint does not train; without an adapter nothing does, and the model only reads and writes, as a judge.
    pub frozen: bool,
    /// The audio tower and the projector train along with the language model; with a fresh adapter, they may have
    /// adapters too.
    pub train_audio_tower: bool,
    /// Freeze the checkpoint and train this adapter on it.
    pub adapter: Option<Adapter>,
    /// Keep only the layers' inputs between forward and backward and compute the rest again: a third more work in a
    /// fraction of the memory. None: on a GPU, and for models of width 1024 or more.
    pub gradient_checkpointing: Option<bool>,
    /// Start from random weights drawn with this seed instead of a checkpoint.
    pub from_scratch: Option<u64>,
}

impl Default for PolicyOptions {
    fn default() -> Self {
        PolicyOptions {
            device: Device::Cpu,
            dtype: None,
            frozen: false,
            train_audio_tower: false,
            adapter: None,
            gradient_checkpointing: None,
            from_scratch: None,
        }
    }
}

/// A model with its processor. It is `Send`: an actor on a thread of its own owns it.
pub struct Policy {
    model: Network,
    processor: Processor,
    side_files: Arc<Vec<(&'static str, Vec<u8>)>>,
    /// Where tensors are that this model does not read and a saved directory needs: those of vision and speech.
    unread: Option<Arc<Checkpoint>>,
    /// Layers are run again in the backward pass.
    recompute: bool,
}

impl Policy {
    /// Opens a Hugging Face directory to learn from there.
    ///
    /// # Errors
    /// A file is missing, damaged, or does not fit the others; the message names it.
    pub fn open(dir: &Path, options: &PolicyOptions) -> Result<Policy, ModelError> {
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
        let params = match (&options.adapter, options.train_audio_tower) {
            (Some(adapter), tower) => {
                let adapter = AdapterSet::new(adapter, tower, config.architecture, dir)?;
                Params::adapted(options.device, kind, true, adapter)
            }
            (None, _) if options.frozen => Params::new(options.device, kind, false, Trained::Nothing),
            (None, true) => Params::new(options.device, kind, true, Trained::Everything),
            (None, false) => Params::new(options.device, kind, true, Trained::LanguageModel),
        };
        let large = options.device != Device::Cpu || config.text.hidden_size >= LARGE_WIDTH;
        let recompute = options.gradient_checkpointing.unwrap_or(large);
        let model = Network::build(config, params, &source, Arc::default())?;
        let side_files = Arc::new(side_files(dir)?);
        let unread = checkpoint.filter(|checkpoint| model.unread(checkpoint).next().is_some());
        Ok(Policy { model, processor, side_files, unread: unread.map(Arc::new), recompute })
    }

    /// The processor.
    pub fn processor(&self) -> &Processor {
        &self.processor
    }

    /// The dimensions.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// Where it runs.
    pub fn device(&self) -> Device {
        self.model.device()
    }

    /// Writes `group_size` completions of each prompt. `seeds` has one per completion, a prompt's together; the result
    /// has the same order. A completion depends on its prompt, its seed and the weights only.
    ///
    /// # Errors
    /// The parameters are out of range, the seeds are not as many as the completions, a prompt's placeholders do not fit
    /// its clips, or a prompt is too long.
    pub fn generate(
        &self,
        prompts: &[Prompt],
        group_size: usize,
        params: &SamplingParams,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, ModelError> {
        generate(&self.model, &self.processor, prompts, group_size, params, seeds, &mut |_, _| ())
    }

    /// Writes one completion and hands each token's id on as it is drawn.
    ///
    /// # Errors
    /// As [`Policy::generate`].
    pub fn stream(
        &self,
        prompt: &Prompt,
        params: &SamplingParams,
        seed: u64,
        mut heard: impl FnMut(i64),
    ) -> Result<Completion, ModelError> {
        let (prompts, seeds) = (std::slice::from_ref(prompt), [seed]);
        let mut completions =
            generate(&self.model, &self.processor, prompts, 1, params, &seeds, &mut |_, id| heard(id))?;
        Ok(completions.remove(0))
    }

    /// Writes one of `texts` after each prompt: token by token, each the likeliest with which one of them can go on. None of
    /// the texts may be the beginning of another.
    ///
    /// # Errors
    /// There is no text, or one is empty or not printable ASCII; a prompt's placeholders do not fit its clips; or a prompt is
    /// too long.
    pub fn choose(&self, prompts: &[Prompt], texts: &[String]) -> Result<Vec<Chosen>, ModelError> {
        choose(&self.model, &self.processor, prompts, texts)
    }

    /// Log-probabilities of completions under the temperature-scaled distribution (0 counts as 1), without gradients.
    /// Groups may differ in size, prompts and completions in length.
    ///
    /// # Errors
    /// There is no completion token, an id lies outside the vocabulary, a prompt's placeholders do not fit its clips, or a
    /// sequence is too long.
    pub fn logprobs(&self, groups: &[Group<'_>], temperature: f64) -> Result<GroupLogprobs, ModelError> {
        logprobs(&self.model, groups, if temperature == 0.0 { 1.0 } else { temperature })
    }

    /// The same, to learn from: with gradients, and with dropout before the adapter, if it has any, by masks that follow from
    /// the seed. A loss made of them goes to [`Forward::backward`].
    ///
    /// # Errors
    /// As [`Policy::logprobs`].
    pub fn forward(
        &self,
        groups: &[Group<'_>],
        temperature: f64,
        dropout_seed: u64,
    ) -> Result<Forward<'_>, ModelError> {
        let temperature = if temperature == 0.0 { 1.0 } else { temperature };
        let memory = Memory { recompute: self.recompute, logits: CHUNK };
        forward(&self.model, groups, temperature, dropout_seed, memory)
    }

    /// Logits at every position of some prompts, without gradients: for inspection, not for training.
    ///
    /// # Shapes
    /// → `[prompts, longest, vocabulary]`, f32, shorter prompts padded on the left
    ///
    /// # Errors
    /// A prompt's placeholders do not fit its clips, or it is too long.
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

    /// Features of one clip, without gradients.
    ///
    /// # Errors
    /// The clip's features have other dimensions than the audio tower takes.
    pub fn encode_clip(&self, clip: &LogMel) -> Result<ClipFeatures, ModelError> {
        let _guard = tch::no_grad_guard();
        self.model.encode_clip(clip)
    }

    /// The tensors that train, by hub name, sorted. A learner's take gradients; a replica's do not.
    pub fn trainable(&self) -> Vec<(String, Tensor)> {
        self.model.params.trainable().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Copies of the tensors that train, for [`Policy::load_trainable`] of a replica.
    pub fn publish(&self) -> Vec<(String, Tensor)> {
        self.model.params.trainable().map(|(name, tensor)| (name.clone(), tensor.detach().copy())).collect()
    }

    /// Overwrites tensors that train with others of the same name and shape.
    ///
    /// # Errors
    /// A name is unknown or does not train, or a shape differs; nothing is overwritten then.
    pub fn load_trainable(&self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        self.model.load_trainable(tensors)
    }

    /// A policy that shares this one's frozen weights and has its own copy of the others, without gradients: a sampler, or
    /// the reference.
    ///
    /// # Errors
    /// libtorch is out of memory.
    pub fn replica(&self) -> Result<Policy, ModelError> {
        self.copy(false)
    }

    /// A policy that shares this one's frozen weights and has its own copy of the others, which take gradients: another
    /// learner that starts where this one stands.
    ///
    /// # Errors
    /// libtorch is out of memory.
    pub fn learner(&self) -> Result<Policy, ModelError> {
        self.copy(true)
    }

    #[cfg(test)]
    pub(crate) fn network(&self) -> &Network {
        &self.model
    }

    /// The policy that this one is compared with while it learns: a [replica](Policy::replica), or with an adapter the base
    /// alone, which takes no memory of its own.
    ///
    /// # Errors
    /// libtorch is out of memory.
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
        }
    }

    /// Reads the tensors that train from a directory [`Policy::save`] wrote, for [`Policy::load_trainable`].
    ///
    /// # Errors
    /// The directory holds no whole checkpoint or adapter, or one of another shape.
    pub fn read_trainable(&self, dir: &Path) -> Result<Vec<(String, Tensor)>, ModelError> {
        if let Some(adapter) = self.model.params.adapter() {
            return adapter.read(dir);
        }
        let checkpoint = Checkpoint::open(dir, self.config().architecture)?;
        let read =
            |(name, tensor): (&String, &Tensor)| Ok((name.clone(), checkpoint.tensor(name, &tensor.size())?));
        self.model.params.trainable().map(read).collect()
    }

    /// Writes a directory, which appears at once or not at all; one that is there is replaced. A policy with an adapter
    /// writes that alone, in PEFT's form; another writes a whole Hugging Face directory.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        match self.model.params.adapter() {
            Some(adapter) => write_directory(dir, |draft| adapter.write(draft)),
            None => self.merge(dir),
        }
    }

    /// Writes a whole Hugging Face directory with the adapter, if there is one, merged into the weights. It appears at once
    /// or not at all; one that is there is replaced. Tensors of the opened directory that this model does not read go along
    /// as they are.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn merge(&self, dir: &Path) -> Result<(), ModelError> {
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

/// Fills a directory under another name and puts it in its place when it is whole.
fn write_directory(dir: &Path, fill: impl FnOnce(&Path) -> Result<(), ModelError>) -> Result<(), ModelError> {
    let draft = beside(dir, "new")?;
    remove_if_present(&draft)?;
    std::fs::create_dir_all(&draft).map_err(|source| ModelError::io(&draft, source))?;
    fill(&draft)?;
    put_in_place(&draft, dir)
}

/// Reads what [`Policy::save`] will write beside the weights: the directory may be gone by then.
fn side_files(dir: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
    let mut files = Vec::new();
    for name in SIDE_FILES {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => files.push((name, bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (),
            Err(source) => return Err(ModelError::io(&path, source)),
        }
    }
    Ok(files)
}

/// A hidden name beside a directory, on the same file system.
fn beside(dir: &Path, what: &str) -> Result<PathBuf, ModelError> {
    let name = dir
        .file_name()
        .ok_or_else(|| ModelError::input(format!("`{}` names no directory", dir.display())))?;
    Ok(dir.with_file_name(format!(".{}.{what}", name.to_string_lossy())))
}

fn put_in_place(new: &Path, dir: &Path) -> Result<(), ModelError> {
    let rename =
        |from: &Path, to: &Path| std::fs::rename(from, to).map_err(|source| ModelError::io(to, source));
    let old = beside(dir, "old")?;
    remove_if_present(&old)?;
    if dir.exists() {
        rename(dir, &old)?;
    }
    rename(new, dir)?;
    remove_if_present(&old)
}

fn remove_if_present(dir: &Path) -> Result<(), ModelError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ModelError::io(dir, error)),
        _ => Ok(()),
    }
}
