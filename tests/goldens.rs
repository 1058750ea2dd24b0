//! Reads golden files and compares a policy with them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audio::{Hearing, LogMel};
use model::checkpoint::read_tensors;
use model::{Completion, Finish, Group, Policy, PolicyOptions, Processor, Prompt, SamplingParams};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

pub const TOLERANCE: f64 = 1e-4;

/// The tensors of a golden file, by name.
pub type Golden = HashMap<String, Tensor>;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Reads a golden file, named as `qwen2_audio/batch2`.
pub fn golden(name: &str) -> Golden {
    let path = fixtures().join(name).with_extension("safetensors");
    read_tensors(&path).unwrap().into_iter().collect()
}

pub fn open(dir: &Path) -> Policy {
    Policy::open(dir, &PolicyOptions::default()).unwrap()
}

/// The features of a committed recording.
pub fn clip(processor: &Processor, name: &str) -> Arc<LogMel> {
    let path = fixtures().join("audio").join(name).with_extension("wav");
    Arc::new(processor.extract(&audio::load(&path, &Hearing::default()).unwrap().samples).unwrap())
}

/// The two prompts of the golden file `batch2`, for a model with an audio tower.
pub fn pair(processor: &Processor) -> [Prompt; 2] {
    [("What is it?", "tone_0p5s"), ("Describe the sound, please.", "chirp_3s")]
        .map(|(text, name)| processor.prompt(text, &[clip(processor, name)]).unwrap())
}

/// The ids of a row of a padded batch, without padding.
pub fn row_ids(golden: &Golden, ids: &str, mask: &str, row: i64) -> Vec<i64> {
    let real = golden[mask].get(row).to_kind(Kind::Bool);
    Vec::try_from(golden[ids].get(row).masked_select(&real)).unwrap()
}

#[track_caller]
pub fn assert_close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let difference = (found - expected).abs().max().double_value(&[]);
    assert!(difference < TOLERANCE, "{what}: differs by {difference}");
}

/// Checks that the prompts have the ids of a left-padded batch.
#[track_caller]
pub fn assert_ids(prompts: &[Prompt], batch: &Golden) {
    for (row, prompt) in (0..).zip(prompts) {
        assert_eq!(prompt.ids, row_ids(batch, "input_ids", "attention_mask", row), "row {row}");
    }
}

/// Compares the last `expected.size()[1]` logits of each row, without those of padding.
#[track_caller]
pub fn assert_logits(policy: &Policy, prompts: &[Prompt], expected: &Tensor, what: &str) {
    let found = policy.logits(prompts).unwrap();
    for (row, prompt) in prompts.iter().enumerate() {
        let count = (prompt.ids.len() as i64).min(expected.size()[1]);
        let last = |x: &Tensor| x.get(row as i64).narrow(0, x.size()[1] - count, count);
        assert_close(&last(&found), &last(expected), &format!("{what}, row {row}"));
    }
}

/// Compares the log-probabilities of the completions in `batch2`.
#[track_caller]
pub fn assert_logprobs(policy: &Policy, prompts: &[Prompt], batch: &Golden) {
    let ids = [0, 1].map(|row| row_ids(batch, "completion_ids", "completion_mask", row));
    let groups: Vec<Group<'_>> =
        prompts.iter().zip(&ids).map(|(prompt, ids)| Group { prompt, completions: vec![ids] }).collect();
    let found = policy.logprobs(&groups, 1.0).unwrap();
    assert_eq!(found.mask, batch["completion_mask"].to_kind(Kind::Bool));
    assert_close(&found.logprobs.detach(), &batch["completion_logps"], "logprobs");
}

/// A copy of a model directory, which the test can change.
pub fn copied(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// A copy of a model directory in which every token may be drawn and `eos` ends a completion.
fn unsuppressed(dir: &Path, eos: &[i64]) -> tempfile::TempDir {
    let copy = copied(dir);
    let path = copy.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
        token["special"] = json!(false);
    }
    fs::write(&path, tokenizer.to_string()).unwrap();
    fs::write(copy.path().join("generation_config.json"), json!({"eos_token_id": eos}).to_string()).unwrap();
    copy
}

/// Greedy decoding in which every token may be drawn and `eos` ends a completion.
fn greedy(dir: &Path, prompts: &[Prompt], eos: &[i64]) -> Vec<Completion> {
    let params = SamplingParams { temperature: 0.0, max_new_tokens: 20, ..Default::default() };
    open(unsuppressed(dir, eos).path()).generate(prompts, 1, &params, &[0, 1]).unwrap()
}

/// Compares 20 greedily decoded tokens of each row with `batch2`, and the log-probabilities of the first three.
#[track_caller]
pub fn assert_greedy(dir: &Path, prompts: &[Prompt], batch: &Golden) {
    for (row, completion) in (0..).zip(&greedy(dir, prompts, &[])) {
        assert_eq!(completion.ids, Vec::<i64>::try_from(batch["greedy_ids"].get(row)).unwrap(), "row {row}");
        assert_eq!(completion.finish, Finish::Length);
        let logprobs = batch["greedy_logits_first3"].get(row).log_softmax(-1, Kind::Float);
        for token in 0..3 {
            let expected = logprobs.double_value(&[token as i64, completion.ids[token]]);
            assert!(
                (f64::from(completion.logprobs[token]) - expected).abs() < TOLERANCE,
                "row {row}, token {token}"
            );
        }
    }
}

/// Checks that with the end token of `batch2`, rows end where its rows end. The ids after that are padding.
#[track_caller]
pub fn assert_greedy_with_eos(dir: &Path, prompts: &[Prompt], batch: &Golden) {
    let eos = batch["greedy_with_eos_eos_id"].int64_value(&[0]);
    let completions = greedy(dir, prompts, &[eos]);
    assert!(completions.iter().any(|completion| completion.finish == Finish::Eos), "an end token was drawn");
    for (row, completion) in (0..).zip(&completions) {
        let padded: Vec<i64> = Vec::try_from(batch["greedy_with_eos_ids"].get(row)).unwrap();
        let end = padded.iter().position(|id| *id == eos).map_or(padded.len(), |index| index + 1);
        assert_eq!(completion.ids, padded[..end], "row {row}");
        assert_eq!(completion.finish == Finish::Eos, padded[end - 1] == eos, "row {row}");
        assert_eq!(completion.logprobs.len(), end, "row {row}");
    }
}
