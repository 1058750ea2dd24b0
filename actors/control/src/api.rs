//! Every route under `/api`.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use serde_json::Value;

use super::openapi::Api;
use super::shared::Shared;

mod conditions;
mod conduct;
mod records;
mod state;
mod wanted;

pub(super) use state::ActorTree;

/// The routes, and the OpenAPI document that describes them.
pub(super) fn routes() -> (Router<Arc<Shared>>, Value) {
    records::routes(conduct::routes(conditions::routes(state::routes(Api::new())))).finish()
}

/// Who asks, as the journal names them.
struct By(&'static str);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let is_ctl = agent.is_some_and(|agent| agent.starts_with(super::CTL_AGENT));
        // Browsers say where a request that changes something comes from.
        let is_page = parts.headers.contains_key(header::ORIGIN);
        Ok(By(match (is_ctl, is_page) {
            (true, _) => "ctl",
            (_, true) => "page",
            _ => "api",
        }))
    }
}
