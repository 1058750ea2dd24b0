//! A model put together: audio tower and language model.

use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::audio::LogMel;
use crate::checkpoint::{Checkpoint, Entry};
use crate::clip_cache::ClipCache;
use crate::config::{Architecture, ModelConfig};
use crate::decoder::Decoder;
use crate::decoder::attention::PromptRows;
use crate::error::ModelError;
use crate::nn::Builder;
use crate::params::{Params, Source};
use crate::processor::Prompt;
use crate::tower::{ClipFeatures, Tower};

/// A model with its tensors.
pub(crate) struct Network {
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) params: Params,
    pub(crate) decoder: Decoder,
    tower: Option<Tower>,
    clips: Arc<ClipCache>,
}

/// Prompts laid side by side, padded on the left.
pub(crate) struct PromptBatch {
    pub(crate) rows: PromptRows,
    /// Tokens of each prompt.
    pub(crate) lengths: Vec<i64>,
    /// `batch × length` ids, padding included.
    pub(crate) ids: Vec<i64>,
    /// The position of each of `ids`, counted from the prompt's first token.
    pub(crate) positions: Vec<i64>,
    /// Where the clips' features go.
    placeholders: Vec<i64>,
    /// `[placeholders, hidden]`, in their order; none if there are none.
    pub(crate) features: Option<Tensor>,
    /// The prompts' clips in order, to be encoded again; empty unless the tower learns.
    clips: Vec<Arc<LogMel>>,
}

impl Network {
    pub(crate) fn build(
        config: Arc<ModelConfig>,
        mut params: Params,
        source: &Source<'_>,
        clips: Arc<ClipCache>,
    ) -> Result<Network, ModelError> {
        let mut root = Builder { source, params: &mut params, prefix: String::new() };
        let tower = Tower::new(&mut root, &config)?;
        let decoder = match config.architecture {
            Architecture::Qwen2Audio => Decoder::new(&mut root.below("language_model"), &config.text)?,
            _ => Decoder::new(&mut root, &config.text)?,
        };
        if let Some(adapter) = params.adapter() {
            adapter.finish()?;
        }
        Ok(Network { config, params, decoder, tower, clips })
    }

    /// A copy for another actor (PARAM-1). A tower that trains has features of its own.
    pub(crate) fn replica(&self, learns: bool) -> Result<Network, ModelError> {
        let clips = if self.params.tower_trains() { Arc::default() } else { self.clips.clone() };
        let params = self.params.for_replica(learns);
        Network::build(self.config.clone(), params, &Source::Replica(&self.params), clips)
    }

    /// What this model is compared with, for another actor: the model as it is now, or with an adapter its base alone.
    pub(crate) fn reference(&self) -> Result<Network, ModelError> {
        if self.params.adapter().is_none() {
            return self.replica(false);
        }
        let clips = if self.params.tower_trains() { Arc::default() } else { self.clips.clone() };
        let params = self.params.for_reference();
        Network::build(self.config.clone(), params, &Source::Replica(&self.params), clips)
    }

    pub(crate) fn load_trainable(&self, tensors: &[(String, Tensor)]) -> Result<(), ModelError> {
        self.params.load_trainable(tensors)?;
        if self.params.tower_trains() {
            self.clips.clear();
        }
        Ok(())
    }

    /// Tensors of a checkpoint that this model does not read. An output projection beside a tied embedding is none: it
    /// would be stale.
    pub(crate) fn unread<'a>(&self, checkpoint: &'a Checkpoint) -> impl Iterator<Item = Entry<'a>> {
        let tied = self.config.text.tie_word_embeddings;
        checkpoint.others(move |name| self.params.has(name) || (tied && name.ends_with("lm_head.weight")))
    }

    pub(crate) fn device(&self) -> Device {
        self.params.device
    }

    pub(crate) fn kind(&self) -> Kind {
        self.params.kind
    }

    pub(crate) fn encode_clip(&self, clip: &LogMel) -> Result<ClipFeatures, ModelError> {
        self.tower()?.forward(clip)
    }

    fn tower(&self) -> Result<&Tower, ModelError> {
        let name = self.config.architecture.name();
        self.tower.as_ref().ok_or_else(|| ModelError::input(format!("{name} takes no audio")))
    }

    /// Id of the placeholder for a row of audio features.
    fn placeholder(&self) -> Option<i64> {
        self.config.audio.as_ref().map(|audio| audio.token_id)
    }

    /// Lays prompts out and gets their clips' features: with gradients if the tower learns here, else as constants.
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
            if self.params.tower_learns() {
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

    /// Features of a prompt's clips, checked against its placeholders; `clips` come before them in the batch.
    fn features_of(&self, prompt: &Prompt, index: usize, clips: usize) -> Result<Vec<Tensor>, ModelError> {
        if prompt.ids.is_empty() {
            return Err(ModelError::input(format!("prompt {index} has no tokens")));
        }
        self.check_ids(&prompt.ids, || format!("prompt {index}"))?;
        let mut features = Vec::with_capacity(prompt.clips.len());
        for (place, clip) in (clips..).zip(&prompt.clips) {
            features.push(self.clip_features(clip, place)?);
        }
        let placeholders = prompt.ids.iter().filter(|id| Some(**id) == self.placeholder()).count() as i64;
        let rows: i64 = features.iter().map(|features| features.size()[0]).sum();
        if placeholders != rows {
            return Err(ModelError::input(format!(
                "prompt {index} has {placeholders} `<|AUDIO|>` placeholders; its {} clip(s) give {rows} rows",
                prompt.clips.len()
            )));
        }
        Ok(features)
    }

    /// Features of the clip at a place of the batch.
    fn clip_features(&self, clip: &Arc<LogMel>, place: usize) -> Result<Tensor, ModelError> {
        let tower = self.tower()?;
        if self.params.tower_learns() {
            // Clips do not share dropout masks.
            let _part = self.params.adapter().map(|adapter| adapter.dropout.part(place as u64));
            return Ok(tower.forward(clip)?.projected);
        }
        let _guard = tch::no_grad_guard();
        self.clips.get(clip, |clip| Ok(tower.forward(clip)?.projected))
    }

    /// Encodes a batch's clips again, one at a time, and runs the tower's backward pass from their features' gradient.
    pub(crate) fn clips_backward(&self, batch: &PromptBatch, gradient: &Tensor) -> Result<(), ModelError> {
        let mut row = 0;
        for (place, clip) in batch.clips.iter().enumerate() {
            let features = self.clip_features(clip, place)?;
            let rows = features.size()[0];
            if rows > 0 {
                (&features * gradient.narrow(0, row, rows)).sum(Kind::Float).f_backward()?;
            }
            row += rows;
        }
        Ok(())
    }

    pub(crate) fn check_ids(&self, ids: &[i64], what: impl Fn() -> String) -> Result<(), ModelError> {
        let vocab = self.config.text.vocab_size;
        match ids.iter().find(|id| !(0..vocab).contains(*id)) {
            Some(id) => {
                Err(ModelError::input(format!("{} has the id {id}; the vocabulary ends at {vocab}", what())))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn check_length(&self, tokens: i64) -> Result<(), ModelError> {
        let limit = self.config.text.max_position_embeddings;
        if tokens <= limit {
            return Ok(());
        }
        Err(ModelError::input(format!(
            "a prompt with its completion has {tokens} tokens; this model takes {limit}"
        )))
    }

    pub(crate) fn upload(&self, ids: &[i64]) -> Tensor {
        Tensor::from_slice(ids).to_device(self.device())
    }

    /// Embeds ids of which the first are the batch's.
    ///
    /// # Shapes
    /// → `[ids, hidden]`
    pub(crate) fn embed(&self, ids: &[i64], batch: &PromptBatch) -> Tensor {
        let embedded = self.decoder.embed(&self.upload(ids));
        match &batch.features {
            Some(features) => embedded.index_copy(0, &self.upload(&batch.placeholders), features),
            None => embedded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read_tensors;
    use crate::{Policy, PolicyOptions};
    use std::collections::HashMap;
    use std::path::Path;

    #[test]
    fn positions_of_text_and_audio_are_those_of_omnis_rope_index() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/qwen2_5_omni");
        let golden = |name: &str| -> HashMap<String, Tensor> {
            read_tensors(&fixtures.join(name)).unwrap().into_iter().collect()
        };
        let (batch, index) = (golden("batch2.safetensors"), golden("rope_index.safetensors"));
        let real = batch["attention_mask"].to_kind(Kind::Bool);
        let policy = Policy::open(&fixtures.join("model"), &PolicyOptions::default()).unwrap();
        let clips = [50, 300].map(|frames| {
            let values = vec![0.0; 128 * frames];
            Arc::new(LogMel { values, n_mels: 128, frames, valid_frames: frames, truncated: false })
        });
        let prompts = [0, 1].map(|row| Prompt {
            ids: Vec::try_from(batch["input_ids"].get(row).masked_select(&real.get(row))).unwrap(),
            clips: vec![clips[row as usize].clone()],
        });
        let laid = policy.network().batch(&prompts.iter().collect::<Vec<_>>()).unwrap();
        let positions = Tensor::from_slice(&laid.positions).masked_select(&real.flatten(0, -1));
        // Time, height and width: one clip and text have the same in all three.
        for row in 0..3 {
            assert_eq!(positions, index["position_ids_3xBxT"].get(row).masked_select(&real), "row {row}");
        }
    }
}
