//! Compares a Llama and a Qwen2 that stand alone with Hugging Face's `LlamaForCausalLM` and `Qwen2ForCausalLM` of
//! transformers 5.17 (goldens in `fixtures/llama` and `fixtures/qwen2`).

use std::path::PathBuf;

use model::{Processor, Prompt};

use crate::goldens::{
    assert_greedy, assert_greedy_with_eos, assert_ids, assert_logits, assert_logprobs, copied, fixtures,
    golden, open,
};

const FAMILIES: [&str; 2] = ["llama", "qwen2"];

fn model_dir(family: &str) -> PathBuf {
    fixtures().join(family).join("model")
}

/// The two prompts of the golden file `batch2`.
fn pair(processor: &Processor) -> [Prompt; 2] {
    ["What is it?", "Describe the sound, please."].map(|text| processor.prompt(text, &[]).unwrap())
}

#[test]
fn logits_and_logprobs_are_those_of_hugging_face() {
    for family in FAMILIES {
        let policy = open(&model_dir(family));
        let (golden, prompts) = (golden(&format!("{family}/batch2")), pair(policy.processor()));
        assert_ids(&prompts, &golden);
        assert_logits(&policy, &prompts, &golden["logits"], family);
        assert_logprobs(&policy, &prompts, &golden);
    }
}

#[test]
fn greedy_decoding_writes_the_same_ids_with_an_end_token_and_without() {
    for family in FAMILIES {
        let prompts = pair(&Processor::open(&model_dir(family)).unwrap());
        let golden = golden(&format!("{family}/batch2"));
        assert_greedy(&model_dir(family), &prompts, &golden);
        assert_greedy_with_eos(&model_dir(family), &prompts, &golden);
    }
}

#[test]
fn audio_is_refused_with_the_family_s_name() {
    for (family, name) in [("llama", "Llama"), ("qwen2", "Qwen2")] {
        let processor = Processor::open(&model_dir(family)).unwrap();
        let message = processor.extract(&[0.0; 16_000]).unwrap_err().to_string();
        assert_eq!(message, format!("{name} is a text-only model and takes no audio"));
    }
}

#[test]
fn a_text_begins_with_what_the_tokenizer_puts_before_it() {
    let dir = copied(&model_dir("llama"));
    let plain = Processor::open(dir.path()).unwrap();
    assert_eq!(plain.encode_beginning("a sound"), plain.encode("a sound"));
    // As Llama 3's tokenizer, which puts a token before every text, and as one that also puts one behind it.
    for template in [
        serde_json::json!([{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]),
        serde_json::json!([{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}}]),
    ] {
        let path = dir.path().join("tokenizer.json");
        let mut tokenizer: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let token = |text: &str, id: u32| serde_json::json!({"id": text, "ids": [id], "tokens": [text]});
        tokenizer["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing", "single": template, "pair": [],
            "special_tokens": {"<|endoftext|>": token("<|endoftext|>", 288), "<|im_end|>": token("<|im_end|>", 290)},
        });
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        let processor = Processor::open(dir.path()).unwrap();
        let mut expected = vec![288];
        expected.extend(plain.encode("a sound"));
        assert_eq!(processor.encode_beginning("a sound"), expected);
        assert_eq!(processor.encode("a sound"), plain.encode("a sound"));
    }
}
