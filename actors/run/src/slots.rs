//! How the actors of an arm reach each other.

use std::time::Duration;

use judges::JudgeMsg;
use runtime::Slot;
use scenarios::ArmConfig;
use workers::{LoaderMsg, OptimizerMsg, RecorderMsg, SamplerMsg, ShaperMsg};

use crate::messages::EvaluatorMsg;

/// The slots of an arm's actors. The slots of its rewards change while it runs and belong to its
/// [`Conditions`](crate::live::Conditions).
#[derive(Clone)]
pub(crate) struct Slots {
    pub(crate) loader: Slot<LoaderMsg>,
    pub(crate) sampler: Slot<SamplerMsg>,
    pub(crate) judge: Slot<JudgeMsg>,
    pub(crate) shaper: Slot<ShaperMsg>,
    pub(crate) optimizer: Slot<OptimizerMsg>,
    pub(crate) evaluator: Slot<EvaluatorMsg>,
    pub(crate) recorder: Slot<RecorderMsg>,
}

impl Slots {
    /// The empty slots of an arm; the recorder is that of the run.
    pub(crate) fn new(config: &ArmConfig, recorder: Slot<RecorderMsg>) -> Self {
        let timeout = Duration::from_secs_f64(config.supervision.call_timeout_seconds);
        // Steps collected ahead and an evaluation may be in flight at the same time.
        let capacity = config.grpo.max_staleness as usize + 2;
        Slots {
            loader: Slot::new("loader", capacity, timeout),
            sampler: Slot::new("sampler", capacity, timeout),
            // Each of them may have two calls: for verdicts, and for what rewards ask for besides.
            judge: Slot::new("judge", 2 * capacity, timeout),
            shaper: Slot::new("shaper", capacity, timeout),
            optimizer: Slot::new("optimizer", 1, timeout),
            // It calls the other actors, each within `timeout`, so it may take longer than any of them.
            evaluator: Slot::new("evaluator", 1, timeout.saturating_mul(100)),
            recorder,
        }
    }
}
