//! A judge behind any server with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, transformers serve, …
//!
//! Each request of a batch becomes one HTTP request, or two with `judge.separate`. All are sent concurrently by the crate
//! `chat`, which retries them, spreads them over the servers and bounds their rate (OPENAI-1 to OPENAI-3). `request` words
//! them and reads the verdict in the answer; `advice` names the key of `[judge]` that would help after a failure.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chat::{Answer, Chat, Failed, Names, Request, Settings};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};
use rewards::judge::prompt::{Asked, JudgePrompt, Prompter};
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use scenarios::{Guided, OpenaiJudgeConfig, Scoring};
use tokio::time::Instant;

use self::advice::advice;
use self::request::RequestForm;
use crate::cached::Identified;
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, Usage, out_of_time};
use crate::prompting::server_prompter;

mod advice;
mod request;

/// What messages call the judge's settings.
const NAMES: Names = Names {
    whose: "the judge's",
    address: "judge.base_url",
    api_key_env: "judge.api_key_env",
    proxy: "judge.proxy",
    max_retry_after: "judge.max_retry_after_seconds",
};

/// A judge that sends requests to one or several servers with the same model.
pub struct OpenAiJudge {
    chat: Chat,
    prompter: Prompter,
    settings: OpenaiJudgeConfig,
    /// The settings on which a verdict depends, in one text.
    settings_identity: String,
    /// What the servers that were probed say about their model; one entry if they agree.
    facts: Mutex<BTreeSet<String>>,
    /// Whether requests constrain the reply by a schema. With `guided = "auto"` it is cleared once a server rejects it.
    guided: AtomicBool,
    /// Whether requests ask for log-probabilities. It is cleared once a server rejects them.
    logprobs: AtomicBool,
    /// Whether a server is llama.cpp, which constrains replies by a grammar.
    llama_cpp: AtomicBool,
}

impl OpenAiJudge {
    /// Creates the judge; no request is sent. Fails if the variable with the API key is not set.
    pub fn new(settings: &OpenaiJudgeConfig) -> Result<Self, JudgeError> {
        let prompter = server_prompter(settings);
        Ok(Self {
            chat: Chat::new(chat_settings(settings))?,
            settings_identity: settings_identity(settings, &prompter),
            prompter,
            settings: settings.clone(),
            facts: Mutex::default(),
            guided: AtomicBool::new(settings.guided != Guided::None),
            logprobs: AtomicBool::new(settings.scoring == Scoring::Logprobs),
            llama_cpp: AtomicBool::new(false),
        })
    }

    async fn judge(&self, request: &JudgeRequest, deadline: Instant) -> Judgement {
        let began = Instant::now();
        let counter = UsageCounter::default();
        let asked = |asked| self.ask_before(request, asked, deadline, &counter);
        let (verdict, failure) = if self.settings.separate {
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
        asked: Asked,
        deadline: Instant,
        counter: &UsageCounter,
    ) -> Result<Verdict, JudgeFailure> {
        let asking = tokio::time::timeout_at(deadline, self.ask(request, asked, counter));
        asking.await.unwrap_or_else(|_| Err(out_of_time()))
    }

    /// Asks once and reads the verdict.
    async fn ask(
        &self,
        request: &JudgeRequest,
        asked: Asked,
        counter: &UsageCounter,
    ) -> Result<Verdict, JudgeFailure> {
        let prompt = self.prompter.prompt(request, asked);
        let mut attempts = Attempts { judge: self, prompt, form: self.form(asked), counter };
        let reply = self.chat.ask(&mut attempts).await.map_err(|failed| self.advised(failed))?;
        counter.add_tokens(&reply.answer);
        attempts.form.verdict(&reply.answer, self.settings.reply_limit())
    }

    /// The form of the next attempt: what a server has rejected is left out.
    fn form(&self, asked: Asked) -> RequestForm {
        RequestForm {
            guided: self.guided.load(Ordering::Relaxed),
            logprobs: self.logprobs.load(Ordering::Relaxed),
            asked,
            scale: self.prompter.scale,
        }
    }

    /// A failure with the key of `[judge]` that would help.
    fn advised(&self, failed: Failed) -> JudgeFailure {
        let newer_limit = self.settings.max_completion_tokens.is_some();
        match advice(&failed.complaint, newer_limit) {
            Some(advice) => {
                JudgeFailure { message: format!("{}; {advice}", failed.failure.message), ..failed.failure }
            }
            None => failed.failure,
        }
    }

    /// Whether the server rejected an optional feature of the request, which later requests then leave out. Such a
    /// request is repeated without counting as a retry.
    fn drop_rejected_feature(&self, form: &RequestForm, failed: &Failed) -> bool {
        let Failed { failure, complaint, .. } = failed;
        // A grammar that cannot be compiled is a failure of the server to some.
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
        let schema = complaint.names(&["response_format", "json_schema", "schema", "guided", "grammar"]);
        if form.guided && self.settings.guided == Guided::Auto && schema {
            if self.guided.swap(false, Ordering::Relaxed) {
                tracing::warn!(
                    "the judge's server does not support JSON Schema; replies are not constrained: {}",
                    failure.message
                );
            }
            return true;
        }
        false
    }
}

/// A request as it is worded for each attempt.
struct Attempts<'a> {
    judge: &'a OpenAiJudge,
    prompt: JudgePrompt,
    /// The form of the last attempt.
    form: RequestForm,
    counter: &'a UsageCounter,
}

impl Request for Attempts<'_> {
    fn path(&self) -> &'static str {
        match self.judge.settings.prompting {
            scenarios::Prompting::Instruct => "/chat/completions",
            scenarios::Prompting::Base => "/completions",
        }
    }

    fn size(&self) -> (usize, usize) {
        (self.prompt.chars(), self.judge.settings.longest_reply())
    }

    fn body(&mut self) -> serde_json::Value {
        let judge = self.judge;
        self.form = judge.form(self.form.asked);
        let llama_cpp = judge.llama_cpp.load(Ordering::Relaxed);
        let replies = llama_cpp.then(|| judge.prompter.replies(self.form.asked));
        self.form.body(&judge.settings, &self.prompt, replies.as_deref())
    }

    fn adapt(&mut self, failed: &Failed) -> bool {
        self.judge.drop_rejected_feature(&self.form, failed)
    }

    fn retries(&self) -> Option<&AtomicU64> {
        Some(&self.counter.retries)
    }
}

impl Identified for OpenAiJudge {
    /// The settings with the servers' addresses, and what the servers say about their model: another server is another
    /// judge, also if it calls its model by the same name.
    fn identity(&self) -> String {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{} told={facts:?}", self.settings_identity)
    }
}

impl AsyncJudge for OpenAiJudge {
    fn judge_all<'a>(
        &'a self,
        requests: &'a [JudgeRequest],
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Judgement>> {
        join_all(requests.iter().map(move |request| self.judge(request, deadline))).boxed()
    }

    /// Succeeds if at least one server answers.
    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        async move {
            let told = self.chat.probe().await?;
            if told.iter().any(|told| told.llama_cpp) {
                self.llama_cpp.store(true, Ordering::Relaxed);
            }
            let facts = told.into_iter().filter_map(|told| told.facts).collect();
            *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
            Ok(())
        }
        .boxed()
    }
}

/// Counts the cost of one judgement. It lives outside the future that asks, which the deadline may cancel.
#[derive(Default)]
struct UsageCounter {
    retries: AtomicU64,
    prompt_tokens: AtomicU64,
    reply_tokens: AtomicU64,
}

impl UsageCounter {
    fn add_tokens(&self, answer: &Answer) {
        self.prompt_tokens.fetch_add(answer.prompt_tokens, Ordering::Relaxed);
        self.reply_tokens.fetch_add(answer.reply_tokens, Ordering::Relaxed);
    }

    fn usage(&self, took: Duration) -> Usage {
        Usage {
            retries: self.retries.load(Ordering::Relaxed),
            prompt_tokens: self.prompt_tokens.load(Ordering::Relaxed),
            reply_tokens: self.reply_tokens.load(Ordering::Relaxed),
            seconds: took.as_secs_f64(),
            ..Usage::default()
        }
    }
}

/// The settings of the client.
fn chat_settings(settings: &OpenaiJudgeConfig) -> Settings {
    Settings {
        servers: settings.base_url.0.clone(),
        model: settings.model.clone(),
        api_key_env: settings.api_key_env.clone(),
        proxy: settings.proxy.clone(),
        concurrency: settings.concurrency,
        requests_per_minute: settings.requests_per_minute,
        tokens_per_minute: settings.tokens_per_minute,
        connect_timeout_seconds: settings.connect_timeout_seconds,
        timeout_seconds: settings.timeout_seconds,
        read_timeout_seconds: settings.read_timeout_seconds,
        retries: settings.retries,
        retry_pause_seconds: settings.retry_pause_seconds,
        max_retry_after_seconds: settings.max_retry_after_seconds,
        names: NAMES,
    }
}

/// All settings on which a verdict depends, in one text.
fn settings_identity(settings: &OpenaiJudgeConfig, prompter: &Prompter) -> String {
    let normal = |url: &String| {
        let url = url.trim_end_matches('/');
        reqwest::Url::parse(url).map_or_else(|_| url.to_owned(), String::from)
    };
    let servers: BTreeSet<String> = settings.base_url.0.iter().map(normal).collect();
    format!(
        "openai at {servers:?} {} {} separate={} scoring={:?} guided={:?} temperature={} max_tokens={} extra={}",
        settings.model,
        prompter.fingerprint(),
        settings.separate,
        settings.scoring,
        settings.guided,
        settings.temperature,
        settings.longest_reply(),
        settings.extra,
    )
}
