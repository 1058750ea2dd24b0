//! Builds rewards by name: turns the `kind` of a `[rewards.NAME]` table into a [`Reward`].
//!
//! [`RewardRegistry::standard`] has the five rewards of the paper; [`RewardRegistry::register`] adds others.

use std::collections::BTreeMap;

use crate::{Reward, RewardError, did_you_mean};

type Factory = Box<dyn Fn(&toml::Table) -> Result<Box<dyn Reward>, RewardError> + Send + Sync>;

/// Rewards that can be built by name.
#[derive(Default)]
pub struct RewardRegistry {
    factories: BTreeMap<String, Factory>,
}

impl RewardRegistry {
    /// A registry without any reward.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a reward under a name. `factory` gets the reward's `[rewards.NAME]` table without `kind`. A second
    /// registration under the same name replaces the first.
    pub fn register<F>(&mut self, kind: impl Into<String>, factory: F)
    where
        F: Fn(&toml::Table) -> Result<Box<dyn Reward>, RewardError> + Send + Sync + 'static,
    {
        self.factories.insert(kind.into(), Box::new(factory));
    }

    /// Builds the reward that is registered as `kind`, with these options.
    ///
    /// Errors: No reward is registered under this name, or the reward refuses its options.
    pub fn build(&self, kind: &str, options: &toml::Table) -> Result<Box<dyn Reward>, RewardError> {
        match self.factories.get(kind) {
            Some(factory) => factory(options),
            None => Err(RewardError::UnknownKind {
                kind: kind.to_owned(),
                hint: did_you_mean(kind, self.names()),
            }),
        }
    }

    /// The registered names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for RewardRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.factories.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let error = RewardRegistry::standard().build("adaptive_thnk", &toml::Table::new()).err().unwrap();
        assert_eq!(
            error.to_string(),
            "no reward kind is called `adaptive_thnk`; did you mean `adaptive-think`? \
             (known: accuracy, ada-grpo, adapt-think, adaptive-think, answer-from-caption, caption-grounding, consistency, \
             cosine, format, listwise, overlong, pairwise, repetition, rubric, think, think-budget, thinkless)",
        );
        let error = RewardRegistry::new().build("think", &toml::Table::new()).err().unwrap();
        assert_eq!(error.to_string(), "no reward kind is called `think`; none is registered");
    }

    #[test]
    fn a_name_registered_again_means_the_new_reward() {
        let mut registry = RewardRegistry::standard();
        registry.register("format", |_| Err(RewardError::Failed("replaced".to_owned())));
        let error = registry.build("format", &toml::Table::new()).err().unwrap();
        assert_eq!(error, RewardError::Failed("replaced".to_owned()));
    }
}
