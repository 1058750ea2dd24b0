//! Why ranks can't work together.

/// Why a rank could not take part any longer. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RankError {
    /// A variable of the launcher can't be used.
    #[error("{variable}={value}: {problem}; the launcher sets it, or give --ranks 1 to run as one process")]
    Launch {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The store could not be opened.
    #[error("the store of the ranks at {host}:{port}: {problem}")]
    Store {
        /// Where it is.
        host: String,
        /// Its port; 0 for any that is free.
        port: u16,
        /// What libtorch says.
        problem: String,
    },
    /// Not all ranks came.
    #[error("rank {rank} did not come within {seconds} s; start all {size} ranks")]
    Missing {
        /// The first one that is missing.
        rank: usize,
        /// How long they were waited for.
        seconds: u64,
        /// The number of ranks.
        size: usize,
    },
    /// A rank is not like rank 0, so that their gradients would not fit together.
    #[error("rank {rank} has another {what} than rank 0: {other} instead of {own}; start all ranks alike")]
    Unlike {
        /// The rank.
        rank: usize,
        /// What differs, such as `scenario`.
        what: String,
        /// What rank 0 has.
        own: String,
        /// What the rank has.
        other: String,
    },
    /// A rank gives no sign of life.
    #[error(
        "rank {rank} was silent for {seconds} s: its process is gone or stopped, or its machine can't be reached"
    )]
    Silent {
        /// The rank.
        rank: usize,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A rank lives, but does not finish its part of the step.
    #[error(
        "rank {rank} lives but did not finish its part within {seconds} s; raise --rank-timeout if it only needs longer"
    )]
    Late {
        /// The rank.
        rank: usize,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The ranks were to add up by NCCL and nothing else.
    #[error("--collectives nccl: {because}; --collectives auto falls back to gloo")]
    NoNccl {
        /// Why they can't.
        because: String,
    },
    /// A rank ended the group.
    #[error("{0}")]
    Ended(String),
    /// The connection to the store or to another rank broke.
    #[error("the ranks lost each other while {what}: {problem}")]
    Lost {
        /// What was done.
        what: &'static str,
        /// What libtorch says, in one line.
        problem: String,
    },
    /// A message that no rank of this program would send.
    #[error("rank {rank} sent a message that can't be read")]
    Garbled {
        /// The rank.
        rank: usize,
    },
}

/// What libtorch, NCCL or CUDA says about a failure, in one line.
#[derive(Debug)]
pub(crate) struct Problem(pub(crate) String);

/// The first line of a message of libtorch, without the places in its source.
pub(crate) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.split(" (Triggered internally").next().unwrap_or(line);
    // `[.../TCPStore.cpp:106] What it is about`
    let line = match line.split_once("] ") {
        Some((place, rest)) if place.starts_with('[') => rest,
        _ => line,
    };
    line.chars().take(240).collect()
}
