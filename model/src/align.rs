//! Fitting the projector to words: the loss by which each audio token becomes most similar to the embedding of the word
//! that is spoken then.
//!
//! The language model is not run. The projection of an audio token is compared with the embeddings of all words of the
//! data, and trained by cross-entropy to be nearest to its own. Embeddings of words carry their spelling, so that words
//! that were never heard are found too.

use std::sync::Arc;

use tch::{Kind, Reduction, Tensor};

use crate::error::{InputError, ModelError};
use crate::network::Network;
use audio::LogMel;

/// Length of an audio token: four mel frames of 10 ms.
const TOKEN_SECONDS: f64 = 0.04;

/// A logit of a projection that equals an embedding, relative to one that is unlike it.
const SHARPNESS: f64 = 16.0;

/// Weight of tokens between words in the loss.
const PAUSE_WEIGHT: f32 = 0.3;

/// A word of a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpokenWord {
    /// Index of the word's token in the vocabulary of the fit.
    pub token: usize,
    /// Where it begins in the clip, in seconds.
    pub start: f64,
    /// Where it ends, in seconds.
    pub end: f64,
}

/// A clip and the words that are spoken in it.
#[derive(Debug, Clone)]
pub struct SpokenClip {
    /// The clip's features.
    pub clip: Arc<LogMel>,
    /// The words in order.
    pub words: Vec<SpokenWord>,
}

/// The loss of a batch of clips.
pub struct Aligned {
    /// The mean cross-entropy of the audio tokens, a scalar with gradients.
    pub loss: Tensor,
    /// The fraction of the audio tokens within words that are nearest to their own word.
    pub accuracy: f64,
    /// The number of audio tokens.
    pub tokens: u64,
    /// Mean distance of the words' embeddings from their mean: the length that a projection is to have, and so the unit
    /// of a learning rate that suits any model.
    pub spread: f64,
}

/// The loss of some clips. `vocabulary` has the token ids of the words; the last is what stands for a pause.
pub(crate) fn align(
    model: &Network,
    clips: &[SpokenClip],
    vocabulary: &[i64],
) -> Result<Aligned, ModelError> {
    model.check_ids(vocabulary, || "the vocabulary of the fit".to_owned())?;
    let pause = vocabulary.len().saturating_sub(1);
    let (mut features, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for (number, clip) in clips.iter().enumerate() {
        let projected = model.clip_features(&clip.clip, number)?;
        let tokens = projected.size()[0] as usize;
        let of_clip = labels_of(&clip.words, tokens, pause);
        weights.extend(of_clip.iter().map(|&label| if label == pause { PAUSE_WEIGHT } else { 1.0 }));
        labels.extend(of_clip.into_iter().map(|label| label as i64));
        features.push(projected);
    }
    if labels.is_empty() {
        return Err(InputError::NoTokens { what: "the clips of the batch".to_owned() }.into());
    }
    let table = tch::no_grad(|| Table::new(model, vocabulary));
    let logits = table.logits(&Tensor::f_cat(&features, 0)?);
    let (targets, weights) = (model.upload(&labels), Tensor::from_slice(&weights).to_device(model.device()));
    let losses = logits.cross_entropy_loss::<Tensor>(&targets, None, Reduction::None, -100, 0.0);
    let loss = (losses * &weights).sum(Kind::Float) / weights.sum(Kind::Float);
    let words = targets.not_equal(pause as i64);
    let right = logits.argmax(-1, false).eq_tensor(&targets).logical_and(&words);
    let count = |tensor: &Tensor| tensor.sum(Kind::Int64).int64_value(&[]);
    let accuracy = count(&right) as f64 / count(&words).max(1) as f64;
    Ok(Aligned { loss, accuracy, tokens: labels.len() as u64, spread: table.spread })
}

/// The embeddings of the words, as directions from their mean.
struct Table {
    /// `[hidden]`, f32
    centre: Tensor,
    /// Mean distance of an embedding from the centre.
    spread: f64,
    /// `[words, hidden]`, f32, each of length 1
    directions: Tensor,
}

impl Table {
    fn new(model: &Network, vocabulary: &[i64]) -> Table {
        let embedded = model.decoder.embed(&model.upload(vocabulary)).to_kind(Kind::Float);
        let centre = embedded.mean_dim(0, false, None);
        let away = embedded - &centre;
        let lengths = away.norm_scalaropt_dim(2, [-1], true).clamp_min(1e-6);
        Table { centre, spread: lengths.mean(None).double_value(&[]), directions: away / lengths }
    }

    /// Shapes: `projected: [rows, hidden]`, in the model's dtype → `[rows, words]`, f32
    fn logits(&self, projected: &Tensor) -> Tensor {
        let away = (projected.to_kind(Kind::Float) - &self.centre) / self.spread;
        away.matmul(&self.directions.tr()) * SHARPNESS
    }
}

/// The label of each audio token: that of the word in which it lies as a whole, else the pause.
fn labels_of(words: &[SpokenWord], tokens: usize, pause: usize) -> Vec<usize> {
    let mut labels = vec![pause; tokens];
    for word in words {
        let first = (word.start / TOKEN_SECONDS).ceil().max(0.0) as usize;
        let end = (word.end / TOKEN_SECONDS).floor().max(0.0) as usize;
        if let Some(within) = labels.get_mut(first..end.min(tokens)) {
            within.fill(word.token);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_label_of_the_word_that_covers_it() {
        // Tokens of 40 ms: the first word covers tokens 1 and 2, the second begins within token 4.
        let words =
            [SpokenWord { token: 0, start: 0.03, end: 0.13 }, SpokenWord { token: 1, start: 0.17, end: 9.0 }];
        assert_eq!(labels_of(&words, 7, 2), [2, 0, 0, 2, 2, 1, 1]);
        assert_eq!(
            labels_of(&[SpokenWord { token: 0, start: 1.0, end: 1.2 }], 3, 2),
            [2, 2, 2],
            "beyond the end"
        );
    }
}
