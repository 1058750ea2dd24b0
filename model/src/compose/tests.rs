use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::checkpoint::{read_tensors, write_tensors};
use crate::logprobs::Group;
use crate::policy::{Policy, PolicyOptions};
use crate::processor::Prompt;

fn fixture(model: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(model).join("model")
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn write_json(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).unwrap();
}

fn parts(audio: &Path, text: &Path) -> Parts {
    Parts { audio: audio.to_owned(), text: text.to_owned(), projector: None, bf16: false, seed: 5 }
}

/// The encoder of the Qwen2-Audio fixture as a Whisper saves it.
fn whisper(dir: &Path) -> PathBuf {
    let from = fixture("qwen2_audio");
    let config = read_json(&from.join("config.json"));
    let mut audio = config["audio_config"].clone();
    audio["model_type"] = "whisper".into();
    let tensors = read_tensors(&from.join("model.safetensors")).unwrap();
    let encoder = tensors.into_iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("model.").unwrap_or(&name);
        Some((format!("model.encoder.{}", name.strip_prefix("audio_tower.")?), tensor))
    });
    let dir = dir.join("whisper");
    fs::create_dir(&dir).unwrap();
    write_tensors(&dir.join("model.safetensors"), &encoder.collect::<Vec<_>>()).unwrap();
    write_json(&dir.join("config.json"), &audio);
    fs::write(dir.join("README.md"), "---\nlicense: mit\n---\n# Ears\n").unwrap();
    dir
}

/// The Qwen3 fixture as a Llama, with 300 tokens, none of them for conversations, and 304 embeddings.
fn llama(dir: &Path) -> PathBuf {
    let from = fixture("qwen3_tied");
    let dir = dir.join("llama");
    fs::create_dir(&dir).unwrap();
    let tensors = read_tensors(&from.join("model.safetensors")).unwrap();
    let llama = tensors.into_iter().filter(|(name, _)| !name.contains("q_norm") && !name.contains("k_norm"));
    write_tensors(&dir.join("model.safetensors"), &llama.collect::<Vec<_>>()).unwrap();
    let mut config = read_json(&from.join("config.json"));
    config["model_type"] = "llama".into();
    write_json(&dir.join("config.json"), &config);
    // Their names are given to tokens that nothing uses.
    let mut tokenizer = fs::read_to_string(from.join("tokenizer.json")).unwrap();
    for name in ["<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"] {
        tokenizer = tokenizer.replace(name, &name.replace("|>", "_unused|>"));
    }
    fs::write(dir.join("tokenizer.json"), tokenizer).unwrap();
    dir
}

fn scores(policy: &Policy) -> Tensor {
    let prompt = Prompt { ids: vec![3, 141, 59, 26, 53], clips: Vec::new() };
    let group = Group { prompt: &prompt, completions: vec![&[5, 89, 79, 32], &[38]] };
    policy.logprobs(&[group], 1.0).unwrap().logprobs
}

#[test]
fn a_text_is_scored_as_by_the_language_model_alone() {
    let dir = tempfile::tempdir().unwrap();
    let audio = whisper(dir.path());
    for text in [fixture("qwen3_tied"), fixture("qwen3_untied")] {
        let out = dir.path().join("composed");
        let made = compose(&parts(&audio, &text), &out).unwrap();
        let composed = Policy::open(&out, &PolicyOptions::default()).unwrap();
        let alone = Policy::open(&text, &PolicyOptions::default()).unwrap();
        let difference = (scores(&composed) - scores(&alone)).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{}: {difference}", text.display());
        let file = read_tensors(&out.join("model.safetensors")).unwrap();
        assert!(file.iter().any(|(name, _)| name == "language_model.lm_head.weight"), "COMPOSE-2");
        assert_eq!(made.parameters, file.iter().map(|(_, tensor)| tensor.numel() as u64).sum::<u64>());
    }
}

#[test]
fn a_whisper_and_a_llama_hear_a_clip_and_answer_in_the_template() {
    let dir = tempfile::tempdir().unwrap();
    let (audio, text, out) = (whisper(dir.path()), llama(dir.path()), dir.path().join("composed"));
    let made = compose(&parts(&audio, &text), &out).unwrap();
    assert_eq!(
        made.added_tokens,
        ["<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
    );
    let policy = Policy::open(&out, &PolicyOptions::default()).unwrap();
    let samples: Vec<f32> = (0..16_000).map(|at| (at as f32 * 0.2).sin()).collect();
    let clip = std::sync::Arc::new(policy.processor().extract(&samples).unwrap());
    let prompt = policy.processor().prompt("What is it?", &[clip]).unwrap();
    // 100 mel frames: 50 positions, pooled in pairs.
    let audio_token = policy.config().audio.as_ref().unwrap().token_id;
    // Four rows were free, the fifth token has a new one.
    assert_eq!((audio_token, policy.config().text.vocab_size), (302, 305));
    assert_eq!(prompt.ids.iter().filter(|id| **id == audio_token).count(), 25);
    let group = Group { prompt: &prompt, completions: vec![&[5, 6]] };
    assert!(policy.logprobs(&[group], 1.0).unwrap().logprobs.isfinite().all().int64_value(&[]) == 1);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("| encoder | whisper | mit |"), "{card}");
    assert!(card.contains("| language model | llama | not stated; see its source |"), "{card}");

    // The projector of one model fits into another, by either name; another seed makes another one.
    let again = dir.path().join("again");
    let given = Parts { projector: Some(out.join("model.safetensors")), seed: 6, ..parts(&audio, &text) };
    compose(&given, &again).unwrap();
    let projector = |dir: &Path| {
        let tensors = read_tensors(&dir.join("model.safetensors")).unwrap();
        tensors.into_iter().find(|(name, _)| name == "multi_modal_projector.linear.weight").unwrap().1
    };
    assert_eq!(projector(&again), projector(&out));
    compose(&Parts { projector: None, ..given }, &again).unwrap();
    assert_ne!(projector(&again), projector(&out));
}

#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (audio, text) = (whisper(dir.path()), llama(dir.path()));
    let out = dir.path().join("composed");
    let message = |audio: &Path, text: &Path| compose(&parts(audio, text), &out).unwrap_err().to_string();
    let of_text = message(&text, &text);
    assert!(of_text.contains("llama/config.json: model_type is `llama`; the audio part is"), "{of_text}");
    let of_audio = message(&audio, &audio);
    assert!(
        of_audio.contains("whisper/config.json: model_type is `whisper`; the text part is"),
        "{of_audio}"
    );
    let change = |path: &Path, key: &str, value: Value| {
        let mut config = read_json(path);
        let before = config[key].clone();
        config[key] = value;
        write_json(path, &config);
        before
    };
    let config = text.join("config.json");
    let rope = change(&config, "rope_parameters", json!({"rope_type": "llama3", "rope_theta": 1e4}));
    let scaled = message(&audio, &text);
    assert!(
        scaled.contains("llama/config.json: text_config.rope_parameters: rope type `llama3`"),
        "{scaled}"
    );
    change(&config, "rope_parameters", rope);
    let path = audio.join("config.json");
    let activation = change(&path, "activation_function", "relu".into());
    let relu = message(&audio, &text);
    assert!(relu.contains("whisper/config.json: audio_config.activation_function is `relu`"), "{relu}");
    change(&path, "activation_function", activation);
    fs::remove_file(text.join("tokenizer.json")).unwrap();
    let missing = message(&audio, &text);
    assert!(missing.contains("llama/tokenizer.json: does not exist"), "{missing}");
    assert!(!out.exists(), "nothing is left behind");
    assert!(
        compose(&parts(&audio, &text), &text).unwrap_err().to_string().contains("is a part of the model")
    );
}
