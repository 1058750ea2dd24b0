//! A whole model: the audio tower, the language model and their tensors.
//!
//! `policy.rs` owns a [`Network`]. `generate.rs`, `choose.rs`, `logprobs.rs` and `forward.rs` run it on batches
//! of prompts, which [`Network::batch`] lays out and [`Network::embed`] embeds, with the clips' features in
//! place of the placeholders.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::base::Base;
use crate::checkpoint::{Checkpoint, Entry};
use crate::clip_cache::ClipCache;
use crate::config::{Architecture, ModelConfig};
use crate::decoder::Decoder;
use crate::decoder::attention::PromptRows;
use crate::error::{InputError, ModelError};
use crate::memory::no_grad;
use crate::nn::Builder;
use crate::params::{Params, Source};
use crate::processor::Prompt;
use crate::tower::{ClipFeatures, Tower};
use audio::LogMel;

/// An audio tower and a decoder with their tensors.
pub(crate) struct Network {
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) params: Params,
    pub(crate) decoder: Decoder,
    tower: Option<Tower>,
    pub(crate) clips: Arc<ClipCache>,
}

/// A batch of prompts, padded on the left to the longest.
pub(crate) struct PromptBatch {
    pub(crate) rows: PromptRows,
    /// Length of each prompt in tokens.
    pub(crate) lengths: Vec<i64>,
    /// Token ids, `batch × length` of them; 0 for padding.
    pub(crate) ids: Vec<i64>,
    /// The position of each id, counted from the first token of its prompt; 0 for padding.
    pub(crate) positions: Vec<i64>,
    /// The indices of the placeholders in `ids`, in order.
    placeholders: Vec<i64>,
    /// `[placeholders, hidden]`, in the model's dtype: the features for the placeholders; `None` without placeholders.
    pub(crate) features: Option<Tensor>,
    /// The clips of all prompts in order, which the backward pass encodes again; empty unless their features have
    /// gradients.
    clips: Vec<Arc<LogMel>>,
}

impl Network {
    /// Builds a model whose tower, unless it trains or an adapter's file replaces it, is that of `base`.
    pub(crate) fn open(
        config: Arc<ModelConfig>,
        params: Params,
        source: &Source<'_>,
        base: &Base,
    ) -> Result<Network, ModelError> {
        let model = Network::build(config, params, source, Arc::default())?;
        let differs = model.params.tower_trains() || model.params.replaces_tower();
        Ok(if differs { model } else { Network { clips: base.clips.clone(), ..model } })
    }

    /// Builds a model from its tensors. `params` is an empty set that is filled from `source`.
    fn build(
        config: Arc<ModelConfig>,
        mut params: Params,
        source: &Source<'_>,
        clips: Arc<ClipCache>,
    ) -> Result<Network, ModelError> {
        let mut root = Builder { source, params: &mut params, prefix: String::new() };
        let tower = Tower::new(&mut root, &config)?;
        let decoder = match config.architecture {
            Architecture::Qwen2Audio => Decoder::new(&mut root.sub("language_model"), &config.text)?,
            _ => Decoder::new(&mut root, &config.text)?,
        };
        if let Some(adapter) = params.adapter() {
            adapter.finish()?;
        }
        Ok(Network { config, params, decoder, tower, clips })
    }

    /// A copy for another actor, which shares the frozen tensors (PARAM-1). If the tower trains, the copy has its own
    /// clip cache, because features differ between the copies.
    pub(crate) fn replica(&self, learns: bool) -> Result<Network, ModelError> {
        let clips = if self.params.tower_trains() { Arc::default() } else { self.clips.clone() };
        let params = self.params.for_replica(learns);
        Network::build(self.config.clone(), params, &Source::Replica(&self.params), clips)
    }

    /// The model that this one is compared with, for another actor: a copy of this model, or with an
    /// adapter its base alone.
    pub(crate) fn reference(&self) -> Result<Network, ModelError> {
        if self.params.adapter().is_none() {
            return self.replica(false);
        }
        let differs = self.params.tower_trains() || self.params.replaces_tower();
        let clips = if differs { Arc::default() } else { self.clips.clone() };
        let params = self.params.for_reference();
        Network::build(self.config.clone(), params, &Source::Replica(&self.params), clips)
    }

    /// Overwrites trainable tensors, and clears the clip cache if the tower is among them.
    pub(crate) fn load_trainable(&self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        self.params.load_trainable(tensors)?;
        if self.params.tower_trains() {
            self.clips.clear();
        }
        Ok(())
    }

    /// The tensors of a checkpoint that this model does not read. An output projection beside a tied embedding is not
    /// one of them: it would be out of date after training.
    pub(crate) fn unread<'a>(&self, checkpoint: &'a Checkpoint) -> impl Iterator<Item = Entry<'a>> {
        let tied = self.config.text.tie_word_embeddings;
        checkpoint.unread(move |name| self.params.has(name) || (tied && name.ends_with("lm_head.weight")))
    }

    pub(crate) fn device(&self) -> Device {
        self.params.device
    }

    pub(crate) fn kind(&self) -> Kind {
        self.params.kind
    }

    /// Encodes one clip without the cache.
    pub(crate) fn encode_clip(&self, clip: &LogMel) -> Result<ClipFeatures, ModelError> {
        let tower = self.tower()?;
        let encoded = tower.encode(clip)?;
        Ok(ClipFeatures { projected: tower.project(&encoded), encoded })
    }

    fn tower(&self) -> Result<&Tower, ModelError> {
        let architecture = self.config.architecture.name();
        Ok(self.tower.as_ref().ok_or(InputError::TextOnly { architecture })?)
    }

    /// The id of the placeholder for a row of audio features; `None` for a text-only model.
    fn placeholder(&self) -> Option<i64> {
        self.config.audio.as_ref().map(|audio| audio.token_id)
    }

    /// Lays out prompts and computes the features of their clips, with gradients if the tower or the projector takes
    /// gradients in this model.
    pub(crate) fn batch(&self, prompts: &[&Prompt]) -> Result<PromptBatch, ModelError> {
        let lengths: Vec<i64> = prompts.iter().map(|prompt| prompt.ids.len() as i64).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut batch = PromptBatch {
            rows: PromptRows::new(&lengths, self.kind(), self.device()),
            lengths,
            ids: Vec::new(),
            positions: Vec::new(),
            placeholders: Vec::new(),
            features: None,
            clips: Vec::new(),
        };
        let mut features = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let own = self.features_of(prompt, index, batch.clips.len())?;
            if self.params.features_learn() {
                batch.clips.extend(prompt.clips.iter().cloned());
            }
            let padding = longest as usize - prompt.ids.len();
            batch.ids.extend(std::iter::repeat_n(0, padding));
            batch.positions.extend(std::iter::repeat_n(0, padding));
            let start = batch.ids.len() as i64;
            batch.ids.extend(&prompt.ids);
            batch.positions.extend(0..prompt.ids.len() as i64);
            let placeholders = (start..).zip(&prompt.ids).filter(|(_, id)| Some(**id) == self.placeholder());
            batch.placeholders.extend(placeholders.map(|(row, _)| row));
            features.extend(own);
        }
        if !batch.placeholders.is_empty() {
            batch.features = Some(Tensor::f_cat(&features, 0)?);
        }
        Ok(batch)
    }

    /// The features of a prompt's clips. Fails if the prompt does not have one placeholder for each of their rows.
    /// `index` is that of the prompt, and `first_clip` that of its first clip in the batch.
    fn features_of(
        &self,
        prompt: &Prompt,
        index: usize,
        first_clip: usize,
    ) -> Result<Vec<Tensor>, ModelError> {
        if prompt.ids.is_empty() {
            return Err(InputError::NoTokens { what: format!("prompt {index}") }.into());
        }
        self.check_ids(&prompt.ids, || format!("prompt {index}"))?;
        let mut features = Vec::with_capacity(prompt.clips.len());
        for (number, clip) in (first_clip..).zip(&prompt.clips) {
            features.push(self.clip_features(clip, number)?);
        }
        let placeholders = prompt.ids.iter().filter(|id| Some(**id) == self.placeholder()).count() as i64;
        let rows: i64 = features.iter().map(|features| features.size()[0]).sum();
        if placeholders != rows {
            let clips = prompt.clips.len();
            return Err(InputError::Placeholders { prompt: index, placeholders, clips, rows }.into());
        }
        Ok(features)
    }

    /// The projected features of a clip. `number` is the clip's index in the batch, which seeds its dropout masks.
    ///
    /// Shapes: → `[audio tokens, hidden]`, in the model's dtype
    pub(crate) fn clip_features(&self, clip: &Arc<LogMel>, number: usize) -> Result<Tensor, ModelError> {
        let tower = self.tower()?;
        // Each clip has its own dropout masks.
        let adapter = self.params.adapter().filter(|_| self.params.features_learn());
        let _part = adapter.map(|adapter| adapter.dropout.part(number as u64));
        let encoded = match self.params.tower_learns() {
            true => tower.encode(clip)?,
            false => no_grad(|| self.clips.get(clip, |clip| tower.encode(clip)))?,
        };
        Ok(tower.project(&encoded))
    }

    /// Projects the clips of a batch again, one at a time, encoded again if the tower trains, and runs the backward pass
    /// on each.
    ///
    /// Shapes: `gradient: [placeholders, hidden]`: that of the batch's features
    pub(crate) fn clips_backward(&self, batch: &PromptBatch, gradient: &Tensor) -> Result<(), ModelError> {
        let mut row = 0;
        for (number, clip) in batch.clips.iter().enumerate() {
            let features = self.clip_features(clip, number)?;
            let rows = features.size()[0];
            if rows > 0 {
                (&features * gradient.narrow(0, row, rows)).sum(Kind::Float).f_backward()?;
            }
            row += rows;
        }
        Ok(())
    }

    /// Fails if an id is outside the vocabulary. `what` names the prompt or completion in the message.
    pub(crate) fn check_ids(&self, ids: &[i64], what: impl Fn() -> String) -> Result<(), InputError> {
        let vocab_size = self.config.text.vocab_size;
        match ids.iter().find(|id| !(0..vocab_size).contains(*id)) {
            Some(&id) => Err(InputError::OutsideVocabulary { what: what(), id, vocab_size }),
            None => Ok(()),
        }
    }

    /// Fails if a prompt with its completion is longer than the model supports.
    pub(crate) fn check_length(&self, tokens: i64) -> Result<(), InputError> {
        let limit = self.config.text.max_position_embeddings;
        if tokens <= limit {
            return Ok(());
        }
        Err(InputError::TooLong { tokens, limit })
    }

    /// Copies token ids or indices to the model's device.
    ///
    /// Shapes: → `[number of ids]`, i64
    pub(crate) fn upload(&self, ids: &[i64]) -> Tensor {
        Tensor::from_slice(ids).to_device(self.device())
    }

    /// Embeds ids that begin with the batch's, and replaces the embeddings of placeholders by the clips' features.
    ///
    /// Shapes: → `[ids, hidden]`, in the model's dtype
    pub(crate) fn embed(&self, ids: &[i64], batch: &PromptBatch) -> Tensor {
        let embedded = self.decoder.embed(&self.upload(ids));
        match &batch.features {
            Some(features) => embedded.index_copy(0, &self.upload(&batch.placeholders), features),
            None => embedded,
        }
    }
}
