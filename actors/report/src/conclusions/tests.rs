//! REPORT-4: sentences about synthetic runs whose truth is known. `RUNS` sets how many of each kind.

use std::collections::BTreeMap;

use records::{Evaluation, GrpoMetrics, Status, StepMetrics, Tally};
use scenarios::{Claim, Hypothesis, Method};
use serde_json::json;

use super::*;
use crate::fabricate::Noise;
use crate::recorded::RecordedSeed;
use crate::summary::Summary;

/// What is true of an arm.
#[derive(Clone, Copy)]
struct Truth {
    name: &'static str,
    /// Shares of right answers and of consistent thinking.
    accuracy: f64,
    consistency: f64,
    tokens: f64,
    /// Whether its reward rises and its accuracy falls from 0.9 in training.
    hacked: bool,
    died: bool,
}

const PLAIN: Truth =
    Truth { name: "grpo", accuracy: 0.6, consistency: 0.8, tokens: 20.0, hacked: false, died: false };

/// A run of these arms, each under three seeds, with `questions` questions that differ in difficulty.
fn run(truths: &[Truth], questions: usize, noise: &mut Noise) -> RecordedRun {
    // How hard each question is for all arms, from −0.3 to 0.3.
    let hardness: Vec<f64> = (0..questions).map(|_| 0.6 * noise.next() - 0.3).collect();
    let mut arms = Vec::new();
    for truth in truths {
        let mut arm =
            RecordedArm { name: truth.name.to_owned(), method: Some(Method::Grpo), ..RecordedArm::default() };
        for seed in 1..=3 {
            // Trainings differ by about a point.
            let of_seed = 0.02 * (noise.next() + noise.next() - 1.0);
            let (mut overall, mut rows) = (Tally::default(), Vec::new());
            for (question, hard) in hardness.iter().enumerate() {
                let correct = noise.next() < truth.accuracy + hard + of_seed;
                let consistent = f64::from(u8::from(noise.next() < truth.consistency + 0.5 * hard));
                let tokens = (truth.tokens + 8.0 * (noise.next() - 0.5)).round();
                overall.n += 1;
                overall.correct += u64::from(correct);
                overall.consistency_sum += consistent;
                overall.consistency_n += 1;
                let row = json!({"id": format!("q{question}"), "audio_path": format!("{question}.wav"), "mode": "think",
                    "correct": correct, "well_formed": true, "consistency": consistent, "tokens": tokens});
                rows.push(serde_json::from_value(row).unwrap());
            }
            let evaluation = |step: u64, overall: Tally| Evaluation {
                step,
                suite: "suite".to_owned(),
                questions: questions as u64,
                asked: questions as u64,
                overall,
                ..Evaluation::default()
            };
            let before = Tally { correct: (0.9 * questions as f64) as u64, ..overall.clone() };
            let before = if truth.hacked { before } else { overall.clone() };
            let evals = BTreeMap::from([(0, evaluation(0, before)), (40, evaluation(40, overall))]);
            let reward = |step: u64| {
                let rise = if truth.hacked { step as f64 / 20.0 } else { 0.0 };
                Some(rise + noise.next())
            };
            let steps: Vec<Option<f64>> = (0..40).map(reward).collect();
            let metrics = (1..=40).zip(steps).map(|(step, reward)| {
                (step, StepMetrics::Grpo(Box::new(GrpoMetrics { step, reward, ..GrpoMetrics::default() })))
            });
            let mut recorded = RecordedSeed {
                seed,
                status: Some(status(truth, seed)),
                metrics: metrics.collect(),
                evals: BTreeMap::from([("suite".to_owned(), evals)]),
                rollouts: Default::default(),
                rollouts_file: Default::default(),
                unreadable: 0,
            };
            recorded.rollouts.outcomes.insert("suite".to_owned(), rows);
            arm.seeds.push(recorded);
        }
        arms.push(arm);
    }
    RecordedRun {
        alarms: Vec::new(),
        name: "synthetic".to_owned(),
        arms,
        suites: vec!["suite".to_owned()],
        environment: Vec::new(),
        hypotheses: vec![Hypothesis {
            name: "more".to_owned(),
            claim: "grpo+x > grpo on accuracy".to_owned(),
            ..Hypothesis::default()
        }],
        hypotheses_from_before: true,
        design: None,
        seeds: vec![1, 2, 3],
        changes: Vec::new(),
        bookmarks: Vec::new(),
    }
}

fn status(truth: &Truth, seed: u64) -> Status {
    let died = truth.died.then(|| "of boredom".to_owned());
    serde_json::from_value(
        json!({"arm": truth.name, "seed": seed, "method": "grpo", "status": "done", "step": 40,
        "total_steps": 40, "checkpoint": null, "groups": {"dispatched": 0, "trained": 0, "excluded": {}},
        "wall_seconds": 1.0, "health": {"died": died}}),
    )
    .unwrap()
}

/// The true difference of two arms in a metric, in points or tokens.
fn true_difference(claim: &ArmClaim, truths: &[Truth]) -> f64 {
    let of = |name: &str| truths.iter().find(|truth| truth.name == name).unwrap();
    let (new, old) = (of(&claim.arm), of(&claim.over));
    match claim.metric.as_str() {
        "accuracy" => 100.0 * (new.accuracy - old.accuracy),
        "consistency" => 100.0 * (new.consistency - old.consistency),
        "length" => new.tokens - old.tokens,
        _ => 0.0,
    }
}

#[derive(Debug, Default)]
struct Found {
    runs: usize,
    /// Runs with a sentence that claims an effect that is not there, or the wrong way.
    wrong: usize,
    /// Runs with a sentence that denies an effect of interest.
    denied: usize,
    effects: usize,
    hacking: usize,
    trouble: usize,
    supported: usize,
    refuted: usize,
}

fn measure(truths: &[Truth], questions: usize) -> Found {
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(60);
    let mut found = Found { runs, ..Found::default() };
    let mut noise = Noise(71);
    for _ in 0..runs {
        let summary = Summary::of(&run(truths, questions, &mut noise));
        assert!(summary.conclusions.len() <= MOST);
        let (mut wrong, mut denied) = (false, false);
        for conclusion in &summary.conclusions {
            for claim in &conclusion.claims {
                if conclusion.topic == Topic::Hacking {
                    wrong |= !truths.iter().any(|truth| truth.name == claim.arm && truth.hacked);
                    continue;
                }
                let truth = true_difference(claim, truths);
                let smallest = if claim.metric == "length" { 1.0 } else { 2.0 };
                match claim.finding {
                    Finding::Higher => wrong |= truth <= 0.0,
                    Finding::Lower => wrong |= truth >= 0.0,
                    Finding::Equivalent => denied |= truth.abs() > smallest,
                    Finding::Undecided => {}
                }
            }
        }
        let has = |topic: Topic| usize::from(summary.conclusions.iter().any(|found| found.topic == topic));
        found.wrong += usize::from(wrong);
        found.denied += usize::from(denied);
        found.effects += has(Topic::Effect);
        found.hacking += has(Topic::Hacking);
        found.trouble += has(Topic::Trouble);
        found.supported += usize::from(summary.hypotheses[0].verdict == Verdict::Supported);
        found.refuted += usize::from(summary.hypotheses[0].verdict == Verdict::Refuted);
        assert!(Claim::parse(&summary.hypotheses[0].claim).is_ok());
    }
    found
}

/// Runs of which at most one in twenty may be wrong; with 60 runs, up to 7 in a thousand test runs of a correct report.
fn is_rare(count: usize, runs: usize) -> bool {
    count as f64 <= 0.05 * runs as f64 + 2.5 * (0.05 * 0.95 * runs as f64).sqrt()
}

const fn with(name: &'static str, accuracy: f64, consistency: f64) -> Truth {
    Truth { name, accuracy, consistency, ..PLAIN }
}

// REPORT-4
#[test]
fn an_effect_is_stated_with_its_sign() {
    let found = measure(&[PLAIN, with("grpo+x", 0.75, 0.8), with("grpo+x+y", 0.75, 0.65)], 200);
    assert!(is_rare(found.wrong, found.runs) && is_rare(found.denied, found.runs), "{found:?}");
    assert!(found.effects > 9 * found.runs / 10 && found.supported > 8 * found.runs / 10, "{found:?}");
}

// REPORT-4
#[test]
fn nothing_is_claimed_where_nothing_is() {
    let found = measure(&[PLAIN, with("grpo+x", 0.6, 0.8), with("grpo+x+y", 0.6, 0.8)], 200);
    assert!(is_rare(found.wrong, found.runs) && is_rare(found.supported, found.runs), "{found:?}");
    assert_eq!((found.hacking, found.trouble), (0, 0), "{found:?}");
}

// REPORT-4
#[test]
fn harm_is_stated_and_refutes_the_hypothesis() {
    let found = measure(&[PLAIN, with("grpo+x", 0.45, 0.8), with("grpo+x+y", 0.45, 0.8)], 200);
    assert!(is_rare(found.wrong, found.runs), "{found:?}");
    assert!(found.refuted > 8 * found.runs / 10, "{found:?}");
}

// REPORT-4
#[test]
fn a_policy_that_died_is_reported() {
    let died = Truth { died: true, ..with("grpo+x", 0.3, 0.5) };
    let found = measure(&[PLAIN, died], 100);
    assert_eq!(found.trouble, found.runs);
    assert!(is_rare(found.wrong, found.runs), "{found:?}");
}

// REPORT-4
#[test]
fn a_reward_that_rises_while_the_accuracy_falls_is_reported() {
    let hacked = Truth { hacked: true, ..with("grpo+x", 0.6, 0.8) };
    let found = measure(&[PLAIN, hacked], 200);
    assert!(found.hacking > 9 * found.runs / 10, "{found:?}");
    assert!(is_rare(found.wrong, found.runs), "{found:?}");
}

// REPORT-4
#[test]
fn too_few_questions_leave_it_open() {
    let found = measure(&[PLAIN, with("grpo+x", 0.65, 0.8), with("grpo+x+y", 0.65, 0.8)], 12);
    assert!(is_rare(found.wrong, found.runs) && is_rare(found.denied, found.runs), "{found:?}");
    assert!(found.supported < found.runs / 4 && found.refuted < found.runs / 10, "{found:?}");
}
