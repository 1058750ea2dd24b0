//! What a step spends in the model, on a random model of the tiny policy's size and one thread:
//! `cargo bench -p model --bench policy`.
//!
//! 8 prompts of about 115 tokens (a clip of 2.4 s), 8 completions each. One item is a token.

mod random_policy;

use divan::Bencher;
use divan::counter::ItemsCount;
use model::{Group, Policy, PolicyOptions, Prompt, SamplingParams};
use random_policy::Size;
use tch::Kind;

const PROMPTS: usize = 8;
const GROUP_SIZE: usize = 8;
const NEW_TOKENS: usize = 25;

/// A random policy; without an end-of-sequence token if `endless`.
fn policy(endless: bool) -> Policy {
    let size = Size { width: 96, layers: 2, window_seconds: 3 };
    random_policy::open(&size, endless, &PolicyOptions::default())
}

fn prompts(policy: &Policy) -> Vec<Prompt> {
    let prompt = |index: usize| {
        let clip = random_policy::tone(policy, index, 2.4);
        policy.processor().prompt(&"what is it"[..8 + index % 3], &[clip]).expect("a good prompt")
    };
    (0..PROMPTS).map(prompt).collect()
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

/// Prompts to the first token of every completion.
#[divan::bench]
fn prefill(bencher: Bencher) {
    let policy = policy(true).replica().expect("memory");
    let prompts = prompts(&policy);
    let tokens: usize = prompts.iter().map(|prompt| prompt.ids.len()).sum();
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| write(&policy, &prompts, GROUP_SIZE, 1));
}

/// Completions of one short prompt without a clip, so many at once.
#[divan::bench(args = [1, 8, 64])]
fn decode(bencher: Bencher, batch: usize) {
    let policy = policy(true).replica().expect("memory");
    let prompts = [policy.processor().prompt("what is it", &[]).expect("a good prompt")];
    bencher
        .counter(ItemsCount::new(batch * NEW_TOKENS))
        .bench_local(|| write(&policy, &prompts, batch, NEW_TOKENS));
}

/// What a step samples: prefill and decoding.
#[divan::bench]
fn generate(bencher: Bencher) {
    let policy = policy(true).replica().expect("memory");
    let prompts = prompts(&policy);
    bencher
        .counter(ItemsCount::new(PROMPTS * GROUP_SIZE * NEW_TOKENS))
        .bench_local(|| write(&policy, &prompts, GROUP_SIZE, NEW_TOKENS));
}

fn write(policy: &Policy, prompts: &[Prompt], group: usize, max_new_tokens: usize) {
    let params = SamplingParams { max_new_tokens, ..Default::default() };
    let seeds: Vec<u64> = (0..(prompts.len() * group) as u64).collect();
    policy.generate(prompts, group, &params, &seeds).expect("good prompts");
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
        let forward = policy.forward(&groups, 1.0, 0).expect("good groups");
        let sum = forward.logprobs.sum(Kind::Float);
        forward.backward(&sum).expect("a gradient");
        for (_, mut tensor) in policy.trainable() {
            tensor.zero_grad();
        }
    });
}
