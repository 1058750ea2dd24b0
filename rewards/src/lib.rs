//! The rewards of Audio-Thinker (arXiv 2508.08039v3), and a place for your own. Pure: no tensors, no async
//! runtime.
//!
//! The nouns, in the order in which a completion meets them:
//! - a [`Question`] about a clip, and the completion's text, which [`parse_completion`] takes apart into
//!   thinking and answer; [`is_correct`] says whether the answer is the right choice;
//! - a [`Judge`] that reads the thinking and returns a [`Verdict`]; [`RulesJudge`] needs no model;
//! - a [`Reward`] scores every [`RewardItem`] of a [`RewardBatch`], one component of the whole;
//!   [`RewardRegistry`] knows rewards by name;
//! - a [`Formula`] combines the components under [`Weights`] into one number per completion: [`shape`];
//! - [`advantages()`] compares it with the rest of its group.
//!
//! A score that could not be had is `None` all the way, never 0 (REWARD-1): it leaves the group instead of
//! spoiling it.
//!
//! # The standard rewards
//!
//! | kind | score | options (default first) |
//! |---|---|---|
//! | `format` | R_f: 1 for a valid form, else 0 | none |
//! | `accuracy` | 1 for the right answer, else 0 | none |
//! | `adaptive-think` | R_a, Eq. 3-5 | `scope = "step" \| "group" \| "microbatch"` |
//! | `consistency` | R_c, Eq. 6 | `when_wrong = "correct_only" \| "always"` |
//! | `think` | R_t | `scope = "step" \| "group" \| "microbatch"`, `all_no_think = 0.0` |
//!
//! # Writing a reward
//!
//! Implement [`Reward`] and register it under a name; `[rewards.brevity] kind = "brevity"` then uses it, in a `sandbox`
//! whose `main` hands the registry to `sandbox::main_with`: `examples/custom-reward` is one. `docs/plugins.md` has rewards
//! in other languages.
//!
//! ```
//! use rewards::{Reward, RewardBatch, RewardError, RewardRegistry, read_options};
//!
//! /// 1 for an empty completion, falling by `per_token` with each token.
//! #[derive(serde::Serialize, serde::Deserialize)]
//! #[serde(default)]
//! struct Brevity { per_token: f64 }
//!
//! impl Default for Brevity {
//!     fn default() -> Self { Self { per_token: 0.01 } }
//! }
//!
//! impl Reward for Brevity {
//!     fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Option<f64>>, RewardError> {
//!         let score = |tokens: usize| (1.0 - self.per_token * tokens as f64).max(0.0);
//!         Ok(batch.items.iter().map(|item| Some(score(item.completion_tokens))).collect())
//!     }
//! }
//!
//! let mut registry = RewardRegistry::standard();
//! registry.register("brevity", |options| Ok(Box::new(read_options::<Brevity>("brevity", options)?)));
//!
//! let mut brevity = registry.build("brevity", &toml::toml! { per_token = 0.5 })?;
//! # let item = rewards::RewardItem {
//! #     question: Default::default(), group: 0, completion: "<answer>dog</answer>".into(),
//! #     parsed: rewards::parse_completion("<answer>dog</answer>", &Default::default()),
//! #     correct: true, completion_tokens: 1, truncated: false, duration_seconds: None,
//! #     verdict: None,
//! # };
//! # let batch = RewardBatch { step: 1, total_steps: 10, group_size: 1, microbatch: 0, items: vec![item] };
//! assert_eq!(brevity.score(&batch)?, [Some(0.5)]); // a completion of one token
//! # Ok::<(), RewardError>(())
//! ```

pub mod advantages;
pub mod completion;
pub mod error;
pub mod formula;
pub mod judge;
pub mod matching;
pub mod question;
pub mod registry;
pub mod reward;
pub mod shaping;
pub mod statistics;

pub use advantages::{AdvantageOptions, Advantages, Scale, advantages};
pub use completion::{Mode, ParsedCompletion, ParserOptions, parse_completion};
pub use error::{RewardError, did_you_mean, nearest};
pub use formula::{Formula, FormulaError, terms::Term};
pub use judge::{
    Judge, JudgeRequest, Verdict,
    failure::{FailureCause, JudgeFailure},
    rules::RulesJudge,
};
pub use matching::{answer_matches, is_correct};
pub use question::{Difficulty, Question};
pub use registry::{RewardRegistry, read_options};
pub use reward::{Reward, RewardBatch, RewardItem};
pub use shaping::{Weights, shape};
pub use statistics::Scope;

#[cfg(test)]
mod fixtures;
