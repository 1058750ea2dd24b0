//! `[shaping.weights]`: a number each, or a course over the steps.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// A weight of the formula: `0.5`, or `{ schedule = [[0, 0.0], [100, 0.5]] }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum WeightConfig {
    /// The same in every step.
    Constant(f64),
    /// Its value depends on the step.
    Scheduled(WeightSchedule),
}

/// The course of a weight. Before its first point and after its last it stays as it is there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightSchedule {
    /// Steps and the weight in them, in rising order; the first step of a run is 1, as in `metrics.jsonl`.
    pub schedule: Vec<(u64, f64)>,
    /// What lies between two points: a straight `linear` line, or a `step`, the value of the point before.
    #[serde(default)]
    pub interpolate: Interpolate,
}

/// What lies between two points of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolate {
    /// A straight line.
    #[default]
    Linear,
    /// The value of the point before, until the next is reached.
    Step,
}

impl WeightConfig {
    /// The weight in a step, counted from 1.
    pub fn at(&self, step: u64) -> f64 {
        match self {
            WeightConfig::Constant(value) => *value,
            WeightConfig::Scheduled(course) => course.at(step),
        }
    }

    /// Whether it has a course.
    pub fn is_scheduled(&self) -> bool {
        matches!(self, WeightConfig::Scheduled(_))
    }
}

impl WeightSchedule {
    /// The weight in a step, counted from 1; 0 if there is no point.
    pub fn at(&self, step: u64) -> f64 {
        let reached = self.schedule.partition_point(|(at, _)| *at <= step);
        let before = reached.checked_sub(1).and_then(|place| self.schedule.get(place));
        let after = self.schedule.get(reached);
        match (before, after) {
            (None, None) => 0.0,
            (None, Some((_, value))) | (Some((_, value)), None) => *value,
            (Some((_, value)), Some(_)) if self.interpolate == Interpolate::Step => *value,
            (Some((from, low)), Some((to, high))) => {
                let way = (step - from) as f64 / (to - from) as f64;
                low + (high - low) * way
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
            "description": "A number, or its course over the steps.",
            "anyOf": [{ "type": "number" }, schedule]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(interpolate: Interpolate) -> WeightSchedule {
        WeightSchedule { schedule: vec![(10, 0.0), (20, 1.0), (24, -1.0)], interpolate }
    }

    #[test]
    fn a_linear_course_runs_straight_from_point_to_point() {
        let at = |step| course(Interpolate::Linear).at(step);
        // (15 - 10) / (20 - 10) = 0.5; 1 + (-2) · (21 - 20) / 4 = 0.5
        assert_eq!([1, 10, 15, 20, 21, 24, 900].map(at), [0.0, 0.0, 0.5, 1.0, 0.5, -1.0, -1.0]);
    }

    #[test]
    fn a_stepped_course_keeps_each_value_until_the_next_point() {
        let at = |step| course(Interpolate::Step).at(step);
        assert_eq!([1, 10, 19, 20, 23, 24, 900].map(at), [0.0, 0.0, 0.0, 1.0, 1.0, -1.0, -1.0]);
    }

    #[test]
    fn a_weight_reads_back_as_it_was_written() {
        for weight in [WeightConfig::Constant(0.1), WeightConfig::Scheduled(course(Interpolate::Step))] {
            let json = serde_json::to_string(&weight).unwrap();
            assert_eq!(serde_json::from_str::<WeightConfig>(&json).unwrap(), weight);
        }
    }
}
