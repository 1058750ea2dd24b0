//! Log-probabilities with gradients: a forward pass, and the backward pass that ends it.
//!
//! The learner calls [`crate::Policy::forward`], makes a loss of the log-probabilities, and hands it to
//! [`Forward::backward`]. How much of the forward pass is kept in between is nobody else's affair:
//!
//! - FORWARD-1 if layers are recomputed, only their inputs are kept. Backward walks them from the top: each is run again
//!   with gradients from its own input, and passes its input's gradient on (<https://arxiv.org/abs/1604.06174>). So are the
//!   clips' encodings where the audio tower learns, one clip at a time.
//! - FORWARD-2 logits are never held for more than one chunk of tokens, forward or backward: if there are several chunks,
//!   each is projected again in the backward pass.
//! - FORWARD-3 the gradients are those of an ordinary backward pass, dropout included: its masks follow from a seed.

use tch::{Kind, Tensor};

use crate::error::ModelError;
use crate::logprobs::{Group, GroupLogprobs, Pass, take};
use crate::network::Network;
use crate::nn::DropoutGuard;

/// What a forward pass keeps for the backward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Layers are run again in the backward pass.
    pub(crate) recompute: bool,
    /// Logits held at once, as a count of numbers.
    pub(crate) logits: i64,
}

/// Log-probabilities that a loss can be made of.
pub struct Forward<'a> {
    /// `[N, T]`, f32: the completions of all groups in order, padded on the right with zeros to the longest.
    pub logprobs: Tensor,
    /// `[N, T]`, bool: where there is a token.
    pub mask: Tensor,
    tape: Tape<'a>,
}

/// What the backward pass starts from.
struct Tape<'a> {
    model: &'a Network,
    pass: Pass,
    temperature: f64,
    dropout_seed: u64,
    memory: Memory,
    /// Every layer's input, if layers are recomputed.
    inputs: Vec<Tensor>,
    /// `[tokens, hidden]`: a leaf if layers are recomputed.
    hidden: Tensor,
    /// `[tokens]`: a leaf if logits are recomputed; else it hangs on `hidden`.
    token_logprobs: Tensor,
}

/// Runs the groups through a model that learns.
pub(crate) fn forward<'a>(
    model: &'a Network,
    groups: &[Group<'_>],
    temperature: f64,
    dropout_seed: u64,
    memory: Memory,
) -> Result<Forward<'a>, ModelError> {
    let _dropout = dropout(model, dropout_seed);
    let (pass, inputs, hidden) = match memory.recompute {
        true => tch::no_grad(|| run_keeping_inputs(model, groups))?,
        false => {
            let pass = Pass::new(model, groups)?;
            let x = model.embed(&pass.layout.ids, &pass.batch);
            let hidden = pass.with_attention(model, |angles, attention, keep| {
                model.decoder.run(x, angles, attention, Some(keep))
            });
            (pass, Vec::new(), hidden)
        }
    };
    let chunks = pass.chunks(model, memory.logits);
    let project = || {
        let of_chunk = |rows| pass.token_logprobs(model, &take(&hidden, rows), rows, temperature);
        Tensor::cat(&chunks.iter().map(of_chunk).collect::<Vec<_>>(), 0)
    };
    let token_logprobs = match chunks.len() {
        1 => project(),
        _ => tch::no_grad(project).set_requires_grad(true),
    };
    let GroupLogprobs { logprobs, mask } = pass.arrange(model, &token_logprobs);
    let tape = Tape { model, pass, temperature, dropout_seed, memory, inputs, hidden, token_logprobs };
    Ok(Forward { logprobs, mask, tape })
}

/// Runs the layers without gradients, keeping the input of each; the hidden states they end in are a leaf.
fn run_keeping_inputs(
    model: &Network,
    groups: &[Group<'_>],
) -> Result<(Pass, Vec<Tensor>, Tensor), ModelError> {
    let mut pass = Pass::new(model, groups)?;
    if model.params.tower_learns() {
        pass.batch.features = pass.batch.features.map(|features| features.set_requires_grad(true));
    }
    let mut inputs = Vec::new();
    let mut x = model.embed(&pass.layout.ids, &pass.batch);
    pass.with_attention(model, |angles, attention, keep| {
        for index in 0..model.decoder.depth() {
            let output = model.decoder.layer(index, &x, angles, attention, Some(keep));
            inputs.push(std::mem::replace(&mut x, output));
        }
    });
    Ok((pass, inputs, x.detach().set_requires_grad(true)))
}

fn dropout(model: &Network, seed: u64) -> Option<DropoutGuard> {
    model.params.adapter().map(|adapter| adapter.dropout.during(seed))
}

/// Runs a backward pass from `x`, whose gradient is known.
fn backward_from(x: &Tensor, gradient: &Tensor) -> Result<(), ModelError> {
    if x.requires_grad() {
        (x * gradient).sum(Kind::Float).f_backward()?;
    }
    Ok(())
}

impl Forward<'_> {
    /// Adds the loss's gradients to those of the policy's trainable tensors. `loss` is a scalar made of `logprobs`.
    ///
    /// # Errors
    /// The loss has no gradient, or libtorch is out of memory.
    pub fn backward(self, loss: &Tensor) -> Result<(), ModelError> {
        loss.f_backward()?;
        let tape = self.tape;
        let _dropout = dropout(tape.model, tape.dropout_seed);
        let chunked = tape.token_logprobs.is_leaf();
        if !chunked && !tape.memory.recompute {
            return Ok(());
        }
        let gradient = if chunked { tape.head_backward()? } else { tape.hidden.grad() };
        match tape.memory.recompute {
            true if gradient.defined() => tape.layers_backward(gradient),
            // The loss does not depend on any token.
            true => Ok(()),
            false => backward_from(&tape.hidden, &gradient),
        }
    }
}

impl Tape<'_> {
    /// Projects the hidden states again, chunk by chunk; returns their gradient.
    fn head_backward(&self) -> Result<Tensor, ModelError> {
        let above = self.token_logprobs.grad();
        if !above.defined() {
            return Ok(self.hidden.zeros_like());
        }
        let mut parts = Vec::new();
        for rows in self.pass.chunks(self.model, self.memory.logits) {
            let hidden = take(&self.hidden, &rows).detach().set_requires_grad(true);
            let logprobs = self.pass.token_logprobs(self.model, &hidden, &rows, self.temperature);
            backward_from(&logprobs, &take(&above, &rows))?;
            parts.push(hidden.grad());
        }
        Ok(Tensor::cat(&parts, 0))
    }

    /// Runs the layers again from the top, each from its kept input, and what lies below them.
    fn layers_backward(self, mut gradient: Tensor) -> Result<(), ModelError> {
        let Tape { model, pass, mut inputs, .. } = self;
        let below = model.decoder.embedding_learns() || model.params.tower_learns();
        pass.with_attention(model, |angles, attention, keep| {
            while let Some(input) = inputs.pop() {
                let index = inputs.len();
                let goes_on = index > 0 || below;
                let input = input.detach().set_requires_grad(goes_on);
                let output = model.decoder.layer(index, &input, angles, attention, Some(keep));
                backward_from(&output, &gradient)?;
                gradient = input.grad();
            }
            Ok::<(), ModelError>(())
        })?;
        if below {
            backward_from(&model.embed(&pass.layout.ids, &pass.batch), &gradient)?;
        }
        match &pass.batch.features {
            Some(features) if model.params.tower_learns() => {
                model.clips_backward(&pass.batch, &features.grad())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use super::*;
    use crate::logprobs::CHUNK;
    use crate::{Adapter, LoraConfig, Policy, PolicyOptions, Prompt};

    fn model_dir(model: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(model).join("model")
    }

    /// Two prompts of different lengths, the first of two clips if the model hears.
    fn prompts(policy: &Policy) -> [Prompt; 2] {
        let clip = |seconds: f32| {
            let samples: Vec<f32> =
                (0..(16_000.0 * seconds) as usize).map(|i| 0.3 * (0.1 * i as f32).sin()).collect();
            Arc::new(policy.processor().extract(&samples).unwrap())
        };
        let clips = if policy.config().audio.is_some() { vec![clip(0.5), clip(0.7)] } else { Vec::new() };
        let long = policy.processor().prompt("What is it?", &clips).unwrap();
        [long, policy.processor().prompt("Say so.", &[]).unwrap()]
    }

    type Gradients = Vec<(String, Tensor)>;

    /// Log-probabilities and gradients of an uneven sum of them, with this much kept in between.
    fn learn(policy: &Policy, memory: Memory) -> (Tensor, Gradients) {
        let prompts = prompts(policy);
        let groups = [
            Group { prompt: &prompts[0], completions: vec![&[5, 6, 7, 8], &[9], &[10, 11]] },
            Group { prompt: &prompts[1], completions: vec![&[12, 13, 14]] },
        ];
        let forward = forward(policy.network(), &groups, 0.9, 3, memory).unwrap();
        let logprobs = forward.logprobs.detach();
        let weights: Vec<f32> = (0..16).map(|i| (i as f32 * 0.7).sin()).collect();
        let loss = (&forward.logprobs * Tensor::from_slice(&weights).view([4, 4])).sum(Kind::Float);
        forward.backward(&loss).unwrap();
        let gradient = |(name, mut tensor): (String, Tensor)| {
            let gradient = tensor.grad().copy();
            tensor.zero_grad();
            (name, gradient)
        };
        (logprobs, policy.trainable().into_iter().map(gradient).collect())
    }

    fn assert_memory_makes_no_difference(policy: &Policy, what: &str) {
        let vocab = policy.config().text.vocab_size;
        let (expected, gradients) = learn(policy, Memory { recompute: false, logits: CHUNK });
        // Three tokens at a time, of ten.
        for (recompute, logits) in [(true, CHUNK), (false, 3 * vocab), (true, 3 * vocab + 1), (true, 0)] {
            let (logprobs, others) = learn(policy, Memory { recompute, logits });
            let difference = (&logprobs - &expected).abs().max().double_value(&[]);
            assert!(difference < 1e-5, "{what}, {recompute} {logits}: {difference}");
            for ((name, ours), (_, theirs)) in others.iter().zip(&gradients) {
                let size = theirs.abs().max().double_value(&[]);
                let difference = (ours - theirs).abs().max().double_value(&[]);
                assert!(size > 0.0, "{what}: {name} has no gradient");
                assert!(
                    difference <= 2e-5 * size.max(0.01),
                    "{what}, {recompute} {logits}, {name}: {difference}"
                );
            }
        }
    }

    #[test]
    fn recomputed_layers_and_logits_have_the_gradients_of_kept_ones() {
        for model in ["qwen2_audio", "qwen2_5_omni", "qwen3_tied"] {
            for train_audio_tower in [false, true] {
                let options = PolicyOptions { train_audio_tower, ..Default::default() };
                let policy = Policy::open(&model_dir(model), &options).unwrap();
                assert_memory_makes_no_difference(&policy, model);
            }
        }
    }

    /// An adapter whose `B` is not zero any more, so that dropout shows and `A` has gradients.
    fn adapted(dropout: f64, train_audio_tower: bool) -> Policy {
        let config = LoraConfig { rank: 4, dropout, ..Default::default() };
        let adapter = Some(Adapter::Fresh { config, seed: 1 });
        let options = PolicyOptions { adapter, train_audio_tower, ..Default::default() };
        let policy = Policy::open(&model_dir("qwen2_audio"), &options).unwrap();
        let _guard = tch::no_grad_guard();
        for (_, mut tensor) in policy.trainable() {
            let change = (tensor.ones_like().flatten(0, -1).cumsum(0, Kind::Float) * 0.37).sin() * 0.05;
            let _ = tensor.g_add_(&change.view_as(&tensor));
        }
        policy
    }

    #[test]
    fn recomputing_draws_the_dropout_masks_of_the_forward_pass() {
        for train_audio_tower in [false, true] {
            assert_memory_makes_no_difference(&adapted(0.0, train_audio_tower), "without dropout");
            assert_memory_makes_no_difference(&adapted(0.3, train_audio_tower), "with dropout");
        }
    }

    #[test]
    fn dropout_is_for_learning_alone_and_follows_its_seed() {
        let (policy, without) = (adapted(0.3, false), adapted(0.0, false));
        let prompts = prompts(&policy);
        let groups = [Group { prompt: &prompts[0], completions: vec![&[5, 6, 7, 8]] }];
        let learning = |seed| policy.forward(&groups, 1.0, seed).unwrap().logprobs.detach();
        assert_eq!(learning(1), learning(1));
        assert!((learning(1) - learning(2)).abs().max().double_value(&[]) > 1e-3);
        let plain = policy.logprobs(&groups, 1.0).unwrap().logprobs;
        assert_eq!(plain, without.logprobs(&groups, 1.0).unwrap().logprobs);
        assert!(!plain.requires_grad());
    }

    #[test]
    fn what_learns_nothing_has_no_backward_pass() {
        let policy =
            Policy::open(&model_dir("qwen3_tied"), &PolicyOptions::default()).unwrap().replica().unwrap();
        let prompts = prompts(&policy);
        let groups = [Group { prompt: &prompts[0], completions: vec![&[5]] }];
        let forward = policy.forward(&groups, 1.0, 0).unwrap();
        let loss = forward.logprobs.sum(Kind::Float);
        assert!(forward.backward(&loss).unwrap_err().to_string().starts_with("libtorch: "));
    }
}
