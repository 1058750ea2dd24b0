//! The sampling, log-probabilities, replicas and files of a policy, on small models with random weights.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use audio::LogMel;
use model::checkpoint::{read_tensors, write_tensors};
use model::{Completion, Finish, Group, Policy, PolicyOptions, Prompt, SamplingParams, Trained};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

/// The directory of a small Qwen2-Audio with a window of 3 s, without weights.
fn directory(change: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tokenizer");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(fixtures.join(name), dir.path().join(name)).unwrap();
    }
    let mut config = json!({
        "model_type": "qwen2_audio",
        "audio_token_index": 291,
        "audio_config": {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64,
            "max_source_positions": 150, "num_mel_bins": 128},
        "text_config": {"model_type": "qwen2", "vocab_size": 304, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 512, "eos_token_id": 290},
    });
    change(&mut config);
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let preprocessor = json!({"chunk_length": 3, "feature_size": 128, "sampling_rate": 16000});
    fs::write(dir.path().join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
    dir
}

fn scratch(seed: u64) -> PolicyOptions {
    PolicyOptions { from_scratch: Some(seed), ..Default::default() }
}

/// A model whose random weights are scaled so that its distributions are far from uniform.
fn policy_with(options: PolicyOptions, change: impl FnOnce(&mut Value)) -> Policy {
    let policy = Policy::open(directory(change).path(), &options).unwrap();
    let _guard = tch::no_grad_guard();
    for (name, mut tensor) in policy.trainable() {
        if name.ends_with("weight") && tensor.dim() == 2 {
            let deviation = tensor.std(true).double_value(&[]);
            let _ = tensor.g_mul_scalar_(0.12 / deviation);
        }
    }
    policy
}

fn policy() -> Policy {
    policy_with(scratch(1), |_| ())
}

fn clip(policy: &Policy, seconds: f64, pitch: f32) -> Arc<LogMel> {
    let samples: Vec<f32> =
        (0..(seconds * 16_000.0) as usize).map(|i| 0.3 * (pitch * i as f32).sin()).collect();
    Arc::new(policy.processor().extract(&samples).unwrap())
}

/// Prompts of different lengths: with a clip, with two clips of which one is the same, and without a clip.
fn prompts(policy: &Policy) -> Vec<Prompt> {
    let (low, high) = (clip(policy, 1.0, 0.1), clip(policy, 0.4, 0.7));
    let processor = policy.processor();
    vec![
        processor.prompt("What is it?", std::slice::from_ref(&low)).unwrap(),
        processor.prompt("Are they the same?", &[high, low]).unwrap(),
        processor.prompt("Say hello to me, please, and then say it again.", &[]).unwrap(),
    ]
}

fn sampling(max_new_tokens: usize) -> SamplingParams {
    SamplingParams { max_new_tokens, ..Default::default() }
}

fn groups<'a>(prompts: &'a [Prompt], completions: &'a [Completion]) -> Vec<Group<'a>> {
    let size = completions.len() / prompts.len();
    prompts
        .iter()
        .zip(completions.chunks(size))
        .map(|(prompt, chunk)| Group {
            prompt,
            completions: chunk.iter().map(|each| each.ids.as_slice()).collect(),
        })
        .collect()
}

#[track_caller]
fn assert_close(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let difference = (found - expected).abs().max().double_value(&[]);
    assert!(difference <= tolerance, "{what}: differs by {difference}");
}

/// Checks that the log-probabilities at sampling are those that [`Policy::logprobs`] computes for
/// the same completions (SAMPLE-2).
#[track_caller]
fn assert_samples_agree(policy: &Policy, prompts: &[Prompt], completions: &[Completion], temperature: f64) {
    let found = policy.logprobs(&groups(prompts, completions), temperature).unwrap();
    for (row, completion) in completions.iter().enumerate() {
        let length = completion.ids.len() as i64;
        assert_eq!(found.mask.get(row as i64).sum(Kind::Int64).int64_value(&[]), length);
        let computed = found.logprobs.get(row as i64).narrow(0, 0, length);
        assert_close(
            &computed,
            &Tensor::from_slice(&completion.logprobs),
            2e-5,
            &format!("completion {row}"),
        );
    }
}

#[test]
fn sampled_logprobs_are_those_the_learner_computes() {
    let policy = policy();
    let prompts = prompts(&policy);
    for temperature in [1.0, 0.7] {
        let params = SamplingParams { temperature, ..sampling(40) };
        let seeds: Vec<u64> = (0..15).collect();
        let completions = policy.generate(&prompts, 5, &params, &seeds).unwrap();
        assert!(completions.iter().any(|each| each.ids.len() < 30), "some rows should finish early");
        assert_samples_agree(&policy, &prompts, &completions, temperature);
    }
}

#[test]
fn rows_that_finish_early_do_not_change_the_others() {
    // GEN-3 and CACHE-3. About every sixth token ends a completion, so that rows, and whole prompts, finish
    // at nearly every step.
    let ends: Vec<i64> = (0..300).step_by(6).collect();
    let policy = policy_with(scratch(1), |config| config["text_config"]["eos_token_id"] = json!(ends));
    let prompts = prompts(&policy);
    let seeds: Vec<u64> = (0..24).collect();
    let completions = policy.generate(&prompts, 8, &sampling(40), &seeds).unwrap();
    let mut lengths: Vec<usize> = completions.iter().map(|each| each.ids.len()).collect();
    lengths.sort();
    lengths.dedup();
    assert!(lengths.len() >= 8, "{lengths:?}");
    assert_samples_agree(&policy, &prompts, &completions, 1.0);
    for (index, completion) in completions.iter().enumerate() {
        let alone =
            policy.generate(&prompts[index / 8..][..1], 1, &sampling(40), &seeds[index..][..1]).unwrap();
        assert_eq!(alone[0].ids, completion.ids, "completion {index}");
    }
}

#[test]
fn the_cache_grows_beyond_its_first_capacity() {
    // CACHE-2.
    let policy = policy_with(scratch(1), |config| config["text_config"]["eos_token_id"] = json!([]));
    let prompts = prompts(&policy);
    let completions = policy.generate(&prompts[..1], 2, &sampling(150), &[3, 4]).unwrap();
    assert!(completions.iter().all(|each| each.ids.len() == 150 && each.finish == Finish::Length));
    assert_samples_agree(&policy, &prompts[..1], &completions, 1.0);
}

#[test]
fn as_many_key_heads_as_query_heads_and_a_tied_embedding_work_too() {
    for (key, value) in [("num_key_value_heads", json!(4)), ("tie_word_embeddings", json!(true))] {
        let policy = policy_with(scratch(2), |config| config["text_config"][key] = value);
        let prompts = prompts(&policy);
        let completions = policy.generate(&prompts, 3, &sampling(20), &[1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        assert_samples_agree(&policy, &prompts, &completions, 1.0);
    }
}

#[test]
fn a_completion_depends_on_its_own_seed_only() {
    // SAMPLE-1.
    let policy = policy();
    let prompts = prompts(&policy);
    let all = policy.generate(&prompts, 4, &sampling(24), &(100..112).collect::<Vec<_>>()).unwrap();
    let again = policy.generate(&prompts, 4, &sampling(24), &(100..112).collect::<Vec<_>>()).unwrap();
    assert_eq!(all, again, "the same seeds give the same completions, bit for bit");
    let alone = policy.generate(&prompts[1..2], 1, &sampling(24), &[106]).unwrap();
    assert_eq!(alone[0].ids, all[6].ids);
    let others = policy.generate(&prompts, 4, &sampling(24), &(200..212).collect::<Vec<_>>()).unwrap();
    assert_ne!(all[0].ids, others[0].ids);
}

#[test]
fn special_tokens_are_never_drawn() {
    let policy = Policy::open(directory(|_| ()).path(), &scratch(4)).unwrap();
    let prompts = prompts(&policy);
    let params = SamplingParams { temperature: 3.0, ..sampling(64) };
    let completions = policy.generate(&prompts, 16, &params, &(0..48).collect::<Vec<_>>()).unwrap();
    let ids: Vec<i64> = completions.iter().flat_map(|each| each.ids.clone()).collect();
    assert!(ids.len() > 1500);
    // Ids 288-297 are special tokens, and 300-303 have no token. 290 ends a completion, so it is only ever the last id.
    assert!(ids.iter().all(|id| *id == 290 || !(288..=297).contains(id) && *id < 300));
    assert!(ids.contains(&298), "<think> is not special");
    for completion in &completions {
        let end = completion.ids.iter().position(|id| *id == 290);
        assert_eq!(end.is_some(), completion.finish == Finish::Eos);
        assert!(end.is_none_or(|end| end + 1 == completion.ids.len()));
    }
}

#[test]
fn sampling_from_one_token_is_greedy_decoding() {
    let policy = policy();
    let prompts = prompts(&policy);
    let greedy = SamplingParams { temperature: 0.0, ..sampling(16) };
    let narrow = SamplingParams { top_k: 1, ..sampling(16) };
    let expected = policy.generate(&prompts, 1, &greedy, &[1, 2, 3]).unwrap();
    assert_eq!(policy.generate(&prompts, 1, &narrow, &[4, 5, 6]).unwrap(), expected);
    assert_samples_agree(&policy, &prompts, &expected, 1.0);
}

fn gradients(policy: &Policy) -> Vec<(String, Tensor)> {
    policy
        .trainable()
        .into_iter()
        .map(|(name, mut tensor)| {
            let gradient = tensor.grad().copy();
            tensor.zero_grad();
            (name, gradient)
        })
        .collect()
}

#[test]
fn packed_groups_have_the_logprobs_and_gradients_of_single_sequences() {
    // LOGP-1.
    let options = PolicyOptions { trained: Trained::EVERYTHING, ..scratch(1) };
    let policy = policy_with(options, |_| ());
    let prompts = prompts(&policy);
    let completions: [Vec<Vec<i64>>; 3] = [
        vec![vec![5, 6, 7, 290], vec![8], vec![9, 10, 11, 12, 13, 14, 290]],
        vec![vec![20, 21, 290]],
        vec![vec![30, 31], vec![40, 41, 42, 43, 290]],
    ];
    let packed: Vec<Group<'_>> = prompts
        .iter()
        .zip(&completions)
        .map(|(prompt, each)| Group { prompt, completions: each.iter().map(Vec::as_slice).collect() })
        .collect();
    // The weights differ between tokens, so that a gradient at the wrong token is detected.
    let weights =
        Tensor::from_slice(&(0..42).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<_>>()).view([6, 7]);

    let together = policy.forward(&packed, 0.9, 0).unwrap();
    let packed_logprobs = together.logprobs.shallow_clone();
    let sum = (&together.logprobs * &weights).sum(Kind::Float);
    together.backward(&sum).unwrap();
    let expected_gradients = gradients(&policy);

    let mut row = 0;
    for group in &packed {
        for &completion in &group.completions {
            let length = completion.len() as i64;
            let single = Group { prompt: group.prompt, completions: vec![completion] };
            let alone = policy.forward(&[single], 0.9, 0).unwrap();
            let both = packed_logprobs.get(row).narrow(0, 0, length);
            assert_close(&alone.logprobs.get(0), &both, 1e-5, &format!("completion {row}"));
            let sum = (&alone.logprobs.get(0) * weights.get(row).narrow(0, 0, length)).sum(Kind::Float);
            alone.backward(&sum).unwrap();
            row += 1;
        }
    }
    for ((name, alone), (_, together)) in gradients(&policy).iter().zip(&expected_gradients) {
        let size = together.abs().max().double_value(&[]).max(1.0);
        assert_close(alone, together, 1e-5 * size, name);
        assert!(together.abs().max().double_value(&[]) > 0.0, "{name} has no gradient");
    }
}

#[test]
fn masked_positions_are_zero() {
    let policy = policy();
    let prompts = prompts(&policy);
    let group = Group { prompt: &prompts[0], completions: vec![&[5, 6, 7], &[], &[8]] };
    let found = policy.forward(&[group], 1.0, 0).unwrap();
    let mask: Vec<bool> = Vec::try_from(found.mask.flatten(0, -1)).unwrap();
    assert_eq!(mask, [true, true, true, false, false, false, true, false, false]);
    let padding = found.logprobs.masked_select(&found.mask.logical_not());
    assert_eq!(padding.abs().sum(Kind::Float).double_value(&[]), 0.0);
    assert!(found.logprobs.requires_grad());
}

#[test]
fn only_the_language_model_trains_unless_more_is_asked_for() {
    let policy = Policy::open(directory(|_| ()).path(), &scratch(1)).unwrap();
    let names: Vec<String> = policy.trainable().into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| name.starts_with("language_model.")) && names.is_sorted());
    assert!(policy.trainable().iter().all(|(_, tensor)| tensor.requires_grad()));

    let options = PolicyOptions { trained: Trained::EVERYTHING, ..scratch(1) };
    let policy = Policy::open(directory(|_| ()).path(), &options).unwrap();
    let names: Vec<String> = policy.trainable().into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().any(|name| name == "audio_tower.conv1.weight"));
    assert!(names.iter().any(|name| name == "multi_modal_projector.linear.bias"));
    assert!(!names.iter().any(|name| name.contains("embed_positions")));
}

#[test]
fn a_replica_is_unchanged_until_it_loads_tensors() {
    let projector = Trained { projector: true, ..Trained::NOTHING };
    for trained in [Trained::DECODER, Trained::EVERYTHING, projector] {
        let policy = policy_with(PolicyOptions { trained, ..scratch(1) }, |_| ());
        let prompts = prompts(&policy);
        let replica = policy.replica().unwrap();
        assert!(replica.trainable().iter().all(|(_, tensor)| !tensor.requires_grad()));
        let before = policy.logits(&prompts).unwrap();
        assert_close(&replica.logits(&prompts).unwrap(), &before, 2e-5, "a replica computes the same");
        let learner = policy.learner().unwrap();
        {
            let _guard = tch::no_grad_guard();
            for (_, mut tensor) in policy.trainable() {
                let _ = tensor.g_mul_scalar_(1.1);
            }
        }
        let after = policy.logits(&prompts).unwrap();
        assert!((&after - &before).abs().max().double_value(&[]) > 1e-2);
        assert_close(&replica.logits(&prompts).unwrap(), &before, 2e-5, "unchanged");
        assert_close(&learner.logits(&prompts).unwrap(), &before, 2e-5, "unchanged");
        assert!(learner.trainable().iter().all(|(_, tensor)| tensor.requires_grad()));
        replica.load_trainable(&policy.publish()).unwrap();
        assert_close(&replica.logits(&prompts).unwrap(), &after, 2e-5, "after loading");
    }
}

#[test]
fn published_tensors_are_copies() {
    let policy = policy();
    let published = policy.publish();
    let name = published[0].0.clone();
    let before = published[0].1.copy();
    {
        let _guard = tch::no_grad_guard();
        let _ = policy.trainable()[0].1.shallow_clone().g_add_scalar_(1.0);
    }
    assert_eq!(published[0].1, before, "{name}");
    assert!(published.iter().all(|(_, tensor)| !tensor.requires_grad()));
}

#[test]
fn a_saved_directory_opens_as_the_same_policy() {
    let (policy, parent) = (policy(), tempfile::tempdir().unwrap());
    let prompts = prompts(&policy);
    let expected = policy.logits(&prompts).unwrap();
    let dir = parent.path().join("step-000001");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("stale"), "from before").unwrap();
    // A replica stores several hub tensors in one (PARAM-2).
    policy.replica().unwrap().save(&dir).unwrap();
    let names: Vec<_> =
        fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["step-000001"], "no temporary directory remains");
    assert!(!dir.join("stale").exists());
    for name in ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"] {
        assert!(dir.join(name).exists(), "{name}");
    }
    let opened = Policy::open(&dir, &PolicyOptions::default()).unwrap();
    assert_close(&opened.logits(&prompts).unwrap(), &expected, 2e-5, "logits");
    for ((name, read), (_, held)) in policy.read_trainable(&dir).unwrap().iter().zip(policy.trainable()) {
        assert_eq!(*read, held.detach(), "{name}");
    }
}

#[test]
fn random_weights_are_reproducible() {
    let logits = |seed| {
        let policy = Policy::open(directory(|_| ()).path(), &scratch(seed)).unwrap();
        policy.logits(&prompts(&policy)).unwrap()
    };
    assert_eq!(logits(7), logits(7));
    assert_ne!(logits(7), logits(8));
}

#[test]
fn invalid_inputs_are_refused_with_the_expected_values() {
    let policy = policy();
    let good = prompts(&policy);
    let refused = |prompt: Prompt| policy.generate(&[prompt], 1, &sampling(4), &[0]).unwrap_err().to_string();
    let without_clip = Prompt { clips: Vec::new(), ..good[0].clone() };
    assert_eq!(refused(without_clip), "prompt 0 has 25 `<|AUDIO|>` placeholders; its 0 clip(s) give 0 rows");
    let foreign = Prompt { ids: vec![5, 304], clips: Vec::new() };
    assert_eq!(refused(foreign), "prompt 0 has the id 304; this model has ids below 304");
    assert_eq!(refused(Prompt { ids: Vec::new(), clips: Vec::new() }), "prompt 0 has no tokens");
    let long = Prompt { ids: vec![5; 510], clips: Vec::new() };
    assert_eq!(refused(long), "a prompt with its completion has 514 tokens; this model takes at most 512");
    let bins = LogMel {
        values: vec![0.0; 80 * 300],
        n_mels: 80,
        frames: 300,
        valid_frames: 100,
        truncated: false,
        samples: None,
    };
    let other = Prompt { clips: vec![Arc::new(bins)], ..good[0].clone() };
    assert!(refused(other).contains("[80, 300]"));

    let seeds = policy.generate(&good, 2, &sampling(4), &[0; 5]).unwrap_err().to_string();
    assert_eq!(seeds, "3 prompts × 2 completions need as many seeds, not 5");
    let placeholder = policy.processor().prompt("<|AUDIO|>", &[]).unwrap_err().to_string();
    assert!(placeholder.contains("take the placeholder out of the text"));
    let foreign = Group { prompt: &good[2], completions: vec![&[-1]] };
    assert!(policy.logprobs(&[foreign], 1.0).unwrap_err().to_string().contains("has the id -1"));
}

#[test]
fn damaged_checkpoints_are_refused_in_one_line() {
    let dir = directory(|_| ());
    let saved = dir.path().join("saved");
    Policy::open(dir.path(), &scratch(1)).unwrap().save(&saved).unwrap();
    let opening = |dir: &Path| match Policy::open(dir, &PolicyOptions::default()) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    let weights = saved.join("model.safetensors");
    let whole = read_tensors(&weights).unwrap();
    let wide = |(name, tensor): &(String, Tensor)| {
        let tensor = if name.ends_with("1.self_attn.k_proj.weight") && name.starts_with("language") {
            Tensor::zeros([32, 32], (Kind::Float, tch::Device::Cpu))
        } else {
            tensor.shallow_clone()
        };
        (name.clone(), tensor)
    };
    write_tensors(&weights, &whole.iter().map(wide).collect::<Vec<_>>()).unwrap();
    let tensor = "language_model.model.layers.1.self_attn.k_proj.weight";
    let expected = format!(
        "{}: tensor `{tensor}` has shape [32, 32]; config.json asks for [16, 32]: take both from the same model",
        weights.display()
    );
    assert_eq!(opening(&saved), expected);
    fs::remove_file(&weights).unwrap();
    assert!(opening(&saved).contains("found neither model.safetensors nor model.safetensors.index.json"));
    fs::remove_file(saved.join("tokenizer.json")).unwrap();
    assert!(opening(&saved).contains("tokenizer.json"));
}
