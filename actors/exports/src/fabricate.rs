//! A small run with invented records, for tests.

use std::fs;
use std::path::Path;

use records::{ArmDir, ArmId, Evaluation, GrpoMetrics, RunDir, SftMetrics, Tally, json_lines, json_value};
use serde_json::{Value, json};

/// A row of metrics of an arm that is trained by GRPO.
pub(crate) fn step(step: u64) -> Value {
    let metrics = GrpoMetrics {
        step,
        total_steps: 4,
        reward: Some(step as f64 / 4.0),
        components: [("format".to_owned(), Some(0.5)), ("think".to_owned(), None)].into(),
        missing_causes: [("think".to_owned(), [(records::MissingCause::TimedOut, step)].into())].into(),
        reward_metrics: [("think".to_owned(), [("length".to_owned(), 2.5)].into())].into(),
        step_seconds: Some(10.0),
        ..GrpoMetrics::default()
    };
    json_value(&metrics)
}

/// A row of evaluations: of four completions three are right, two think, and one is judged.
pub(crate) fn evaluation(step: u64) -> Value {
    let overall = Tally {
        n: 4,
        correct: 3,
        think: 2,
        consistency_sum: 0.25,
        consistency_n: 1,
        completion_tokens: 50,
        ..Tally::default()
    };
    let by_kind = [("count".to_owned(), overall.clone())].into();
    json_value(&Evaluation {
        step,
        suite: "mmau".to_owned(),
        overall,
        by_kind,
        eval_seconds: 5.0,
        ..Evaluation::default()
    })
}

fn rollout(step: u64) -> Value {
    json!({"format_version": 1, "phase": "train", "step": step, "id": "q-1", "question": "Which, \"a\" or\nb? ü",
        "choices": ["a", "b"], "answer_gold": "a", "completion": "<answer>a</answer>", "correct": true,
        "components": {"format": 1.0, "think": null}, "reward": 0.1, "weights_version": 0, "tokens": 3})
}

/// Writes a file of rows.
pub(crate) fn write(path: &Path, rows: &[Value]) {
    let text: String = json_lines(rows).into_iter().map(|line| line + "\n").collect();
    fs::write(path, text).unwrap();
}

/// An arm with four steps, and evaluations before the first and after the second and the last.
pub(crate) fn grpo_arm(run: &RunDir) -> ArmDir {
    let arm = run.arm(&ArmId::new("grpo+atar", 7));
    fs::create_dir_all(arm.path()).unwrap();
    write(&arm.metrics(), &[step(1), step(2), step(3), step(4)]);
    write(&arm.evaluations(), &[evaluation(0), evaluation(2), evaluation(4)]);
    write(&arm.rollouts(), &[rollout(1), rollout(2)]);
    arm
}

/// A run with that arm and one that is trained on targets.
pub(crate) fn run(path: &Path) -> RunDir {
    let run = RunDir::new(path);
    grpo_arm(&run);
    let sft = run.arm(&ArmId::new("sft", 8));
    fs::create_dir_all(sft.path()).unwrap();
    let row = SftMetrics { step: 1, target_tokens: 9, loss: Some(2.5e-9), ..SftMetrics::default() };
    write(&sft.metrics(), &[json_value(&row)]);
    run
}
