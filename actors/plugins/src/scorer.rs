//! An opened reward: one in Rust, a child process or an HTTP server.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use records::MissingCause;
use rewards::{Reward, RewardBatch};

use crate::error::PluginError;
use crate::http::HttpReward;
use crate::processes::Processes;
use crate::protocol::Call;
use crate::scored::{Answer, Failure, Scored};

/// An opened reward. A [`RewardActor`](crate::RewardActor) owns it.
pub enum Scorer {
    /// A reward in Rust, which scores on a blocking thread and holds the lock meanwhile. A batch that the caller has
    /// abandoned therefore delays the next batch, and nothing else.
    Rust(Arc<Mutex<Box<dyn Reward>>>),
    /// Child processes, each restarted when it fails.
    Process(Processes),
    /// An HTTP server, to which batches are posted.
    Http(HttpReward),
    /// The state after [`Scorer::close`]; all scores are missing.
    Closed,
}

impl Scorer {
    /// Scores a batch. The future may be dropped at any `.await`.
    ///
    /// Panics: If a reward in Rust panics. The panic ends the reward actor, whose supervisor opens the next scorer.
    pub async fn score(&mut self, batch: Arc<RewardBatch>) -> Scored {
        let started = Instant::now();
        let wanted = batch.items.len();
        let answer = match self {
            Scorer::Rust(reward) => score_in_rust(reward.clone(), batch).await.map(Answer::from),
            Scorer::Process(processes) => return processes.score(&batch).await,
            Scorer::Http(server) => server.score(&batch).await,
            Scorer::Closed => {
                Err(Failure { cause: MissingCause::Unavailable, message: "the reward is closed".into() })
            }
        };
        Scored::of(answer, wanted, started.elapsed().as_secs_f64())
    }

    /// Tries the reward on a batch before it is used.
    ///
    /// Errors: [`PluginError::Trial`] if scoring fails or a score is not finite. A null score is no error, nor is a single
    /// completion that could not be scored.
    pub async fn probe(&mut self, batch: Arc<RewardBatch>) -> Result<Scored, PluginError> {
        let scored = self.score(batch).await;
        match &scored.failure {
            Some(failure) if scored.is_unusable() => Err(PluginError::Trial(failure.clone())),
            _ => Ok(scored),
        }
    }

    /// What the user should know about the reward's settings although it can score, in one line.
    pub fn warning(&self) -> Option<String> {
        match self {
            Scorer::Http(server) => server.warning(),
            Scorer::Rust(_) | Scorer::Process(_) | Scorer::Closed => None,
        }
    }

    /// How a plug-in calls the user's code, if it has said so; known once it has scored.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Scorer::Process(processes) => processes.call(),
            Scorer::Rust(_) | Scorer::Http(_) | Scorer::Closed => None,
        }
    }

    /// Stops the child processes, if there are any, and waits until they are reaped.
    pub async fn close(&mut self) {
        match std::mem::replace(self, Scorer::Closed) {
            Scorer::Process(processes) => processes.close().await,
            Scorer::Rust(_) | Scorer::Http(_) | Scorer::Closed => {}
        }
    }
}

async fn score_in_rust(
    reward: Arc<Mutex<Box<dyn Reward>>>,
    batch: Arc<RewardBatch>,
) -> Result<Vec<Option<f64>>, Failure> {
    let scoring = tokio::task::spawn_blocking(move || {
        let mut reward =
            reward.lock().expect("the reward has panicked on an earlier batch that the caller had abandoned");
        reward.score(&batch)
    });
    match scoring.await {
        Ok(answer) => {
            answer.map_err(|error| Failure { cause: MissingCause::Error, message: error.to_string() })
        }
        Err(ended) => match ended.try_into_panic() {
            // The actor panics as if the reward ran inside it, and its supervisor opens the next scorer.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(Failure { cause: MissingCause::Error, message: cancelled.to_string() }),
        },
    }
}
