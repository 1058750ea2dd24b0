//! The parts of a training step that run the model: `cargo bench -p model --bench policy`.
//!
//! The model has random weights and the size of the tiny policy, and runs on one thread. There are 8 prompts of about
//! 115 tokens (with a clip of 2.4 s) and 8 completions of each. One item is a token.

mod random_policy;

use divan::Bencher;
use divan::counter::ItemsCount;
use model::{Group, Policy, PolicyOptions, Prompt, SamplingParams};
use random_policy::Size;
use tch::Kind;

const PROMPTS: usize = 8;
const GROUP_SIZE: usize = 8;
const NEW_TOKENS: usize = 25;

/// A policy with random weights. With `endless`, no token ends a completion.
fn policy(endless: bool) -> Policy {
    let size = Size { width: 96, layers: 2, window_seconds: 3 };
    random_policy::open(&size, endless, &PolicyOptions::default())
}

fn prompts(policy: &Policy) -> Vec<Prompt> {
    let prompt = |index: usize| {
        let clip = random_policy::tone(policy, index, 2.4);
        policy.processor().prompt(&"what is it"[..8 + index % 3], &[clip]).expect("a valid prompt")
    };
    (0..PROMPTS).map(prompt).collect()
}

/// Completions of `NEW_TOKENS` tokens, or with `mixed`, of 1 to `NEW_TOKENS` tokens.
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
            policy.encode_clip(&prompt.clips[0]).expect("a valid clip");
        }
    });
}

/// From the prompts to the first token of every completion.
#[divan::bench]
fn prefill(bencher: Bencher) {
    let policy = policy(true).replica().expect("enough memory");
    let prompts = prompts(&policy);
    let tokens: usize = prompts.iter().map(|prompt| prompt.ids.len()).sum();
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| sample(&policy, &prompts, GROUP_SIZE, 1));
}

/// `batch` completions of a short prompt without a clip, at once.
#[divan::bench(args = [1, 8, 64])]
fn decode(bencher: Bencher, batch: usize) {
    let policy = policy(true).replica().expect("enough memory");
    let prompts = [policy.processor().prompt("what is it", &[]).expect("a valid prompt")];
    bencher
        .counter(ItemsCount::new(batch * NEW_TOKENS))
        .bench_local(|| sample(&policy, &prompts, batch, NEW_TOKENS));
}

/// All completions of a step: prefill and decoding.
#[divan::bench]
fn generate(bencher: Bencher) {
    let policy = policy(true).replica().expect("enough memory");
    let prompts = prompts(&policy);
    bencher
        .counter(ItemsCount::new(PROMPTS * GROUP_SIZE * NEW_TOKENS))
        .bench_local(|| sample(&policy, &prompts, GROUP_SIZE, NEW_TOKENS));
}

/// Generates completions of exactly `max_new_tokens` tokens if no token ends a completion.
fn sample(policy: &Policy, prompts: &[Prompt], group: usize, max_new_tokens: usize) {
    let params = SamplingParams { max_new_tokens, ..Default::default() };
    let seeds: Vec<u64> = (0..(prompts.len() * group) as u64).collect();
    policy.generate(prompts, group, &params, &seeds).expect("valid prompts");
}

#[divan::bench(args = [false, true])]
fn logprobs_of_the_reference(bencher: Bencher, mixed_lengths: bool) {
    let policy = policy(false).replica().expect("enough memory");
    let (prompts, completions) = (prompts(&policy), completions(mixed_lengths));
    let groups = groups(&prompts, &completions);
    let tokens: usize = completions.iter().map(Vec::len).sum();
    bencher
        .counter(ItemsCount::new(tokens))
        .bench_local(|| policy.logprobs(&groups, 1.0).expect("valid groups"));
}

#[divan::bench(args = [false, true])]
fn logprobs_and_gradients(bencher: Bencher, mixed_lengths: bool) {
    let policy = policy(false);
    let (prompts, completions) = (prompts(&policy), completions(mixed_lengths));
    let groups = groups(&prompts, &completions);
    let tokens: usize = completions.iter().map(Vec::len).sum();
    bencher.counter(ItemsCount::new(tokens)).bench_local(|| {
        let forward = policy.forward(&groups, 1.0, 0).expect("valid groups");
        let sum = forward.logprobs.sum(Kind::Float);
        forward.backward(&sum).expect("a gradient");
        for (_, mut tensor) in policy.trainable() {
            tensor.zero_grad();
        }
    });
}
