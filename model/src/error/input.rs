//! Arguments of a call that do not fit the model.

/// A prompt, clip, completion, setting or tensor that the model cannot take.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum InputError {
    #[error("{architecture} is a text-only model and takes no audio")]
    TextOnly { architecture: &'static str },
    #[error("{what} has no tokens")]
    NoTokens { what: String },
    #[error("{what} has the id {id}; this model has ids below {vocab_size}")]
    OutsideVocabulary { what: String, id: i64, vocab_size: i64 },
    #[error("a prompt with its completion has {tokens} tokens; this model takes at most {limit}")]
    TooLong { tokens: i64, limit: i64 },
    #[error(
        "prompt {prompt} has {placeholders} `<|AUDIO|>` placeholders; its {clips} clip(s) give {rows} rows"
    )]
    Placeholders { prompt: usize, placeholders: i64, clips: usize, rows: i64 },
    #[error(
        "the prompt has more `<|AUDIO|>` placeholders than its {clips} clip(s); take the placeholder out of the text"
    )]
    PlaceholderInText { clips: usize },
    #[error(
        "the chat template writes fewer `<|AUDIO|>` placeholders than the {clips} clip(s); use the model's own template"
    )]
    PlaceholdersMissing { clips: usize },
    #[error(
        "a clip's features are [{bins}, {frames}] with {valid_frames} valid frames and {values} values; \
         this model takes [{expected_bins}, {expected_frames}] (see preprocessor_config.json: chunk_length, feature_size)"
    )]
    ClipFeatures {
        bins: i64,
        frames: i64,
        valid_frames: usize,
        values: usize,
        expected_bins: i64,
        expected_frames: String,
    },
    #[error("{prompts} prompts × {group_size} completions need as many seeds, not {seeds}")]
    Seeds { prompts: usize, group_size: usize, seeds: usize },
    #[error("temperature is {found}; expected 0 or more")]
    Temperature { found: f64 },
    #[error("top_p is {found}; expected more than 0 and at most 1")]
    TopP { found: f64 },
    #[error("max_new_tokens is 0; expected 1 or more")]
    NoNewTokens,
    #[error("there is no text to choose from")]
    NoChoice,
    #[error("a text to choose from is empty")]
    EmptyChoice,
    #[error("the tokenizer has no token for the character `{character}` alone, which `{text}` needs")]
    UnwritableChoice { character: char, text: String },
    #[error("there is no completion token to compute a log-probability of")]
    NoCompletionTokens,
    #[error("target_modules is not a valid regular expression: {error}")]
    TargetPattern { error: String },
    #[error(
        "target_modules: {target} matches no linear layer that may be adapted; write one of {layers}{tower_hint}"
    )]
    NoTarget { target: String, layers: String, tower_hint: &'static str },
    #[error("the model to replicate has no tensor `{name}`")]
    NotInOriginal { name: String },
    #[error("`{name}` is not a trainable tensor of this model")]
    NotTrainable { name: String },
    #[error("tensor `{name}` has shape {found:?}; this model's has {expected:?}")]
    TensorShape { name: String, found: Vec<i64>, expected: Vec<i64> },
    #[error("{dir} is a part of the model that is to be composed; write it into another folder")]
    ComposedIntoAPart { dir: String },
    #[error("`{path}` does not name a directory; write a path that ends in a folder's name")]
    NotADirectoryName { path: String },
}
