//! Log-probabilities with gradients: the forward pass of a training step, and its backward pass.
//!
//! The learner calls `Policy::forward`, computes a loss from the log-probabilities, and passes it to
//! [`Forward::backward`]. How much of the forward pass stays in memory in between is decided here:
//!
//! - `FORWARD-1` With gradient checkpointing (<https://arxiv.org/abs/1604.06174>), only the inputs of the layers are
//!   kept. The backward pass goes through the layers from the last to the first, runs each again with gradients from
//!   its input, and passes the gradient of that input to the layer below. If the audio tower or the projector trains,
//!   their part of the work on the clips is done again too, one clip at a time.
//! - `FORWARD-2` Logits are in memory for at most one chunk of tokens at a time. If there are several chunks, each is
//!   projected again in the backward pass.
//! - `FORWARD-3` The gradients are those of an ordinary backward pass, also with dropout, whose masks are a
//!   function of a seed.

use tch::{Kind, Tensor};

use crate::dropout::DropoutGuard;
use crate::error::ModelError;
use crate::logprobs::{Entropies, Group, GroupLogprobs, Pass, take};
use crate::memory::no_grad;
use crate::network::Network;

/// How much of a forward pass is kept in memory for the backward pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Whether layers are run again in the backward pass (FORWARD-1).
    pub(crate) recompute: bool,
    /// Most logits in memory at once, as a number of elements (FORWARD-2).
    pub(crate) logits: i64,
}

/// The result of a forward pass: log-probabilities to compute a loss from.
pub struct Forward<'a> {
    /// `[N, T]`, f32: one row for each completion, in the order of the groups, padded on the right with
    /// zeros to the longest.
    pub logprobs: Tensor,
    /// `[N, T]`, bool: true for tokens, false for padding.
    pub mask: Tensor,
    /// `[N, T]`, f32: the entropy of the distribution of each token in nats, zero for padding; `None` if it was not asked
    /// for.
    pub entropies: Option<Tensor>,
    tape: Tape<'a>,
}

/// What the backward pass needs of the forward pass.
struct Tape<'a> {
    model: &'a Network,
    pass: Pass,
    temperature: f64,
    dropout_seed: u64,
    memory: Memory,
    /// The input of every layer, `[rows, hidden]` each, if layers are recomputed; else empty.
    inputs: Vec<Tensor>,
    /// `[tokens, hidden]`, the output of the last layer: a leaf if layers are recomputed.
    hidden: Tensor,
    /// `[tokens]`, f32: a leaf if logits are recomputed; else computed from `hidden` with gradients.
    token_logprobs: Tensor,
    /// `[tokens]`, f32: as `token_logprobs`, if the entropies have gradients.
    token_entropies: Option<Tensor>,
}

/// Computes the log-probabilities of some groups' completions with gradients.
pub(crate) fn forward<'a>(
    model: &'a Network,
    groups: &[Group<'_>],
    temperature: f64,
    dropout_seed: u64,
    memory: Memory,
    entropies: Entropies,
) -> Result<Forward<'a>, ModelError> {
    let _dropout = dropout(model, dropout_seed);
    let (pass, inputs, hidden) = match memory.recompute {
        true => no_grad(|| run_keeping_inputs(model, groups))?,
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
        let of_chunk =
            |rows| pass.token_statistics(model, &take(&hidden, rows), rows, temperature, entropies);
        let (logprobs, entropies): (Vec<Tensor>, Vec<Option<Tensor>>) = chunks.iter().map(of_chunk).unzip();
        let entropies: Option<Vec<Tensor>> = entropies.into_iter().collect();
        (Tensor::cat(&logprobs, 0), entropies.map(|parts| Tensor::cat(&parts, 0)))
    };
    let differentiated = entropies == Entropies::Differentiated;
    let (token_logprobs, token_entropies) = match chunks.len() {
        1 => project(),
        _ => {
            let (logprobs, found) = no_grad(project);
            (logprobs.set_requires_grad(true), found.map(|found| found.set_requires_grad(differentiated)))
        }
    };
    let GroupLogprobs { logprobs, mask } = pass.arrange(model, &token_logprobs);
    let arranged = token_entropies.as_ref().map(|found| pass.arrange_numbers(model, found));
    let tape = Tape {
        model,
        pass,
        temperature,
        dropout_seed,
        memory,
        inputs,
        hidden,
        token_logprobs,
        token_entropies: token_entropies.filter(|_| differentiated),
    };
    Ok(Forward { logprobs, mask, entropies: arranged, tape })
}

/// Runs the layers without gradients and keeps the input of each. The returned hidden states are a leaf with gradients.
///
/// Shapes: → inputs `[rows, hidden]` of each layer; hidden states `[tokens, hidden]`, in the model's dtype
fn run_keeping_inputs(
    model: &Network,
    groups: &[Group<'_>],
) -> Result<(Pass, Vec<Tensor>, Tensor), ModelError> {
    let mut pass = Pass::new(model, groups)?;
    if model.params.features_learn() {
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

/// Switches dropout on with this seed, if the model has an adapter, until the guard is dropped.
fn dropout(model: &Network, seed: u64) -> Option<DropoutGuard> {
    model.params.adapter().map(|adapter| adapter.dropout.during(seed))
}

/// Runs the backward pass from `x` with its gradient, which has the same shape, if `x` has gradients.
fn backward_from(x: &Tensor, gradient: &Tensor) -> Result<(), ModelError> {
    if x.requires_grad() {
        (x * gradient).sum(Kind::Float).f_backward()?;
    }
    Ok(())
}

impl Forward<'_> {
    /// Adds the gradients of the loss to those of the policy's trainable tensors. `loss` must be a
    /// scalar computed from [`logprobs`](Forward::logprobs).
    ///
    /// Errors: The loss has no gradient, or libtorch is out of memory.
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
            // The loss depends on no token.
            true => Ok(()),
            false => backward_from(&tape.hidden, &gradient),
        }
    }
}

impl Tape<'_> {
    /// Projects the hidden states again, chunk by chunk, and runs the backward pass of each chunk.
    ///
    /// Shapes: → the gradient of the hidden states, `[tokens, hidden]`, in the model's dtype
    fn head_backward(&self) -> Result<Tensor, ModelError> {
        let gradient = Some(self.token_logprobs.grad()).filter(Tensor::defined);
        let of_entropies = self.token_entropies.as_ref().map(Tensor::grad).filter(Tensor::defined);
        if gradient.is_none() && of_entropies.is_none() {
            return Ok(self.hidden.zeros_like());
        }
        let entropies = if of_entropies.is_some() { Entropies::Differentiated } else { Entropies::Off };
        let gradient = gradient.unwrap_or_else(|| self.token_logprobs.zeros_like());
        let mut parts = Vec::new();
        for rows in self.pass.chunks(self.model, self.memory.logits) {
            let hidden = take(&self.hidden, &rows).detach().set_requires_grad(true);
            let (logprobs, found) =
                self.pass.token_statistics(self.model, &hidden, &rows, self.temperature, entropies);
            match (found, &of_entropies) {
                (Some(found), Some(of_entropies)) => {
                    let sums = logprobs * take(&gradient, &rows) + found * take(of_entropies, &rows);
                    sums.sum(Kind::Float).f_backward()?;
                }
                _ => backward_from(&logprobs, &take(&gradient, &rows))?,
            }
            parts.push(hidden.grad());
        }
        Ok(Tensor::cat(&parts, 0))
    }

    /// Runs the layers again from the last to the first, each from its kept input, then the embedding
    /// and the clips' encodings.
    ///
    /// Shapes: `gradient: [tokens, hidden]`: that of the last layer's output
    fn layers_backward(self, mut gradient: Tensor) -> Result<(), ModelError> {
        let Tape { model, pass, mut inputs, .. } = self;
        let below = model.decoder.embedding_learns() || model.params.features_learn();
        pass.with_attention(model, |angles, attention, keep| {
            while let Some(input) = inputs.pop() {
                let index = inputs.len();
                let continues = index > 0 || below;
                let input = input.detach().set_requires_grad(continues);
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
            Some(features) if model.params.features_learn() => {
                model.clips_backward(&pass.batch, &features.grad())
            }
            _ => Ok(()),
        }
    }
}
