//! The error of rewards, and the search for the name that was probably meant by an unknown one.

use thiserror::Error;

/// Why a reward could not be built or could not score.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RewardError {
    /// No reward is registered under this name.
    #[error("no reward kind is called `{kind}`{hint}")]
    UnknownKind {
        /// The name that is not registered.
        kind: String,
        /// The most similar name and all registered ones, from [`did_you_mean`].
        hint: String,
    },
    /// The options table has a key that is not an option of the reward.
    #[error("reward kind `{kind}` has no option `{option}`{hint}")]
    UnknownOption {
        /// The reward's registered name.
        kind: String,
        /// The key that is not an option.
        option: String,
        /// The most similar option and all others, from [`did_you_mean`].
        hint: String,
    },
    /// An option has a value that the reward cannot use.
    #[error("reward kind `{kind}`: `{option} = {value}` cannot be used: {problem}")]
    BadOption {
        /// The reward's registered name.
        kind: String,
        /// The key of the option.
        option: String,
        /// The value as TOML, on one line.
        value: String,
        /// Why it cannot be used, and what to write instead.
        problem: String,
    },
    /// The reward could not score the batch at all. An item without a score is `None` instead.
    #[error("{0}")]
    Failed(String),
}

/// The candidate that is most similar to `name`, if one has a normalized Damerau-Levenshtein similarity of at least
/// 0.5. Case and the difference between `-` and `_` are ignored.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(&str, f64)> = None;
    for candidate in candidates {
        let likeness = strsim::normalized_damerau_levenshtein(&fold(name), &fold(candidate));
        if likeness >= 0.5 && best.is_none_or(|(_, most)| likeness > most) {
            best = Some((candidate, likeness));
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// The end of a message about an unknown name: `; did you mean `X`? (known: A, B, X)`.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = candidates.into_iter().collect();
    if known.is_empty() {
        return "; none is registered".to_owned();
    }
    let listed = known.join(", ");
    match nearest(name, known) {
        Some(meant) => format!("; did you mean `{meant}`? (known: {listed})"),
        None => format!(" (known: {listed})"),
    }
}

/// The name in lower case with `_` for `-`, cut off after 100 characters to bound the cost of the comparison.
fn fold(name: &str) -> String {
    name.chars().take(100).flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let known = ["accuracy", "adaptive-think", "consistency", "format", "think"];
        assert_eq!(nearest("thnik", known), Some("think"));
        assert_eq!(nearest("Adaptive_Think", known), Some("adaptive-think"));
        assert_eq!(nearest("xyzzy", known), None);
    }

    #[test]
    fn the_hint_lists_what_there_is_in_one_line() {
        assert_eq!(
            did_you_mean("forma", ["format", "think"]),
            "; did you mean `format`? (known: format, think)"
        );
        assert_eq!(did_you_mean("xyzzy", ["format", "think"]), " (known: format, think)");
        assert_eq!(did_you_mean("x", []), "; none is registered");
    }
}
