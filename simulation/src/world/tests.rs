use super::*;
use crate::inputs::Distribution;

/// Sampling takes a second for each of 10 tokens of a sequence, judging `judge` seconds, training `train` seconds.
fn inputs(rest: &str) -> Inputs {
    let text = format!(
        r#"
        [run]
        steps = 200
        prompts_per_step = 1
        group_size = 1
        {rest}
        "#
    );
    Inputs::parse(&text).unwrap()
}

/// A pipeline of three machines: each step is sampled for 3 s, judged for 5 s and trained on for 2 s.
fn pipeline(max_staleness: u64) -> Inputs {
    inputs(&format!(
        r#"
        max_staleness = {max_staleness}
        [completions]
        tokens = {{ kind = "fixed", value = 3 }}
        [sampler]
        decode = [{{ sequences = 1, tokens_per_second = 1 }}]
        [learner]
        step_seconds = 2
        [judge]
        servers = 1
        concurrency = 99
        latency_seconds = {{ kind = "fixed", value = 5 }}
        "#
    ))
}

#[test]
fn a_deterministic_pipeline_is_as_fast_as_its_slowest_machine_or_its_steps_under_way_allow() {
    for (max_staleness, seconds) in [
        // One step after another: 3 + 5 + 2.
        (0, 10.0),
        // Two steps within 10 s.
        (1, 5.0),
        // Three within 10 s.
        (2, 10.0 / 3.0),
        // The sampler takes 3 s a step, however many steps are under way.
        (3, 3.0),
        (8, 3.0),
    ] {
        let outcome = simulate(&pipeline(max_staleness)).unwrap();
        // The pipeline fills and empties once in 200 steps.
        assert!(
            (outcome.seconds_per_step / seconds - 1.0).abs() < 0.02,
            "{max_staleness}: {}",
            outcome.seconds_per_step
        );
    }
}

// SIM-2.
#[test]
fn no_step_is_staler_than_allowed_and_a_full_pipeline_is_as_stale_as_allowed() {
    for max_staleness in 0..5 {
        let outcome = simulate(&pipeline(max_staleness)).unwrap();
        assert_eq!(outcome.staleness.len() as u64, max_staleness + 1);
        assert!((outcome.staleness.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", outcome.staleness);
        if max_staleness == 1 {
            // All but the first.
            assert!(outcome.staleness[1] > 0.99);
        }
    }
}

/// The throughput of `arms` customers who think for an exponential time with mean `z` and are then served by `c` servers for an
/// exponential time with mean `s`: the machine repairman M/M/c with a finite source. The weights of the states follow from
/// the balance equations w(n + 1) · min(n + 1, c) / s = w(n) · (arms − n) / z.
fn repairman(arms: usize, c: usize, z: f64, s: f64) -> f64 {
    let mut weights = vec![1.0];
    for n in 0..arms {
        let next = weights[n] * (arms - n) as f64 / z * s / (n + 1).min(c) as f64;
        weights.push(next);
    }
    let all: f64 = weights.iter().sum();
    weights.iter().enumerate().map(|(n, weight)| weight / all * n.min(c) as f64 / s).sum()
}

#[test]
fn arms_at_a_judge_are_served_as_the_closed_queue_says() {
    // With one arm: 1 / (4 + 1).
    assert!((repairman(1, 1, 4.0, 1.0) - 0.2).abs() < 1e-12);
    for (arms, concurrency) in [(1, 1), (4, 1), (8, 1), (8, 2), (12, 4)] {
        let mut simulated = inputs(&format!(
            r#"
            arms = {arms}
            [completions]
            tokens = {{ kind = "exponential", mean = 4 }}
            [sampler]
            decode = [{{ sequences = 1, tokens_per_second = 1 }}]
            [judge]
            servers = 1
            concurrency = {concurrency}
            latency_seconds = {{ kind = "exponential", mean = 1 }}
            "#
        ));
        // 40,000 steps: the mean of so many exponential times has a standard error of 0.5 %.
        simulated.run.steps = 40_000 / arms as u64;
        let outcome = simulate(&simulated).unwrap();
        let expected = repairman(arms, concurrency, 4.0, 1.0);
        let rate = outcome.steps_per_hour / 3600.0;
        assert!((rate / expected - 1.0).abs() < 0.02, "{arms} arms, {concurrency}: {rate} and {expected}");
        let busy = 1.0 - outcome.judge_idle.unwrap();
        assert!((busy - expected / concurrency as f64).abs() < 0.02, "{busy}");
    }
}

#[test]
fn a_busy_single_judge_tends_to_an_open_queue() {
    // Many arms that think long are a Poisson stream: 200 arms, 400 s each, 0.5 requests/s at a server of 1 s. In an M/M/1 queue
    // with half its time used a request takes 1 / (1 − 0.5) = 2 s from its arrival to its answer.
    let mut simulated = inputs(
        r#"
        arms = 200
        [completions]
        tokens = { kind = "exponential", mean = 400 }
        [sampler]
        decode = [{ sequences = 1, tokens_per_second = 1 }]
        [judge]
        servers = 1
        concurrency = 1
        latency_seconds = { kind = "exponential", mean = 1 }
        "#,
    );
    simulated.run.steps = 300;
    let outcome = simulate(&simulated).unwrap();
    assert!((outcome.phases.judge - 2.0).abs() < 0.15, "{}", outcome.phases.judge);
}

#[test]
fn the_same_seed_gives_the_same_outcome_and_another_seed_another() {
    let mut simulated = pipeline(2);
    simulated.completions.tokens = Distribution::Lognormal { mean: 3.0, sigma: 0.5 };
    simulated.failures.learner_mtbf_hours = 0.3;
    simulated.failures.sampler_mtbf_hours = 0.3;
    simulated.failures.judge_mtbf_hours = 0.3;
    simulated.checkpoint.every = 10;
    let once = simulate(&simulated).unwrap();
    // SIM-1.
    assert_eq!(simulate(&simulated).unwrap(), once);
    simulated.run.seed += 1;
    assert!(simulate(&simulated).unwrap().wall_seconds != once.wall_seconds);
}

#[test]
fn evaluations_checkpoints_and_the_start_take_their_time() {
    let mut simulated = pipeline(0);
    simulated.run.startup_seconds = 7.0;
    simulated.evaluation.every = 50;
    simulated.evaluation.at_start = true;
    simulated.evaluation.batches = 2;
    simulated.evaluation.sample_seconds = 4.0;
    simulated.evaluation.judge_requests = 3;
    simulated.checkpoint.every = 100;
    simulated.checkpoint.seconds = 11.0;
    // Steps 200 · 10 s. Evaluations at 0, 50, 100, 150 and 200, each 2 batches of 4 + 5 s. Checkpoints at 100 and 200.
    let expected = 7.0 + 2000.0 + 5.0 * 18.0 + 2.0 * 11.0;
    let outcome = simulate(&simulated).unwrap();
    assert!((outcome.wall_seconds - expected).abs() < 1e-6, "{}", outcome.wall_seconds);
    assert!((outcome.evaluation_seconds - 90.0).abs() < 1e-6);
}

#[test]
fn arms_take_turns_on_cores_and_on_a_gpu_of_their_own() {
    // Without a judge: 3 s of the sampler and 2 s of the learner.
    let mut simulated = pipeline(4);
    simulated.judge.servers = 0;
    simulated.learner.shares_gpu = true;
    let outcome = simulate(&simulated).unwrap();
    assert!((outcome.seconds_per_step - 5.0).abs() < 0.05, "{}", outcome.seconds_per_step);
    simulated.learner.shares_gpu = false;
    simulated.run.arms = 4;
    simulated.run.compute_slots = 2;
    // 4 arms · 200 steps · 5 s on 2 cores.
    let outcome = simulate(&simulated).unwrap();
    assert!((outcome.wall_seconds / 2000.0 - 1.0).abs() < 0.01, "{}", outcome.wall_seconds);
    assert!(outcome.bottleneck.starts_with("the cores, busy 100 %"), "{}", outcome.bottleneck);
}

#[test]
fn a_continuous_sampler_decodes_two_steps_at_the_same_time() {
    let mut simulated = pipeline(1);
    simulated.judge.servers = 0;
    simulated.learner.step_seconds = 0.0;
    // A token step takes a second for one sequence as for two.
    simulated.sampler.decode = vec![
        crate::inputs::DecodePoint { sequences: 1.0, tokens_per_second: 1.0 },
        crate::inputs::DecodePoint { sequences: 2.0, tokens_per_second: 2.0 },
    ];
    let in_turn = simulate(&simulated).unwrap();
    simulated.sampler.batching = Batching::Continuous;
    let together = simulate(&simulated).unwrap();
    assert!((in_turn.seconds_per_step - 3.0).abs() < 0.05 && (together.seconds_per_step - 1.5).abs() < 0.05);
}

#[test]
fn what_fails_is_taken_again_from_the_last_checkpoint() {
    let mut simulated = pipeline(0);
    simulated.checkpoint.every = 20;
    simulated.failures.learner_mtbf_hours = 0.2;
    simulated.failures.learner_restart_seconds = 5.0;
    let outcome = simulate(&simulated).unwrap();
    assert!(outcome.failures > 0 && outcome.lost_steps > 0);
    // What was lost, at most a step that was under way, and the restarts are all that is added.
    let least = 2000.0 + 10.0 * outcome.lost_steps as f64 + 5.0 * outcome.failures as f64;
    let most = least + 10.0 * outcome.failures as f64;
    assert!((least..=most).contains(&outcome.wall_seconds), "{outcome:?}");
    simulated.failures.learner_mtbf_hours = 0.001;
    let never = simulate(&simulated).unwrap_err().to_string();
    assert!(never.starts_with("the arms do not get on: ") && never.contains("mtbf_hours"), "{never}");
}

#[test]
fn failing_samplers_and_judges_only_cost_time() {
    let undisturbed = simulate(&pipeline(0)).unwrap();
    let mut simulated = pipeline(0);
    simulated.failures.sampler_mtbf_hours = 0.1;
    simulated.failures.sampler_restart_seconds = 30.0;
    simulated.failures.judge_mtbf_hours = 0.1;
    simulated.failures.judge_restart_seconds = 30.0;
    let outcome = simulate(&simulated).unwrap();
    assert!(outcome.failures > 0 && outcome.lost_steps == 0);
    assert!(outcome.wall_seconds > undisturbed.wall_seconds + 30.0, "{}", outcome.wall_seconds);
}
