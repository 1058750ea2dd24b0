//! The part of a campaign that runs in a child process: a range of inputs of one target.
//!
//! The child writes the number of each input to a file before it feeds it, so that its parent knows which one ended or
//! stopped it. Panics are caught and printed as [`Finding`]s, one line of JSON each.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::{Finding, FindingKind, Mutator, Target};

/// The place and the message of the last panic.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Feeds the inputs `from..to` to the target and prints what it finds. `progress` is the file for the input's number.
///
/// # Errors
/// The file cannot be written.
pub fn run(
    target: &Target,
    mutator: &Mutator,
    (from, to): (u64, u64),
    limit: Duration,
    progress: &Path,
) -> std::io::Result<()> {
    let progress = OpenOptions::new().write(true).create(true).truncate(false).open(progress)?;
    remember_panics();
    for index in from..to {
        progress.write_all_at(&index.to_le_bytes(), 0)?;
        let input = mutator.input(index);
        if let Some((kind, detail)) = feed(target, &input, limit) {
            let line = serde_json::to_string(&Finding { kind, index, detail }).expect("text and numbers");
            writeln!(std::io::stdout().lock(), "{line}")?;
        }
    }
    progress.write_all_at(&to.to_le_bytes(), 0)
}

/// Feeds one input; what is wrong, if anything is.
pub fn feed(target: &Target, input: &[u8], limit: Duration) -> Option<(FindingKind, String)> {
    let timed = || {
        let begin = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        (outcome, begin.elapsed())
    };
    let (outcome, first) = timed();
    if outcome.is_err() {
        let told = PANIC.lock().map(|told| told.clone()).unwrap_or_default();
        return Some((FindingKind::Panic, told));
    }
    // Another process may have taken the core, so a slow input is tried once more.
    if first > limit {
        let (_, second) = timed();
        let time = first.min(second);
        if time > limit {
            return Some((FindingKind::Slow, format!("{:.1} s", time.as_secs_f64())));
        }
    }
    None
}

/// Keeps the message of each panic instead of printing it. Some parsers catch panics of a library, and then nothing is
/// wrong.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = text.chars().take(400).collect();
        if let Ok(mut told) = PANIC.lock() {
            *told = short;
        }
    }));
}
