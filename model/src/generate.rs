//! Generating completions: one prefill for each prompt, then one token of every unfinished completion at a time.
//!
//! `Policy::generate` runs it on the sampler's replica. `choose.rs` shares the prefill and the positions. The tokens after
//! the first are decoded by the operations of libtorch, or on a GPU as replays of a CUDA graph (`graph.rs`).
//!
//! - `GEN-1` A prompt is run once, whatever the number of its completions (CACHE-1).
//! - `GEN-2` The host waits for the device once per token, for the ids, which determine the
//!   completions that have finished. With a graph it waits once per [`LOOK`] tokens, unless a token may be forced or
//!   somebody waits for each token.
//! - `GEN-3` Finished completions are removed from the batch when that makes it at least a quarter smaller. With a graph
//!   they stay, and the device skips them: to remove them, the cache would be copied and the step captured again.

mod rows;

use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use crate::decoder::attention::PromptAttention;
use crate::decoder::rope::Angles;
use crate::error::{InputError, ModelError};
use crate::graph::{Begun, Decode, Draws, Graphs, Session};
use crate::kv_cache::KvCache;
use crate::network::{Network, PromptBatch};
use crate::opening::Openings;
use crate::processor::{Processor, Prompt};
use crate::sampling::{Completion, Sampler, SamplingParams, uniforms};
use crate::think_budget::ThinkBudget;
use rows::Rows;

/// Tokens of each completion that are decoded by a graph before the host looks at them.
const LOOK: usize = 8;

/// What is done with the index of a completion and the id of its next token.
pub(crate) type OnToken<'a> = dyn FnMut(usize, i64) -> ControlFlow<()> + 'a;

/// What tokens are generated with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) model: &'a Network,
    pub(crate) processor: &'a Processor,
    pub(crate) graphs: &'a Graphs,
}

/// Generates `group` completions of each prompt. `seeds` has one seed for each completion, those of a prompt next to
/// each other. `on_token`, if there is one, is called with the index of the completion and the id of every token as it is
/// drawn; generation ends when it returns [`ControlFlow::Break`], as at the greatest length.
pub(crate) fn generate(
    context: &Context<'_>,
    prompts: &[Prompt],
    group: usize,
    params: &SamplingParams,
    seeds: &[u64],
    on_token: Option<&mut OnToken<'_>>,
) -> Result<Vec<Completion>, ModelError> {
    let &Context { model, processor, graphs } = context;
    params.check()?;
    if seeds.len() != prompts.len() * group {
        let (prompts, seeds) = (prompts.len(), seeds.len());
        return Err(InputError::Seeds { prompts, group_size: group, seeds }.into());
    }
    if seeds.is_empty() {
        return Ok(Vec::new());
    }
    let _guard = tch::no_grad_guard();
    let batch = model.batch(&prompts.iter().collect::<Vec<_>>())?;
    model.check_length(batch.rows.length + params.max_new_tokens as i64)?;

    let (cache, logits) = prefill(model, &batch, group as i64, params.max_new_tokens as i64, params.scale());
    let mut generation = Generation {
        model,
        params,
        sampler: Sampler::new(
            *params,
            model.config.text.vocab_size,
            processor.suppressed_ids(),
            model.device(),
        ),
        uniforms: uniforms(seeds, params.max_new_tokens, model.device()),
        forcing: Forcing {
            openings: Openings::new(processor, params.forced_no_think, group),
            budget: ThinkBudget::new(processor, params.max_think_tokens, seeds.len()),
        },
        rows: Rows::new(model, &batch, group, params, processor.eos_ids()),
        on_token,
    };
    let logits = logits.repeat_interleave_self_int(group as i64, 0, None);
    let ids = generation.next(0, &logits)?;
    if params.max_new_tokens > 1 && !generation.rows.ended() {
        let decode = Decode {
            lengths: &batch.lengths,
            padded_at: 0,
            limit: params.max_new_tokens as i64,
            temperature: params.scale(),
            draws: generation.draws(processor),
        };
        match graphs.begin(model, cache, &decode)? {
            Begun::Graph(session) => generation.by_graph(*session, &ids)?,
            Begun::Plain(cache) => generation.plainly(cache, ids)?,
        }
    }
    let Generation { rows, forcing, .. } = generation;
    let mut completions = rows.finish()?;
    forcing.note(&mut completions);
    Ok(completions)
}

/// A batch of completions while it is generated.
struct Generation<'a, 'b> {
    model: &'a Network,
    params: &'a SamplingParams,
    sampler: Sampler,
    /// `[tokens, completions]`, f32: the random numbers of all draws.
    uniforms: Tensor,
    forcing: Forcing<'a>,
    rows: Rows<'a>,
    on_token: Option<&'a mut OnToken<'b>>,
}

impl Generation<'_, '_> {
    /// Draws the token at `step` of every row, or forces it, and records it. Returns the ids.
    ///
    /// Shapes: `logits: [rows, vocabulary]`, f32, divided by the temperature → `[rows]`, i64
    fn next(&mut self, step: usize, logits: &Tensor) -> Result<Tensor, ModelError> {
        let uniform = self.rows.of_completions(self.uniforms.get(step as i64));
        let (ids, logprobs) = self.sampler.draw(logits, &uniform);
        let (ids, logprobs) = self.rows.force(&mut self.forcing, logits, ids, logprobs)?;
        self.rows.record(&ids, logprobs, &mut self.on_token)?;
        Ok(ids)
    }

    /// Decodes the tokens after the first, `ids`, operation by operation.
    ///
    /// Shapes: `ids: [rows]`, i64
    fn plainly(&mut self, mut cache: KvCache, mut ids: Tensor) -> Result<(), ModelError> {
        let decoder = &self.model.decoder;
        for step in 1..self.params.max_new_tokens {
            ids = self.rows.shrink(&mut cache, ids);
            cache.grow();
            let angles = self.rows.positions.next_angles();
            let x = decoder.run(decoder.embed(&ids), &angles, &mut cache, None);
            ids = self.next(step, &decoder.project(&x, self.params.scale()))?;
            if self.rows.ended() {
                break;
            }
        }
        Ok(())
    }

    /// What the captured step draws: nothing with top-k or top-p, for which its logits are sorted outside.
    fn draws<'a>(&'a self, processor: &'a Processor) -> Draws<'a> {
        if self.params.filters() {
            return Draws::Outside;
        }
        Draws::OnDevice {
            greedy: self.params.temperature == 0.0,
            uniforms: &self.uniforms,
            suppressed: processor.suppressed_ids(),
            eos: processor.eos_ids(),
        }
    }

    /// Decodes the tokens after the first, `ids`, by replaying a captured step.
    ///
    /// Shapes: `ids: [rows]`, i64
    fn by_graph(&mut self, mut session: Session<'_>, ids: &Tensor) -> Result<(), ModelError> {
        // The first log-probabilities are in the device's memory, those of the graph are read with its tokens.
        self.rows.settle()?;
        session.set(0, &Vec::<i64>::try_from(ids)?, self.rows.finished())?;
        let (mut step, limit) = (1, self.params.max_new_tokens);
        while step < limit && !self.rows.ended() {
            let count = self.unwatched(step).min(limit - step);
            if session.draws() {
                session.force(&self.rows.forced(&mut self.forcing))?;
                session.replay(count)?;
                let (ids, logprobs) = session.drawn(step, count)?;
                self.rows.record_all(&ids, &logprobs, &mut self.on_token);
            } else {
                session.replay(1)?;
                let ids = self.next(step, &session.logits()?)?;
                session.set(step, &Vec::<i64>::try_from(ids)?, self.rows.finished())?;
            }
            step += count;
        }
        Ok(())
    }

    /// The number of tokens from `step` on that are decoded before the host looks at them, 1 or more.
    fn unwatched(&self, step: usize) -> usize {
        let most = if self.on_token.is_some() || self.params.filters() { 1 } else { LOOK };
        if self.forcing.may_at(step) {
            return 1;
        }
        (1..most).find(|ahead| self.forcing.may_at(step + ahead)).unwrap_or(most)
    }
}

/// Tokens that are not drawn: how completions begin, and where their thinking ends.
struct Forcing<'a> {
    openings: Option<Openings>,
    budget: Option<ThinkBudget<'a>>,
}

impl Forcing<'_> {
    /// The id that follows `ids`, the tokens of this completion so far, if it is forced.
    fn next(&mut self, completion: usize, ids: &[i64]) -> Option<i64> {
        let opening = self.openings.as_ref().and_then(|openings| openings.forced(completion, ids.len()));
        opening.or_else(|| self.budget.as_mut()?.forced(completion, ids))
    }

    /// Whether the token at this place of some completion may be forced.
    fn may_at(&self, place: usize) -> bool {
        self.openings.as_ref().is_some_and(|openings| place < openings.longest())
            || self.budget.as_ref().is_some_and(|budget| budget.closes().contains(&place))
    }

    /// Sets what the completions say of their forced tokens.
    fn note(&self, completions: &mut [Completion]) {
        for (index, completion) in completions.iter_mut().enumerate() {
            if let Some(budget) = &self.budget {
                completion.forced = budget.places(index, completion.ids.len());
            }
            if let Some(openings) = &self.openings {
                openings.correct(index, &mut completion.logprobs);
            }
        }
    }
}

/// Runs the prompts. Returns a cache for `group` completions of each, of at most `limit` tokens, and the logits after
/// each prompt, divided by `temperature`.
///
/// Shapes: → logits `[prompts, vocabulary]`, f32
pub(crate) fn prefill(
    model: &Network,
    batch: &PromptBatch,
    group: i64,
    limit: i64,
    temperature: f64,
) -> (KvCache, Tensor) {
    let decoder = &model.decoder;
    let (count, length) = (batch.rows.batch, batch.rows.length);
    let options = (model.kind(), model.device());
    let mut cache = KvCache::new(batch.rows.key_bias(), count, group, limit, decoder.sizes, options);
    let keep = |keys: Tensor, values: Tensor| cache.push_layer(&keys, &values);
    let mut attention = PromptAttention::new(&batch.rows, decoder.sizes, keep);
    let angles = decoder.angles(&model.upload(&batch.positions));
    // Padding is on the left, so every prompt ends in its last row.
    let last: Vec<i64> = (1..=count).map(|prompt| prompt * length - 1).collect();
    let x = decoder.run(model.embed(&batch.ids, batch), &angles, &mut attention, Some(&model.upload(&last)));
    drop(attention);
    (cache, decoder.project(&x, temperature))
}

/// The position of the next token of each row, and the rotary angles of all positions.
pub(crate) struct NextPositions {
    /// The angles of all positions up to the longest possible sequence.
    angles: Angles,
    /// `[rows]`, i64: the position of the next token of each row.
    positions: Tensor,
}

impl NextPositions {
    /// The positions after prompts of these lengths, with `group` rows each and at most `limit` further tokens.
    pub(crate) fn after(model: &Network, lengths: &[i64], group: usize, limit: i64) -> NextPositions {
        let positions: Vec<i64> =
            lengths.iter().flat_map(|&length| std::iter::repeat_n(length, group)).collect();
        let last = lengths.iter().max().unwrap_or(&0) + limit;
        let all = Tensor::arange(last, (Kind::Int64, model.device()));
        NextPositions { angles: model.decoder.angles(&all), positions: model.upload(&positions) }
    }

    /// The angles of the next token of each row. Advances all rows by one position.
    pub(crate) fn next_angles(&mut self) -> Angles {
        let angles = self.angles.select(&self.positions);
        self.positions += 1;
        angles
    }

    fn keep(&mut self, rows: &Tensor) {
        self.positions = self.positions.index_select(0, rows);
    }
}
