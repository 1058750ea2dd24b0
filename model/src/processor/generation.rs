//! `generation_config.json`: the end-of-sequence ids, and the sampling parameters that the model's authors recommend.

use std::path::Path;

use serde::Deserialize;
use tokenizers::Tokenizer;

use super::files::read_if_present;
use crate::config::ModelConfig;
use crate::error::{ModelError, ProcessorError};
use crate::sampling::SamplingParams;

/// The keys that are used; the file may have others.
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

/// The end-of-sequence ids and sampling parameters of a model directory.
pub(super) struct Generation {
    pub(super) eos_ids: Vec<i64>,
    pub(super) sampling: SamplingParams,
}

impl Generation {
    /// Reads them. The end-of-sequence ids are those of `generation_config.json`, else those of `config.json`, else the
    /// tokenizer's id of `<|im_end|>`.
    pub(super) fn open(
        dir: &Path,
        config: &ModelConfig,
        tokenizer: &Tokenizer,
    ) -> Result<Generation, ModelError> {
        let path = dir.join("generation_config.json");
        let file: GenerationConfig = match read_if_present(&path)? {
            Some(text) => serde_json::from_str(&text).map_err(|error| {
                ModelError::processor(&path, ProcessorError::Json { error: error.to_string() })
            })?,
            None => GenerationConfig::default(),
        };
        let sampling = file.sampling();
        let stated = match file.eos_token_id {
            Some(TokenIds::One(id)) => Some(vec![id]),
            Some(TokenIds::Many(ids)) => Some(ids),
            None => config.text.eos_token_ids.clone(),
        };
        let im_end = || {
            let missing = || ModelError::processor(dir.join("tokenizer.json"), ProcessorError::NoEndToken);
            let id = tokenizer.token_to_id("<|im_end|>").ok_or_else(missing)?;
            Ok::<_, ModelError>(vec![i64::from(id)])
        };
        Ok(Generation { eos_ids: stated.map_or_else(im_end, Ok)?, sampling })
    }
}

impl GenerationConfig {
    /// The parameters that transformers would sample with, including its defaults for absent keys.
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
            ..SamplingParams::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_parameters_are_those_of_transformers() {
        let sampling = |json: &str| serde_json::from_str::<GenerationConfig>(json).unwrap().sampling();
        let published = sampling(
            r#"{"do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.5, "repetition_penalty": 1.1}"#,
        );
        assert_eq!(
            published,
            SamplingParams { temperature: 0.7, top_p: 0.5, top_k: 20, ..SamplingParams::default() }
        );
        assert_eq!(sampling(r#"{"temperature": 0.7}"#).temperature, 0.0, "greedy unless do_sample is set");
        assert_eq!((sampling(r#"{"do_sample": true}"#).top_k, sampling("{}").top_k), (50, 0));
    }
}
