//! A run while it goes on: the state of each arm, and the changes of its rewards.
//!
//! [`LiveArm`] is shared between the arm's conductor and whoever watches or changes the arm through an
//! [`ArmHandle`](crate::ArmHandle). What is asked for takes effect between two steps.
//!
//! - `SWAP-1` a reward is swapped at a step boundary: no score is lost or counted twice. A reward that fails
//!   its trial changes nothing.
//! - `ORDER-1` the changes of an arm are one sequence by version, see [`records::changes_in_order`]: none takes effect
//!   before an earlier one, is lost after it was acknowledged, or is made twice, also after kills and resumes. A change
//!   that is acknowledged but not in force again after a resume takes effect at its step, or before if a later change
//!   does.
//! - `LIVE-1` every change makes a new version of the [`Conditions`], every shaped reward carries the version that made
//!   it, and `control.jsonl` records who changed what, when, and from which step on.

mod arm;
mod bookmarks;
mod change;
mod conditions;
mod fork_points;
mod journal;
mod lock;
mod order;
mod reward_actors;
mod sequence;
mod view;

pub(crate) use arm::{LiveArm, LiveArmArgs};
pub use bookmarks::{BookmarkError, Bookmarks, NewBookmark};
pub use change::{ChangeError, Requires};
pub(crate) use change::{InForceError, RepeatError};
pub use conditions::{Conditions, RewardInForce};
pub(crate) use journal::Journal;
pub(crate) use order::Order;
pub(crate) use reward_actors::RewardFailure;
pub use view::{ActorState, ActorView, ArmView, ConditionsView, RewardView};
