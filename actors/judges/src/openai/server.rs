//! The servers of a judge: their client, and what is known of them. Judges and tasks with the same settings share it, so
//! that its limits hold over all of them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chat::{Answer, Chat, Failed, Names, Settings};
use rewards::{FailureCause, JudgeFailure};
use scenarios::{Guided, OpenaiJudgeConfig};

use super::advice::advice;
use crate::error::JudgeError;
use crate::judgement::Usage;

/// What messages call the judge's settings.
const NAMES: Names = Names {
    whose: "the judge's",
    address: "judge.base_url",
    api_key_env: "judge.api_key_env",
    proxy: "judge.proxy",
    max_retry_after: "judge.max_retry_after_seconds",
};

/// One or several servers with the same model.
pub struct OpenAiServer {
    pub chat: Chat,
    pub settings: OpenaiJudgeConfig,
    /// What the servers that were probed say about their model; one entry if they agree.
    facts: Mutex<BTreeSet<String>>,
    /// Whether requests constrain the reply by a schema. With `guided = "auto"` it is cleared once a server rejects it.
    guided: AtomicBool,
    /// Whether a server is llama.cpp, which constrains replies by a grammar.
    llama_cpp: AtomicBool,
}

impl OpenAiServer {
    /// Creates the client; no request is sent. Fails if the variable with the API key is not set.
    pub fn new(settings: &OpenaiJudgeConfig) -> Result<Self, JudgeError> {
        Ok(Self {
            chat: Chat::new(chat_settings(settings))?,
            settings: settings.clone(),
            facts: Mutex::default(),
            guided: AtomicBool::new(settings.guided != Guided::None),
            llama_cpp: AtomicBool::new(false),
        })
    }

    pub fn is_guided(&self) -> bool {
        self.guided.load(Ordering::Relaxed)
    }

    pub fn is_llama_cpp(&self) -> bool {
        self.llama_cpp.load(Ordering::Relaxed)
    }

    /// Finds out what the servers say about their model. Succeeds if at least one answers.
    pub async fn probe(&self) -> Result<(), JudgeError> {
        let told = self.chat.probe().await?;
        if told.iter().any(|told| told.llama_cpp) {
            self.llama_cpp.store(true, Ordering::Relaxed);
        }
        let facts = told.into_iter().filter_map(|told| told.facts).collect();
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
        Ok(())
    }

    /// What the servers said when they were probed, as part of a judge's identity.
    pub fn told(&self) -> String {
        format!("{:?}", self.facts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The normalized addresses of the servers, as part of a judge's identity.
    pub fn addresses(&self) -> String {
        let normal = |url: &String| {
            let url = url.trim_end_matches('/');
            reqwest::Url::parse(url).map_or_else(|_| url.to_owned(), String::from)
        };
        let servers: BTreeSet<String> = self.settings.base_url.0.iter().map(normal).collect();
        format!("{servers:?}")
    }

    /// A failure with the key of `[judge]` that would help.
    pub fn advised(&self, failed: Failed) -> JudgeFailure {
        let newer_limit = self.settings.max_completion_tokens.is_some();
        match advice(&failed.complaint, newer_limit, self.settings.hears_clip) {
            Some(advice) => {
                JudgeFailure { message: format!("{}; {advice}", failed.failure.message), ..failed.failure }
            }
            None => failed.failure,
        }
    }

    /// Whether a server rejected the schema of a request, which later requests then leave out.
    pub fn drop_rejected_schema(&self, failed: &Failed) -> bool {
        let Failed { failure, complaint, .. } = failed;
        // A grammar that cannot be compiled is a failure of the server to some.
        let refused = matches!(failure.cause, FailureCause::Http4xx | FailureCause::Http5xx);
        let schema = complaint.names(&["response_format", "json_schema", "schema", "guided", "grammar"]);
        if !refused || self.settings.guided != Guided::Auto || !schema {
            return false;
        }
        if self.guided.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "the judge's server does not support JSON Schema; replies are not constrained: {}",
                failure.message
            );
        }
        true
    }
}

/// Counts the cost of one judgement. It lives outside the future that asks, which the deadline may cancel.
#[derive(Default)]
pub struct UsageCounter {
    pub retries: AtomicU64,
    prompt_tokens: AtomicU64,
    reply_tokens: AtomicU64,
}

impl UsageCounter {
    pub fn add_tokens(&self, answer: &Answer) {
        self.prompt_tokens.fetch_add(answer.prompt_tokens, Ordering::Relaxed);
        self.reply_tokens.fetch_add(answer.reply_tokens, Ordering::Relaxed);
    }

    pub fn usage(&self, took: Duration) -> Usage {
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
