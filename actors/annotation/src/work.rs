//! Annotating a data set: captions, chains, attempts, and the file with the rows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chat::{Chat, Failed, Plain, Settings};
use evaluation::clip::{hearing, sent_clip, user_content};
use futures_util::{StreamExt, stream};
use records::{RecordsError, append_line, for_each_line, keep_lines, now};
use rewards::Question;
use scenarios::{Dataset, RowCause};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, watch};

use crate::budget::{Account, Budget};
use crate::caption::{CAPTION_PROMPT, CaptionSource, read_captions};
use crate::chain::{self, DropCause};
use crate::error::AnnotationError;
use crate::journal::{Asked, Journal, Kept, Key};
use crate::row::{Provenance, row};

/// Failures of the servers in a row after which the annotation ends.
const FAILURES_IN_A_ROW: usize = 16;

/// What to annotate and how.
pub struct AnnotationArgs {
    /// The rows to annotate, in the order in which they are begun.
    pub dataset: Dataset,
    /// The file that rows are appended to.
    pub out: PathBuf,
    /// The server that writes the chains.
    pub server: Settings,
    /// Where captions come from.
    pub captions: CaptionSource,
    /// Times that a row's chain is asked for at most; at least 1.
    pub attempts: u64,
    /// Sampling temperature of the chains.
    pub temperature: f64,
    /// Longest chain in tokens.
    pub max_tokens: usize,
    /// Seed of the first attempt; each further one adds 1.
    pub seed: u64,
    /// How much it may cost.
    pub budget: Budget,
}

/// Something to show while data is annotated.
#[derive(Debug)]
pub enum AnnotationEvent {
    /// Rows that are done.
    Rows {
        /// Rows kept or dropped so far, those of earlier processes included.
        done: usize,
        /// Rows of the data set that can be read.
        total: usize,
    },
    /// Something went wrong that does not end the annotation.
    Warning(String),
}

/// Why an annotation ended before its last row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// The caller stopped it.
    Interrupted,
    /// The budget is spent.
    Budget,
}

/// What an annotation has come to, over all processes that worked on it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AnnotationSummary {
    /// Rows of the data set, those that can't be read included.
    pub rows: usize,
    /// Rows with a chain.
    pub kept: usize,
    /// Rows without, by cause.
    pub dropped: BTreeMap<&'static str, usize>,
    /// Rows that can't be read, by cause.
    pub unusable: BTreeMap<RowCause, u64>,
    /// Rows that are not done: they are asked when the annotation goes on.
    pub open: usize,
    /// Answers of the servers.
    pub requests: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of their replies.
    pub reply_tokens: u64,
    /// Why it ended before its last row.
    pub stopped: Option<Stopped>,
}

/// Annotates rows until all are done, the budget is spent or `stop` turns true, which finishes the rows in work. An
/// annotation of the same output goes on where it ended.
///
/// Errors: a server can't be asked, a file can't be read or written, or the output is another annotation's.
pub async fn annotate(
    args: AnnotationArgs,
    show: &mut dyn FnMut(AnnotationEvent),
    stop: &watch::Receiver<bool>,
) -> Result<AnnotationSummary, AnnotationError> {
    let journal = Journal::open(&args.out, settings(&args))?;
    let mut output = Output::open(&args.out)?;
    let chat = Chat::new(args.server.clone())?;
    let captioner = match &args.captions {
        CaptionSource::Server { settings, clip_seconds } => Captioner::Server {
            chat: Box::new(Chat::new(Settings::clone(settings))?),
            clip_seconds: *clip_seconds,
        },
        CaptionSource::File(path) => Captioner::File(read_captions(path)?),
        CaptionSource::None => Captioner::None,
    };
    chat.probe().await?;
    if let Captioner::Server { chat, .. } = &captioner {
        chat.probe().await?;
    }
    let spent = journal.answers().fold([0; 3], |[requests, prompt, reply], kept| {
        [requests + 1, prompt + kept.prompt_tokens, reply + kept.reply_tokens]
    });
    let work = Work {
        account: Account::new(args.budget, spent[0], spent[1], spent[2]),
        args,
        journal,
        chat,
        captioner,
        captions: Mutex::default(),
        failures: AtomicUsize::new(0),
    };
    work.run(&mut output, show, stop).await
}

/// The settings on which the answers depend, by the option that sets each.
fn settings(args: &AnnotationArgs) -> BTreeMap<String, String> {
    let captions = match &args.captions {
        CaptionSource::Server { settings, clip_seconds } => {
            format!("{} at {}, {clip_seconds} s", settings.model, settings.servers.join(", "))
        }
        CaptionSource::File(path) => path.display().to_string(),
        CaptionSource::None => "none".to_owned(),
    };
    [
        ("the data", args.dataset.path.display().to_string()),
        ("--server", args.server.servers.join(", ")),
        ("--model", args.server.model.clone()),
        ("the source of captions", captions),
        ("--temperature", args.temperature.to_string()),
        ("--max-tokens", args.max_tokens.to_string()),
        ("--seed", args.seed.to_string()),
        ("the prompt", prompt_hash()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The first 16 digits of the SHA-256 of the prompts.
fn prompt_hash() -> String {
    let prompts = [CAPTION_PROMPT, chain::SYSTEM, &chain::prompt(&Question::default(), Some(""))].join("\n");
    Sha256::digest(prompts.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

enum Captioner {
    Server { chat: Box<Chat>, clip_seconds: f64 },
    File(HashMap<String, String>),
    None,
}

/// The caption of a clip, or why there is none.
type Captioned = Result<Option<String>, (DropCause, String)>;

struct Work {
    args: AnnotationArgs,
    journal: Journal,
    chat: Chat,
    captioner: Captioner,
    /// The caption of each clip, which rows about the same clip share.
    captions: Mutex<HashMap<String, Arc<OnceCell<Captioned>>>>,
    account: Account,
    /// Failures of the servers in a row.
    failures: AtomicUsize,
}

/// How the work on a row ended.
enum Row {
    Kept(Map<String, Value>),
    Dropped(DropCause, String),
    /// It is not done: the budget is spent, or the server failed in passing.
    Open(Option<String>),
}

/// Why a request has no answer.
enum NoAnswer {
    Dropped(DropCause, String),
    Open(Option<String>),
    Ends(AnnotationError),
}

impl Work {
    async fn run(
        &self,
        output: &mut Output,
        show: &mut dyn FnMut(AnnotationEvent),
        stop: &watch::Receiver<bool>,
    ) -> Result<AnnotationSummary, AnnotationError> {
        let questions = &self.args.dataset.questions;
        let (mut kept, mut open, mut dropped) = (0, 0, BTreeMap::<&'static str, usize>::new());
        let mut todo = Vec::new();
        for question in questions {
            match self.journal.dropped().get(&question.id) {
                _ if output.ids.contains(&question.id) => kept += 1,
                Some(cause) => *dropped.entry(cause.name()).or_default() += 1,
                None => todo.push(question.clone()),
            }
        }
        let (total, all) = (questions.len(), todo.len());
        let mut done = total - all;
        show(AnnotationEvent::Rows { done, total });
        let goes_on = |_: &Arc<Question>| std::future::ready(!*stop.borrow() && !self.account.is_exhausted());
        let work = |question: Arc<Question>| async move {
            let row = self.annotate_row(&question).await;
            (question, row)
        };
        let mut rows =
            stream::iter(todo).take_while(goes_on).map(work).buffer_unordered(self.args.server.concurrency);
        let mut seen = 0;
        while let Some((question, row)) = rows.next().await {
            seen += 1;
            match row? {
                Row::Kept(row) => {
                    output.add(&row)?;
                    kept += 1;
                    done += 1;
                }
                Row::Dropped(cause, message) => {
                    self.journal.add_dropped(&question.id, cause, &message)?;
                    *dropped.entry(cause.name()).or_default() += 1;
                    done += 1;
                }
                Row::Open(why) => {
                    open += 1;
                    if let Some(why) = why {
                        show(AnnotationEvent::Warning(format!("row {}: {why}; it is not done", question.id)));
                    }
                }
            }
            show(AnnotationEvent::Rows { done, total });
        }
        let stopped = match (self.account.is_exhausted(), seen < all) {
            (true, _) => Some(Stopped::Budget),
            (false, true) => Some(Stopped::Interrupted),
            (false, false) => None,
        };
        Ok(AnnotationSummary {
            rows: self.args.dataset.rows(),
            kept,
            dropped,
            unusable: self.args.dataset.causes(),
            open: open + all - seen,
            requests: self.account.requests(),
            prompt_tokens: self.account.prompt_tokens(),
            reply_tokens: self.account.reply_tokens(),
            stopped,
        })
    }

    async fn annotate_row(&self, question: &Arc<Question>) -> Result<Row, AnnotationError> {
        match self.try_row(question).await {
            Ok(row) => Ok(Row::Kept(row)),
            Err(NoAnswer::Dropped(cause, message)) => Ok(Row::Dropped(cause, message)),
            Err(NoAnswer::Open(why)) => Ok(Row::Open(why)),
            Err(NoAnswer::Ends(error)) => Err(error),
        }
    }

    /// Asks for the caption and then for chains, until one can be kept.
    async fn try_row(&self, question: &Arc<Question>) -> Result<Map<String, Value>, NoAnswer> {
        if question.choices.is_empty() {
            return Err(NoAnswer::Dropped(DropCause::NoChoices, "an open question".to_owned()));
        }
        let caption = self.caption(question).await?;
        let mut last = (DropCause::NoConclusion, String::new());
        for attempt in 1..=self.args.attempts {
            let key = Key { asked: Asked::Chain, id: question.id.clone(), attempt };
            let body = json!({
                "model": self.args.server.model,
                "messages": [
                    { "role": "system", "content": chain::SYSTEM },
                    { "role": "user", "content": chain::prompt(question, caption.as_deref()) },
                ],
                "temperature": self.args.temperature,
                "max_tokens": self.args.max_tokens,
                "seed": self.args.seed.wrapping_add(attempt - 1) & 0x7fff_ffff,
                "stream": false,
            });
            let kept = self.ask(&self.chat, key, body).await?;
            let cause = match chain::read(&kept.text, question) {
                _ if kept.declined => DropCause::ServerRefused,
                Ok(reasoning) => {
                    let provenance = self.provenance(&kept, attempt);
                    let row = row(question, caption.as_deref(), &reasoning, &provenance);
                    let no_choice = || (DropCause::NoChoices, "the answer is none of the choices".to_owned());
                    return row.ok_or_else(no_choice).map_err(|(cause, text)| NoAnswer::Dropped(cause, text));
                }
                Err(_) if kept.out_of_tokens => DropCause::Truncated,
                Err(cause) => cause,
            };
            last = (cause, chat::excerpt(&kept.text));
        }
        Err(NoAnswer::Dropped(last.0, last.1))
    }

    fn provenance(&self, kept: &Kept, attempt: u64) -> Provenance {
        Provenance {
            model: self.args.server.model.clone(),
            server: self.args.server.servers.join(", "),
            caption_model: match &self.args.captions {
                CaptionSource::Server { settings, .. } => Some(settings.model.clone()),
                CaptionSource::File(_) | CaptionSource::None => None,
            },
            prompt: prompt_hash(),
            date: kept.date.clone(),
            attempt,
        }
    }

    /// The caption of a row's clip; `None` if chains are written without.
    async fn caption(&self, question: &Arc<Question>) -> Result<Option<String>, NoAnswer> {
        match &self.captioner {
            Captioner::None => Ok(None),
            Captioner::File(captions) => match captions.get(&question.id) {
                Some(caption) => Ok(Some(caption.clone())),
                None => {
                    let message = format!("no line with the id {}", question.id);
                    Err(NoAnswer::Dropped(DropCause::NoCaption, message))
                }
            },
            Captioner::Server { chat, clip_seconds } => {
                let place = clip_place(question);
                let cell = {
                    let mut captions = self.captions.lock().unwrap_or_else(PoisonError::into_inner);
                    captions.entry(place.clone()).or_default().clone()
                };
                let asked = cell.get_or_try_init(|| async {
                    match self.ask_caption(chat, question, place, *clip_seconds).await {
                        Ok(caption) => Ok(Ok(Some(caption))),
                        Err(NoAnswer::Dropped(cause, message)) => Ok(Err((cause, message))),
                        // It is asked for again, by another row or another process.
                        Err(other) => Err(other),
                    }
                });
                let captioned = asked.await?.clone();
                captioned.map_err(|(cause, message)| NoAnswer::Dropped(cause, message))
            }
        }
    }

    async fn ask_caption(
        &self,
        chat: &Chat,
        question: &Arc<Question>,
        place: String,
        clip_seconds: f64,
    ) -> Result<String, NoAnswer> {
        let key = Key { asked: Asked::Caption, id: place, attempt: 1 };
        let kept = match self.journal.answer(&key) {
            Some(kept) => kept.clone(),
            None => {
                let (path, hearing) = (question.audio_path.clone(), hearing(question, clip_seconds));
                let sent = tokio::task::spawn_blocking(move || sent_clip(&path, &hearing, None)).await;
                let sent = sent.map_err(|error| {
                    NoAnswer::Ends(AnnotationError::Server(format!("a clip could not be decoded: {error}")))
                })?;
                let clip =
                    sent.map_err(|unusable| NoAnswer::Dropped(DropCause::ClipUnusable, unusable.message))?;
                let body = json!({
                    "model": chat.settings().model,
                    "messages": [{ "role": "user", "content": user_content(CAPTION_PROMPT, Some(&clip.wav)) }],
                    "temperature": 0.0,
                    "max_tokens": self.args.max_tokens,
                    "seed": self.args.seed & 0x7fff_ffff,
                    "stream": false,
                });
                self.ask(chat, key, body).await?
            }
        };
        let caption = kept.text.rsplit_once("</think>").map_or(kept.text.as_str(), |(_, text)| text).trim();
        if kept.declined || caption.is_empty() {
            return Err(NoAnswer::Dropped(DropCause::NoCaption, chat::excerpt(&kept.text)));
        }
        Ok(caption.to_owned())
    }

    /// The answer to a request: that of an earlier process, or the server's, which is kept before it is returned.
    async fn ask(&self, chat: &Chat, key: Key, body: Value) -> Result<Kept, NoAnswer> {
        if let Some(kept) = self.journal.answer(&key) {
            return Ok(kept.clone());
        }
        if !self.account.take() {
            return Err(NoAnswer::Open(None));
        }
        let reply = chat.ask(&mut Plain::new(body)).await.map_err(|failed| self.failed(&failed, &key))?;
        self.failures.store(0, Ordering::Relaxed);
        let answer = reply.answer;
        self.account.add_tokens(answer.prompt_tokens, answer.reply_tokens);
        let kept = Kept {
            text: answer.text,
            out_of_tokens: answer.out_of_tokens,
            declined: answer.declined,
            prompt_tokens: answer.prompt_tokens,
            reply_tokens: answer.reply_tokens,
            date: now(),
        };
        self.journal.add_answer(key, kept.clone()).map_err(|error| NoAnswer::Ends(error.into()))?;
        Ok(kept)
    }

    fn failed(&self, failed: &Failed, key: &Key) -> NoAnswer {
        let message = failed.failure.to_string();
        let ends = |text: String| NoAnswer::Ends(AnnotationError::Server(text));
        if key.asked == Asked::Caption && failed.complaint.refuses_audio() {
            return ends(format!(
                "the captioning model takes no audio ({message}); name one that does with --caption-server and \
                 --caption-model, write --captions FILE, or --no-caption"
            ));
        }
        if matches!(failed.complaint.status, Some(401 | 403 | 404)) {
            return ends(message);
        }
        if !failed.failure.cause.is_transient() {
            return NoAnswer::Dropped(DropCause::ServerRefused, message);
        }
        let in_a_row = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if in_a_row >= FAILURES_IN_A_ROW.max(2 * self.args.server.concurrency) {
            return ends(format!(
                "the server failed {in_a_row} times in a row, the last time with {message}"
            ));
        }
        NoAnswer::Open(Some(message))
    }
}

/// Which part of which clip a question is about.
fn clip_place(question: &Question) -> String {
    let seconds = |seconds: Option<f64>| seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
    match (question.start, question.end) {
        (None, None) => question.audio_path.display().to_string(),
        (start, end) => {
            format!("{} from {} to {}", question.audio_path.display(), seconds(start), seconds(end))
        }
    }
}

/// The file that rows are appended to.
struct Output {
    path: PathBuf,
    file: File,
    /// The ids of the rows that were there when it was opened.
    ids: HashSet<String>,
}

impl Output {
    /// Opens the file; a line that was cut off by a kill is removed.
    fn open(path: &Path) -> Result<Self, AnnotationError> {
        keep_lines(path, |_| true)?;
        let mut ids = HashSet::new();
        for_each_line(path, |line| {
            let row: Value = serde_json::from_slice(line)?;
            ids.extend(row["id"].as_str().map(str::to_owned));
            Ok(())
        })?;
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| RecordsError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, ids })
    }

    fn add(&mut self, row: &Map<String, Value>) -> Result<(), AnnotationError> {
        let written = append_line(&mut self.file, row);
        Ok(written.map_err(|source| RecordsError::Write { path: self.path.clone(), source })?)
    }
}
