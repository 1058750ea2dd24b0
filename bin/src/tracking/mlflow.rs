//! MLflow: rows are sent to a tracking server by its REST API, on a thread of their own.
//!
//! A server that is slow, away or restarted holds up nothing: rows wait in memory, and what the server does not have when
//! the run ends is sent by `sandbox export RUN --to mlflow`. Each arm under each seed is one MLflow run, which is found again
//! by a tag, so that a resumed run goes on in it; rows that the server has already are not sent twice.

mod api;

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use exports::{ExportError, Sink, each_leaf};
use records::{ArmId, ArmState};
use scenarios::MlflowConfig;
use serde_json::{Map, Value};

use crate::failure::Failure;
use api::{Api, ApiError, Metric, Run, Status};

/// How long rows are gathered before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// Longest wait for a server at the end of a run.
const AT_THE_END: Duration = Duration::from_secs(30);

/// Delays after failed attempts: the first, and the longest, to which they double.
const DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The thread that sends rows.
pub(crate) struct Mlflow {
    messages: Sender<Message>,
    thread: JoinHandle<()>,
    url: String,
    arms: std::cell::Cell<usize>,
}

/// What the thread is told. Arms have numbers in the order in which they begin.
enum Message {
    Begin(Run),
    Row { arm: usize, step: u64, time: f64, numbers: Vec<(String, f64)> },
    End { arm: usize, status: Status },
}

/// The rows of one arm.
struct ArmRows {
    messages: Sender<Message>,
    arm: usize,
    url: String,
}

impl Mlflow {
    /// Starts the thread. No request is sent before the first arm begins.
    ///
    /// Errors: the variable with the token is not set, or not usable.
    pub(crate) fn start(config: &MlflowConfig, run_name: &str) -> Result<Self, Failure> {
        let experiment = config.experiment.clone().unwrap_or_else(|| run_name.to_owned());
        let api = Api::new(config, experiment)?;
        let (messages, received) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("mlflow".into())
            .spawn(move || Worker { api, arms: Vec::new(), pause: None }.work(&received))
            .map_err(|error| {
                Failure::Running(format!("the thread for MLflow could not be started: {error}"))
            })?;
        Ok(Mlflow { messages, thread, url: config.url.clone(), arms: std::cell::Cell::new(0) })
    }

    /// Begins an arm, or goes on with it if the server has it. `start` is in seconds since 1970.
    pub(crate) fn begin(
        &self,
        run: &str,
        id: &ArmId,
        settings: &Map<String, Value>,
        start: f64,
    ) -> impl Sink + use<> {
        let mut params = BTreeMap::new();
        each_leaf(settings, '.', &mut |path, value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            params.insert(path, text);
        });
        let name = format!("{run}/{}/seed-{}", id.arm, id.seed);
        let arm = self.arms.replace(self.arms.get() + 1);
        // The thread lives until the last sender is dropped.
        let _ = self.messages.send(Message::Begin(Run { name, params, start }));
        ArmRows { messages: self.messages.clone(), arm, url: self.url.clone() }
    }

    /// Waits until everything has been sent, for half a minute at most.
    pub(crate) fn finish(self) {
        drop(self.messages);
        if self.thread.join().is_err() {
            tracing::warn!("the thread that sends rows to MLflow has panicked");
        }
    }
}

impl Sink for ArmRows {
    fn add(&mut self, step: u64, time: f64, numbers: &[(String, f64)]) -> Result<(), ExportError> {
        let _ = self.messages.send(Message::Row { arm: self.arm, step, time, numbers: numbers.to_vec() });
        Ok(())
    }

    fn end(&mut self, state: &ArmState) -> Result<(), ExportError> {
        let status = match state {
            ArmState::Done => Status::Finished,
            ArmState::Failed { .. } => Status::Failed,
            _ => Status::Killed,
        };
        let _ = self.messages.send(Message::End { arm: self.arm, status });
        Ok(())
    }

    fn place(&self) -> String {
        self.url.clone()
    }
}

/// What is to be sent, and to whom.
struct Worker {
    api: Api,
    arms: Vec<Arm>,
    /// Until when the server is left alone, and for how long after another failure.
    pause: Option<(Instant, Duration)>,
}

struct Arm {
    run: Run,
    /// The id that the server gave the run, and the last step of each metric that it has.
    known: Option<(String, BTreeMap<String, u64>)>,
    metrics: Vec<Metric>,
    end: Option<Status>,
    /// The server refuses the arm's rows.
    refused: bool,
}

impl Worker {
    fn work(mut self, received: &Receiver<Message>) {
        let mut sent = Instant::now();
        loop {
            match received.recv_timeout(GATHER.saturating_sub(sent.elapsed())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {
                    sent = Instant::now();
                    self.send();
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let given_up = Instant::now() + AT_THE_END;
        while self.waiting() > 0 && Instant::now() < given_up {
            if let Some((until, _)) = self.pause {
                let wait = until.min(given_up).saturating_duration_since(Instant::now());
                std::thread::sleep(wait.min(DELAYS.0));
            }
            self.send();
        }
        if self.waiting() > 0 {
            tracing::warn!(
                "MLflow at {} has not got {} values; send them by `sandbox export RUN --to mlflow`",
                self.api.url(),
                self.arms.iter().map(|arm| arm.metrics.len()).sum::<usize>()
            );
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Begin(run) => {
                self.arms.push(Arm { run, known: None, metrics: Vec::new(), end: None, refused: false });
            }
            Message::Row { arm, step, time, numbers } => {
                let Some(arm) = self.arms.get_mut(arm).filter(|arm| !arm.refused) else { return };
                let metrics = numbers.into_iter().map(|(name, value)| Metric::new(&name, value, time, step));
                arm.metrics.extend(metrics);
            }
            Message::End { arm, status } => {
                if let Some(arm) = self.arms.get_mut(arm) {
                    arm.end = Some(status);
                }
            }
        }
    }

    /// Arms of which something is still to be sent.
    fn waiting(&self) -> usize {
        self.arms.iter().filter(|arm| arm.is_waiting()).count()
    }

    /// Sends what waits, unless the server has just failed.
    fn send(&mut self) {
        if self.pause.is_some_and(|(until, _)| Instant::now() < until) {
            return;
        }
        for arm in self.arms.iter_mut().filter(|arm| arm.is_waiting()) {
            match arm.send(&mut self.api) {
                Ok(()) => self.pause = None,
                Err(error) if error.is_refusal() => {
                    tracing::warn!("MLflow refuses {}, which is not sent any more: {error}", arm.run.name);
                    arm.refused = true;
                }
                Err(error) => {
                    let delay = self.pause.map_or(DELAYS.0, |(_, delay)| (2 * delay).min(DELAYS.1));
                    if self.pause.is_none() {
                        tracing::warn!("{error}; rows wait, and it is asked again");
                    }
                    self.pause = Some((Instant::now() + delay, delay));
                    return;
                }
            }
        }
    }
}

impl Arm {
    fn is_waiting(&self) -> bool {
        !self.refused && (self.known.is_none() || !self.metrics.is_empty() || self.end.is_some())
    }

    fn send(&mut self, api: &mut Api) -> Result<(), ApiError> {
        let (id, last) = match &mut self.known {
            Some(known) => known,
            None => self.known.insert(api.find_or_create(&self.run)?),
        };
        self.metrics.retain(|metric| last.get(metric.key()).is_none_or(|last| metric.step() > *last));
        while !self.metrics.is_empty() {
            let batch = self.metrics.len().min(api::BATCH);
            api.log(id, &self.metrics[..batch])?;
            self.metrics.drain(..batch);
        }
        if let Some(status) = self.end {
            api.end(id, status)?;
            self.end = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
