//! The language model's section of `config.json`.

use super::architecture::Architecture;
use super::section::Section;
use crate::error::ConfigError;

/// Dimensions of the language model's decoder. Fields are named as in `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Rows of the embedding, at least the number of tokens of the tokenizer.
    pub vocab_size: i64,
    /// Width of the hidden states.
    pub hidden_size: i64,
    /// Width of the feed-forward layers.
    pub intermediate_size: i64,
    /// Number of transformer layers.
    pub num_hidden_layers: i64,
    /// Query heads of each layer.
    pub num_attention_heads: i64,
    /// Key and value heads of each layer, a divisor of the query heads.
    pub num_key_value_heads: i64,
    /// Width of one attention head; even.
    pub head_dim: i64,
    /// Whether the projections to queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether queries and keys are normalised, each head by itself, before the rotary positions are applied.
    pub qk_norm: bool,
    /// Epsilon that the RMS norms add to the mean square.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies: frequency `i` is `rope_theta^(-2i / head_dim)`.
    pub rope_theta: f64,
    /// Number of rotary frequencies that use each of three positions (time, height, width); `None` for a model
    /// with a single position.
    pub mrope_section: Option<[i64; 3]>,
    /// Longest sequence in tokens, prompt and completion together.
    pub max_position_embeddings: i64,
    /// Whether the output projection uses the embedding's weights.
    pub tie_word_embeddings: bool,
    /// End-of-sequence ids, if the configuration states them. With an empty list, no token ends a sequence.
    pub eos_token_ids: Option<Vec<i64>>,
}

/// The defaults of a Hugging Face class for absent keys.
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
    context: i64,
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
    context: 32_768,
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
    context: 32_768,
};

const QWEN3: Defaults = Defaults { model_type: "qwen3", head_dim: Some(128), ..QWEN2 };

const LLAMA: Defaults =
    Defaults { model_type: "llama", vocab_size: 32_000, intermediate_size: 11_008, context: 2_048, ..QWEN2 };

/// The decoders that transformers can put behind Qwen2-Audio's tower, whose `text_config` may be of any causal language model.
const BEHIND_A_TOWER: [Defaults; 3] = [QWEN2, QWEN3, LLAMA];

impl TextConfig {
    /// Reads the language model's dimensions from the section of the whole model. Text-only models have them at the top
    /// level, the others in `text_config`.
    pub(super) fn read(architecture: Architecture, model: &Section) -> Result<TextConfig, ConfigError> {
        let nested = model.section("text_config")?;
        let text = if architecture.is_text_only() { model } else { &nested };
        let defaults = match architecture {
            Architecture::Qwen2Audio => {
                text.one_of("model_type", &BEHIND_A_TOWER, |known| known.model_type)?
            }
            Architecture::Qwen25Omni => &QWEN2_5_OMNI,
            Architecture::Qwen2 => &QWEN2,
            Architecture::Qwen3 => &QWEN3,
            Architecture::Llama => &LLAMA,
        };
        text.require_value("model_type", defaults.model_type)?;
        text.require_value("hidden_act", "silu")?;
        text.require_off("use_sliding_window")?;
        text.require_off("attention_bias")?;
        text.require_off("mlp_bias")?;
        let heads = text.positive("num_attention_heads", defaults.heads)?;
        let hidden_size = text.positive("hidden_size", defaults.hidden_size)?;
        let head_dim = head_dim(text, defaults, hidden_size, heads)?;
        let every_head =
            if defaults.model_type == LLAMA.model_type { heads } else { defaults.key_value_heads };
        let key_value_heads = text.positive("num_key_value_heads", every_head)?;
        text.require_divisor(("num_key_value_heads", key_value_heads), ("num_attention_heads", heads))?;
        let eos_token_ids = match text.integers("eos_token_id")? {
            None => model.integers("eos_token_id")?,
            stated => stated,
        };
        Ok(TextConfig {
            vocab_size: text.positive("vocab_size", defaults.vocab_size)?,
            hidden_size,
            intermediate_size: text.positive("intermediate_size", defaults.intermediate_size)?,
            num_hidden_layers: text.positive("num_hidden_layers", defaults.layers)?,
            num_attention_heads: heads,
            num_key_value_heads: key_value_heads,
            head_dim,
            qkv_bias: [QWEN2.model_type, QWEN2_5_OMNI.model_type].contains(&defaults.model_type),
            qk_norm: defaults.model_type == QWEN3.model_type,
            rms_norm_eps: text.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta: rope_theta(text, defaults.rope_theta)?,
            mrope_section: match architecture {
                Architecture::Qwen25Omni => Some(mrope_section(text, head_dim)?),
                _ => None,
            },
            max_position_embeddings: text.positive("max_position_embeddings", defaults.context)?,
            tie_word_embeddings: tied(architecture, text, model)?,
            eos_token_ids,
        })
    }
}

/// Width of a head, from `head_dim` or else from the hidden size.
fn head_dim(text: &Section, defaults: &Defaults, hidden_size: i64, heads: i64) -> Result<i64, ConfigError> {
    let head_dim = match text.integer("head_dim")?.or(defaults.head_dim) {
        Some(stated) => stated,
        None => {
            text.require_divisor(("num_attention_heads", heads), ("hidden_size", hidden_size))?;
            hidden_size / heads
        }
    };
    if head_dim <= 0 || head_dim % 2 != 0 {
        return Err(ConfigError::HeadDim { found: head_dim });
    }
    Ok(head_dim)
}

/// Whether the output projection is the embedding. For Qwen2.5-Omni, transformers uses the thinker's own key and
/// ignores the default of the text class, which would tie them; the published model is untied.
fn tied(architecture: Architecture, text: &Section, model: &Section) -> Result<bool, ConfigError> {
    let of_text = text.flag("tie_word_embeddings")?;
    Ok(match architecture {
        Architecture::Qwen25Omni => model.flag("tie_word_embeddings")?.unwrap_or(false),
        _ => of_text.unwrap_or(false),
    })
}

/// The base of the rotary frequencies, from either form of the configuration. Scaled variants are not
/// implemented and are refused.
fn rope_theta(text: &Section, default: f64) -> Result<f64, ConfigError> {
    let (old, new) = (text.section("rope_scaling")?, text.section("rope_parameters")?);
    for rope in [&old, &new] {
        let kind = match rope.string("rope_type")? {
            None => rope.string("type")?,
            kind => kind,
        };
        // Early files of Qwen2.5-Omni call the default with sections `mrope`.
        if let Some(kind) = kind.filter(|kind| !["default", "mrope"].contains(kind)) {
            return Err(ConfigError::RopeType { section: rope.name().to_owned(), found: kind.to_owned() });
        }
    }
    let stated = match new.number("rope_theta")? {
        None => text.number("rope_theta")?,
        nested => nested,
    };
    Ok(stated.unwrap_or(default))
}

/// The number of frequencies that use each of the three positions. Their sum must be `head_dim / 2`.
fn mrope_section(text: &Section, head_dim: i64) -> Result<[i64; 3], ConfigError> {
    let (old, new) = (text.section("rope_scaling")?, text.section("rope_parameters")?);
    let stated = match new.integers("mrope_section")? {
        None => old.integers("mrope_section")?,
        nested => nested,
    };
    let stated = stated.unwrap_or_else(|| vec![16, 24, 24]);
    match <[i64; 3]>::try_from(stated.as_slice()) {
        // Widths within `head_dim` have a sum that does not overflow.
        Ok(section)
            if section.iter().all(|width| (0..=head_dim).contains(width))
                && 2 * section.iter().sum::<i64>() == head_dim =>
        {
            Ok(section)
        }
        _ => Err(ConfigError::MropeSection { found: stated, head_dim }),
    }
}
