//! What rewards report beside their scores, as it is recorded.

use std::collections::BTreeMap;

use plugins::Notes;
use serde_json::Value;

/// The metrics that rewards report themselves, by reward; those without any are left out.
pub(super) fn reward_metrics(notes: &BTreeMap<String, Notes>) -> BTreeMap<String, BTreeMap<String, f64>> {
    let of_reward = |(name, notes): (&String, &Notes)| {
        let means = notes.metrics.iter().map(|(metric, of)| (metric.clone(), of.mean));
        (!notes.metrics.is_empty()).then(|| (name.clone(), means.collect()))
    };
    notes.iter().filter_map(of_reward).collect()
}

/// The values that rewards report about the completion at `place`, by reward and column; null ones are left out.
pub(super) fn extras(
    notes: &BTreeMap<String, Notes>,
    place: usize,
) -> BTreeMap<String, BTreeMap<String, Value>> {
    let of_reward = |(name, notes): (&String, &Notes)| {
        let values = notes.extras.iter().filter_map(|(column, values)| {
            values.get(place).filter(|value| !value.is_null()).map(|value| (column.clone(), value.clone()))
        });
        let values: BTreeMap<String, Value> = values.collect();
        (!values.is_empty()).then(|| (name.clone(), values))
    };
    notes.iter().filter_map(of_reward).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugins::Metric;
    use serde_json::json;

    #[test]
    fn only_what_is_there_is_recorded() {
        let metrics = [("mean".to_owned(), Metric { mean: 0.5, weight: 2.0 })].into();
        let of_one = Notes { metrics, extras: [("word".to_owned(), vec![json!("a"), Value::Null])].into() };
        let notes = [("one".to_owned(), of_one), ("other".to_owned(), Notes::default())].into();
        assert_eq!(json!(reward_metrics(&notes)), json!({"one": {"mean": 0.5}}));
        assert_eq!(json!(extras(&notes, 0)), json!({"one": {"word": "a"}}));
        assert_eq!(json!([extras(&notes, 1), extras(&notes, 2)]), json!([{}, {}]));
    }
}
