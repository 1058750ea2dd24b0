//! A judge behind any server with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, transformers serve, …
//!
//! - `OPENAI-1` a request ends in a verdict or in one cause, that of its last attempt; only time-outs, broken
//!   connections, 429 and 5xx are tried again, with jittered pauses that double.
//! - `OPENAI-2` no more than `concurrency` requests are in flight, and no more a minute than the limits allow, over all
//!   arms that ask this judge. A pause between attempts holds no place.
//! - `OPENAI-3` a server that fails is left alone for a while if another one is well; one that says 429 until the time
//!   it names.

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

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The judge.
pub struct OpenAiJudge {
    client: reqwest::Client,
    servers: Servers,
    api_key: Option<String>,
    permits: Arc<Semaphore>,
    limits: Limits,
    prompter: Prompter,
    settings: OpenaiJudgeConfig,
    /// Whether requests ask for replies by a schema; an `auto` that was turned down stays off.
    guided: AtomicBool,
    /// Whether requests ask for log-probabilities; likewise.
    logprobs: AtomicBool,
    /// Whether a server is llama.cpp's.
    llama_cpp: AtomicBool,
}

/// How one attempt failed.
struct Failed {
    failure: JudgeFailure,
    /// When the server said to come again.
    retry_after: Option<Duration>,
}

impl From<JudgeFailure> for Failed {
    fn from(failure: JudgeFailure) -> Self {
        Self { failure, retry_after: None }
    }
}

impl OpenAiJudge {
    /// A judge by these settings.
    ///
    /// # Errors
    /// One line: the key is missing, or an address is none.
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

    /// Who judges and how: what another verdict may hang on. Where the server stands does not matter.
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
        let spent = Spent::default();
        let asked = |asked| self.ask_until(request, asked, deadline, &spent);
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
        Judgement { verdict, failure, usage: spent.usage(began.elapsed()), disagreement: None }
    }

    async fn ask_until(
        &self,
        request: &JudgeRequest,
        asked: Asked,
        deadline: Instant,
        spent: &Spent,
    ) -> Result<Verdict, JudgeFailure> {
        let asking = tokio::time::timeout_at(deadline, self.ask(request, asked, spent));
        asking.await.unwrap_or_else(|_| Err(out_of_time()))
    }

    /// Asks until there is a verdict, or no attempt is left.
    async fn ask(
        &self,
        request: &JudgeRequest,
        asked: Asked,
        spent: &Spent,
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
                    self.servers.went_well(&server);
                    spent.tokens(&answer);
                    return form.verdict(&answer);
                }
                Err(failed) => failed,
            };
            if self.without_extras(&form, &failed.failure) {
                continue;
            }
            let failure = failed.failure;
            if !failure.cause.is_transient() {
                return Err(failure);
            }
            self.servers.went_wrong(&server, failure.cause, failed.retry_after);
            if attempt >= self.settings.retries {
                return Err(failure);
            }
            if !self.servers.another_is_well(&server) {
                tokio::time::sleep(self.pause(attempt, failed.retry_after)).await;
            }
            attempt += 1;
            spent.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the server turned down something that the request can do without; it is asked for no more.
    fn without_extras(&self, form: &RequestForm, failure: &JudgeFailure) -> bool {
        if failure.cause != FailureCause::Http4xx {
            return false;
        }
        let names = |words: &[&str]| words.iter().any(|word| failure.message.to_lowercase().contains(word));
        if form.logprobs && names(&["logprobs"]) {
            if self.logprobs.swap(false, Ordering::Relaxed) {
                tracing::warn!(
                    "the judge's server returns no log-probabilities; scores are taken as written: {}",
                    failure.message
                );
            }
            return true;
        }
        let schema = names(&["response_format", "json_schema", "schema", "guided", "grammar"]);
        if form.guided && self.settings.guided == Guided::Auto && schema {
            if self.guided.swap(false, Ordering::Relaxed) {
                tracing::warn!(
                    "the judge's server takes no JSON Schema; replies are read as they come: {}",
                    failure.message
                );
            }
            return true;
        }
        false
    }

    /// The pause after attempt `attempt`: doubling, half of it at random, no shorter than the server asks for.
    fn pause(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = self.settings.retry_pause_seconds * 2_f64.powi(attempt.min(20) as i32);
        let pause = doubled.min(LONGEST_PAUSE.as_secs_f64()) * rand::random_range(0.5..=1.0);
        Duration::from_secs_f64(pause).max(retry_after.unwrap_or_default())
    }

    async fn attempt(&self, server: &Server, body: &serde_json::Value, path: &str) -> Result<Answer, Failed> {
        let mut request = self.client.post(format!("{}{path}", server.url)).json(body);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        let _in_flight = server.in_flight();
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status();
        let retry_after = wire::retry_after(response.headers());
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            text.extend_from_slice(&chunk);
            if text.len() > wire::LONGEST_BODY {
                let message = format!("{}: a reply of more than {} bytes", server.url, wire::LONGEST_BODY);
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
            let said = String::from_utf8_lossy(&text);
            let message = format!("{} answered {status}: {}", server.url, wire::first_line(&said));
            return Err(Failed { failure: JudgeFailure::new(cause, message), retry_after });
        }
        Answer::read(&text).map_err(|problem| {
            JudgeFailure::new(FailureCause::Malformed, format!("{}: {problem}", server.url)).into()
        })
    }

    async fn probe_server(&self, server: &Server) -> Result<(), Option<String>> {
        let mut request = self.client.get(format!("{}/models", server.url));
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| {
            tracing::warn!("the judge's server {} does not answer: {}", server.url, wire::chain(&error));
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

    /// One server that answers is enough.
    fn probe(&self) -> BoxFuture<'_, Result<(), JudgeError>> {
        async move {
            let probes = self.servers.all().iter().map(|server| self.probe_server(server));
            let outcomes = join_all(probes).await;
            if outcomes.iter().any(Result::is_ok) {
                return Ok(());
            }
            let refused = outcomes.into_iter().find_map(|outcome| outcome.err().flatten());
            Err(JudgeError::Server(refused.unwrap_or_else(|| {
                let addresses = self.settings.base_url.0.join(", ");
                format!("no server answers at {addresses}; start it, or correct judge.base_url")
            })))
        }
        .boxed()
    }
}

/// What a verdict has taken so far; kept apart from the asking, which may be cut off.
#[derive(Default)]
struct Spent {
    retries: AtomicU64,
    prompt_tokens: AtomicU64,
    reply_tokens: AtomicU64,
}

impl Spent {
    fn tokens(&self, answer: &Answer) {
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

fn broken(error: reqwest::Error) -> Failed {
    let cause = if error.is_timeout() { FailureCause::Timeout } else { FailureCause::Connection };
    JudgeFailure::new(cause, wire::chain(&error)).into()
}

fn client(settings: &OpenaiJudgeConfig) -> Result<reqwest::Client, JudgeError> {
    // Another part of the process may have chosen one; either will do.
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
        // Without TLS no certificates are needed, and a bare machine has none.
        builder = builder.tls_certs_only([]);
    }
    let unusable =
        |error: reqwest::Error| JudgeError::Setting(format!("the judge's HTTP client: {}", wire::chain(&error)));
    builder.build().map_err(unusable)
}
