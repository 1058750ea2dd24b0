//! Compares the Qwen3 policy with Hugging Face's `Qwen3ForCausalLM` of transformers 5.17 (goldens in
//! `fixtures/qwen3_tied` and `fixtures/qwen3_untied`). The checkpoint of the untied model is sharded.

use std::fs;
use std::path::PathBuf;

use audio::LogMel;
use model::{Processor, Prompt};

use crate::goldens::{
    assert_greedy, assert_greedy_with_eos, assert_ids, assert_logits, assert_logprobs, copied, fixtures,
    golden, open,
};

const FAMILIES: [&str; 2] = ["qwen3_tied", "qwen3_untied"];

fn model_dir(family: &str) -> PathBuf {
    fixtures().join(family).join("model")
}

/// The two prompts of the golden file `batch2`.
fn pair(processor: &Processor) -> [Prompt; 2] {
    ["What is it?", "Describe the sound, please."].map(|text| processor.prompt(text, &[]).unwrap())
}

#[test]
fn prompts_are_those_of_hugging_face() {
    for family in FAMILIES {
        let processor = Processor::open(&model_dir(family)).unwrap();
        assert_ids(&pair(&processor), &golden(&format!("{family}/batch2")));
    }
}

#[test]
fn left_padded_batch_has_the_same_logits() {
    for family in FAMILIES {
        let policy = open(&model_dir(family));
        let golden = golden(&format!("{family}/batch2"));
        assert_logits(&policy, &pair(policy.processor()), &golden["logits"], family);
    }
}

#[test]
fn greedy_decoding_writes_the_same_ids() {
    for family in FAMILIES {
        let prompts = pair(&Processor::open(&model_dir(family)).unwrap());
        assert_greedy(&model_dir(family), &prompts, &golden(&format!("{family}/batch2")));
    }
}

#[test]
fn a_row_with_its_end_token_stops_and_the_other_continues() {
    for family in FAMILIES {
        let prompts = pair(&Processor::open(&model_dir(family)).unwrap());
        assert_greedy_with_eos(&model_dir(family), &prompts, &golden(&format!("{family}/batch2")));
    }
}

#[test]
fn completions_have_the_same_logprobs() {
    for family in FAMILIES {
        let policy = open(&model_dir(family));
        assert_logprobs(&policy, &pair(policy.processor()), &golden(&format!("{family}/batch2")));
    }
}

#[test]
fn a_configuration_of_transformers_4_opens_the_same_model() {
    for family in FAMILIES {
        let dir = copied(&model_dir(family));
        fs::rename(dir.path().join("config_hub_style.json"), dir.path().join("config.json")).unwrap();
        let policy = open(dir.path());
        let golden = golden(&format!("{family}/batch2"));
        assert_logits(&policy, &pair(policy.processor()), &golden["logits"], family);
    }
}

#[test]
fn audio_is_refused_by_a_text_only_model() {
    let policy = open(&model_dir("qwen3_tied"));
    let processor = policy.processor();
    let expected = "Qwen3 is a text-only model and takes no audio";
    assert_eq!(processor.extract(&[0.0; 16_000]).unwrap_err().to_string(), expected);
    let clip = LogMel {
        values: vec![0.0; 4],
        n_mels: 2,
        frames: 2,
        valid_frames: 2,
        truncated: false,
        samples: None,
    };
    let message = processor.prompt("What is it?", &[clip.into()]).unwrap_err().to_string();
    assert_eq!(message, expected);
    assert_eq!((processor.audio_token_id(), processor.window_seconds()), (None, None));
}
