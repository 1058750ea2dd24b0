//! The model families that this crate runs.

/// The family of a model, from `model_type` of `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Qwen2-Audio (<https://arxiv.org/abs/2407.10759>): Whisper's encoder over a window of 30 s, and a Qwen2 decoder.
    Qwen2Audio,
    /// The thinker of Qwen2.5-Omni (<https://arxiv.org/abs/2503.20215>) for audio and text: an encoder over chunks of 2
    /// s, and a Qwen2 decoder with rotary positions in three sections.
    Qwen25Omni,
    /// Qwen2 and Qwen2.5 (<https://arxiv.org/abs/2407.10671>), a text-only decoder.
    Qwen2,
    /// Qwen3 (<https://arxiv.org/abs/2505.09388>), a text-only decoder.
    Qwen3,
    /// Llama (<https://arxiv.org/abs/2302.13971>) and models of its form, such as SmolLM2: a text-only decoder.
    Llama,
}

impl Architecture {
    /// The family's name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Qwen2Audio => "Qwen2-Audio",
            Architecture::Qwen25Omni => "Qwen2.5-Omni",
            Architecture::Qwen2 => "Qwen2",
            Architecture::Qwen3 => "Qwen3",
            Architecture::Llama => "Llama",
        }
    }

    /// Whether the family has no audio tower; then the keys of its decoder are at the top level of `config.json`.
    pub fn is_text_only(self) -> bool {
        match self {
            Architecture::Qwen2Audio | Architecture::Qwen25Omni => false,
            Architecture::Qwen2 | Architecture::Qwen3 | Architecture::Llama => true,
        }
    }
}
