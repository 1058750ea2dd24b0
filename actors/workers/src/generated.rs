//! What is asked of a sampler, the sandbox's own or one of servers, and what it answers.

use model::{Completion, Prompt, SamplingParams};

/// The prompts to answer, and how.
#[derive(Clone)]
pub struct GenerateQuery {
    /// The prompts, each answered `group_size` times.
    pub prompts: Vec<Prompt>,
    /// Number of completions per prompt.
    pub group_size: usize,
    /// Temperature, length limit and other sampling settings.
    pub params: SamplingParams,
    /// One seed per completion, in the order of [`Generated::completions`].
    pub seeds: Vec<u64>,
}

/// The answer to a [`GenerateQuery`].
#[derive(Default)]
pub struct Generated {
    /// All completions of the first prompt, then those of the second, and so on, without the prompts of `incomplete`.
    pub completions: Vec<Completion>,
    /// Version of the weights that were used; the oldest if several were.
    pub policy_version: u64,
    /// The versions that drew each completion, if servers did; else empty.
    pub spans: Vec<Vec<VersionSpan>>,
    /// Time for loading the weights and sampling, in seconds.
    pub seconds: f64,
    /// The places of prompts of which a completion had no usable answer, in rising order. Only servers have such.
    pub incomplete: Vec<usize>,
    /// What sampling on servers took; `None` without servers.
    pub servers: Option<ServerFigures>,
    /// How often a batch was halved because memory did not suffice.
    pub memory_splits: u64,
    /// The most memory of a GPU while sampling, in bytes; see [`model::memory::take_peak`].
    pub memory: Option<u64>,
}

/// Successive tokens of a completion that one version of the policy drew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionSpan {
    /// As `policy_version` of [`Generated`].
    pub policy_version: u64,
    /// Number of its tokens.
    pub tokens: u64,
}

/// What sampling on servers took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerFigures {
    /// Answers that failed a check and were asked again.
    pub retried: u64,
    /// Completions that were dropped, because all of their answers failed.
    pub dropped: u64,
    /// Completions with tokens of more than one version.
    pub continued: u64,
    /// How often a completion began again with a newer version.
    pub restarted: u64,
    /// The tokens that these had.
    pub restarted_tokens: u64,
    /// How often a completion moved to another server, because its own was slow.
    pub moved: u64,
    /// Largest difference between log-probabilities of the servers and of the policy, for this version of the weights.
    pub canary_gap: Option<f64>,
}

impl ServerFigures {
    /// Adds what further completions took.
    pub fn add(&mut self, other: &ServerFigures) {
        self.retried += other.retried;
        self.dropped += other.dropped;
        self.continued += other.continued;
        self.restarted += other.restarted;
        self.restarted_tokens += other.restarted_tokens;
        self.moved += other.moved;
        let gaps = [self.canary_gap, other.canary_gap];
        self.canary_gap = gaps.into_iter().flatten().reduce(f64::max);
    }
}
