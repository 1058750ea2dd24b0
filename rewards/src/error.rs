//! What can go wrong with a reward, said in one line, and the nearest name to a mistyped one.

use thiserror::Error;

/// Why a reward could not be built or could not score.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RewardError {
    /// No reward is registered under this name.
    #[error("no reward kind is called `{kind}`{hint}")]
    UnknownKind {
        /// The name asked for.
        kind: String,
        /// The nearest name and the ones there are, from [`did_you_mean`].
        hint: String,
    },
    /// The options table holds a key the reward does not know.
    #[error("reward kind `{kind}` has no option `{option}`{hint}")]
    UnknownOption {
        /// The reward.
        kind: String,
        /// The key.
        option: String,
        /// The nearest key and the ones there are, from [`did_you_mean`].
        hint: String,
    },
    /// An option has a value the reward cannot use.
    #[error("reward kind `{kind}`: `{option} = {value}` cannot be used: {problem}")]
    BadOption {
        /// The reward.
        kind: String,
        /// The key.
        option: String,
        /// The value, as TOML.
        value: String,
        /// What to write instead.
        problem: String,
    },
    /// The reward could not score the batch at all. A single score that could not be had is `None` instead.
    #[error("{0}")]
    Failed(String),
}

/// The candidate most like `name`, if any is like it at all: half of the longer of the two has to agree.
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

/// `; did you mean `X`? (known: A, B, X)`, to be put after a sentence about an unknown name.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = candidates.into_iter().collect();
    if known.is_empty() {
        return "; there is none to name".to_owned();
    }
    let listed = known.join(", ");
    match nearest(name, known) {
        Some(meant) => format!("; did you mean `{meant}`? (known: {listed})"),
        None => format!(" (known: {listed})"),
    }
}

/// Case and the choice of dash or underscore are no reason to call two names unlike.
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
        assert_eq!(did_you_mean("x", []), "; there is none to name");
    }
}
