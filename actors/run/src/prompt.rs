//! The prompt of a row, or why the row has none.

use std::sync::Arc;

use audio::{LogMel, MOST_WINDOWS};
use model::{ModelError, Processor, Prompt};
use rewards::Question;
use scenarios::RowCause;
use workers::{Clip, HeardClip};

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
    /// Number of tokens of the longest clip, and of what the template writes around its windows.
    clip_tokens: usize,
}

/// How special tokens begin, such as the placeholder for audio.
const SPECIAL: &str = "<|";

impl Prompter {
    /// Prompts for a model that takes `context` tokens, with up to `windows` windows of a clip.
    ///
    /// Errors: The chat template fails.
    pub(crate) fn new(
        processor: Processor,
        context: ContextLength,
        windows: usize,
    ) -> Result<Self, ModelError> {
        let template_tokens = processor.text_tokens("", 1)?;
        let around = processor.text_tokens("", windows)?.saturating_sub(template_tokens);
        let clip_tokens = windows * processor.max_clip_tokens() + around;
        Ok(Prompter { context, processor, template_tokens, clip_tokens })
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
        if clip.windows.iter().all(|window| window.is_silent()) {
            let message = format!("{}: the clip has no sound", row.audio_path.display());
            return Err(Unusable { cause: RowCause::AudioSilent, message });
        }
        self.prompt_of(text, &clip, completion)
    }

    /// The prompt with a clip, which may be silent.
    pub(crate) fn prompt_of(
        &self,
        text: &str,
        clip: &HeardClip,
        completion: usize,
    ) -> Result<Prompt, Unusable> {
        let prompt = self.prompt_with(text, &clip.windows, completion);
        let (count, goes_on) = (clip.windows.len(), clip.goes_on);
        if prompt.is_ok() && !goes_on || count < 2 {
            return prompt;
        }
        if let Err(unusable) = &prompt
            && unusable.cause != RowCause::PromptTooLong
        {
            return prompt;
        }
        let fits = |&windows: &usize| self.prompt_with(text, &clip.windows[..windows], completion).is_ok();
        let fit = (0..=count).rev().find(fits).unwrap_or_default();
        let seconds = self.processor.window_seconds().unwrap_or_default();
        let all = if goes_on { format!("more than {MOST_WINDOWS}") } else { count.to_string() };
        let ContextLength(limit) = self.context;
        let message = match prompt {
            Ok(_) => format!(
                "the clip has {all} windows of {seconds} s, the most that are heard; give the row's part of it in `start` and \
                 `end`, or write loader.window = \"first\", \"center\" or \"random\""
            ),
            Err(_) => format!(
                "the clip has {all} windows of {seconds} s, of which {fit} fit beside the question and {completion} tokens for \
                 the completion into the {limit} tokens that this model takes; give the row's part of it in `start` and `end`, or \
                 write loader.window = \"first\", \"center\" or \"random\""
            ),
        };
        Err(Unusable { cause: RowCause::PromptTooLong, message })
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
        let clip = self.clip_tokens;
        let needed = bytes + self.template_tokens + clip + completion;
        if needed <= self.context.0 && !text.contains(SPECIAL) {
            return TextFits::Yes;
        }
        let tokens = match self.processor.text_tokens(text, 1) {
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
