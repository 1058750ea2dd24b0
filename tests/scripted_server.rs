//! An HTTP server that answers by script, rightly and in every wrong way that a judge's server may.
//!
//! By hand over TCP, because most of what it does no HTTP library lets a server do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers with this text as the model's reply.
    Say(String),
    /// Answers like that after a while.
    SayAfter(Duration, String),
    /// Answers with this status, these headers (each ended by `\r\n`) and this body.
    Status(u16, &'static str, String),
    /// Answers 200 with a body of its own.
    Body(String),
    /// Sends a byte of the answer now and then, without end.
    Drip,
    /// Sends half of what it announced and closes.
    Half(String),
    /// Closes at once.
    Cut,
    /// Never answers.
    Hang,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// Its body.
    pub body: Value,
}

impl Asked {
    /// All its prompt.
    pub fn prompt(&self) -> String {
        match self.body["messages"].as_array() {
            Some(turns) => turns.iter().map(|turn| turn["content"].as_str().unwrap()).collect(),
            None => self.body["prompt"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

type Script = dyn Fn(usize, &Asked) -> Act + Send + Sync;

/// The server; it ends when dropped.
pub struct ScriptedServer {
    /// Its address up to `/v1`.
    pub url: String,
    asked: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
    held: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
    listening: JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl ScriptedServer {
    /// Serves by `script`, which is given the number of the request, from 0. Requests for `/models` are not counted.
    pub async fn start(script: impl Fn(usize, &Asked) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let shared = Shared {
            script: Arc::new(script),
            asked: Arc::default(),
            now: Arc::default(),
            busiest: Arc::default(),
            held: Arc::default(),
            dead: Arc::default(),
        };
        let (asked, busiest, dead) = (shared.asked.clone(), shared.busiest.clone(), shared.dead.clone());
        let held = shared.held.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                tokio::spawn(shared.clone().serve(stream));
            }
        });
        Self { url, asked, busiest, held, dead, listening }
    }

    /// Requests so far.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The most requests that were in hand at once.
    pub fn busiest(&self) -> usize {
        self.busiest.load(Ordering::SeqCst)
    }

    /// How long requests were in hand, all together: from their last byte to the last one of their answer.
    pub fn held(&self) -> Duration {
        Duration::from_micros(self.held.load(Ordering::SeqCst))
    }

    /// From now on every connection is closed unanswered.
    pub fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Shared {
    script: Arc<Script>,
    asked: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    busiest: Arc<AtomicUsize>,
    held: Arc<AtomicU64>,
    dead: Arc<AtomicBool>,
}

impl Shared {
    async fn serve(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(asked) = read(&mut stream).await {
            if self.dead.load(Ordering::SeqCst) {
                return;
            }
            if asked.path.ends_with("/models") {
                write(&mut stream, 200, "", r#"{"data": [{"id": "scripted"}]}"#).await;
                continue;
            }
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            self.busiest.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let began = Instant::now();
            let goes_on = act(&mut stream, (self.script)(number, &asked)).await;
            self.held.fetch_add(began.elapsed().as_micros() as u64, Ordering::SeqCst);
            self.now.fetch_sub(1, Ordering::SeqCst);
            if !goes_on {
                return;
            }
        }
    }
}

/// Returns whether the connection is still of use.
async fn act(stream: &mut BufReader<TcpStream>, act: Act) -> bool {
    match act {
        Act::Say(reply) => write(stream, 200, "", &completion(&reply)).await,
        Act::SayAfter(wait, reply) => {
            tokio::time::sleep(wait).await;
            write(stream, 200, "", &completion(&reply)).await
        }
        Act::Status(status, headers, body) => write(stream, status, headers, &body).await,
        Act::Body(body) => write(stream, 200, "", &body).await,
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
            // The other side may have gone.
            let _ = stream.write_all(half.as_bytes()).await;
            false
        }
        Act::Cut => false,
        Act::Hang => std::future::pending().await,
    }
}

/// What the API answers around a model's reply.
pub fn completion(reply: &str) -> String {
    let choice = json!({
        "index": 0, "message": { "role": "assistant", "content": reply }, "text": reply, "finish_reason": "stop",
    });
    json!({ "choices": [choice], "usage": { "prompt_tokens": 100, "completion_tokens": 10 } }).to_string()
}

async fn write(stream: &mut BufReader<TcpStream>, status: u16, headers: &str, body: &str) -> bool {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await.is_ok()
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
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
    Some(Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() })
}
