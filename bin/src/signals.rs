//! Ctrl-C, SIGTERM and SIGHUP: the first stops the run after a checkpoint, the second Ctrl-C or SIGTERM ends the process at
//! once. Both end with exit code 130.
//!
//! A thread of its own waits for them until the process ends, so that a signal is heard while the run ends, too.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

use crate::failure::{Failure, INTERRUPTED};
use crate::progress::Screen;
use crate::streams::leave;

/// Turns `stop` true at the first signal, and then prints `what` happens.
pub fn stop_on_signal(stop: watch::Sender<bool>, screen: Screen, what: &'static str) -> Result<(), Failure> {
    let mut wanted = vec![SIGINT, SIGTERM];
    // `nohup` ignores it, so that the run outlives its terminal.
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let failed = |error| Failure::Running(format!("signals can't be received: {error}"));
    let mut signals = Signals::new(wanted).map_err(failed)?;
    let wait = move || {
        for signal in &mut signals {
            if !stop.send_replace(true) {
                screen.line(&format!("{what}; interrupt again to exit immediately"));
            } else if signal != SIGHUP {
                // A terminal that closes may send SIGHUP more than once.
                leave(INTERRUPTED);
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// Lets this process outlast the first signal, after which rank 0 finishes its step with it; the second one ends it.
pub fn outlast_one_signal() -> Result<(), Failure> {
    let failed = |error| Failure::Running(format!("signals can't be received: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let wait = move || {
        let mut first = true;
        for signal in &mut signals {
            if !std::mem::take(&mut first) && signal != SIGHUP {
                leave(INTERRUPTED);
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// Whether the process was started with this signal ignored, as the mask `SigIgn` of `/proc/self/status` says.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
