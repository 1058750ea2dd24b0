//! An HTTP server whose answers are scripted, correct or wrong in every way in which a judge's server can fail.
//!
//! It writes to TCP directly, because no HTTP library lets a server misbehave like this.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does in response to a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers with this text as the model's reply.
    Say(String),
    /// Answers with this text after waiting.
    SayAfter(Duration, String),
    /// Answers with this status, these headers (each ended by `\r\n`) and this body.
    Status(u16, &'static str, String),
    /// Answers with status 200 and this body.
    Body(String),
    /// Sends these bytes, head and all, and closes the connection.
    Raw(Vec<u8>),
    /// Sends single bytes of an endless answer, slowly.
    Drip,
    /// Sends half of the announced content and closes the connection.
    Half(String),
    /// Closes the connection without an answer.
    Cut,
    /// Never answers, but keeps the connection open.
    Hang,
}

/// A request that the server received.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// Values of the headers by name, names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Value,
}

impl Request {
    /// The whole prompt: all messages of a chat joined, or the text of a completion request.
    pub fn prompt(&self) -> String {
        match self.body["messages"].as_array() {
            Some(turns) => turns.iter().map(|turn| text(&turn["content"])).collect(),
            None => self.body["prompt"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// The text of a turn, which may be a list of parts.
fn text(content: &Value) -> String {
    match content.as_array() {
        Some(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        None => content.as_str().unwrap().to_owned(),
    }
}

type Script = dyn Fn(usize, &Request) -> Act + Send + Sync;

/// A running server. It stops when dropped.
pub struct ScriptedServer {
    /// Its address up to `/v1`.
    pub url: String,
    asked: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
    held: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
    models: Arc<Mutex<Act>>,
    listening: JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl ScriptedServer {
    /// Starts a server. `script` gets the request and its number, from 0. Requests for `/models` are answered without
    /// it and not counted.
    pub async fn start(script: impl Fn(usize, &Request) -> Act + Send + Sync + 'static) -> Self {
        Self::start_with(Act::Body(r#"{"data": [{"id": "scripted"}]}"#.to_owned()), script).await
    }

    /// As [`start`](Self::start), with this answer to requests for `/models`.
    pub async fn start_with(
        models: Act,
        script: impl Fn(usize, &Request) -> Act + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let shared = Shared {
            script: Arc::new(script),
            models: Arc::new(Mutex::new(models)),
            asked: Arc::default(),
            now: Arc::default(),
            busiest: Arc::default(),
            held: Arc::default(),
            dead: Arc::default(),
        };
        let (asked, busiest, dead) = (shared.asked.clone(), shared.busiest.clone(), shared.dead.clone());
        let (held, models) = (shared.held.clone(), shared.models.clone());
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(shared.clone().serve(stream));
            }
        });
        Self { url, asked, busiest, held, dead, models, listening }
    }

    /// Number of requests received so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The largest number of requests that were in progress at the same time.
    pub fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }

    /// Total time that requests were in progress, from the last byte of the request to the last byte of the answer.
    pub fn held(&self) -> Duration {
        Duration::from_micros(self.held.load(Ordering::SeqCst))
    }

    /// From now on, answers requests for `/models` by this.
    pub fn list_models(&self, models: Act) {
        *self.models.lock().unwrap() = models;
    }

    /// From now on, closes every connection without an answer.
    pub fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    models: Arc<Mutex<Act>>,
    asked: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
    held: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
}

impl Shared {
    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = read(&mut stream).await {
            if self.dead.load(Ordering::SeqCst) {
                return;
            }
            if request.path.ends_with("/models") {
                let models = self.models.lock().unwrap().clone();
                if act(&mut stream, models).await {
                    continue;
                }
                return;
            }
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            self.busiest.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let began = Instant::now();
            let usable = act(&mut stream, (self.script)(number, &request)).await;
            self.held.fetch_add(began.elapsed().as_micros() as u64, Ordering::SeqCst);
            self.now.fetch_sub(1, Ordering::SeqCst);
            if !usable {
                return;
            }
        }
    }
}

/// Answers a request; returns whether the connection can be used for another.
async fn act(stream: &mut BufReader<TcpStream>, act: Act) -> bool {
    match act {
        Act::Say(reply) => write(stream, 200, "", &completion(&reply)).await,
        Act::SayAfter(wait, reply) => {
            tokio::time::sleep(wait).await;
            write(stream, 200, "", &completion(&reply)).await
        }
        Act::Status(status, headers, body) => write(stream, status, headers, &body).await,
        Act::Body(body) => write(stream, 200, "", &body).await,
        Act::Raw(bytes) => {
            // The client may have closed the connection.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            false
        }
        Act::Drip => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
            let mut open = stream.write_all(head.as_bytes()).await.is_ok();
            while open {
                open = stream.write_all(b" ").await.is_ok();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            false
        }
        Act::Half(reply) => {
            let body = completion(&reply);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let half = head + &body[..body.len() / 2];
            // The client may have closed the connection.
            let _ = stream.write_all(half.as_bytes()).await;
            false
        }
        Act::Cut => false,
        Act::Hang => std::future::pending().await,
    }
}

/// The API's JSON answer with this reply of the model.
pub fn completion(reply: &str) -> String {
    let choice = json!({
        "index": 0, "message": { "role": "assistant", "content": reply }, "text": reply, "finish_reason": "stop",
    });
    json!({ "choices": [choice], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } }).to_string()
}

pub async fn write(stream: &mut BufReader<TcpStream>, status: u16, headers: &str, body: &str) -> bool {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await.is_ok()
}

pub async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}
