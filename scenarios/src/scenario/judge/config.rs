//! `[judge]`: the keys of every judge, and its `kind`.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess};
use serde::{Deserialize, Serialize};

use super::budget::JudgeBudget;
use super::cache::JudgeCacheConfig;
use super::local::LocalJudgeConfig;
use super::openai::OpenaiJudgeConfig;
use super::panel::{MemberKind, PanelJudgeConfig, PanelMember};
use super::sets::JudgeSet;
use crate::scenario::tagged::{NoKeys, SharedKeys, Tagged};

/// `[judge]`: the judge, which grades whether the thinking supports the answer and how good the thinking is.
/// Its `kind` decides which other keys it may have. Without a `kind` it is `rules`, and may only have the keys
/// that all kinds share.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(default)]
pub struct JudgeConfig {
    /// The kind of judge, with the keys that only this kind has.
    #[serde(flatten)]
    #[schemars(skip)]
    pub kind: JudgeKind,
    /// `[judge.cache]`: the cache of verdicts. `rules` does not use it; for a `panel` it is the default of the members.
    pub cache: JudgeCacheConfig,
    /// `[judge.budget]`: how much may be spent on judges' servers.
    pub budget: JudgeBudget,
    /// What happens if more than `max_failed_fraction` of the verdicts of the last `failure_window` steps are missing:
    /// `exclude`, `pause` or `abort`. A missing verdict never counts as 0.
    pub on_failure: OnJudgeFailure,
    /// Number of steps over which missing verdicts are counted; at least 1.
    pub failure_window: usize,
    /// Largest fraction of verdicts that may be missing; 0 to 1.
    pub max_failed_fraction: f64,
    /// The sets of completions with known verdicts that `sandbox judge` uses: `builtin:soundscapes`, `builtin:general`,
    /// `builtin:attacks`, or paths of JSONL files in the same format.
    pub calibration: Vec<JudgeSet>,
    /// Largest fraction of the verdicts on one of these sets that may be missing; 0 to 1. If more are, `sandbox judge`
    /// ends with exit code 1. Completions about which `rules` cannot decide do not count.
    pub calibration_max_failed_fraction: f64,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            kind: JudgeKind::default(),
            cache: JudgeCacheConfig::default(),
            budget: JudgeBudget::default(),
            on_failure: OnJudgeFailure::Exclude,
            failure_window: 10,
            max_failed_fraction: 0.5,
            calibration: JudgeSet::builtin(),
            calibration_max_failed_fraction: 0.1,
        }
    }
}

/// The kinds of judges, each with the keys that only it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a scenario has a handful of judges")]
pub enum JudgeKind {
    /// `kind = "rules"`: compares the thinking with the reasoning steps in the data; needs no model.
    #[default]
    Rules,
    /// `kind = "openai"`: a server with OpenAI's API.
    Openai(OpenaiJudgeConfig),
    /// `kind = "local"`: a model in this process.
    Local(LocalJudgeConfig),
    /// `kind = "panel"`: several judges whose grades are combined.
    Panel(PanelJudgeConfig),
}

/// What happens if too many verdicts are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnJudgeFailure {
    /// The completions are excluded from their groups; the arm
    /// continues while `supervision.max_missing_fraction` allows.
    #[default]
    Exclude,
    /// The arm saves a checkpoint and pauses with the reason.
    Pause,
    /// The arm saves a checkpoint and ends with the reason.
    Abort,
}

impl PanelMember {
    /// The member as a judge of its own. `cache` is the panel's cache, which a member without one uses.
    pub fn as_judge(&self, cache: &JudgeCacheConfig) -> JudgeConfig {
        let kind = match &self.kind {
            MemberKind::Rules => JudgeKind::Rules,
            MemberKind::Openai(openai) => JudgeKind::Openai(openai.clone()),
            MemberKind::Local(local) => JudgeKind::Local(local.clone()),
        };
        let cache = self.cache.as_ref().unwrap_or(cache).clone();
        JudgeConfig { kind, cache, ..JudgeConfig::default() }
    }
}

/// The values of `kind`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindName {
    #[default]
    Rules,
    Openai,
    Local,
    Panel,
}

impl<'de> SharedKeys<'de> for JudgeConfig {
    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "cache" => self.cache = map.next_value()?,
            "budget" => self.budget = map.next_value()?,
            "on_failure" => self.on_failure = map.next_value()?,
            "failure_window" => self.failure_window = map.next_value()?,
            "max_failed_fraction" => self.max_failed_fraction = map.next_value()?,
            "calibration" => self.calibration = map.next_value()?,
            "calibration_max_failed_fraction" => self.calibration_max_failed_fraction = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn has(key: &str) -> bool {
        [
            "cache",
            "budget",
            "on_failure",
            "failure_window",
            "max_failed_fraction",
            "calibration",
            "calibration_max_failed_fraction",
        ]
        .contains(&key)
    }
}

impl<'de> Deserialize<'de> for JudgeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Judge;
        impl<'de> de::Visitor<'de> for Judge {
            type Value = JudgeConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<JudgeConfig, A::Error> {
                let mut table = Tagged::<A, KindName, JudgeConfig>::open("kind", map)?;
                match table.tag.take().unwrap_or_default() {
                    KindName::Rules => {
                        let (NoKeys {}, judge) = table.variant()?;
                        Ok(judge)
                    }
                    KindName::Openai => {
                        let (openai, judge) = table.variant()?;
                        Ok(JudgeConfig { kind: JudgeKind::Openai(openai), ..judge })
                    }
                    KindName::Local => {
                        let (local, judge) = table.variant()?;
                        Ok(JudgeConfig { kind: JudgeKind::Local(local), ..judge })
                    }
                    KindName::Panel => {
                        let (panel, judge) = table.variant()?;
                        Ok(JudgeConfig { kind: JudgeKind::Panel(panel), ..judge })
                    }
                }
            }
        }
        deserializer.deserialize_map(Judge)
    }
}
