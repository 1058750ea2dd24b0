//! Checks every request before it reaches a route: its size, its `Host`, its origin and its token.
//!
//! - `GUARD-1` a request is refused unless its `Host` names this server. That defeats DNS rebinding, where a web page
//!   makes its own host name resolve to 127.0.0.1. An `Origin` header must equal the host, and `Sec-Fetch-Site` must not
//!   say that a page of another site made the request.
//! - `GUARD-2` without the token, which is checked before the body is read, a client gets the page's own files, the
//!   answer that the server is there, and nothing else.
//! - `GUARD-3` a head of more than 64 KiB or 100 headers is refused before any header is interpreted.
//! - `GUARD-4` wrong tokens are limited, see [`Guesses`]; the right one always works.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::guesses::Guesses;
use super::host::Hosts;
use super::listen::Token;
use super::page;
use super::places::Visitor;
use super::prometheus::HEALTH;

/// The largest head of a request, in bytes.
pub(super) const HEAD_BYTES: usize = 64 * 1024;

/// The most headers of a request.
const HEADERS: usize = 100;

/// Where a request comes from, as a browser says it: `same-origin`, `same-site`, `cross-site` or `none`.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a request must match.
pub(super) struct Gate {
    pub token: Token,
    pub hosts: Hosts,
    pub guesses: Guesses,
}

/// What a request says about the token.
#[derive(Debug, PartialEq)]
enum Proof {
    Right,
    Wrong,
    None,
}

impl Gate {
    fn host_and_origin(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) => host,
            _ => return Err(ApiError::forbidden("a request needs exactly one Host header")),
        };
        let named = uri.authority().map(|authority| authority.as_str());
        if !self.hosts.has(host) || named.is_some_and(|named| !named.eq_ignore_ascii_case(host)) {
            return Err(ApiError::forbidden(
                "the Host header does not name this run; use the address it printed, or add the name to control.hosts",
            ));
        }
        let same = |origin: &HeaderValue| {
            let origin = origin.to_str().unwrap_or_default();
            let of_scheme = |scheme: &str| origin.strip_prefix(scheme);
            ["http://", "https://"]
                .into_iter()
                .filter_map(of_scheme)
                .any(|origin| origin.eq_ignore_ascii_case(host))
        };
        if headers.get_all(header::ORIGIN).iter().all(same) {
            Ok(())
        } else {
            Err(ApiError::forbidden("requests from pages of another origin are refused"))
        }
    }

    fn proof(&self, headers: &HeaderMap) -> Proof {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else {
            return if headers.contains_key(header::AUTHORIZATION) { Proof::Wrong } else { Proof::None };
        };
        let given = value.to_str().ok().and_then(|value| value.split_once(' '));
        let is_right = given.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim())
        });
        if is_right { Proof::Right } else { Proof::Wrong }
    }

    /// The answer to a request without the token.
    fn refusal_of_token(&self, headers: &HeaderMap, visitor: &Visitor) -> Option<Response> {
        match self.proof(headers) {
            Proof::Right if visitor.has_token() => None,
            Proof::Right => {
                let error = "too many connections to this run are open; close some of them";
                Some(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error).into_response())
            }
            Proof::Wrong => Some(self.guesses.count(visitor.client).map_or_else(slow_down, |()| {
                let error = "this is not the token of this run; it is in control.json in the run directory";
                ApiError::unauthorized(error).into_response()
            })),
            Proof::None => {
                let error = "the token is missing; send `Authorization: Bearer TOKEN` with the token in the run's \
                             control.json";
                Some(ApiError::unauthorized(error).into_response())
            }
        }
    }

    /// The answer to a request that fails a check.
    fn refusal(&self, request: &Request, visitor: &Visitor) -> Option<Response> {
        let (uri, headers) = (request.uri(), request.headers());
        let is_of_page = page::has(uri.path());
        let checked = head_size(uri, headers)
            .and_then(|()| self.host_and_origin(uri, headers))
            .and_then(|()| if is_of_page { Ok(()) } else { own_site(headers) });
        match checked {
            Err(refused) => Some(refused.into_response()),
            Ok(()) if is_of_page || uri.path() == HEALTH => None,
            Ok(()) => self.refusal_of_token(headers, visitor),
        }
    }
}

/// The answer to a client that sends too many wrong tokens.
fn slow_down(wait: Duration) -> Response {
    let seconds = wait.as_secs() + 1;
    let error = format!(
        "too many wrong tokens; the right one is in control.json in the run directory, or wait {seconds} s"
    );
    let mut response = ApiError::new(StatusCode::TOO_MANY_REQUESTS, error).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Refuses what a browser sends on behalf of a page of another site, which includes other ports of this machine.
fn own_site(headers: &HeaderMap) -> Result<(), ApiError> {
    let is_own = |site: &HeaderValue| ["same-origin", "none"].iter().any(|own| site == own);
    if headers.get_all(SEC_FETCH_SITE).iter().all(is_own) {
        Ok(())
    } else {
        Err(ApiError::forbidden("requests from pages of another site are refused"))
    }
}

/// Whether a browser sent a request, as far as it says so.
pub(super) fn is_from_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}

fn head_size(uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    const AROUND_A_LINE: usize = ": \r\n".len();
    let too_large = |error: &str| Err(ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error));
    if headers.len() > HEADERS {
        return too_large("the request has more than 100 headers; send fewer");
    }
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + AROUND_A_LINE;
    let of_headers: usize = headers.iter().map(line).sum();
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if of_headers + target > HEAD_BYTES {
        return too_large("the head of the request is larger than 64 KiB; send fewer or shorter headers");
    }
    Ok(())
}

/// Answers requests that fail a check. Adds to every answer the headers that forbid caching, framing and sniffing.
pub(super) async fn guard(
    State(gate): State<Arc<Gate>>,
    Extension(visitor): Extension<Arc<Visitor>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match gate.refusal(&request, &visitor) {
        None => next.run(request).await,
        Some(refused) => refused,
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if CLOSES_CONNECTION.contains(&response.status()) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, value) in ALWAYS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Answers with these statuses close the connection, so that refused clients hold no connection that others need, and
/// the server does not wait for a body it will not read.
const CLOSES_CONNECTION: [StatusCode; 6] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// Headers of every answer. Their policy lets the page load its own files and nothing else: no script, style or handler
/// inside a document has an effect, and in browsers that know trusted types, no text can become markup.
const ALWAYS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), clipboard-read=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::listen::Bound;
    use crate::places::Places;

    fn gate() -> Gate {
        let bound = Bound::bind(&scenarios::ControlConfig::default()).unwrap().unwrap();
        let hosts = Hosts { port: 8080, remote: false, listed: Vec::new() };
        Gate { token: bound.token, hosts, guesses: Guesses::default() }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn an_origin_is_the_host_itself() {
        let gate = gate();
        let allowed = |origins: &[&str], uri: &'static str| {
            let mut headers = headers(&[("host", "127.0.0.1:8080")]);
            for origin in origins {
                headers.append(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            gate.host_and_origin(&Uri::from_static(uri), &headers).is_ok()
        };
        assert!(allowed(&[], "/") && allowed(&["http://127.0.0.1:8080"], "/"));
        assert!(allowed(&[], "http://127.0.0.1:8080/"));
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1:8081",
            "http://localhost:8080",
            "file://",
            "http://127.0.0.1:8080/",
            "http://127.0.0.1:8080 http://evil.example",
        ] {
            assert!(!allowed(&[origin], "/"), "{origin}");
            assert!(!allowed(&["http://127.0.0.1:8080", origin], "/"), "{origin} as the second one");
        }
        for uri in ["http://evil.example/", "http://127.0.0.1:8080@evil.example/", "http://x@127.0.0.1:8080/"]
        {
            assert!(!allowed(&[], uri), "{uri}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused_also_those_of_other_ports() {
        let allowed = |sites: &[&str]| {
            let lines: Vec<_> = sites.iter().map(|&site| ("sec-fetch-site", site)).collect();
            own_site(&headers(&lines)).is_ok()
        };
        assert!(allowed(&[]) && allowed(&["same-origin"]) && allowed(&["none"]));
        for sites in
            [&["cross-site"][..], &["same-site"], &[""], &["same-origin", "cross-site"], &["Same-Origin"]]
        {
            assert!(!allowed(sites), "{sites:?}");
        }
    }

    /// GUARD-4: after thousands of guesses the right token still works, for the same client.
    #[test]
    fn wrong_tokens_are_limited_and_the_right_one_never_is() {
        let gate = gate();
        let right = format!("Bearer {}", gate.token.reveal());
        let visitor = |client: u32| Arc::new(Places::default()).enter(IpAddr::V4(Ipv4Addr::from(client))).0;
        let status = |value: &str, visitor: &Visitor| {
            let refused = gate.refusal_of_token(&headers(&[("authorization", value)]), visitor);
            refused.map_or(200, |refused| refused.status().as_u16())
        };
        let one = visitor(1);
        let answers: Vec<u16> = (0..3_000).map(|n| status(&format!("Bearer {n:064x}"), &one)).collect();
        assert_eq!(answers[..10], [401; 10]);
        assert!(answers.iter().filter(|&&answer| answer == 429).count() > 2_900);
        let crowd: Vec<u16> = (2..500).map(|n| status("Bearer 0", &visitor(n))).collect();
        assert_eq!(crowd.last(), Some(&429), "over all clients too");
        for client in [1, 499, 7_000] {
            assert_eq!(status(&right, &visitor(client)), 200, "{client}");
        }
        assert_eq!(gate.proof(&headers(&[])), Proof::None);
        assert_eq!(
            gate.proof(&headers(&[("authorization", &right), ("authorization", &right)])),
            Proof::Wrong
        );
    }
}
