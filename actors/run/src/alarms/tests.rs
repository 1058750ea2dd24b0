//! Planted failures: each is a run whose numbers are written here, and each must be caught within its stated number of
//! steps. Healthy numbers with noise must raise nothing.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use records::{AlarmMemory, Evaluation, Tally};
use scenarios::ArmConfig;
use serde_json::{Map, Value, json};

use super::*;

/// Steps before the failure is planted.
const HEALTHY: u64 = 40;

/// Steps between two evaluations.
const EVERY: u64 = 10;

fn arm(alarms: &str) -> ArmConfig {
    let text = format!(
        r#"
        {alarms}
        [run]
        steps = 400
        [judge]
        kind = "openai"
        base_url = "http://127.0.0.1:1/v1"
        model = "none"
        [grpo]
        kl_coef = 0.04
        [eval]
        every = {EVERY}
        [rewards]
        format = {{ kind = "format" }}
        think = {{ kind = "think" }}
        [shaping]
        formula = "format + w_think * think"
        weights = {{ think = 0.5 }}
        [[arm]]
        name = "a"
        "#
    );
    let experiment =
        scenarios::scenario::parse(&text, std::path::Path::new("x.toml"), &[], &[], None).unwrap();
    experiment.arms.into_iter().next().unwrap()
}

/// The numbers of a healthy step.
fn healthy(step: u64) -> Map<String, Value> {
    let row = json!({
        "step": step, "reward": 0.5, "entropy": 0.8, "think_rate": 0.5, "truncated_rate": 0.05, "frac_zero_std": 0.2, "kl": 0.05,
        "repetition_rate": 0.04, "foreign_script_rate": 0.0, "spike_streak": 0, "missing": { "format": 0, "think": 0 },
        "judge_failures": {}, "components": { "format": 0.9, "think": 0.4 }, "judge_agreement": null, "grad_norm": 1.0
    });
    row.as_object().unwrap().clone()
}

/// The alarms that go off, with their steps, in a run whose rows and held-out accuracy `plant` may change.
fn raised(
    alarms: &str,
    steps: u64,
    mut plant: impl FnMut(u64, &mut Map<String, Value>, &mut f64),
) -> Vec<(String, u64)> {
    let config = arm(alarms);
    let alarms = Alarms::of(&config).unwrap();
    let mut memory = AlarmMemory::default();
    let mut raised = Vec::new();
    for step in 1..=steps {
        let (mut row, mut accuracy) = (healthy(step), 0.6);
        if step % AlarmConfig::RECHECK_EVERY == 0 {
            row.insert("judge_agreement".into(), json!(1.0));
        }
        plant(step, &mut row, &mut accuracy);
        take_row(&alarms, &mut memory, step, &Value::Object(row));
        if step % EVERY == 0 {
            let overall = Tally { n: 100, correct: (100.0 * accuracy) as u64, ..Tally::default() };
            take_evaluations(
                &alarms,
                &mut memory,
                step,
                &[Evaluation { step, overall, ..Evaluation::default() }],
            );
        }
        alarms.settle(&mut memory, step, &[]);
        raised.extend(memory.due.drain(..).map(|firing| (firing.name, firing.step)));
        // What a checkpoint keeps is all that there is.
        memory = serde_json::from_str(&serde_json::to_string(&memory).unwrap()).unwrap();
    }
    raised
}

/// What a failure does to the row of a step, and to the accuracy on held-out questions.
type Plant<'a> = &'a dyn Fn(&mut Map<String, Value>, &mut f64);

const VETTED: &str = "[[alarm]]\nvetted = \"all\"";

/// The alarm that goes off first, and how many steps after the failure was planted.
fn caught(alarms: &str, plant: impl Fn(&mut Map<String, Value>, &mut f64)) -> (String, u64) {
    let raised = raised(alarms, 400, |step, row, accuracy| {
        if step > HEALTHY {
            plant(row, accuracy);
        }
    });
    let (name, step) = raised.first().cloned().expect("no alarm went off");
    assert_eq!(raised.len(), 1, "one alarm, once: {raised:?}");
    (name, step - HEALTHY)
}

fn set(row: &mut Map<String, Value>, name: &str, value: f64) {
    row.insert(name.into(), json!(value));
}

#[test]
fn twelve_planted_failures_are_caught_within_their_number_of_steps() {
    let vetted: [(&str, u64, Plant<'_>); 10] = [
        // A window of 10 is below its limit when all of its values are.
        ("entropy-collapse", 10, &|row, _| set(row, "entropy", 0.001)),
        ("no-thinking", 10, &|row, _| set(row, "think_rate", 0.0)),
        ("always-thinking", 10, &|row, _| set(row, "think_rate", 1.0)),
        // (2 · 0.05 + 3 · 0.9) / 5 = 0.56
        ("length-explosion", 3, &|row, _| set(row, "truncated_rate", 0.9)),
        // Two evaluations after it: the accuracy of the last two is 0.3 and of the two before 0.6, and the reward 1 and 0.5.
        ("reward-hacking", 20, &|row, accuracy| {
            set(row, "reward", 1.0);
            *accuracy = 0.3;
        }),
        // (1 · 0.2 + 19) / 20 = 0.96; with 18 it is 0.92.
        ("equal-rewards", 19, &|row, _| set(row, "frac_zero_std", 1.0)),
        ("kl", 3, &|row, _| set(row, "kl", 4.0)),
        // (2 · 0.04 + 3 · 0.6) / 5 = 0.376; with two it is 0.264.
        ("repetition", 3, &|row, _| set(row, "repetition_rate", 0.6)),
        // 3 · 0.5 / 5 = 0.3; with two it is 0.2.
        ("foreign-script", 3, &|row, _| set(row, "foreign_script_rate", 0.5)),
        // At the second time that the judge is asked again, which is every 20 steps.
        ("judge-drift", 40, &|row, _| {
            if !row["judge_agreement"].is_null() {
                set(row, "judge_agreement", 0.5);
            }
        }),
    ];
    for (name, steps, plant) in vetted {
        assert_eq!(caught(VETTED, plant), (name.to_owned(), steps));
    }
    let own = "[[alarm]]\nname = \"silent\"\nwhen = \"{missing.think} >= 8 and {judge_failures.timeout} > 0 for 3 steps\"";
    let silent = caught(own, |row, _| {
        row.insert("missing".into(), json!({ "format": 0, "think": 8 }));
        row.insert("judge_failures".into(), json!({ "timeout": 8 }));
    });
    assert_eq!(silent, ("silent".to_owned(), 3));
    let own = "[[alarm]]\nname = \"spike\"\nwhen = \"grad_norm > 20 * mean(grad_norm, 30)\"";
    // 100 against 20 · (29 + 100) / 30 = 86
    assert_eq!(caught(own, |row, _| set(row, "grad_norm", 100.0)), ("spike".to_owned(), 1));
}

#[test]
fn healthy_numbers_with_noise_raise_nothing() {
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut learned = 0.0;
        let raised = raised(VETTED, 400, |_, row, accuracy| {
            // A run that learns: the reward and the accuracy rise, the entropy falls to a quarter, the KL rises.
            learned += 1.0 / 400.0;
            let mut noisy = |name: &str, value: f64, spread: f64| {
                let value = (value + spread * (rng.random::<f64>() - 0.5)).clamp(0.0, 1.5);
                row.insert(name.into(), json!(value));
                value
            };
            noisy("reward", 0.4 + 0.5 * learned, 0.3);
            noisy("entropy", 0.8 - 0.6 * learned, 0.2);
            noisy("think_rate", 0.5 - 0.3 * learned, 0.3);
            noisy("truncated_rate", 0.1, 0.2);
            noisy("frac_zero_std", 0.2 + 0.5 * learned, 0.4);
            noisy("kl", 0.3 * learned, 0.3);
            noisy("repetition_rate", 0.08, 0.1);
            noisy("foreign_script_rate", 0.01, 0.05);
            *accuracy = noisy("accuracy", 0.5 + 0.2 * learned, 0.2);
            if !row["judge_agreement"].is_null() {
                row.insert("judge_agreement".into(), json!(1.0 - 0.15 * rng.random::<f64>()));
            }
        });
        assert_eq!(raised, [], "seed {seed}");
    }
}

/// ALARM-6.
#[test]
fn a_missing_number_raises_no_alarm_and_ends_no_streak() {
    let own = "[[alarm]]\nname = \"far\"\nwhen = \"kl > 1 for 3 steps\"";
    let with = |kl: &'static [Option<f64>]| {
        raised(own, kl.len() as u64, |step, row, _| {
            row.insert("kl".into(), json!(kl[step as usize - 1]));
        })
    };
    let at = |step: u64| vec![("far".to_owned(), step)];
    assert_eq!(with(&[Some(2.0), Some(2.0), Some(2.0)]), at(3));
    assert_eq!(with(&[Some(2.0), None, Some(2.0), None, Some(2.0)]), at(5), "a gap ends no streak");
    assert_eq!(with(&[None, None, None, None]), [], "and is no evidence");
    assert_eq!(with(&[Some(2.0), Some(0.5), Some(2.0), Some(2.0)]), [], "a value below the limit ends it");
}

#[test]
fn an_alarm_goes_off_once_unless_it_is_armed_again() {
    let high = |step: u64| matches!(step, 3..=6 | 8..=9 | 14..=15);
    let steps = |alarm: &str| -> Vec<u64> {
        let text = format!("[[alarm]]\nname = \"far\"\nwhen = \"kl > 1\"\n{alarm}");
        let found = raised(&text, 20, |step, row, _| set(row, "kl", if high(step) { 2.0 } else { 0.1 }));
        found.into_iter().map(|(_, step)| step).collect()
    };
    assert_eq!(steps(""), [3]);
    // Step 7 alone is too short a pause; 10 to 13 is long enough.
    assert_eq!(steps("rearm_steps = 3"), [3, 14]);
    assert_eq!(steps("rearm_steps = 1"), [3, 8, 14]);
}

/// ALARM-5.
#[test]
fn an_alarm_that_the_journal_has_is_taken_from_there() {
    let config = arm("[[alarm]]\nname = \"far\"\nwhen = \"kl > 1\"");
    let alarms = Alarms::of(&config).unwrap();
    let mut memory = AlarmMemory::default();
    let recorded = AlarmFiring { name: "far".into(), step: 1, streak: 9, ..AlarmFiring::default() };
    for (step, kl, known, expected) in [
        // The numbers of a step that is taken again may differ where a machine does not repeat them exactly.
        (1, 0.5, vec![recorded.clone()], vec![recorded.clone()]),
        (2, 5.0, Vec::new(), Vec::new()),
    ] {
        take_row(&alarms, &mut memory, step, &json!({ "kl": kl }));
        alarms.settle(&mut memory, step, &known);
        assert_eq!(std::mem::take(&mut memory.due), expected, "step {step}");
    }
    assert_eq!(memory.alarms["far"].firings, 1);
}

#[test]
fn what_was_never_decided_is_named_with_the_missing_number() {
    let config = arm("[[alarm]]\nname = \"late\"\nwhen = \"mean(kl, 5) > 1 and reward > 0\"");
    let alarms = Alarms::of(&config).unwrap();
    let mut memory = AlarmMemory::default();
    for step in 1..=4 {
        take_row(&alarms, &mut memory, step, &Value::Object(healthy(step)));
        alarms.settle(&mut memory, step, &[]);
    }
    assert_eq!(alarms.undecided(&memory), ["late (no value of mean(kl, 5))"]);
    assert_eq!(views(&alarms, &memory)[0].values["reward"], Some(0.5));
    assert!(alarms.use_number("kl") && !alarms.use_number("loss") && !alarms.use_evaluations());
    assert_eq!(alarms.recheck_every(), None);
}
