//! The policy's own copy beside the servers: it writes adapters for them, and scores what they are compared by.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Group, Policy, Processor, Prompt};
use tch::{Kind, Tensor};
use workers::{ComputeSlots, NamedTensors, Published, WeightStore};

use crate::problem::Problem;

/// Largest difference between log-probabilities of a server and of the policy in f32. vLLM on a CPU differs by 3e-6.
const TOLERANCE_F32: f64 = 1e-3;

/// The same for 16 bits. A server in bf16 differs from one in f32 by 0.04 where both are right.
const TOLERANCE_16_BITS: f64 = 0.25;

/// The trained tensors of a version. The lock lets threads share them.
pub(crate) type Weights = Arc<Mutex<NamedTensors>>;

/// The policy's copy. Clones share it.
#[derive(Clone)]
pub(crate) struct Scorer {
    policy: Arc<Mutex<Policy>>,
    weights: WeightStore,
    threads: usize,
    slots: ComputeSlots,
}

/// What is scored: the tokens of a prompt from some place on, and tokens after it.
#[derive(Clone)]
pub(crate) struct Scored {
    pub(crate) prompt: Prompt,
    /// At least 1.
    pub(crate) from: usize,
    pub(crate) after: Vec<i64>,
}

impl Scorer {
    /// Errors: libtorch can't copy the policy.
    pub(crate) fn new(
        weights: WeightStore,
        threads: usize,
        slots: ComputeSlots,
    ) -> Result<Self, model::ModelError> {
        let policy = Arc::new(Mutex::new(weights.replica()?));
        Ok(Self { policy, weights, threads, slots })
    }

    /// The newest version of the weights.
    pub(crate) fn newest(&self) -> Published {
        self.weights.newest()
    }

    /// The number of the newest version, without its weights.
    pub(crate) fn newest_version(&self) -> u64 {
        self.weights.newest_version()
    }

    /// The tokenizer and its ids, the size of the vocabulary, and the tolerance for the policy's dtype.
    pub(crate) fn facts(&self) -> (Processor, i64, f64) {
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let tolerance = if policy.dtype() == Kind::Float { TOLERANCE_F32 } else { TOLERANCE_16_BITS };
        (policy.processor().clone(), policy.config().text.vocab_size, tolerance)
    }

    /// Writes a version of the adapter into `folder`.
    pub(crate) async fn write(&self, weights: Weights, folder: PathBuf) -> Result<(), Problem> {
        self.blocking(move |policy| {
            load(policy, &weights)?;
            policy.save(&folder).map_err(Problem::of)
        })
        .await
    }

    /// The log-probabilities of tokens under a version.
    pub(crate) async fn score(&self, weights: Weights, scored: Scored) -> Result<Vec<f32>, Problem> {
        self.blocking(move |policy| {
            load(policy, &weights)?;
            logprobs(policy, &scored)
        })
        .await
    }

    /// The log-probabilities of tokens under the base alone.
    pub(crate) async fn score_base(&self, scored: Scored) -> Result<Vec<f32>, Problem> {
        let store = self.weights.clone();
        self.blocking(move |_| {
            let base = store.reference().map_err(Problem::of)?;
            logprobs(&base, &scored)
        })
        .await
    }

    /// Works with the policy on a thread that may block, in a slot in which the run computes.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Policy) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let _slot = self.slots.take().await;
        let (policy, threads) = (self.policy.clone(), self.threads);
        let worked = tokio::task::spawn_blocking(move || {
            if threads > 0 {
                tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
            }
            work(&policy.lock().unwrap_or_else(PoisonError::into_inner))
        });
        worked
            .await
            .unwrap_or_else(|_| Err("the policy panicked while the servers were compared with it".into()))
    }
}

fn load(policy: &Policy, weights: &Weights) -> Result<(), Problem> {
    let weights = weights.lock().unwrap_or_else(PoisonError::into_inner);
    policy.load_trainable(&weights).map_err(Problem::of)
}

fn logprobs(policy: &Policy, Scored { prompt, from, after }: &Scored) -> Result<Vec<f32>, Problem> {
    let (head, tail) = prompt.ids.split_at(*from);
    let head = Prompt { ids: head.to_vec(), clips: prompt.clips.clone() };
    let tail: Vec<i64> = tail.iter().chain(after).copied().collect();
    let groups = [Group { prompt: &head, completions: vec![&tail] }];
    let found = policy.logprobs(&groups, 1.0).map_err(Problem::of)?;
    let row: Tensor = found.logprobs.get(0).to_kind(Kind::Float);
    Vec::<f32>::try_from(row).map_err(Problem::of)
}
