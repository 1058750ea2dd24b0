//! A judge behind any server with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, transformers serve, …
//!
//! Each request of a batch becomes one HTTP request, or two with `judge.separate`. All are sent concurrently by the crate
//! `chat`, which retries them, spreads them over the servers and bounds their rate (OPENAI-1 to OPENAI-3). `request` words
//! them and reads the verdict in the answer; `advice` names the key of `[judge]` that would help after a failure; `server` is
//! what all that ask the same servers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chat::{Answer, Failed, Request};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};
use rewards::judge::guard::fence;
use rewards::judge::prompt::{Asked, JudgePrompt, Prompter};
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use scenarios::Scoring;
use tokio::time::Instant;

use self::request::RequestForm;
use self::server::{OpenAiServer, UsageCounter};
use crate::account::Account;
use crate::cached::Identified;
use crate::clip::{JudgeClip, JudgeClips, SentClip, no_clip};
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, out_of_time};
use crate::prompting::server_prompter;

mod advice;
pub mod request;
pub mod server;

/// A judge that sends requests to one or several servers with the same model.
pub struct OpenAiJudge {
    server: Arc<OpenAiServer>,
    account: Account,
    prompter: Prompter,
    /// The settings on which a verdict depends, in one text.
    settings_identity: String,
    /// Whether requests ask for log-probabilities. It is cleared once a server rejects them.
    logprobs: AtomicBool,
}

impl OpenAiJudge {
    /// Creates the judge; no request is sent.
    pub fn new(server: Arc<OpenAiServer>, account: Account) -> Self {
        let prompter = server_prompter(&server.settings);
        Self {
            settings_identity: settings_identity(&server, &prompter),
            prompter,
            logprobs: AtomicBool::new(server.settings.scoring == Scoring::Logprobs),
            server,
            account,
        }
    }

    async fn judge(
        &self,
        request: &JudgeRequest,
        clip: Option<&Arc<JudgeClip>>,
        deadline: Instant,
    ) -> Judgement {
        let clip = SentClip::of(clip, &self.server.settings);
        let began = Instant::now();
        let counter = UsageCounter::default();
        let asked = |asked| self.ask_before(request, clip.as_ref(), asked, deadline, &counter);
        let (verdict, failure) = if self.server.settings.separate {
            let (consistency, quality) = join(asked(Asked::Consistency), asked(Asked::Quality)).await;
            let verdict = Verdict {
                consistency: consistency.as_ref().ok().and_then(|verdict| verdict.consistency),
                think_quality: quality.as_ref().ok().and_then(|verdict| verdict.think_quality),
                note: None,
            };
            (verdict, consistency.err().or(quality.err()))
        } else {
            match asked(Asked::Both).await {
                Ok(verdict) => (verdict, None),
                Err(failure) => (Verdict::default(), Some(failure)),
            }
        };
        let note = failure.as_ref().map(ToString::to_string);
        let verdict = Verdict { note, ..verdict };
        Judgement { verdict, failure, usage: counter.usage(began.elapsed()), disagreement: None }
    }

    async fn ask_before(
        &self,
        request: &JudgeRequest,
        clip: Option<&SentClip>,
        asked: Asked,
        deadline: Instant,
        counter: &UsageCounter,
    ) -> Result<Verdict, JudgeFailure> {
        let asking = tokio::time::timeout_at(deadline, self.ask(request, clip, asked, counter));
        asking.await.unwrap_or_else(|_| Err(out_of_time()))
    }

    /// Asks once and reads the verdict.
    async fn ask(
        &self,
        request: &JudgeRequest,
        clip: Option<&SentClip>,
        asked: Asked,
        counter: &UsageCounter,
    ) -> Result<Verdict, JudgeFailure> {
        let prompt = match clip {
            Some(_) => self.prompter.prompt_hearing(request, asked),
            None => self.prompter.prompt(request, asked),
        };
        let mut attempts = Attempts { judge: self, prompt, clip, form: self.form(asked), counter };
        let answered = self.server.chat.ask(&mut attempts).await;
        let reply = answered.map_err(|failed| self.server.advised(failed))?;
        counter.add_tokens(&reply.answer);
        let Answer { prompt_tokens, reply_tokens, .. } = reply.answer;
        self.account.add_tokens(&self.server.settings, prompt_tokens, reply_tokens);
        attempts.form.verdict(&reply.answer, self.server.settings.reply_limit())
    }

    /// The form of the next attempt: what a server has rejected is left out.
    fn form(&self, asked: Asked) -> RequestForm {
        RequestForm {
            guided: self.server.is_guided(),
            logprobs: self.logprobs.load(Ordering::Relaxed),
            asked,
            scale: self.prompter.scale,
        }
    }

    /// Whether the server rejected an optional feature of the request, which later requests then leave out. Such a
    /// request is repeated without counting as a retry.
    fn drop_rejected_feature(&self, form: &RequestForm, failed: &Failed) -> bool {
        let Failed { failure, complaint, .. } = failed;
        if !matches!(failure.cause, FailureCause::Http4xx | FailureCause::Http5xx) {
            return false;
        }
        if form.logprobs && complaint.names(&["logprobs"]) {
            if self.logprobs.swap(false, Ordering::Relaxed) {
                tracing::warn!(
                    "the judge's server does not support log-probabilities; scores are read from the text: {}",
                    failure.message
                );
            }
            return true;
        }
        form.guided && self.server.drop_rejected_schema(failed)
    }
}

/// A request as it is worded for each attempt.
struct Attempts<'a> {
    judge: &'a OpenAiJudge,
    prompt: JudgePrompt,
    clip: Option<&'a SentClip>,
    /// The form of the last attempt.
    form: RequestForm,
    counter: &'a UsageCounter,
}

impl Request for Attempts<'_> {
    fn path(&self) -> &'static str {
        match self.judge.server.settings.prompting {
            scenarios::Prompting::Instruct => "/chat/completions",
            scenarios::Prompting::Base => "/completions",
        }
    }

    fn size(&self) -> (usize, usize) {
        (self.prompt.chars(), self.judge.server.settings.longest_reply())
    }

    fn permit(&mut self) -> Result<(), JudgeFailure> {
        self.judge.account.take()
    }

    fn body(&mut self) -> serde_json::Value {
        let judge = self.judge;
        self.form = judge.form(self.form.asked);
        let replies = judge.server.is_llama_cpp().then(|| judge.prompter.replies(self.form.asked));
        self.form.body(&judge.server.settings, &self.prompt, self.clip, replies.as_deref())
    }

    fn adapt(&mut self, failed: &Failed) -> bool {
        self.judge.drop_rejected_feature(&self.form, failed)
    }

    fn is_hopeless(&self, failed: &Failed) -> bool {
        is_hopeless(failed, self.clip)
    }

    fn retries(&self) -> Option<&AtomicU64> {
        Some(&self.counter.retries)
    }
}

impl Identified for OpenAiJudge {
    /// The settings with the servers' addresses, and what the servers say about their model: another server is another
    /// judge, also if it calls its model by the same name.
    fn identity(&self) -> String {
        format!("{} told={}", self.settings_identity, self.server.told())
    }

    fn hears(&self, clip: &Arc<JudgeClip>) -> Option<String> {
        SentClip::of(Some(clip), &self.server.settings).map(|clip| clip.hash())
    }
}

/// Whether it is in vain to send a request again: some servers answer 500 if their model takes no audio.
pub fn is_hopeless(failed: &Failed, clip: Option<&SentClip>) -> bool {
    !failed.failure.cause.is_transient() || clip.is_some() && failed.complaint.refuses_audio()
}

impl AsyncJudge for OpenAiJudge {
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        self.judge_heard(requests, &[], deadline)
    }

    fn judge_heard<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        clips: &'a JudgeClips,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        let judge = move |(place, request)| async move {
            match clips.get(place) {
                Some(None) if self.server.settings.hears_clip => Judgement::failed(no_clip()),
                clip => self.judge(request, clip.and_then(Option::as_ref), deadline).await,
            }
        };
        join_all(requests.iter().enumerate().map(judge)).boxed()
    }

    /// Succeeds if at least one server answers.
    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        self.server.probe().boxed()
    }
}

/// All settings on which a verdict depends, in one text.
fn settings_identity(server: &OpenAiServer, prompter: &Prompter) -> String {
    let settings = &server.settings;
    let identity = format!(
        "openai at {} {} {} separate={} scoring={:?} guided={:?} temperature={} max_tokens={} extra={}",
        server.addresses(),
        settings.model,
        prompter.fingerprint(),
        settings.separate,
        settings.scoring,
        settings.guided,
        settings.temperature,
        settings.longest_reply(),
        settings.extra,
    );
    if !settings.hears_clip {
        return identity;
    }
    let empty = JudgeRequest { question: Arc::default(), think: String::new(), answer: String::new() };
    let hearing = prompter.prompt_hearing(&empty, Asked::Both);
    format!("{identity} hearing {}", fence(&[&format!("{hearing:?}")]))
}
