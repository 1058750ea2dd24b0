use std::path::Path;

use survey::{ClipCounts, Lengths, PromptTokens, Role, SourceReport};

use super::*;

fn experiment(text: &str) -> Experiment {
    let rewards = "[rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n";
    let text = format!("{rewards}{text}\n[[arm]]\nname = \"a\"\n");
    scenarios::scenario::parse(&text, Path::new("a.toml"), &[], &[], None).unwrap()
}

/// Prompts of 40 tokens, the longest of 50.
fn data() -> Survey {
    let source = SourceReport {
        name: "s".into(),
        role: Role::Train,
        arms: vec!["a".into()],
        file: "a.toml".into(),
        rows: Default::default(),
        clips: ClipCounts { distinct: 1, ..Default::default() },
        lengths: Lengths { hours: 1.0, known: 360, ..Default::default() },
        decoded: None,
        gold_positions: Vec::new(),
        prompt_tokens: Some(PromptTokens { median: 40, max: 50, ..Default::default() }),
    };
    Survey { sources: vec![source], ..Default::default() }
}

const STEP: &str =
    "[sampling]\nprompts_per_step = 6\ngroup_size = 4\nmax_new_tokens = 500\n[eval]\nbatch_prompts = 4\n";

/// What is chosen one after another, if activations or keys and values never fit.
fn ladder(text: &str, activations: bool) -> Vec<ArmConfig> {
    let written = experiment(text).arms.remove(0);
    let known = Known::at_most(&written, &data(), false).unwrap();
    let mut arm = written.clone();
    arm.policy.gradient_checkpointing = match written.policy.gradient_checkpointing {
        GradientCheckpointing::Auto => GradientCheckpointing::Always(false),
        chosen => chosen,
    };
    let next = |arm: &ArmConfig| {
        let mut needs = known.needs(arm);
        (needs.activations_bytes, needs.kv_cache_bytes) = if activations { (1, 0) } else { (0, 1) };
        lowered(arm, &written, &known, &needs)
    };
    std::iter::successors(Some(arm), next).collect()
}

#[test]
fn micro_batches_are_halved_before_layers_are_computed_again() {
    let chosen = |text: &str| -> Vec<(bool, usize)> {
        let on = |arm: &ArmConfig| arm.policy.gradient_checkpointing == GradientCheckpointing::Always(true);
        ladder(text, true).iter().map(|arm| (on(arm), arm.grpo.micro_batch_prompts)).collect()
    };
    let halves = |on: bool| [0, 3, 2, 1].map(|prompts| (on, prompts));
    assert_eq!(chosen(STEP), [halves(false), halves(true)].concat());
    // What the scenario says stays.
    assert_eq!(chosen(&format!("{STEP}[policy]\ngradient_checkpointing = false\n")), halves(false));
    assert_eq!(chosen(&format!("{STEP}[policy]\ngradient_checkpointing = true\n")), halves(true));
}

#[test]
fn the_larger_of_sampling_and_evaluation_is_halved() {
    let chosen = ladder(&format!("{STEP}samples = 2\n"), false);
    let batches: Vec<(usize, usize)> =
        chosen.iter().map(|arm| (arm.sampling.batch_prompts, arm.eval.batch_prompts)).collect();
    // Each of 4 completions in training and 2 in evaluation counts with its prompt: 24 against 8, 12 against 8, 8 against 8, 4 against 8,
    // 4 against 4, and at last nothing is left to halve.
    assert_eq!(batches, [(0, 4), (3, 4), (2, 4), (1, 4), (1, 2)]);
}

#[test]
fn what_is_chosen_fits_and_a_limit_that_nothing_fits_into_is_refused() {
    let mut free = experiment(STEP);
    assert!(settle(&mut free, &data()).unwrap().is_empty());
    assert_eq!(free.arms, experiment(STEP).arms, "without a limit nothing changes");

    let long = STEP.replace("500", "6000");
    let mut limited = experiment(&format!("{long}[memory]\nlimit_gib = 1.5\n"));
    let spread = Spread::of(&limited);
    let taken = |experiment: &Experiment| {
        let arm = &experiment.arms[0];
        counted(experiment, &[Known::at_most(arm, &data(), spread.gpu).unwrap().needs(arm)], &spread)
    };
    assert!(taken(&limited) as f64 > 1.5 * GIB, "{}", gib(taken(&limited)));
    let lines = settle(&mut limited, &data()).unwrap();
    assert!(taken(&limited) as f64 <= 1.5 * GIB, "{}", gib(taken(&limited)));
    assert!(lines[0].starts_with("memory: ") && lines[0].contains(" of 1.5 GiB"), "{lines:?}");
    assert!(lines[1].contains("a: policy.gradient_checkpointing = "), "{lines:?}");

    let mut tight = experiment(&format!("{long}[memory]\nlimit_gib = 0.01\n"));
    let problem = settle(&mut tight, &data()).unwrap_err().to_string();
    assert!(problem.starts_with("memory.limit_gib is 0.01, and the arms take "), "{problem}");
    assert!(problem.contains("write a larger limit"), "{problem}");
}
