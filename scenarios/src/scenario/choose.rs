//! Which arms the patterns of `--arm` select.

use std::collections::BTreeSet;

use wildmatch::WildMatch;

use super::overrides::unknown_arm;
use crate::error::{Place, ScenarioError};

/// The characters of a pattern that stand for others: any text, and any one character. No arm's name contains them.
const WILD: [char; 2] = ['*', '?'];

/// The names that the patterns of `--arm` select. A pattern is a name, or has `*` for any text and `?` for any one
/// character; one that begins with `!` takes names away. Without a pattern that selects, all names are selected.
///
/// ```
/// let arms = ["base", "grpo", "grpo+atar"].map(str::to_owned);
/// let chosen = scenarios::choose_arms(&["grpo*".to_owned(), "!grpo".to_owned()], &arms)?;
/// assert!(chosen.iter().eq(["grpo+atar"]));
/// # Ok::<(), scenarios::ScenarioError>(())
/// ```
///
/// Errors: a pattern matches no name, or none is left.
pub fn choose_arms(patterns: &[String], names: &[String]) -> Result<BTreeSet<String>, ScenarioError> {
    let (excluding, selecting): (Vec<&String>, Vec<&String>) =
        patterns.iter().partition(|pattern| pattern.starts_with('!'));
    let mut chosen = BTreeSet::new();
    for pattern in &selecting {
        chosen.extend(matches(pattern, pattern, names)?);
    }
    if selecting.is_empty() {
        chosen.extend(names.iter().cloned());
    }
    for pattern in excluding {
        for name in matches(pattern, pattern.trim_start_matches('!'), names)? {
            chosen.remove(&name);
        }
    }
    if chosen.is_empty() && !names.is_empty() {
        let place = Place::Argument(
            patterns.iter().map(|pattern| format!("--arm {pattern}")).collect::<Vec<_>>().join(" "),
        );
        let instead = format!("leave a pattern with `!` out; the arms are {}", names.join(", "));
        return Err(ScenarioError::at(&place, "every arm is excluded", instead));
    }
    Ok(chosen)
}

/// The names that a pattern matches, at least one. `argument` is the pattern as it was written.
fn matches(argument: &str, pattern: &str, names: &[String]) -> Result<Vec<String>, ScenarioError> {
    let wild = WildMatch::new(pattern);
    let found: Vec<String> = names.iter().filter(|name| wild.matches(name)).cloned().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let place = Place::Argument(format!("--arm {argument}"));
    if !pattern.contains(WILD) {
        return Err(unknown_arm(&place, pattern, names));
    }
    let list = names.join(", ");
    let instead = match rewards::nearest(&pattern.replace(WILD, ""), names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`? The arms are {list}"),
        None => format!("the arms are {list}"),
    };
    Err(ScenarioError::at(&place, format!("no arm matches `{pattern}`"), instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(patterns: &[&str]) -> Result<Vec<String>, String> {
        let names = ["base", "sft", "sft+cot", "grpo", "grpo+cot", "grpo+atar"].map(str::to_owned);
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        choose_arms(&patterns, &names)
            .map(|chosen| chosen.into_iter().collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_pattern_selects_the_names_that_it_matches_as_a_whole() {
        assert_eq!(chosen(&["grpo"]).unwrap(), ["grpo"]);
        assert_eq!(chosen(&["grpo*"]).unwrap(), ["grpo", "grpo+atar", "grpo+cot"]);
        assert_eq!(chosen(&["*cot", "bas?"]).unwrap(), ["base", "grpo+cot", "sft+cot"]);
        assert_eq!(chosen(&[]).unwrap().len(), 6);
    }

    #[test]
    fn an_exclamation_mark_takes_names_away_whatever_the_order() {
        assert_eq!(chosen(&["!*cot", "!grpo*"]).unwrap(), ["base", "sft"]);
        assert_eq!(chosen(&["!grpo", "grpo*"]).unwrap(), ["grpo+atar", "grpo+cot"]);
        let error = chosen(&["grpo", "!grpo*"]).unwrap_err();
        assert!(error.starts_with("--arm grpo --arm !grpo*: every arm is excluded; "), "{error}");
    }

    #[test]
    fn a_pattern_without_a_match_is_refused_with_the_nearest_name_and_all_arms() {
        let arms = "The arms are base, sft, sft+cot, grpo, grpo+cot, grpo+atar";
        assert_eq!(
            chosen(&["gpro*"]).unwrap_err(),
            format!("--arm gpro*: no arm matches `gpro*`; did you mean `grpo`? {arms}")
        );
        assert_eq!(
            chosen(&["!grop"]).unwrap_err(),
            format!("--arm !grop: there is no arm `grop`; did you mean `grpo`? {arms}")
        );
        let error = chosen(&["x*"]).unwrap_err();
        assert!(error.starts_with("--arm x*: no arm matches `x*`; the arms are base,"), "{error}");
    }
}
