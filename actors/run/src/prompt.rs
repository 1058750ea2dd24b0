//! The prompt of a row, or why the row has none.

use std::sync::Arc;

use audio::LogMel;
use model::{ModelError, Processor, Prompt};
use rewards::Question;
use scenarios::RowCause;
use workers::Clip;

/// Why a row cannot be used.
#[derive(Clone, Debug)]
pub(crate) struct Unusable {
    pub(crate) cause: RowCause,
    /// One line, without the row's place.
    pub(crate) message: String,
}

/// The number of tokens that the model takes, prompt and completion together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContextLength(pub(crate) usize);

impl ContextLength {
    /// Why a prompt of `tokens` cannot be asked, if it and a completion of `completion` tokens do not fit.
    pub(crate) fn problem(self, tokens: usize, completion: usize) -> Option<Unusable> {
        let ContextLength(limit) = self;
        (tokens + completion > limit).then(|| Unusable {
            cause: RowCause::PromptTooLong,
            message: format!(
                "the prompt has {tokens} tokens, and with {completion} for the completion more than the {limit} that this \
                 model takes; shorten the question, the clip or the completion"
            ),
        })
    }
}

/// Makes the prompts of an arm's rows.
#[derive(Clone)]
pub(crate) struct Prompter {
    pub(crate) context: ContextLength,
    processor: Processor,
    /// Number of tokens of a prompt without text and clip.
    template_tokens: usize,
}

/// How special tokens begin, such as the placeholder for audio.
const SPECIAL: &str = "<|";

impl Prompter {
    /// Prompts for a model that takes `context` tokens.
    ///
    /// Errors: The chat template fails.
    pub(crate) fn new(processor: Processor, context: ContextLength) -> Result<Self, ModelError> {
        let template_tokens = processor.text_tokens("")?;
        Ok(Prompter { context, processor, template_tokens })
    }

    /// The prompt of a row whose user turn is `text`, with room for a completion of `completion` tokens.
    pub(crate) fn prompt(
        &self,
        row: &Question,
        text: &str,
        clip: Clip,
        completion: usize,
    ) -> Result<Prompt, Unusable> {
        let clip =
            clip.map_err(|error| Unusable { cause: RowCause::AudioUnreadable, message: error.to_string() })?;
        if clip.features.is_silent() {
            let message = format!("{}: the clip has no sound", row.audio_path.display());
            return Err(Unusable { cause: RowCause::AudioSilent, message });
        }
        self.prompt_with(text, &[clip.features], completion)
    }

    /// The prompt with these clips, which may be silent or none.
    pub(crate) fn prompt_with(
        &self,
        text: &str,
        clips: &[Arc<LogMel>],
        completion: usize,
    ) -> Result<Prompt, Unusable> {
        let prompt = self
            .processor
            .prompt(text, clips)
            .map_err(|error| Unusable { cause: RowCause::PromptUnusable, message: error.to_string() })?;
        match self.context.problem(prompt.ids.len(), completion) {
            Some(unusable) => Err(unusable),
            None => Ok(prompt),
        }
    }

    /// Whether a text can be asked, as far as it can be told without its clip.
    pub(crate) fn check_text(&self, text: &str, completion: usize) -> TextFits {
        // A byte-level token has at least one byte, and Unicode normalisation at most triples the bytes.
        let bytes = if text.is_ascii() { text.len() } else { 3 * text.len() };
        let clip = self.processor.max_clip_tokens();
        let needed = bytes + self.template_tokens + clip + completion;
        if needed <= self.context.0 && !text.contains(SPECIAL) {
            return TextFits::Yes;
        }
        let tokens = match self.processor.text_tokens(text) {
            Ok(tokens) => tokens,
            Err(error) => {
                let (cause, message) = (RowCause::PromptUnusable, error.to_string());
                return TextFits::No(Unusable { cause, message });
            }
        };
        match self.context.problem(tokens, completion) {
            Some(unusable) => TextFits::No(unusable),
            None if tokens + clip + completion <= self.context.0 => TextFits::Yes,
            None => TextFits::DependsOnClip,
        }
    }
}

/// Whether a text fits into the model's context.
pub(crate) enum TextFits {
    /// With any clip.
    Yes,
    /// With a short clip only.
    DependsOnClip,
    /// Not even without one.
    No(Unusable),
}
