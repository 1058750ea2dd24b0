//! The rewards of Audio-Thinker (arXiv 2508.08039v3) and the trait to implement for your own. The crate is pure: it
//! uses neither tensors nor an async runtime.
//!
//! A completion passes through these types in this order:
//! - [`parse_completion`] splits the completion's text into thinking and answer, and [`Readings`] compares the answer with
//!   the right choice of the [`Question`], in three ways;
//! - a [`Judge`] grades the thinking and returns a [`Verdict`]; [`RulesJudge`] does so without a model;
//! - each [`Reward`] scores every [`RewardItem`] of a [`RewardBatch`]; its scores are one component of the reward.
//!   [`RewardRegistry`] builds rewards by name;
//! - [`shape`] evaluates the [`Formula`] with the current [`Weights`] and turns the components into
//!   one reward per completion;
//! - [`advantages()`] compares each reward with the other rewards of its group.
//!
//! A missing score is `None` at every stage and never 0 (REWARD-1). A completion without a reward is excluded from its
//! group, so that it does not bias the group's mean.
//!
//! # The standard rewards
//!
//! | kind | score | options (default first) |
//! |---|---|---|
//! | `format` | R_f: 1 if the completion is well-formed, else 0 | none |
//! | `accuracy` | 1 if the answer is right, else 0 | none |
//! | `adaptive-think` | R_a, Eq. 3-5 | `scope = "step" \| "group" \| "microbatch"`, `balance = true` |
//! | `consistency` | R_c, Eq. 6 | `when_wrong = "correct_only" \| "always"` |
//! | `overlong` | 0 to −1 for a completion near the greatest length | `max_tokens = 0`, `cache = 16` |
//! | `repetition` | 0 to −1 for repeated n-grams of words | `ngram = 3` |
//! | `answer-from-caption` | 1 if the answer follows from the thinking alone | `tag = ""`, `target = "completion"`, … |
//! | `caption-grounding` | share of the statements about the clip that its caption supports | `column = "caption"`, … |
//! | `listwise` | the rank within the group | `orders = 1`, … |
//! | `pairwise` | the share of comparisons won within the group | `pairs = 0`, `score = "win_rate"`, … |
//! | `rubric` | the thinking by a rubric, if the answer is right | `raters = 5`, `trim = 1`, … |
//! | `think-budget` | 0 to −1 for thinking beyond a budget | `budget = 32`, `cache = 16` |
//! | `think` | R_t | `scope = "step" \| "group" \| "microbatch"`, `all_no_think = 0.0` |
//!
//! # Writing a reward
//!
//! Implement [`Reward`] and register it under a name. A scenario then uses it with `[rewards.brevity] kind =
//! "brevity"`, in a `sandbox` whose `main` passes the registry to `sandbox::main_with`; see `examples/custom-reward`.
//! `docs/plugins.md` describes rewards in other languages.
//!
//! ```
//! use rewards::{Reward, RewardBatch, RewardError, RewardRegistry, read_options};
//!
//! /// 1 for an empty completion, minus `per_token` for each token.
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
//! #     readings: Default::default(), completion_tokens: 1, completion_ids: vec![], think_tokens: 0, truncated: false,
//! #     duration_seconds: None, verdict: None, graded: vec![],
//! # };
//! # let batch = RewardBatch { step: 1, total_steps: 10, group_size: 1, items: vec![item], ..RewardBatch::default() };
//! assert_eq!(brevity.score(&batch)?, [Some(0.5)]); // a completion of one token
//! # Ok::<(), RewardError>(())
//! ```

pub mod advantages;
mod agreement;
pub mod completion;
pub mod degeneracy;
pub mod error;
pub mod formula;
pub mod judge;
mod lenient;
pub mod matching;
pub mod numbers;
pub mod official;
mod official_rule;
pub mod options;
pub mod question;
pub mod readings;
pub mod registry;
pub mod reward;
mod shaped;
pub mod shaping;
pub mod statistics;
mod text;
pub mod weights;

pub use advantages::{
    AdvantageOptions, Advantages, Estimator, Part, Scale, advantages, decoupled_advantages,
    hybrid_advantages, weighted_parts,
};
pub use agreement::Agreement;
pub use completion::{Mode, ParsedCompletion, ParserOptions, parse_completion};
pub use error::{RewardError, did_you_mean, nearest};
pub use formula::{Formula, FormulaError, terms::Term};
pub use judge::{
    Judge, JudgeRequest, Verdict,
    failure::{FailureCause, JudgeFailure},
    numbered::ORDINALS,
    rubric::Rubric,
    rules::RulesJudge,
    task::{Graded, JudgeTask},
};
pub use matching::{answer_matches, is_correct};
pub use official_rule::OfficialRule;
pub use options::read_options;
pub use question::{Difficulty, Question};
pub use readings::{Reading, Readings};
pub use registry::RewardRegistry;
pub use reward::{Reward, RewardBatch, RewardItem};
pub use shaped::shaped_advantages;
pub use shaping::shape;
pub use statistics::Scope;
pub use weights::Weights;

#[cfg(test)]
mod fixtures;
