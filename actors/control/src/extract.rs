//! Extractors for the JSON body and the query string of a request. Both are bounded, and a refusal is one line. A body
//! that gives a key twice is refused, and so is one from a browser that is not declared as JSON.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::guard::is_from_browser;
use super::strict_json::Unambiguous;

/// The largest body, in bytes.
const BODY_BYTES: usize = 256 * 1024;

/// Longest wait for the whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The JSON body; an empty body is read as `{}`.
pub(super) struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        if is_from_browser(request.headers()) && !is_json(request.headers()) {
            let error = "the body must be declared as `content-type: application/json`";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error));
        }
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_BYTES as u64) {
            return Err(too_large());
        }
        let body = read(request.into_body()).await?;
        let body: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { &body };
        // A list would be read as an object whose fields are in order.
        if body.trim_ascii_start().first() == Some(&b'[') {
            return Err(ApiError::bad(
                "the body: write a JSON object, as in {\"weights\": {\"think\": 0.5}}",
            ));
        }
        let unusable = |error: serde_json::Error| ApiError::bad(format!("the body: {error}"));
        serde_json::from_slice::<Unambiguous>(body).map_err(unusable)?;
        serde_json::from_slice(body).map(JsonBody).map_err(unusable)
    }
}

/// Whether a body is declared as JSON. Forms, which other sites can have a browser send, can't declare that.
fn is_json(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = declared.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES).collect());
    match whole.await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::bad(format!("the body cannot be read: {error}"))),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive within 10 s")),
    }
}

fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 256 KiB")
}

/// The query string, parsed into a struct whose fields are its parameters.
pub(super) struct QueryParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryParams<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(params) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error: QueryRejection| ApiError::bad(error.body_text()))?;
        Ok(QueryParams(params))
    }
}
