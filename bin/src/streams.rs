//! Lines on standard output and standard error. Unlike `println!`, they don't panic when the other end is closed, as
//! when a terminal goes away while a run goes on. Names, completions, reasons and messages may come from data, the policy or
//! a client, and a terminal obeys what is in them, so every text is printed as [`visible`].
//!
//! - `TERM-1` no text that the program prints can move the cursor, change colours or the title, or reorder a line.

use std::fmt::Arguments;
use std::io::{self, Write as _};

use records::visible;

/// Prints a line on standard output. That nobody reads it is no failure of the command.
macro_rules! outln {
    ($($line:tt)*) => { $crate::streams::write_out(format_args!($($line)*)) };
}

/// Prints a line on standard error, likewise.
macro_rules! errln {
    ($($line:tt)*) => { $crate::streams::write_err(format_args!($($line)*)) };
}

pub(crate) use {errln, outln};

pub fn write_out(line: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{}", visible(&line.to_string()));
}

pub fn write_err(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{}", visible(&line.to_string()));
}

/// Prints a line on standard output, and ends the process if nobody reads it, as with `sandbox ctl watch | head`.
pub fn print_line(line: &str) {
    if writeln!(io::stdout(), "{}", visible(line)).is_err() {
        leave(0);
    }
}

/// The width of the terminal that standard output is; without limit if it is a file or a pipe.
pub fn columns() -> usize {
    let terminal = console::Term::stdout();
    if terminal.is_term() { usize::from(terminal.size().1) } else { usize::MAX }
}

/// Ends the process without running exit handlers: those of libtorch crash while its threads are still at work.
pub fn leave(code: i32) -> ! {
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    signal_hook::low_level::exit(code)
}
