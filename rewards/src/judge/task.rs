//! What rewards ask a judge's server for, besides the two grades of the paper, and what they get.
//!
//! A reward that needs more than a [`Verdict`](crate::Verdict) returns a [`JudgeTask`] from
//! [`Reward::judge_task`](crate::Reward::judge_task). The conductor has the judge carry out each task over the completions of
//! a step, and puts the results into [`RewardItem::graded`](crate::RewardItem::graded), where the reward finds its own. What
//! is asked, and how replies become scores, is here and needs neither a server nor an async runtime.
//!
//! - `TASK-1` a reply that was not had, or is not of the required form, is a missing rating and never a 0.
//! - `TASK-2` a prompt depends on the task and on the texts it is about only, so that the same completions are asked about
//!   in the same words in every run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::caption::{AnswerTask, GroundingTask};
use super::ranking::{ListwiseTask, PairwiseTask};
use super::rubric::{Rubric, RubricTask};

pub mod prompt;

/// What a reward asks for: its kind with its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum JudgeTask {
    /// Ratings of the thinking by a rubric.
    Rubric(RubricTask),
    /// The order of the completions of each group.
    Listwise(ListwiseTask),
    /// Comparisons of two completions of a group.
    Pairwise(PairwiseTask),
    /// Which statements of the thinking a caption supports.
    CaptionGrounding(GroundingTask),
    /// The answer that follows from the thinking.
    AnswerFromCaption(AnswerTask),
}

impl JudgeTask {
    /// The settings of the task's own server, `[rewards.NAME.judge]`; empty if it uses that of the arm's `[judge]`.
    pub fn own_judge(&self) -> &toml::Table {
        match self {
            Self::Rubric(task) => &task.judge,
            Self::Listwise(task) => &task.judge,
            Self::Pairwise(task) => &task.judge,
            Self::CaptionGrounding(task) => &task.judge,
            Self::AnswerFromCaption(task) => &task.judge,
        }
    }
}

/// The result of a task for one completion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graded {
    /// The task.
    pub task: Arc<JudgeTask>,
    /// The score, from 0 to 1; `None` if it could not be had.
    pub score: Option<f64>,
    /// What each rater gave, from 0 to 1, or each order in which a group was shown; `None` for those that gave nothing. Empty if
    /// nothing was asked.
    #[serde(default)]
    pub ratings: Vec<Option<f64>>,
    /// The rubric, if a server made it.
    #[serde(default)]
    pub made: Option<Arc<Rubric>>,
    /// Why the score is missing.
    #[serde(default)]
    pub note: Option<String>,
}

impl Graded {
    /// A completion whose score is missing for this reason.
    pub fn missing(task: Arc<JudgeTask>, note: String) -> Self {
        Self { task, score: None, ratings: Vec::new(), made: None, note: Some(note) }
    }

    /// The largest difference between two ratings; `None` for fewer than two.
    pub fn disagreement(&self) -> Option<f64> {
        let given: Vec<f64> = self.ratings.iter().flatten().copied().collect();
        let largest = given.iter().copied().reduce(f64::max)?;
        let smallest = given.iter().copied().reduce(f64::min)?;
        (given.len() > 1).then_some(largest - smallest)
    }
}
