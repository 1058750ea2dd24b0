//! `sandbox reshape` of 100,000 completions: `cargo bench -p report`.
//!
//! The run has one arm of 1,563 steps with 64 completions each, in groups of 8, with five reward components and completions of the
//! length that the built-in policy writes.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;

use divan::Bencher;
use records::{GrpoMetrics, RunDir};
use serde_json::json;

fn main() {
    divan::main();
}

const STEPS: u64 = 1563;
const GROUPS: u64 = 8;
const GROUP_SIZE: u64 = 8;

const SCENARIO: &str = r#"
[run]
name = "reshape"
seeds = [7]
steps = 1563
[sampling]
group_size = 8
prompts_per_step = 8
[rewards]
accuracy = { kind = "accuracy" }
adaptive_think = { kind = "adaptive-think" }
consistency = { kind = "consistency" }
format = { kind = "format" }
think = { kind = "think" }
[shaping]
formula = "adaptive_think * (1 + w_consistency * consistency) + w_format * format + w_think * think"
weights = { consistency = 0.5, format = 0.5, think = 1.0 }
[[arm]]
name = "grpo"
"#;

/// Writes the records of the run. The numbers only have to vary.
fn write_run(dir: &Path) {
    fs::write(dir.join("scenario.toml"), SCENARIO).unwrap();
    let arm = dir.join("grpo/seed-7");
    fs::create_dir_all(&arm).unwrap();
    let mut metrics = BufWriter::new(File::create(arm.join("metrics.jsonl")).unwrap());
    let mut rollouts = BufWriter::new(File::create(arm.join("rollouts.jsonl")).unwrap());
    for step in 1..=STEPS {
        let weights = [("consistency", 0.5), ("format", 0.5), ("think", 1.0)];
        let weights = weights.map(|(name, weight)| (name.to_owned(), weight)).into();
        let row = GrpoMetrics { step, total_steps: STEPS, weights, ..GrpoMetrics::default() };
        let row = serde_json::to_string(&row).unwrap();
        writeln!(metrics, "{row}").unwrap();
        for number in 0..GROUPS * GROUP_SIZE {
            let draw = (step * 64 + number).wrapping_mul(6_364_136_223_846_793_005) >> 33;
            let (right, thinks) = (draw.is_multiple_of(3), draw.is_multiple_of(2));
            let think = "beep 1 buzz 3 chirp 0 so 3";
            let row = json!({"phase": "train", "step": step, "group": number / GROUP_SIZE, "index": number % GROUP_SIZE,
                "id": format!("q{}", draw % 997), "choices": ["1", "2", "3", "4"], "answer_gold": "3",
                "question": "How many different sounds are there, if a beep counts one and a buzz counts three, modulo five?",
                "audio_path": "/home/someone/.cache/audio-thinker/soundscapes/train/000017.flac", "difficulty": "medium",
                "kind": "count", "completion": format!("<think>{think}</think><answer>3</answer>"),
                "mode": if thinks { "think" } else { "no_think" }, "think": thinks.then_some(think), "answer": "3",
                "correct": right, "well_formed": true, "reward": f64::from(u8::from(right)), "advantage": 0.25,
                "components": {"accuracy": f64::from(u8::from(right)), "adaptive_think": if right { 1.37 } else { -0.63 },
                    "consistency": thinks.then_some(1.0), "format": 1.0, "think": (draw % 100) as f64 / 100.0},
                "weights_version": 0, "policy_version": step, "tokens": 19, "truncated": false});
            writeln!(rollouts, "{row}").unwrap();
        }
    }
}

#[divan::bench(args = ["shaping.weights.think=0.3", "shaping.formula=accuracy + w_format * format"], sample_count = 5, sample_size = 1)]
fn reshape(bencher: Bencher<'_, '_>, set: &str) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    write_run(folder.path());
    let run_dir = RunDir::new(folder.path());
    bencher.bench_local(|| {
        let reshaped = report::reshape(&run_dir, &[set.to_owned()], &[]).unwrap();
        assert_eq!(reshaped[0].completions, STEPS * GROUPS * GROUP_SIZE);
    });
}
