//! Compares the real small model with transformers and PEFT (`fixtures/small`): token ids, greedy texts, what is heard, and a
//! GRPO step of an adapter. Skipped where `make small-model` has not fetched the model; `make test` says so.

use std::path::PathBuf;

use audio::Hearing;
use model::loss::{GrpoConfig, LossInputs, Normalizer, grpo_loss};
use model::optim::{AdamW, AdamWConfig};
use model::{Adapter, Group, LoraConfig, Policy, PolicyOptions, Prompt, SamplingParams, TargetModules};
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::goldens::{fixtures, golden, open};

/// Largest difference of a logit or a log-probability.
const TOLERANCE: f64 = 2e-4;
/// Every so many logits are in the golden file.
const STRIDE: i64 = 97;
const ASK: &str = "Which word is said? Choose from: bread, boat, cat, lemon. Answer in <answer> </answer>.";

fn folder() -> Option<PathBuf> {
    let default = || scenarios::cache_dir().join("small/model");
    let folder = std::env::var_os("AUDIO_THINKER_SMALL").map_or_else(default, PathBuf::from);
    if folder.join("model.safetensors").exists() {
        return Some(folder);
    }
    eprintln!("skipped: {} is missing; `make small-model` fetches it", folder.display());
    None
}

fn document(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("small").join(name)).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<i64> {
    serde_json::from_value(value.clone()).unwrap()
}

fn largest_difference(one: &Tensor, other: &Tensor) -> f64 {
    assert_eq!(one.size(), other.size());
    (one - other).abs().max().double_value(&[])
}

fn heard(policy: &Policy) -> Prompt {
    let path = fixtures().join("audio/chirp_3s.wav");
    let clip = policy.processor().extract(&audio::load(&path, &Hearing::default()).unwrap().samples).unwrap();
    policy.processor().prompt(ASK, &[clip.into()]).unwrap()
}

#[test]
fn texts_have_the_ids_of_the_fast_tokenizer() {
    let Some(folder) = folder() else { return };
    let policy = open(&folder);
    let cases = document("tokens.json");
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(policy.processor().encode(text), ids(&case["ids"]), "{text:?}");
    }
    assert!(cases.as_array().unwrap().len() > 30);
}

#[test]
fn greedy_texts_are_those_of_transformers() {
    let Some(folder) = folder() else { return };
    let policy = open(&folder);
    let cases = document("greedy.json");
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 50);
    let prompts: Vec<Prompt> = cases
        .iter()
        .map(|case| policy.processor().prompt(case["prompt"].as_str().unwrap(), &[]).unwrap())
        .collect();
    let params = SamplingParams { temperature: 0.0, max_new_tokens: 16, ..SamplingParams::default() };
    let found = policy.generate(&prompts, 1, &params, &[0; 50]).unwrap();
    for (case, completion) in cases.iter().zip(found) {
        assert_eq!(completion.ids, ids(&case["ids"]), "{}", case["prompt"]);
    }
}

#[test]
fn a_clip_is_heard_alike() {
    let Some(folder) = folder() else { return };
    let (policy, expected) = (open(&folder), golden("small/heard"));
    let prompt = heard(&policy);
    assert_eq!(prompt.ids, Vec::<i64>::try_from(&expected["input_ids"]).unwrap());
    let features = policy.encode_clip(&prompt.clips[0]).unwrap();
    assert!(largest_difference(&features.projected.narrow(0, 0, 4), &expected["projected"]) < TOLERANCE);
    let logits = policy.logits(&[prompt]).unwrap().get(0);
    let last = logits.narrow(0, logits.size()[0] - 6, 6).slice(1, 0, None, STRIDE);
    let difference = largest_difference(&last, &expected["logits"]);
    assert!(difference < TOLERANCE, "{difference}");
}

#[test]
fn a_grpo_step_of_an_adapter_equals_peft_s() {
    let Some(folder) = folder() else { return };
    let (expected, described) = (golden("small/grpo_step"), document("grpo_step.json"));
    let targets = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj";
    let config = LoraConfig {
        rank: 8,
        alpha: 16.0,
        target_modules: TargetModules::Pattern(targets.to_owned()),
        ..LoraConfig::default()
    };
    let adapter = Some(Adapter::Fresh { config, seed: 1 });
    let policy = Policy::open(&folder, &PolicyOptions { adapter, ..Default::default() }).unwrap();
    let trained = policy.trainable();
    tch::no_grad(|| {
        for (index, (_, tensor)) in trained.iter().enumerate() {
            let places = Tensor::arange(tensor.numel() as i64, (Kind::Double, tch::Device::Cpu));
            let values = (places * 0.37 + index as f64).sin() * 0.01;
            tensor.shallow_clone().copy_(&values.view(tensor.size().as_slice()));
        }
    });
    let mut adamw =
        AdamW::new(policy.trainable(), AdamWConfig { max_grad_norm: None, ..AdamWConfig::default() })
            .unwrap();
    let completions: Vec<Vec<i64>> = serde_json::from_value(described["completions"].clone()).unwrap();
    let prompt = heard(&policy);
    let group = || Group { prompt: &prompt, completions: completions.iter().map(Vec::as_slice).collect() };
    let assert_logprobs = |found: &Tensor, when: &str, tolerance: f64| {
        for (row, completion) in completions.iter().enumerate() {
            let found = found.get(row as i64).narrow(0, 0, completion.len() as i64);
            let difference = largest_difference(&found, &expected[&format!("{when}_{row}")]);
            assert!(difference < tolerance, "{when}, completion {row}: {difference}");
        }
    };
    let forward = policy.forward(&[group()], 1.0, 0).unwrap();
    assert_logprobs(&forward.logprobs.detach(), "before", TOLERANCE);
    let old = forward.logprobs.detach();
    let tokens = completions.iter().map(Vec::len);
    let loss = grpo_loss(
        &LossInputs {
            logprobs: &forward.logprobs,
            sampling_logprobs: None,
            correction: None,
            covariant: None,
            entropy: None,
            old_logprobs: Some(&old),
            ref_logprobs: None,
            advantages: &Tensor::from_slice(&[1.0f32, -1.0]),
            mask: &forward.mask,
            normalizer: Normalizer::of_lengths(tokens, 64),
        },
        &GrpoConfig { kl_coef: 0.0, ..GrpoConfig::default() },
    );
    forward.backward(&loss.loss).unwrap();
    let norms = described["grad_norms"].as_object().unwrap();
    assert_eq!(norms.len(), trained.len());
    for (name, tensor) in &trained {
        let (found, norm) = (tensor.grad().norm().double_value(&[]), norms[name].as_f64().unwrap());
        assert!((found - norm).abs() < 1e-3 * norm.max(1.0), "{name}: {found} instead of {norm}");
    }
    // Adam's first step is the learning rate in the direction of the gradient, so that its error is that of small gradients.
    adamw.step(1e-3);
    let after = policy.logprobs(&[group()], 1.0).unwrap().logprobs;
    assert_logprobs(&after, "after", 2e-3);
}
