//! Compares the Qwen2-Audio policy with Hugging Face's `Qwen2AudioForConditionalGeneration` of transformers 5.17
//! (goldens in `fixtures/qwen2_audio` and `fixtures/tokenizer`).

use std::fs;
use std::path::PathBuf;

use model::checkpoint::{read_tensors, write_tensors};
use model::{Policy, Processor, Prompt};
use serde_json::Value;
use tch::Tensor;

use crate::goldens::{
    assert_close, assert_greedy, assert_greedy_with_eos, assert_ids, assert_logits, assert_logprobs, clip,
    copied, fixtures, golden, open, pair, row_ids,
};

fn model_dir() -> PathBuf {
    fixtures().join("qwen2_audio/model")
}

fn policy() -> Policy {
    open(&model_dir())
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
fn prompts_have_the_ids_of_hugging_face() {
    let processor = Processor::open(&model_dir()).unwrap();
    assert_ids(&pair(&processor), &golden("qwen2_audio/batch2"));
    let clips = ["odd_1p2345s", "tone_0p5s"].map(|name| clip(&processor, name));
    assert_ids(&[processor.prompt("Same?", &clips).unwrap()], &golden("qwen2_audio/two_audios"));
}

#[test]
fn audio_tower_and_projector_give_the_same_features() {
    let policy = policy();
    for name in ["tone_0p5s", "odd_1p2345s", "chirp_3s", "mix_31s"] {
        let golden = golden(&format!("qwen2_audio/encoder_{name}"));
        let features = policy.encode_clip(&clip(policy.processor(), name)).unwrap();
        assert_eq!(features.projected.size()[0], golden["audio_tokens"].int64_value(&[0]), "{name}");
        assert_close(&features.encoded, &golden["encoder_out"], name);
        assert_close(&features.projected, &golden["projected"], name);
    }
}

#[test]
fn left_padded_batch_has_the_same_logits() {
    let policy = policy();
    assert_logits(&policy, &pair(policy.processor()), &golden("qwen2_audio/batch2")["logits"], "batch2");
}

#[test]
fn a_text_prompt_in_a_batch_with_audio_has_the_same_logits() {
    let policy = policy();
    let golden = golden("qwen2_audio/mixed_text_and_audio");
    let [_, audio] = pair(policy.processor());
    let text = Prompt { ids: row_ids(&golden, "input_ids", "attention_mask", 1), clips: Vec::new() };
    assert_logits(&policy, &[audio, text], &golden["logits_last24"], "mixed");
}

#[test]
fn two_clips_in_a_prompt_have_the_same_logits() {
    let policy = policy();
    let clips = ["odd_1p2345s", "tone_0p5s"].map(|name| clip(policy.processor(), name));
    let prompt = policy.processor().prompt("Same?", &clips).unwrap();
    assert_logits(&policy, &[prompt], &golden("qwen2_audio/two_audios")["logits"], "two audios");
}

#[test]
fn a_clip_longer_than_thirty_seconds_has_the_same_ids_and_logits() {
    let policy = policy();
    let golden = golden("qwen2_audio/long_31s");
    let prompt = policy.processor().prompt("What is it?", &[clip(policy.processor(), "mix_31s")]).unwrap();
    assert_eq!(prompt.ids, Vec::<i64>::try_from(golden["input_ids"].get(0)).unwrap());
    assert_logits(&policy, &[prompt], &golden["logits_last32"], "31 s");
}

#[test]
fn greedy_decoding_writes_the_same_ids() {
    let prompts = pair(&Processor::open(&model_dir()).unwrap());
    assert_greedy(&model_dir(), &prompts, &golden("qwen2_audio/batch2"));
}

#[test]
fn a_row_with_its_end_token_stops_and_the_other_continues() {
    let prompts = pair(&Processor::open(&model_dir()).unwrap());
    assert_greedy_with_eos(&model_dir(), &prompts, &golden("qwen2_audio/batch2"));
}

#[test]
fn completions_have_the_same_logprobs() {
    let policy = policy();
    assert_logprobs(&policy, &pair(policy.processor()), &golden("qwen2_audio/batch2"));
}

#[test]
fn the_configuration_of_the_hub_opens_the_same_model() {
    let dir = copied(&model_dir());
    fs::rename(dir.path().join("config_hub_style.json"), dir.path().join("config.json")).unwrap();
    let hub = open(dir.path());
    assert_logits(&hub, &pair(hub.processor()), &golden("qwen2_audio/batch2")["logits"], "hub");
}

#[test]
fn names_of_transformers_5_are_read_and_those_of_the_hub_written() {
    // NAME-1.
    let dir = copied(&model_dir());
    let path = dir.path().join("model.safetensors");
    let hub = read_tensors(&path).unwrap();
    let rename = |(name, tensor): &(String, Tensor)| {
        (name.replace("language_model.model.", "language_model.model.model."), tensor.shallow_clone())
    };
    write_tensors(&path, &hub.iter().map(rename).collect::<Vec<_>>()).unwrap();
    let policy = open(dir.path());
    let saved = dir.path().join("saved");
    policy.save(&saved).unwrap();
    let written = read_tensors(&saved.join("model.safetensors")).unwrap();
    assert_eq!(written.len(), hub.len());
    for ((name, tensor), (hub_name, hub_tensor)) in written.iter().zip(&hub) {
        assert_eq!(name, hub_name);
        assert_eq!(tensor, hub_tensor, "{name}");
    }
}
