//! `[ablation]`: the factors of an experiment, from which its arms are made.
//!
//! A factor is something that an arm has or has not (a reward component in the formula, some settings), or a setting with
//! several values. A design says which combinations of their levels are trained. [`expand()`] makes an arm of each combination,
//! and a [`Design`](super::Design), which keeps the levels of each arm for the report.
//!
//! - ABLATION-1 the name of an arm depends on its own levels only: the same arm has the same name in every design.
//! - ABLATION-2 no two factors set the same key, and no two arms of a design are the same.

mod combinations;
mod component;
mod expand;
mod factor;

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{SeqAccessDeserializer, StrDeserializer};
use serde::{Deserialize, Deserializer, Serialize, de};

pub(super) use expand::{Expanded, expand};

/// Most factors of a design.
pub(super) const MOST_FACTORS: usize = 10;

/// Most arms of a design: 2 to the 6.
pub(super) const MOST_ARMS: usize = 64;

/// Which combinations of levels a design has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DesignKind {
    /// Every combination.
    Full,
    /// A half, a quarter, … of all combinations, chosen so that main effects mix with interactions of as many factors as possible.
    Fractional,
    /// All factors on, and each of them off by itself.
    LeaveOneOut,
    /// All factors off, and each of them on by itself.
    AddOneIn,
}

impl DesignKind {
    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Fractional => "fractional",
            Self::LeaveOneOut => "leave-one-out",
            Self::AddOneIn => "add-one-in",
        }
    }
}

/// `[ablation]`: makes an arm of each combination of factors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AblationConfig {
    /// The name of the arm in which every factor is off. The name of another arm adds the factors that are on: `grpo+atar+cr`.
    pub(super) name: String,
    /// Which combinations are trained: `"full"` (all), `"fractional"` (a part, see `runs`), `"leave-one-out"` (all factors on, and each
    /// off by itself), `"add-one-in"` (all off, and each on by itself), or `["leave-one-out", "add-one-in"]`. At most 64 arms.
    #[schemars(with = "DesignKinds")]
    pub(super) design: DesignKinds,
    /// The number of arms of a fractional design: a power of two. Default: the smallest in which no effect of one factor mixes
    /// with an interaction of two (resolution IV), where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runs: Option<usize>,
    /// The factors by name, at most 10; a name has letters, digits and `_`. Their order in the file is that of the names of arms
    /// and of the report.
    pub(super) factors: BTreeMap<String, FactorConfig>,
}

impl Default for AblationConfig {
    fn default() -> Self {
        let design = DesignKinds(vec![DesignKind::Full]);
        Self { name: "plain".to_owned(), design, runs: None, factors: BTreeMap::new() }
    }
}

/// `[ablation.factors.NAME]`: what a factor changes, in one of three forms: a reward component that is in the formula or not
/// (`component`), settings that an arm has or has not (`on`, `off`), or a setting with several values (`setting` and `values`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FactorConfig {
    /// A reward component of `shaping.formula`. Where the factor is off, the formula is without it: its terms are left out, and of
    /// a factor in parentheses such as `(1 + w_cr * cr)` the part that uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) component: Option<String>,
    /// What stands in the component's place where the factor is off, such as `accuracy`, instead of leaving its terms out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instead: Option<String>,
    /// Settings of the arms in which the factor is on, as an `[[arm]]` has them.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on: Option<toml::Table>,
    /// Settings of the arms in which it is off.
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) off: Option<toml::Table>,
    /// A key, such as `grpo.lr`, of which the arms have the values of `values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) setting: Option<String>,
    /// The values of `setting`, two or more; with the first the factor counts as off. More than two are for full designs only.
    #[schemars(with = "Vec<serde_json::Value>")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<toml::Value>,
}

/// One kind of design, or a list of kinds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct DesignKinds(pub(super) Vec<DesignKind>);

impl DesignKinds {
    fn checked(kinds: Vec<DesignKind>) -> Result<Self, &'static str> {
        let ones = [DesignKind::LeaveOneOut, DesignKind::AddOneIn];
        match kinds.as_slice() {
            [_] => Ok(Self(kinds)),
            [first, second] if first != second && ones.contains(first) && ones.contains(second) => {
                Ok(Self(kinds))
            }
            _ => Err(
                "`design` in [ablation] is no such list; write one of \"full\", \"fractional\", \"leave-one-out\" and \
                 \"add-one-in\", or [\"leave-one-out\", \"add-one-in\"]",
            ),
        }
    }
}

impl<'de> Deserialize<'de> for DesignKinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kinds;
        impl<'de> de::Visitor<'de> for Kinds {
            type Value = DesignKinds;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "\"full\", \"fractional\", \"leave-one-out\", \"add-one-in\", or a list of the last two",
                )
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<DesignKinds, E> {
                let kind = DesignKind::deserialize(StrDeserializer::new(name))?;
                Ok(DesignKinds(vec![kind]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<DesignKinds, A::Error> {
                let kinds = Vec::<DesignKind>::deserialize(SeqAccessDeserializer::new(list))?;
                DesignKinds::checked(kinds).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Kinds)
    }
}

impl JsonSchema for DesignKinds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DesignKinds".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kind = generator.subschema_for::<DesignKind>();
        json_schema!({ "anyOf": [kind, { "type": "array", "items": kind, "minItems": 1, "maxItems": 2 }] })
    }
}
