//! `sandbox ask`: asks one policy one question. It shows that a checkpoint loads, and `--json` prints token ids and
//! log-probabilities to compare with another implementation of the same model.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use audio::{Downmix, Hearing, LogMel, SAMPLE_RATE};
use model::{Completion, Finish, ModelError, Policy, Processor, Prompt, SamplingParams, device};
use rewards::{Mode, ParserOptions, Question, parse_completion};
use scenarios::{PolicyConfig, PromptConfig, PromptStyle, TrainMode};
use serde::Serialize;

use crate::{
    cli::{AskOptions, Verbosity},
    failure::Failure,
    streams::{errln, outln},
};

/// Answers the question, token by token, or as one JSON object at the end.
pub fn ask(options: &AskOptions, verbosity: Verbosity) -> Result<(), Failure> {
    let device = device::resolve(&options.device).map_err(input)?;
    let note = |text: &str| {
        if !verbosity.quiet {
            errln!("{text}");
        }
    };
    device.notes.iter().for_each(|text| note(text));
    let started = Instant::now();
    let config = PolicyConfig {
        path: options.policy.clone(),
        dtype: options.dtype,
        train: if options.adapter.is_some() { TrainMode::Lora } else { TrainMode::Full },
        adapter: options.adapter.clone(),
        ..PolicyConfig::default()
    };
    let policy = run::open_policy(&config, device.device, options.seed).map_err(Failure::input)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let text = user_text(options);
    let prompt = prompt(&policy, options, &text, &note)?;

    let processor = policy.processor().clone();
    let mut answer = StreamedAnswer { processor: &processor, ids: Vec::new(), shown: 0 };
    let started = Instant::now();
    let completion = policy
        .stream(&prompt, &params(options, &processor), options.seed, |id| {
            if !options.json {
                answer.push(id);
            }
        })
        .map_err(input)?;
    let seconds = started.elapsed().as_secs_f64();
    if options.json {
        return print_json(&text, &prompt, &completion, &processor);
    }
    answer.finish();
    let (tokens, rate) = (completion.ids.len(), completion.ids.len() as f64 / seconds);
    note(&format!(
        "{tokens} tokens, {rate:.1} per second ({:?}, loaded in {load_seconds:.1} s){}",
        policy.device(),
        if completion.finish == Finish::Length { "; cut off at --max-new-tokens" } else { "" }
    ));
    Ok(())
}

fn input(error: ModelError) -> Failure {
    Failure::Input(error.to_string())
}

/// The user's turn: the question worded by a built-in prompt style, or the plain question.
fn user_text(options: &AskOptions) -> String {
    let style = options.style.or((!options.choices.is_empty()).then_some(PromptStyle::Adaptive));
    let question = Question {
        text: options.question.clone(),
        choices: options.choices.iter().map(|choice| choice.trim().to_owned()).collect(),
        ..Question::default()
    };
    style.map_or_else(|| question.text.clone(), |style| PromptConfig::default().render_in(style, &question))
}

fn prompt(
    policy: &Policy,
    options: &AskOptions,
    text: &str,
    note: &impl Fn(&str),
) -> Result<Prompt, Failure> {
    let clips = options.audio.iter().map(|path| clip(policy.processor(), path, note));
    let clips = clips.collect::<Result<Vec<_>, _>>()?;
    policy.processor().prompt(text, &clips).map_err(input)
}

fn clip(processor: &Processor, path: &Path, note: &impl Fn(&str)) -> Result<Arc<LogMel>, Failure> {
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

/// The sampling parameters: from the options, else from the checkpoint's `generation_config.json`.
fn params(options: &AskOptions, processor: &Processor) -> SamplingParams {
    let defaults = processor.sampling_defaults();
    SamplingParams {
        temperature: options.temperature.unwrap_or(defaults.temperature),
        top_p: options.top_p.unwrap_or(defaults.top_p),
        top_k: options.top_k.unwrap_or(defaults.top_k),
        max_new_tokens: options.max_new_tokens,
    }
}

/// Prints an answer while its tokens are sampled.
struct StreamedAnswer<'a> {
    processor: &'a Processor,
    ids: Vec<i64>,
    /// Number of bytes of the text that have been printed.
    shown: usize,
}

impl StreamedAnswer<'_> {
    /// Adds a token and prints the new text. A character that is split between tokens is printed with its last token.
    fn push(&mut self, id: i64) {
        self.ids.push(id);
        let text = self.processor.decode(&self.ids);
        if !text.ends_with(char::REPLACEMENT_CHARACTER) {
            self.show(&text);
        }
    }

    /// Prints what is left, even an incomplete character, and a line break.
    fn finish(&mut self) {
        let text = self.processor.decode(&self.ids);
        self.show(&text);
        outln!("");
    }

    fn show(&mut self, text: &str) {
        // If standard output is closed, the answer is still computed for the exit code.
        let new = text.get(self.shown..).unwrap_or_default();
        let _ = write!(io::stdout(), "{}", records::visible(new)).and_then(|()| io::stdout().flush());
        self.shown = text.len();
    }
}

/// The JSON object that `--json` prints.
#[derive(Serialize)]
struct Record<'a> {
    user_text: &'a str,
    prompt_ids: &'a [i64],
    completion_ids: &'a [i64],
    logprobs: &'a [f32],
    text: String,
    finish: &'static str,
    mode: Mode,
    think: Option<String>,
    answer: Option<String>,
}

fn print_json(
    user_text: &str,
    prompt: &Prompt,
    completion: &Completion,
    processor: &Processor,
) -> Result<(), Failure> {
    let text = processor.decode(&completion.ids);
    let parsed = parse_completion(&text, &ParserOptions::default());
    let record = Record {
        user_text,
        prompt_ids: &prompt.ids,
        completion_ids: &completion.ids,
        logprobs: &completion.logprobs,
        text,
        finish: match completion.finish {
            Finish::Eos => "eos",
            Finish::Length => "length",
        },
        mode: parsed.mode,
        think: parsed.think,
        answer: parsed.answer,
    };
    let json = serde_json::to_string(&record).map_err(|error| Failure::Running(error.to_string()))?;
    outln!("{json}");
    Ok(())
}
