//! `[judge]`: the judge, which grades whether the thinking supports the answer and how good the thinking is.
//!
//! Seven keys are common to all judges ([`JudgeConfig`]). The others belong to a `kind`, and only the struct of that
//! kind has them ([`JudgeKind`]). A key of another kind is refused, see [`super::tagged`].

mod budget;
mod cache;
mod config;
mod local;
mod openai;
mod panel;
mod required;
mod sets;
mod wording;

pub use budget::{JudgeBudget, WhenSpent};
pub use cache::JudgeCacheConfig;
pub use config::{JudgeConfig, JudgeKind, OnJudgeFailure};
pub use local::LocalJudgeConfig;
pub use openai::{Guided, OneOrMore, OpenaiJudgeConfig};
pub use panel::{Aggregate, MemberKind, PanelJudgeConfig, PanelMember};
pub use sets::JudgeSet;
pub use wording::{Prompting, Scoring};
