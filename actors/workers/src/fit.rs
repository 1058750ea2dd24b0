//! How much of a step goes through the model at once, and what happens when that needs more memory than there is.
//!
//! A pass that runs out of memory is made again from the beginning of the step, with micro-batches of half the size. So no
//! gradient of a pass that was left in the middle is counted, and none twice; what was computed before is lost, but once in
//! a run only, because the size is kept.
//!
//! - `FIT-1` a step that ran out of memory has the gradient, the loss and the metrics of one that had the smaller
//!   micro-batches from its beginning.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use model::ModelError;
use model::memory::attempt;
use tch::Device;

use crate::error::WorkerError;

/// How much goes through the model at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Portion {
    /// All prompts with all of their completions.
    All,
    /// So many prompts with all of their completions.
    Prompts(usize),
    /// So many completions of one prompt.
    Completions(usize),
}

/// A prompt with completions, some of which can be taken alone.
pub(crate) trait Divide: Clone {
    /// Number of its completions.
    fn completions(&self) -> usize;

    /// The prompt with these of its completions.
    fn part(&self, completions: Range<usize>) -> Self;
}

impl Portion {
    /// So many prompts; 0 for all of them.
    pub(crate) fn prompts(count: usize) -> Self {
        if count == 0 { Portion::All } else { Portion::Prompts(count) }
    }

    /// The micro-batches of a step, in the order of its completions.
    pub(crate) fn parts<G: Divide>(self, groups: &[G]) -> Vec<Cow<'_, [G]>> {
        let by_prompts = |count: usize| groups.chunks(count.max(1)).map(Cow::Borrowed).collect();
        match self {
            Portion::All => by_prompts(groups.len()),
            Portion::Prompts(count) => by_prompts(count),
            Portion::Completions(count) => groups
                .iter()
                .flat_map(|group| {
                    let all = group.completions();
                    let part = move |from: usize| group.part(from..all.min(from + count));
                    (0..all).step_by(count.max(1)).map(part)
                })
                .map(|part| Cow::Owned(vec![part]))
                .collect(),
        }
    }

    /// Half of it, where a step has so many prompts, and a prompt at most so many completions; `None` if that is less than
    /// one completion.
    pub(crate) fn half(self, prompts: usize, completions: usize) -> Option<Self> {
        let at_once = match self {
            Portion::All => prompts,
            Portion::Prompts(count) => count.min(prompts),
            Portion::Completions(_) => 1,
        };
        if at_once > 1 {
            return Some(Portion::Prompts(at_once.div_ceil(2)));
        }
        let at_once = match self {
            Portion::Completions(count) => count.min(completions),
            Portion::All | Portion::Prompts(_) => completions,
        };
        (at_once > 1).then(|| Portion::Completions(at_once.div_ceil(2)))
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, of) = match self {
            Portion::All => return f.write_str("all prompts at once"),
            Portion::Prompts(count) => (count, "prompt"),
            Portion::Completions(count) => (count, "completion"),
        };
        write!(f, "{count} {of}{} at a time", if *count == 1 { "" } else { "s" })
    }
}

/// The size of the micro-batches, which becomes smaller when memory does not suffice, and stays so.
pub(crate) struct Fit {
    device: Device,
    portion: Portion,
    splits: u64,
}

impl Fit {
    /// Begins with so many prompts per micro-batch; 0 for all at once.
    pub(crate) fn new(device: Device, prompts: usize) -> Self {
        Fit { device, portion: Portion::prompts(prompts), splits: 0 }
    }

    /// Calls `pass` with the micro-batches of a step, and again with smaller ones as long as memory does not suffice. `pass`
    /// must begin by forgetting what an earlier call has added up (FIT-1).
    ///
    /// Errors: Those of `pass`; or one completion alone does not fit.
    pub(crate) fn run<G: Divide, T>(
        &mut self,
        groups: &[G],
        mut pass: impl FnMut(&[Cow<'_, [G]>]) -> Result<T, ModelError>,
    ) -> Result<T, WorkerError> {
        let (before, mut said): (Portion, Option<String>) = (self.portion, None);
        loop {
            let parts = self.portion.parts(groups);
            let problem = match attempt(self.device, || pass(&parts)) {
                Err(ModelError::OutOfMemory { problem }) => problem,
                done => {
                    if let Some(problem) = said {
                        self.warn(before, &problem);
                    }
                    return Ok(done?);
                }
            };
            let completions = groups.iter().map(Divide::completions).max().unwrap_or(0);
            let Some(half) = self.portion.half(groups.len(), completions) else {
                return Err(WorkerError::StepTooLarge { problem });
            };
            self.portion = half;
            self.splits += 1;
            said = Some(problem);
        }
    }

    /// How often micro-batches were halved since the last call.
    pub(crate) fn take_splits(&mut self) -> u64 {
        std::mem::take(&mut self.splits)
    }

    fn warn(&self, before: Portion, problem: &str) {
        let instead = match self.portion {
            Portion::All => return,
            Portion::Prompts(count) => {
                format!("grpo.micro_batch_prompts = {count} begins with that")
            }
            Portion::Completions(_) => "grpo.micro_batch_prompts = 1 with a lower sampling.max_new_tokens or \
                                        sampling.group_size, or policy.gradient_checkpointing = true, avoids it"
                .to_owned(),
        };
        tracing::warn!(
            "out of memory ({problem}): training steps were cut from {before} to {}; {instead}",
            self.portion
        );
    }
}

#[cfg(test)]
pub(crate) use injected::exhaust_above;

/// Runs out of memory on purpose.
#[cfg(test)]
pub(crate) mod injected {
    use std::cell::Cell;

    use tch::{Device, Kind, Tensor};

    thread_local! {
        static MOST_TOKENS: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// Lets passes of this thread fail that have more tokens than this.
    pub(crate) fn limit(most_tokens: usize) {
        MOST_TOKENS.set(most_tokens);
    }

    /// Asks libtorch for more memory than there is, if a pass has too many tokens, in the way in which a pass does: by a
    /// function that panics.
    pub(crate) fn exhaust_above(tokens: usize) {
        if tokens > MOST_TOKENS.get() {
            let _ = Tensor::empty([1 << 52], (Kind::Float, Device::Cpu));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Numbers(Vec<u32>);

    impl Divide for Numbers {
        fn completions(&self) -> usize {
            self.0.len()
        }

        fn part(&self, completions: Range<usize>) -> Self {
            Numbers(self.0[completions].to_vec())
        }
    }

    fn groups() -> [Numbers; 3] {
        [Numbers(vec![1, 2, 3]), Numbers(vec![4]), Numbers(vec![5, 6])]
    }

    #[test]
    fn parts_have_every_completion_once_and_in_order() {
        let groups = groups();
        let parts = |portion: Portion| -> Vec<Vec<Vec<u32>>> {
            let parts = portion.parts(&groups).into_iter();
            parts.map(|part| part.iter().map(|numbers| numbers.0.clone()).collect()).collect()
        };
        assert_eq!(parts(Portion::All), [vec![vec![1, 2, 3], vec![4], vec![5, 6]]]);
        assert_eq!(parts(Portion::Prompts(2)), [vec![vec![1, 2, 3], vec![4]], vec![vec![5, 6]]]);
        assert_eq!(
            parts(Portion::Completions(2)),
            [vec![vec![1, 2]], vec![vec![3]], vec![vec![4]], vec![vec![5, 6]]]
        );
        assert!(Portion::All.parts::<Numbers>(&[]).is_empty());
    }

    #[test]
    fn a_portion_is_halved_down_to_one_completion() {
        let halves = |first: Portion| -> Vec<Portion> {
            std::iter::successors(Some(first), |portion| portion.half(5, 4)).skip(1).collect()
        };
        let below_one_prompt = [Portion::Completions(2), Portion::Completions(1)];
        let from_all = [Portion::Prompts(3), Portion::Prompts(2), Portion::Prompts(1)];
        assert_eq!(halves(Portion::All), [&from_all[..], &below_one_prompt].concat());
        // 64 prompts at once are no more than the 5 that there are.
        assert_eq!(halves(Portion::Prompts(64)), halves(Portion::All));
        assert_eq!(halves(Portion::Prompts(1)), below_one_prompt);
        assert_eq!(halves(Portion::Completions(64)), below_one_prompt);
    }

    /// A pass for which at most `most` completions fit.
    fn sum(parts: &[Cow<'_, [Numbers]>], most: usize) -> Result<u32, ModelError> {
        let mut sum = 0;
        for part in parts {
            if part.iter().map(Divide::completions).sum::<usize>() > most {
                injected::exhaust_above(usize::MAX);
            }
            sum += part.iter().flat_map(|numbers| &numbers.0).sum::<u32>();
        }
        Ok(sum)
    }

    #[test]
    fn a_step_is_halved_until_it_fits_and_the_size_is_kept() {
        injected::limit(usize::MAX - 1);
        let mut fit = Fit::new(Device::Cpu, 0);
        assert_eq!(fit.run(&groups(), |parts| sum(parts, 6)).unwrap(), 21);
        assert_eq!((fit.portion, fit.take_splits()), (Portion::All, 0));
        // 3 prompts, then 2 with 3 + 1 completions, then 1 with 3.
        assert_eq!(fit.run(&groups(), |parts| sum(parts, 3)).unwrap(), 21);
        assert_eq!((fit.portion, fit.take_splits()), (Portion::Prompts(1), 2));
        assert_eq!(fit.run(&groups(), |parts| sum(parts, 3)).unwrap(), 21);
        assert_eq!(fit.take_splits(), 0);
        assert_eq!(fit.run(&groups(), |parts| sum(parts, 1)).unwrap(), 21);
        assert_eq!((fit.portion, fit.take_splits()), (Portion::Completions(1), 2));
    }

    #[test]
    fn one_completion_that_does_not_fit_is_an_error_that_names_settings() {
        injected::limit(usize::MAX - 1);
        let error = Fit::new(Device::Cpu, 1).run(&groups(), |parts| sum(parts, 0)).unwrap_err().to_string();
        assert!(error.starts_with("one completion with its prompt does not fit into memory"), "{error}");
        assert!(error.contains("tried to allocate 18014398509481984 bytes"), "{error}");
        assert!(error.contains("sampling.max_new_tokens") && !error.contains('\n'), "{error}");
    }
}
