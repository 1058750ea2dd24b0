//! Writes run directories with invented numbers, for tests and for looking at the page: `REPORT_FIXTURE=DIR cargo
//! nextest run -p report a_run_of_all_arms` keeps the directory and its report in DIR.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// The eight arms: name, method, and final accuracy and no-think rate, each for easy, medium and hard questions.
const ARMS: [(&str, &str, [f64; 3], [f64; 3]); 8] = [
    ("base", "none", [0.93, 0.78, 0.48], [0.58, 0.45, 0.52]),
    ("sft", "sft", [0.94, 0.80, 0.31], [1.0, 1.0, 1.0]),
    ("sft+cot", "sft", [0.92, 0.81, 0.66], [0.02, 0.01, 0.0]),
    ("grpo", "grpo", [0.97, 0.88, 0.60], [0.81, 0.72, 0.68]),
    ("grpo+cot", "grpo", [0.97, 0.93, 0.90], [0.25, 0.06, 0.03]),
    ("grpo+atar", "grpo", [0.99, 0.93, 0.83], [0.99, 0.95, 0.06]),
    ("grpo+atar+cr", "grpo", [0.99, 0.93, 0.86], [0.99, 0.96, 0.05]),
    ("grpo+atar+cr+tr", "grpo", [0.99, 0.94, 0.87], [0.99, 0.96, 0.04]),
];
const LEVELS: [&str; 3] = ["easy", "medium", "hard"];

/// A pseudo-random generator with a fixed seed, so that every test run sees the same numbers.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    /// The next number from 0 to 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }

    fn near(&mut self, value: f64, spread: f64) -> f64 {
        value + spread * (self.next() + self.next() + self.next() - 1.5)
    }

    fn count(&mut self, share: f64, n: u64) -> u64 {
        (0..n).filter(|_| self.next() < share).count() as u64
    }
}

/// Writes a run of the eight arms with these seeds and `steps` steps. With several seeds, the last seed of the last arm
/// is killed after two thirds of its steps.
pub(super) fn run(dir: &Path, seeds: &[u64], steps: u64) {
    write_scenario(dir);
    let environment = json!({"version": "0.1.0", "cpu": {"model": "made up", "cores": 2}, "device": "cpu",
        "started": "2025-01-31T12:00:00Z", "command": ["sandbox", "scenarios/ablation.toml"]});
    fs::write(dir.join("environment.json"), environment.to_string()).unwrap();
    for (arm, method, accuracy, no_think) in ARMS {
        for &seed in seeds {
            let killed = arm == "grpo+atar+cr+tr" && seeds.len() > 1 && seeds.last() == Some(&seed);
            let fake = FakeSeed { arm, method, accuracy, no_think, seed, steps, killed };
            fake.write(&dir.join(arm).join(format!("seed-{seed}")));
        }
    }
}

fn write_scenario(dir: &Path) {
    let mut text = String::from(
        r#"
        [run]
        name = "ablation"
        [rewards]
        accuracy = { kind = "accuracy" }
        adaptive_think = { kind = "adaptive-think" }
        consistency = { kind = "consistency" }
        format = { kind = "format" }
        think = { kind = "think" }
        [shaping]
        formula = "accuracy + w_format * format"
        weights = { consistency = 0.5, format = 0.5, think = 1.0 }
        "#,
    );
    let adaptive = "adaptive_think * (1 + w_consistency * consistency) + w_format * format + w_think * think";
    for (arm, method, ..) in ARMS {
        text += &format!("[[arm]]\nname = \"{arm}\"\nmethod = \"{method}\"\n");
        if arm.contains("atar") {
            text += &format!("shaping.formula = \"{adaptive}\"\n");
        }
    }
    fs::write(dir.join("scenario.toml"), text).unwrap();
}

/// One seed of an arm whose files are invented.
struct FakeSeed {
    arm: &'static str,
    method: &'static str,
    accuracy: [f64; 3],
    no_think: [f64; 3],
    seed: u64,
    steps: u64,
    killed: bool,
}

impl FakeSeed {
    fn write(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        let mut noise = Noise(self.seed * 7919 + self.arm.len() as u64);
        let last = match self.method {
            "none" => 0,
            _ if self.killed => self.steps * 2 / 3,
            _ => self.steps,
        };
        let mut metrics: String =
            (1..=last).map(|step| self.metrics(step, &mut noise).to_string() + "\n").collect();
        let mut evals = String::new();
        let every = (self.steps / 6).max(1);
        let rollouts = self.rollouts(last, &mut noise);
        for step in (0..last).step_by(every as usize) {
            evals += &(self.eval(step, &mut noise).to_string() + "\n");
        }
        evals += &(latest(last, &rollouts).to_string() + "\n");
        if self.killed {
            metrics += "{\"step\":201,\"rew";
        }
        fs::write(dir.join("metrics.jsonl"), metrics).unwrap();
        fs::write(dir.join("eval.jsonl"), evals).unwrap();
        let rollouts: String = rollouts.iter().map(|row| row.to_string() + "\n").collect();
        fs::write(dir.join("rollouts.jsonl"), rollouts).unwrap();
        let dispatched = if self.method == "grpo" { last * 8 } else { 0 };
        let excluded = u64::from(dispatched > 0) * 2;
        let status = json!({"arm": self.arm, "seed": self.seed, "method": self.method,
            "status": if self.killed { "running" } else { "done" }, "reason": null, "step": last,
            "total_steps": if self.method == "none" { 0 } else { self.steps }, "checkpoint": null,
            "groups": {"dispatched": dispatched, "trained": dispatched - excluded, "excluded": {"too_few_scored": excluded}},
            "wall_seconds": 0.26 * last as f64 + 3.0});
        fs::write(dir.join("status.json"), status.to_string()).unwrap();
    }

    /// Training progress at a step, from 0 to 1.
    fn progress(&self, step: u64) -> f64 {
        1.0 - (-4.0 * step as f64 / self.steps as f64).exp()
    }

    /// A rate of one difficulty at a step, on its way from the untrained value to the final one.
    fn rate(&self, ends: [f64; 3], starts: [f64; 3], level: usize, step: u64) -> f64 {
        starts[level] + (ends[level] - starts[level]) * self.progress(step)
    }

    fn metrics(&self, step: u64, noise: &mut Noise) -> Value {
        let timing = json!({"load_seconds": 0.004, "sample_seconds": noise.near(0.11, 0.02), "reward_seconds": 0.006,
            "optimize_seconds": noise.near(0.12, 0.02), "actor_seconds": 0.003, "step_seconds": 0.25});
        let mut row = if self.method == "sft" {
            json!({"step": step, "total_steps": self.steps, "loss": noise.near(1.6 - 1.1 * self.progress(step), 0.2),
                "lr": 1e-4, "tokens_per_second": noise.near(2600.0, 150.0)})
        } else {
            self.grpo_metrics(step, noise)
        };
        row.as_object_mut().unwrap().extend(timing.as_object().unwrap().clone());
        row
    }

    fn grpo_metrics(&self, step: u64, noise: &mut Noise) -> Value {
        let accuracy: f64 = (0..3).map(|at| self.rate(self.accuracy, ARMS[0].2, at, step)).sum::<f64>() / 3.0;
        let rate = |at: usize| 1.0 - self.rate(self.no_think, ARMS[0].3, at, step);
        let think = noise.near((rate(0) + rate(1) + rate(2)) / 3.0, 0.06).clamp(0.0, 1.0);
        let accuracy = noise.near(accuracy, 0.06).clamp(0.0, 1.0);
        let adaptive = self.arm.contains("atar");
        let mut components = serde_json::Map::new();
        components.insert("format".into(), json!(noise.near(0.985, 0.02).min(1.0)));
        components.insert("adaptive_think".into(), json!(noise.near(1.5 * accuracy - 0.4, 0.2)));
        components.insert("accuracy".into(), json!(accuracy));
        components.insert("consistency".into(), json!(noise.near(0.9 + 0.06 * self.progress(step), 0.03)));
        let missing = step % 40 == 7;
        components.insert("think".into(), if missing { Value::Null } else { json!(noise.near(0.86, 0.04)) });
        json!({"step": step, "total_steps": self.steps, "policy_version": step, "weights_version": 0, "staleness": 0,
            "reward": noise.near(accuracy * if adaptive { 2.4 } else { 1.0 } + 0.4, 0.2), "components": components,
            "missing_causes": if missing { json!({"think": {"null": 60, "timed_out": 4}}) } else { json!({}) },
            "accuracy": accuracy, "think_rate": think,
            "think_rate_by_difficulty": {"easy": noise.near(rate(0), 0.1).clamp(0.0, 1.0),
                "medium": if step.is_multiple_of(9) { Value::Null } else { json!(noise.near(rate(1), 0.15).clamp(0.0, 1.0)) },
                "hard": noise.near(rate(2), 0.08).clamp(0.0, 1.0)},
            "format_rate": 0.99, "consistency": noise.near(0.92, 0.04), "think_quality": noise.near(0.85, 0.05),
            "completion_tokens_mean": noise.near(8.0 + 14.0 * think, 1.0),
            "groups_dispatched": 8, "groups_trained": 8, "groups_excluded": {}, "loss": noise.near(0.0, 0.02),
            "kl": if step == 90 { 9.0 } else { noise.near(0.09 * self.progress(step), 0.01).abs() },
            "tokens_per_second": noise.near(2400.0, 200.0)})
    }

    fn eval(&self, step: u64, noise: &mut Noise) -> Value {
        let mut total = [0u64; 3];
        let mut by_level = serde_json::Map::new();
        let level_n = 128;
        let mut quality_total = (0.0, 0.0);
        for (at, level) in LEVELS.iter().enumerate() {
            let correct = noise.count(self.rate(self.accuracy, ARMS[0].2, at, step), level_n);
            let think = level_n - noise.count(self.rate(self.no_think, ARMS[0].3, at, step), level_n);
            let tokens = level_n * 5 + think * 14;
            let consistent = noise.count(if self.arm.contains("cr") { 0.96 } else { 0.9 }, think) as f64;
            let quality = think as f64 * if self.arm.contains("tr") { 0.95 } else { 0.87 };
            total = [total[0] + correct, total[1] + think, total[2] + tokens];
            quality_total = (quality_total.0 + consistent, quality_total.1 + quality);
            by_level.insert((*level).into(), counts(level_n, correct, think, tokens, consistent, quality));
        }
        let [correct, think, tokens] = total;
        let overall = counts(3 * level_n, correct, think, tokens, quality_total.0, quality_total.1);
        json!({"step": step, "suite": "builtin:soundscapes", "overall": overall, "by_difficulty": by_level,
            "by_kind": {}, "eval_seconds": 1.5})
    }

    fn rollouts(&self, last: u64, noise: &mut Noise) -> Vec<Value> {
        let first = if self.method == "grpo" { last.saturating_sub(3).max(1) } else { last + 1 };
        let training = (first..=last).flat_map(|step| (0..64).map(move |index| ("train", step, index)));
        let evaluation = (0..384).map(|index| ("eval", last, index));
        training
            .chain(evaluation)
            .map(|(phase, step, index)| self.rollout(phase, step, index, noise))
            .collect()
    }

    fn rollout(&self, phase: &str, step: u64, index: usize, noise: &mut Noise) -> Value {
        let level = index % 3;
        let think = noise.next() >= self.rate(self.no_think, ARMS[0].3, level, step);
        let correct = noise.next() < self.rate(self.accuracy, ARMS[0].2, level, step);
        let choices = ["1", "2", "3", "4"];
        let given = if correct { "3" } else { "4" };
        let thought = "beep 1 buzz 3 chirp 0 so 3";
        let hostile = index == 5;
        let answer = if hostile { "<script>alert('x')</script><img src=x onerror=alert(1)>" } else { given };
        let completion = if think {
            format!("<think>{thought}</think><answer>{answer}</answer>")
        } else {
            format!("<answer>{answer}</answer>")
        };
        let training = phase == "train";
        let reward = if correct { noise.near(2.1, 0.3) } else { noise.near(-0.8, 0.3) };
        let mut components = serde_json::Map::new();
        components.insert("format".into(), json!(1.0));
        let right = if correct { 1.37 } else { -0.63 };
        components.insert("adaptive_think".into(), json!(right));
        components
            .insert("consistency".into(), json!(if index.is_multiple_of(7) { None } else { Some(1.0) }));
        components.insert("think".into(), json!(0.9));
        components.insert("accuracy".into(), json!(f64::from(u8::from(correct))));
        json!({"phase": phase, "step": step, "group": index / 8, "index": index % 8, "id": format!("q{index}"),
            "question": "How many different sounds are there, if a beep counts one and a buzz counts three, modulo five?",
            "choices": choices, "answer_gold": "3",
            "audio_path": format!("/home/someone/.cache/audio-thinker/soundscapes/train/{index:06}.flac"),
            "consistency": think.then(|| f64::from(u8::from(noise.next() < if self.arm.contains("cr") { 0.96 } else { 0.9 }))),
            "think_quality": think.then_some(if self.arm.contains("tr") { 0.95 } else { 0.87 }),
            "difficulty": LEVELS[level], "kind": (["first", "count", "walk"][level]), "completion": completion,
            "mode": if think { "think" } else { "no_think" }, "think": think.then_some(thought), "answer": answer,
            "correct": correct && !hostile, "well_formed": !hostile, "components": components,
            "reward": training.then_some(reward), "advantage": training.then(|| noise.near(0.0, 1.0)),
            "weights_version": 0, "policy_version": step, "tokens": if think { 19 } else { 5 }, "truncated": false})
    }
}

/// The evaluation whose answers are in `rollouts`.
fn latest(step: u64, rollouts: &[Value]) -> Value {
    let of = |level: Option<&str>| {
        let rows: Vec<&Value> = rollouts
            .iter()
            .filter(|row| row["phase"] == "eval" && level.is_none_or(|level| row["difficulty"] == level))
            .collect();
        let number = |key: &str| rows.iter().filter_map(|row| row[key].as_f64()).sum::<f64>();
        let count = |key: &str, value: Value| rows.iter().filter(|row| row[key] == value).count() as u64;
        let mut found = counts(
            rows.len() as u64,
            count("correct", true.into()),
            count("mode", "think".into()),
            number("tokens") as u64,
            number("consistency"),
            number("think_quality"),
        );
        found["well_formed"] = count("well_formed", true.into()).into();
        found
    };
    let by_level: serde_json::Map<String, Value> =
        LEVELS.iter().map(|level| ((*level).to_owned(), of(Some(level)))).collect();
    json!({"step": step, "suite": "builtin:soundscapes", "overall": of(None), "by_difficulty": by_level, "by_kind": {},
        "eval_seconds": 1.5})
}

fn counts(n: u64, correct: u64, think: u64, tokens: u64, consistent: f64, quality: f64) -> Value {
    json!({"n": n, "correct": correct, "correct_official": correct, "think": think, "well_formed": n,
        "consistency_sum": consistent, "consistency_n": think, "think_quality_sum": quality,
        "think_quality_n": think, "completion_tokens": tokens})
}
