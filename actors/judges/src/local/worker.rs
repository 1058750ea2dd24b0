//! The thread that owns a local judge's model. Batches are sent to it over a channel, so that decoding blocks no thread
//! of the async runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crossbeam::channel::{Receiver, Sender, unbounded};
use model::memory::attempt;
use model::{Bases, Chosen, Policy, PolicyOptions, Prompt};
use tokio::sync::oneshot;

use crate::error::JudgeError;

/// The reply to one prompt, or why there is none.
pub type Reply = Result<Chosen, JudgeError>;

/// A batch of prompts, and the texts from which each reply is chosen.
struct Job {
    prompts: Vec<Prompt>,
    texts: Vec<String>,
    reply: oneshot::Sender<Result<Vec<Reply>, JudgeError>>,
}

/// A handle to the thread. The thread ends when this is dropped.
pub struct Worker {
    jobs: Sender<Job>,
}

impl Worker {
    /// Starts the thread, which opens the model for its first batch. Fails if the system can start no more threads.
    pub fn new(
        folder: PathBuf,
        options: PolicyOptions,
        cuda_graphs: bool,
        bases: Bases,
    ) -> Result<Self, JudgeError> {
        let (jobs, received) = unbounded();
        std::thread::Builder::new()
            .name("local judge".to_owned())
            .spawn(move || run(&bases, &folder, &options, cuda_graphs, &received))
            .map_err(|error| JudgeError::Thread(format!("the judge's thread could not start: {error}")))?;
        Ok(Self { jobs })
    }

    /// Returns a reply for each prompt, which is one of `texts`. Fails if the model can't be opened.
    pub async fn choose(&self, prompts: Vec<Prompt>, texts: Vec<String>) -> Result<Vec<Reply>, JudgeError> {
        let ended = || JudgeError::Thread("the judge's thread has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { prompts, texts, reply }).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

fn run(bases: &Bases, folder: &Path, options: &PolicyOptions, cuda_graphs: bool, jobs: &Receiver<Job>) {
    let mut policy = None;
    for job in jobs {
        // The caller's time limit may have passed meanwhile.
        if job.reply.is_closed() {
            continue;
        }
        let answer = match &policy {
            Some(policy) => Ok(policy),
            None => Policy::open_with(bases, folder, options)
                .map(|opened| &*policy.insert(opened.with_cuda_graphs(cuda_graphs)))
                .map_err(JudgeError::from),
        };
        // Fails if the caller no longer waits, which is not an error.
        let _ = job.reply.send(answer.map(|policy| choose(policy, &job.prompts, &job.texts)));
    }
}

/// Replies to a batch. If it fails, each half is tried on its own, down to single prompts (LOCAL-2).
fn choose(policy: &Policy, prompts: &[Prompt], texts: &[String]) -> Vec<Reply> {
    let choose_all = || attempt(policy.device(), || policy.choose(prompts, texts));
    let problem = match catch_unwind(AssertUnwindSafe(choose_all)) {
        Ok(Ok(chosen)) => return chosen.into_iter().map(Ok).collect(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the judge's model panicked; see run.log".to_owned(),
    };
    if prompts.len() <= 1 {
        return prompts.iter().map(|_| Err(JudgeError::Batch(problem.clone()))).collect();
    }
    tracing::warn!(
        "a batch of {} prompts failed in the local judge and is tried in halves: {problem}",
        prompts.len()
    );
    let (first, second) = prompts.split_at(prompts.len() / 2);
    let mut replies = choose(policy, first, texts);
    replies.extend(choose(policy, second, texts));
    replies
}
