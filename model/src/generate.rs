//! Generating completions: one prefill for each prompt, then one token of every unfinished completion at a time.
//!
//! `Policy::generate` runs it on the sampler's replica. `choose.rs` shares the prefill and the positions.
//!
//! - `GEN-1` A prompt is run once, whatever the number of its completions (CACHE-1).
//! - `GEN-2` The host waits for the device once per token, for the ids, which determine the
//!   completions that have finished.
//! - `GEN-3` Finished completions are removed from the batch when that makes it at least a quarter smaller.

use std::ops::ControlFlow;

use tch::{Kind, Tensor};

use crate::decoder::attention::PromptAttention;
use crate::decoder::rope::Angles;
use crate::error::{InputError, ModelError};
use crate::kv_cache::KvCache;
use crate::network::{Network, PromptBatch};
use crate::opening::Openings;
use crate::processor::{Processor, Prompt};
use crate::sampling::{Completion, Finish, Sampler, SamplingParams, uniforms};
use crate::think_budget::ThinkBudget;

/// What is done with the index of a completion and the id of its next token.
pub(crate) type OnToken<'a> = dyn FnMut(usize, i64) -> ControlFlow<()> + 'a;

/// Generates `group` completions of each prompt. `seeds` has one seed for each completion, those of a prompt next to
/// each other. `on_token` is called with the index of the completion and the id of every token as it is drawn; generation
/// ends when it returns [`ControlFlow::Break`], as at the greatest length.
pub(crate) fn generate(
    model: &Network,
    processor: &Processor,
    prompts: &[Prompt],
    group: usize,
    params: &SamplingParams,
    seeds: &[u64],
    on_token: &mut OnToken<'_>,
) -> Result<Vec<Completion>, ModelError> {
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

    let device = model.device();
    let sampler = Sampler::new(*params, model.config.text.vocab_size, processor.suppressed_ids(), device);
    let uniforms = uniforms(seeds, params.max_new_tokens, device);
    let limit = params.max_new_tokens as i64;
    let (mut cache, logits) = prefill(model, &batch, group as i64, limit, params.scale());
    let mut forcing = Forcing {
        openings: Openings::new(processor, params.forced_no_think, group),
        budget: ThinkBudget::new(processor, params.max_think_tokens, seeds.len()),
    };
    let mut rows = Rows::new(model, &batch, group, params, processor.eos_ids());
    let mut logits = logits.repeat_interleave_self_int(group as i64, 0, None);
    for step in 0..params.max_new_tokens {
        let uniform = uniforms.get(step as i64);
        let uniform =
            rows.columns.as_ref().map(|columns| uniform.index_select(0, columns)).unwrap_or(uniform);
        let (ids, logprobs) = sampler.draw(&logits, &uniform);
        let (ids, logprobs) = rows.force(&mut forcing, &logits, ids, logprobs)?;
        let ids = rows.record(ids, logprobs, on_token)?;
        if rows.stopped || rows.unfinished() == 0 || step + 1 == params.max_new_tokens {
            break;
        }
        let ids = rows.shrink(&mut cache, ids);
        cache.grow();
        let x = model.decoder.run(model.decoder.embed(&ids), &rows.positions.next_angles(), &mut cache, None);
        logits = model.decoder.project(&x, params.scale());
    }
    let mut completions = rows.finish()?;
    forcing.note(&mut completions);
    Ok(completions)
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

/// The completion of each row of the batch, and the tokens that have been generated.
struct Rows<'a> {
    model: &'a Network,
    eos_ids: &'a [i64],
    completions: Vec<Completion>,
    finished: Vec<bool>,
    /// The index of each row's completion, `group` rows for each prompt. Some of them may have finished.
    rows: Vec<usize>,
    group: usize,
    /// `[rows]`, i64: `rows` on the device, once rows have been removed. Selects the columns of the random numbers.
    columns: Option<Tensor>,
    /// The log-probabilities of each step on the device, and the completions of its rows. They are read
    /// at the end (GEN-2).
    logprobs: Vec<(Tensor, Vec<usize>)>,
    positions: NextPositions,
    /// Whether `on_token` has ended the generation.
    stopped: bool,
}

impl<'a> Rows<'a> {
    fn new(
        model: &'a Network,
        batch: &PromptBatch,
        group: usize,
        params: &SamplingParams,
        eos_ids: &'a [i64],
    ) -> Rows<'a> {
        let count = batch.lengths.len() * group;
        let blank =
            Completion { ids: Vec::new(), logprobs: Vec::new(), forced: 0..0, finish: Finish::Length };
        Rows {
            model,
            eos_ids,
            completions: vec![blank; count],
            finished: vec![false; count],
            rows: (0..count).collect(),
            group,
            columns: None,
            logprobs: Vec::new(),
            positions: NextPositions::after(model, &batch.lengths, group, params.max_new_tokens as i64),
            stopped: false,
        }
    }

    fn unfinished(&self) -> usize {
        self.finished.iter().filter(|finished| !**finished).count()
    }

    /// Appends the drawn tokens to the unfinished completions, and returns the ids.
    ///
    /// Shapes: `ids: [rows]`, i64; `logprobs: [rows]`, f32 → as `ids`
    fn record(
        &mut self,
        ids: Tensor,
        logprobs: Tensor,
        on_token: &mut OnToken<'_>,
    ) -> Result<Tensor, ModelError> {
        let drawn = Vec::<i64>::try_from(&ids)?;
        for (&row, &id) in self.rows.iter().zip(&drawn) {
            if self.finished[row] {
                continue;
            }
            let completion = &mut self.completions[row];
            completion.ids.push(id);
            self.stopped |= on_token(row, id).is_break();
            if self.eos_ids.contains(&id) {
                completion.finish = Finish::Eos;
                self.finished[row] = true;
            }
        }
        self.logprobs.push((logprobs, self.rows.clone()));
        Ok(ids)
    }

    /// Replaces the tokens of completions that are forced to begin in a mode, or whose thinking has to end.
    ///
    /// Shapes: `logits: [rows, vocabulary]`, f32; `ids: [rows]`, i64; `logprobs: [rows]`, f32 → as `ids` and `logprobs`
    fn force(
        &self,
        forcing: &mut Forcing<'_>,
        logits: &Tensor,
        ids: Tensor,
        logprobs: Tensor,
    ) -> Result<(Tensor, Tensor), ModelError> {
        if forcing.openings.is_none() && forcing.budget.is_none() {
            return Ok((ids, logprobs));
        }
        let mut forced = |&row: &usize| match self.finished[row] {
            true => None,
            false => forcing.next(row, &self.completions[row].ids),
        };
        let forced: Vec<Option<i64>> = self.rows.iter().map(&mut forced).collect();
        if forced.iter().all(Option::is_none) {
            return Ok((ids, logprobs));
        }
        let drawn = Vec::<i64>::try_from(&ids)?;
        let chosen: Vec<i64> = drawn.iter().zip(&forced).map(|(id, forced)| forced.unwrap_or(*id)).collect();
        let is_forced: Vec<bool> = forced.iter().map(Option::is_some).collect();
        let is_forced = Tensor::from_slice(&is_forced).to_device(logits.device());
        let chosen = self.model.upload(&chosen);
        let all = logits.log_softmax(-1, Kind::Float).gather(1, &chosen.unsqueeze(1), false).squeeze_dim(1);
        Ok((chosen, all.where_self(&is_forced, &logprobs)))
    }

    /// Removes finished rows from the batch if it becomes at least a quarter smaller (GEN-3). Every prompt keeps as
    /// many rows as the prompt with the most unfinished ones (CACHE-3); prompts with fewer also keep finished rows,
    /// whose tokens are ignored.
    ///
    /// Shapes: `ids: [rows]`, i64 → `[kept rows]`
    fn shrink(&mut self, cache: &mut KvCache, ids: Tensor) -> Tensor {
        let unfinished = |rows: &[usize]| rows.iter().filter(|row| !self.finished[**row]).count();
        let counts: Vec<usize> = self.rows.chunks(self.group).map(unfinished).collect();
        let group = counts.iter().copied().max().unwrap_or(0);
        let prompts: Vec<i64> =
            (0i64..).zip(&counts).filter(|(_, count)| **count > 0).map(|(index, _)| index).collect();
        if 4 * group * prompts.len() > 3 * self.rows.len() {
            return ids;
        }
        let mut kept = Vec::with_capacity(group * prompts.len());
        for &prompt in &prompts {
            let first = prompt as usize * self.group;
            let mut rows: Vec<usize> = (first..first + self.group).collect();
            rows.sort_by_key(|&row| self.finished[self.rows[row]]);
            kept.extend(rows[..group].iter().map(|&row| row as i64));
        }
        cache.keep(&prompts, &kept);
        self.rows = kept.iter().map(|&row| self.rows[row as usize]).collect();
        self.group = group;
        let columns: Vec<i64> = self.rows.iter().map(|&row| row as i64).collect();
        self.columns = Some(self.model.upload(&columns));
        let kept = self.model.upload(&kept);
        self.positions.keep(&kept);
        ids.index_select(0, &kept)
    }

    /// Reads the log-probabilities from the device and returns the completions.
    fn finish(mut self) -> Result<Vec<Completion>, ModelError> {
        let steps: Vec<&Tensor> = self.logprobs.iter().map(|(logprobs, _)| logprobs).collect();
        let drawn = Vec::<f32>::try_from(Tensor::cat(&steps, 0))?;
        let rows = self.logprobs.iter().flat_map(|(_, rows)| rows);
        for (&row, logprob) in rows.zip(drawn) {
            let completion = &mut self.completions[row];
            if completion.logprobs.len() < completion.ids.len() {
                completion.logprobs.push(logprob);
            }
        }
        Ok(self.completions)
    }
}
