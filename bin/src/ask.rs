//! `sandbox ask`: asks one policy one question. It shows that a checkpoint loads, and `--json` prints token ids and
//! log-probabilities to compare with another implementation of the same model. With `--chat` it is a conversation
//! (`chat`).

mod chat;
mod command;
mod events;
mod models;
mod opening;
mod record;
mod streamed;

use std::ops::ControlFlow;
use std::time::Instant;

use model::{Completion, Finish, Processor, Prompt, device};
use rewards::{Mode, ParserOptions, parse_completion};
use scenarios::PromptStyle;
use serde::Serialize;

use crate::{
    cli::{AskOptions, Verbosity},
    failure::Failure,
    streams::{errln, outln},
};
use opening::{input, open_clip, open_policy, sampling, user_text};
use streamed::StreamedAnswer;

/// Answers the question, token by token, or as one JSON object at the end.
pub fn ask(options: &AskOptions, verbosity: Verbosity) -> Result<(), Failure> {
    let device = device::resolve(&options.device).map_err(input)?;
    let note = |text: &str| {
        if !verbosity.quiet {
            errln!("{text}");
        }
    };
    device.notes.iter().for_each(|text| note(text));
    if options.chat {
        return chat::chat(options, &device, &note);
    }
    let question = options.question.as_deref().unwrap_or_default();
    let started = Instant::now();
    let policy = open_policy(options, options.adapter.as_deref(), &device)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let processor = policy.processor().clone();
    let style = options.style.or((!options.choices.is_empty()).then_some(PromptStyle::Adaptive));
    let text = user_text(question, &options.choices, style);
    let clips = options.audio.iter().map(|path| open_clip(&processor, path, &note));
    let clips = clips.collect::<Result<Vec<_>, _>>()?;
    let prompt = processor.prompt(&text, &clips).map_err(input)?;

    let mut answer = StreamedAnswer::new(&processor);
    let started = Instant::now();
    let completion = policy
        .stream(&prompt, &sampling(options, &processor), options.seed, |id| {
            if !options.json {
                answer.push(id);
            }
            ControlFlow::Continue(())
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
