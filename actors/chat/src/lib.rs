//! A client of servers with OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, transformers serve, OpenAI's own, …
//!
//! A [`Chat`] sends [`Request`]s and returns [`Answer`]s. The judge behind a server, the evaluation of a server and the
//! annotation of data all ask through it; they word the request and read the answer, and everything between is here:
//! `client` sends a request, `servers` selects the server, `limits` bounds the rate, `answer` and `complaint` read what
//! comes back, and `models` what the server has.
//!
//! - `OPENAI-1` a request ends in an answer or in one cause, that of its last attempt; only time-outs, broken
//!   connections, 429 and 5xx, also in a body with status 200, are retried, with jittered delays that double.
//! - `OPENAI-2` over all who share a client, at most `concurrency` requests are in flight, and no more per minute than the
//!   limits allow. A request that waits for its next attempt does not count as in flight.
//! - `OPENAI-3` a server that fails is not used for a while if another one is healthy; one that answers 429 is not used
//!   until the time in its `Retry-After` header, or the longest wait that the settings allow.
//!
//! ```no_run
//! # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
//! use chat::{Chat, Plain, Settings};
//! use serde_json::json;
//!
//! let servers = vec!["http://127.0.0.1:8000/v1".to_owned()];
//! let chat = Chat::new(Settings { servers, model: "qwen".into(), ..Settings::default() })?;
//! let mut request = Plain::new(json!({
//!     "model": "qwen", "max_tokens": 16, "messages": [{ "role": "user", "content": "Which sound?" }],
//! }));
//! println!("{}", chat.ask(&mut request).await?.answer.text);
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]

mod answer;
mod chat;
mod client;
mod complaint;
mod error;
mod limits;
mod models;
mod request;
mod servers;
mod settings;

pub use answer::{Answer, excerpt};
pub use chat::{Chat, Told};
pub use complaint::Complaint;
pub use error::{ChatError, Failed};
pub use request::{Plain, Reply, Request};
pub use settings::{Names, Settings};
