//! What a rank other than 0 does: it waits for orders, opens replicas of arms, and takes part in their steps.

use std::collections::BTreeMap;
use std::error::Error;

use distributed::{Group, RankError};
use model::optim::AdamW;

use crate::error::WorkerError;
use crate::optimizer::{FollowerWork, OptimizerArgs, OptimizerState};
use crate::ranks::{ArrivingOrder, Opening, Order, Peers, decode, encode, receive_state};
use crate::threads::use_threads;

/// Why a follower can't do what rank 0 ordered.
type OpenError = Box<dyn Error + Send + Sync>;

/// Follows rank 0 until the run has ended. `open` prepares the optimizer of an arm as rank 0 did: with the policy that the
/// arm's scenario names.
///
/// Errors: The first failure of this rank or of another one. All ranks end with it.
pub fn follow(
    mut group: Group,
    mut open: impl FnMut(&Opening) -> Result<OptimizerArgs, OpenError>,
) -> Result<(), RankError> {
    let mut replicas: BTreeMap<String, OptimizerState> = BTreeMap::new();
    loop {
        let order = group.next_order()?;
        let order: ArrivingOrder = decode(&order).ok_or(RankError::Garbled { rank: 0 })?;
        let rank = group.rank();
        let done = match order {
            Order::Open(opening) => {
                let arm = opening.arm.clone();
                let opened = open_replica(&mut group, &opening, &mut open);
                opened.map(|replica| drop(replicas.insert(arm.clone(), replica))).map_err(|error| {
                    RankError::Ended(format!("rank {rank} could not open its replica of {arm}: {error}"))
                })
            }
            Order::Close { arm } => {
                replicas.remove(&arm);
                group.agree(&[], |_| Ok(())).map(drop)
            }
            Order::Grpo { arm, share, groups } => {
                take_part(&mut group, &mut replicas, &arm, FollowerWork::Grpo(share, groups))
            }
            Order::Sft { arm, share, groups } => {
                take_part(&mut group, &mut replicas, &arm, FollowerWork::Sft(share, groups))
            }
            Order::Align { arm, lr } => take_part(&mut group, &mut replicas, &arm, FollowerWork::Align(lr)),
            Order::End => {
                group.finish();
                // Rank 0 may be gone as soon as it knows.
                let _ = group.agree(&[], |_| Ok(()));
                return Ok(());
            }
        };
        if let Err(error) = done {
            group.end(&error.to_string());
            return Err(error);
        }
    }
}

fn open_replica(
    group: &mut Group,
    opening: &Opening,
    open: &mut impl FnMut(&Opening) -> Result<OptimizerArgs, OpenError>,
) -> Result<OptimizerState, OpenError> {
    use_threads(opening.threads);
    let args = open(opening)?;
    let origin = args.weights.fingerprint();
    let policy = args.weights.learner()?;
    let reference = if args.reference { Some(args.weights.reference()?) } else { None };
    group.agree(&encode(&(origin.tensors, origin.weights)), |_| Ok(()))?;
    if opening.nccl {
        group.try_nccl(policy.device())?;
    }
    let adamw = || AdamW::new(policy.trainable(), args.adamw.clone());
    let adamw = receive_state(group, &policy, opening.moments, adamw)?;
    Ok(OptimizerState::replica(args, policy, reference, adamw, opening.policy_version))
}

fn take_part(
    group: &mut Group,
    replicas: &mut BTreeMap<String, OptimizerState>,
    arm: &str,
    work: FollowerWork,
) -> Result<(), RankError> {
    let rank = group.rank();
    let Some(replica) = replicas.get_mut(arm) else {
        return Err(RankError::Ended(format!("rank {rank} has no replica of {arm}")));
    };
    replica.take_part(work, &mut Peers::new(group)).map_err(|error| match error {
        WorkerError::Ranks(error) => error,
        other => RankError::Ended(format!("rank {rank} could not take its part of a step of {arm}: {other}")),
    })
}
