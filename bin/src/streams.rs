//! Lines on standard output and standard error. Unlike `println!`, they don't panic when the other end is closed, as
//! when a terminal goes away while a run goes on. Names, completions, reasons and messages may come from data, the policy or
//! a client, and a terminal obeys what is in them, so every text is printed as [`visible`].
//!
//! - `TERM-1` no text that the program prints can move the cursor, change colours or the title, or reorder a line.

use std::fmt::Arguments;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use records::visible;

use crate::cli::LogFormat;
use crate::json_log;

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
    let text = line.to_string();
    if is_json() {
        write_json(&json_log::of_text(&text));
    } else {
        let _ = writeln!(io::stderr(), "{}", visible(&text));
    }
}

/// Prints a line on standard error that is JSON already, in which nothing steers a terminal.
pub fn write_json(line: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(line));
}

/// Whether what is printed on standard error is JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Sets the format of standard error.
pub fn set_format(format: LogFormat) {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

/// Whether what is printed on standard error is JSON.
pub fn is_json() -> bool {
    JSON.load(Ordering::Relaxed)
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
