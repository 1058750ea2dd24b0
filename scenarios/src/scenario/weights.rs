//! `[shaping.weights]`: the weights of the formula, each a number or a schedule over the steps.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// A weight of the formula: `0.5`, or `{ schedule = [[0, 0.0], [100, 0.5]] }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum WeightConfig {
    /// The same value in every step.
    Constant(f64),
    /// A value that depends on the step.
    Scheduled(WeightSchedule),
}

/// The schedule of a weight: points of step and value. Before the first point the weight has the value of that point,
/// after the last one that of the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightSchedule {
    /// The points, `[step, value]` each, with increasing steps; at least one. The first step of a run is
    /// 1, as in `metrics.jsonl`.
    pub schedule: Vec<(u64, f64)>,
    /// The weight between two points: `linear` interpolates, `step` keeps the value of the earlier point.
    #[serde(default)]
    pub interpolate: Interpolate,
}

/// The weight between two points of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolate {
    /// Linear interpolation between the values.
    #[default]
    Linear,
    /// The value of the earlier point until the later one is reached.
    Step,
}

impl WeightConfig {
    /// The weight in a step; steps count from 1.
    pub fn at(&self, step: u64) -> f64 {
        match self {
            WeightConfig::Constant(value) => *value,
            WeightConfig::Scheduled(schedule) => schedule.at(step),
        }
    }

    /// Whether it has a schedule rather than a constant value.
    pub fn is_scheduled(&self) -> bool {
        matches!(self, WeightConfig::Scheduled(_))
    }
}

impl WeightSchedule {
    /// The weight in a step; steps count from 1. It is 0 if there are no points.
    pub fn at(&self, step: u64) -> f64 {
        let reached = self.schedule.partition_point(|(at, _)| *at <= step);
        let before = reached.checked_sub(1).and_then(|place| self.schedule.get(place));
        let after = self.schedule.get(reached);
        match (before, after) {
            (None, None) => 0.0,
            (None, Some((_, value))) | (Some((_, value)), None) => *value,
            (Some((_, value)), Some(_)) if self.interpolate == Interpolate::Step => *value,
            (Some((from, low)), Some((to, high))) => {
                let progress = (step - from) as f64 / (to - from) as f64;
                low + (high - low) * progress
            }
        }
    }
}

impl From<f64> for WeightConfig {
    fn from(value: f64) -> Self {
        WeightConfig::Constant(value)
    }
}

impl<'de> Deserialize<'de> for WeightConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Weight;
        impl<'de> de::Visitor<'de> for Weight {
            type Value = WeightConfig;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as 0.5, or { schedule = [[0, 0.0], [100, 0.5]] }")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<WeightConfig, E> {
                Ok(WeightConfig::Constant(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<WeightConfig, E> {
                Ok(WeightConfig::Constant(value as f64))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<WeightConfig, E> {
                Ok(WeightConfig::Constant(value as f64))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<WeightConfig, A::Error> {
                WeightSchedule::deserialize(de::value::MapAccessDeserializer::new(map))
                    .map(WeightConfig::Scheduled)
            }
        }
        deserializer.deserialize_any(Weight)
    }
}

impl JsonSchema for WeightConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WeightConfig".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let schedule = generator.subschema_for::<WeightSchedule>();
        json_schema!({
            "description": "The value of a weight: a number, or a schedule over the steps.",
            "anyOf": [{ "type": "number" }, schedule]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(interpolate: Interpolate) -> WeightSchedule {
        WeightSchedule { schedule: vec![(10, 0.0), (20, 1.0), (24, -1.0)], interpolate }
    }

    #[test]
    fn a_linear_schedule_interpolates_between_points() {
        let at = |step| schedule(Interpolate::Linear).at(step);
        // (15 - 10) / (20 - 10) = 0.5; 1 + (-2) · (21 - 20) / 4 = 0.5
        assert_eq!([1, 10, 15, 20, 21, 24, 900].map(at), [0.0, 0.0, 0.5, 1.0, 0.5, -1.0, -1.0]);
    }

    #[test]
    fn a_stepped_schedule_keeps_each_value_until_the_next_point() {
        let at = |step| schedule(Interpolate::Step).at(step);
        assert_eq!([1, 10, 19, 20, 23, 24, 900].map(at), [0.0, 0.0, 0.0, 1.0, 1.0, -1.0, -1.0]);
    }

    #[test]
    fn a_weight_reads_back_as_it_was_written() {
        for weight in [WeightConfig::Constant(0.1), WeightConfig::Scheduled(schedule(Interpolate::Step))] {
            let json = serde_json::to_string(&weight).unwrap();
            assert_eq!(serde_json::from_str::<WeightConfig>(&json).unwrap(), weight);
        }
    }
}
