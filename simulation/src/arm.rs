//! An arm: how far its conductor is, and the steps that are under way.

use std::collections::VecDeque;

use crate::sampler::Sampler;
use crate::slots::Slots;

/// A step under way, and when it was how far, in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) step: u64,
    /// Version of the weights that it is sampled from.
    pub(crate) version: u64,
    pub(crate) tokens: f64,
    /// Sequences that are not sampled yet, then requests that are not answered.
    pub(crate) open: usize,
    pub(crate) is_collected: bool,
    pub(crate) times: Times,
}

/// When a step entered each phase.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) dispatched: f64,
    pub(crate) loaded: f64,
    pub(crate) sampling: f64,
    pub(crate) sampled: f64,
    pub(crate) judged: f64,
    pub(crate) collected: f64,
    pub(crate) turn: f64,
    pub(crate) training: f64,
    pub(crate) trained: f64,
}

/// What the samplers of an arm are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Step(u64),
    Evaluation,
}

/// What the conductor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Not begun, or beginning again after a failure.
    Starting,
    /// Waiting until the oldest step may be trained on.
    Waiting,
    Training,
    /// So many batches are still to be asked, the present one included.
    Evaluating {
        batches: u64,
    },
    WritingCheckpoint,
    Done,
}

pub(crate) struct Arm {
    /// Rises with each failure of the learner; events of an earlier life are void.
    pub(crate) life: u64,
    pub(crate) doing: Doing,
    /// Steps taken, which is the version of the weights too.
    pub(crate) progress: u64,
    /// Steps of the last checkpoint.
    pub(crate) checkpoint: u64,
    /// Steps after which it was evaluated last.
    pub(crate) evaluated: Option<u64>,
    /// Steps under way, oldest first.
    pub(crate) pending: VecDeque<Job>,
    pub(crate) samplers: Vec<Sampler>,
    /// Version of the weights that the samplers have loaded.
    pub(crate) loaded_version: Option<u64>,
    /// Calls that wait for the samplers, and the one that they are at.
    pub(crate) calls: VecDeque<Call>,
    pub(crate) call: Option<Call>,
    /// Requests of an evaluation's batch that are not answered.
    pub(crate) open_requests: usize,
    /// The arm's own GPU, if sampler and learner take turns on it.
    pub(crate) gpu: Option<Slots>,
    pub(crate) began: f64,
    pub(crate) ended: f64,
    /// Time during which the conductor evaluated.
    pub(crate) evaluation_seconds: f64,
    pub(crate) paused_since: f64,
}

impl Arm {
    pub(crate) fn new(samplers: usize, shares_gpu: bool) -> Self {
        Arm {
            life: 0,
            doing: Doing::Starting,
            progress: 0,
            checkpoint: 0,
            evaluated: None,
            pending: VecDeque::new(),
            samplers: (0..samplers).map(|_| Sampler::default()).collect(),
            loaded_version: None,
            calls: VecDeque::new(),
            call: None,
            open_requests: 0,
            gpu: shares_gpu.then(|| Slots::new(Some(1))),
            began: 0.0,
            ended: 0.0,
            evaluation_seconds: 0.0,
            paused_since: 0.0,
        }
    }

    /// The step under way with this number.
    pub(crate) fn job(&mut self, step: u64) -> Option<&mut Job> {
        self.pending.iter_mut().find(|job| job.step == step)
    }
}
