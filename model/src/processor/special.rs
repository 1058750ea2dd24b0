//! Special tokens: the audio placeholder, and the ids that are never drawn.

use tokenizers::Tokenizer;

use crate::config::ModelConfig;
use crate::error::ProcessorError;

/// Checks that the placeholder that templates write is the token that `config.json` names.
pub(super) fn check_audio_token(tokenizer: &Tokenizer, expected: i64) -> Result<(), ProcessorError> {
    match tokenizer.token_to_id("<|AUDIO|>").map(i64::from) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(ProcessorError::AudioTokenId { found, expected }),
        None => Err(ProcessorError::NoAudioToken { expected }),
    }
}

/// The ids that are never drawn, sorted: placeholders, special tokens that do not end a completion, and rows of the
/// vocabulary that have no token.
pub(super) fn suppressed_ids(tokenizer: &Tokenizer, config: &ModelConfig, eos_ids: &[i64]) -> Vec<i64> {
    let added = tokenizer.get_added_tokens_decoder();
    let is_text = |id: i64| {
        let id = id as u32;
        tokenizer.id_to_token(id).is_some() && added.get(&id).is_none_or(|token| !token.special)
    };
    let audio = config.audio.iter().map(|audio| audio.token_id);
    let placeholders: Vec<i64> = audio.chain(config.other_placeholder_ids.iter().copied()).collect();
    let suppressed = |id: &i64| placeholders.contains(id) || !(is_text(*id) || eos_ids.contains(id));
    (0..config.text.vocab_size).filter(suppressed).collect()
}
