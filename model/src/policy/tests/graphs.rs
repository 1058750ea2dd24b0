//! Decoding by replays, with the kernels and the driver emulated on the CPU: the same completions as by libtorch's operations.

use std::process::Command;

use cuda::{Format, emulated};

use super::*;
use crate::optim::{AdamW, AdamWConfig};
use crate::sampling::Finish;

/// Largest difference of a log-probability, relative above 1.
const TOLERANCE: f32 = 1e-5;

/// The emulated driver with the kernels for a policy; `None`, with a line that says so, where there is no g++.
fn library(policy: &Policy) -> Option<PathBuf> {
    if Command::new("g++").arg("--version").output().is_err() {
        eprintln!("skipped: decoding by replays of a captured step needs g++");
        return None;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/emulated");
    Some(emulated::build(&folder, Format::F32, policy.config().text.head_dim as u32).unwrap())
}

/// Replicas of a policy that decode by libtorch's operations, and by replays.
fn pair(policy: &Policy) -> Option<[Policy; 2]> {
    let replays = policy.replica().unwrap();
    replays.graphs.emulate(library(policy)?);
    Some([policy.replica().unwrap(), replays])
}

/// Makes some tokens far more likely than others, and the `B` of an adapter other than zero.
fn sharpen(policy: Policy) -> Policy {
    let _guard = tch::no_grad_guard();
    for (name, mut tensor) in policy.trainable() {
        if tensor.dim() == 2 {
            let wanted = if name.contains("lora_") { 0.05 } else { 0.08 };
            let change = (tensor.ones_like().flatten(0, -1).cumsum(0, Kind::Float) * 0.77).sin() * wanted;
            let _ = tensor.g_add_(&change.view_as(&tensor));
        }
    }
    policy
}

/// The model of a fixture, with an adapter if `rank` is above 0.
fn sharpened(model: &str, rank: i64) -> Policy {
    let config = LoraConfig { rank, ..Default::default() };
    let adapter = (rank > 0).then_some(Adapter::Fresh { config, seed: 1 });
    sharpen(Policy::open(&model_dir(model), &PolicyOptions { adapter, ..Default::default() }).unwrap())
}

/// A model with random weights whose configuration is that of a fixture, changed.
fn changed(model: &str, change: impl FnOnce(&mut serde_json::Value)) -> Policy {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(model_dir(model)).unwrap().flatten() {
        // The configuration says which tokens end a completion.
        if file.file_name() != "generation_config.json" {
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
    }
    let path = dir.path().join("config.json");
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
    let options = PolicyOptions { from_scratch: Some(3), ..Default::default() };
    sharpen(Policy::open(dir.path(), &options).unwrap())
}

/// SmolLM2's layout: three query heads for a key head, a tied output projection, no bias.
fn llama() -> Policy {
    changed("llama", |config| config["head_dim"] = 16.into())
}

/// A model of which every `nth` token ends a completion.
fn ending(nth: usize) -> Policy {
    changed("qwen2", |config| config["eos_token_id"] = (3..300).step_by(nth).collect::<Vec<i64>>().into())
}

fn sampling(max_new_tokens: usize) -> SamplingParams {
    SamplingParams { max_new_tokens, ..Default::default() }
}

fn assert_same(replayed: &[Completion], plain: &[Completion], what: &str) {
    for (index, (replayed, plain)) in replayed.iter().zip(plain).enumerate() {
        assert_eq!(
            replayed.ids, plain.ids,
            "{what}, completion {index}: {:?} {:?}",
            replayed.logprobs, plain.logprobs
        );
        assert_eq!((replayed.finish, &replayed.forced), (plain.finish, &plain.forced), "{what}, {index}");
        assert_eq!(replayed.logprobs.len(), plain.logprobs.len(), "{what}, {index}");
        for (one, other) in replayed.logprobs.iter().zip(&plain.logprobs) {
            let most = TOLERANCE * other.abs().max(1.0);
            assert!((one - other).abs() < most, "{what}, {index}: {one} is not {other}");
        }
    }
}

/// Generates with both, and compares. Returns the completions.
fn both(
    [plain, replays]: &[Policy; 2],
    group: usize,
    params: &SamplingParams,
    what: &str,
) -> Vec<Completion> {
    let prompts = prompts(plain);
    let seeds: Vec<u64> = (40..40 + 2 * group as u64).collect();
    let expected = plain.generate(&prompts, group, params, &seeds).unwrap();
    let found = replays.generate(&prompts, group, params, &seeds).unwrap();
    assert!(replays.launches_per_token().is_some(), "{what}: not by replays");
    assert_eq!(plain.launches_per_token(), None);
    assert_same(&found, &expected, what);
    found
}

#[test]
fn replays_give_the_completions_of_libtorch_s_operations() {
    // GRAPH-3: audio and text, with and without biases and norms of queries and keys, 1 to 3 query heads for a key head.
    let models = ["qwen2_audio", "qwen2_5_omni", "qwen2", "qwen3_tied", "qwen3_untied"];
    let models = models.map(|name| (name, sharpened(name, 0)));
    for (name, policy) in models.into_iter().chain([("llama", llama())]) {
        let Some(policies) = pair(&policy) else { return };
        for temperature in [1.0, 0.0, 0.7] {
            let params = SamplingParams { temperature, ..sampling(12) };
            let what = format!("{name} at temperature {temperature}");
            let found = both(&policies, 3, &params, &what);
            assert!(found.iter().any(|completion| completion.ids.len() == 12), "{what}");
        }
        both(&policies, 1, &sampling(3), name);
    }
}

#[test]
fn every_replay_has_the_same_launches_and_neither_allocates_nor_waits() {
    // GRAPH-1. 9 launches a layer, 13 with adapters on all its projections, 3 others: the embedding, the output projection,
    // the draw. The host looks after 8 tokens.
    for (rank, a_layer) in [(0, 9), (4, 13)] {
        let policy = sharpened("qwen2_audio", rank).replica().unwrap();
        let Some(library) = library(&policy) else { return };
        policy.graphs.emulate(library.clone());
        let prompts = prompts(&policy);
        let asked_for = |tokens: usize| {
            let before = emulated::counts(&library).unwrap();
            let completions = policy.generate(&prompts, 2, &sampling(tokens), &[1, 2, 3, 4]).unwrap();
            assert!(completions.iter().any(|completion| completion.ids.len() == tokens));
            let after = emulated::counts(&library).unwrap();
            let steps = after.replays - before.replays;
            assert_eq!(steps as usize, tokens - 1, "a replay for each token after the first");
            // A step that is captured runs once before.
            let launches = after.launches - before.launches;
            let ran = steps + after.captures - before.captures;
            assert_eq!(launches, ran * (3 + 2 * a_layer), "2 layers, rank {rank}, {tokens} tokens");
            // Ids and log-probabilities are read once for 8 tokens. The session waits at its end, and for a step that it
            // replaces.
            let waits = after.waits - before.waits - 2 * steps / 8;
            assert!((1..=2).contains(&waits), "{waits} waits beside those for tokens");
            (after.allocations - before.allocations, after.captures - before.captures)
        };
        assert_eq!(policy.launches_per_token(), None);
        asked_for(9);
        assert_eq!(policy.launches_per_token(), Some(3 + 2 * a_layer as usize));
        // The addresses of the caches may differ from before, for which the step is captured again.
        let (allocations, captures) = asked_for(25);
        assert!(captures > 0 || allocations == 0, "{allocations} allocations without a capture");
    }
}

#[test]
fn adapters_are_applied_within_a_replay() {
    for model in ["qwen2_audio", "qwen2_5_omni", "qwen3_tied"] {
        let policy = sharpened(model, 4);
        let Some(policies) = pair(&policy) else { return };
        let adapted = both(&policies, 2, &sampling(12), model);
        let [base, _] = pair(&sharpened(model, 0)).unwrap();
        let without = base.generate(&prompts(&base), 2, &sampling(12), &[40, 41, 42, 43]).unwrap();
        assert_ne!(adapted, without, "{model}: the adapter makes no difference");
    }
}

#[test]
fn some_projections_may_have_an_adapter_and_others_none() {
    let names = ["q_proj", "v_proj", "up_proj"].map(str::to_owned).to_vec();
    let config = LoraConfig {
        rank: 3,
        target_modules: crate::lora::TargetModules::Named(names),
        ..Default::default()
    };
    let adapter = Some(Adapter::Fresh { config, seed: 1 });
    let options = PolicyOptions { adapter, ..Default::default() };
    let policy = Policy::open(&model_dir("qwen2"), &options).unwrap();
    disturb(&policy);
    let Some(policies) = pair(&policy) else { return };
    both(&policies, 2, &sampling(12), "q, v and up");
}

#[test]
fn completions_that_end_early_end_where_they_do_without_replays() {
    let Some(policies) = pair(&ending(6)) else { return };
    let params = SamplingParams { temperature: 3.0, ..sampling(24) };
    let found = both(&policies, 8, &params, "ending");
    let ended: Vec<usize> = found
        .iter()
        .filter(|completion| completion.finish == Finish::Eos)
        .map(|completion| completion.ids.len())
        .collect();
    assert!(ended.len() > 4 && ended.iter().any(|length| *length != ended[0]), "{ended:?}");
}

#[test]
fn likeliest_tokens_only_thinking_budgets_and_forced_openings_are_as_without_replays() {
    let Some(policies) = pair(&ending(20)) else { return };
    for (what, forced, params) in [
        ("top-k", false, SamplingParams { top_k: 3, ..sampling(24) }),
        ("top-p", false, SamplingParams { top_p: 0.8, temperature: 1.3, ..sampling(24) }),
        ("openings", false, SamplingParams { forced_no_think: 0.5, ..sampling(40) }),
        ("a budget", true, SamplingParams { forced_no_think: 0.25, max_think_tokens: 9, ..sampling(40) }),
        (
            "all",
            true,
            SamplingParams { forced_no_think: 0.25, max_think_tokens: 9, top_k: 4, ..sampling(40) },
        ),
    ] {
        let found = both(&policies, 4, &params, what);
        let any = found.iter().any(|completion| !completion.forced.is_empty());
        assert_eq!(any, forced, "{what}");
    }
}

#[test]
fn a_stream_of_replays_ends_when_it_is_told_to() {
    let policy = llama();
    let Some([plain, replays]) = pair(&policy) else { return };
    let prompt = &prompts(&plain)[1];
    let take = |policy: &Policy, count: usize| {
        let mut seen = Vec::new();
        let completion = policy.stream(prompt, &sampling(20), 7, |id| {
            seen.push(id);
            if seen.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (completion.unwrap(), seen)
    };
    for count in [1, 2, 5] {
        let ((expected, _), (found, seen)) = (take(&plain, count), take(&replays, count));
        assert_same(&[found], std::slice::from_ref(&expected), "a stream");
        assert_eq!((seen.len(), &seen), (count, &expected.ids));
    }
}

/// Takes an optimizer's step, as an arm does, and publishes it to both replicas.
fn train(policy: &Policy, replicas: &[Policy; 2]) {
    let mut adamw = AdamW::new(policy.trainable(), AdamWConfig::default()).unwrap();
    let prompts = prompts(policy);
    let group = Group { prompt: &prompts[1], completions: vec![&[12, 13, 14], &[9, 8]] };
    let forward = policy.forward(&[group], 1.0, 0).unwrap();
    let loss = -forward.logprobs.sum(Kind::Float);
    forward.backward(&loss).unwrap();
    adamw.step(0.005);
    let published = policy.publish();
    replicas.iter().for_each(|replica| replica.load_trainable(&published).unwrap());
}

#[test]
fn a_captured_step_outlives_the_optimizer_s() {
    // GRAPH-2: all weights, and an adapter.
    for rank in [0, 4] {
        let policy = sharpened("qwen2_audio", rank);
        let Some(replicas) = pair(&policy) else { return };
        let before = both(&replicas, 2, &sampling(12), "before");
        let addresses = |policy: &Policy| -> Vec<usize> {
            let weights = policy.model.decoder.weights().unwrap();
            let of_layers = weights.layers.iter().flat_map(|layer| {
                let projections = [&layer.qkv, &layer.out, &layer.gate_up, &layer.down];
                projections.into_iter().flat_map(|projection| {
                    let adapter = projection.adapter.iter().flat_map(|adapter| [adapter.a, adapter.b]);
                    std::iter::once(projection.weight).chain(projection.bias).chain(adapter)
                })
            });
            let others = [weights.embedding, weights.norm, weights.head.weight];
            of_layers.chain(others).map(|tensor| tensor.data_ptr() as usize).collect()
        };
        let captured = addresses(&replicas[1]);
        train(&policy, &replicas);
        assert_eq!(addresses(&replicas[1]), captured, "weights are updated in place");
        let after = both(&replicas, 2, &sampling(12), "after");
        assert_ne!(before, after, "the step changes what is generated");
    }
}

#[test]
fn replies_are_chosen_by_replays_too() {
    // CHOOSE-2: the prompts begin with the same 32 tokens or more, and differ in length.
    let options = PolicyOptions { trained: Trained::NOTHING, ..Default::default() };
    let policy = Policy::open(&model_dir("qwen3_tied"), &options).unwrap();
    let Some(library) = library(&policy) else { return };
    let long = "Rate the answer from 1 to 5 by how well the reasoning supports it: ";
    let texts = ["{\"rating\": 1}", "{\"rating\": 5}", "no"].map(str::to_owned);
    for beginning in [long, ""] {
        let ask = |rest: &str| policy.processor().prompt(&format!("{beginning}{rest}"), &[]).unwrap();
        let prompts: Vec<Prompt> = ["a dog barks", "rain", "a door is closed twice"].map(ask).into();
        policy.graphs.switch(false);
        let expected = chosen_by_token(&policy.context(), &prompts, &texts).unwrap();
        policy.graphs.switch(true);
        policy.graphs.emulate(library.clone());
        let found = chosen_by_token(&policy.context(), &prompts, &texts).unwrap();
        assert!(policy.launches_per_token().is_some());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.text, expected.text);
            for (one, other) in found.tokens.iter().zip(&expected.tokens) {
                for ((_, one), (_, other)) in one.alternatives.iter().zip(&other.alternatives) {
                    let most = f64::from(TOLERANCE) * other.abs().max(1.0);
                    assert!((one - other).abs() < most, "{one} is not {other}");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_captured_is_decoded_by_libtorch_s_operations() {
    // GRAPH-4: a policy that is open for training, and a driver that is not there.
    let policy = llama();
    let Some([plain, _]) = pair(&policy) else { return };
    let expected = plain.generate(&prompts(&plain), 1, &sampling(4), &[1, 2]).unwrap();
    policy.graphs.emulate(library(&policy).unwrap());
    let missing = policy.replica().unwrap();
    missing.graphs.emulate("/nowhere/libcuda.so.1".into());
    let off = pair(&policy).unwrap()[1].replica().unwrap().with_cuda_graphs(false);
    off.graphs.emulate(library(&policy).unwrap());
    for policy in [&policy, &missing, &off] {
        let found = policy.generate(&prompts(policy), 1, &sampling(4), &[1, 2]).unwrap();
        assert_eq!(policy.launches_per_token(), None);
        assert_same(&found, &expected, "without replays");
    }
}
