//! Checks every request before it reaches a route: its `Host`, its `Origin` and its token.
//!
//! - `GUARD-1` a request is refused unless its `Host` names this server. That defeats DNS rebinding, where a web page
//!   makes its own host name resolve to 127.0.0.1. An `Origin` header must equal the host.
//! - `GUARD-2` under `/api` nothing is read or done without the token, which is checked before the body is read.
//! - `GUARD-3` a head of more than 64 KiB is refused before any header is interpreted.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::listen::Token;

/// The largest head of a request, in bytes.
pub(super) const HEAD_BYTES: usize = 64 * 1024;

/// What a request must match.
#[derive(Debug)]
pub(super) struct Gate {
    pub token: Token,
    pub port: u16,
    /// Other machines may connect; then any IP address is accepted as host.
    pub remote: bool,
    /// Further host names from `control.hosts`, each with a port or valid for any port.
    pub hosts: Vec<String>,
}

impl Gate {
    /// Whether a `Host` header names this server.
    fn is_ours(&self, host: &str) -> bool {
        let listed = |name: &str| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
        let (name, port) = split_port(host);
        if listed(host) || listed(name) {
            return true;
        }
        if port.unwrap_or(80) != self.port {
            return false;
        }
        match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            // DNS rebinding needs a name; an address can't be rebound.
            Ok(ip) => ip.is_loopback() || self.remote,
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    fn host_and_origin(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) => host,
            _ => return Err(ApiError::forbidden("a request needs exactly one Host header")),
        };
        let named = uri.authority().map(|authority| authority.as_str());
        if !self.is_ours(host) || named.is_some_and(|named| !named.eq_ignore_ascii_case(host)) {
            return Err(ApiError::forbidden(
                "the Host header does not name this run; use the address it printed, or add the name to control.hosts",
            ));
        }
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default();
        let same = ["http://", "https://"]
            .iter()
            .filter_map(|scheme| origin.strip_prefix(scheme))
            .any(|origin| origin.eq_ignore_ascii_case(host));
        if same {
            Ok(())
        } else {
            Err(ApiError::forbidden("requests from pages of another origin are refused"))
        }
    }

    fn token(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.split_once(' '));
        match given {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && self.token.is(token.trim()) => {
                Ok(())
            }
            Some(_) => Err(ApiError::unauthorized(
                "this is not the token of this run; it is in control.json in the run directory",
            )),
            None => Err(ApiError::unauthorized(
                "the token is missing; send `Authorization: Bearer TOKEN` with the token in the run's control.json",
            )),
        }
    }
}

/// Splits `host:port`, `[::1]:port` or `host`.
fn split_port(host: &str) -> (&str, Option<u16>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            // Port 0 never equals the server's.
            (name, Some(port.parse().unwrap_or(0)))
        }
        _ => (host, None),
    }
}

fn head_size(request: &Request) -> Result<(), ApiError> {
    const AROUND_A_LINE: usize = ": \r\n".len();
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + AROUND_A_LINE;
    let headers: usize = request.headers().iter().map(line).sum();
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if headers + target <= HEAD_BYTES {
        return Ok(());
    }
    let error = "the head of the request is larger than 64 KiB; send fewer or shorter headers";
    Err(ApiError::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error))
}

/// Answers requests that fail a check. Adds to every answer the headers that forbid caching, framing and sniffing.
pub(super) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_api = path == "/api" || path.starts_with("/api/");
    let allowed = head_size(&request)
        .and_then(|()| gate.host_and_origin(request.uri(), request.headers()))
        .and_then(|()| if is_api { gate.token(request.headers()) } else { Ok(()) });
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
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

/// Headers of every answer. Their policy lets the page load its own files and nothing else.
const ALWAYS: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::Bound;

    fn gate(remote: bool, hosts: &[&str]) -> Gate {
        let bound = Bound::bind(&scenarios::ControlConfig::default()).unwrap().unwrap();
        let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
        Gate { token: bound.token, port: 8080, remote, hosts }
    }

    #[test]
    fn only_names_of_this_machine_with_our_port_are_ours() {
        let gate = gate(false, &["gpu1.lan", "localhost:9000"]);
        for ours in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "[::1]:8080",
            "127.9.9.9:8080",
            "gpu1.lan",
            "gpu1.lan:8080",
            "GPU1.lan:1",
            "localhost:9000",
        ] {
            assert!(gate.is_ours(ours), "{ours}");
        }
        for foreign in [
            "",
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "localhost:9001",
            "evil.example:8080",
            "10.0.0.1:8080",
            "localhost.evil.example:8080",
            "127.0.0.1:8080:8080",
            "127.0.0.1.evil.example:8080",
            "[::1]",
            "127.0.0.1:8080 ",
            "127.0.0.1:08o80",
            "::1:8080",
        ] {
            assert!(!gate.is_ours(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_remote_run_is_asked_by_any_address_but_not_by_any_name() {
        let gate = gate(true, &[]);
        assert!(gate.is_ours("10.0.0.1:8080"));
        assert!(!gate.is_ours("evil.example:8080") && !gate.is_ours("10.0.0.1:80"));
    }

    #[test]
    fn an_origin_is_the_host_itself() {
        let gate = gate(false, &[]);
        let allowed = |origin: Option<&'static str>, uri: &'static str| {
            let mut headers =
                HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("127.0.0.1:8080"))]);
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            gate.host_and_origin(&Uri::from_static(uri), &headers).is_ok()
        };
        assert!(allowed(None, "/") && allowed(Some("http://127.0.0.1:8080"), "/"));
        assert!(allowed(None, "http://127.0.0.1:8080/"));
        for origin in
            ["null", "http://evil.example", "http://127.0.0.1:8081", "http://localhost:8080", "file://"]
        {
            assert!(!allowed(Some(origin), "/"), "{origin}");
        }
        assert!(!allowed(None, "http://evil.example/"));
    }
}
