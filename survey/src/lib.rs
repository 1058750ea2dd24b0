//! Looks at the data of a scenario before it is trained on.
//!
//! A *source* ([`Source`]) is the training set or a suite of some arms; [`sources()`] lists those of an experiment. A
//! [`survey`] reads the rows of each and the headers of their clips, decodes a sample of them, and compares their
//! contents. The result ([`Survey`]) has counts per source and *findings* ([`Finding`]), each of which names the row or
//! clip it is about. `sandbox check` prints it; a run prints the short form, [`glance()`], before its first step.
//!
//! - `SURVEY-1` a finding is one line that begins with the file and line, or with the clip.
//! - `SURVEY-2` a wrong `audio_root` is one finding, however many clips it costs.
//! - `SURVEY-3` what a run would refuse to begin with is marked ([`Finding::stops`]), and nothing else is.
//! - `SURVEY-4` clips are decoded only where [`Decode`] says so, and no further than the model hears.
//!
//! ```no_run
//! let experiment = scenarios::load("mine.toml".as_ref(), &[], &[], None)?;
//! let sources = survey::sources(&experiment);
//! let survey = survey::survey(&sources, &survey::Options::default());
//! println!("{survey}");
//! assert!(survey.can_begin());
//! # Ok::<(), scenarios::ScenarioError>(())
//! ```

mod clips;
mod content;
mod decode;
mod glance;
mod look;
mod parallel;
mod report;
mod rows;
mod sources;
mod text;

pub use glance::glance;
pub use look::{Decode, Options, survey};
pub use report::{
    ClipCounts, Cut, DecodedCounts, Finding, Lengths, Named, PromptTokens, RowCounts, SourceReport, Survey,
};
pub use sources::{Model, QuestionTest, Role, Source, TokenCount, sources};
