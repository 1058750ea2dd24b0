//! Reads the options of a reward from its `[rewards.NAME]` table into its options struct.

use serde::{Serialize, de::DeserializeOwned};

use crate::{RewardError, did_you_mean};

/// Reads the options of a reward into its options struct. `T` must derive `serde(default)`, and its default must have a
/// TOML form of every field, from which the known keys are taken.
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
/// Errors: A key is unknown; the message names the most similar known one. Or its value does not fit; the message names
/// the key, the value and what is expected.
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
                // The order of a table depends on the features `toml` is built with, so the keys are sorted here.
                let mut keys: Vec<&str> = known.keys().map(String::as_str).collect();
                keys.sort_unstable();
                did_you_mean(option, keys)
            };
            return Err(RewardError::UnknownOption { kind: kind.to_owned(), option: option.clone(), hint });
        }
        // toml's error does not name the key, so each key is first read by itself.
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

/// A [`RewardError::BadOption`] whose value and problem have been put on one line.
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
