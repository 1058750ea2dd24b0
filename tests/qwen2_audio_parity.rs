//! The Qwen2-Audio policy against Hugging Face's `Qwen2AudioForConditionalGeneration` (`fixtures/qwen2_audio`,
//! `fixtures/tokenizer`; transformers 5.17).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::audio::{Downmix, LogMel, load_audio};
use model::checkpoint::{read_tensors, write_tensors};
use model::{Completion, Finish, Group, Policy, PolicyOptions, Processor, Prompt, SamplingParams};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-4;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn model_dir() -> PathBuf {
    fixtures().join("qwen2_audio/model")
}

fn policy() -> Policy {
    Policy::open(&model_dir(), &PolicyOptions::default()).unwrap()
}

fn golden(name: &str) -> HashMap<String, Tensor> {
    read_tensors(&fixtures().join("qwen2_audio").join(name)).unwrap().into_iter().collect()
}

fn clip(processor: &Processor, name: &str) -> Arc<LogMel> {
    let path = fixtures().join("audio").join(name).with_extension("wav");
    Arc::new(processor.features().extract(&load_audio(&path, Downmix::Mean).unwrap()))
}

/// The real ids of a row of a padded batch.
fn row_ids(golden: &HashMap<String, Tensor>, ids: &str, mask: &str, row: i64) -> Vec<i64> {
    let real = golden[mask].get(row).to_kind(Kind::Bool);
    Vec::try_from(golden[ids].get(row).masked_select(&real)).unwrap()
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let difference = (found - expected).abs().max().double_value(&[]);
    assert!(difference < TOLERANCE, "{what}: differs by {difference}");
}

/// Compares the last `expected.size()[1]` logits of each row where it has real tokens.
#[track_caller]
fn assert_logits(policy: &Policy, prompts: &[Prompt], expected: &Tensor, what: &str) {
    let found = policy.logits(prompts).unwrap();
    for (row, prompt) in prompts.iter().enumerate() {
        let count = (prompt.ids.len() as i64).min(expected.size()[1]);
        let last = |x: &Tensor| x.get(row as i64).narrow(0, x.size()[1] - count, count);
        assert_close(&last(&found), &last(expected), &format!("{what}, row {row}"));
    }
}

/// The prompts of `batch2`.
fn pair(processor: &Processor) -> [Prompt; 2] {
    [("What is it?", "tone_0p5s"), ("Describe the sound, please.", "chirp_3s")]
        .map(|(text, name)| processor.prompt(text, &[clip(processor, name)]).unwrap())
}

/// A copy of the model's directory, to be changed.
fn copied_model() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(model_dir()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

#[test]
fn text_is_encoded_and_decoded_as_by_hugging_face() {
    let processor = Processor::open(&model_dir()).unwrap();
    let cases = fs::read_to_string(fixtures().join("tokenizer/cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&cases).unwrap();
    assert!(cases.len() >= 10);
    for case in &cases {
        let ids: Vec<i64> = serde_json::from_value(case["ids"].clone()).unwrap();
        assert_eq!(processor.encode(case["text"].as_str().unwrap()), ids, "{}", case["text"]);
        assert_eq!(processor.decode(&ids), case["decode_skip_special"], "{}", case["text"]);
    }
}

#[test]
fn prompts_are_expanded_as_by_hugging_face() {
    let processor = Processor::open(&model_dir()).unwrap();
    let batch = golden("batch2.safetensors");
    for (row, prompt) in (0..).zip(&pair(&processor)) {
        assert_eq!(prompt.ids, row_ids(&batch, "input_ids", "attention_mask", row), "row {row}");
    }
    let two = golden("two_audios.safetensors");
    let clips = ["odd_1p2345s", "tone_0p5s"].map(|name| clip(&processor, name));
    let prompt = processor.prompt("Same?", &clips).unwrap();
    assert_eq!(prompt.ids, row_ids(&two, "input_ids", "attention_mask", 0));
}

#[test]
fn audio_tower_and_projector_give_the_same_features() {
    let policy = policy();
    for name in ["tone_0p5s", "odd_1p2345s", "chirp_3s", "mix_31s"] {
        let golden = golden(&format!("encoder_{name}.safetensors"));
        let features = policy.encode_clip(&clip(policy.processor(), name)).unwrap();
        assert_eq!(features.projected.size()[0], golden["audio_tokens"].int64_value(&[0]), "{name}");
        assert_close(&features.encoded, &golden["encoder_out"], name);
        assert_close(&features.projected, &golden["projected"], name);
    }
}

#[test]
fn left_padded_batch_has_the_same_logits() {
    let policy = policy();
    assert_logits(&policy, &pair(policy.processor()), &golden("batch2.safetensors")["logits"], "batch2");
}

#[test]
fn text_beside_audio_has_the_same_logits() {
    let policy = policy();
    let golden = golden("mixed_text_and_audio.safetensors");
    let [_, audio] = pair(policy.processor());
    let text = Prompt { ids: row_ids(&golden, "input_ids", "attention_mask", 1), clips: Vec::new() };
    assert_logits(&policy, &[audio, text], &golden["logits_last24"], "mixed");
}

#[test]
fn two_audios_have_the_same_logits() {
    let policy = policy();
    let clips = ["odd_1p2345s", "tone_0p5s"].map(|name| clip(policy.processor(), name));
    let prompt = policy.processor().prompt("Same?", &clips).unwrap();
    assert_logits(&policy, &[prompt], &golden("two_audios.safetensors")["logits"], "two audios");
}

#[test]
fn clip_beyond_thirty_seconds_has_the_same_ids_and_logits() {
    let policy = policy();
    let golden = golden("long_31s.safetensors");
    let prompt = policy.processor().prompt("What is it?", &[clip(policy.processor(), "mix_31s")]).unwrap();
    assert_eq!(prompt.ids, Vec::<i64>::try_from(golden["input_ids"].get(0)).unwrap());
    assert_logits(&policy, &[prompt], &golden["logits_last32"], "31 s");
}

/// Greedy decoding of `batch2` where every token may be written and `eos` ends a completion.
fn greedy(eos: &[i64]) -> Vec<Completion> {
    let dir = copied_model();
    let path = dir.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
        token["special"] = json!(false);
    }
    fs::write(&path, tokenizer.to_string()).unwrap();
    fs::write(dir.path().join("generation_config.json"), json!({"eos_token_id": eos}).to_string()).unwrap();
    let policy = Policy::open(dir.path(), &PolicyOptions::default()).unwrap();
    let params = SamplingParams { temperature: 0.0, max_new_tokens: 20, ..Default::default() };
    policy.generate(&pair(policy.processor()), 1, &params, &[0, 1]).unwrap()
}

#[test]
fn greedy_decoding_writes_the_same_ids() {
    let golden = golden("batch2.safetensors");
    for (row, completion) in (0..).zip(&greedy(&[])) {
        assert_eq!(completion.ids, Vec::<i64>::try_from(golden["greedy_ids"].get(row)).unwrap(), "row {row}");
        assert_eq!(completion.finish, Finish::Length);
        let logprobs = golden["greedy_logits_first3"].get(row).log_softmax(-1, Kind::Float);
        for token in 0..3 {
            let expected = logprobs.double_value(&[token as i64, completion.ids[token]]);
            assert!(
                (f64::from(completion.logprobs[token]) - expected).abs() < TOLERANCE,
                "row {row}, token {token}"
            );
        }
    }
}

#[test]
fn row_that_meets_its_end_token_stops_and_the_other_goes_on() {
    let golden = golden("batch2.safetensors");
    let eos = golden["greedy_with_eos_eos_id"].int64_value(&[0]);
    let completions = greedy(&[eos]);
    let expected = |row| Vec::<i64>::try_from(golden["greedy_with_eos_ids"].get(row)).unwrap();
    assert_eq!(completions[0].ids, expected(0)[..7]);
    assert_eq!((completions[0].finish, completions[0].logprobs.len()), (Finish::Eos, 7));
    assert_eq!(completions[1].ids, expected(1));
    assert_eq!(completions[1].finish, Finish::Length);
}

#[test]
fn completions_have_the_same_logprobs() {
    let policy = policy();
    let golden = golden("batch2.safetensors");
    let prompts = pair(policy.processor());
    let ids = [0, 1].map(|row| row_ids(&golden, "completion_ids", "completion_mask", row));
    let groups: Vec<Group<'_>> =
        prompts.iter().zip(&ids).map(|(prompt, ids)| Group { prompt, completions: vec![ids] }).collect();
    let found = policy.logprobs(&groups, 1.0).unwrap();
    assert_eq!(found.mask, golden["completion_mask"].to_kind(Kind::Bool));
    assert_close(&found.logprobs.detach(), &golden["completion_logps"], "logprobs");
}

#[test]
fn configuration_of_the_hub_opens_the_same_model() {
    let dir = copied_model();
    fs::rename(dir.path().join("config_hub_style.json"), dir.path().join("config.json")).unwrap();
    let hub = Policy::open(dir.path(), &PolicyOptions::default()).unwrap();
    assert_logits(&hub, &pair(hub.processor()), &golden("batch2.safetensors")["logits"], "hub");
}

#[test]
fn names_of_transformers_5_are_read_and_those_of_the_hub_written() {
    let dir = copied_model();
    let path = dir.path().join("model.safetensors");
    let hub = read_tensors(&path).unwrap();
    let rename = |(name, tensor): &(String, Tensor)| {
        (name.replace("language_model.model.", "language_model.model.model."), tensor.shallow_clone())
    };
    write_tensors(&path, &hub.iter().map(rename).collect::<Vec<_>>()).unwrap();
    let policy = Policy::open(dir.path(), &PolicyOptions::default()).unwrap();
    let saved = dir.path().join("saved");
    policy.save(&saved).unwrap();
    let written = read_tensors(&saved.join("model.safetensors")).unwrap();
    assert_eq!(written.len(), hub.len());
    for ((name, tensor), (hub_name, hub_tensor)) in written.iter().zip(&hub) {
        assert_eq!(name, hub_name);
        assert_eq!(tensor, hub_tensor, "{name}");
    }
}
