//! Steps that run out of memory (FIT-1), which libtorch reports after a micro-batch has added its gradient.

use std::path::Path;
use std::sync::Arc;

use model::loss::{Correction, CorrectionLevel, GrpoConfig};
use model::optim::AdamWConfig;
use model::{Adapter, Completion, Finish, LoraConfig, PolicyOptions, Trained};

use super::*;
use crate::compute_slots::ComputeSlots;
use crate::fit::injected;
use crate::weight_store::WeightStore;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/qwen2_audio/model");

/// How a policy trains: all weights, or an adapter with dropout.
#[derive(Clone, Copy, Debug)]
enum Train {
    Full,
    Lora { dropout: f64 },
}

fn policy(train: Train) -> Policy {
    let adapter = |dropout: f64| Adapter::Fresh {
        config: LoraConfig { rank: 2, dropout, ..LoraConfig::default() },
        seed: 5,
    };
    let options = match train {
        Train::Full => PolicyOptions { trained: Trained::DECODER, ..PolicyOptions::default() },
        Train::Lora { dropout } => PolicyOptions {
            trained: Trained::NOTHING,
            adapter: Some(adapter(dropout)),
            ..PolicyOptions::default()
        },
    };
    Policy::open(Path::new(MODEL), &options).unwrap()
}

/// An optimizer whose passes take so many prompts.
fn optimizer(train: Train, micro_batch_prompts: usize) -> OptimizerState {
    let policy = policy(train);
    let trainable = policy.publish();
    let first = Published { policy_version: 0, trainable, optimizer: Vec::new() };
    OptimizerState::restore(OptimizerArgs {
        weights: WeightStore::new(policy, first),
        kl_coef: 0.1,
        entropy_coef: 0.0,
        kl_in_reward: false,
        kl_control: None,
        entropy_control: None,
        micro_batch_prompts,
        max_new_tokens: 8,
        reference: true,
        // Large enough that rounding of gradients near 0 does not decide the sign of an update.
        adamw: AdamWConfig { eps: 1e-2, ..AdamWConfig::default() },
        schedule: LrSchedule::constant(1e-3),
        align: None,
        finite_checkpoints: true,
        seed: 7,
        threads: 1,
        compute_slots: ComputeSlots::new(None),
        ranks: None,
    })
    .unwrap()
}

/// Four prompts with two completions of 2 + 4, 3 + 3, 4 + 2 and 5 + 1 tokens: 24 in all, 6 of each prompt.
fn completions() -> Vec<(model::Prompt, [Vec<i64>; 2])> {
    let of = |prompt: i64| {
        let ids = |from: i64, count: i64| (from..from + count).map(|id| 40 + id * 7 % 200).collect();
        let prompt_ids = (0..=prompt).map(|id| 60 + id).collect();
        let lengths = [2 + prompt, 4 - prompt];
        let both = [ids(prompt * 11, lengths[0]), ids(prompt * 5 + 3, lengths[1])];
        (model::Prompt { ids: prompt_ids, clips: Vec::new() }, both)
    };
    (0..4).map(of).collect()
}

fn grpo_batch(entropy_top_fraction: f64) -> GrpoBatch {
    let completion = |ids: Vec<i64>| Completion {
        logprobs: ids.iter().map(|&id| -5.5 - id as f32 * 1e-3).collect(),
        ids,
        forced: 0..0,
        finish: Finish::Eos,
    };
    let group = |(place, (prompt, ids)): (usize, (model::Prompt, [Vec<i64>; 2]))| TrainGroup {
        prompt,
        completions: ids.map(completion).into(),
        advantages: vec![0.5 + place as f64 * 0.1, -0.7],
        mode_advantages: vec![0.2, -0.1],
        think_tokens: vec![1, 0],
    };
    let settings = GrpoSettings {
        lr: 1e-3,
        grpo: GrpoConfig { kl_coef: 0.1, ..GrpoConfig::default() },
        correction: Some(Correction { level: CorrectionLevel::Token, mask: false, cap: 2.0 }),
        entropy_top_fraction,
        covariance: None,
        iterations: 2,
        mask_truncated: false,
        measure_ratios: true,
        temperature: 1.0,
    };
    GrpoBatch {
        groups: completions().into_iter().enumerate().map(group).collect(),
        settings: Arc::new(settings),
        sampled_kl: None,
    }
}

fn sft_groups() -> Vec<SftGroup> {
    completions().into_iter().map(|(prompt, targets)| SftGroup { prompt, targets: targets.into() }).collect()
}

/// The reports of three steps, and the weights after them.
fn train(state: &mut OptimizerState, method: &str) -> (Vec<StepReport>, NamedTensors) {
    let mut step = || match method {
        "grpo" => state.grpo_step(&grpo_batch(0.5)).unwrap(),
        "grpo on all tokens" => state.grpo_step(&grpo_batch(1.0)).unwrap(),
        _ => state.sft_step(&sft_groups()).unwrap(),
    };
    let reports = vec![step(), step(), step()];
    (reports, state.policy.publish())
}

/// The largest difference between weights.
fn difference(one: &NamedTensors, other: &NamedTensors) -> f64 {
    let gaps = one.iter().zip(other).map(|((_, a), (_, b))| (a - b).abs().max().double_value(&[]));
    gaps.fold(0.0, f64::max)
}

#[test]
fn steps_that_ran_out_of_memory_equal_those_of_smaller_micro_batches_to_the_bit() {
    for (way, method) in [
        (Train::Full, "grpo"),
        (Train::Full, "sft"),
        (Train::Lora { dropout: 0.2 }, "grpo"),
        (Train::Lora { dropout: 0.2 }, "sft"),
    ] {
        injected::limit(usize::MAX);
        let before = policy(way).publish();
        let (expected, weights) = train(&mut optimizer(way, 1), method);
        let whole = train(&mut optimizer(way, 0), method).1;
        // A prompt's completions have 6 tokens: 24, 12 and then 6 at once.
        injected::limit(6);
        let (found, ours) = train(&mut optimizer(way, 0), method);
        assert_eq!(difference(&ours, &weights), 0.0, "{way:?} {method}");
        assert!(difference(&ours, &before) > 1e-4, "{way:?} {method}: the steps changed the weights");
        let splits: Vec<u64> = found.iter().map(|report| report.memory_splits).collect();
        assert_eq!(splits, [2, 0, 0], "{way:?} {method}: the size is kept");
        for (ours, theirs) in found.iter().zip(&expected) {
            assert_eq!((ours.loss, ours.grad_norm), (theirs.loss, theirs.grad_norm), "{way:?} {method}");
            assert_eq!(
                (&ours.metrics, ours.ratios, ours.tokens),
                (&theirs.metrics, theirs.ratios, theirs.tokens)
            );
        }
        if matches!(way, Train::Full) {
            assert!(difference(&ours, &whole) < 1e-6, "{method}: {}", difference(&ours, &whole));
        }
    }
}

#[test]
fn single_completions_add_up_to_the_step_of_whole_groups() {
    for way in [Train::Full, Train::Lora { dropout: 0.0 }] {
        // Tokens of equal entropy at the threshold would be told apart by the last bit.
        for method in ["grpo on all tokens", "sft"] {
            injected::limit(usize::MAX);
            let weights = train(&mut optimizer(way, 0), method).1;
            // The longest completion has 5 tokens.
            injected::limit(5);
            let (reports, ours) = train(&mut optimizer(way, 0), method);
            assert_eq!(reports[0].memory_splits, 3, "24, 12, 6 and then 5 tokens");
            let difference = difference(&ours, &weights);
            assert!(difference < 1e-6, "{way:?} {method}: {difference}");
        }
    }
}

#[test]
fn a_completion_that_does_not_fit_alone_ends_the_step_with_one_message() {
    injected::limit(4);
    let error = optimizer(Train::Full, 0).grpo_step(&grpo_batch(0.5)).unwrap_err();
    assert!(matches!(error, WorkerError::StepTooLarge { .. }), "{error}");
    let error = optimizer(Train::Full, 0).sft_step(&sft_groups()).unwrap_err();
    assert!(matches!(error, WorkerError::StepTooLarge { .. }), "{error}");
}
