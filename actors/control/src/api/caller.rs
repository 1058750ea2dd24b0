//! The kind of client that sent a request, for the journal.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::versions::IfMatch;
use crate::error::ApiError;
use crate::protocol::CTL_AGENT;

/// `ctl`, `page` or `api`, as the journal records it in `by`.
pub(super) struct Caller(pub &'static str);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let is_ctl = agent.is_some_and(|agent| agent.starts_with(CTL_AGENT));
        // Browsers send the origin of the page with every request that changes something.
        let is_page = parts.headers.contains_key(header::ORIGIN);
        Ok(Caller(match (is_ctl, is_page) {
            (true, _) => "ctl",
            (_, true) => "page",
            _ => "api",
        }))
    }
}

/// Who asks for a change, and from which versions of the conditions.
pub(super) struct Asker {
    pub by: &'static str,
    pub if_match: IfMatch,
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Ok(Caller(by)) = Caller::from_request_parts(parts, state).await;
        Ok(Asker { by, if_match: IfMatch::from_request_parts(parts, state).await? })
    }
}
