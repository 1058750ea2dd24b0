//! Tests that need a whole policy and private parts of it: the memory that the backward pass keeps, and positions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

mod graphs;

use super::*;
use crate::checkpoint::read_tensors;
use crate::choose::{chosen_at_once, chosen_by_token};
use crate::lora::{Adapter, LoraConfig};
use crate::parts::Part;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");

fn model_dir(model: &str) -> PathBuf {
    Path::new(FIXTURES).join(model).join("model")
}

/// Two prompts of different lengths. The first has two clips if the model has an audio tower.
fn prompts(policy: &Policy) -> [Prompt; 2] {
    let clip = |seconds: f32| {
        let samples: Vec<f32> =
            (0..(16_000.0 * seconds) as usize).map(|i| 0.3 * (0.1 * i as f32).sin()).collect();
        Arc::new(policy.processor().extract(&samples).unwrap())
    };
    let clips = if policy.config().audio.is_some() { vec![clip(0.5), clip(0.7)] } else { Vec::new() };
    let long = policy.processor().prompt("What is it?", &clips).unwrap();
    [long, policy.processor().prompt("Say so.", &[]).unwrap()]
}

type Gradients = Vec<(String, Tensor)>;

/// Log-probabilities, and the gradients of a weighted sum of them and of the entropies if these have gradients, with this
/// much kept in between.
fn learn(policy: &Policy, memory: Memory, entropies: Entropies) -> (Tensor, Gradients) {
    let prompts = prompts(policy);
    let groups = [
        Group { prompt: &prompts[0], completions: vec![&[5, 6, 7, 8], &[9], &[10, 11]] },
        Group { prompt: &prompts[1], completions: vec![&[12, 13, 14]] },
    ];
    let forward = forward(&policy.model, &groups, 0.9, 3, memory, entropies).unwrap();
    let logprobs = forward.logprobs.detach();
    let weights: Vec<f32> = (0..16).map(|i| (i as f32 * 0.7).sin()).collect();
    let loss = (&forward.logprobs * Tensor::from_slice(&weights).view([4, 4])).sum(Kind::Float);
    let loss = match (&forward.entropies, entropies) {
        (Some(found), Entropies::Differentiated) => {
            let weights: Vec<f32> = weights.iter().rev().copied().collect();
            loss + (found * Tensor::from_slice(&weights).view([4, 4])).sum(Kind::Float)
        }
        _ => loss,
    };
    forward.backward(&loss).unwrap();
    let gradient = |(name, mut tensor): (String, Tensor)| {
        let gradient = tensor.grad().copy();
        tensor.zero_grad();
        (name, gradient)
    };
    (logprobs, policy.trainable().into_iter().map(gradient).collect())
}

fn assert_memory_makes_no_difference(policy: &Policy, what: &str) {
    let vocab = policy.config().text.vocab_size;
    for entropies in [Entropies::Off, Entropies::Differentiated] {
        assert_memory_makes_none(policy, what, vocab, entropies);
    }
}

fn assert_memory_makes_none(policy: &Policy, what: &str, vocab: i64, entropies: Entropies) {
    let (expected, gradients) = learn(policy, Memory { recompute: false, logits: CHUNK }, entropies);
    // FORWARD-1 to FORWARD-3. Chunks of all ten tokens, of three, and of one.
    for (recompute, logits) in [(true, CHUNK), (false, 3 * vocab), (true, 3 * vocab + 1), (true, 0)] {
        let (logprobs, others) = learn(policy, Memory { recompute, logits }, entropies);
        let difference = (&logprobs - &expected).abs().max().double_value(&[]);
        assert!(difference < 1e-5, "{what}, {recompute} {logits}: {difference}");
        for ((name, ours), (_, theirs)) in others.iter().zip(&gradients) {
            let size = theirs.abs().max().double_value(&[]);
            let difference = (ours - theirs).abs().max().double_value(&[]);
            assert!(size > 0.0, "{what}: {name} has no gradient");
            assert!(
                difference <= 2e-5 * size.max(0.01),
                "{what}, {recompute} {logits}, {name}: {difference}"
            );
        }
    }
}

#[test]
fn recomputed_layers_and_logits_have_the_gradients_of_kept_ones() {
    for model in ["qwen2_audio", "qwen2_5_omni", "qwen3_tied"] {
        let projector = Trained { projector: true, ..Trained::NOTHING };
        for trained in [Trained::DECODER, Trained::EVERYTHING, projector] {
            if trained == projector && model == "qwen3_tied" {
                continue;
            }
            let options = PolicyOptions { trained, ..Default::default() };
            let policy = Policy::open(&model_dir(model), &options).unwrap();
            assert_memory_makes_no_difference(&policy, model);
        }
    }
}

/// The loss of a policy must not change because entropies are logged: not by a bit.
#[test]
fn measured_entropies_change_no_log_probability_and_no_gradient() {
    let options = PolicyOptions { trained: Trained::DECODER, ..Default::default() };
    let policy = Policy::open(&model_dir("qwen3_tied"), &options).unwrap();
    let vocab = policy.config().text.vocab_size;
    for logits in [CHUNK, 3 * vocab] {
        let memory = Memory { recompute: false, logits };
        let (without, gradients) = learn(&policy, memory, Entropies::Off);
        let (with, others) = learn(&policy, memory, Entropies::Measured);
        assert_eq!(without, with);
        assert!(gradients.iter().zip(&others).all(|((_, one), (_, other))| one == other));
    }
    // The entropy of the first token, from the logits after its prompt: Σ −p·ln p.
    let prompts = prompts(&policy);
    let groups = [Group { prompt: &prompts[1], completions: vec![&[12, 13]] }];
    let found = policy.forward_with_entropies(&groups, 0.5, 0, Entropies::Measured).unwrap();
    let found = found.entropies.unwrap().double_value(&[0, 0]);
    let logits = policy.logits(&prompts[1..]).unwrap().get(0).get(-1).to_kind(Kind::Double) / 0.5;
    let all: Vec<f64> = logits.try_into().unwrap();
    let sum: f64 = all.iter().map(|logit| logit.exp()).sum();
    let expected: f64 = all.iter().map(|logit| logit.exp() / sum).map(|p| -p * p.ln()).sum();
    assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
}

/// A policy with an adapter whose `B` is not zero, so that dropout has an effect and `A` has gradients.
fn adapted(dropout: f64, adapt_tower: bool) -> Policy {
    let config = LoraConfig { rank: 4, dropout, ..Default::default() };
    let adapter = Some(Adapter::Fresh { config, seed: 1 });
    let options = PolicyOptions { adapter, adapt_tower, ..Default::default() };
    let policy = Policy::open(&model_dir("qwen2_audio"), &options).unwrap();
    let _guard = tch::no_grad_guard();
    for (_, mut tensor) in policy.trainable() {
        let change = (tensor.ones_like().flatten(0, -1).cumsum(0, Kind::Float) * 0.37).sin() * 0.05;
        let _ = tensor.g_add_(&change.view_as(&tensor));
    }
    policy
}

#[test]
fn recomputing_draws_the_dropout_masks_of_the_forward_pass() {
    for adapt_tower in [false, true] {
        assert_memory_makes_no_difference(&adapted(0.0, adapt_tower), "without dropout");
        assert_memory_makes_no_difference(&adapted(0.3, adapt_tower), "with dropout");
    }
}

#[test]
fn dropout_is_only_for_training_and_depends_on_its_seed() {
    let (policy, without) = (adapted(0.3, false), adapted(0.0, false));
    let prompts = prompts(&policy);
    let groups = [Group { prompt: &prompts[0], completions: vec![&[5, 6, 7, 8]] }];
    let learning = |seed| policy.forward(&groups, 1.0, seed).unwrap().logprobs.detach();
    assert_eq!(learning(1), learning(1));
    assert!((learning(1) - learning(2)).abs().max().double_value(&[]) > 1e-3);
    let plain = policy.logprobs(&groups, 1.0).unwrap().logprobs;
    assert_eq!(plain, without.logprobs(&groups, 1.0).unwrap().logprobs);
    assert!(!plain.requires_grad());
}

#[test]
fn a_replica_without_gradients_has_no_backward_pass() {
    let policy =
        Policy::open(&model_dir("qwen3_tied"), &PolicyOptions::default()).unwrap().replica().unwrap();
    let prompts = prompts(&policy);
    let groups = [Group { prompt: &prompts[0], completions: vec![&[5]] }];
    let forward = policy.forward(&groups, 1.0, 0).unwrap();
    let loss = forward.logprobs.sum(Kind::Float);
    assert!(forward.backward(&loss).unwrap_err().to_string().starts_with("libtorch: "));
}

#[test]
fn positions_of_text_and_audio_are_those_of_omnis_rope_index() {
    let fixtures = Path::new(FIXTURES).join("qwen2_5_omni");
    let golden = |name: &str| -> HashMap<String, Tensor> {
        read_tensors(&fixtures.join(name)).unwrap().into_iter().collect()
    };
    let (golden_batch, index) = (golden("batch2.safetensors"), golden("rope_index.safetensors"));
    let real = golden_batch["attention_mask"].to_kind(Kind::Bool);
    let policy = Policy::open(&fixtures.join("model"), &PolicyOptions::default()).unwrap();
    let clips = [50, 300].map(|frames| {
        let values = vec![0.0; 128 * frames];
        Arc::new(LogMel {
            values,
            n_mels: 128,
            frames,
            valid_frames: frames,
            truncated: false,
            samples: None,
        })
    });
    let prompts = [0, 1].map(|row| Prompt {
        ids: Vec::try_from(golden_batch["input_ids"].get(row).masked_select(&real.get(row))).unwrap(),
        clips: vec![clips[row as usize].clone()],
    });
    let batch = policy.model.batch(&prompts.iter().collect::<Vec<_>>()).unwrap();
    let positions = Tensor::from_slice(&batch.positions).masked_select(&real.flatten(0, -1));
    // Time, height and width: for text and one clip, all three are equal.
    for row in 0..3 {
        assert_eq!(positions, index["position_ids_3xBxT"].get(row).masked_select(&real), "row {row}");
    }
}

/// Changes every trainable tensor a little, as a training step would.
fn disturb(policy: &Policy) {
    let _guard = tch::no_grad_guard();
    for (index, (_, mut tensor)) in policy.trainable().into_iter().enumerate() {
        let change =
            (tensor.ones_like().flatten(0, -1).cumsum(0, Kind::Float) * (1.0 + index as f64)).sin() * 0.05;
        let _ = tensor.g_add_(&change.view_as(&tensor));
    }
}

fn logits_of(policy: &Policy) -> Tensor {
    policy.logits(&prompts(policy)).unwrap()
}

fn difference(one: &Tensor, other: &Tensor) -> f64 {
    (one - other).abs().max().double_value(&[])
}

#[test]
fn parts_that_train_beside_an_adapter_are_saved_with_it_and_the_reference_keeps_the_base_s() {
    // LORA-4 and PARAM-3.
    for (model, tower, modules) in [
        ("qwen2_audio", false, r#"["multi_modal_projector"]"#),
        ("qwen2_audio", true, r#"["multi_modal_projector","audio_tower"]"#),
        ("qwen2_5_omni", false, r#"["audio_tower.proj"]"#),
    ] {
        let base = Policy::open(&model_dir(model), &PolicyOptions::default()).unwrap();
        let trained = Trained { projector: true, tower, ..Trained::NOTHING };
        let open = |adapter, trained| {
            let options = PolicyOptions { adapter: Some(adapter), trained, ..Default::default() };
            Policy::open(&model_dir(model), &options).unwrap()
        };
        let policy = open(Adapter::Fresh { config: LoraConfig::default(), seed: 1 }, trained);
        assert!(policy.trainable().iter().any(|(name, _)| name.ends_with("lora_A.weight")));
        assert!(policy.trainable().iter().any(|(name, _)| Part::of(name) == Part::Projector));
        let replica = policy.replica().unwrap();
        disturb(&policy);
        let adapted = logits_of(&policy);
        assert!(difference(&adapted, &logits_of(&base)) > 1e-3, "{model}");
        replica.load_trainable(&policy.publish()).unwrap();
        assert!(difference(&adapted, &logits_of(&replica)) < 2e-5, "{model}: a replica loads all of it");

        let folder = tempfile::tempdir().unwrap();
        let [saved, again, merged] = ["saved", "again", "merged"].map(|name| folder.path().join(name));
        policy.save(&saved).unwrap();
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(saved.join("adapter_config.json")).unwrap()).unwrap();
        assert_eq!(config["modules_to_save"].to_string(), modules);
        let read = policy.read_trainable(&saved).unwrap();
        let published = policy.publish();
        let by_name: HashMap<&str, &Tensor> = read.iter().map(|(name, t)| (name.as_str(), t)).collect();
        assert_eq!(by_name.len(), published.len());
        assert!(published.iter().all(|(name, tensor)| by_name[name.as_str()] == tensor));

        // Opened without training the parts, the adapter's file still replaces them, and they are saved again.
        for trained in [trained, Trained::NOTHING] {
            let opened = open(Adapter::Directory(saved.clone()), trained);
            assert!(difference(&adapted, &logits_of(&opened)) < 2e-5, "{model}: opened");
            let trains = opened.trainable().iter().any(|(name, _)| Part::of(name) == Part::Projector);
            assert_eq!(trains, trained.projector);
            assert!(difference(&adapted, &logits_of(&opened.replica().unwrap())) < 2e-5, "{model}: replica");
            let reference = opened.reference().unwrap();
            assert!(difference(&logits_of(&base), &logits_of(&reference)) < 2e-5, "{model}: reference");
            opened.save(&again).unwrap();
            let names = |dir: &Path| -> Vec<String> {
                let tensors = read_tensors(&dir.join("adapter_model.safetensors")).unwrap();
                tensors.into_iter().map(|(name, _)| name).collect()
            };
            assert_eq!(names(&saved), names(&again), "{model}");
            opened.merge(&merged).unwrap();
            let merged = Policy::open(&merged, &PolicyOptions::default()).unwrap();
            assert!(difference(&adapted, &logits_of(&merged)) < 1e-4, "{model}: merged");
        }
    }
}

#[test]
fn an_adapter_without_the_module_that_is_to_resume_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let open = |trained| {
        let adapter = Some(Adapter::Fresh { config: LoraConfig::default(), seed: 1 });
        let options = PolicyOptions { adapter, trained, ..Default::default() };
        Policy::open(&model_dir("qwen2_audio"), &options).unwrap()
    };
    let saved = folder.path().join("saved");
    open(Trained::NOTHING).save(&saved).unwrap();
    let resumed = open(Trained { projector: true, ..Trained::NOTHING });
    let message = resumed.read_trainable(&saved).unwrap_err().to_string();
    assert!(message.contains("no tensor `multi_modal_projector.linear.bias`"), "{message}");
    // A configuration that names a module which the file lacks.
    let path = saved.join("adapter_config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    let named =
        config.replace("\"modules_to_save\": null", "\"modules_to_save\": [\"multi_modal_projector\"]");
    assert_ne!(config, named);
    std::fs::write(&path, named).unwrap();
    let adapter = Some(Adapter::Directory(saved));
    let options = PolicyOptions { adapter, ..Default::default() };
    let message = Policy::open(&model_dir("qwen2_audio"), &options).err().unwrap().to_string();
    assert!(message.contains("no tensors of `multi_modal_projector`"), "{message}");
}

#[test]
fn words_are_fitted_to_their_embeddings_until_each_token_is_nearest_to_its_own() {
    use crate::align::{SpokenClip, SpokenWord};
    use crate::optim::{AdamW, AdamWConfig};
    let trained = Trained { projector: true, ..Trained::NOTHING };
    let options = PolicyOptions { trained, ..Default::default() };
    let policy = Policy::open(&model_dir("qwen2_audio"), &options).unwrap();
    let tone = |pitch: f32| {
        let samples: Vec<f32> = (0..16_000).map(|i| 0.3 * (pitch * i as f32).sin()).collect();
        Arc::new(policy.processor().extract(&samples).unwrap())
    };
    let clips: Vec<SpokenClip> = [0.05, 0.4]
        .into_iter()
        .enumerate()
        .map(|(token, pitch)| SpokenClip {
            clip: tone(pitch),
            words: vec![SpokenWord { token, start: 0.0, end: 0.8 }],
        })
        .collect();
    let vocabulary = [5, 9, 12];
    let mut adamw = AdamW::new(policy.trainable(), AdamWConfig::default()).unwrap();
    let first = policy.align(&clips, &vocabulary).unwrap();
    let mut last = (0.0, 0.0);
    for _ in 0..150 {
        adamw.zero_grad();
        let aligned = policy.align(&clips, &vocabulary).unwrap();
        aligned.loss.backward();
        adamw.step(0.01 * aligned.spread);
        last = (aligned.loss.double_value(&[]), aligned.accuracy);
    }
    assert!(last.0 < 0.5 * first.loss.double_value(&[]) && last.1 > 0.95, "{last:?}");
    assert!(policy.trainable().iter().all(|(name, _)| Part::of(name) == Part::Projector));
    let outside = policy.align(&clips, &[5, 1_000_000, 12]).err().unwrap().to_string();
    assert!(outside.contains("the vocabulary of the fit"), "{outside}");
}

/// Opens a checkpoint with an adapter of this seed.
fn with_adapter(bases: &Bases, dir: &Path, seed: u64) -> Policy {
    let adapter = Some(Adapter::Fresh { config: LoraConfig::default(), seed });
    Policy::open_with(bases, dir, &PolicyOptions { adapter, ..Default::default() }).unwrap()
}

/// The names of the base's tensors that are not at the same place in memory in both.
fn not_shared(one: &Policy, other: &Policy) -> Vec<String> {
    let (one, other) = (&one.model.params, &other.model.params);
    let differs = |((name, ours), (_, theirs)): ((&String, &Tensor), (&String, &Tensor))| {
        (ours.data_ptr() != theirs.data_ptr()).then(|| name.clone())
    };
    one.all().zip(other.all()).filter_map(differs).collect()
}

#[test]
fn policies_of_one_checkpoint_share_all_that_none_of_them_trains() {
    for model in ["qwen2_audio", "qwen2_5_omni", "qwen3_tied"] {
        let dir = model_dir(model);
        let bases = Bases::default();
        let first = with_adapter(&bases, &dir, 1);
        let second = with_adapter(&bases, &dir, 2);
        assert_eq!(not_shared(&first, &second), [] as [&str; 0], "{model}");
        assert!(Arc::ptr_eq(&first.model.clips, &second.model.clips));
        let alone = with_adapter(&Bases::default(), &dir, 2);
        assert_eq!(not_shared(&first, &alone).len(), first.model.params.all().count());
        assert_eq!(logits_of(&second), logits_of(&alone), "{model}");

        // One that trains the decoder has a decoder of its own, and shares the rest.
        let full = Policy::open_with(&bases, &dir, &PolicyOptions::default()).unwrap();
        let own = not_shared(&first, &full);
        assert!(
            !own.is_empty() && own.iter().all(|name| Part::of(name) == Part::Decoder),
            "{model}: {own:?}"
        );
        disturb(&full);
        assert_eq!(logits_of(&second), logits_of(&alone), "{model}");

        let other =
            PolicyOptions { dtype: Some(Kind::BFloat16), trained: Trained::NOTHING, ..Default::default() };
        let half = Policy::open_with(&bases, &dir, &other).unwrap();
        assert_eq!(not_shared(&first, &half).len(), first.model.params.all().count());
    }
}

#[test]
fn a_base_ends_with_its_last_policy_and_a_replaced_checkpoint_is_another() {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(model_dir("qwen2_audio")).unwrap().flatten() {
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let bases = Bases::default();
    let first = with_adapter(&bases, dir.path(), 1);
    assert_eq!(bases.in_use(), 1);
    // As a download does it: under another name, then renamed.
    let (weights, draft) = (dir.path().join("model.safetensors"), dir.path().join("draft"));
    std::fs::copy(&weights, &draft).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    std::fs::File::open(&draft).unwrap().set_modified(later).unwrap();
    std::fs::rename(&draft, &weights).unwrap();
    let second = with_adapter(&bases, dir.path(), 1);
    assert_eq!(not_shared(&first, &second).len(), first.model.params.all().count());
    assert_eq!(bases.in_use(), 2);
    let replica = first.replica().unwrap();
    drop((first, second));
    assert_eq!(bases.in_use(), 1, "a replica keeps its base");
    drop(replica);
    assert_eq!(bases.in_use(), 0);
}

/// A policy whose adapter's file has a projector of its own (LORA-4) shares the base with those that use the base's.
#[test]
fn a_projector_from_an_adapter_s_file_is_not_shared() {
    let (dir, saved) = (model_dir("qwen2_audio"), tempfile::tempdir().unwrap());
    let config = LoraConfig::default();
    let trained = Trained { projector: true, ..Trained::NOTHING };
    let adapter = Some(Adapter::Fresh { config, seed: 1 });
    let learner = Policy::open(&dir, &PolicyOptions { adapter, trained, ..Default::default() }).unwrap();
    disturb(&learner);
    let folder = saved.path().join("adapter");
    learner.save(&folder).unwrap();

    let bases = Bases::default();
    let plain = with_adapter(&bases, &dir, 2);
    let expected = logits_of(&plain);
    let options = PolicyOptions {
        adapter: Some(Adapter::Directory(folder)),
        trained: Trained::NOTHING,
        ..Default::default()
    };
    let replaced = Policy::open_with(&bases, &dir, &options).unwrap();
    let own = not_shared(&plain, &replaced);
    assert!(!own.is_empty() && own.iter().all(|name| Part::of(name) == Part::Projector), "{own:?}");
    assert_eq!(logits_of(&replaced), logits_of(&learner));
    assert_eq!(logits_of(&replaced.reference().unwrap()), logits_of(&plain.reference().unwrap()));
    assert_eq!(logits_of(&plain), expected);
}

#[test]
fn texts_that_are_scored_at_once_are_those_that_are_decoded_token_by_token() {
    // CHOOSE-4, TREE-1. Digits are written in one way, one token each; the other texts in several.
    let digits: Vec<String> = (0..40).map(|number| format!("{number:03}")).collect();
    let grades: Vec<String> =
        (0..20).map(|n| format!(" {{\"consistent\": {}, \"quality\": {}}}", n / 10, n % 10)).collect();
    for model in ["qwen3_untied", "qwen3_tied", "qwen2", "llama"] {
        let policy = Policy::open(&model_dir(model), &PolicyOptions::default()).unwrap();
        let processor = policy.processor();
        let prompt = |end: &str| Prompt {
            ids: processor.encode(&format!("Reasoning about questions on audio clips, graded: {end}")),
            clips: Vec::new(),
        };
        let several = ["Grade:", "It barks twice, so it is a dog. Grade:", "Is it? Grade:", "x"].map(prompt);
        for (prompts, texts) in [
            (&several[..], &digits),
            (&several[..1], &digits),
            (&several[..], &grades),
            (&several[1..2], &grades),
        ] {
            let at_once = chosen_at_once(&policy.context(), prompts, texts).unwrap();
            let by_token = chosen_by_token(&policy.context(), prompts, texts).unwrap();
            assert_eq!(at_once.len(), prompts.len());
            for (found, expected) in at_once.iter().zip(&by_token) {
                let Some(found) = found else {
                    assert_ne!(texts, &digits, "{model}: digits are in the tree");
                    continue;
                };
                assert_eq!(found.text, expected.text, "{model}");
                assert_eq!(found.tokens.len(), expected.tokens.len(), "{model}");
                for (one, other) in found.tokens.iter().zip(&expected.tokens) {
                    assert_eq!(one.text, other.text, "{model}");
                    assert_eq!(one.alternatives.len(), other.alternatives.len());
                    for ((text, one), (_, other)) in one.alternatives.iter().zip(&other.alternatives) {
                        assert!((one - other).abs() < 1e-4, "{model}, {text}: {one} and {other}");
                    }
                }
            }
        }
    }
}
