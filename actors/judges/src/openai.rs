//! A judge behind any server with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, transformers serve, …
//!
//! Each request of a batch becomes one HTTP request, or two with `judge.separate`. All are sent concurrently. `wire`
//! has the bodies of requests and responses, `servers` selects the server, `limits` bounds the rate.
//!
//! - `OPENAI-1` a request ends in a verdict or in one cause, that of its last attempt; only time-outs, broken
//!   connections, 429 and 5xx are retried, with jittered delays that double.
//! - `OPENAI-2` over all arms that share this judge, at most `concurrency` requests are in flight, and no more per
//!   minute than the limits allow. A request that waits for its next attempt does not count as in flight.
//! - `OPENAI-3` a server that fails is not used for a while if another one is healthy; one that answers 429 is not used
//!   until the time in its `Retry-After` header.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};
use rewards::judge::prompt::{Asked, Prompter};
use rewards::{FailureCause, JudgeFailure, JudgeRequest, Verdict};
use scenarios::{Guided, OpenaiJudgeConfig, Scoring};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::limits::Limits;
use self::servers::{Server, Servers};
use self::wire::{Answer, RequestForm};
use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, Judgement, Usage, out_of_time};
use crate::prompting::server_prompter;

mod limits;
mod servers;
mod wire;

/// Longest delay between two attempts, unless the server asks for a longer one.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// A judge that sends requests to one or several servers with the same model.
pub struct OpenAiJudge {
    client: reqwest::Client,
    servers: Servers,
    api_key: Option<String>,
    permits: Arc<Semaphore>,
    limits: Limits,
    prompter: Prompter,
    settings: OpenaiJudgeConfig,
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
    /// The delay in the response's `Retry-After` header.
    retry_after: Option<Duration>,
}

impl From<JudgeFailure> for AttemptError {
    fn from(failure: JudgeFailure) -> Self {
        Self { failure, retry_after: None }
    }
}

impl OpenAiJudge {
    /// Creates the judge; no request is sent. Fails if the variable with the API key is not set.
    pub fn new(settings: &OpenaiJudgeConfig) -> Result<Self, JudgeError> {
        let api_key = match &settings.api_key_env {
            None => None,
            Some(variable) => Some(std::env::var(variable).map_err(|_| {
                JudgeError::Setting(format!(
                    "the environment variable {variable} is not set; export it, or leave out judge.api_key_env"
                ))
            })?),
        };
        let logprobs = settings.scoring == Scoring::Logprobs;
        Ok(Self {
            client: client(settings)?,
            servers: Servers::new(&settings.base_url.0),
            api_key,
            permits: Arc::new(Semaphore::new(settings.concurrency)),
            limits: Limits::new(settings.requests_per_minute, settings.tokens_per_minute),
            prompter: server_prompter(settings),
            settings: settings.clone(),
            guided: AtomicBool::new(settings.guided != Guided::None),
            logprobs: AtomicBool::new(logprobs),
            llama_cpp: AtomicBool::new(false),
        })
    }

    /// All settings on which a verdict depends, as part of the cache key. The server's address is not among them.
    pub fn identity(&self) -> String {
        let settings = &self.settings;
        format!(
            "openai {} {} separate={} scoring={:?} guided={:?} temperature={} max_tokens={} extra={}",
            settings.model,
            self.prompter.fingerprint(),
            settings.separate,
            settings.scoring,
            settings.guided,
            settings.temperature,
            settings.max_tokens,
            settings.extra,
        )
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
            self.limits.wait(prompt.chars(), self.settings.max_tokens).await;
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
                    return form.verdict(&answer);
                }
                Err(failed) => failed,
            };
            if self.drop_rejected_feature(&form, &failed.failure) {
                continue;
            }
            let failure = failed.failure;
            if !failure.cause.is_transient() {
                return Err(failure);
            }
            self.servers.mark_failed(&server, failure.cause, failed.retry_after);
            if attempt >= self.settings.retries {
                return Err(failure);
            }
            if !self.servers.another_is_healthy(&server) {
                tokio::time::sleep(self.retry_delay(attempt, failed.retry_after)).await;
            }
            attempt += 1;
            counter.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the server rejected an optional feature of the request, which later requests then leave out. Such a
    /// request is repeated without counting as a retry.
    fn drop_rejected_feature(&self, form: &RequestForm, failure: &JudgeFailure) -> bool {
        if failure.cause != FailureCause::Http4xx {
            return false;
        }
        let names = |words: &[&str]| words.iter().any(|word| failure.message.to_lowercase().contains(word));
        if form.logprobs && names(&["logprobs"]) {
            if self.logprobs.swap(false, Ordering::Relaxed) {
                tracing::warn!(
                    "the judge's server does not support log-probabilities; scores are read from the text: {}",
                    failure.message
                );
            }
            return true;
        }
        let schema = names(&["response_format", "json_schema", "schema", "guided", "grammar"]);
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

    /// The delay after attempt `attempt`: it doubles, up to half of it is subtracted at random, and it is at least the
    /// one that the server asks for.
    fn retry_delay(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = self.settings.retry_pause_seconds * 2_f64.powi(attempt.min(20) as i32);
        let delay = doubled.min(MAX_DELAY.as_secs_f64()) * rand::random_range(0.5..=1.0);
        Duration::from_secs_f64(delay).max(retry_after.unwrap_or_default())
    }

    async fn attempt(
        &self,
        server: &Server,
        body: &serde_json::Value,
        path: &str,
    ) -> Result<Answer, AttemptError> {
        let mut request = self.client.post(format!("{}{path}", server.url)).json(body);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        let _in_flight = server.in_flight();
        let mut response = request.send().await.map_err(request_failed)?;
        let status = response.status();
        let retry_after = wire::retry_after(response.headers());
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(request_failed)? {
            text.extend_from_slice(&chunk);
            if text.len() > wire::MAX_BODY_BYTES {
                let message =
                    format!("{}: the response is longer than {} bytes", server.url, wire::MAX_BODY_BYTES);
                return Err(JudgeFailure::new(FailureCause::Malformed, message).into());
            }
        }
        if !status.is_success() {
            let cause = match status.as_u16() {
                408 => FailureCause::Timeout,
                429 => FailureCause::Http429,
                500..=599 => FailureCause::Http5xx,
                _ => FailureCause::Http4xx,
            };
            let body = String::from_utf8_lossy(&text);
            let message = format!("{} answered {status}: {}", server.url, wire::excerpt(&body));
            return Err(AttemptError { failure: JudgeFailure::new(cause, message), retry_after });
        }
        Answer::read(&text).map_err(|problem| {
            JudgeFailure::new(FailureCause::Malformed, format!("{}: {problem}", server.url)).into()
        })
    }

    /// Checks that a server answers and accepts the key. Fails with the reason if the server answers but rejects the
    /// key, and without one if it does not answer, which is logged.
    async fn probe_server(&self, server: &Server) -> Result<(), Option<String>> {
        let mut request = self.client.get(format!("{}/models", server.url));
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| {
            tracing::warn!(
                "the judge's server {} does not answer: {}",
                server.url,
                wire::error_chain(&error)
            );
            None
        })?;
        if matches!(response.status().as_u16(), 401 | 403) {
            let key = match &self.settings.api_key_env {
                Some(variable) => format!("the key in {variable}"),
                None => {
                    "requests without a key; set judge.api_key_env to the name of the variable that holds it"
                        .to_owned()
                }
            };
            return Err(Some(format!("{} does not accept {key}", server.url)));
        }
        let text = response.bytes().await.unwrap_or_default();
        if wire::is_llama_cpp(&text) {
            self.llama_cpp.store(true, Ordering::Relaxed);
        }
        if let Some(models) = wire::model_names(&text)
            && !models.contains(&self.settings.model)
        {
            tracing::warn!(
                "the judge's server {} does not list the model {}; it lists {}",
                server.url,
                self.settings.model,
                models.join(", ")
            );
        }
        Ok(())
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
                return Ok(());
            }
            let rejected = outcomes.into_iter().find_map(|outcome| outcome.err().flatten());
            Err(JudgeError::Server(rejected.unwrap_or_else(|| {
                let addresses = self.settings.base_url.0.join(", ");
                format!("no server answers at {addresses}; start it, or correct judge.base_url")
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

fn request_failed(error: reqwest::Error) -> AttemptError {
    let cause = if error.is_timeout() { FailureCause::Timeout } else { FailureCause::Connection };
    JudgeFailure::new(cause, wire::error_chain(&error)).into()
}

fn client(settings: &OpenaiJudgeConfig) -> Result<reqwest::Client, JudgeError> {
    // Fails if another part of the process has installed one already, which works too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seconds = Duration::from_secs_f64;
    let mut builder = reqwest::Client::builder()
        .connect_timeout(seconds(settings.connect_timeout_seconds))
        .read_timeout(seconds(settings.read_timeout_seconds))
        .timeout(seconds(settings.timeout_seconds))
        .pool_max_idle_per_host(settings.concurrency)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("audio-thinker-sandbox/", env!("CARGO_PKG_VERSION")));
    if settings.base_url.0.iter().all(|url| url.starts_with("http://")) {
        // Without TLS no certificates are needed, and a minimal machine has none to load.
        builder = builder.tls_certs_only([]);
    }
    let unusable = |error: reqwest::Error| {
        JudgeError::Setting(format!(
            "the judge's HTTP client can't be created: {}",
            wire::error_chain(&error)
        ))
    };
    builder.build().map_err(unusable)
}
