//! Sampling on vLLM servers (`sampler.backend = "vllm"`).
//!
//! [`ServerSampler`] answers the same message as the sandbox's own sampler. Each version of the adapter is written to a
//! folder of its own and loaded on every server under a name of its own (`versions`). Prompts go out as token ids with
//! their clips (`asked`, `wire`), to the server that a hash of the prompt selects (`pool`); every answer is checked before it
//! counts (`checks`). A completion may be drawn in slices, between which it takes up a newer version or moves to another server
//! (`slices`). A prompt that the servers and the policy both score shows whether a server computes what the policy
//! does (`canary`, `compare`, `diagnosis`).
//!
//! - `ROLLOUT-1` an answer that fails a check is never trained on: it is asked again, and then dropped and counted.
//! - `ROLLOUT-2` no completion is lost or doubled by a server that fails: each is asked until there is one answer.
//! - `ROLLOUT-3` a server samples only from a version that it has loaded and whose canary it passed.
//! - `ROLLOUT-4` a version is unloaded after its last answer, and its folder removed after that.
//! - `ROLLOUT-5` each token has the log-probability and the number of the version that drew it.
//!
//! `docs/vllm.md` says how servers are started and what was measured.

#![warn(missing_docs)]

mod asked;
mod canary;
mod checks;
mod compare;
mod diagnosis;
mod failed;
mod http;
mod pool;
mod problem;
mod recovery;
mod restart;
mod sampler;
mod scorer;
mod server;
mod settings;
mod slices;
mod versions;
mod wire;

pub use sampler::{ServerSampler, ServerSamplerArgs};
pub use settings::{AtNewVersion, Notify, Settings};
