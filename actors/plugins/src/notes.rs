//! What a reward reports beside its scores: metrics of the batch, and values for each completion.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A metric of a reward: the mean of what it gave in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// The mean over the completions that the metric is about.
    pub mean: f64,
    /// The number of completions that it is the mean of.
    pub weight: f64,
}

/// What a reward reports beside the scores of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    /// Numbers about the batch, by name.
    pub metrics: BTreeMap<String, Metric>,
    /// One value for each completion, by column; null where the reward gave none.
    pub extras: BTreeMap<String, Vec<Value>>,
}

impl Notes {
    /// Reads the optional fields `metrics`, `metric_weights` and `extras` of a message about `items` completions. Earlier
    /// plug-ins may use these names for something else, so what does not fit is left out.
    pub(crate) fn read(fields: &Map<String, Value>, items: usize) -> Self {
        let object = |name: &str| fields.get(name).and_then(Value::as_object).into_iter().flatten();
        let weights = fields.get("metric_weights");
        let metric = |(name, mean): (&String, &Value)| {
            let weight = weights.and_then(|weights| weights[name].as_f64()).unwrap_or(items as f64);
            let mean = mean.as_f64().filter(|mean| mean.is_finite())?;
            (weight.is_finite() && weight > 0.0).then(|| (name.clone(), Metric { mean, weight }))
        };
        let column = |(name, values): (&String, &Value)| {
            let values = values.as_array().filter(|values| values.len() == items)?;
            Some((name.clone(), values.clone()))
        };
        Notes {
            metrics: object("metrics").filter_map(metric).collect(),
            extras: object("extras").filter_map(column).collect(),
        }
    }

    /// Adds the notes on `further_items` completions to those on the `items` before them.
    pub fn add(&mut self, items: usize, further: Notes, further_items: usize) {
        for (name, new) in further.metrics {
            let all = self.metrics.entry(name).or_insert(Metric { mean: 0.0, weight: 0.0 });
            let weight = all.weight + new.weight;
            all.mean = (all.mean * all.weight + new.mean * new.weight) / weight;
            all.weight = weight;
        }
        for (column, values) in further.extras {
            let all = self.extras.entry(column).or_default();
            all.resize(items, Value::Null);
            all.extend(values);
        }
        for values in self.extras.values_mut() {
            values.resize(items + further_items, Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(fields: Value, items: usize) -> Notes {
        Notes::read(fields.as_object().unwrap(), items)
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let fields = json!({
            "metrics": {"a": 0.5, "b": "high", "c": null},
            "metric_weights": {"a": 1},
            "extras": {"x": ["one", 2], "short": [1], "none": 3}
        });
        let notes = read(fields, 2);
        assert_eq!(notes.metrics, [("a".to_owned(), Metric { mean: 0.5, weight: 1.0 })].into());
        assert_eq!(notes.extras, [("x".to_owned(), vec![json!("one"), json!(2)])].into());
        assert_eq!(read(json!({"metrics": [1], "extras": "x", "metric_weights": 7}), 2), Notes::default());
    }

    #[test]
    fn notes_are_merged_by_the_number_of_completions_and_in_order() {
        let mut notes = read(json!({"metrics": {"a": 1.0, "b": 4.0}, "extras": {"x": [1]}}), 1);
        notes.add(1, read(json!({"metrics": {"a": 4.0}, "extras": {"y": [2, 3]}}), 2), 2);
        // (1 · 1 + 2 · 4) / 3
        assert_eq!(notes.metrics["a"], Metric { mean: 3.0, weight: 3.0 });
        assert_eq!(notes.metrics["b"].mean, 4.0);
        assert_eq!(notes.extras["x"], [json!(1), Value::Null, Value::Null]);
        assert_eq!(notes.extras["y"], [Value::Null, json!(2), json!(3)]);
    }
}
