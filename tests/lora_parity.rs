//! LoRA against transformers with PEFT (`fixtures/lora`): logits, log-probabilities and gradients with the adapter on,
//! the base with it off, and the files both ways.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::audio::{Downmix, load_audio};
use model::checkpoint::{read_tensors, write_tensors};
use model::{Adapter, Group, LoraConfig, Policy, PolicyOptions, Prompt, TargetModules};
use serde_json::Value;
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-4;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn base() -> PathBuf {
    fixtures().join("qwen2_audio/model")
}

/// An adapter's goldens.
struct Golden {
    tensors: HashMap<String, Tensor>,
    grad_norms: HashMap<String, f64>,
    total_grad_norm: f64,
}

fn golden(name: &str) -> Golden {
    let dir = fixtures().join("lora").join(name);
    let document: Value = serde_json::from_slice(&fs::read(dir.join("golden.json")).unwrap()).unwrap();
    Golden {
        tensors: read_tensors(&dir.join("golden.safetensors")).unwrap().into_iter().collect(),
        grad_norms: serde_json::from_value(document["grad_norms"].clone()).unwrap(),
        total_grad_norm: document["total_grad_norm"].as_f64().unwrap(),
    }
}

fn adapter_dir(name: &str) -> PathBuf {
    fixtures().join("lora").join(name).join("adapter")
}

fn open(adapter: &Path) -> Policy {
    let adapter = Some(Adapter::Directory(adapter.to_path_buf()));
    Policy::open(&base(), &PolicyOptions { adapter, ..Default::default() }).unwrap()
}

fn opening_fails_with(base: &Path, adapter: &Path) -> String {
    let adapter = Some(Adapter::Directory(adapter.to_path_buf()));
    match Policy::open(base, &PolicyOptions { adapter, ..Default::default() }) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

/// The left-padded pair of `qwen2_audio/batch2`.
fn pair(policy: &Policy) -> [Prompt; 2] {
    let processor = policy.processor();
    [("What is it?", "tone_0p5s"), ("Describe the sound, please.", "chirp_3s")].map(|(text, name)| {
        let path = fixtures().join("audio").join(name).with_extension("wav");
        let clip = processor.features().extract(&load_audio(&path, Downmix::Mean).unwrap());
        processor.prompt(text, &[Arc::new(clip)]).unwrap()
    })
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let difference = (found - expected).abs().max().double_value(&[]);
    assert!(difference < tolerance, "{what}: differs by {difference}");
}

#[track_caller]
fn assert_logits(policy: &Policy, expected: &Tensor, what: &str) {
    let prompts = pair(policy);
    let found = policy.logits(&prompts).unwrap();
    for (row, prompt) in prompts.iter().enumerate() {
        let count = prompt.ids.len() as i64;
        let last = |x: &Tensor| x.get(row as i64).narrow(0, x.size()[1] - count, count);
        assert_close(&last(&found), &last(expected), TOLERANCE, &format!("{what}, row {row}"));
    }
}

/// PEFT's name for an adapter's tensor.
fn peft_name(name: &str) -> String {
    let name = match name.strip_prefix("language_model.model.") {
        Some(rest) => format!("language_model.{rest}"),
        None => name.to_owned(),
    };
    format!("base_model.model.model.{name}")
}

fn completions(golden: &Golden) -> Vec<Vec<i64>> {
    let row = |row| {
        let real = golden.tensors["completion_mask"].get(row).to_kind(Kind::Bool);
        Vec::try_from(golden.tensors["completion_ids"].get(row).masked_select(&real)).unwrap()
    };
    vec![row(0), row(1)]
}

/// Log-probabilities, and every gradient of their mean.
fn assert_logprobs_and_gradients(policy: &Policy, golden: &Golden) {
    let (prompts, ids) = (pair(policy), completions(golden));
    let groups: Vec<Group<'_>> =
        prompts.iter().zip(&ids).map(|(prompt, ids)| Group { prompt, completions: vec![ids] }).collect();
    let found = policy.logprobs(&groups, 1.0).unwrap();
    assert_close(&found.logprobs.detach(), &golden.tensors["completion_logps"], TOLERANCE, "logprobs");
    let tokens = found.mask.sum(Kind::Float);
    let mean = found.logprobs.sum(Kind::Float) / tokens;
    let expected = golden.tensors["mean_logprob"].double_value(&[0]);
    assert!((mean.double_value(&[]) - expected).abs() < TOLERANCE);
    mean.backward();
    let mut squares = 0.0;
    let gradients: Vec<(String, Tensor)> =
        policy.trainable().iter().map(|(name, tensor)| (peft_name(name), tensor.grad())).collect();
    assert_eq!(gradients.len(), golden.grad_norms.len());
    for (name, gradient) in gradients {
        let norm = gradient.norm().double_value(&[]);
        squares += norm * norm;
        assert!((norm - golden.grad_norms[&name]).abs() < TOLERANCE, "{name}: {norm}");
        if let Some(expected) = golden.tensors.get(&format!("grad/{name}")) {
            assert_close(&gradient, expected, TOLERANCE, &name);
        }
    }
    assert!((squares.sqrt() - golden.total_grad_norm).abs() < TOLERANCE);
}

#[test]
fn adapters_of_peft_have_the_same_logits_logprobs_and_gradients() {
    for name in ["qwen2_audio_lm_only", "qwen2_audio_all_linear"] {
        let (policy, golden) = (open(&adapter_dir(name)), golden(name));
        assert_logits(&policy, &golden.tensors["logits"], name);
        assert_logits(&policy.replica().unwrap(), &golden.tensors["logits"], "a sampler");
        assert_logprobs_and_gradients(&policy, &golden);
    }
}

#[test]
fn names_of_transformers_4_are_read_too() {
    let name = "qwen2_audio_all_linear";
    let dir = tempfile::tempdir().unwrap();
    fs::copy(adapter_dir(name).join("adapter_config.json"), dir.path().join("adapter_config.json")).unwrap();
    let file = "adapter_model.safetensors";
    let rename = |(name, tensor): (String, Tensor)| {
        let name = name
            .replace("base_model.model.model.language_model.", "base_model.model.language_model.model.")
            .replace("base_model.model.model.", "base_model.model.");
        (name, tensor)
    };
    let old: Vec<_> = read_tensors(&adapter_dir(name).join(file)).unwrap().into_iter().map(rename).collect();
    assert!(old.iter().any(|(name, _)| name.starts_with("base_model.model.audio_tower.")));
    write_tensors(&dir.path().join(file), &old).unwrap();
    assert_logits(&open(dir.path()), &golden(name).tensors["logits"], "4.x names");
}

#[test]
fn with_the_adapter_off_it_is_the_base_in_the_bases_memory() {
    for name in ["qwen2_audio_lm_only", "qwen2_audio_all_linear"] {
        let policy = open(&adapter_dir(name));
        let batch: HashMap<String, Tensor> =
            read_tensors(&fixtures().join("qwen2_audio/batch2.safetensors")).unwrap().into_iter().collect();
        let reference = policy.reference().unwrap();
        assert_logits(&reference, &batch["logits"], "reference");
        assert!(reference.trainable().is_empty(), "nothing of its own");
    }
}

#[test]
fn adapter_that_was_read_is_written_as_peft_wrote_it() {
    for name in ["qwen2_audio_lm_only", "qwen2_audio_all_linear"] {
        let (policy, parent) = (open(&adapter_dir(name)), tempfile::tempdir().unwrap());
        let dir = parent.path().join("adapter");
        // A replica's tensors are views.
        policy.replica().unwrap().save(&dir).unwrap();
        let file = "adapter_model.safetensors";
        let (ours, theirs) =
            (read_tensors(&dir.join(file)).unwrap(), read_tensors(&adapter_dir(name).join(file)).unwrap());
        assert_eq!(ours, theirs);
        let config: Value =
            serde_json::from_slice(&fs::read(dir.join("adapter_config.json")).unwrap()).unwrap();
        assert_eq!(config["base_model_name_or_path"], base().to_str().unwrap());
        assert_eq!((&config["r"], &config["lora_alpha"]), (&Value::from(8), &Value::from(32)));
        let expected = r"model\.language_model\.layers\.\d+\.mlp\.(down_proj|gate_proj|up_proj)|model\.language_model\.layers\.\d+\.self_attn\.(k_proj|o_proj|q_proj|v_proj)";
        let targets = config["target_modules"].as_str().unwrap();
        assert!(targets.contains(expected), "{targets}");
        assert_eq!(targets.contains("audio_tower"), name.ends_with("all_linear"));
        assert_logits(&open(&dir), &golden(name).tensors["logits"], "written and read");
        for ((name, read), (_, held)) in policy.read_trainable(&dir).unwrap().iter().zip(policy.trainable()) {
            assert_eq!(*read, held.detach(), "{name}");
        }
    }
}

#[test]
fn merged_directory_is_a_whole_model_with_the_same_logits() {
    let name = "qwen2_audio_all_linear";
    let (policy, parent) = (open(&adapter_dir(name)), tempfile::tempdir().unwrap());
    let dir = parent.path().join("merged");
    policy.merge(&dir).unwrap();
    let merged = Policy::open(&dir, &PolicyOptions::default()).unwrap();
    assert_logits(&merged, &golden(name).tensors["logits"], "merged");
}

#[test]
fn adapter_for_another_base_is_refused_in_one_line() {
    let narrow = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(base()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), narrow.path().join(entry.file_name())).unwrap();
    }
    let path = narrow.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["text_config"]["num_hidden_layers"] = Value::from(1);
    fs::write(&path, config.to_string()).unwrap();
    let message = opening_fails_with(narrow.path(), &adapter_dir("qwen2_audio_lm_only"));
    assert!(message.contains("no layer for `base_model.model.model.language_model.layers.1."), "{message}");
    assert!(message.ends_with("(14 such tensors): the adapter was made for another base"), "{message}");

    let qwen3 = opening_fails_with(&base(), &adapter_dir("qwen3_tied_all_linear"));
    assert!(qwen3.contains("no layer for `base_model.model.model.layers.0."), "{qwen3}");

    let other = tempfile::tempdir().unwrap();
    let from = adapter_dir("qwen2_audio_lm_only");
    let config = fs::read_to_string(from.join("adapter_config.json")).unwrap();
    fs::write(other.path().join("adapter_config.json"), config.replace("\"r\": 8", "\"r\": 4")).unwrap();
    let weights = "adapter_model.safetensors";
    fs::copy(from.join(weights), other.path().join(weights)).unwrap();
    let message = opening_fails_with(&base(), other.path());
    assert!(message.contains("has shape [8, 64]; this base and adapter_config.json ask for [4, 64]"), "{message}");
    fs::remove_file(other.path().join(weights)).unwrap();
    assert!(opening_fails_with(&base(), other.path()).contains(weights));
    fs::remove_file(other.path().join("adapter_config.json")).unwrap();
    assert!(opening_fails_with(&base(), other.path()).contains("adapter_config.json"));
}

fn fresh(target_modules: TargetModules, train_audio_tower: bool) -> Result<Policy, model::ModelError> {
    let config = LoraConfig { rank: 4, target_modules, ..Default::default() };
    let adapter = Some(Adapter::Fresh { config, seed: 5 });
    Policy::open(&base(), &PolicyOptions { adapter, train_audio_tower, ..Default::default() })
}

#[test]
fn fresh_adapter_starts_as_its_base_and_only_it_trains() {
    let policy = fresh(TargetModules::AllLinear, false).unwrap();
    let batch: HashMap<String, Tensor> =
        read_tensors(&fixtures().join("qwen2_audio/batch2.safetensors")).unwrap().into_iter().collect();
    assert_logits(&policy, &batch["logits"], "fresh");
    // Two layers of seven projections.
    let trainable = policy.trainable();
    assert_eq!(trainable.len(), 28);
    for (name, tensor) in &trainable {
        assert!(name.starts_with("language_model.model.layers.") && tensor.requires_grad(), "{name}");
        assert_eq!(tensor.abs().max().double_value(&[]) == 0.0, name.ends_with("lora_B.weight"), "{name}");
    }
    // Uniform within ±1/√64, as PyTorch's and so PEFT's linear layers start: deviation 1/√(3·64).
    let (_, a) = &trainable[trainable.iter().position(|(name, _)| name.ends_with("0.mlp.up_proj.lora_A.weight")).unwrap()];
    assert_eq!(a.size(), [4, 64]);
    assert!(a.abs().max().double_value(&[]) <= 0.125);
    assert!((a.std(true).double_value(&[]) - 1.0 / 192f64.sqrt()).abs() < 0.006);

    let names = |policy: Policy| policy.trainable().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    // Two layers of the tower have six linear layers each, the projector is one.
    assert_eq!(names(fresh(TargetModules::AllLinear, true).unwrap()).len(), 28 + 2 * (2 * 6 + 1));
    let some = names(fresh(TargetModules::Named(vec!["q_proj".into(), "v_proj".into()]), false).unwrap());
    assert_eq!(some.len(), 8, "{some:?}");
}

#[test]
fn replicas_follow_the_adapter_and_the_base_stays() {
    // Only some of the joined projections, and the tower too.
    for targets in [TargetModules::AllLinear, TargetModules::Named(vec!["v_proj".into(), "up_proj".into()])] {
        let policy = fresh(targets, true).unwrap();
        let (replica, reference) = (policy.replica().unwrap(), policy.reference().unwrap());
        let prompts = pair(&policy);
        let before = policy.logits(&prompts).unwrap();
        {
            let _guard = tch::no_grad_guard();
            for (index, (_, mut tensor)) in policy.trainable().into_iter().enumerate() {
                let change = (tensor.ones_like().cumsum(0, Kind::Float) * (index as f64)).sin() * 0.05;
                let _ = tensor.g_add_(&change);
            }
        }
        let after = policy.logits(&prompts).unwrap();
        assert!((&after - &before).abs().max().double_value(&[]) > 1e-2);
        assert_close(&replica.logits(&prompts).unwrap(), &before, 2e-5, "unchanged");
        replica.load_trainable(&policy.publish()).unwrap();
        assert_close(&replica.logits(&prompts).unwrap(), &after, 2e-5, "after loading");
        assert_close(&policy.learner().unwrap().logits(&prompts).unwrap(), &after, 2e-5, "another learner");
        assert_close(&reference.logits(&prompts).unwrap(), &before, 2e-5, "the base");
        assert!(replica.trainable().iter().all(|(_, tensor)| !tensor.requires_grad()));
    }
}

#[test]
fn targets_that_name_no_layer_are_refused_with_those_there_are() {
    let refused = |modules, tower| fresh(modules, tower).err().unwrap().to_string();
    let named = |name: &str| TargetModules::Named(vec!["q_proj".to_owned(), name.to_owned()]);
    assert_eq!(
        refused(named("fc1"), false),
        "target_modules: no linear layer that may be adapted goes by `fc1`; there are down_proj, gate_proj, k_proj, \
         lm_head, o_proj, q_proj, up_proj, v_proj (those of the audio tower with train_audio_tower = true)"
    );
    assert!(refused(named("query"), true).contains("goes by `query`; there are down_proj, fc1, fc2, gate_proj"));
    assert!(refused(TargetModules::Pattern("q".into()), false).contains("goes by `the pattern`"));
    assert!(refused(TargetModules::Pattern("(".into()), false).contains("no regular expression"));
}
