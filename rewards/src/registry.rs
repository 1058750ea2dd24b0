//! Rewards by name: how the `kind` of a `[rewards.NAME]` table becomes a [`Reward`].
//!
//! [`RewardRegistry::standard`] knows the paper's five; a researcher registers their own beside them.

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};

use crate::reward::{accuracy, adaptive_think, consistency, format, think};
use crate::{Reward, RewardError, did_you_mean};

type Factory = Box<dyn Fn(&toml::Table) -> Result<Box<dyn Reward>, RewardError> + Send + Sync>;

/// Rewards that can be built by name.
#[derive(Default)]
pub struct RewardRegistry {
    factories: BTreeMap<String, Factory>,
}

impl RewardRegistry {
    /// A registry that knows no reward yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry that knows the rewards of the paper: `format`, `accuracy`, `adaptive-think`, `consistency`,
    /// `think`.
    pub fn standard() -> Self {
        let mut registry = Self::new();
        registry.register(format::KIND, |options| Ok(Box::new(format::Format::from_options(options)?)));
        registry.register(accuracy::KIND, |options| Ok(Box::new(accuracy::Accuracy::from_options(options)?)));
        registry.register(adaptive_think::KIND, |options| {
            Ok(Box::new(adaptive_think::AdaptiveThink::from_options(options)?))
        });
        registry.register(consistency::KIND, |options| {
            Ok(Box::new(consistency::Consistency::from_options(options)?))
        });
        registry.register(think::KIND, |options| Ok(Box::new(think::Think::from_options(options)?)));
        registry
    }

    /// Makes a reward known under a name. The options are its `[rewards.NAME]` table without `kind`. A name
    /// that is known already now means the new reward.
    pub fn register<F>(&mut self, kind: impl Into<String>, factory: F)
    where
        F: Fn(&toml::Table) -> Result<Box<dyn Reward>, RewardError> + Send + Sync + 'static,
    {
        self.factories.insert(kind.into(), Box::new(factory));
    }

    /// Builds a reward.
    ///
    /// # Errors
    /// The name is not known, or the reward cannot use its options; the message says what to write instead.
    pub fn build(&self, kind: &str, options: &toml::Table) -> Result<Box<dyn Reward>, RewardError> {
        match self.factories.get(kind) {
            Some(factory) => factory(options),
            None => Err(RewardError::UnknownKind {
                kind: kind.to_owned(),
                hint: did_you_mean(kind, self.names()),
            }),
        }
    }

    /// The names known, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }
}

impl std::fmt::Debug for RewardRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.factories.keys()).finish()
    }
}

/// Reads the options of a reward into its options struct (`serde(default)`, every field present in its TOML
/// form).
///
/// ```
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// #[serde(default)]
/// struct BrevityOptions { per_token: f64 }
///
/// let typo = toml::toml! { per_tokn = 0.01 };
/// let error = rewards::read_options::<BrevityOptions>("brevity", &typo).err().unwrap();
/// assert_eq!(
///     error.to_string(),
///     "reward kind `brevity` has no option `per_tokn`; did you mean `per_token`? (known: per_token)",
/// );
/// ```
///
/// # Errors
/// A key is unknown (the nearest is named) or its value is unusable (key, value and what is expected are
/// named).
pub fn read_options<T>(kind: &str, options: &toml::Table) -> Result<T, RewardError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let known = toml::Table::try_from(T::default()).unwrap_or_default();
    for (option, value) in options {
        if !known.contains_key(option) {
            let hint = if known.is_empty() {
                "; it takes none".to_owned()
            } else {
                // Sorted, for the order of a table depends on the features `toml` is built with.
                let mut keys: Vec<&str> = known.keys().map(String::as_str).collect();
                keys.sort_unstable();
                did_you_mean(option, keys)
            };
            return Err(RewardError::UnknownOption { kind: kind.to_owned(), option: option.clone(), hint });
        }
        // Each key is read by itself first, so that the message can name it.
        let alone = toml::Table::from_iter([(option.clone(), value.clone())]);
        if let Err(problem) = alone.try_into::<T>() {
            return Err(bad_option(kind, option, value, problem.message()));
        }
    }
    options
        .clone()
        .try_into()
        .map_err(|problem: toml::de::Error| RewardError::Failed(one_line(problem.message())))
}

/// A [`RewardError::BadOption`] in one line.
pub fn bad_option(kind: &str, option: &str, value: &toml::Value, problem: &str) -> RewardError {
    RewardError::BadOption {
        kind: kind.to_owned(),
        option: option.to_owned(),
        value: one_line(&value.to_string()),
        problem: one_line(problem),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RewardBatch;

    #[test]
    fn the_standard_rewards_are_known_and_build_without_options() {
        let registry = RewardRegistry::standard();
        let names: Vec<&str> = registry.names().collect();
        assert_eq!(names, ["accuracy", "adaptive-think", "consistency", "format", "think"]);
        for name in names {
            let mut reward = registry.build(name, &toml::Table::new()).unwrap();
            assert_eq!(reward.score(&RewardBatch::default()).unwrap(), [], "no items, no scores");
            assert_eq!(reward.needs_verdict(), matches!(name, "consistency" | "think"));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let error = RewardRegistry::standard().build("adaptive_thnk", &toml::Table::new()).err().unwrap();
        assert_eq!(
            error.to_string(),
            "no reward kind is called `adaptive_thnk`; did you mean `adaptive-think`? \
             (known: accuracy, adaptive-think, consistency, format, think)",
        );
        let error = RewardRegistry::new().build("think", &toml::Table::new()).err().unwrap();
        assert_eq!(error.to_string(), "no reward kind is called `think`; there is none to name");
    }

    #[test]
    fn option_errors_name_the_key() {
        let registry = RewardRegistry::standard();
        let error =
            |kind: &str, options: toml::Table| registry.build(kind, &options).err().unwrap().to_string();
        assert_eq!(
            error("consistency", toml::toml! { when_wrng = "always" }),
            "reward kind `consistency` has no option `when_wrng`; did you mean `when_wrong`? (known: when_wrong)",
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
            error("accuracy", toml::toml! { x = 1 }),
            "reward kind `accuracy` has no option `x`; it takes none"
        );
    }

    #[test]
    fn a_name_registered_again_means_the_new_reward() {
        let mut registry = RewardRegistry::standard();
        registry.register("format", |_| Err(RewardError::Failed("replaced".to_owned())));
        let error = registry.build("format", &toml::Table::new()).err().unwrap();
        assert_eq!(error, RewardError::Failed("replaced".to_owned()));
    }
}
