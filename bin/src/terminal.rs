//! What this program prints. Names, completions, reasons and messages may come from data, the policy or a client, and a
//! terminal obeys what is in them. So `println!`, `print!` and `eprintln!` of this crate are the ones below, which print
//! every text as [`visible`].
//!
//! - `TERM-1` no text that the program prints can move the cursor, change colours or the title, or reorder a line.

use std::fmt;

use records::visible;

/// A text to print, made safe.
pub fn safe(text: fmt::Arguments<'_>) -> String {
    visible(&text.to_string()).into_owned()
}

/// Prints a line on standard output.
macro_rules! println {
    () => { ::std::println!() };
    ($($text:tt)*) => { ::std::println!("{}", $crate::terminal::safe(::std::format_args!($($text)*))) };
}

/// Prints a text on standard output.
macro_rules! print {
    ($($text:tt)*) => { ::std::print!("{}", $crate::terminal::safe(::std::format_args!($($text)*))) };
}

/// Prints a line on standard error.
macro_rules! eprintln {
    ($($text:tt)*) => { ::std::eprintln!("{}", $crate::terminal::safe(::std::format_args!($($text)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_printed_as_text() {
        let name = "grpo\u{1b}[31m\u{9b}2J\u{7}\u{202e}";
        assert_eq!(safe(format_args!("error: {name}\n")), "error: grpo\\u001b[31m\\u009b2J\\u0007\\u202e\n");
        assert_eq!(safe(format_args!("done")), "done");
    }
}
