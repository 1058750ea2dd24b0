//! The letter that the scripts of AIR-Bench and MMSU read.

/// The letter of a prediction: its first character if that is one of A-D, else the second-to-last one, which finds a
/// letter in "… is B." but not in "… is (B).". `None` if neither is a letter.
///
/// Outer white space is what Python's `str.strip` removes, and line feeds inside are removed after it.
pub(super) fn letter(prediction: &str) -> Option<char> {
    let space = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    let characters: Vec<char> = prediction.trim_matches(space).chars().filter(|&c| c != '\n').collect();
    let known = |c: &&char| ('A'..='D').contains(*c);
    let second_to_last = || characters.iter().rev().nth(1).filter(known);
    characters.first().filter(known).or_else(second_to_last).copied()
}

#[cfg(test)]
mod tests {
    use super::letter;

    #[test]
    fn the_letter_is_the_first_character_or_the_second_to_last() {
        for (prediction, expected) in [
            ("B", Some('B')),
            (" B. cat\n", Some('B')),
            ("the answer is B.", Some('B')),
            ("\x1fB", Some('B')),
            // A line feed inside counts for nothing.
            ("it is C\n.", Some('C')),
            ("Cat", Some('C')),
            ("a b", None),
            ("it is (B)..", None),
            ("E", None),
            ("b", None),
            ("None", None),
            ("", None),
            (" \n ", None),
        ] {
            assert_eq!(letter(prediction), expected, "{prediction:?}");
        }
    }
}
