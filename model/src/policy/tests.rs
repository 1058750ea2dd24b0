//! Tests that need a whole policy and private parts of it: the memory that the backward pass keeps, and positions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::checkpoint::read_tensors;
use crate::lora::{Adapter, LoraConfig};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");

fn model_dir(model: &str) -> PathBuf {
    Path::new(FIXTURES).join(model).join("model")
}

/// Two prompts of different lengths. The first has two clips if the model has an audio tower.
fn prompts(policy: &Policy) -> [Prompt; 2] {
    let clip = |seconds: f32| {
        let samples: Vec<f32> =
            (0..(16_000.0 * seconds) as usize).map(|i| 0.3 * (0.1 * i as f32).sin()).collect();
        Arc::new(policy.processor().extract(&samples).unwrap())
    };
    let clips = if policy.config().audio.is_some() { vec![clip(0.5), clip(0.7)] } else { Vec::new() };
    let long = policy.processor().prompt("What is it?", &clips).unwrap();
    [long, policy.processor().prompt("Say so.", &[]).unwrap()]
}

type Gradients = Vec<(String, Tensor)>;

/// Log-probabilities, and the gradients of a weighted sum of them, with this much kept in between.
fn learn(policy: &Policy, memory: Memory) -> (Tensor, Gradients) {
    let prompts = prompts(policy);
    let groups = [
        Group { prompt: &prompts[0], completions: vec![&[5, 6, 7, 8], &[9], &[10, 11]] },
        Group { prompt: &prompts[1], completions: vec![&[12, 13, 14]] },
    ];
    let forward = forward(&policy.model, &groups, 0.9, 3, memory).unwrap();
    let logprobs = forward.logprobs.detach();
    let weights: Vec<f32> = (0..16).map(|i| (i as f32 * 0.7).sin()).collect();
    let loss = (&forward.logprobs * Tensor::from_slice(&weights).view([4, 4])).sum(Kind::Float);
    forward.backward(&loss).unwrap();
    let gradient = |(name, mut tensor): (String, Tensor)| {
        let gradient = tensor.grad().copy();
        tensor.zero_grad();
        (name, gradient)
    };
    (logprobs, policy.trainable().into_iter().map(gradient).collect())
}

fn assert_memory_makes_no_difference(policy: &Policy, what: &str) {
    let vocab = policy.config().text.vocab_size;
    let (expected, gradients) = learn(policy, Memory { recompute: false, logits: CHUNK });
    // FORWARD-1 to FORWARD-3. Chunks of all ten tokens, of three, and of one.
    for (recompute, logits) in [(true, CHUNK), (false, 3 * vocab), (true, 3 * vocab + 1), (true, 0)] {
        let (logprobs, others) = learn(policy, Memory { recompute, logits });
        let difference = (&logprobs - &expected).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{what}, {recompute} {logits}: {difference}");
        for ((name, ours), (_, theirs)) in others.iter().zip(&gradients) {
            let size = theirs.abs().max().double_value(&[]);
            let difference = (ours - theirs).abs().max().double_value(&[]);
            assert!(size > 0.0, "{what}: {name} has no gradient");
            assert!(
                difference <= 2e-5 * size.max(0.01),
                "{what}, {recompute} {logits}, {name}: {difference}"
            );
        }
    }
}

#[test]
fn recomputed_layers_and_logits_have_the_gradients_of_kept_ones() {
    for model in ["qwen2_audio", "qwen2_5_omni", "qwen3_tied"] {
        for train_audio_tower in [false, true] {
            let options = PolicyOptions { train_audio_tower, ..Default::default() };
            let policy = Policy::open(&model_dir(model), &options).unwrap();
            assert_memory_makes_no_difference(&policy, model);
        }
    }
}

/// A policy with an adapter whose `B` is not zero, so that dropout has an effect and `A` has gradients.
fn adapted(dropout: f64, train_audio_tower: bool) -> Policy {
    let config = LoraConfig { rank: 4, dropout, ..Default::default() };
    let adapter = Some(Adapter::Fresh { config, seed: 1 });
    let options = PolicyOptions { adapter, train_audio_tower, ..Default::default() };
    let policy = Policy::open(&model_dir("qwen2_audio"), &options).unwrap();
    let _guard = tch::no_grad_guard();
    for (_, mut tensor) in policy.trainable() {
        let change = (tensor.ones_like().flatten(0, -1).cumsum(0, Kind::Float) * 0.37).sin() * 0.05;
        let _ = tensor.g_add_(&change.view_as(&tensor));
    }
    policy
}

#[test]
fn recomputing_draws_the_dropout_masks_of_the_forward_pass() {
    for train_audio_tower in [false, true] {
        assert_memory_makes_no_difference(&adapted(0.0, train_audio_tower), "without dropout");
        assert_memory_makes_no_difference(&adapted(0.3, train_audio_tower), "with dropout");
    }
}

#[test]
fn dropout_is_only_for_training_and_depends_on_its_seed() {
    let (policy, without) = (adapted(0.3, false), adapted(0.0, false));
    let prompts = prompts(&policy);
    let groups = [Group { prompt: &prompts[0], completions: vec![&[5, 6, 7, 8]] }];
    let learning = |seed| policy.forward(&groups, 1.0, seed).unwrap().logprobs.detach();
    assert_eq!(learning(1), learning(1));
    assert!((learning(1) - learning(2)).abs().max().double_value(&[]) > 1e-3);
    let plain = policy.logprobs(&groups, 1.0).unwrap().logprobs;
    assert_eq!(plain, without.logprobs(&groups, 1.0).unwrap().logprobs);
    assert!(!plain.requires_grad());
}

#[test]
fn a_replica_without_gradients_has_no_backward_pass() {
    let policy =
        Policy::open(&model_dir("qwen3_tied"), &PolicyOptions::default()).unwrap().replica().unwrap();
    let prompts = prompts(&policy);
    let groups = [Group { prompt: &prompts[0], completions: vec![&[5]] }];
    let forward = policy.forward(&groups, 1.0, 0).unwrap();
    let loss = forward.logprobs.sum(Kind::Float);
    assert!(forward.backward(&loss).unwrap_err().to_string().starts_with("libtorch: "));
}

#[test]
fn positions_of_text_and_audio_are_those_of_omnis_rope_index() {
    let fixtures = Path::new(FIXTURES).join("qwen2_5_omni");
    let golden = |name: &str| -> HashMap<String, Tensor> {
        read_tensors(&fixtures.join(name)).unwrap().into_iter().collect()
    };
    let (golden_batch, index) = (golden("batch2.safetensors"), golden("rope_index.safetensors"));
    let real = golden_batch["attention_mask"].to_kind(Kind::Bool);
    let policy = Policy::open(&fixtures.join("model"), &PolicyOptions::default()).unwrap();
    let clips = [50, 300].map(|frames| {
        let values = vec![0.0; 128 * frames];
        Arc::new(LogMel { values, n_mels: 128, frames, valid_frames: frames, truncated: false })
    });
    let prompts = [0, 1].map(|row| Prompt {
        ids: Vec::try_from(golden_batch["input_ids"].get(row).masked_select(&real.get(row))).unwrap(),
        clips: vec![clips[row as usize].clone()],
    });
    let batch = policy.model.batch(&prompts.iter().collect::<Vec<_>>()).unwrap();
    let positions = Tensor::from_slice(&batch.positions).masked_select(&real.flatten(0, -1));
    // Time, height and width: for text and one clip, all three are equal.
    for row in 0..3 {
        assert_eq!(positions, index["position_ids_3xBxT"].get(row).masked_select(&real), "row {row}");
    }
}
