//! `kind = "panel"`: a panel of judges whose grades are combined.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess};
use serde::{Deserialize, Serialize};

use super::cache::JudgeCacheConfig;
use super::local::LocalJudgeConfig;
use super::openai::OpenaiJudgeConfig;
use crate::scenario::tagged::{NoKeys, SharedKeys, Tagged};

/// Several judges, each asked about every completion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PanelJudgeConfig {
    /// How the members' grades are combined: their `mean` or their `median`.
    pub aggregate: Aggregate,
    /// Number of members that must give a grade, else it is missing; at most the number of members. 0
    /// means all of them.
    pub quorum: usize,
    /// `[[judge.members]]`: the judges of the panel, at least one. Each has a `kind`, the keys of that kind,
    /// and optionally a `cache`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PanelMember>,
}

/// How the grades of a panel's members are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The arithmetic mean of the grades.
    #[default]
    Mean,
    /// The median of the grades; for an even number the mean of the two in the middle.
    Median,
}

/// `[[judge.members]]`: a judge of a panel.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PanelMember {
    /// The kind of judge, with the keys that only this kind has.
    #[serde(flatten)]
    #[schemars(skip)]
    pub kind: MemberKind,
    /// `[judge.members.cache]`: the cache of this member's verdicts. Default: the panel's `[judge.cache]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "JudgeCacheConfig")]
    pub cache: Option<JudgeCacheConfig>,
}

/// The kinds of judges that a member can be: all but a panel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a scenario has a handful of judges")]
pub enum MemberKind {
    /// `kind = "rules"`, see [`JudgeKind::Rules`](super::JudgeKind::Rules).
    Rules,
    /// `kind = "openai"`: a server with OpenAI's API.
    Openai(OpenaiJudgeConfig),
    /// `kind = "local"`: a model in this process.
    Local(LocalJudgeConfig),
}

/// The values of a member's `kind`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindName {
    Rules,
    Openai,
    Local,
}

/// The keys that members of every kind have.
#[derive(Default)]
struct MemberKeys {
    cache: Option<JudgeCacheConfig>,
}

impl<'de> SharedKeys<'de> for MemberKeys {
    fn read<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if !Self::has(key) {
            return Ok(false);
        }
        self.cache = Some(map.next_value()?);
        Ok(true)
    }

    fn has(key: &str) -> bool {
        key == "cache"
    }
}

impl<'de> Deserialize<'de> for PanelMember {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Member;
        impl<'de> de::Visitor<'de> for Member {
            type Value = PanelMember;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a table such as { kind = "rules" }"#)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PanelMember, A::Error> {
                let mut table = Tagged::<A, KindName, MemberKeys>::open("kind", map)?;
                let (kind, MemberKeys { cache }) = match table.tag.take() {
                    None => return Err(de::Error::missing_field("kind")),
                    Some(KindName::Rules) => {
                        let (NoKeys {}, keys) = table.variant()?;
                        (MemberKind::Rules, keys)
                    }
                    Some(KindName::Openai) => {
                        let (openai, keys) = table.variant()?;
                        (MemberKind::Openai(openai), keys)
                    }
                    Some(KindName::Local) => {
                        let (local, keys) = table.variant()?;
                        (MemberKind::Local(local), keys)
                    }
                };
                Ok(PanelMember { kind, cache })
            }
        }
        deserializer.deserialize_map(Member)
    }
}
