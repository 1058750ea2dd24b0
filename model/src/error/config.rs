//! What can be wrong with `config.json`, or with an adapter's `adapter_config.json`.

/// A key that is missing, has the wrong type, or asks for something that this crate does not implement.
///
/// Keys are written with their section, as `text_config.hidden_size`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum ConfigError {
    #[error("does not exist; a model's directory holds config.json, its weights and its tokenizer.json")]
    Missing,
    #[error("is not JSON ({error}); take it from the model's hub page")]
    NotJson { error: String },
    #[error("is not a JSON object; take it from the model's hub page")]
    NotAnObject,
    #[error(
        "model_type is `{}`; supported are `qwen2_audio`, `qwen2_5_omni` and `qwen2_5_omni_thinker`, and the text-only \
         `llama`, `qwen2` and `qwen3`",
        quoted(found)
    )]
    ModelType { found: String },
    #[error("{key} is `{}`; expected {expected}", quoted(found))]
    WrongType { key: String, found: String, expected: &'static str },
    #[error("{key} is {found}; expected a positive number")]
    NotPositive { key: String, found: i64 },
    #[error("{key} is `{}`; expected `{expected}`", quoted(found))]
    OtherValue { key: String, found: String, expected: String },
    #[error("{key} is true; only false is supported")]
    SwitchedOn { key: String },
    #[error("{key} {value} does not divide {whole_key} {whole}")]
    DoesNotDivide { key: String, value: i64, whole_key: &'static str, whole: i64 },
    #[error("head_dim is {found}; rotary positions need a positive even number")]
    HeadDim { found: i64 },
    #[error("{section}: rope type `{}` is not supported; only `default` is", quoted(found))]
    RopeType { section: String, found: String },
    #[error(
        "text_config: mrope_section is {}; expected three numbers that add up to half of head_dim {head_dim}",
        quoted(&format!("{found:?}"))
    )]
    MropeSection { found: Vec<i64>, head_dim: i64 },
    #[error(
        "model_type is `{}`; the audio part is a `whisper` or a `qwen2_audio`, whose encoder is taken",
        quoted(found)
    )]
    NotAnEncoder { found: String },
    #[error(
        "model_type is `{}`; the text part is a `llama` (such as SmolLM2), a `qwen2` or a `qwen3`",
        quoted(found)
    )]
    NotALanguageModel { found: String },
    #[error("audio_token_index {token_id} is outside the vocabulary of {vocab_size} ids")]
    AudioToken { token_id: i64, vocab_size: i64 },
    #[error(
        "is not PEFT's adapter configuration ({error}); save the adapter again with PEFT's save_pretrained"
    )]
    NotAnAdapter { error: String },
    #[error("peft_type is `{}`; only `LORA` is supported", quoted(found))]
    PeftType { found: String },
    #[error("{key} is {}; only plain LoRA is supported, which leaves it out", quoted(found))]
    LoraVariant { key: &'static str, found: String },
    #[error("bias is `{}`; only adapters with `none` are supported", quoted(found))]
    LoraBias { found: String },
    #[error(
        "init_lora_weights is `{}`, which changes the base too; convert it to plain LoRA with PEFT's \
         save_pretrained(path_initial_model_for_weight_conversion=…)",
        quoted(found)
    )]
    LoraStart { found: String },
}

/// What a file says, in one line of bounded length.
fn quoted(found: &str) -> String {
    const MOST: usize = 120;
    let line = found.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
