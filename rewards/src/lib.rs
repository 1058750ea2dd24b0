//! The paper's rewards: completion parser, reward components, shaping formula, advantages. Pure: no tensors, no async runtime.

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
pub use formula::{Formula, FormulaError};
pub use judge::{Judge, JudgeRequest, Verdict, rules::RulesJudge};
pub use matching::{answer_matches, is_correct};
pub use question::{Difficulty, Question};
pub use registry::{RewardRegistry, read_options};
pub use reward::{Reward, RewardBatch, RewardItem};
pub use shaping::{Weights, shape};
pub use statistics::Scope;
