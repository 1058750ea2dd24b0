//! How many completions the sampler generates at the same time.
//!
//! - `BATCH-1` a completion depends on its prompt, its seed and the weights only, so that batches of any size give the same
//!   ones.
//! - `BATCH-2` a batch that runs out of memory is generated again in halves. What the batches before it gave is kept, and so
//!   is the size for what follows.

use model::memory::attempt;
use model::{Completion, ModelError, Policy, Prompt};
use tch::Device;

use crate::error::WorkerError;
use crate::fit::Portion;
use crate::generated::GenerateQuery;

/// The size of a batch.
pub(crate) struct Batches {
    device: Device,
    portion: Portion,
    splits: u64,
}

/// The place of a completion in a request.
#[derive(Clone, Copy)]
struct Next {
    prompt: usize,
    /// The place in the prompt's group.
    member: usize,
}

/// Some completions of a request.
struct Batch<'a> {
    prompts: &'a [Prompt],
    group_size: usize,
    seeds: &'a [u64],
}

impl Batches {
    /// Begins with so many prompts in a batch; 0 for all of a request.
    pub(crate) fn new(device: Device, prompts: usize) -> Self {
        Batches { device, portion: Portion::prompts(prompts), splits: 0 }
    }

    /// How often a batch was halved since the last call.
    pub(crate) fn take_splits(&mut self) -> u64 {
        std::mem::take(&mut self.splits)
    }

    /// The completions that are asked for, in the order of their seeds.
    ///
    /// Errors: Those of [`Policy::generate`]; or one completion alone does not fit.
    pub(crate) fn generate(
        &mut self,
        policy: &Policy,
        query: &GenerateQuery,
    ) -> Result<Vec<Completion>, WorkerError> {
        let (prompts, group_size) = (query.prompts.len(), query.group_size);
        if group_size == 0 || query.seeds.len() != prompts * group_size {
            // One call says what is wrong with it.
            return Ok(policy.generate(&query.prompts, group_size, &query.params, &query.seeds)?);
        }
        let (before, mut said): (Portion, Option<String>) = (self.portion, None);
        let mut completions = Vec::with_capacity(query.seeds.len());
        while completions.len() < query.seeds.len() {
            let next =
                Next { prompt: completions.len() / group_size, member: completions.len() % group_size };
            let batch = self.batch(query, next);
            let generate = || {
                #[cfg(test)]
                crate::fit::exhaust_above(batch.seeds.len());
                policy.generate(batch.prompts, batch.group_size, &query.params, batch.seeds)
            };
            match attempt(self.device, generate) {
                Err(ModelError::OutOfMemory { problem }) => {
                    self.halve(&batch, query, &problem)?;
                    said = Some(problem);
                }
                done => completions.extend(done?),
            }
        }
        if let Some(problem) = said {
            tracing::warn!(
                "out of memory ({problem}): completions are sampled for {} instead of {before}; sampling.batch_prompts \
                 (eval.batch_prompts in evaluations) or a lower sampling.max_new_tokens avoids it",
                self.portion
            );
        }
        Ok(completions)
    }

    /// The batch that begins at this completion.
    fn batch<'a>(&self, query: &'a GenerateQuery, next: Next) -> Batch<'a> {
        let Next { prompt, member } = next;
        let left = query.prompts.len() - prompt;
        let (prompts, group_size) = match self.portion {
            Portion::All => (left, query.group_size),
            Portion::Prompts(count) => (count.clamp(1, left), query.group_size),
            Portion::Completions(count) => (1, count.clamp(1, query.group_size - member)),
        };
        let first = prompt * query.group_size + member;
        Batch {
            prompts: &query.prompts[prompt..][..prompts],
            group_size,
            seeds: &query.seeds[first..][..prompts * group_size],
        }
    }

    /// Makes batches half as large as one that did not fit.
    fn halve(&mut self, batch: &Batch<'_>, query: &GenerateQuery, problem: &str) -> Result<(), WorkerError> {
        let problem = problem.to_owned();
        let half = self.portion.half(batch.prompts.len(), batch.group_size);
        let half = half.ok_or_else(|| WorkerError::CompletionTooLarge { problem: problem.clone() })?;
        let within_group = matches!(half, Portion::Completions(_));
        if within_group && query.params.forced_no_think > 0.0 {
            // The first completions of a group begin in another mode than the others.
            return Err(WorkerError::GroupTooLarge { problem });
        }
        self.portion = half;
        self.splits += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::{PolicyOptions, SamplingParams};

    use super::*;
    use crate::fit::injected;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/qwen2_audio/model");

    fn query(policy: &Policy) -> GenerateQuery {
        let prompt = |text: &&str| policy.processor().prompt(text, &[]).unwrap();
        GenerateQuery {
            prompts: ["What is it?", "Say so.", "Which of them is the longest?"].iter().map(prompt).collect(),
            group_size: 4,
            params: SamplingParams { max_new_tokens: 12, ..SamplingParams::default() },
            seeds: (0..12).collect(),
        }
    }

    fn opened() -> Policy {
        Policy::open(MODEL.as_ref(), &PolicyOptions::default()).unwrap()
    }

    #[test]
    fn batches_of_any_size_give_the_same_completions_and_keep_their_size() {
        let policy = opened();
        let query = query(&policy);
        let all = policy.generate(&query.prompts, 4, &query.params, &query.seeds).unwrap();
        // 12, 8 and 4 completions; then 4 in halves and single ones.
        for (fit, splits, portion) in [
            (12, 0, Portion::All),
            (8, 1, Portion::Prompts(2)),
            (4, 2, Portion::Prompts(1)),
            (1, 4, Portion::Completions(1)),
        ] {
            let mut batches = Batches::new(Device::Cpu, 0);
            injected::limit(fit);
            let found = batches.generate(&policy, &query).unwrap();
            assert_eq!((batches.portion, batches.take_splits()), (portion, splits));
            for (one, other) in all.iter().zip(&found) {
                assert_eq!((&one.ids, one.finish), (&other.ids, other.finish), "with {fit} at a time");
                let gaps = one.logprobs.iter().zip(&other.logprobs).map(|(a, b)| (a - b).abs());
                assert!(gaps.fold(0.0, f32::max) < 1e-5);
            }
            assert_eq!(found.len(), 12);
            batches.generate(&policy, &query).unwrap();
            assert_eq!(batches.take_splits(), 0, "the size is kept");
        }
    }

    #[test]
    fn what_can_not_be_sampled_in_smaller_parts_is_an_error_that_names_settings() {
        let policy = opened();
        let query = query(&policy);
        injected::limit(0);
        let error = Batches::new(Device::Cpu, 0).generate(&policy, &query).unwrap_err().to_string();
        assert!(error.contains("one completion") && error.contains("sampling.max_new_tokens"), "{error}");
        let params = SamplingParams { forced_no_think: 0.5, ..query.params };
        let error =
            Batches::new(Device::Cpu, 0).generate(&policy, &GenerateQuery { params, ..query }).unwrap_err();
        assert!(matches!(error, WorkerError::GroupTooLarge { .. }), "{error}");
    }
}
