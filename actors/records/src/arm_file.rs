//! The files that an arm appends rows to.

/// A JSON-lines file of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArmFile {
    /// One line per training step.
    Metrics,
    /// One line per completion.
    Rollouts,
    /// One line per evaluation of a suite.
    Evaluations,
    /// One line per row of the data that could not be used.
    DataProblems,
}

impl ArmFile {
    /// All record files that an arm appends rows to.
    pub const ALL: [ArmFile; 4] =
        [ArmFile::Metrics, ArmFile::Rollouts, ArmFile::Evaluations, ArmFile::DataProblems];

    /// The file's name within the arm's folder.
    pub fn name(self) -> &'static str {
        match self {
            ArmFile::Metrics => "metrics.jsonl",
            ArmFile::Rollouts => "rollouts.jsonl",
            ArmFile::Evaluations => "eval.jsonl",
            ArmFile::DataProblems => "data-problems.jsonl",
        }
    }
}
