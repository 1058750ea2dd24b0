//! Compares LoRA with transformers and PEFT (`fixtures/lora`): logits, log-probabilities and gradients with the
//! adapter, the base without it, and the files that both sides write.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::checkpoint::{read_tensors, write_tensors};
use model::{Adapter, Group, LoraConfig, ModelError, Policy, PolicyOptions, Prompt, TargetModules};
use serde_json::Value;
use tch::Kind;

use crate::goldens::{self, Golden, TOLERANCE, assert_close, assert_logits, fixtures, golden, row_ids};

/// The names of the adapters and of their base models.
const CASES: [(&str, &str); 4] = [
    ("qwen2_audio_lm_only", "qwen2_audio"),
    ("qwen2_audio_all_linear", "qwen2_audio"),
    ("qwen2_5_omni_lm_only", "qwen2_5_omni"),
    ("qwen3_tied_all_linear", "qwen3_tied"),
];
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

fn base(model: &str) -> PathBuf {
    fixtures().join(model).join("model")
}

fn adapter_dir(name: &str) -> PathBuf {
    fixtures().join("lora").join(name).join("adapter")
}

/// The golden tensors of an adapter.
fn lora_golden(name: &str) -> Golden {
    golden(&format!("lora/{name}/golden"))
}

fn try_open(base: &Path, adapter: &Path) -> Result<Policy, ModelError> {
    let adapter = Some(Adapter::Directory(adapter.to_path_buf()));
    Policy::open(base, &PolicyOptions { adapter, ..Default::default() })
}

fn open(model: &str, adapter: &Path) -> Policy {
    try_open(&base(model), adapter).unwrap()
}

/// The prompts of the model's `batch2`.
fn pair(policy: &Policy) -> [Prompt; 2] {
    match policy.config().audio {
        Some(_) => goldens::pair(policy.processor()),
        None => ["What is it?", "Describe the sound, please."]
            .map(|text| policy.processor().prompt(text, &[]).unwrap()),
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// PEFT's name for an adapter's tensor.
fn peft_name(model: &str, name: &str) -> String {
    match (model, name.strip_prefix("language_model.model.")) {
        ("qwen2_audio", Some(rest)) => format!("base_model.model.model.language_model.{rest}"),
        ("qwen2_audio", None) => format!("base_model.model.model.{name}"),
        _ => format!("base_model.model.{name}"),
    }
}

/// Compares the log-probabilities, and the gradients of their mean with respect to every tensor of the adapter.
fn assert_logprobs_and_gradients(policy: &Policy, model: &str, name: &str) {
    let golden = lora_golden(name);
    let norms = read_json(&fixtures().join("lora").join(name).join("golden.json"));
    let grad_norms: HashMap<String, f64> = serde_json::from_value(norms["grad_norms"].clone()).unwrap();
    let prompts = pair(policy);
    let ids = [0, 1].map(|row| row_ids(&golden, "completion_ids", "completion_mask", row));
    let groups: Vec<Group<'_>> =
        prompts.iter().zip(&ids).map(|(prompt, ids)| Group { prompt, completions: vec![ids] }).collect();
    let found = policy.forward(&groups, 1.0, 0).unwrap();
    assert_close(&found.logprobs.detach(), &golden["completion_logps"], name);
    let mean = found.logprobs.sum(Kind::Float) / found.mask.sum(Kind::Float);
    assert!((mean.double_value(&[]) - golden["mean_logprob"].double_value(&[0])).abs() < TOLERANCE);
    found.backward(&mean).unwrap();
    let mut squares = 0.0;
    let trainable = policy.trainable();
    assert_eq!(trainable.len(), grad_norms.len());
    for (own_name, tensor) in trainable {
        let (name, gradient) = (peft_name(model, &own_name), tensor.grad());
        let norm = gradient.norm().double_value(&[]);
        squares += norm * norm;
        assert!((norm - grad_norms[&name]).abs() < TOLERANCE, "{name}: {norm}");
        if let Some(expected) = golden.get(&format!("grad/{name}")) {
            assert_close(&gradient, expected, &name);
        }
    }
    assert!((squares.sqrt() - norms["total_grad_norm"].as_f64().unwrap()).abs() < TOLERANCE);
}

#[test]
fn adapters_of_peft_have_the_same_logits_logprobs_and_gradients() {
    for (name, model) in CASES {
        let (policy, expected) = (open(model, &adapter_dir(name)), lora_golden(name));
        assert_logits(&policy, &pair(&policy), &expected["logits"], name);
        assert_logits(&policy.replica().unwrap(), &pair(&policy), &expected["logits"], "a sampler");
        assert_logprobs_and_gradients(&policy, model, name);
        let adapter = Some(Adapter::Directory(adapter_dir(name)));
        let options = PolicyOptions { adapter, gradient_checkpointing: Some(true), ..Default::default() };
        assert_logprobs_and_gradients(&Policy::open(&base(model), &options).unwrap(), model, name);
    }
}

/// A copy of an adapter with renamed tensors.
fn renamed(name: &str, rename: impl Fn(String) -> String) -> tempfile::TempDir {
    let dir = goldens::copied(&adapter_dir(name));
    let tensors = read_tensors(&adapter_dir(name).join(WEIGHTS)).unwrap().into_iter();
    let tensors: Vec<_> = tensors.map(|(name, tensor)| (rename(name), tensor)).collect();
    write_tensors(&dir.path().join(WEIGHTS), &tensors).unwrap();
    dir
}

#[test]
fn names_of_transformers_4_and_of_the_whole_omni_are_read_too() {
    let (old, whole) = ("qwen2_audio_all_linear", "qwen2_5_omni_lm_only");
    let cases = [
        (
            old,
            "qwen2_audio",
            renamed(old, |name| {
                name.replace(
                    "base_model.model.model.language_model.",
                    "base_model.model.language_model.model.",
                )
                .replace("base_model.model.model.", "base_model.model.")
            }),
        ),
        (
            whole,
            "qwen2_5_omni",
            renamed(whole, |name| {
                name.replace("base_model.model.", "base_model.model.thinker.")
                    .replace("lora_A", "lora_A.default")
            }),
        ),
    ];
    for (name, model, dir) in cases {
        let first = read_tensors(&dir.path().join(WEIGHTS)).unwrap()[0].0.clone();
        assert!(["base_model.model.audio", "base_model.model.think"].contains(&&first[..22]), "{first}");
        let policy = open(model, dir.path());
        assert_logits(&policy, &pair(&policy), &lora_golden(name)["logits"], name);
    }
}

#[test]
fn the_reference_of_an_adapter_is_its_base_without_copies() {
    for (name, model) in CASES {
        let policy = open(model, &adapter_dir(name));
        let reference = policy.reference().unwrap();
        assert_logits(&reference, &pair(&policy), &golden(&format!("{model}/batch2"))["logits"], name);
        assert!(reference.trainable().is_empty(), "a reference has no tensors of its own");
    }
}

#[test]
fn an_adapter_is_written_as_peft_wrote_it() {
    for (name, model) in CASES {
        let (policy, parent) = (open(model, &adapter_dir(name)), tempfile::tempdir().unwrap());
        let dir = parent.path().join("adapter");
        // The tensors of a replica are views, which must be written in full.
        policy.replica().unwrap().save(&dir).unwrap();
        assert_eq!(
            read_tensors(&dir.join(WEIGHTS)).unwrap(),
            read_tensors(&adapter_dir(name).join(WEIGHTS)).unwrap()
        );
        let config = read_json(&dir.join(CONFIG));
        assert_eq!(config["base_model_name_or_path"], base(model).to_str().unwrap());
        assert_eq!((&config["r"], &config["lora_alpha"]), (&Value::from(8), &Value::from(32)));
        let layers = if model == "qwen2_audio" { r"model\.language_model\.layers" } else { r"model\.layers" };
        let expected = format!(
            r"{layers}\.\d+\.mlp\.(down_proj|gate_proj|up_proj)|{layers}\.\d+\.self_attn\.(k_proj|o_proj|q_proj|v_proj)"
        );
        let targets = config["target_modules"].as_str().unwrap();
        assert!(targets.contains(&expected), "{targets}");
        assert_eq!(targets.contains("audio_tower"), name == "qwen2_audio_all_linear");
        let read = open(model, &dir);
        assert_logits(&read, &pair(&read), &lora_golden(name)["logits"], "written and read");
        for ((name, read), (_, held)) in policy.read_trainable(&dir).unwrap().iter().zip(policy.trainable()) {
            assert_eq!(*read, held.detach(), "{name}");
        }
    }
}

#[test]
fn a_merged_directory_is_a_complete_model_with_the_same_logits() {
    for (name, model) in CASES {
        let (policy, parent) = (open(model, &adapter_dir(name)), tempfile::tempdir().unwrap());
        let dir = parent.path().join("merged");
        policy.merge(&dir).unwrap();
        assert_logits(&goldens::open(&dir), &pair(&policy), &lora_golden(name)["logits"], name);
    }
}

#[test]
fn adapter_for_another_base_is_refused_in_one_line() {
    let refused = |base: &Path, adapter: &Path| try_open(base, adapter).err().unwrap().to_string();
    let (base, adapter) = (base("qwen2_audio"), adapter_dir("qwen2_audio_lm_only"));
    let shallow = goldens::copied(&base);
    let mut config = read_json(&base.join("config.json"));
    config["text_config"]["num_hidden_layers"] = Value::from(1);
    fs::write(shallow.path().join("config.json"), config.to_string()).unwrap();
    let message = refused(shallow.path(), &adapter);
    assert!(message.contains("no layer for `base_model.model.model.language_model.layers.1."), "{message}");
    assert!(message.ends_with("(14 such tensors): the adapter was made for another base"), "{message}");

    let message = refused(&base, &adapter_dir("qwen3_tied_all_linear"));
    assert!(message.contains("no layer for `base_model.model.model.layers.0."), "{message}");

    let other = goldens::copied(&adapter);
    let text = fs::read_to_string(adapter.join(CONFIG)).unwrap();
    fs::write(other.path().join(CONFIG), text.replace("\"r\": 8", "\"r\": 4")).unwrap();
    let message = refused(&base, other.path());
    assert!(
        message.contains("has shape [8, 64]; this base and adapter_config.json ask for [4, 64]"),
        "{message}"
    );
    fs::remove_file(other.path().join(WEIGHTS)).unwrap();
    assert!(refused(&base, other.path()).contains(WEIGHTS));
    fs::remove_file(other.path().join(CONFIG)).unwrap();
    assert!(refused(&base, other.path()).contains(CONFIG));
}

fn fresh(target_modules: TargetModules, adapt_tower: bool) -> Result<Policy, ModelError> {
    let config = LoraConfig { rank: 4, target_modules, ..Default::default() };
    let adapter = Some(Adapter::Fresh { config, seed: 5 });
    Policy::open(&base("qwen2_audio"), &PolicyOptions { adapter, adapt_tower, ..Default::default() })
}

#[test]
fn a_fresh_adapter_starts_equal_to_its_base_and_trains_alone() {
    let policy = fresh(TargetModules::AllLinear, false).unwrap();
    assert_logits(&policy, &pair(&policy), &golden("qwen2_audio/batch2")["logits"], "fresh");
    // Two layers of seven projections.
    let trainable = policy.trainable();
    assert_eq!(trainable.len(), 28);
    for (name, tensor) in &trainable {
        assert!(name.starts_with("language_model.model.layers.") && tensor.requires_grad(), "{name}");
        assert_eq!(tensor.abs().max().double_value(&[]) == 0.0, name.ends_with("lora_B.weight"), "{name}");
    }
    // Uniform within ±1/√64, the default of PyTorch's linear layers and of PEFT: standard deviation 1/√(3·64).
    let (_, a) = &trainable
        [trainable.iter().position(|(name, _)| name.ends_with("0.mlp.up_proj.lora_A.weight")).unwrap()];
    assert_eq!(a.size(), [4, 64]);
    assert!(a.abs().max().double_value(&[]) <= 0.125);
    assert!((a.std(true).double_value(&[]) - 1.0 / 192f64.sqrt()).abs() < 0.006);

    let names = |policy: Policy| policy.trainable().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    // Each of the tower's two layers has six linear layers, and the projector is one more.
    assert_eq!(names(fresh(TargetModules::AllLinear, true).unwrap()).len(), 28 + 2 * (2 * 6 + 1));
    let some = names(fresh(TargetModules::Named(vec!["q_proj".into(), "v_proj".into()]), false).unwrap());
    assert_eq!(some.len(), 8, "{some:?}");
}

#[test]
fn replicas_load_the_adapter_and_the_base_is_unchanged() {
    // All projections, then only some of those that are joined; with the tower.
    for targets in [TargetModules::AllLinear, TargetModules::Named(vec!["v_proj".into(), "up_proj".into()])] {
        let policy = fresh(targets, true).unwrap();
        let (replica, reference) = (policy.replica().unwrap(), policy.reference().unwrap());
        let prompts = pair(&policy);
        let before = policy.logits(&prompts).unwrap();
        disturb(&policy);
        let after = policy.logits(&prompts).unwrap();
        assert!((&after - &before).abs().max().double_value(&[]) > 1e-2);
        assert_close(&replica.logits(&prompts).unwrap(), &before, "unchanged");
        replica.load_trainable(&policy.publish()).unwrap();
        assert_close(&replica.logits(&prompts).unwrap(), &after, "after loading");
        assert_close(&policy.learner().unwrap().logits(&prompts).unwrap(), &after, "another learner");
        assert_close(&reference.logits(&prompts).unwrap(), &before, "the base");
        assert!(replica.trainable().iter().all(|(_, tensor)| !tensor.requires_grad()));
    }
}

#[test]
fn targets_that_match_no_layer_are_refused_with_the_layers_to_choose_from() {
    let refused = |modules, tower| fresh(modules, tower).err().unwrap().to_string();
    let named = |name: &str| TargetModules::Named(vec!["q_proj".to_owned(), name.to_owned()]);
    assert_eq!(
        refused(named("fc1"), false),
        "target_modules: `fc1` matches no linear layer that may be adapted; write one of down_proj, gate_proj, k_proj, \
         lm_head, o_proj, q_proj, up_proj, v_proj (those of the audio tower too with train_audio_tower = true)"
    );
    assert!(
        refused(named("query"), true).contains(
            "`query` matches no linear layer that may be adapted; write one of down_proj, fc1, fc2"
        )
    );
    assert!(
        refused(TargetModules::Pattern("q".into()), false).contains("the pattern matches no linear layer")
    );
    assert!(refused(TargetModules::Pattern("(".into()), false).contains("not a valid regular expression"));
}

/// Changes every tensor of an adapter.
fn disturb(policy: &Policy) {
    let _guard = tch::no_grad_guard();
    for (index, (_, mut tensor)) in policy.trainable().into_iter().enumerate() {
        let change = (tensor.ones_like().cumsum(0, Kind::Float) * (1.0 + index as f64)).sin() * 0.05;
        let _ = tensor.g_add_(&change);
    }
}

#[test]
#[ignore = "writes the directories that fixtures/open_with_transformers.py opens"]
fn write_for_transformers() {
    let out = PathBuf::from(std::env::var_os("WRITE_FOR_TRANSFORMERS").unwrap());
    for (model, adapt_tower) in [("qwen2_audio", true), ("qwen2_5_omni", true), ("qwen3_tied", false)] {
        let dir = out.join(model);
        fs::create_dir_all(&dir).unwrap();
        let dir = fs::canonicalize(dir).unwrap();
        goldens::open(&base(model)).save(&dir.join("base")).unwrap();
        let adapter = Some(Adapter::Fresh { config: LoraConfig::default(), seed: 1 });
        let options = PolicyOptions { adapter, adapt_tower, ..Default::default() };
        let policy = Policy::open(&dir.join("base"), &options).unwrap();
        let ids: Vec<i64> = (5..40).collect();
        let prompt = Prompt { ids: ids.clone(), clips: Vec::new() };
        let logits = |policy: &Policy| policy.logits(std::slice::from_ref(&prompt)).unwrap().get(0);
        let before = logits(&policy);
        disturb(&policy);
        policy.save(&dir.join("adapter")).unwrap();
        policy.merge(&dir.join("merged")).unwrap();
        let tensors = [
            ("ids".to_owned(), tch::Tensor::from_slice(&ids)),
            ("base".to_owned(), before),
            ("adapted".to_owned(), logits(&policy)),
        ];
        write_tensors(&dir.join("logits.safetensors"), &tensors).unwrap();
    }
}
