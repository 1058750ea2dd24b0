//! Begins the completions of a prompt in both modes: a share of them without thinking, the others with it.
//!
//! This is the importance sampling of AdaptThink (<https://arxiv.org/abs/2505.13417>, equation 6): the distribution that
//! completions come from begins in each mode with a fixed probability, and goes on as the policy does. The log-probabilities of
//! the opening tokens are those under that distribution, so that the importance ratio corrects for it, and the tokens are
//! trained on.

use crate::processor::Processor;

const THINK: &str = "<think>";
const ANSWER: &str = "<answer>";

/// How the completions of every prompt begin.
pub(crate) struct Openings {
    group: usize,
    /// Completions of each prompt, the first ones, that begin without thinking.
    without: usize,
    think: Vec<i64>,
    answer: Vec<i64>,
}

impl Openings {
    /// Has the share `without_thinking` of each group begin with its answer; `None` if it is 0, which forces nothing.
    pub(crate) fn new(processor: &Processor, without_thinking: f64, group: usize) -> Option<Self> {
        (without_thinking > 0.0).then(|| Openings {
            group,
            without: (without_thinking * group as f64).round() as usize,
            think: processor.encode(THINK),
            answer: processor.encode(ANSWER),
        })
    }

    fn of(&self, completion: usize) -> &[i64] {
        if completion % self.group < self.without { &self.answer } else { &self.think }
    }

    /// Most tokens of an opening.
    pub(crate) fn longest(&self) -> usize {
        self.think.len().max(self.answer.len())
    }

    /// The token at `place` of a completion, if it is part of its opening.
    pub(crate) fn forced(&self, completion: usize, place: usize) -> Option<i64> {
        self.of(completion).get(place).copied()
    }

    /// Replaces the log-probabilities of the opening tokens: the first is that of the mode, and the others follow from it.
    pub(crate) fn correct(&self, completion: usize, logprobs: &mut [f32]) {
        let without = self.without as f64 / self.group as f64;
        let share = if completion % self.group < self.without { without } else { 1.0 - without };
        for (place, logprob) in logprobs.iter_mut().take(self.of(completion).len()).enumerate() {
            *logprob = if place == 0 { share.ln() as f32 } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_its_share_of_a_group_and_the_log_probability_of_that_share() {
        let openings = Openings { group: 4, without: 1, think: vec![7, 8], answer: vec![9] };
        let first: Vec<Option<i64>> = (0..8).map(|completion| openings.forced(completion, 0)).collect();
        assert_eq!(first, [9, 7, 7, 7, 9, 7, 7, 7].map(Some));
        assert_eq!(
            (openings.forced(1, 1), openings.forced(0, 1), openings.forced(1, 2)),
            (Some(8), None, None)
        );
        let mut logprobs = [-3.0f32; 3];
        openings.correct(5, &mut logprobs);
        assert_eq!(logprobs, [0.75f32.ln(), 0.0, -3.0]);
        let mut logprobs = [-3.0f32; 3];
        openings.correct(4, &mut logprobs);
        assert_eq!(logprobs, [0.25f32.ln(), -3.0, -3.0]);
    }
}
