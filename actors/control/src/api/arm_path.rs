//! The arm that a path names by `{arm}/{seed}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::error::ApiError;
use crate::shared::Shared;
use records::ArmId;
use run::{ArmHandle, RunHandle};

/// Extracts the arm that the path names.
pub(super) struct ArmPath(pub ArmHandle);

impl FromRequestParts<Arc<Shared>> for ArmPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, ApiError> {
        let Path(names) = Path::<BTreeMap<String, String>>::from_request_parts(parts, shared)
            .await
            .map_err(|error| ApiError::bad(error.body_text()))?;
        let (arm, seed) = (&names["arm"], &names["seed"]);
        let found = seed.parse().ok().and_then(|seed| shared.run.arm(&ArmId::new(arm.clone(), seed)));
        found.map(ArmPath).ok_or_else(|| no_arm(&shared.run, arm, seed))
    }
}

/// The refusal for an arm that does not exist.
pub(super) fn no_arm(run: &RunHandle, arm: &str, seed: &str) -> ApiError {
    let known: Vec<String> =
        run.arms().iter().map(|arm| format!("{}/{}", arm.id().arm, arm.id().seed)).collect();
    let known = known.join(", ");
    ApiError::not_found(format!("there is no arm `{arm}` with seed {seed}; the arms are {known}"))
}
