//! The language model's part of `config.json`.

use super::section::Section;
use super::{Architecture, divides};

/// Dimensions of the language model's decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Rows of the embedding, which may exceed the tokenizer's.
    pub vocab_size: i64,
    /// Width.
    pub hidden_size: i64,
    /// Width of the feed-forward layers.
    pub intermediate_size: i64,
    /// Transformer layers.
    pub num_hidden_layers: i64,
    /// Query heads.
    pub num_attention_heads: i64,
    /// Key and value heads, a divisor of the query heads.
    pub num_key_value_heads: i64,
    /// Width of one head.
    pub head_dim: i64,
    /// The projections to queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Queries and keys are normalised, each head by itself, before they are turned.
    pub qk_norm: bool,
    /// Epsilon of the RMS norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Rotary frequencies that follow each of three positions (time, height, width); none where there is one position.
    pub mrope_section: Option<[i64; 3]>,
    /// Longest sequence.
    pub max_position_embeddings: i64,
    /// The output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// End-of-sequence ids, if the configuration says; an empty list says that nothing ends a sequence.
    pub eos_token_ids: Option<Vec<i64>>,
}

/// What a Hugging Face class assumes of a key that is absent.
struct Defaults {
    model_type: &'static str,
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    layers: i64,
    heads: i64,
    key_value_heads: i64,
    head_dim: Option<i64>,
    rope_theta: f64,
}

const QWEN2: Defaults = Defaults {
    model_type: "qwen2",
    vocab_size: 151_936,
    hidden_size: 4096,
    intermediate_size: 22_016,
    layers: 32,
    heads: 32,
    key_value_heads: 32,
    head_dim: None,
    rope_theta: 10_000.0,
};

const QWEN2_5_OMNI: Defaults = Defaults {
    model_type: "qwen2_5_omni_text",
    vocab_size: 152_064,
    hidden_size: 3584,
    intermediate_size: 18_944,
    layers: 28,
    heads: 28,
    key_value_heads: 4,
    head_dim: None,
    rope_theta: 1_000_000.0,
};

const QWEN3: Defaults = Defaults { model_type: "qwen3", head_dim: Some(128), ..QWEN2 };

impl TextConfig {
    /// From the section of the whole model.
    pub(super) fn read(architecture: Architecture, model: &Section) -> Result<TextConfig, String> {
        let defaults = match architecture {
            Architecture::Qwen2Audio => QWEN2,
            Architecture::Qwen25Omni => QWEN2_5_OMNI,
            Architecture::Qwen3 => QWEN3,
        };
        let below = model.below("text_config")?;
        let text = if architecture == Architecture::Qwen3 { model } else { &below };
        text.only("model_type", defaults.model_type)?;
        text.only("hidden_act", "silu")?;
        text.never("use_sliding_window")?;
        text.never("attention_bias")?;
        let heads = text.size("num_attention_heads", defaults.heads)?;
        let hidden_size = text.size("hidden_size", defaults.hidden_size)?;
        let head_dim = head_dim(text, &defaults, hidden_size, heads)?;
        let key_value_heads = text.size("num_key_value_heads", defaults.key_value_heads)?;
        divides(text.name(), ("num_key_value_heads", key_value_heads), ("num_attention_heads", heads))?;
        let eos_token_ids = match text.integers("eos_token_id")? {
            None => model.integers("eos_token_id")?,
            stated => stated,
        };
        Ok(TextConfig {
            vocab_size: text.size("vocab_size", defaults.vocab_size)?,
            hidden_size,
            intermediate_size: text.size("intermediate_size", defaults.intermediate_size)?,
            num_hidden_layers: text.size("num_hidden_layers", defaults.layers)?,
            num_attention_heads: heads,
            num_key_value_heads: key_value_heads,
            head_dim,
            qkv_bias: architecture != Architecture::Qwen3,
            qk_norm: architecture == Architecture::Qwen3,
            rms_norm_eps: text.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta: rope_theta(text, defaults.rope_theta)?,
            mrope_section: match architecture {
                Architecture::Qwen25Omni => Some(mrope_section(text, head_dim)?),
                _ => None,
            },
            max_position_embeddings: text.size("max_position_embeddings", 32_768)?,
            tie_word_embeddings: tied(architecture, text, model)?,
            eos_token_ids,
        })
    }
}

fn head_dim(text: &Section, defaults: &Defaults, hidden_size: i64, heads: i64) -> Result<i64, String> {
    let head_dim = match text.integer("head_dim")?.or(defaults.head_dim) {
        Some(stated) => stated,
        None => {
            divides(text.name(), ("num_attention_heads", heads), ("hidden_size", hidden_size))?;
            hidden_size / heads
        }
    };
    if head_dim <= 0 || head_dim % 2 != 0 {
        return Err(format!("head_dim is {head_dim}; rotary positions need a positive even one"));
    }
    Ok(head_dim)
}

/// The published Qwen2.5-Omni is untied, though the class of its text part would tie it: transformers goes by the
/// thinker's own key.
fn tied(architecture: Architecture, text: &Section, model: &Section) -> Result<bool, String> {
    let of_text = text.flag("tie_word_embeddings")?;
    Ok(match architecture {
        Architecture::Qwen25Omni => model.flag("tie_word_embeddings")?.unwrap_or(false),
        _ => of_text.unwrap_or(false),
    })
}

/// The rotary base from either form of the configuration. Scaled variants are refused rather than run wrongly.
fn rope_theta(text: &Section, default: f64) -> Result<f64, String> {
    let (old, new) = (text.below("rope_scaling")?, text.below("rope_parameters")?);
    for rope in [&old, &new] {
        let kind = match rope.word("rope_type")? {
            None => rope.word("type")?,
            kind => kind,
        };
        // `mrope` is what early files of Qwen2.5-Omni call the default with sections.
        if let Some(kind) = kind.filter(|kind| !["default", "mrope"].contains(kind)) {
            return Err(format!("{}: rope type `{kind}` is not built; only `default` is", rope.name()));
        }
    }
    let stated = match new.number("rope_theta")? {
        None => text.number("rope_theta")?,
        nested => nested,
    };
    Ok(stated.unwrap_or(default))
}

/// Frequencies of each of the three positions; together all of a head's.
fn mrope_section(text: &Section, head_dim: i64) -> Result<[i64; 3], String> {
    let (old, new) = (text.below("rope_scaling")?, text.below("rope_parameters")?);
    let stated = match new.integers("mrope_section")? {
        None => old.integers("mrope_section")?,
        nested => nested,
    };
    let stated = stated.unwrap_or_else(|| vec![16, 24, 24]);
    match <[i64; 3]>::try_from(stated.as_slice()) {
        Ok(section)
            if section.iter().all(|&width| width >= 0) && 2 * section.iter().sum::<i64>() == head_dim =>
        {
            Ok(section)
        }
        _ => Err(format!(
            "text_config: mrope_section is {stated:?}; expected three numbers that add up to half of head_dim {head_dim}"
        )),
    }
}
