//! Sends the requests of tasks, through the cache.
//!
//! The cache has the replies as they were written, and only those that could be read. Its key has the addresses and the
//! model of the servers, what they say about it, the prompt, the seed and the temperature (KEPT-1). Equal requests are
//! asked once, also if they come from several arms at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chat::{Answer, Failed, Request};
use dashmap::DashMap;
use futures_util::future::join_all;
use rewards::judge::guard::content_hash;
use rewards::judge::prompt::JudgePrompt;
use rewards::judge::task::prompt::{TaskPrompt, TaskPrompter};
use rewards::{FailureCause, JudgeFailure};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::account::Account;
use crate::clip::{JudgeClip, SentClip, no_clip, user_content};
use crate::error::JudgeError;
use crate::judgement::{JudgeTally, Usage, out_of_time};
use crate::openai::is_hopeless;
use crate::openai::request::check_answer;
use crate::openai::server::{OpenAiServer, UsageCounter};
use crate::prompting::task_prompter;
use crate::store::{VerdictKey, VerdictStore};

/// A request of a task.
pub struct Ask {
    /// Which of the servers is asked, by its place.
    pub server: usize,
    pub prompt: TaskPrompt,
    pub seed: u64,
    pub temperature: f64,
    /// The clip that it is about, for servers that hear it.
    pub clip: Option<Arc<JudgeClip>>,
}

/// The replies to the requests of a task.
pub struct Asked<T> {
    /// In the order of the requests.
    pub replies: Vec<Result<T, JudgeFailure>>,
    pub tally: JudgeTally,
}

impl<T> Asked<T> {
    /// The first request without a reply that could be read.
    pub fn first_failure(&self) -> Option<&JudgeFailure> {
        self.replies.iter().find_map(|reply| reply.as_ref().err())
    }
}

/// The servers of a task and their cache.
pub struct Asker {
    servers: Vec<TaskServer>,
    store: Arc<VerdictStore>,
    account: Account,
    /// Requests in progress; an equal one waits for the first.
    flights: DashMap<VerdictKey, Arc<tokio::sync::Mutex<()>>>,
}

struct TaskServer {
    server: Arc<OpenAiServer>,
    prompter: TaskPrompter,
    /// Set once it was asked about its model.
    probed: OnceCell<()>,
    /// Whether requests have a seed. It is cleared once the server rejects it.
    seeded: AtomicBool,
}

impl Asker {
    pub fn new(servers: Vec<Arc<OpenAiServer>>, store: Arc<VerdictStore>, account: Account) -> Self {
        let server = |server: Arc<OpenAiServer>| TaskServer {
            prompter: task_prompter(&server.settings),
            server,
            probed: OnceCell::new(),
            seeded: AtomicBool::new(true),
        };
        Self { servers: servers.into_iter().map(server).collect(), store, account, flights: DashMap::new() }
    }

    /// Number of servers; at least 1.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Whether a server hears clips.
    pub fn hears(&self, server: usize) -> bool {
        self.servers[server].server.settings.hears_clip
    }

    /// The prompter of requests to a server.
    pub fn prompter(&self, server: usize) -> &TaskPrompter {
        &self.servers[server].prompter
    }

    pub async fn probe(&self) -> Result<(), JudgeError> {
        for server in &self.servers {
            server.probed.get_or_try_init(|| server.server.probe()).await?;
        }
        Ok(())
    }

    /// Sends all requests at once, and reads each reply by `read`, which gets the place of its request. Replies that can't
    /// be read are failures and are not cached.
    pub async fn ask_all<T>(
        &self,
        asks: &[Ask],
        deadline: Instant,
        read: impl Fn(usize, &str) -> Result<T, JudgeFailure>,
    ) -> Asked<T> {
        // A server that does not answer now is asked all the same; its requests fail with the reason.
        if !asks.is_empty() {
            let _ = tokio::time::timeout_at(deadline, self.probe()).await;
        }
        let keys: Vec<VerdictKey> = asks.iter().map(|ask| self.key(ask)).collect();
        let mut first: HashMap<VerdictKey, usize> = HashMap::new();
        let mut distinct = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            first.entry(*key).or_insert_with(|| {
                distinct.push(place);
                distinct.len() - 1
            });
        }
        let (asked, read) = (&keys, &read);
        let answers = distinct.iter().map(|&place| async move {
            let readable = |reply: &str| read(place, reply).map(drop);
            self.ask_through_cache(asked[place], &asks[place], deadline, &readable).await
        });
        let answers: Vec<(Result<String, JudgeFailure>, Usage)> = join_all(answers).await;
        let mut tally = JudgeTally { requests: asks.len() as u64, ..JudgeTally::default() };
        // The first of several equal requests carries the cost; the others count as hits.
        let hit = Usage { lookups: 1, hits: 1, ..Usage::default() };
        let replies = keys.iter().enumerate().map(|(place, key)| {
            let (reply, usage) = &answers[first[key]];
            tally.usage.add(if distinct[first[key]] == place { *usage } else { hit });
            // Equal requests may be about different completions, for which their reply may mean something else.
            let value = reply.clone().and_then(|reply| read(place, &reply));
            if let Err(failure) = &value {
                tally.count(failure);
            }
            value
        });
        let replies = replies.collect();
        Asked { replies, tally }
    }

    fn key(&self, ask: &Ask) -> VerdictKey {
        let TaskServer { server, .. } = &self.servers[ask.server];
        let identity = format!(
            "task at {} {} guided={:?} extra={} told={} seed={} temperature={} tokens={}",
            server.addresses(),
            server.settings.model,
            server.settings.guided,
            server.settings.extra,
            server.told(),
            ask.seed,
            ask.temperature,
            reply_tokens(server, ask),
        );
        let JudgePrompt::Chat { system, user } = &ask.prompt.prompt else {
            unreachable!("tasks are asked in turns")
        };
        let schema = ask.prompt.schema.to_string();
        let heard = SentClip::of(ask.clip.as_ref(), &server.settings).map(|clip| clip.hash());
        let mut texts = vec![identity.as_str(), system, user, &schema];
        texts.extend(heard.as_deref());
        content_hash(&texts)
    }

    async fn ask_through_cache(
        &self,
        key: VerdictKey,
        ask: &Ask,
        deadline: Instant,
        readable: &impl Fn(&str) -> Result<(), JudgeFailure>,
    ) -> (Result<String, JudgeFailure>, Usage) {
        let (began, counter) = (Instant::now(), UsageCounter::default());
        let flight = self.flights.entry(key).or_default().clone();
        let asking = async {
            let _alone = flight.lock().await;
            if let Some(reply) = self.store.reply(key).await
                && readable(&reply).is_ok()
            {
                return (Ok(reply), 1);
            }
            (self.ask(key, ask, &counter, readable).await, 0)
        };
        let asked = tokio::time::timeout_at(deadline, asking).await;
        self.flights.remove(&key);
        let (reply, hits) = asked.unwrap_or_else(|_| (Err(out_of_time()), 0));
        let cost = if hits > 0 { Usage::default() } else { counter.usage(began.elapsed()) };
        (reply, Usage { lookups: 1, hits, ..cost })
    }

    async fn ask(
        &self,
        key: VerdictKey,
        ask: &Ask,
        counter: &UsageCounter,
        readable: &impl Fn(&str) -> Result<(), JudgeFailure>,
    ) -> Result<String, JudgeFailure> {
        let to = &self.servers[ask.server];
        let clip = SentClip::of(ask.clip.as_ref(), &to.server.settings);
        if clip.is_none() && to.server.settings.hears_clip {
            return Err(no_clip());
        }
        let mut attempts = Attempts { to, clip, ask, account: &self.account, guided: false, counter };
        let answered = to.server.chat.ask(&mut attempts).await;
        let reply = answered.map_err(|failed| to.server.advised(failed))?;
        counter.add_tokens(&reply.answer);
        let Answer { prompt_tokens, reply_tokens, .. } = reply.answer;
        self.account.add_tokens(&to.server.settings, prompt_tokens, reply_tokens);
        let limit = to.server.settings.reply_limit();
        check_answer(&reply.answer, limit)?;
        readable(&reply.answer.text).map_err(|failure| match failure.cause {
            FailureCause::Malformed | FailureCause::Empty if reply.answer.out_of_tokens => {
                JudgeFailure::new(FailureCause::Truncated, format!("cut off at {limit}: {}", failure.message))
            }
            _ => failure,
        })?;
        let kept = self.store.keep_reply(key, reply.answer.text.clone()).await;
        // Another version of this program may have kept what this one can't read.
        Ok(if readable(&kept).is_ok() { kept } else { reply.answer.text })
    }
}

/// Longest reply, in tokens: that of a verdict, or what the task's reply takes if that is more.
fn reply_tokens(server: &OpenAiServer, ask: &Ask) -> usize {
    server.settings.longest_reply().max(ask.prompt.reply_tokens)
}

/// A request as it is worded for each attempt.
struct Attempts<'a> {
    to: &'a TaskServer,
    ask: &'a Ask,
    clip: Option<SentClip>,
    account: &'a Account,
    /// Whether the last attempt had a schema.
    guided: bool,
    counter: &'a UsageCounter,
}

impl Request for Attempts<'_> {
    fn size(&self) -> (usize, usize) {
        (self.ask.prompt.prompt.chars(), reply_tokens(&self.to.server, self.ask))
    }

    fn permit(&mut self) -> Result<(), JudgeFailure> {
        self.account.take()
    }

    fn body(&mut self) -> Value {
        let (settings, ask) = (&self.to.server.settings, self.ask);
        self.guided = self.to.server.is_guided();
        let JudgePrompt::Chat { system, user } = &ask.prompt.prompt else {
            unreachable!("tasks are asked in turns")
        };
        let mut body = Map::new();
        body.insert("model".to_owned(), json!(settings.model));
        let turns = json!([{ "role": "system", "content": system }, { "role": "user", "content": user_content(user, self.clip.as_ref()) }]);
        body.insert("messages".to_owned(), turns);
        body.insert("temperature".to_owned(), json!(ask.temperature));
        let limit = match settings.max_completion_tokens {
            Some(_) => "max_completion_tokens",
            None => "max_tokens",
        };
        body.insert(limit.to_owned(), json!(reply_tokens(&self.to.server, ask)));
        if self.to.seeded.load(Ordering::Relaxed) {
            body.insert("seed".to_owned(), json!(ask.seed));
        }
        body.insert("stream".to_owned(), json!(false));
        if self.guided {
            let format = json!({
                "type": "json_schema",
                "json_schema": { "name": "reply", "strict": true, "schema": ask.prompt.schema },
            });
            body.insert("response_format".to_owned(), format);
        }
        if settings.extra.contains_key("max_completion_tokens") {
            body.remove("max_tokens");
        }
        for (key, value) in &settings.extra {
            // Every TOML value has a JSON form; dates become text.
            body.insert(key.clone(), serde_json::to_value(value).unwrap_or(Value::Null));
        }
        Value::Object(body)
    }

    fn adapt(&mut self, failed: &Failed) -> bool {
        if self.guided && self.to.server.drop_rejected_schema(failed) {
            return true;
        }
        let about_seed = failed.failure.cause == FailureCause::Http4xx && failed.complaint.is_about("seed");
        if about_seed && self.to.seeded.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "the judge's server takes no seed; its raters differ by chance only: {}",
                failed.failure.message
            );
            return true;
        }
        false
    }

    fn is_hopeless(&self, failed: &Failed) -> bool {
        is_hopeless(failed, self.clip.as_ref())
    }

    fn retries(&self) -> Option<&AtomicU64> {
        Some(&self.counter.retries)
    }
}
