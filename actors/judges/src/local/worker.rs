//! The thread that holds a local judge's model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crossbeam::channel::{Receiver, Sender, unbounded};
use model::{Chosen, Policy, PolicyOptions, Prompt};
use tokio::sync::oneshot;

use crate::error::JudgeError;

/// What was written after a prompt, or why nothing was.
pub type Replied = Result<Chosen, JudgeError>;

/// Prompts, texts to choose from, and who waits for the choice.
struct Job {
    prompts: Vec<Prompt>,
    texts: Vec<String>,
    reply: oneshot::Sender<Result<Vec<Replied>, JudgeError>>,
}

/// A handle of the thread, which ends when it is dropped.
pub struct Worker {
    jobs: Sender<Job>,
}

impl Worker {
    /// Starts the thread; it opens the model when there is something to do.
    ///
    /// # Errors
    /// The system gives no further thread.
    pub fn new(folder: PathBuf, options: PolicyOptions) -> Result<Self, JudgeError> {
        let (jobs, received) = unbounded();
        std::thread::Builder::new()
            .name("local judge".to_owned())
            .spawn(move || work(&folder, &options, &received))
            .map_err(|error| JudgeError::Thread(format!("the judge's thread could not start: {error}")))?;
        Ok(Self { jobs })
    }

    /// One of `texts` for each prompt.
    ///
    /// # Errors
    /// The model could not be opened.
    pub async fn choose(&self, prompts: Vec<Prompt>, texts: Vec<String>) -> Result<Vec<Replied>, JudgeError> {
        let ended = || JudgeError::Thread("the judge's thread has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { prompts, texts, reply }).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

fn work(folder: &Path, options: &PolicyOptions, jobs: &Receiver<Job>) {
    let mut policy = None;
    for job in jobs {
        // Whoever asked may have run out of time meanwhile.
        if job.reply.is_closed() {
            continue;
        }
        let answer = match &policy {
            Some(policy) => Ok(policy),
            None => Policy::open(folder, options)
                .map(|opened| &*policy.insert(opened))
                .map_err(JudgeError::from),
        };
        // Nobody waiting any more is no failure.
        let _ = job.reply.send(answer.map(|policy| choose(policy, &job.prompts, &job.texts)));
    }
}

/// LOCAL-2.
fn choose(policy: &Policy, prompts: &[Prompt], texts: &[String]) -> Vec<Replied> {
    let attempt = catch_unwind(AssertUnwindSafe(|| policy.choose(prompts, texts)));
    let problem = match attempt {
        Ok(Ok(chosen)) => return chosen.into_iter().map(Ok).collect(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the judge's model broke down; see run.log".to_owned(),
    };
    if prompts.len() <= 1 {
        return prompts.iter().map(|_| Err(JudgeError::Batch(problem.clone()))).collect();
    }
    tracing::warn!("a batch of {} for the local judge failed and is halved: {problem}", prompts.len());
    let (first, second) = prompts.split_at(prompts.len() / 2);
    let mut replies = choose(policy, first, texts);
    replies.extend(choose(policy, second, texts));
    replies
}
