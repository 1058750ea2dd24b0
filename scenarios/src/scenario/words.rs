//! Names of keys and lists of names in messages, and advice about unknown names.

/// The names in quotes as an English list: `"a", "b" or "c"`.
pub(crate) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    match (names.pop(), names.is_empty()) {
        (None, _) => String::new(),
        (Some(last), true) => last,
        (Some(last), false) => format!("{} or {last}", names.join(", ")),
    }
}

/// What to write instead of an unknown name: the most similar name, else a list of all known ones
/// after the words `are`.
pub(crate) fn name_advice<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, are: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match rewards::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{are} {}", known.join(", ")),
    }
}

/// Whether a part of a path is an index into a list.
pub(crate) fn is_index(key: &str) -> bool {
    key.parse::<usize>().is_ok()
}

/// A section as it is written in a file, without list indices: `[grpo]`, or `[[arm]]` for an arm's own keys.
pub(crate) fn section_name(path: &[&str]) -> String {
    let keys: Vec<&str> = path.iter().copied().filter(|key| !is_index(key)).collect();
    if keys.is_empty() { "[[arm]]".to_owned() } else { format!("[{}]", keys.join(".")) }
}

/// A key with its section for messages, `` `lr` in [grpo] ``; for a section itself `` `grpo` ``.
pub(crate) fn leaf_name(path: &[&str]) -> String {
    let keys: Vec<&str> = path.iter().copied().filter(|key| !is_index(key)).collect();
    match keys.split_last() {
        None => "this".to_owned(),
        Some((leaf, [])) if !["name", "method", "steps"].contains(leaf) => format!("`{leaf}`"),
        Some((leaf, section)) => format!("`{leaf}` in {}", section_name(section)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_in_english() {
        assert_eq!(quoted_list(["a", "b", "c"]), r#""a", "b" or "c""#);
        assert_eq!(quoted_list(["a"]), r#""a""#);
    }

    #[test]
    fn a_similar_name_is_suggested_else_all_are_listed() {
        assert_eq!(name_advice("stpes", ["seeds", "steps"], "the keys are"), "did you mean `steps`?");
        assert_eq!(name_advice("xyz", ["seeds", "steps"], "the keys are"), "the keys are seeds, steps");
    }
}
