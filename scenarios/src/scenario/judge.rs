//! `[judge]`: the judge of the thinking, which grades whether it supports the answer and how good it is.
//!
//! Five keys belong to every judge ([`JudgeConfig`]); the others belong to one `kind`, whose struct alone has them
//! ([`JudgeKind`]). A key of another kind is refused, see [`super::tagged`].

mod cache;
mod config;
mod local;
mod openai;
mod panel;
mod required;
mod sets;
mod wording;

pub use cache::JudgeCacheConfig;
pub use config::{JudgeConfig, JudgeKind, OnJudgeFailure};
pub use local::LocalJudgeConfig;
pub use openai::{Guided, OneOrMore, OpenaiJudgeConfig};
pub use panel::{Aggregate, MemberKind, PanelJudgeConfig, PanelMember};
pub use sets::JudgeSet;
pub use wording::{Prompting, Scoring};
