//! A judge behind any server with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, transformers serve, …
//!
//! Each request of a batch becomes one HTTP request, or two with `judge.separate`. All are sent concurrently. `request`
//! words them, `client` sends them, `servers` selects the server, `limits` bounds the rate, `answer` and `complaint` read
//! what comes back, and `models` what the server has.
//!
//! - `OPENAI-1` a request ends in a verdict or in one cause, that of its last attempt; only time-outs, broken
//!   connections, 429 and 5xx, also in a body with status 200, are retried, with jittered delays that double.
//! - `OPENAI-2` over all arms that share this judge, at most `concurrency` requests are in flight, and no more per
//!   minute than the limits allow. A request that waits for its next attempt does not count as in flight.
//! - `OPENAI-3` a server that fails is not used for a while if another one is healthy; one that answers 429 is not used
//!   until the time in its `Retry-After` header, or `judge.max_retry_after_seconds` at most.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};
use rewards::judge::prompt::{Asked, Prompter};
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use scenarios::{Guided, OpenaiJudgeConfig, Scoring};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::answer::{Answer, NoAnswer};
use self::client::{Client, unused_proxy};
use self::complaint::Complaint;
use self::limits::Limits;
use self::models::Models;
use self::request::RequestForm;
use self::servers::{Server, Servers};
use crate::cached::Identified;
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, Usage, out_of_time};
use crate::prompting::server_prompter;

mod answer;
mod client;
mod complaint;
mod limits;
mod models;
mod request;
mod servers;

/// Longest delay between two attempts, unless the server asks for a longer one.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// A judge that sends requests to one or several servers with the same model.
pub struct OpenAiJudge {
    client: Client,
    servers: Servers,
    permits: Arc<Semaphore>,
    limits: Limits,
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

/// Why one attempt failed.
struct AttemptError {
    failure: JudgeFailure,
    /// What the server says about the request; empty if it says nothing.
    complaint: Complaint,
    /// The delay in the response's `Retry-After` header.
    retry_after: Option<Duration>,
}

impl OpenAiJudge {
    /// Creates the judge; no request is sent. Fails if the variable with the API key is not set.
    pub fn new(settings: &OpenaiJudgeConfig) -> Result<Self, JudgeError> {
        let prompter = server_prompter(settings);
        Ok(Self {
            client: Client::new(settings)?,
            servers: Servers::new(
                &settings.base_url.0,
                Duration::from_secs_f64(settings.max_retry_after_seconds),
            ),
            permits: Arc::new(Semaphore::new(settings.concurrency)),
            limits: Limits::new(settings.requests_per_minute, settings.tokens_per_minute),
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

    /// Asks until there is a verdict, the failure is permanent, or all attempts are used.
    async fn ask(
        &self,
        request: &JudgeRequest,
        asked: Asked,
        counter: &UsageCounter,
    ) -> Result<Verdict, JudgeFailure> {
        let prompt = self.prompter.prompt(request, asked);
        let mut attempt = 0;
        loop {
            self.limits.wait(prompt.chars(), self.settings.longest_reply()).await;
            let Ok(permit) = self.permits.acquire().await else {
                unreachable!("the semaphore is never closed");
            };
            let form = RequestForm {
                guided: self.guided.load(Ordering::Relaxed),
                logprobs: self.logprobs.load(Ordering::Relaxed),
                asked,
                scale: self.prompter.scale,
            };
            let replies = self.llama_cpp.load(Ordering::Relaxed).then(|| self.prompter.replies(asked));
            let body = form.body(&self.settings, &prompt, replies.as_deref());
            let server = self.servers.choose().await;
            let answer = self.attempt(&server, &body, prompt_path(&self.settings)).await;
            drop(permit);
            let failed = match answer {
                Ok(answer) => {
                    self.servers.mark_ok(&server);
                    counter.add_tokens(&answer);
                    return form.verdict(&answer, self.settings.reply_limit());
                }
                Err(failed) => failed,
            };
            if self.drop_rejected_feature(&form, &failed) {
                continue;
            }
            let failure = failed.failure;
            if !failure.cause.is_transient() {
                return Err(failure);
            }
            let wait = self.servers.mark_failed(&server, failure.cause, failed.retry_after);
            if attempt >= self.settings.retries {
                return Err(failure);
            }
            if !self.servers.another_is_healthy(&server) {
                tokio::time::sleep(self.retry_delay(attempt, wait)).await;
            }
            attempt += 1;
            counter.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the server rejected an optional feature of the request, which later requests then leave out. Such a
    /// request is repeated without counting as a retry.
    fn drop_rejected_feature(&self, form: &RequestForm, failed: &AttemptError) -> bool {
        let AttemptError { failure, complaint, .. } = failed;
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

    /// The delay after attempt `attempt`: it doubles, up to half of it is subtracted at random, and it is at least `wait`,
    /// for which the server asks.
    fn retry_delay(&self, attempt: u32, wait: Option<Duration>) -> Duration {
        let doubled = self.settings.retry_pause_seconds * 2_f64.powi(attempt.min(20) as i32);
        let delay = doubled.min(MAX_DELAY.as_secs_f64()) * rand::random_range(0.5..=1.0);
        Duration::from_secs_f64(delay).max(wait.unwrap_or_default())
    }

    async fn attempt(
        &self,
        server: &Server,
        body: &serde_json::Value,
        path: &str,
    ) -> Result<Answer, AttemptError> {
        let _in_flight = server.in_flight();
        let at_server = |failure: JudgeFailure| JudgeFailure {
            message: format!("{}: {}", server.url, failure.message),
            ..failure
        };
        let response = self.client.post(&format!("{}{path}", server.url), body).await;
        let response = response.map_err(|failure| AttemptError {
            failure: at_server(failure),
            complaint: Complaint::default(),
            retry_after: None,
        })?;
        let newer_limit = self.settings.max_completion_tokens.is_some();
        Answer::of(&response, newer_limit).map_err(|NoAnswer { failure, complaint }| AttemptError {
            failure: at_server(failure),
            complaint,
            retry_after: response.retry_after,
        })
    }

    /// Checks that a server answers and accepts the key, and returns what it says about its model. Fails with the reason
    /// if the server answers but cannot be used, and without one if it does not answer, which is logged.
    async fn probe_server(&self, server: &Server) -> Result<Option<String>, Option<String>> {
        let url = &server.url;
        let response = self.client.get(&format!("{url}/models")).await.map_err(|failure| {
            tracing::warn!("the judge's server {url} does not answer: {}", failure.message);
            None
        })?;
        match response.status.as_u16() {
            401 | 403 => {
                let key = match &self.settings.api_key_env {
                    Some(variable) => format!("the key in {variable}"),
                    None => "requests without a key; set judge.api_key_env to the name of the variable that holds it"
                        .to_owned(),
                };
                return Err(Some(format!("{url} does not accept {key}")));
            }
            300..=399 => {
                let redirected = Answer::of(&response, false).err().map(|none| none.failure.message);
                return Err(redirected.map(|message| format!("{url} {message}")));
            }
            500..=599 => tracing::warn!("the judge's server {url} answered {} to /models", response.status),
            _ => {}
        }
        let Some(models) = Models::read(&response.text) else { return Ok(None) };
        if models.are_of_llama_cpp() {
            self.llama_cpp.store(true, Ordering::Relaxed);
        }
        let model = &self.settings.model;
        if !models.names().contains(&model.as_str()) {
            let listed = models.names().join(", ");
            tracing::warn!("the judge's server {url} does not list the model {model}; it lists {listed}");
        }
        Ok(Some(models.facts(model)))
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
            let probes = self.servers.all().iter().map(|server| self.probe_server(server));
            let outcomes = join_all(probes).await;
            if outcomes.iter().any(Result::is_ok) {
                let told = outcomes.into_iter().flatten().flatten().collect();
                *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = told;
                return Ok(());
            }
            let rejected = outcomes.into_iter().find_map(|outcome| outcome.err().flatten());
            Err(JudgeError::Server(rejected.unwrap_or_else(|| {
                let addresses = self.settings.base_url.0.join(", ");
                let proxy = unused_proxy(&self.settings)
                    .map(|variable| format!("; {variable} is not used unless judge.proxy = \"environment\""));
                let proxy = proxy.unwrap_or_default();
                format!("no server answers at {addresses}; start it, or correct judge.base_url{proxy}")
            })))
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

fn prompt_path(settings: &OpenaiJudgeConfig) -> &'static str {
    match settings.prompting {
        scenarios::Prompting::Instruct => "/chat/completions",
        scenarios::Prompting::Base => "/completions",
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
