//! Compares the Qwen2.5-Omni policy with Hugging Face's `Qwen2_5OmniThinkerForConditionalGeneration` of transformers
//! 5.17 (goldens in `fixtures/qwen2_5_omni`).

use std::fs;
use std::path::PathBuf;

use model::checkpoint::{read_tensors, write_tensors};
use model::{Policy, Processor};
use tch::Tensor;

use crate::goldens::{
    assert_close, assert_greedy, assert_greedy_with_eos, assert_ids, assert_logits, assert_logprobs, clip,
    copied, fixtures, golden, open, pair,
};

fn model_dir() -> PathBuf {
    fixtures().join("qwen2_5_omni/model")
}

fn policy() -> Policy {
    open(&model_dir())
}

/// The directory of a whole Qwen2.5-Omni: its configuration, the thinker's tensors with their prefix, and
/// tensors of other parts.
fn whole_model() -> tempfile::TempDir {
    let dir = copied(&model_dir());
    fs::rename(dir.path().join("config_whole_model.json"), dir.path().join("config.json")).unwrap();
    let path = dir.path().join("model.safetensors");
    let mut tensors: Vec<(String, Tensor)> = read_tensors(&path)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (format!("thinker.{name}"), tensor))
        .collect();
    tensors.push(("talker.codec_head.weight".to_owned(), Tensor::from_slice(&[1.0f32, 2.0])));
    tensors.push(("token2wav.dummy.weight".to_owned(), Tensor::from_slice(&[3.0f32])));
    write_tensors(&path, &tensors).unwrap();
    dir
}

#[test]
fn prompts_have_the_ids_of_hugging_face() {
    let processor = Processor::open(&model_dir()).unwrap();
    assert_ids(&pair(&processor), &golden("qwen2_5_omni/batch2"));
}

#[test]
fn audio_tower_gives_the_same_features() {
    let policy = policy();
    for name in ["tone_0p5s", "odd_1p2345s", "chirp_3s", "mix_31s"] {
        let golden = golden(&format!("qwen2_5_omni/encoder_{name}"));
        let features = policy.encode_clip(&clip(policy.processor(), name)).unwrap();
        assert_eq!(features.projected.size()[0], golden["audio_tokens"].int64_value(&[0]), "{name}");
        assert_close(&features.projected, &golden["encoder_out"], name);
    }
}

#[test]
fn two_clips_have_the_features_that_hugging_face_computes_for_both_at_once() {
    let policy = policy();
    let features = ["tone_0p5s", "odd_1p2345s"]
        .map(|name| policy.encode_clip(&clip(policy.processor(), name)).unwrap().projected);
    let golden = golden("qwen2_5_omni/two_audios_packed");
    assert_close(&Tensor::cat(&features, 0), &golden["audio_features"], "packed");
}

#[test]
fn two_clips_in_a_prompt_have_the_same_ids_and_logits() {
    let policy = policy();
    let golden = golden("qwen2_5_omni/two_audios");
    let clips = ["odd_1p2345s", "tone_0p5s"].map(|name| clip(policy.processor(), name));
    let prompts = [policy.processor().prompt("Same?", &clips).unwrap()];
    assert_ids(&prompts, &golden);
    assert_logits(&policy, &prompts, &golden["logits"], "two audios");
}

#[test]
fn left_padded_batch_has_the_same_logits() {
    let policy = policy();
    assert_logits(&policy, &pair(policy.processor()), &golden("qwen2_5_omni/batch2")["logits"], "batch2");
}

#[test]
fn a_clip_longer_than_thirty_seconds_is_encoded_to_its_end() {
    let policy = policy();
    let golden = golden("qwen2_5_omni/long_31s");
    let clip = clip(policy.processor(), "mix_31s");
    assert!(!clip.truncated);
    let prompt = policy.processor().prompt("What is it?", &[clip]).unwrap();
    assert_eq!(prompt.ids, Vec::<i64>::try_from(golden["input_ids"].get(0)).unwrap());
    assert_logits(&policy, &[prompt], &golden["logits_last32"], "31 s");
}

#[test]
fn greedy_decoding_writes_the_same_ids() {
    let prompts = pair(&Processor::open(&model_dir()).unwrap());
    assert_greedy(&model_dir(), &prompts, &golden("qwen2_5_omni/batch2"));
}

#[test]
fn a_row_with_its_end_token_stops_and_the_other_continues() {
    let prompts = pair(&Processor::open(&model_dir()).unwrap());
    assert_greedy_with_eos(&model_dir(), &prompts, &golden("qwen2_5_omni/batch2"));
}

#[test]
fn completions_have_the_same_logprobs() {
    let policy = policy();
    assert_logprobs(&policy, &pair(policy.processor()), &golden("qwen2_5_omni/batch2"));
}

#[test]
fn a_configuration_of_transformers_4_opens_the_same_model() {
    let dir = copied(&model_dir());
    fs::rename(dir.path().join("config_hub_style.json"), dir.path().join("config.json")).unwrap();
    let hub = open(dir.path());
    assert_logits(&hub, &pair(hub.processor()), &golden("qwen2_5_omni/batch2")["logits"], "hub");
}

#[test]
fn a_whole_model_opens_as_its_thinker() {
    let policy = open(whole_model().path());
    assert_logits(&policy, &pair(policy.processor()), &golden("qwen2_5_omni/batch2")["logits"], "whole");
}

#[test]
fn placeholders_of_audio_images_and_videos_are_never_drawn() {
    let processor = Processor::open(&model_dir()).unwrap();
    // config.json: audio 291, image 296, video 297.
    for id in [291, 296, 297] {
        assert!(processor.suppressed_ids().contains(&id), "{id}");
    }
    assert!(!processor.suppressed_ids().contains(&290), "the end token may be drawn");
}

#[test]
fn a_whole_model_is_saved_with_all_its_tensors() {
    let dir = whole_model();
    let saved = dir.path().join("saved");
    open(dir.path()).save(&saved).unwrap();
    let before = read_tensors(&dir.path().join("model.safetensors")).unwrap();
    let after = read_tensors(&saved.join("model.safetensors")).unwrap();
    let names =
        |tensors: &[(String, Tensor)]| tensors.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "including those of vision and speech");
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before, after, "{name}");
    }
}
