//! A reward that is a child process: asked batch by batch, started again when it fails.
//!
//! A child that dies over a batch is replaced, and its successor is given the batch once more; one that does not answer
//! in time is killed. The replacement starts at once, after further failures in a row ever later.

use std::time::Duration;

use records::MissingCause;
use rewards::RewardBatch;
use scenarios::ProcessPlugin;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::child::{Child, Event};
use crate::error::PluginError;
use crate::protocol::{self, Columns, Said};
use crate::scored::Failure;

/// How long a child may take to leave after its standard input has ended.
const GRACE: Duration = Duration::from_secs(2);
/// The first wait between failures in a row; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

type Answer = Result<Vec<Option<f64>>, Failure>;

/// The reward. Dropped, its child is killed.
pub struct ProcessReward {
    name: String,
    plugin: ProcessPlugin,
    state: State,
    /// Failures since the last answer.
    failures: u32,
    last_id: u64,
}

enum State {
    Starting(Starting),
    Ready(Running),
}

/// A child on its way; given up when dropped.
struct Starting(JoinHandle<Result<Running, PluginError>>);

impl Drop for Starting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Running {
    child: Child,
    columns: Columns,
}

/// Why there are no scores.
enum NoScores {
    /// The child goes on.
    Said(Failure),
    /// It has ended.
    Ended(String),
}

impl ProcessReward {
    /// Starts the child; that it is ready is waited for when it is first asked.
    pub fn open(name: &str, plugin: ProcessPlugin) -> Self {
        let state = State::Starting(start_at(Instant::now(), name, &plugin));
        ProcessReward { name: name.to_owned(), plugin, state, failures: 0, last_id: 0 }
    }

    /// The longest a batch may take, a child that dies over it and the start of the next included.
    pub fn longest(plugin: &ProcessPlugin) -> Duration {
        let [score, start] =
            [plugin.timeout_seconds, plugin.startup_timeout_seconds].map(Duration::from_secs_f64);
        2 * (score + start) + LONGEST_PAUSE + GRACE
    }

    /// The scores of a batch. May be given up at any `.await`: what then still comes for it is not taken for another's.
    pub async fn score(&mut self, batch: &RewardBatch) -> Answer {
        match self.attempt(batch).await {
            Err(failure) if failure.cause == MissingCause::Died => {
                tracing::warn!("reward `{}` {}; the batch is scored again", self.name, failure.message);
                self.attempt(batch).await
            }
            answer => answer,
        }
    }

    async fn attempt(&mut self, batch: &RewardBatch) -> Answer {
        let limit = Duration::from_secs_f64(self.plugin.timeout_seconds);
        self.last_id += 1;
        let id = self.last_id;
        let running = self.ready().await?;
        match timeout(limit, running.ask(id, batch)).await {
            Ok(Ok(scores)) => {
                self.failures = 0;
                Ok(scores)
            }
            Ok(Err(NoScores::Said(failure))) => Err(failure),
            Ok(Err(NoScores::Ended(how))) => {
                let message = format!("`{}` {how}", self.plugin.line());
                self.start_again();
                Err(Failure { cause: MissingCause::Died, message })
            }
            Err(_) => {
                let noise = running.child.noise().map_or_else(String::new, |noise| {
                    format!("; it wrote `{noise}` to standard output, where only JSON lines belong")
                });
                let message = format!(
                    "`{}` gave no scores within {} s and is started again{noise}",
                    self.plugin.line(),
                    self.plugin.timeout_seconds
                );
                self.start_again();
                Err(Failure { cause: MissingCause::TimedOut, message })
            }
        }
    }

    async fn ready(&mut self) -> Result<&mut Running, Failure> {
        if let State::Starting(starting) = &mut self.state {
            let started = match (&mut starting.0).await {
                Ok(started) => started,
                Err(error) => Err(PluginError::Trial(error.to_string())),
            };
            match started {
                Ok(running) => self.state = State::Ready(running),
                Err(error) => {
                    self.start_again();
                    return Err(Failure { cause: MissingCause::Unavailable, message: error.to_string() });
                }
            }
        }
        match &mut self.state {
            State::Ready(running) => Ok(running),
            State::Starting(_) => unreachable!("it has just been made ready"),
        }
    }

    /// Lets the child go, if there is one, and starts the next when it is due.
    fn start_again(&mut self) {
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE),
        };
        self.failures = self.failures.saturating_add(1);
        self.state = State::Starting(start_at(Instant::now() + pause, &self.name, &self.plugin));
    }

    /// Ends the child and waits until it has gone.
    pub async fn close(self) {
        if let State::Ready(running) = self.state {
            running.child.end(GRACE).await;
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
    match timeout(limit, child.next()).await {
        Ok(Event::Line(text)) => match protocol::read(&text) {
            Ok(Said::Ready { columns }) => {
                tracing::info!(target: "plugin", reward = %name, pid = child.pid(), "`{line}` is ready");
                Ok(Running { child, columns })
            }
            Ok(Said::Error { message, .. }) => Err(failed(format!("will not start: {message}"))),
            Ok(Said::Scores { .. }) => Err(failed("gave scores before it was asked for any".into())),
            Err(problem) => Err(failed(problem.to_string())),
        },
        Ok(Event::Ended(how)) => Err(failed(format!("{how}, before it was ready"))),
        Err(_) => {
            let noise = child.noise().map_or_else(String::new, |noise| {
                format!("; it wrote `{noise}` to standard output, where only JSON lines belong")
            });
            Err(failed(format!(
                "was not ready within {} s{noise}; does it answer `hello`? (docs/plugins.md)",
                plugin.startup_timeout_seconds
            )))
        }
    }
}

impl Running {
    async fn ask(&mut self, id: u64, batch: &RewardBatch) -> Result<Vec<Option<f64>>, NoScores> {
        let message = protocol::score(id, batch, &self.columns);
        self.child.send(serde_json::Value::Object(message).to_string());
        let bad = |message: String| NoScores::Said(Failure { cause: MissingCause::BadAnswer, message });
        loop {
            let line = match self.child.next().await {
                Event::Line(line) => line,
                Event::Ended(how) => return Err(NoScores::Ended(how)),
            };
            match protocol::read(&line).map_err(|error| bad(error.to_string()))? {
                // An answer to a batch that was given up.
                Said::Scores { id: Some(earlier), .. } | Said::Error { id: Some(earlier), .. }
                    if earlier < id =>
                {
                    tracing::info!(target: "plugin", pid = self.child.pid(), "a late answer, to batch {earlier}");
                }
                Said::Scores { id: Some(named), scores } if named == id => {
                    return protocol::numbers(scores).map_err(NoScores::Said);
                }
                Said::Error { id: None, message } => {
                    return Err(NoScores::Said(Failure { cause: MissingCause::Error, message }));
                }
                Said::Error { id: Some(named), message } if named == id => {
                    return Err(NoScores::Said(Failure { cause: MissingCause::Error, message }));
                }
                Said::Scores { .. } | Said::Error { .. } | Said::Ready { .. } => {
                    let said = protocol::quote(&line);
                    return Err(bad(format!("said `{said}` when asked for the scores of batch {id}")));
                }
            }
        }
    }
}
