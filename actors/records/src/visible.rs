//! Text from strangers, such as completions, data, file names and requests, in a form that is safe to print.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with every character that a terminal would obey written as its code, as in `\u001b`. These are the control
/// characters except line breaks and tabs, and those that change the direction of writing.
///
/// JSON stays JSON: there such characters only occur inside strings, and the code is JSON's own.
///
/// ```
/// assert_eq!(records::visible("a\u{1b}[2Jb"), "a\\u001b[2Jb");
/// ```
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_obeyed(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_in_any_script_is_not_changed() {
        for text in ["", "a\n\tb", "дог 狗 🐕 كلب é", "👩\u{200d}🔬"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_written_as_its_code() {
        let clear = "a\u{1b}]0;title\u{7}\u{9b}2J\rb\u{202e}c\u{0}\u{7f}";
        assert_eq!(visible(clear), r"a\u001b]0;title\u0007\u009b2J\u000db\u202ec\u0000\u007f");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a\u{202e}": "\u{9b}31m\u{1b}\n"});
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = visible(&text);
            assert!(!shown.contains(['\u{9b}', '\u{202e}']), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
