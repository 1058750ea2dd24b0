//! A target that fails on purpose, so that a test can see each kind of finding reported.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::Target;

pub const TARGET: Target = Target {
    name: "self-test",
    dictionary: &["panic", "exit", "memory", "slow", "hang", "stack"],
    longest: 64,
    run,
};

fn run(input: &[u8]) {
    match input {
        b"panic" => panic!("on purpose"),
        b"exit" => std::process::exit(3),
        b"memory" => drop(black_box(vec![1u8; 3 << 29])),
        b"slow" => wait(Duration::from_millis(1500)),
        b"hang" => wait(Duration::from_secs(3600)),
        b"stack" => drop(black_box(deeper(black_box(1)))),
        _ => {}
    }
}

/// Waits without sleeping, as a parser would.
fn wait(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

#[expect(unconditional_recursion, reason = "overflows the stack on purpose")]
fn deeper(depth: u64) -> [u64; 64] {
    let mut below = deeper(black_box(depth + 1));
    below[0] += black_box(depth);
    below
}
