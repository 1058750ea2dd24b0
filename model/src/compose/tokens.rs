//! The tokens of the composed model: those of the language model, and the ones that conversations with clips need.

use serde_json::{Value, json};
use tokenizers::{AddedToken, Tokenizer};

use crate::error::ProcessorError;

/// The format of conversations: ChatML with clips, as Qwen2-Audio has it, but without a system turn of its own, which would cost
/// each prompt of a small model twenty tokens.
pub(super) const CHAT_TEMPLATE: &str = "\
{%- for message in messages -%}
    {{- '<|im_start|>' ~ message['role'] ~ '\\n' -}}
    {%- if message['content'] is string -%}
        {{- message['content'] -}}
    {%- else -%}
        {%- for part in message['content'] -%}
            {%- if part['type'] == 'audio' or 'audio' in part or 'audio_url' in part -%}
                {{- '<|audio_bos|><|AUDIO|><|audio_eos|>\\n' -}}
            {%- elif 'text' in part -%}
                {{- part['text'] -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
";

const AUDIO: &str = "<|AUDIO|>";
const END: &str = "<|im_end|>";
const WANTED: [&str; 5] = ["<|im_start|>", END, AUDIO, "<|audio_bos|>", "<|audio_eos|>"];

/// The tokens that were looked for or added.
pub(super) struct Tokens {
    /// Id of the placeholder of a clip's features.
    pub(super) audio: i64,
    /// Id of the end of a turn.
    end: i64,
    /// Rows that the embeddings need.
    pub(super) rows: i64,
    /// The tokens that the tokenizer did not have.
    pub(super) added: Vec<String>,
}

impl Tokens {
    /// Adds the wanted tokens that a tokenizer lacks. `rows` is the number of embeddings: rows without a token are used first.
    pub(super) fn add_to(tokenizer: &mut Tokenizer, rows: i64) -> Result<Tokens, ProcessorError> {
        let missing = |text: &&str| tokenizer.token_to_id(text).is_none();
        let added: Vec<String> =
            WANTED.iter().filter(|text| missing(text)).map(|text| (*text).to_owned()).collect();
        let special: Vec<AddedToken> =
            added.iter().map(|text| AddedToken::from(text.clone(), true)).collect();
        tokenizer.add_special_tokens(&special);
        let id = |text: &str| {
            let error = || ProcessorError::Tokenizer { error: format!("`{text}` can't be added to it") };
            tokenizer.token_to_id(text).map(i64::from).ok_or_else(error)
        };
        let highest = tokenizer.get_vocab(true).into_values().max().map_or(0, i64::from);
        Ok(Tokens { audio: id(AUDIO)?, end: id(END)?, rows: rows.max(highest + 1), added })
    }

    /// `generation_config.json`: greedy, and ended by the end of a turn or by what ended a text before.
    pub(super) fn generation(&self, ends: &[i64]) -> Value {
        let mut ids = vec![self.end];
        ids.extend(ends.iter().filter(|id| **id != self.end));
        json!({ "do_sample": false, "eos_token_id": ids, "pad_token_id": self.end })
    }
}
