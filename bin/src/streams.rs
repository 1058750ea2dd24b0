//! Lines on standard output and standard error. Unlike `println!`, they don't panic when the other end is closed, as
//! when a terminal goes away while a run goes on.

use std::fmt::Arguments;
use std::io::{self, Write as _};

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
    let _ = writeln!(io::stdout(), "{line}");
}

pub fn write_err(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a line on standard output, and ends the process if nobody reads it, as with `sandbox ctl watch | head`.
pub fn print_line(line: &str) {
    if writeln!(io::stdout(), "{line}").is_err() {
        leave(0);
    }
}

/// Ends the process without running exit handlers: those of libtorch crash while its threads are still at work.
pub fn leave(code: i32) -> ! {
    let _ = io::stdout().flush();
    let _ = io::stderr().flush();
    signal_hook::low_level::exit(code)
}
