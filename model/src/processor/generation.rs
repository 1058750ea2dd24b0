//! `generation_config.json`: what ends a completion, and how the model's makers would sample.

use std::path::Path;

use serde::Deserialize;
use tokenizers::Tokenizer;

use super::read_if_present;
use crate::config::ModelConfig;
use crate::error::ModelError;
use crate::sampling::SamplingParams;

/// The keys that are read; the rest does not concern sampling here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct GenerationConfig {
    eos_token_id: Option<TokenIds>,
    do_sample: bool,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<usize>,
    max_new_tokens: Option<usize>,
}

/// One id or a list of them: Hugging Face writes either.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenIds {
    One(i64),
    Many(Vec<i64>),
}

/// End-of-sequence ids and sampling parameters of a model's directory.
pub(super) struct Generation {
    pub(super) eos_ids: Vec<i64>,
    pub(super) sampling: SamplingParams,
}

impl Generation {
    /// The ids are from `generation_config.json`, else `config.json`, else `<|im_end|>` of the tokenizer.
    pub(super) fn open(
        dir: &Path,
        config: &ModelConfig,
        tokenizer: &Tokenizer,
    ) -> Result<Generation, ModelError> {
        let path = dir.join("generation_config.json");
        let file: GenerationConfig = match read_if_present(&path)? {
            Some(text) => serde_json::from_str(&text)
                .map_err(|error| ModelError::processor(&path, error.to_string()))?,
            None => GenerationConfig::default(),
        };
        let sampling = file.sampling();
        let stated = match file.eos_token_id {
            Some(TokenIds::One(id)) => Some(vec![id]),
            Some(TokenIds::Many(ids)) => Some(ids),
            None => config.text.eos_token_ids.clone(),
        };
        let im_end = || {
            let id = tokenizer.token_to_id("<|im_end|>").ok_or_else(|| {
                ModelError::processor(
                    dir.join("tokenizer.json"),
                    "has no `<|im_end|>`, and no file names an eos_token_id",
                )
            })?;
            Ok::<_, ModelError>(vec![i64::from(id)])
        };
        Ok(Generation { eos_ids: stated.map_or_else(im_end, Ok)?, sampling })
    }
}

impl GenerationConfig {
    /// As transformers would sample, with its defaults for what the file leaves out.
    fn sampling(&self) -> SamplingParams {
        let max_new_tokens = self.max_new_tokens.unwrap_or(SamplingParams::default().max_new_tokens);
        if !self.do_sample {
            return SamplingParams { temperature: 0.0, max_new_tokens, ..SamplingParams::default() };
        }
        SamplingParams {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(50),
            max_new_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_is_what_transformers_would_do() {
        let sampling = |json: &str| serde_json::from_str::<GenerationConfig>(json).unwrap().sampling();
        let published = sampling(
            r#"{"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.5, "repetition_penalty": 1.1}"#,
        );
        assert_eq!(
            published,
            SamplingParams { temperature: 0.7, top_p: 0.5, top_k: 20, ..SamplingParams::default() }
        );
        assert_eq!(sampling(r#"{"temperature": 0.7}"#).temperature, 0.0, "sampling is off unless it is on");
        assert_eq!((sampling(r#"{"do_sample": true}"#).top_k, sampling("{}").top_k), (50, 0));
    }
}
