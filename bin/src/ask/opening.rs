//! What both forms of `sandbox ask` open: the policy, and clips.

use std::path::Path;
use std::sync::Arc;

use audio::{Downmix, Hearing, LogMel, SAMPLE_RATE};
use model::device::ResolvedDevice;
use model::{Bases, ModelError, Policy, Processor, SamplingParams};
use rewards::Question;
use scenarios::{PolicyConfig, PromptConfig, PromptStyle, TrainPart};

use crate::cli::AskOptions;
use crate::failure::Failure;

/// The failure of unusable input.
pub fn input(error: ModelError) -> Failure {
    Failure::Input(error.to_string())
}

/// Opens the model that the options name, with an adapter or without one.
pub fn open_policy(
    options: &AskOptions,
    adapter: Option<&Path>,
    device: &ResolvedDevice,
) -> Result<Policy, Failure> {
    let config = PolicyConfig {
        path: options.policy.clone(),
        dtype: options.dtype,
        train: if adapter.is_some() { TrainPart::Lora } else { TrainPart::Full }.into(),
        adapter: adapter.map(Path::to_owned),
        ..PolicyConfig::default()
    };
    run::open_policy(&Bases::default(), &config, device.device, options.seed).map_err(Failure::input)
}

/// The features of a clip. What is odd about the file is noted.
pub fn open_clip(processor: &Processor, path: &Path, note: &impl Fn(&str)) -> Result<Arc<LogMel>, Failure> {
    // One sample more than the model takes shows that the clip is longer.
    let samples = processor.window_seconds().map(|seconds| seconds * SAMPLE_RATE as usize + 1);
    let hearing = Hearing { downmix: Downmix::First, samples, ..Hearing::default() };
    let heard = audio::load(path, &hearing).map_err(|error| Failure::Input(error.to_string()))?;
    for warning in &heard.warnings {
        note(&format!("{}: {}", path.display(), warning.text));
    }
    let clip = processor.extract(&heard.samples).map_err(input)?;
    if let Some(seconds) = processor.window_seconds().filter(|_| clip.truncated) {
        note(&format!(
            "{}: longer than this model's window of {seconds} s; the rest is cut off",
            path.display()
        ));
    }
    Ok(Arc::new(clip))
}

/// The user's text: the question worded by a built-in prompt style, or the plain question.
pub fn user_text(question: &str, choices: &[String], style: Option<PromptStyle>) -> String {
    let question = Question {
        text: question.to_owned(),
        choices: choices.iter().map(|choice| choice.trim().to_owned()).collect(),
        ..Question::default()
    };
    style.map_or_else(|| question.text.clone(), |style| PromptConfig::default().render_in(style, &question))
}

/// The sampling parameters: from the options, else from the checkpoint's `generation_config.json`.
pub fn sampling(options: &AskOptions, processor: &Processor) -> SamplingParams {
    let defaults = processor.sampling_defaults();
    SamplingParams {
        temperature: options.temperature.unwrap_or(defaults.temperature),
        top_p: options.top_p.unwrap_or(defaults.top_p),
        top_k: options.top_k.unwrap_or(defaults.top_k),
        max_new_tokens: options.max_new_tokens,
        ..SamplingParams::default()
    }
}
