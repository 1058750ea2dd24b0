//! As much of S3 as a run uses: objects that are put, read, listed and deleted, with the conditions `If-Match` and `If-None-Match`. It
//! can cut connections within requests and answers, refuse connections, and deny access.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A server with the bucket `bucket`, for as long as the process lives.
pub struct S3Server {
    pub url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// By key: the version and the content.
    objects: Mutex<BTreeMap<String, (usize, Vec<u8>)>>,
    requests: AtomicUsize,
    puts: AtomicUsize,
    cuts: AtomicUsize,
    /// Cuts the connection at every so many requests; 0 for never.
    cut_every: AtomicUsize,
    refuse: AtomicBool,
    deny: AtomicBool,
}

impl S3Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                // A client that goes away ends its connection only.
                std::thread::spawn(move || while state.serve_one(&stream).is_some() {});
            }
        });
        S3Server { url, state }
    }

    pub fn cut_every(&self, requests: usize) {
        self.state.cut_every.store(requests, Ordering::Relaxed);
    }

    pub fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::Relaxed)
    }

    /// Number of objects that were put so far.
    pub fn puts(&self) -> usize {
        self.state.puts.load(Ordering::Relaxed)
    }

    pub fn refuse(&self, refuse: bool) {
        self.state.refuse.store(refuse, Ordering::Relaxed);
    }

    pub fn deny(&self, deny: bool) {
        self.state.deny.store(deny, Ordering::Relaxed);
    }

    /// Whether a `run.json` in this folder names such a file.
    pub fn names(&self, folder: &str, file: &str) -> bool {
        let objects = self.state.objects.lock().unwrap();
        objects.iter().any(|(key, (_, content))| {
            let is_run = key.contains(folder) && key.ends_with("/run.json");
            is_run && String::from_utf8_lossy(content).contains(file)
        })
    }

    /// All keys and contents as one text.
    pub fn everything(&self) -> String {
        let objects = self.state.objects.lock().unwrap();
        objects
            .iter()
            .map(|(key, (_, content))| format!("{key}\n{}\n", String::from_utf8_lossy(content)))
            .collect()
    }
}

impl State {
    /// Serves a request; `None` when the connection is over.
    fn serve_one(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let header = |name: &str| {
            let found = head.iter().skip(1).filter_map(|line| line.split_once(": "));
            found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
        if self.refuse.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let every = self.cut_every.load(Ordering::Relaxed);
        let cut = every > 0 && number.is_multiple_of(every);
        // In turn within the request and within the answer.
        if cut && (number / every).is_multiple_of(2) {
            self.cuts.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        reader.read_exact(&mut body).ok()?;
        let (method, target) = head[0].split_once(' ').unwrap();
        let target = target.split(' ').next().unwrap();
        let condition = (header("if-none-match"), header("if-match"));
        let mut answer = match self.deny.load(Ordering::Relaxed) {
            true => text(403, "<Error><Code>AccessDenied</Code></Error>"),
            false => self.answer(method, target, condition, body),
        };
        if cut {
            self.cuts.fetch_add(1, Ordering::Relaxed);
            answer.truncate(answer.len() / 2);
        }
        let mut stream = stream;
        stream.write_all(&answer).ok()?;
        (!cut).then_some(())
    }

    fn answer(
        &self,
        method: &str,
        target: &str,
        (none_match, matches): (Option<String>, Option<String>),
        body: Vec<u8>,
    ) -> Vec<u8> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let key = decoded(path.strip_prefix("/bucket").unwrap().trim_start_matches('/'));
        let mut objects = self.objects.lock().unwrap();
        let tag = |version: usize| format!("\"{version}\"");
        match method {
            "GET" if key.is_empty() => {
                let prefix =
                    query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
                let prefix = decoded(prefix);
                let found = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
                let found: String = found
                    .map(|(key, (version, content))| {
                        format!(
                            "<Contents><Key>{key}</Key><Size>{}</Size><ETag>{version}</ETag>\
                             <LastModified>2026-01-31T12:00:00.000Z</LastModified></Contents>",
                            content.len()
                        )
                    })
                    .collect();
                text(
                    200,
                    &format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"),
                )
            }
            "GET" => match objects.get(&key) {
                Some((version, content)) => respond(200, &tag(*version), content),
                None => text(404, "<Error><Code>NoSuchKey</Code></Error>"),
            },
            "PUT" => {
                let before = objects.get(&key).map(|(version, _)| tag(*version));
                let wrong =
                    none_match.is_some() && before.is_some() || matches.is_some() && matches != before;
                if wrong {
                    return text(412, "<Error><Code>PreconditionFailed</Code></Error>");
                }
                let version = self.puts.fetch_add(1, Ordering::Relaxed) + 1;
                objects.insert(key, (version, body));
                respond(200, &tag(version), b"")
            }
            "DELETE" => {
                objects.remove(&key);
                text(204, "")
            }
            // Several at once: every key of the list.
            "POST" => {
                let list = String::from_utf8(body).unwrap();
                for key in list.split("<Key>").skip(1) {
                    objects.remove(key.split("</Key>").next().unwrap());
                }
                text(200, "<DeleteResult></DeleteResult>")
            }
            other => panic!("{other} {target}"),
        }
    }
}

fn text(status: u16, body: &str) -> Vec<u8> {
    respond(status, "\"\"", body.as_bytes())
}

fn respond(status: u16, tag: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\netag: {tag}\r\nlast-modified: Sat, 31 Jan 2026 12:00:00 GMT\r\n\
         content-type: application/octet-stream\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A path or a value of a query without `%xx`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%')
            .then(|| u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
        bytes.push(hex.unwrap_or(first));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}
