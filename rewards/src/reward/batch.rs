//! The trait that every reward implements, and the batch of completions it scores.
//!
//! For each optimizer step the conductor puts all completions of the step into one [`RewardBatch`]. Each reward actor
//! scores the batch with its [`Reward`], and the shaper combines the scores into one reward per completion, see
//! [`shape`](crate::shape) for the formula.
//!
//! Invariants, which the tests check:
//! - REWARD-1 a missing score is `None`, never 0.
//! - REWARD-2 a reward gets the whole step at once, so that statistics over the step are computed
//!   in one place ([`statistics`](crate::statistics)).
//! - REWARD-3 `score` returns one entry per item, in the order of the items.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::judge::task::{Graded, JudgeTask};
use crate::{JudgeRequest, Mode, ParsedCompletion, Question, Readings, RewardError, Verdict};

/// One completion, as a reward gets it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardItem {
    /// The question that was asked, shared by the completions of its group.
    pub question: Arc<Question>,
    /// Index of its prompt within the step, from 0. Completions with the same index form a group.
    pub group: usize,
    /// The sampled text without special tokens.
    pub completion: String,
    /// Thinking and answer, from [`parse_completion`](crate::parse_completion).
    pub parsed: ParsedCompletion,
    /// Whether it is right, by each of the three readings.
    #[serde(flatten)]
    pub readings: Readings,
    /// Number of sampled tokens, including the end-of-text token.
    pub completion_tokens: usize,
    /// The sampled tokens, including the end-of-text token; empty where the policy is a server, which gives only text.
    #[serde(default)]
    pub completion_ids: Vec<i64>,
    /// Number of these tokens, from the first, that belong to the thinking, its tags included; 0 without thinking.
    #[serde(default)]
    pub think_tokens: usize,
    /// Whether sampling stopped at `sampling.max_new_tokens` instead of at an end-of-text token.
    pub truncated: bool,
    /// Length of the decoded clip in seconds, rounded to 0.01; `None` if it was not measured.
    #[serde(default)]
    pub duration_seconds: Option<f64>,
    /// The judge's verdict; `None` if no reward of the step needs one or [`RewardItem::judge_request`] is `None`.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// The results of the tasks that rewards gave the judge; none of those that did not concern this completion.
    #[serde(default)]
    pub graded: Vec<Graded>,
}

impl RewardItem {
    /// Whether the completion is in think mode.
    pub fn thinks(&self) -> bool {
        self.parsed.mode == Mode::Think
    }

    /// The result of a task; `None` if the judge was not asked about this completion.
    pub fn graded(&self, task: &JudgeTask) -> Option<&Graded> {
        self.graded.iter().find(|graded| *graded.task == *task)
    }

    /// The score of a task; `None` if the judge was not asked, or gave none that is a finite number (REWARD-1).
    pub fn graded_score(&self, task: &JudgeTask) -> Option<f64> {
        self.graded(task)?.score.filter(|score| score.is_finite())
    }

    /// The request to the judge about this completion. `None` if there is nothing to judge, because the completion has
    /// no thinking or is malformed.
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
    /// Number of the step, from 1; `s` in the paper.
    pub step: u64,
    /// Number of steps of the run; `T` in the paper.
    pub total_steps: u64,
    /// Number of completions per prompt; `G` in the paper.
    pub group_size: usize,
    /// Number of prompts per micro-batch of the optimizer; 0 means that the whole step is one micro-batch.
    pub microbatch: usize,
    /// Greatest length of a completion, in tokens; 0 if there is none.
    #[serde(default)]
    pub max_new_tokens: usize,
    /// The completions, group after group.
    pub items: Vec<RewardItem>,
}

impl RewardBatch {
    /// `1 - s/T`, the fraction of the run that is left, clamped to 0..=1; 0 if `total_steps` is 0.
    pub fn remaining(&self) -> f64 {
        if self.total_steps == 0 {
            return 0.0;
        }
        (1.0 - self.step as f64 / self.total_steps as f64).clamp(0.0, 1.0)
    }
}

/// Scores completions. The scores are one component of the shaped reward.
pub trait Reward: Send {
    /// Whether [`RewardItem::verdict`] has to be filled in before `score` is called. If no reward of an arm returns
    /// true, its judge need not be asked.
    fn needs_verdict(&self) -> bool {
        false
    }

    /// What else the judge has to be asked for before `score` is called; the answer is in [`RewardItem::graded`].
    fn judge_task(&self) -> Option<JudgeTask> {
        None
    }

    /// Returns one score per item, in the order of the items; `None` for an item that cannot be scored.
    ///
    /// Errors: The batch as a whole cannot be scored; every item then counts as missing its score.
    fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError>;
}
