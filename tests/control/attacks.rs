//! Attacks on the control channel of a real run, over raw connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use records::{Change, visible};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{Live, SCENARIO, answer};

/// Longest wait of a client for anything the server does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs blocking clients beside the server; returns the run.
async fn blocking(live: Live, attack: impl FnOnce(&Live) + Send + 'static) -> Live {
    let attacked = tokio::task::spawn_blocking(move || {
        attack(&live);
        live
    });
    attacked.await.unwrap()
}

/// A long run that has taken its first step.
async fn started() -> Live {
    let mut live = Live::start(&SCENARIO.replace("steps = 400", "steps = 100000")).await;
    live.step_taken(1).await;
    live
}

/// Everything the server sends until it closes the connection.
fn all_of(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    match stream.read_to_end(&mut received) {
        Ok(_) => {}
        // The server closed while bytes of ours were under way.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open: {error}"),
    }
    String::from_utf8_lossy(&received).into_owned()
}

/// Sends bytes; returns the status and the body of every answer until the server closes the connection.
fn exchange(live: &Live, bytes: &[u8]) -> Vec<(u16, String)> {
    let mut stream = live.connect();
    // The server may refuse it before all of it is written.
    let _ = stream.write_all(bytes);
    let text = all_of(&mut stream);
    let text = text.replace("HTTP/1.0 ", "HTTP/1.1 ");
    let answers = text.split("HTTP/1.1 ").skip(1);
    answers
        .map(|one| {
            let status = one.split(' ').next().and_then(|status| status.parse().ok()).unwrap_or(0);
            (status, one.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
        })
        .collect()
}

fn statuses(live: &Live, bytes: &[u8]) -> Vec<u16> {
    exchange(live, bytes).into_iter().map(|(status, _)| status).collect()
}

/// A request without the token, with these header lines.
fn bare(line: &str, headers: &str) -> Vec<u8> {
    format!("{line}\r\n{headers}Connection: close\r\n\r\n").into_bytes()
}

impl Live {
    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.file.token.expose_secret())
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }
}

/// The open files that this process may have.
fn open_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(usize::MAX)
}

/// SERVER-1: strangers that connect and say nothing never keep out a client that has the token, nor one that comes after
/// them, and do not use up the file descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    const WANTED: usize = 10_000;
    let live = blocking(started().await, |live| {
        let room = open_files().saturating_sub(2_000);
        let number = WANTED.min(room);
        if number < WANTED {
            eprintln!("only {number} of {WANTED} connections are tried: ulimit -n allows no more");
        }
        assert!(number > 600, "ulimit -n is too low for this test");
        let mut stream = live.connect();
        stream.write_all(&live.head("GET /api/events", "")).unwrap();
        assert_eq!(answer(&mut stream).0, 200);
        let mut idle = Vec::new();
        while idle.len() < number {
            idle.push(live.connect());
            // Half of them have begun a request.
            if idle.len() % 2 == 0 {
                let _ = idle.last_mut().unwrap().write_all(b"GET / HTTP/1.1\r\nHost: 127.");
            }
            if idle.len() % 1_000 == 0 {
                let asked = live.head("GET /api/state", "Connection: close\r\n");
                assert_eq!(statuses(live, &asked), [200], "with {} idle connections", idle.len());
                let page = bare("GET / HTTP/1.1", &format!("Host: {}\r\n", live.host()));
                assert_eq!(statuses(live, &page), [200], "the page, with {} idle connections", idle.len());
            }
        }
        // The first ones have made room.
        let mut first = idle.swap_remove(0);
        all_of(&mut first);
        // The stream of the owner is still open.
        statuses(live, &live.head("POST /api/pause", "Content-Length: 0\r\nConnection: close\r\n"));
        let mut received = String::new();
        let mut chunk = [0; 4096];
        while !received.contains("event: state") {
            let length = stream.read(&mut chunk).unwrap();
            assert!(length > 0, "the owner's stream was closed: {received}");
            received += &String::from_utf8_lossy(&chunk[..length]);
        }
    })
    .await;
    live.end().await;
}

/// Writes a byte now and then until the server has had enough; returns what it said.
fn drip(mut stream: TcpStream, begun: &[u8]) -> String {
    stream.write_all(begun).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    for _ in 0..600 {
        let _ = stream.write_all(b"x");
        match stream.read(&mut chunk) {
            Ok(0) => return String::from_utf8_lossy(&received).into_owned(),
            Ok(length) => received.extend(&chunk[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return String::from_utf8_lossy(&received).into_owned(),
        }
    }
    panic!("a slow client holds its connection: {}", String::from_utf8_lossy(&received));
}

/// SERVER-1: a request has to arrive in time, whichever part of it is slow; so has the next one.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_disconnected() {
    let live = blocking(started().await, |live| {
        let put = |length: &str| live.head("PUT /api/arms/a/3/weights", length);
        let chunked = [put("Transfer-Encoding: chunked\r\n"), b"5\r\n{\"a\"".to_vec()].concat();
        let begun: [(&str, Vec<u8>, &str); 6] = [
            ("a request line", b"GET /api/sta".to_vec(), ""),
            ("a header", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ".to_vec(), ""),
            ("a body", put("Content-Length: 100000\r\n"), "HTTP/1.1 408"),
            ("a chunked body", chunked, "HTTP/1.1 4"),
            (
                "a body that nobody reads",
                live.head("GET /api/state", "Content-Length: 100000\r\n"),
                "HTTP/1.1 200",
            ),
            (
                "a body without the token",
                bare(
                    "POST /api/stop HTTP/1.1",
                    &format!("Host: {}\r\nContent-Length: 9999\r\n", live.host()),
                ),
                "HTTP/1.1 401",
            ),
        ];
        std::thread::scope(|scope| {
            for (what, begun, expected) in begun {
                let stream = live.connect();
                scope.spawn(move || {
                    let said = drip(stream, &begun);
                    assert!(said.starts_with(expected), "{what}: {said}");
                });
            }
            // The next request of a connection has to arrive in time too.
            let mut idle = live.connect();
            idle.write_all(&live.head("GET /api/state", "")).unwrap();
            scope.spawn(move || assert!(all_of(&mut idle).starts_with("HTTP/1.1 200")));
        });
    })
    .await;
    assert_eq!(live.get("/api/journal").await["entries"], json!([]));
    live.end().await;
}

/// Clients that close their half, or vanish, free what they held.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_vanish_free_their_places() {
    let live = blocking(started().await, |live| {
        for round in 0..5 {
            // All 64 streams, each abandoned in one of three ways.
            let mut left_open = Vec::new();
            for n in 0..64 {
                let began = Instant::now();
                let stream = loop {
                    assert!(began.elapsed() < PATIENCE, "no stream becomes free in round {round}");
                    let mut stream = live.connect();
                    stream.write_all(&live.head("GET /api/events", "")).unwrap();
                    match answer(&mut stream).0 {
                        200 => break stream,
                        // The server has not noticed yet that those of the last round are gone.
                        503 => std::thread::yield_now(),
                        other => panic!("{other} in round {round}"),
                    }
                };
                match n % 3 {
                    0 => drop(stream),
                    1 => stream.shutdown(Shutdown::Both).unwrap(),
                    _ => {
                        stream.shutdown(Shutdown::Write).unwrap();
                        left_open.push(stream);
                    }
                }
            }
        }
    })
    .await;
    live.end().await;
}

/// What some servers take for two requests is one, or none.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_smuggled_in_another() {
    let live = blocking(started().await, |live| {
        let smuggled = String::from_utf8(live.head("POST /api/stop", "Content-Length: 0\r\n")).unwrap();
        let host = live.host();
        let (bearer, length) = (live.bearer(), smuggled.len());
        // The second request is behind the end of a chunked body, and inside a body by its length: the answer to the first
        // one ends the connection.
        for headers in [
            format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", length + 5),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", length + 5),
            format!("Content-Length: 4\r\ntransfer-encoding: Chunked\r\nContent-Length: {length}\r\n"),
        ] {
            let request = format!("GET /api/state HTTP/1.1\r\nHost: {host}\r\n{bearer}{headers}\r\n0\r\n\r\n{smuggled}");
            assert_eq!(statuses(live, request.as_bytes()).len(), 1, "{headers}");
        }
        for headers in [
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: 4, 5\r\n",
            "Content-Length: +4\r\n",
            "Content-Length: -4\r\n",
            "Content-Length: 0x4\r\n",
            "Content-Length: 4 4\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Content-Length: \r\n",
            "Content-Length : 4\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
            "X: a\r\n b: c\r\n",
            "X: a\rb\r\n",
            "X: a\0b\r\n",
        ] {
            let request = format!("PUT /api/arms/a/3/weights HTTP/1.1\r\nHost: {host}\r\n{bearer}{headers}\r\n{{}}{{}}{smuggled}");
            let found = statuses(live, request.as_bytes());
            assert!(matches!(found[..], [400] | [413]), "{headers:?}: {found:?}");
        }
        for body in ["ffffffffffffffff1\r\n", "-1\r\n", "5\r\n{}\r\n", "x\r\n", "2;\n{}\r\n", "2\r\n{}0\r\n"] {
            let head = live.head("PUT /api/arms/a/3/weights", "Transfer-Encoding: chunked\r\n");
            let found = statuses(live, &[head, body.as_bytes().to_vec(), smuggled.clone().into_bytes()].concat());
            assert!(matches!(found[..], [400] | []), "{body:?}: {found:?}");
        }
        let old = format!("GET /api/state HTTP/1.0\r\nHost: {host}\r\n{bearer}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        assert_eq!(statuses(live, old.as_bytes()), [400]);
    })
    .await;
    assert_eq!(live.get("/api/journal").await["entries"], json!([]), "nothing was stopped");
    live.end().await;
}

/// Requests that are sent without waiting for answers are answered in order, each by itself checked for the token.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let mut live = blocking(started().await, |live| {
        let get = live.head("GET /api/arms/a/3/weights", "");
        let last = live.head("GET /api/openapi.json", "Connection: close\r\n");
        let found = statuses(live, &[get.repeat(300), last].concat());
        assert_eq!(found, [200; 301]);
        let put = |value: usize| {
            let body = format!("{{\"bonus\": {value}}}");
            let head = live.head("PUT /api/arms/a/3/weights", &format!("Content-Length: {}\r\n", body.len()));
            [head, body.into_bytes()].concat()
        };
        // The arm is paused, so each change is in force at once.
        statuses(live, &live.head("POST /api/pause", "Content-Length: 0\r\nConnection: close\r\n"));
        let last = live.head("GET /api/arms/a/3/weights", "Connection: close\r\n");
        let answers = exchange(live, &[(1..=20).flat_map(put).collect(), last].concat());
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        assert!(answers.last().unwrap().1.contains("20.0"), "{answers:?}");
        // The first request without the token ends the connection.
        let stranger = bare("GET /api/state HTTP/1.1", &format!("Host: {}\r\n", live.host()));
        let found = statuses(
            live,
            &[live.head("GET /api/state", ""), stranger, live.head("POST /api/stop", "")].concat(),
        );
        assert_eq!(found, [200, 401]);
        // A client that sends requests but reads no answer is not read from for ever.
        let mut deaf = live.connect();
        deaf.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let flood = live.head("GET /api/openapi.json", "").repeat(100);
        let taken = (0..1_000).take_while(|_| deaf.write_all(&flood).is_ok()).count();
        assert!(taken < 1_000, "100,000 requests were read without an answer being taken");
    })
    .await;
    let entries = live.get("/api/journal").await["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 21, "the pause and twenty changes");
    live.post("/api/resume", json!({})).await;
    live.step_taken(3).await;
    live.end().await;
}

/// GUARD-2: without the token no spelling of a path reaches anything; with it, none reaches a file.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_gets_around_the_token_or_to_a_file() {
    let live = blocking(started().await, |live| {
        let host = format!("Host: {}\r\n", live.host());
        let long = format!("/{}", "a".repeat(60_000));
        let longer = format!("/{}", "a".repeat(66_000));
        let targets = [
            "//api/state",
            "/api//state",
            "/api/state/",
            "/API/state",
            "/%61pi/state",
            "/api%2fstate",
            "/./api/state",
            "/x/../api/state",
            "/api/./state",
            "/api/x/../state",
            "/api/state;x=1",
            "/;/api/state",
            "/api/state%00",
            "/%00/api/state",
            "/api/state%20",
            "/api\\state",
            "\\api\\state",
            "/api/state.json",
            "/api",
            "/api/",
            "/..",
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/..%2f..%2fetc%2fpasswd",
            "/..%5c..%5cetc",
            "/%252e%252e/etc/passwd",
            "/..%c0%af..%c0%afetc/passwd",
            "/....//....//etc/passwd",
            "//etc/passwd",
            "///etc/passwd",
            "/file:///etc/passwd",
            "/main.js/",
            "/main.js%00",
            "/main.js/../../Cargo.toml",
            "/MAIN.JS",
            "/index.html",
            "/control.json",
            "/run.log",
            "/scenario.toml",
            "/a/seed-3/metrics.jsonl",
            "/api/audio/..%2f..%2f..%2fetc%2fpasswd",
            "/api/audio/%2fetc%2fpasswd",
            "/api/audio/clip-0%00",
            "/api/audio/clip-%30%30",
            "/api/audio/clip-+1",
            "/api/clips/..%2f..%2fetc%2fpasswd/heard.wav",
            "/api/clips/%2fetc%2fpasswd/mel.png",
            "/api/clips/clip-0/../../audio",
            "/api/clips/clip-0/passwd",
            "/api/arms/..%2f../3/evals",
            "/api/arms/%2e%2e/3/evals",
            "/api/arms/a%2f..%2fa/3/evals",
            "/api/arms/a%00/3/evals",
            "/api/arms/./3/metrics",
            "/api/arms/a/3%00/evals",
            "/api/arms/a/0x3/evals",
            "/api/arms/a/3.0/evals",
            "/api/arms/a/99999999999999999999/evals",
            "/api/arms/%FF%FE/3/evals",
            "/api/arms/%e2%80%aea/3/evals",
            "/api/arms/%1b%5b2J/3/evals",
            "/api/arms/%zz/3/evals",
            "*",
            "",
            &long,
            &longer,
        ];
        for target in targets {
            let shown: String = target.chars().take(60).collect();
            let stranger = exchange(live, &bare(&format!("GET {target} HTTP/1.1"), &host));
            let status = stranger.first().map_or(0, |answer| answer.0);
            assert!(matches!(status, 0 | 400 | 401 | 403 | 414 | 431), "{shown} without the token: {status}");
            let known =
                exchange(live, &bare(&format!("GET {target} HTTP/1.1"), &(host.clone() + &live.bearer())));
            let (status, body) = known.first().cloned().unwrap_or_default();
            assert!(
                matches!(status, 0 | 400 | 403 | 404 | 405 | 414 | 431),
                "{shown} with the token: {status} {body}"
            );
            assert!(!body.contains("root:") && body.chars().count() < 5_000, "{shown}: {body}");
            assert_eq!(visible(&body), body, "{shown}");
        }
        for line in [
            "GET /\0 HTTP/1.1",
            "GET /a b HTTP/1.1",
            "GET / HTTP/9.9",
            "GET /",
            "PRI * HTTP/2.0",
            "\u{16}\u{3}\u{1}",
            "G\0T / HTTP/1.1",
            "GET /\u{7f} HTTP/1.1",
        ] {
            let found = statuses(live, &bare(line, &(host.clone() + &live.bearer())));
            assert!(matches!(found[..], [400] | [404] | [505] | []), "{line:?}: {found:?}");
        }
        for method in ["TRACE", "CONNECT", "OPTIONS", "DELETE", "PATCH", "HEAD", "PROPFIND", "get"] {
            for target in ["/api/state", "/api/stop", "*", "127.0.0.1:22"] {
                let found = statuses(live, &bare(&format!("{method} {target} HTTP/1.1"), &host));
                assert!(matches!(found[..], [400] | [401] | [403]), "{method} {target}: {found:?}");
            }
        }
    })
    .await;
    assert_eq!(live.get("/api/journal").await["entries"], json!([]));
    live.end().await;
}

/// GUARD-1: DNS rebinding, and every way to say two hosts at once.
#[tokio::test(flavor = "multi_thread")]
async fn only_requests_that_name_this_run_are_answered() {
    let live = blocking(started().await, |live| {
        let port = live.port();
        let bearer = live.bearer();
        let ask = |target: &str, hosts: &[&str]| {
            let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
            let found = statuses(live, &bare(&format!("GET {target} HTTP/1.1"), &(hosts + &bearer)));
            found.first().copied().unwrap_or(0)
        };
        let ours = format!("127.0.0.1:{port}");
        for host in
            [ours.clone(), format!("localhost:{port}"), format!("LocalHost:{port}"), format!("[::1]:{port}")]
        {
            assert_eq!(ask("/api/state", &[&host]), 200, "{host}");
            assert_eq!(ask(&format!("http://{host}/api/state"), &[&host]), 200, "http://{host}");
        }
        for host in [
            "evil.example".to_owned(),
            format!("evil.example:{port}"),
            format!("127.0.0.1.evil.example:{port}"),
            format!("localhost.:{port}"),
            format!("localhost.evil.example:{port}"),
            format!("evil.example@localhost:{port}"),
            format!("localhost:{port}@evil.example"),
            format!("0.0.0.0:{port}"),
            format!("127.1:{port}"),
            format!("2130706433:{port}"),
            format!("[::ffff:10.0.0.1]:{port}"),
            format!("[::]:{port}"),
            format!("::1:{port}"),
            format!("127.0.0.1:{}", port ^ 1),
            format!("127.0.0.1:0{port}"),
            format!("127.0.0.1:+{port}"),
            format!("127.0.0.1:{port}, evil.example"),
            format!("127.0.0.1:{port} evil.example"),
            format!("//127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}"),
            "127.0.0.1".to_owned(),
            String::new(),
            "\u{ff}".to_owned(),
        ] {
            assert!(matches!(ask("/api/state", &[&host]), 400 | 403), "{host}");
            assert!(matches!(ask("/", &[&host]), 400 | 403), "the page for {host}");
            assert!(matches!(ask(&format!("http://{host}/api/state"), &[&ours]), 400 | 403), "http://{host}");
        }
        assert_eq!(ask("/api/state", &[]), 403, "no host");
        assert_eq!(ask("/api/state", &[&ours, &ours]), 403, "two hosts");
        assert_eq!(ask("/api/state", &[&ours, "evil.example"]), 403, "two hosts");
        let old = format!("GET /api/state HTTP/1.0\r\n{bearer}\r\n");
        assert_eq!(statuses(live, old.as_bytes()), [403], "no host in HTTP/1.0");
    })
    .await;
    live.end().await;
}

/// GUARD-1: what a page of another site can have a browser send, also if that page had the token.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_can_do_nothing() {
    let live = blocking(started().await, |live| {
        let (own, stranger) = (format!("http://{}", live.host()), "http://evil.example".to_owned());
        let json = "Content-Type: application/json\r\n";
        let send = |headers: &str| {
            let body = "{\"weights\": {\"bonus\": 9}}";
            let head = live.head("POST /api/arms/a/3/change", &format!("{headers}Content-Length: {}\r\nConnection: close\r\n", body.len()));
            statuses(live, &[head, body.as_bytes().to_vec()].concat())
        };
        for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", "text/plain; application/json"] {
            assert_eq!(send(&format!("Origin: {own}\r\nContent-Type: {form}\r\n")), [415], "{form}");
            assert_eq!(send(&format!("Origin: {stranger}\r\nContent-Type: {form}\r\n")), [403], "{form}");
        }
        assert_eq!(send(&format!("Sec-Fetch-Site: same-origin\r\nOrigin: {own}\r\n")), [415], "no type");
        for site in ["cross-site", "same-site", "", "SAME-ORIGIN"] {
            assert_eq!(send(&format!("{json}Sec-Fetch-Site: {site}\r\n")), [403], "{site}");
        }
        for origin in ["null", "", "http://127.0.0.1", &format!("http://localhost:{}", live.port()), &format!("{own}.evil.example")] {
            assert_eq!(send(&format!("{json}Origin: {origin}\r\n")), [403], "{origin}");
        }
        // A form has no token.
        let form = format!("Host: {}\r\nOrigin: {own}\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n", live.host());
        assert_eq!(statuses(live, &bare("POST /api/stop HTTP/1.1", &form)), [401]);
        let query = format!("POST /api/stop?token={} HTTP/1.1", live.file.token.expose_secret());
        assert_eq!(statuses(live, &bare(&query, &form)), [401], "a token in the address is none");
        let cookie = format!("{form}Cookie: token={0}; Authorization=Bearer {0}\r\n", live.file.token.expose_secret());
        assert_eq!(statuses(live, &bare("POST /api/stop HTTP/1.1", &cookie)), [401], "nor in a cookie");
        // There is nothing to upgrade to.
        for protocol in ["websocket", "h2c", "HTTP/2.0, SHTTP/1.3, IRC/6.9"] {
            let upgrade = format!("Upgrade: {protocol}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n");
            let asked = format!("GET /api/state HTTP/1.1\r\nHost: {}\r\n{}{upgrade}Connection: close, Upgrade, HTTP2-Settings\r\n\r\n", live.host(), live.bearer());
            assert_eq!(statuses(live, asked.as_bytes()), [200], "{protocol}");
        }
        // The journal says by whom; the page's own requests still work.
        assert_eq!(send(&format!("{json}Origin: {own}\r\nSec-Fetch-Site: same-origin\r\n")), [200]);
    })
    .await;
    assert_eq!(live.get("/api/journal").await["entries"].as_array().unwrap().len(), 1);
    live.end().await;
}

/// GUARD-3, GUARD-4: heads with too much in them, and guesses at the token.
#[tokio::test(flavor = "multi_thread")]
async fn floods_of_headers_and_of_guesses_are_refused_and_the_owner_is_not() {
    let live = blocking(started().await, |live| {
        for (number, expected) in
            [(90, 200), (101, 431), (500, 431), (1_000, 431), (5_000, 431), (40_000, 431)]
        {
            let many: String = (0..number).map(|n| format!("x{n}: \r\n")).collect();
            let found = statuses(live, &live.head("GET /api/state", &format!("{many}Connection: close\r\n")));
            assert_eq!(found, [expected], "{number} headers");
        }
        let same = "x: y\r\n".repeat(200);
        assert_eq!(statuses(live, &live.head("GET /api/state", &same)), [431], "one header 200 times");
        let name = format!("{}: x\r\n", "n".repeat(70_000));
        assert!(
            matches!(statuses(live, &live.head("GET /api/state", &name))[..], [400 | 431]),
            "a long name"
        );

        let guess = |token: &str| {
            exchange(
                live,
                &bare(
                    "GET /api/state HTTP/1.1",
                    &format!("Host: {}\r\nAuthorization: Bearer {token}\r\n", live.host()),
                ),
            )
        };
        let right = live.file.token.expose_secret();
        let near: String = right.chars().rev().collect();
        for wrong in [
            "",
            "0",
            &right[..63],
            &format!("{right}0"),
            &right.to_uppercase(),
            &near,
            &format!("{right},{right}"),
            &format!("{right} x"),
        ] {
            assert!(matches!(guess(wrong)[0].0, 401 | 429), "{wrong}");
        }
        let answers: Vec<u16> = (0..300).map(|n| guess(&format!("{n:064x}"))[0].0).collect();
        assert!(answers.iter().filter(|&&status| status == 429).count() > 200, "{answers:?}");
        assert!(answers.iter().all(|status| matches!(status, 401 | 429)), "{answers:?}");
        assert_eq!(guess(right)[0].0, 200, "the owner's own client is not locked out");
    })
    .await;
    live.end().await;
}

/// Bodies of every wrong form at every route that takes one: refused in one line, never an error of the server.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_refused_by_every_route() {
    let mut live = started().await;
    let document = live.get("/api/openapi.json").await;
    let nested = format!("{}1{}", "{\"weights\": ".repeat(5_000), "}".repeat(5_000));
    let long = format!("{{\"weights\": {{\"{}\": 1}}, \"formula\": 3}}", "n".repeat(200_000));
    let items = format!("[{}0]", "0,".repeat(100_000));
    let bodies = [
        "[]",
        "\"x\"",
        "0",
        "true",
        "null",
        "[[]]",
        "{",
        "{\"a\":}",
        "NaN",
        "{\"weights\": NaN}",
        "{\"n\": Infinity}",
        "{\"n\": -1}",
        "{\"n\": 1e400}",
        "{\"n\": 1.5}",
        "{\"n\": \"1\"}",
        "{\"n\": 18446744073709551616}",
        "{\"weights\": {\"bonus\": 1e400}}",
        "{\"bonus\": 1e400}",
        "{\"bonus\": \"1\"}",
        "{\"bonus\": null}",
        "{\"weights\": {\"bonus\": 1, \"bonus\": 2}}",
        "{\"bonus\": 1, \"bonus\": 2}",
        "{\"reason\": 1}",
        "{\"reason\": \"a\", \"reason\": \"b\"}",
        "{\"arms\": [[\"a\"]]}",
        "{\"arms\": [[\"a\", -3]]}",
        "{\"arms\": [[\"a\", 3, 3]]}",
        "{\"arms\": \"a\"}",
        "{\"arms\": [[\"..\", 3]]}",
        "{\"change\": {}, \"change\": {}}",
        "{\"formula\": \"a\", \"formula\": \"b\"}",
        "{\"formula\": [\"accuracy\"]}",
        "{\"formula\": \"accuracy\\u0000\"}",
        "{\"formula\": \"accuracy + \\u202e1\"}",
        "{\"rewards\": {\"x\": {\"kind\": \"format\"}, \"x\": null}}",
        "{\"kind\": \"format\", \"kind\": \"accuracy\"}",
        "{\"unknown\": 1}",
        &nested,
        &long,
        &items,
    ];
    let (mut refused, mut routes) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{arm}", "a").replace("{seed}", "3").replace("{name}", "x");
        for (method, operation) in methods.as_object().unwrap() {
            if operation["requestBody"].is_null() {
                continue;
            }
            routes += 1;
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for body in bodies {
                let sent = live.request(method.clone(), &path).body(body.to_owned()).send().await.unwrap();
                let (status, answer) = (sent.status(), sent.text().await.unwrap());
                let shown = format!(
                    "{method} {path} {}: {status} {answer}",
                    body.chars().take(80).collect::<String>()
                );
                // `formula/check` answers what is wrong with a formula; a list without members is a valid set of weights.
                if status.is_success() {
                    assert!(path.ends_with("check") && answer.contains("\"ok\":false"), "{shown}");
                    continue;
                }
                assert!(status.is_client_error(), "{shown}");
                let refusal: Value = serde_json::from_str(&answer).unwrap();
                let error = refusal["error"].as_str().unwrap();
                assert!(
                    !error.is_empty() && error.lines().count() == 1 && error.chars().count() <= 4_001,
                    "{shown}"
                );
                assert_eq!(visible(error), error);
                refused += 1;
            }
        }
    }
    assert!(routes >= 12 && refused > 12 * 35, "{refused} of {routes} routes");
    assert_eq!(live.get("/api/journal").await["entries"], json!([]));
    live.step_taken(3).await;
    live.end().await;
}

/// Names that are paths, invisible, reversed, huge or markup; weights as large as numbers get.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_and_numbers_do_no_harm() {
    let mut live = started().await;
    let long = "n".repeat(5_000);
    for name in [
        "..",
        ".",
        "...",
        "a/b",
        "../../x",
        "/etc/passwd",
        "a\u{0}b",
        "a\u{1b}[2J",
        "a\u{202e}b",
        "\u{200f}a",
        "<img src=x onerror=alert(1)>",
        "a\"b",
        "a\\b",
        "a\nb",
        " a",
        "",
        &long,
    ] {
        let body = json!({"rewards": {name: {"kind": "format"}}});
        let (status, answer) = live.send(Method::POST, "/api/arms/a/3/change", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name:?}: {answer}");
        let error = answer["error"].as_str().unwrap();
        assert!(
            error.lines().count() == 1 && visible(error) == error && error.len() < 1_000,
            "{name:?}: {error:?}"
        );
    }
    let huge = json!({"rewards": {"n".repeat(10_000_000): {"kind": "format"}}});
    let sent = live.request(Method::POST, "/api/arms/a/3/change").json(&huge).send().await;
    // The refusal may come while the client is still writing.
    assert!(sent.is_err() || sent.unwrap().status() == StatusCode::PAYLOAD_TOO_LARGE, "a name of 10 MB");
    let reason = "\u{1b}[2J\u{202e}<script>\nby hand";
    let view = live.post("/api/arms/a/3/pause", json!({"reason": reason})).await;
    assert!(view["error"].is_null(), "{view}");
    let too_long = json!({"reason": "r".repeat(1_001)});
    assert_eq!(live.send(Method::POST, "/api/pause", &too_long).await.0, StatusCode::BAD_REQUEST);
    let journal = loop {
        let journal = live.get("/api/journal").await;
        if journal["entries"] != json!([]) {
            break journal;
        }
    };
    assert_eq!(journal["entries"][0]["note"], "\\u001b[2J\\u202e<script> by hand");
    // The names that objects of JavaScript have already are names like any other.
    for name in ["__proto__", "constructor", "toString"] {
        let body = json!({"rewards": {name: {"kind": "format"}}, "join_formula": {name: {"weight": 0.5}}});
        live.post("/api/arms/a/3/change", body).await;
    }
    // The largest numbers there are: rewards are missing where they are not finite, and the run goes on.
    live.post(
        "/api/arms/a/3/change",
        json!({"weights": {"bonus": f64::MAX, "format": f64::MAX, "__proto__": -f64::MAX}}),
    )
    .await;
    let applied = live
        .post("/api/arms/a/3/change", json!({"weights": {"bonus": f64::MIN_POSITIVE, "format": 5e-324}}))
        .await;
    assert_eq!(applied["version"], 5);
    live.post("/api/arms/a/3/change", json!({"weights": {"bonus": f64::MAX, "format": f64::MAX}})).await;
    let before = live.get("/api/state").await["arms"][0]["step"].as_u64().unwrap();
    live.post("/api/step", json!({"n": u64::MAX})).await;
    live.step_taken(before + 2).await;
    let state = live.get("/api/state").await;
    assert_eq!(state["arms"][0]["status"], "running", "{state}");
    // What was written can be read again.
    let journal = std::fs::read_to_string(live.run_dir().join("control.jsonl")).unwrap();
    for line in journal.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let _: Option<Change> = serde_json::from_value(entry["change"].clone()).unwrap();
    }
    live.end().await;
}
