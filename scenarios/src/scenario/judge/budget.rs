//! `[judge.budget]`: how much a run may spend on its judges' servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[judge.budget]`: how much may be spent on judges' servers. What counts is what all arms and seeds of the run have spent
/// together, before and after a resume; cached verdicts cost nothing. Raise a limit by `--resume DIR --set judge.budget.…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeBudget {
    /// Most requests, each attempt counted; 0 sets no limit.
    pub requests: u64,
    /// Most tokens of prompts and replies together, as the servers count them; 0 sets no limit. The requests in flight when
    /// it is reached are still counted, so that it may be exceeded by theirs.
    pub tokens: u64,
    /// Most money, at the `prompt_price` and `reply_price` of the servers, which must be set; 0 sets no limit. It may be
    /// exceeded likewise.
    pub cost: f64,
    /// What happens when a limit is reached: `pause`, `exclude` or `abort`.
    pub when_spent: WhenSpent,
}

/// What happens when the judge's budget is spent. What is cached is still answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenSpent {
    /// The arm saves a checkpoint and pauses with the reason,
    /// before it trains on the step that could not be judged.
    #[default]
    Pause,
    /// The arm goes on; the verdicts that it can't have any more are missing.
    Exclude,
    /// The arm saves a checkpoint and ends with the reason.
    Abort,
}

impl JudgeBudget {
    /// Whether there is any limit.
    pub fn is_limited(&self) -> bool {
        self.requests > 0 || self.tokens > 0 || self.cost > 0.0
    }
}

impl Default for JudgeBudget {
    fn default() -> Self {
        Self { requests: 0, tokens: 0, cost: 0.0, when_spent: WhenSpent::Pause }
    }
}
