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

    /// A registry that knows the rewards of the paper: `format`, `accuracy`, `adaptive-think`, `consistency`, `think`.
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

    /// Makes a reward known under a name. The options are its `[rewards.NAME]` table without `kind`. A name that is
    /// known already now means the new reward.
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

/// Reads the options of a reward into its options struct (`serde(default)`, every field present in its TOML form).
///
/// ```
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// #[serde(default)]
/// struct BrevityOptions { per_token: f64 }
///
/// let typo = toml::toml! { per_tokn = 0.01 };
/// let error = rewards::read_options::<BrevityOptions>("brevity", &typo).map(|_| ()).unwrap_err().to_string();
/// assert_eq!(error, "reward kind `brevity` has no option `per_tokn`; did you mean `per_token`? (known: per_token)");
/// ```
///
/// # Errors
/// A key is unknown (the nearest is named) or its value is unusable (key, value and what is expected are named).
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
                did_you_mean(option, known.keys().map(String::as_str))
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
