//! Names in messages: lists, and the name that was probably meant.

/// `"a", "b" or "c"`.
pub(crate) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    match (names.pop(), names.is_empty()) {
        (None, _) => String::new(),
        (Some(last), true) => last,
        (Some(last), false) => format!("{} or {last}", names.join(", ")),
    }
}

/// What to write instead of an unknown name: the nearest one, else all there are.
pub(crate) fn name_advice<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, are: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match rewards::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{are} {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_as_english() {
        assert_eq!(quoted_list(["a", "b", "c"]), r#""a", "b" or "c""#);
        assert_eq!(quoted_list(["a"]), r#""a""#);
    }

    #[test]
    fn a_near_name_is_offered_else_all_are_listed() {
        assert_eq!(name_advice("stpes", ["seeds", "steps"], "the keys are"), "did you mean `steps`?");
        assert_eq!(name_advice("xyz", ["seeds", "steps"], "the keys are"), "the keys are seeds, steps");
    }
}
