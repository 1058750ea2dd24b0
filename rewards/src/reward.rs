//! The [`Reward`] trait, the [`RewardBatch`] it scores, and the rewards of the paper, one per file.
//!
//! To add a reward here, write its file, then declare its module and register it below.

use crate::RewardRegistry;

pub mod accuracy;
pub mod ada_grpo;
pub mod adapt_think;
pub mod adaptive_think;
pub mod answer_from_caption;
mod batch;
pub mod caption_grounding;
pub mod consistency;
pub mod cosine;
pub mod format;
mod length;
pub mod listwise;
pub mod overlong;
pub mod pairwise;
mod ranked;
pub mod repetition;
pub mod rubric;
pub mod think;
pub mod think_budget;
pub mod thinkless;

pub use batch::{Reward, RewardBatch, RewardItem};

impl RewardRegistry {
    /// A registry with the rewards of the paper, `format`, `accuracy`, `adaptive-think`, `consistency` and `think`, with
    /// rewards for length, `cosine`, `overlong`, `repetition` and `think-budget`, and with rivals of `adaptive-think`: `ada-grpo`,
    /// `adapt-think` and `thinkless`. `rubric`, `listwise`, `pairwise`, `caption-grounding` and
    /// `answer-from-caption` ask a judge's server for more than a verdict.
    pub fn standard() -> Self {
        let mut registry = Self::new();
        registry.register(accuracy::KIND, |options| Ok(Box::new(accuracy::Accuracy::from_options(options)?)));
        registry.register(ada_grpo::KIND, |options| Ok(Box::new(ada_grpo::AdaGrpo::from_options(options)?)));
        registry.register(adapt_think::KIND, |options| {
            Ok(Box::new(adapt_think::AdaptThink::from_options(options)?))
        });
        registry.register(adaptive_think::KIND, |options| {
            Ok(Box::new(adaptive_think::AdaptiveThink::from_options(options)?))
        });
        registry.register(consistency::KIND, |options| {
            Ok(Box::new(consistency::Consistency::from_options(options)?))
        });
        registry.register(cosine::KIND, |options| Ok(Box::new(cosine::Cosine::from_options(options)?)));
        registry.register(format::KIND, |options| Ok(Box::new(format::Format::from_options(options)?)));
        registry.register(answer_from_caption::KIND, |options| {
            Ok(Box::new(answer_from_caption::AnswerFromCaption::from_options(options)?))
        });
        registry.register(caption_grounding::KIND, |options| {
            Ok(Box::new(caption_grounding::CaptionGrounding::from_options(options)?))
        });
        registry.register(listwise::KIND, |options| Ok(Box::new(listwise::Listwise::from_options(options)?)));
        registry.register(pairwise::KIND, |options| Ok(Box::new(pairwise::Pairwise::from_options(options)?)));
        registry.register(overlong::KIND, |options| Ok(Box::new(overlong::Overlong::from_options(options)?)));
        registry.register(repetition::KIND, |options| {
            Ok(Box::new(repetition::Repetition::from_options(options)?))
        });
        registry.register(rubric::KIND, |options| Ok(Box::new(rubric::RubricReward::from_options(options)?)));
        registry.register(think_budget::KIND, |options| {
            Ok(Box::new(think_budget::ThinkBudget::from_options(options)?))
        });
        registry
            .register(thinkless::KIND, |options| Ok(Box::new(thinkless::Thinkless::from_options(options)?)));
        registry.register(think::KIND, |options| Ok(Box::new(think::Think::from_options(options)?)));
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_rewards_are_known_and_build_without_options() {
        let registry = RewardRegistry::standard();
        let names: Vec<&str> = registry.names().collect();
        assert_eq!(
            names,
            [
                "accuracy",
                "ada-grpo",
                "adapt-think",
                "adaptive-think",
                "answer-from-caption",
                "caption-grounding",
                "consistency",
                "cosine",
                "format",
                "listwise",
                "overlong",
                "pairwise",
                "repetition",
                "rubric",
                "think",
                "think-budget",
                "thinkless"
            ]
        );
        for name in names {
            let mut reward = registry.build(name, &toml::Table::new()).unwrap();
            assert_eq!(reward.score(&RewardBatch::default()).unwrap(), [], "no items, no scores");
            assert_eq!(reward.needs_verdict(), matches!(name, "consistency" | "think"));
        }
    }

    #[test]
    fn option_errors_name_the_key() {
        let registry = RewardRegistry::standard();
        let error =
            |kind: &str, options: toml::Table| registry.build(kind, &options).err().unwrap().to_string();
        assert_eq!(
            error("consistency", toml::toml! { when_wrng = "always" }),
            "reward kind `consistency` has no option `when_wrng`; did you mean `when_wrong`? (known: reading, when_wrong)",
        );
        assert_eq!(
            error("consistency", toml::toml! { when_wrong = "allways" }),
            "reward kind `consistency`: `when_wrong = \"allways\"` cannot be used: \
             unknown variant `allways`, expected `correct_only` or `always`",
        );
        assert_eq!(
            error("format", toml::toml! { weight = 1 }),
            "reward kind `format` has no option `weight`; it takes none"
        );
        assert_eq!(
            error("accuracy", toml::toml! { reading = "loose" }),
            "reward kind `accuracy`: `reading = \"loose\"` cannot be used: \
             unknown variant `loose`, expected one of `strict`, `official`, `lenient`"
        );
    }
}
