//! The completions of a batch while they are generated: which row belongs to which, and which have finished.

use tch::{Kind, Tensor};

use super::{Forcing, NextPositions, OnToken};
use crate::error::ModelError;
use crate::kv_cache::KvCache;
use crate::network::{Network, PromptBatch};
use crate::sampling::{Completion, Finish, SamplingParams};

/// The completion of each row of the batch, and the tokens that have been generated.
pub(super) struct Rows<'a> {
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
    pub(super) positions: NextPositions,
    /// Whether `on_token` has ended the generation.
    stopped: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
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

    /// Whether every completion has finished, or generation was ended.
    pub(super) fn ended(&self) -> bool {
        self.stopped || self.finished.iter().all(|finished| *finished)
    }

    /// Whether each completion has finished.
    pub(super) fn finished(&self) -> &[bool] {
        &self.finished
    }

    /// The numbers of the completions that have a row.
    ///
    /// Shapes: `numbers: [completions]` → `[rows]`
    pub(super) fn of_completions(&self, numbers: Tensor) -> Tensor {
        self.columns.as_ref().map(|columns| numbers.index_select(0, columns)).unwrap_or(numbers)
    }

    /// Appends the drawn tokens to the unfinished completions.
    ///
    /// Shapes: `ids: [rows]`, i64; `logprobs: [rows]`, f32
    pub(super) fn record(
        &mut self,
        ids: &Tensor,
        logprobs: Tensor,
        on_token: &mut Option<&mut OnToken<'_>>,
    ) -> Result<(), ModelError> {
        let drawn = Vec::<i64>::try_from(ids)?;
        self.append(&drawn, logprobs, on_token);
        Ok(())
    }

    /// Appends the tokens of several steps, with the log-probabilities of each.
    ///
    /// Shapes: `ids`, `logprobs`: `rows` numbers for each step
    pub(super) fn record_all(
        &mut self,
        ids: &[i64],
        logprobs: &[f32],
        on_token: &mut Option<&mut OnToken<'_>>,
    ) {
        let rows = self.rows.len();
        for (drawn, logprobs) in ids.chunks(rows).zip(logprobs.chunks(rows)) {
            self.append(drawn, Tensor::from_slice(logprobs), on_token);
        }
    }

    fn append(&mut self, drawn: &[i64], logprobs: Tensor, on_token: &mut Option<&mut OnToken<'_>>) {
        for (&row, &id) in self.rows.iter().zip(drawn) {
            if self.finished[row] {
                continue;
            }
            let completion = &mut self.completions[row];
            completion.ids.push(id);
            self.stopped |= on_token.as_mut().is_some_and(|on_token| on_token(row, id).is_break());
            if self.eos_ids.contains(&id) {
                completion.finish = Finish::Eos;
                self.finished[row] = true;
            }
        }
        self.logprobs.push((logprobs, self.rows.clone()));
    }

    /// Replaces the tokens of completions that are forced to begin in a mode, or whose thinking has to end.
    ///
    /// Shapes: `logits: [rows, vocabulary]`, f32; `ids: [rows]`, i64; `logprobs: [rows]`, f32 → as `ids` and `logprobs`
    pub(super) fn force(
        &self,
        forcing: &mut Forcing<'_>,
        logits: &Tensor,
        ids: Tensor,
        logprobs: Tensor,
    ) -> Result<(Tensor, Tensor), ModelError> {
        if forcing.openings.is_none() && forcing.budget.is_none() {
            return Ok((ids, logprobs));
        }
        let forced = self.forced(forcing);
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

    /// The token that each row is forced to continue with, if any.
    pub(super) fn forced(&self, forcing: &mut Forcing<'_>) -> Vec<Option<i64>> {
        let mut forced = |&row: &usize| match self.finished[row] {
            true => None,
            false => forcing.next(row, &self.completions[row].ids),
        };
        self.rows.iter().map(&mut forced).collect()
    }

    /// Removes finished rows from the batch if it becomes at least a quarter smaller (GEN-3). Every prompt keeps as
    /// many rows as the prompt with the most unfinished ones (CACHE-3); prompts with fewer also keep finished rows,
    /// whose tokens are ignored.
    ///
    /// Shapes: `ids: [rows]`, i64 → `[kept rows]`
    pub(super) fn shrink(&mut self, cache: &mut KvCache, ids: Tensor) -> Tensor {
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

    /// Reads the log-probabilities from the device.
    pub(super) fn settle(&mut self) -> Result<(), ModelError> {
        if self.logprobs.is_empty() {
            return Ok(());
        }
        let steps: Vec<&Tensor> = self.logprobs.iter().map(|(logprobs, _)| logprobs).collect();
        let drawn = Vec::<f32>::try_from(Tensor::cat(&steps, 0))?;
        let rows = self.logprobs.iter().flat_map(|(_, rows)| rows);
        for (&row, logprob) in rows.zip(drawn) {
            let completion = &mut self.completions[row];
            if completion.logprobs.len() < completion.ids.len() {
                completion.logprobs.push(logprob);
            }
        }
        self.logprobs.clear();
        Ok(())
    }

    /// Reads the remaining log-probabilities from the device and returns the completions.
    pub(super) fn finish(mut self) -> Result<Vec<Completion>, ModelError> {
        self.settle()?;
        Ok(self.completions)
    }
}
