//! Compares two GRPO steps on the same completions with transformers, PEFT and PyTorch's AdamW (`fixtures/train_step`):
//! losses, gradient norms, and the adapter after each step.

use std::collections::BTreeMap;

use model::checkpoint::read_tensors;
use model::loss::{GrpoConfig, LossInputs, LossKind, Normalizer, grpo_loss};
use model::optim::{AdamW, AdamWConfig};
use model::{Adapter, Group, Policy, PolicyOptions};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::goldens::{Golden, TOLERANCE, assert_close, fixtures, golden, pair};

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap()
}

#[track_caller]
fn assert_number(ours: f64, golden: f64, what: &str) {
    assert!((ours - golden).abs() < TOLERANCE, "{what}: {ours} instead of {golden}");
}

fn policy(gradient_checkpointing: bool) -> Policy {
    let options = PolicyOptions {
        adapter: Some(Adapter::Directory(fixtures().join("train_step/adapter_init"))),
        gradient_checkpointing: Some(gradient_checkpointing),
        ..Default::default()
    };
    Policy::open(&fixtures().join("qwen2_audio/model"), &options).unwrap()
}

/// PEFT's name for an adapter's tensor.
fn peft_name(name: &str) -> String {
    name.replacen("language_model.model.", "base_model.model.model.language_model.", 1)
}

/// The ids of the completions, two groups of `size`.
fn completions(golden: &Golden, document: &Value, size: usize) -> Vec<Vec<i64>> {
    let length = document["prompt_len"].as_i64().unwrap();
    let completion = |row: i64| -> Vec<i64> {
        let ids = golden["input_ids"].get(row);
        let ids = ids.narrow(0, length, ids.size()[0] - length);
        Vec::try_from(ids.masked_select(&golden["completion_mask"].get(row).to_kind(Kind::Bool))).unwrap()
    };
    (0..2 * size as i64).map(completion).collect()
}

/// The settings of the loss and of the optimizer.
fn settings(document: &Value) -> (GrpoConfig, AdamWConfig) {
    let grpo = GrpoConfig {
        loss: LossKind::Grpo,
        clip_low: number(document, "eps_low"),
        clip_high: number(document, "eps_high"),
        kl_coef: number(document, "beta_kl"),
        ..Default::default()
    };
    let betas: Vec<f64> = serde_json::from_value(document["betas"].clone()).unwrap();
    let adamw = AdamWConfig {
        lr_factors: Vec::new(),
        betas: (betas[0], betas[1]),
        eps: number(document, "eps"),
        weight_decay: number(document, "weight_decay"),
        max_grad_norm: Some(number(document, "max_grad_norm")),
    };
    (grpo, adamw)
}

/// Compares the trained tensors that the golden file has for a step.
fn assert_trained(policy: &Policy, golden: &Golden, step: usize) {
    let trained: BTreeMap<String, Tensor> = policy.trainable().into_iter().collect();
    let mut compared = 0;
    for (name, tensor) in trained {
        if let Some(expected) = golden.get(&format!("step{step}/{}", peft_name(&name))) {
            assert_close(&tensor.detach(), expected, &format!("step {step}: {name}"));
            compared += 1;
        }
    }
    assert_eq!(compared, 16);
}

fn assert_two_steps(policy: &Policy) {
    let golden = golden("train_step/golden");
    let text = std::fs::read_to_string(fixtures().join("train_step/golden.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let (prompts, size) = (pair(policy.processor()), document["G"].as_u64().unwrap() as usize);
    let completions = completions(&golden, &document, size);
    let groups: Vec<Group<'_>> = prompts
        .iter()
        .zip(completions.chunks(size))
        .map(|(prompt, own)| Group { prompt, completions: own.iter().map(Vec::as_slice).collect() })
        .collect();
    let reference = policy.reference().unwrap().logprobs(&groups, 1.0).unwrap().logprobs;
    assert_close(&reference, &golden["ref_logps"], "reference");

    let (config, adamw) = settings(&document);
    let mut adamw = AdamW::new(policy.trainable(), adamw).unwrap();
    let old = &golden["logps_step0"];
    for (step, expected) in document["steps"].as_array().unwrap().iter().enumerate() {
        adamw.zero_grad();
        let current = policy.forward(&groups, 1.0, 0).unwrap();
        let what = format!("step {step}");
        assert_close(&current.logprobs.detach(), &golden[&format!("logps_step{step}")], &what);
        let normalizer = Normalizer::of_lengths(completions.iter().map(Vec::len), 20);
        let inputs = LossInputs {
            logprobs: &current.logprobs,
            old_logprobs: Some(old),
            sampling_logprobs: None,
            correction: None,
            covariant: None,
            entropy: None,
            ref_logprobs: Some(&reference),
            advantages: &golden["advantages"],
            mask: &current.mask,
            normalizer,
        };
        let outputs = grpo_loss(&inputs, &config);
        current.backward(&outputs.loss).unwrap();
        let done = adamw.step(number(&document, "lr"));
        assert_number(outputs.loss.double_value(&[]), number(expected, "loss"), &what);
        assert_number(done.grad_norm, number(expected, "grad_norm_before_clip"), &what);
        assert_number(outputs.metrics.kl().unwrap(), number(expected, "mean_kl"), &what);
        assert_trained(policy, &golden, step);
    }
    let after = policy.logprobs(&groups, 1.0).unwrap().logprobs;
    assert_close(&after, &golden["logps_after"], "after both steps");
    // The steps changed the compared tensors by more than the tolerance: Adam's first step is the learning rate, 1e-3.
    let start = read_tensors(&fixtures().join("train_step/adapter_init/adapter_model.safetensors")).unwrap();
    let (name, start) = start.iter().find(|(name, _)| golden.contains_key(&format!("step0/{name}"))).unwrap();
    let moved = (start - &golden[&format!("step0/{name}")]).abs().max().double_value(&[]);
    assert!(moved > 5.0 * TOLERANCE, "{moved}");
}

#[test]
fn two_grpo_steps_of_an_adapter_equal_those_of_peft() {
    assert_two_steps(&policy(false));
}

#[test]
fn two_grpo_steps_with_gradient_checkpointing_equal_those_of_peft() {
    assert_two_steps(&policy(true));
}
