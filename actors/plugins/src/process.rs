//! A reward in a child process, which is restarted when it fails.
//!
//! If the child exits while it scores a batch, the next child scores the batch once more. A child that does not answer
//! in time is killed. After the first failure the next child is started at once; after each further failure in a row
//! the delay doubles. A batch that arrives meanwhile waits for the start.

use std::time::Duration;

use records::MissingCause;
use rewards::{RewardBatch, RewardItem};
use scenarios::ProcessPlugin;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::child::{Child, Event};
use crate::error::PluginError;
use crate::protocol::{self, Call, Columns, PluginMessage};
use crate::scored::{Answer, Failure};

/// How long a child may take to exit after its standard input is closed.
const GRACE: Duration = Duration::from_secs(2);
/// Delay of the start after the second failure in a row; it doubles up to [`MAX_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(250);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// A process reward and its present child, which is killed when this is dropped.
pub struct ProcessReward {
    name: String,
    plugin: ProcessPlugin,
    state: State,
    /// Failed starts, exits and time-outs since the last scores.
    failures: u32,
    /// Id of the last batch that was sent. Ids count up, so a late answer is recognized.
    last_id: u64,
}

enum State {
    Starting(Starting),
    Ready(Running),
}

/// The task that starts a child; dropping this cancels it.
struct Starting(JoinHandle<Result<Running, PluginError>>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Running {
    child: Child,
    columns: Columns,
    call: Option<Call>,
}

/// Why a child returned no scores.
enum AskError {
    /// It sent an error or an unusable answer, and still runs.
    Failed(Failure),
    /// It exited; how, as in [`Event::Ended`].
    Ended(String),
}

impl ProcessReward {
    /// Starts the child. The first batch waits until it is ready.
    pub fn open(name: &str, plugin: ProcessPlugin) -> Self {
        let state = State::Starting(start_at(Instant::now(), name, &plugin));
        ProcessReward { name: name.to_owned(), plugin, state, failures: 0, last_id: 0 }
    }

    /// The longest time that a batch can take: two attempts, each with the start of a child, and the delays.
    pub fn max_batch_time(plugin: &ProcessPlugin) -> Duration {
        let [score, start] =
            [plugin.timeout_seconds, plugin.startup_timeout_seconds].map(Duration::from_secs_f64);
        2 * (score + start) + MAX_DELAY + GRACE
    }

    /// How the child calls the user's code, if it is running and has said so.
    pub fn call(&self) -> Option<&Call> {
        match &self.state {
            State::Ready(running) => running.call.as_ref(),
            State::Starting(_) => None,
        }
    }

    /// Scores `items`, which are completions of `batch`. The future may be dropped at any `.await`: a later answer to the
    /// abandoned batch is recognized by its id and discarded (PLUGIN-2).
    pub async fn score(&mut self, batch: &RewardBatch, items: &[RewardItem]) -> Result<Answer, Failure> {
        match self.attempt(batch, items).await {
            Err(failure) if failure.cause == MissingCause::Died => {
                tracing::warn!("reward `{}`: {}; the batch is scored again", self.name, failure.message);
                self.attempt(batch, items).await
            }
            answer => answer,
        }
    }

    async fn attempt(&mut self, batch: &RewardBatch, items: &[RewardItem]) -> Result<Answer, Failure> {
        let limit = Duration::from_secs_f64(self.plugin.timeout_seconds);
        self.last_id += 1;
        let id = self.last_id;
        let running = self.ready_child().await?;
        match timeout(limit, running.ask(id, batch, items)).await {
            Ok(Ok(answer)) => {
                self.failures = 0;
                Ok(answer)
            }
            Ok(Err(AskError::Failed(failure))) => Err(failure),
            Ok(Err(AskError::Ended(how))) => {
                let message = format!("`{}` {how}", self.plugin.line());
                self.restart();
                Err(Failure { cause: MissingCause::Died, message })
            }
            Err(_) => {
                let stray_output = stray_output(&running.child);
                let message = format!(
                    "`{}` gave no scores within {} s and is restarted{stray_output}",
                    self.plugin.line(),
                    self.plugin.timeout_seconds
                );
                self.restart();
                Err(Failure { cause: MissingCause::TimedOut, message })
            }
        }
    }

    async fn ready_child(&mut self) -> Result<&mut Running, Failure> {
        if let State::Starting(starting) = &mut self.state {
            let started = match (&mut starting.0).await {
                Ok(started) => started,
                Err(error) => Err(PluginError::Trial(error.to_string())),
            };
            match started {
                Ok(running) => self.state = State::Ready(running),
                Err(error) => {
                    self.restart();
                    return Err(Failure { cause: MissingCause::Unavailable, message: error.to_string() });
                }
            }
        }
        match &mut self.state {
            State::Ready(running) => Ok(running),
            State::Starting(_) => unreachable!("the state was set to ready above"),
        }
    }

    /// Drops the child, if there is one, which kills it, and schedules the start of the next.
    fn restart(&mut self) {
        let delay = match self.failures {
            0 => Duration::ZERO,
            failures => FIRST_DELAY.saturating_mul(1 << (failures - 1).min(16)).min(MAX_DELAY),
        };
        self.failures = self.failures.saturating_add(1);
        self.state = State::Starting(start_at(Instant::now() + delay, &self.name, &self.plugin));
    }

    /// Stops the child and waits until it is reaped.
    pub async fn close(self) {
        if let State::Ready(running) = self.state {
            running.child.stop(GRACE).await;
        }
    }
}

fn start_at(due: Instant, name: &str, plugin: &ProcessPlugin) -> Starting {
    let (name, plugin) = (name.to_owned(), plugin.clone());
    Starting(tokio::spawn(async move {
        sleep_until(due).await;
        start(&name, &plugin).await
    }))
}

async fn start(name: &str, plugin: &ProcessPlugin) -> Result<Running, PluginError> {
    let mut child = Child::spawn(name, plugin).await?;
    child.send(protocol::hello(name, &plugin.options));
    let limit = Duration::from_secs_f64(plugin.startup_timeout_seconds);
    let line = plugin.line();
    let failed = |problem: String| PluginError::Startup { command: plugin.line(), problem };
    match timeout(limit, child.next_event()).await {
        Ok(Event::Line(text)) => match protocol::parse(&text) {
            Ok(PluginMessage::Ready { columns, call }) => {
                let how = call.as_ref().map_or_else(String::new, |call| format!("; {call}"));
                tracing::info!(target: "plugin", reward = %name, pid = child.pid(), "`{line}` is ready{how}");
                Ok(Running { child, columns, call })
            }
            Ok(PluginMessage::Error { message, .. }) => {
                Err(failed(format!("reported an error at startup: {message}")))
            }
            Ok(PluginMessage::Scores { .. }) => {
                Err(failed("sent `scores` at startup; answer `hello` with `ready`".into()))
            }
            Err(problem) => Err(failed(problem.to_string())),
        },
        Ok(Event::Ended(how)) => Err(failed(format!("failed to start: it {how}"))),
        Err(_) => {
            let stray_output = stray_output(&child);
            Err(failed(format!(
                "was not ready within {} s{stray_output}; answer `hello` with `ready` (docs/plugins.md)",
                plugin.startup_timeout_seconds
            )))
        }
    }
}

/// The end of a message: what the child last wrote to standard output that was no protocol message, or nothing.
fn stray_output(child: &Child) -> String {
    child.take_stray_output().map_or_else(String::new, |line| {
        format!("; it wrote `{line}` to standard output, where only JSON lines belong")
    })
}

impl Running {
    async fn ask(&mut self, id: u64, batch: &RewardBatch, items: &[RewardItem]) -> Result<Answer, AskError> {
        let message = protocol::score(id, batch, items, &self.columns);
        self.child.send(serde_json::Value::Object(message).to_string());
        let bad_answer =
            |message: String| AskError::Failed(Failure { cause: MissingCause::BadAnswer, message });
        loop {
            let line = match self.child.next_event().await {
                Event::Line(line) => line,
                Event::Ended(how) => return Err(AskError::Ended(how)),
            };
            match protocol::parse(&line).map_err(|error| bad_answer(error.to_string()))? {
                // The answer to a batch that was abandoned.
                PluginMessage::Scores { id: Some(earlier), .. }
                | PluginMessage::Error { id: Some(earlier), .. }
                    if earlier < id =>
                {
                    let pid = self.child.pid();
                    tracing::info!(target: "plugin", pid, "discarded a late answer, to batch {earlier}");
                }
                PluginMessage::Scores { id: Some(named), scores, fields } if named == id => {
                    return protocol::read_answer(scores, &fields, items.len()).map_err(AskError::Failed);
                }
                PluginMessage::Error { id: None, message } => {
                    return Err(AskError::Failed(Failure { cause: MissingCause::Error, message }));
                }
                PluginMessage::Error { id: Some(named), message } if named == id => {
                    return Err(AskError::Failed(Failure { cause: MissingCause::Error, message }));
                }
                PluginMessage::Scores { .. } | PluginMessage::Error { .. } | PluginMessage::Ready { .. } => {
                    let sent = protocol::quote(&line);
                    return Err(bad_answer(format!("sent `{sent}` instead of the scores of batch {id}")));
                }
            }
        }
    }
}
