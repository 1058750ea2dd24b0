//! What a step spends in the model, on a random model of the tiny policy's size and one thread:
//! `cargo bench -p model --bench policy`.
//!
//! 8 prompts of about 115 tokens (a clip of 2.4 s), 8 completions each. One item is a token.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use model::{Group, Policy, PolicyOptions, Prompt, SamplingParams};
use serde_json::json;
use tch::Kind;

const PROMPTS: usize = 8;
const GROUP_SIZE: usize = 8;
const NEW_TOKENS: usize = 25;

/// A random policy; without an end-of-sequence token if `endless`.
fn policy(endless: bool) -> Policy {
    let dir = tempfile::tempdir().expect("a place for the model");
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tokenizer/tokenizer.json");
    fs::copy(tokenizer, dir.path().join("tokenizer.json")).expect("the fixtures");
    let config = json!({
        "model_type": "qwen2_audio",
        "audio_token_index": 291,
        "audio_config": {"d_model": 96, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 384,
            "max_source_positions": 150, "num_mel_bins": 128},
        "text_config": {"vocab_size": 800, "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 4, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 1024, "eos_token_id": if endless { json!([]) } else { json!(290) }},
    });
    let preprocessor = json!({"chunk_length": 3, "feature_size": 128});
    fs::write(dir.path().join("config.json"), config.to_string()).expect("room");
    fs::write(dir.path().join("preprocessor_config.json"), preprocessor.to_string()).expect("room");
    let options = PolicyOptions { from_scratch: Some(1), ..Default::default() };
    Policy::open(dir.path(), &options).expect("a good directory")
}

fn prompts(policy: &Policy) -> Vec<Prompt> {
    let clip = |index: usize| {
        let pitch = 0.1 + 0.05 * index as f32;
        let samples: Vec<f32> = (0..38_400).map(|sample| 0.3 * (pitch * sample as f32).sin()).collect();
        Arc::new(policy.processor().extract(&samples).expect("a model that hears"))
    };
    (0..PROMPTS)
        .map(|index| {
            policy.processor().prompt(&"what is it"[..8 + index % 3], &[clip(index)]).expect("a good prompt")
        })
        .collect()
}

/// Completions of one length, or of lengths from 1 to it.
fn completions(mixed: bool) -> Vec<Vec<i64>> {
    let length = |index: usize| if mixed { 1 + index * 7 % NEW_TOKENS } else { NEW_TOKENS };
    (0..PROMPTS * GROUP_SIZE)
        .map(|index| (0..length(index)).map(|token| 5 + token as i64).collect())
        .collect()
}

fn groups<'a>(prompts: &'a [Prompt], completions: &'a [Vec<i64>]) -> Vec<Group<'a>> {
    let group = |(prompt, own): (&'a Prompt, &'a [Vec<i64>])| Group {
        prompt,
        completions: own.iter().map(Vec::as_slice).collect(),
    };
    prompts.iter().zip(completions.chunks(GROUP_SIZE)).map(group).collect()
}

fn main() {
    tch::set_num_threads(1);
    divan::main();
}

#[divan::bench]
fn encode_clips(bencher: Bencher) {
    let policy = policy(false);
    let prompts = prompts(&policy);
    bencher.counter(ItemsCount::new(PROMPTS)).bench_local(|| {
        for prompt in &prompts {
            policy.encode_clip(&prompt.clips[0]).expect("a good clip");
        }
    });
}

/// One token is the prefill and one draw; the difference to 25 is the decoding.
#[divan::bench(args = [1, NEW_TOKENS])]
fn generate(bencher: Bencher, max_new_tokens: usize) {
    let policy = policy(true).replica().expect("memory");
    let prompts = prompts(&policy);
    let params = SamplingParams { max_new_tokens, ..Default::default() };
    let seeds: Vec<u64> = (0..(PROMPTS * GROUP_SIZE) as u64).collect();
    bencher
        .counter(ItemsCount::new(seeds.len() * max_new_tokens))
        .bench_local(|| policy.generate(&prompts, GROUP_SIZE, &params, &seeds).expect("good prompts"));
}

#[divan::bench(args = [false, true])]
fn logprobs_of_the_reference(bencher: Bencher, mixed_lengths: bool) {
    let policy = policy(false).replica().expect("memory");
    let (prompts, completions) = (prompts(&policy), completions(mixed_lengths));
    let groups = groups(&prompts, &completions);
    let tokens: usize = completions.iter().map(Vec::len).sum();
    bencher
        .counter(ItemsCount::new(tokens))
        .bench_local(|| policy.logprobs(&groups, 1.0).expect("good groups"));
}

#[divan::bench(args = [false, true])]
fn logprobs_and_gradients(bencher: Bencher, mixed_lengths: bool) {
    let policy = policy(false);
    let (prompts, completions) = (prompts(&policy), completions(mixed_lengths));
    let groups = groups(&prompts, &completions);
    let tokens: usize = completions.iter().map(Vec::len).sum();
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| {
        policy.logprobs(&groups, 1.0).expect("good groups").logprobs.sum(Kind::Float).backward();
        for (_, mut tensor) in policy.trainable() {
            tensor.zero_grad();
        }
    });
}
