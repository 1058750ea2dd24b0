//! What can be wrong with the tokenizer, the chat template or `generation_config.json`.

/// A file that is missing, cannot be parsed, or contradicts `config.json`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum ProcessorError {
    #[error("does not exist; copy it from the model's hub page")]
    Missing,
    #[error("is not a tokenizer ({error}); copy it from the model's hub page")]
    Tokenizer { error: String },
    #[error("is not valid JSON ({error}); copy it from the model's hub page")]
    Json { error: String },
    #[error("chat template: {error}")]
    ChatTemplate { error: String },
    #[error(
        "has {tokens} tokens; config.json has a vocab_size of {vocab_size}: take both files from the same model"
    )]
    TooManyTokens { tokens: i64, vocab_size: i64 },
    #[error(
        "`<|AUDIO|>` is token {found}; config.json says audio_token_index {expected}: take tokenizer.json and \
         config.json from the same model"
    )]
    AudioTokenId { found: i64, expected: i64 },
    #[error(
        "has no token `<|AUDIO|>`, which config.json says is token {expected}: take tokenizer.json and config.json \
         from the same model"
    )]
    NoAudioToken { expected: i64 },
    #[error(
        "has no token `<|im_end|>`, and no file names an eos_token_id; write one in generation_config.json"
    )]
    NoEndToken,
}
