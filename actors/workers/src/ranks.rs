//! Training an arm on several processes, the ranks: what rank 0's optimizer asks of the others, and how gradients add up.
//!
//! Rank 0 runs the arms with all their actors. For a training step its [`Optimizer`](crate::Optimizer) splits the groups
//! by tokens, sends each rank its share with the totals of the whole step, and takes its own. Each rank adds up the gradients
//! of its micro-batches; one sum over all ranks makes of them the gradient of the step, from which each takes the same
//! optimizer step. The arms of a run use the ranks one at a time, and each has a replica of its own on every rank.
//!
//! - `RANKS-3` a step on several ranks equals that of one process, up to the order in which numbers are added up, and is the
//!   same to the last bit on all ranks and in every repetition with as many ranks.
//! - `RANKS-4` a step that a rank did not finish has no effect on rank 0's weights, of which it then writes a checkpoint.

mod message;
mod peers;
mod shares;
mod split;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use distributed::{Adding, Collectives, Ender, Group, Launch, RankError};
use model::Fingerprint;
use tch::Device;

pub(crate) use message::{ArrivingOrder, LeavingOrder, Order, decode, encode};
use peers::order_all;
pub(crate) use peers::{Part, Peers};
pub(crate) use shares::{grpo_orders, sft_orders};
pub(crate) use state::{Moments, receive_state, send_state};

pub use message::Opening;

/// The ranks of a run, as rank 0 sees them. Clones refer to the same group, which one arm uses at a time.
#[derive(Clone)]
pub struct Ranks {
    group: Arc<Mutex<Group>>,
    ender: Ender,
    collectives: Collectives,
    on_this_machine: usize,
    launch: Option<Arc<str>>,
}

impl Ranks {
    /// The ranks that have met; this process must be rank 0. `collectives` is what their gradients are to be added up by.
    pub fn new(group: Group, launch: &Launch, collectives: Collectives) -> Self {
        Ranks {
            ender: group.ender(),
            group: Arc::new(Mutex::new(group)),
            collectives,
            on_this_machine: launch.local_size.max(1),
            launch: launch.identity.as_deref().map(Arc::from),
        }
    }

    /// The number of ranks on this machine, which share its cores.
    pub fn on_this_machine(&self) -> usize {
        self.on_this_machine
    }

    /// What the launch of these ranks is known by, in all its attempts.
    pub fn launch(&self) -> Option<&str> {
        self.launch.as_deref()
    }

    /// Ends all ranks with this reason; a step that is under way fails with it.
    pub fn end(&self, reason: &str) {
        self.ender.end(reason);
    }

    /// Has nobody wait for what this rank says, since its process has ended.
    pub fn gone(&self, rank: usize) {
        self.ender.gone(rank);
    }

    /// Lets the other ranks end, since nothing is left to train. That one is gone already is no failure then.
    pub fn finish(&self) {
        if let Some(mut group) = self.lock_soon() {
            let done = order_all(&mut group, &Order::End).and_then(|()| group.agree(&[], |_| Ok(())));
            if let Err(error) = done {
                tracing::debug!("at the end of the run: {error}");
            }
            group.finish();
        } else {
            self.end("rank 0 ended in the middle of a step");
        }
    }

    /// The group, once no other arm uses it.
    ///
    /// Errors: A step failed in the middle, so that the others wait for what will never come.
    pub(crate) fn lock(&self) -> Result<MutexGuard<'_, Group>, RankError> {
        self.group.lock().map_err(|poisoned| {
            let reason = "rank 0 failed in the middle of a step; run.log says where";
            poisoned.into_inner().end(reason);
            RankError::Ended(reason.into())
        })
    }

    /// Has the ranks add up by NCCL if all of them can.
    ///
    /// Errors: A rank is gone, or they can't and must.
    fn try_nccl(&self, group: &mut Group, device: Device) -> Result<(), RankError> {
        match (group.try_nccl(device)?, self.collectives) {
            (None, _) => {}
            (Some(Adding::Nccl { version }), _) => tracing::info!("gradients are added up by NCCL {version}"),
            (Some(Adding::Gloo { because, .. }), Collectives::Nccl) => {
                let error = RankError::NoNccl { because };
                group.end(&error.to_string());
                return Err(error);
            }
            (Some(Adding::Gloo { on_cpus: true, .. }), _) => {}
            (Some(Adding::Gloo { because, .. }), _) => {
                tracing::warn!("gradients are added up by gloo, through the CPU: {because}");
            }
        }
        Ok(())
    }

    /// The group, if it becomes free within a moment.
    fn lock_soon(&self) -> Option<MutexGuard<'_, Group>> {
        for _ in 0..100 {
            match self.group.try_lock() {
                Ok(group) => return Some(group),
                Err(TryLockError::Poisoned(_)) => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        None
    }
}

/// The ranks that train an arm.
#[derive(Clone)]
pub struct ArmRanks {
    /// The ranks of the run.
    pub ranks: Ranks,
    /// What a follower opens its replica by.
    pub opening: Opening,
}

impl ArmRanks {
    /// Has all ranks open a replica of the arm, and gives them rank 0's weights and moments.
    ///
    /// Errors: A rank can't open it or is gone, or its policy is not that of rank 0.
    pub(crate) fn open(
        &self,
        policy: &model::Policy,
        origin: Fingerprint,
        moments: Moments<'_>,
        policy_version: u64,
    ) -> Result<Seat, RankError> {
        let mut group = self.ranks.lock()?;
        let nccl = self.ranks.collectives != Collectives::Gloo;
        let opening =
            Opening { policy_version, moments: moments.steps_if_any(), nccl, ..self.opening.clone() };
        order_all(&mut group, &Order::Open(opening))?;
        let own = encode(&(origin.tensors, origin.weights));
        group.agree(&own, |parts| all_alike(parts, origin))?;
        if nccl {
            self.ranks.try_nccl(&mut group, policy.device())?;
        }
        send_state(&mut group, policy, moments)?;
        Ok(Seat(self.clone()))
    }

    /// The name of the arm among its run's.
    pub(crate) fn arm(&self) -> &str {
        &self.opening.arm
    }
}

/// The replicas of an arm on the other ranks, which are closed with this value.
pub(crate) struct Seat(ArmRanks);

impl Drop for Seat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // A group that another arm holds for long closes all replicas at the end anyway.
        if let Some(mut group) = self.0.ranks.lock_soon() {
            let closed = order_all(&mut group, &Order::Close { arm: self.0.arm().to_owned() })
                .and_then(|()| group.agree(&[], |_| Ok(())));
            if let Err(error) = closed {
                tracing::debug!("closing the replicas of {}: {error}", self.0.arm());
            }
        }
    }
}

/// Fails if a rank's policy is not that of rank 0.
fn all_alike(parts: &[Vec<u8>], own: Fingerprint) -> Result<(), RankError> {
    for (rank, part) in parts.iter().enumerate() {
        let (tensors, weights): (u64, u64) = decode(part).ok_or(RankError::Garbled { rank })?;
        let found = [
            ("policy (names, shapes or dtypes of its tensors)", own.tensors, tensors),
            ("policy (weights before the training)", own.weights, weights),
        ];
        if let Some((what, own, other)) = found.into_iter().find(|(_, own, other)| own != other) {
            let (own, other) = (format!("{own:016x}"), format!("{other:016x}"));
            return Err(RankError::Unlike { rank, what: what.into(), own, other });
        }
    }
    Ok(())
}
