//! Random histories: what somebody does to a run, and when it is killed.

use rand::Rng;
use rand::rngs::StdRng;

/// A step of a history. What cannot be done at the moment is left out.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// The planned arm begins.
    Start,
    Change(Pick),
    /// Two changes at the same time.
    Together(Pick, Pick),
    /// A change made from a version that is not the newest.
    Stale(Pick),
    /// A reward is added under a name that is taken.
    AddTaken,
    Pause,
    Resume,
    Steps(u64),
    Checkpoint,
    /// The arm can't go on and pauses for help.
    Break,
    /// The arm goes on for a while.
    Run(u32),
    /// Everything ends some moments after changes were asked for, perhaps within a write; then the run is resumed.
    Kill {
        during: Vec<Pick>,
        after: u32,
        torn: bool,
    },
}

/// A change, which depends on the conditions at the time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    Noise(f64),
    /// Another formula.
    Factor(u32),
    /// Adds a reward with its term in the formula; if there is one, swaps it (`true`) or removes it.
    Extra(usize, f64, bool),
    /// Swaps a reward.
    Bonus(f64),
}

fn draw_pick(rng: &mut StdRng) -> Pick {
    let value = f64::from(rng.random_range(1..100_u32)) / 8.0;
    match rng.random_range(0..8) {
        0..=2 => Pick::Noise(value),
        3 => Pick::Factor(rng.random_range(1..9)),
        4..=6 => Pick::Extra(rng.random_range(0..3), value, rng.random()),
        _ => Pick::Bonus(value),
    }
}

/// A change that fits whatever happens at the same time.
fn draw_simple(rng: &mut StdRng) -> Pick {
    let value = f64::from(rng.random_range(1..100_u32)) / 8.0;
    if rng.random() { Pick::Noise(value) } else { Pick::Bonus(value) }
}

pub(super) fn draw_history(rng: &mut StdRng) -> Vec<Op> {
    let mut ops = Vec::new();
    for _ in 0..rng.random_range(4..16) {
        if ops.last().is_none_or(|op| matches!(op, Op::Kill { .. })) && rng.random_bool(0.7) {
            ops.push(Op::Start);
        }
        ops.push(match rng.random_range(0..100) {
            0..=29 => Op::Change(draw_pick(rng)),
            30..=36 => Op::Together(draw_simple(rng), draw_simple(rng)),
            37..=40 => Op::Stale(draw_pick(rng)),
            41..=43 => Op::AddTaken,
            44..=51 => Op::Pause,
            52..=59 => Op::Resume,
            60..=69 => Op::Steps(rng.random_range(1..4)),
            70..=74 => Op::Checkpoint,
            75..=77 => Op::Break,
            78..=83 => Op::Run(rng.random_range(1..400)),
            _ => {
                let during = match rng.random_range(0..4) {
                    0 => Vec::new(),
                    1 => vec![draw_simple(rng), draw_simple(rng)],
                    _ => vec![draw_pick(rng)],
                };
                Op::Kill { during, after: rng.random_range(0..300), torn: rng.random() }
            }
        });
    }
    ops
}
