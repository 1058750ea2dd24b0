//! The names of the rules that [`official`](crate::official) implements, one of which every question carries.

use serde::{Deserialize, Serialize};

/// The rule of a benchmark's own script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfficialRule {
    /// The string match of MMAU and MMAR, which is also used where a dataset has no script of its own.
    #[default]
    StringMatch,
    /// The rule of AIR-Bench's foundation part, which reads a letter.
    AirBenchLetter,
    /// The rule of MMSU, which reads a letter as AIR-Bench does.
    MmsuLetter,
    /// The rule of MMAU-Pro, which takes the choice whose embedding is nearest.
    ChoiceEmbedding,
}

impl OfficialRule {
    /// Whether this is the rule of a question that states none.
    pub(crate) fn is_default(&self) -> bool {
        *self == OfficialRule::default()
    }
}
