//! `sandbox ask --chat`: a conversation with a policy about clips.
//!
//! Every turn stays in the prompt, with its clips, until the model's context is full; then the first turns are forgotten.
//! With `/ab` two policies answer every question, each with its own earlier answers in the prompt.

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use audio::LogMel;
use model::device::ResolvedDevice;
use model::{Finish, Policy, SamplingParams, Turn};
use scenarios::PromptStyle;

use super::command::{Command, Compare, HELP, parse};
use super::events::{Event, Events};
use super::models::Models;
use super::opening::{input, open_clip, sampling, user_text};
use super::record::record;
use super::streamed::StreamedAnswer;
use crate::cli::AskOptions;
use crate::failure::Failure;
use crate::streams::{errln, outln};

/// Extensions of the files that a folder's list shows.
const EXTENSIONS: [&str; 18] = [
    "wav", "flac", "mp3", "ogg", "oga", "opus", "m4a", "mp4", "aac", "webm", "mka", "mkv", "aif", "aiff",
    "wv", "au", "caf", "w64",
];

/// A question with its clips, and the replies of the policies that were asked.
struct Past {
    user: String,
    clips: Vec<Arc<LogMel>>,
    /// By adapter.
    replies: Vec<(Option<PathBuf>, String)>,
}

/// A conversation.
struct Chat<'a, N> {
    options: &'a AskOptions,
    models: Models<'a>,
    events: Events,
    note: &'a N,
    /// How questions are worded, once that was said; the inner `None` is the plain question.
    style: Option<Option<PromptStyle>>,
    choices: Vec<String>,
    params: SamplingParams,
    adapter: Option<PathBuf>,
    /// What the policy is compared with.
    other: Option<Option<PathBuf>>,
    /// The clips that go with the next question.
    clips: Vec<Arc<LogMel>>,
    /// The files that were listed last, from which a number picks one.
    listed: Vec<PathBuf>,
    past: Vec<Past>,
    /// Number of questions so far, for their seeds.
    asked: u64,
}

/// Whether the conversation goes on.
type Next = ControlFlow<()>;

/// Talks until `/quit`, Ctrl-D or the end of a file. What is wrong with a line is printed, and the conversation goes on.
pub fn chat(options: &AskOptions, device: &ResolvedDevice, note: &impl Fn(&str)) -> Result<(), Failure> {
    let mut models = Models::new(options, device);
    let started = Instant::now();
    let policy = models.get(options.adapter.as_deref())?;
    let params = sampling(options, policy.processor());
    note(&format!("loaded in {:.1} s; /help lists the commands", started.elapsed().as_secs_f64()));
    let mut chat = Chat {
        options,
        models,
        events: Events::start()?,
        note,
        style: options.style.map(Some),
        choices: options.choices.clone(),
        params,
        adapter: options.adapter.clone(),
        other: None,
        clips: Vec::new(),
        listed: Vec::new(),
        past: Vec::new(),
        asked: 0,
    };
    for file in &options.audio {
        chat.add_clip(file)?;
    }
    let mut interrupted = false;
    if let Some(question) = &options.question {
        interrupted = chat.ask(question)?;
    }
    let terminal = io::stdin().is_terminal();
    loop {
        if terminal {
            // Without a terminal that shows it, nobody misses the prompt.
            let _ = write!(io::stdout(), "> ").and_then(|()| io::stdout().flush());
        }
        let line = match chat.events.next() {
            Event::Line(line) => line,
            Event::Interrupt if !interrupted => {
                outln!("");
                note("press Ctrl-C again to quit");
                interrupted = true;
                continue;
            }
            Event::Interrupt | Event::End => {
                if terminal {
                    outln!("");
                }
                return Ok(());
            }
        };
        match chat.follow(&line, &mut interrupted) {
            Ok(Next::Continue(())) => {}
            Ok(Next::Break(())) => return Ok(()),
            Err(Failure::Input(message) | Failure::Running(message) | Failure::NotUploaded(message)) => {
                errln!("error: {message}");
            }
            Err(Failure::Interrupted) => return Ok(()),
        }
    }
}

impl<N: Fn(&str)> Chat<'_, N> {
    /// Follows a line.
    fn follow(&mut self, line: &str, interrupted: &mut bool) -> Result<Next, Failure> {
        *interrupted = false;
        let listed = std::mem::take(&mut self.listed);
        if let Ok(number) = line.trim().parse::<usize>()
            && !listed.is_empty()
        {
            let picked = number.checked_sub(1).and_then(|place| listed.get(place).cloned());
            let Some(file) = picked else {
                let problem = format!("{number}: write a number from 1 to {}", listed.len());
                self.listed = listed;
                return Err(Failure::Input(problem));
            };
            self.add_clip(&file)?;
            return Ok(Next::Continue(()));
        }
        match parse(line).map_err(Failure::input)? {
            Command::Nothing => self.listed = listed,
            Command::Ask(question) => *interrupted = self.ask(&question)?,
            Command::Clip(path) if path.is_dir() => self.list(&path)?,
            Command::Clip(path) => self.add_clip(&path)?,
            Command::Record(seconds) => *interrupted = self.record(seconds)?,
            Command::Style(style) => self.style = Some(style),
            Command::Choices(choices) => self.choices = choices,
            Command::Adapter(adapter) => self.use_adapter(adapter)?,
            Command::Compare(compare) => self.compare(compare)?,
            Command::Temperature(temperature) => self.params.temperature = temperature,
            Command::Clear => {
                self.past.clear();
                self.clips.clear();
                (self.note)("the conversation is forgotten");
            }
            Command::Help => HELP.lines().for_each(|line| outln!("{line}")),
            Command::Quit => return Ok(Next::Break(())),
        }
        Ok(Next::Continue(()))
    }

    /// Adds a clip to the next question.
    fn add_clip(&mut self, file: &Path) -> Result<(), Failure> {
        let processor = self.models.get(self.adapter.as_deref())?.processor().clone();
        let clip = open_clip(&processor, file, self.note)?;
        let seconds = processor.seconds(&clip).unwrap_or_default();
        (self.note)(&format!("{} ({seconds:.1} s) goes with the next question", file.display()));
        self.clips.push(clip);
        Ok(())
    }

    /// Lists the audio files of a folder, from which the next line may pick one.
    fn list(&mut self, folder: &Path) -> Result<(), Failure> {
        let unreadable = |error: io::Error| Failure::Input(format!("{}: {error}", folder.display()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
            if path.is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(Failure::Input(format!("{}: it has no audio files", folder.display())));
        }
        for (number, file) in (1..).zip(&files) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            outln!("{number:>4}  {name}");
        }
        self.listed = files;
        Ok(())
    }

    /// Records a clip for the next question. Returns whether Ctrl-C ended it early.
    fn record(&mut self, seconds: f64) -> Result<bool, Failure> {
        let folder = std::env::temp_dir();
        let file = folder.join(format!("sandbox-recording-{}.wav", std::process::id()));
        (self.note)(&format!("recording {seconds} s"));
        let (recorded, interrupted) = self.events.interruptible(|_| record(seconds, &file));
        // A recorder that Ctrl-C ends has written what it heard until then.
        let heard = match recorded {
            Err(failure) if !interrupted => Err(failure),
            _ => self.add_clip(&file),
        };
        // It may not have been written.
        let _ = std::fs::remove_file(&file);
        heard.map(|()| interrupted)
    }

    /// Uses another adapter from now on, or none.
    fn use_adapter(&mut self, adapter: Option<PathBuf>) -> Result<(), Failure> {
        self.models.get(adapter.as_deref())?;
        self.adapter = adapter;
        self.keep_models();
        (self.note)(&format!("from now on: {}", label(self.adapter.as_deref())));
        Ok(())
    }

    /// Asks two policies from now on, or one.
    fn compare(&mut self, compare: Compare) -> Result<(), Failure> {
        let other = match compare {
            Compare::Off => None,
            Compare::Base if self.adapter.is_none() => {
                let problem = "/ab: no adapter is in use; write /ab DIR, or name one by /adapter DIR";
                return Err(Failure::Input(problem.to_owned()));
            }
            Compare::Base => Some(None),
            Compare::Adapter(folder) if self.adapter.as_ref() == Some(&folder) => {
                return Err(Failure::Input(format!(
                    "/ab: {} is already in use; name another",
                    folder.display()
                )));
            }
            Compare::Adapter(folder) => Some(Some(folder)),
        };
        if let Some(adapter) = &other {
            self.models.get(adapter.as_deref())?;
        }
        self.other = other;
        self.keep_models();
        (self.note)(&match &self.other {
            None => format!("from now on: {} alone", label(self.adapter.as_deref())),
            Some(other) => format!(
                "every question is answered twice: A {}, B {}",
                label(self.adapter.as_deref()),
                label(other.as_deref())
            ),
        });
        Ok(())
    }

    fn keep_models(&mut self) {
        let other = self.other.as_ref().and_then(Option::as_deref);
        self.models.keep(&[self.adapter.as_deref(), other]);
    }

    /// Asks a question. Returns whether Ctrl-C stopped the answer. If it can't be asked, its clips stay for the next one.
    fn ask(&mut self, question: &str) -> Result<bool, Failure> {
        let default = (!self.choices.is_empty()).then_some(PromptStyle::Adaptive);
        let style = self.style.unwrap_or(default);
        let user = user_text(question, &self.choices, style);
        self.past.push(Past { user, clips: std::mem::take(&mut self.clips), replies: Vec::new() });
        self.asked += 1;
        let mut sides = vec![(None, self.adapter.clone())];
        if let Some(other) = &self.other {
            sides = vec![(Some('A'), self.adapter.clone()), (Some('B'), other.clone())];
        }
        let mut stopped = false;
        for (letter, adapter) in sides {
            if let Some(letter) = letter {
                outln!("{letter} {}:", label(adapter.as_deref()));
            }
            match self.answer(adapter.as_deref()) {
                Ok((reply, interrupted)) => {
                    stopped |= interrupted;
                    self.past
                        .last_mut()
                        .into_iter()
                        .for_each(|turn| turn.replies.push((adapter.clone(), reply.clone())));
                }
                Err(failure) => {
                    self.clips = self.past.pop().map(|turn| turn.clips).unwrap_or_default();
                    return Err(failure);
                }
            }
            if stopped {
                break;
            }
        }
        Ok(stopped)
    }

    /// The answer of one policy to the last question, which is printed, and whether Ctrl-C stopped it.
    fn answer(&mut self, adapter: Option<&Path>) -> Result<(String, bool), Failure> {
        let policy = self.models.get(adapter)?;
        let (prompt, forgotten) = fitting(policy, &self.past, adapter, self.params.max_new_tokens)?;
        if forgotten > 0 {
            let context = policy.config().text.max_position_embeddings;
            let turns = if forgotten == 1 {
                "the first turn is".to_owned()
            } else {
                format!("the first {forgotten} turns are")
            };
            (self.note)(&format!("the context of {context} tokens is full; {turns} left out"));
        }
        let processor = policy.processor().clone();
        let mut answer = StreamedAnswer::new(&processor);
        let seed = self.options.seed.wrapping_add(self.asked - 1);
        let started = Instant::now();
        let (completion, interrupted) = self.events.interruptible(|stop| {
            policy.stream(&prompt, &self.params, seed, |id| {
                answer.push(id);
                if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        let completion = completion.map_err(input)?;
        let reply = answer.finish();
        let (tokens, seconds) = (completion.ids.len(), started.elapsed().as_secs_f64());
        let ended = match completion.finish {
            _ if interrupted => "; stopped",
            Finish::Length => "; cut off at --max-new-tokens",
            Finish::Eos => "",
        };
        (self.note)(&format!("{tokens} tokens, {:.1} per second{ended}", tokens as f64 / seconds));
        Ok((reply, interrupted))
    }
}

/// The prompt of a conversation, without as many of its first turns as do not fit into the context, and their number.
fn fitting(
    policy: &Policy,
    past: &[Past],
    adapter: Option<&Path>,
    reply: usize,
) -> Result<(model::Prompt, usize), Failure> {
    let context = usize::try_from(policy.config().text.max_position_embeddings).unwrap_or(0);
    let mut turns: Vec<Turn> = past.iter().map(|turn| turn.of(adapter)).collect();
    // The other policy may have answered the last question already.
    turns.last_mut().into_iter().for_each(|turn| turn.reply = None);
    let mut tokens = 0;
    for first in 0..turns.len() {
        let prompt = policy.processor().conversation(&turns[first..]).map_err(input)?;
        tokens = prompt.ids.len();
        if tokens + reply <= context {
            return Ok((prompt, first));
        }
    }
    Err(Failure::Input(format!(
        "the question of {tokens} tokens and an answer of up to {reply} exceed the model's context of {context}; ask less at \
         once, or lower --max-new-tokens"
    )))
}

impl Past {
    /// The turn as the policy with this adapter saw it. What it was not asked, the other policy answered.
    fn of(&self, adapter: Option<&Path>) -> Turn {
        let own = self.replies.iter().find(|(known, _)| known.as_deref() == adapter);
        Turn {
            user: self.user.clone(),
            clips: self.clips.clone(),
            reply: own.or(self.replies.first()).map(|(_, reply)| reply.clone()),
        }
    }
}

/// What a policy is called.
fn label(adapter: Option<&Path>) -> String {
    adapter.map_or_else(|| "without an adapter".to_owned(), |folder| format!("with {}", folder.display()))
}
