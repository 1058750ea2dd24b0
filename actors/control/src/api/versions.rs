//! The versions of the conditions in the headers `ETag` and `If-Match`, by which a change made from a stale view is
//! refused.
//!
//! The tag of an arm is its version, as in `"3"`. The tag of the run is the versions of all arms in the order of the
//! state, as in `"3.0.-"`; an arm that is not trained by rewards has none. Either can be sent in `If-Match`.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};

use crate::error::ApiError;
use records::ArmId;
use run::{ArmHandle, ArmView, RunHandle};

/// A tag as a header of an answer.
pub(super) type Tag = [(HeaderName, HeaderValue); 1];

/// The tag of a version.
pub(super) fn tag(version: u64) -> Tag {
    header(&version.to_string())
}

/// The tag of a run with these arms.
pub(super) fn tag_of_run(arms: &[ArmView]) -> Tag {
    let versions: Vec<String> = arms
        .iter()
        .map(|arm| arm.conditions.as_ref().map_or_else(|| "-".into(), |found| found.version.to_string()))
        .collect();
    header(&versions.join("."))
}

fn header(versions: &str) -> Tag {
    let quoted = HeaderValue::try_from(format!("\"{versions}\""));
    [(ETAG, quoted.expect("digits, dots and dashes"))]
}

/// The versions from which the client made its change; `None` where it does not say.
pub(super) struct IfMatch(Option<Vec<Option<u64>>>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IF_MATCH) else { return Ok(IfMatch(None)) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(IfMatch(None));
        }
        let unread = || {
            ApiError::bad(
                "If-Match: give the ETag of an answer, such as \"3\" for an arm or \"3.0.-\" for the run",
            )
        };
        let version = |part: &str| match part {
            "-" => Ok(None),
            part => part.parse().map(Some).map_err(|_| unread()),
        };
        let bare = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        bare.split('.').map(version).collect::<Result<_, _>>().map(|versions| IfMatch(Some(versions)))
    }
}

impl IfMatch {
    /// The version of one arm.
    ///
    /// Errors: It has neither one version nor one for each arm of the run.
    pub fn of_arm(&self, run: &RunHandle, arm: &ArmHandle) -> Result<Option<u64>, ApiError> {
        match self.0.as_deref() {
            Some(&[version]) => Ok(version),
            _ => Ok(self.of_arms(run)?.remove(arm.id())),
        }
    }

    /// The versions of the arms that have one.
    ///
    /// Errors: It does not have one for each arm of the run.
    pub fn of_arms(&self, run: &RunHandle) -> Result<BTreeMap<ArmId, u64>, ApiError> {
        let Some(versions) = &self.0 else { return Ok(BTreeMap::new()) };
        let arms = run.arms();
        if arms.len() != versions.len() {
            return Err(ApiError::bad(format!(
                "If-Match: {} versions for {} arms; give the ETag of /api/state",
                versions.len(),
                arms.len()
            )));
        }
        let known =
            arms.iter().zip(versions).filter_map(|(arm, version)| Some((arm.id().clone(), (*version)?)));
        Ok(known.collect())
    }
}
