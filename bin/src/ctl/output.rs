//! Lines on standard output.

use std::io::{self, Write as _};

use records::visible;

/// Prints a line; ends the process if standard output is closed, as with `sandbox ctl watch | head`.
pub fn print_line(line: &str) {
    if writeln!(io::stdout(), "{}", visible(line)).is_err() {
        std::process::exit(0);
    }
}
