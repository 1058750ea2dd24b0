//! The one trait a reward implements, and the batch it sees.
//!
//! Each optimizer step the conductor puts all completions of the step into one [`RewardBatch`]; every slot
//! scores it with its [`Reward`]; the shaper combines the scores ([`shape`](crate::shape)) into one reward
//! per completion.
//!
//! Invariants:
//! - REWARD-1 a score that could not be had is `None`, never 0.
//! - REWARD-2 a reward sees the whole step at once, so quantities of the batch need no second place to live.
//! - REWARD-3 `score` returns one entry per item, in the order of the items.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{JudgeRequest, Mode, ParsedCompletion, Question, RewardError, Verdict};

/// One completion to be scored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardItem {
    /// The question it answers.
    pub question: Arc<Question>,
    /// Which prompt of the step it belongs to, from 0.
    pub group: usize,
    /// The text as sampled, special tokens taken out.
    pub completion: String,
    /// The text, taken apart.
    pub parsed: ParsedCompletion,
    /// Whether it is well-formed and its answer is the right one, see [`is_correct`](crate::is_correct).
    pub correct: bool,
    /// Tokens sampled, the end-of-text token included.
    pub completion_tokens: usize,
    /// Whether it was cut off at the longest length allowed.
    pub truncated: bool,
    /// Length of the clip as the policy heard it, in seconds, to a hundredth; `None` where nobody has looked.
    #[serde(default)]
    pub duration_seconds: Option<f64>,
    /// What the judge said, for the rewards that need it: see [`RewardItem::judge_request`].
    #[serde(default)]
    pub verdict: Option<Verdict>,
}

impl RewardItem {
    /// Whether the completion thought.
    pub fn thinks(&self) -> bool {
        self.parsed.mode == Mode::Think
    }

    /// What to ask the judge about this completion; `None` where there is nothing to judge: it did not think,
    /// or it is malformed.
    pub fn judge_request(&self) -> Option<JudgeRequest> {
        match (self.parsed.well_formed, &self.parsed.think, &self.parsed.answer) {
            (true, Some(think), Some(answer)) => Some(JudgeRequest {
                question: Arc::clone(&self.question),
                think: think.clone(),
                answer: answer.clone(),
            }),
            _ => None,
        }
    }
}

/// All completions of one optimizer step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RewardBatch {
    /// The number of this step, from 1; `s` in the paper's equations.
    pub step: u64,
    /// How many steps the run takes; `T` in the paper's equations.
    pub total_steps: u64,
    /// Completions per prompt.
    pub group_size: usize,
    /// Prompts per micro-batch of the optimizer; 0: the whole step is one.
    pub microbatch: usize,
    /// The completions, those of a group side by side.
    pub items: Vec<RewardItem>,
}

impl RewardBatch {
    /// `1 - s/T`: the part of the run still to come, in 0..=1. A run without steps has nothing to come.
    pub fn remaining(&self) -> f64 {
        if self.total_steps == 0 {
            return 0.0;
        }
        (1.0 - self.step as f64 / self.total_steps as f64).clamp(0.0, 1.0)
    }
}

/// Scores completions; one component of the shaped reward.
pub trait Reward: Send {
    /// Whether the judge's verdicts are to be filled in before `score` is called.
    fn needs_verdict(&self) -> bool {
        false
    }

    /// One score per item, in order; `None` where a score could not be had.
    ///
    /// # Errors
    /// Only if the batch as a whole cannot be scored.
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError>;
}
