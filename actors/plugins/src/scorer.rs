//! What scores for a reward actor: a reward in Rust, or a plug-in.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use rewards::{Reward, RewardBatch};

use records::MissingCause;

use crate::error::PluginError;
use crate::http::HttpReward;
use crate::process::ProcessReward;
use crate::scored::{Failure, Scored};

/// A reward, opened.
pub enum Scorer {
    /// A reward in Rust. The lock is held while it scores, so that a batch that nobody waits for any more delays the
    /// next one and nothing else.
    Rust(Arc<Mutex<Box<dyn Reward>>>),
    /// A child process.
    Process(ProcessReward),
    /// A server.
    Http(HttpReward),
    /// It was closed.
    Closed,
}

impl Scorer {
    /// Scores a batch. May be given up at any `.await`.
    ///
    /// # Panics
    /// If a reward in Rust does.
    pub async fn score(&mut self, batch: Arc<RewardBatch>) -> Scored {
        let started = Instant::now();
        let wanted = batch.items.len();
        let answer = match self {
            Scorer::Rust(reward) => score_in_rust(reward.clone(), batch).await,
            Scorer::Process(process) => process.score(&batch).await,
            Scorer::Http(server) => server.score(&batch).await,
            Scorer::Closed => {
                Err(Failure { cause: MissingCause::Unavailable, message: "the reward was closed".into() })
            }
        };
        Scored::of(answer, wanted, started.elapsed().as_secs_f64())
    }

    /// Tries the reward out.
    ///
    /// # Errors
    /// One line: why it can't be let in. That it has no score for a completion is none.
    pub async fn probe(&mut self, batch: Arc<RewardBatch>) -> Result<Scored, PluginError> {
        let scored = self.score(batch).await;
        match &scored.failure {
            Some(failure) => Err(PluginError::Trial(failure.clone())),
            None => Ok(scored),
        }
    }

    /// Ends what it runs and waits until that has gone.
    pub async fn close(&mut self) {
        match std::mem::replace(self, Scorer::Closed) {
            Scorer::Process(process) => process.close().await,
            Scorer::Rust(_) | Scorer::Http(_) | Scorer::Closed => {}
        }
    }
}

async fn score_in_rust(
    reward: Arc<Mutex<Box<dyn Reward>>>,
    batch: Arc<RewardBatch>,
) -> Result<Vec<Option<f64>>, Failure> {
    let scoring = tokio::task::spawn_blocking(move || {
        let mut reward = reward.lock().expect("it panicked over a batch that nobody waited for");
        reward.score(&batch)
    });
    match scoring.await {
        Ok(answer) => answer.map_err(|error| Failure { cause: MissingCause::Error, message: error.to_string() }),
        Err(ended) => match ended.try_into_panic() {
            // The actor dies of it, as if the reward ran inside it, and its supervisor opens the next one.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Err(Failure { cause: MissingCause::Error, message: cancelled.to_string() }),
        },
    }
}
