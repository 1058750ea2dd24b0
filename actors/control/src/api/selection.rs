//! Requests that concern several arms: which arms they select, and the result in each of them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::arm_path::no_arm;
use crate::error::{ApiError, Refusal, StaleArm};
use crate::shared::Shared;
use records::{Applied, ArmId};
use run::ArmHandle;

/// An arm's name and its seed.
pub(super) type Selected = (String, u64);

/// The arms that a request selects: those it names, or all that have not ended and pass `filter`.
pub(super) fn select(
    shared: &Shared,
    arms: Option<&[Selected]>,
    filter: impl Fn(&ArmHandle) -> bool,
) -> Result<Vec<ArmHandle>, ApiError> {
    let run = &shared.run;
    let Some(arms) = arms else {
        let passes = |arm: &ArmHandle| !arm.view().state.has_ended() && filter(arm);
        return Ok(run.arms().into_iter().filter(passes).collect());
    };
    let find = |(arm, seed): &Selected| {
        run.arm(&ArmId::new(arm.clone(), *seed)).ok_or_else(|| no_arm(run, arm, &seed.to_string()))
    };
    arms.iter().map(find).collect()
}

/// The results of a request in the arms it selected.
#[derive(Serialize, JsonSchema)]
pub(super) struct Results {
    pub results: Vec<ArmResult>,
}

/// The result of a request in one arm.
#[derive(Serialize, JsonSchema)]
pub(super) struct ArmResult {
    #[serde(flatten)]
    id: ArmId,
    /// The version a change made, and the first step under it.
    applied: Option<Applied>,
    /// The folder of the checkpoint that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<PathBuf>,
    /// Why the request was refused in this arm, in one line.
    error: Option<String>,
    /// The place of the error in the formula, in characters from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<usize>,
    /// What was changed since the version that the request names in `If-Match`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stale: Vec<StaleArm>,
}

impl ArmResult {
    fn new(arm: &ArmHandle) -> Self {
        ArmResult {
            id: arm.id().clone(),
            applied: None,
            folder: None,
            error: None,
            place: None,
            stale: Vec::new(),
        }
    }

    pub fn of_change(arm: &ArmHandle, changed: Result<Applied, ApiError>) -> Self {
        match changed {
            Ok(applied) => ArmResult { applied: Some(applied), ..Self::new(arm) },
            Err(error) => Self::refused(arm, error),
        }
    }

    /// The result of a command; a checkpoint has a folder.
    pub fn of_command(arm: &ArmHandle, done: Result<Option<PathBuf>, ApiError>) -> Self {
        match done {
            Ok(folder) => ArmResult { folder, ..Self::new(arm) },
            Err(error) => Self::refused(arm, error),
        }
    }

    fn refused(arm: &ArmHandle, error: ApiError) -> Self {
        let refusal = error.into_refusal();
        let Refusal { error, place, line: _, stale } = refusal;
        ArmResult { error: Some(error), place, stale, ..Self::new(arm) }
    }
}
