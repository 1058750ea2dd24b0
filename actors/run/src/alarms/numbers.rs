//! The numbers that conditions name, as they stand in a row of metrics or in the rows of an evaluation.

use records::{Evaluation, Tally};
use serde_json::Value;

/// Columns of counts by a key, in which a key that is not there counts as 0.
const COUNTS: [&str; 3] = ["groups_excluded", "judge_failures", "missing"];

/// Whether a number changes with evaluations only.
pub(super) fn is_of_evaluation(name: &str) -> bool {
    name.starts_with("eval.") || name.starts_with("since_eval.")
}

/// The number of this name in a row of `metrics.jsonl`; `None` if it is missing.
pub(super) fn number(row: &Value, name: &str) -> Option<f64> {
    if let Some(value) = row.get(name) {
        return value.as_f64();
    }
    let (column, key) = name.split_once('.')?;
    let column_of = row.get(column)?.as_object()?;
    if column == "reward_metrics" {
        let of_reward = |(reward, metrics): (&String, &Value)| {
            metrics.get(key.strip_prefix(reward.as_str())?.strip_prefix('.')?)?.as_f64()
        };
        return column_of.iter().find_map(of_reward);
    }
    match column_of.get(key) {
        Some(value) => value.as_f64(),
        None => COUNTS.contains(&column).then_some(0.0),
    }
}

/// The number of this name, `eval.NUMBER` for the first suite or `eval.SUITE.NUMBER`, in the rows of an evaluation.
pub(super) fn evaluation_number(rows: &[Evaluation], name: &str) -> Option<f64> {
    let name = name.strip_prefix("eval.")?;
    let mut plain = rows.iter().filter(|row| row.control.is_none());
    match name.rsplit_once('.') {
        None => of_tally(&plain.next()?.overall, name),
        Some((suite, number)) => of_tally(&plain.find(|row| row.suite == suite)?.overall, number),
    }
}

fn of_tally(tally: &Tally, number: &str) -> Option<f64> {
    let share = |part: f64, of: u64| (of > 0).then(|| part / of as f64);
    match number {
        "accuracy" => share(tally.correct as f64, tally.n),
        // The standard error of a share, with one more right and one more wrong answer, so that 0 and 1 have one too.
        "accuracy_se" => (tally.n > 0).then(|| {
            let n = tally.n as f64 + 2.0;
            let share = (tally.correct as f64 + 1.0) / n;
            (share * (1.0 - share) / n).sqrt()
        }),
        "accuracy_official" => share(tally.correct_official as f64, tally.official_n),
        "accuracy_lenient" => share(tally.correct_lenient as f64, tally.n),
        "think_rate" => share(tally.think as f64, tally.n),
        "format_rate" => share(tally.well_formed as f64, tally.n),
        "truncated_rate" => share(tally.truncated as f64, tally.n),
        "consistency" => share(tally.consistency_sum, tally.consistency_n),
        "think_quality" => share(tally.think_quality_sum, tally.think_quality_n),
        "completion_tokens_mean" => share(tally.completion_tokens as f64, tally.n),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_found_by_their_dotted_names() {
        let row = json!({
            "reward": 0.5, "kl": null, "components": { "think": 0.25, "a.b": 2, "none": null },
            "groups_excluded": { "equal_rewards": 3 }, "reward_metrics": { "a.b": { "x": 7.0 } }, "judge_failures": {}
        });
        for (name, expected) in [
            ("reward", Some(0.5)),
            ("kl", None),
            ("loss", None),
            ("components.think", Some(0.25)),
            ("components.a.b", Some(2.0)),
            ("components.none", None),
            ("components.other", None),
            ("groups_excluded.equal_rewards", Some(3.0)),
            ("groups_excluded.step_skipped", Some(0.0)),
            ("judge_failures.timeout", Some(0.0)),
            ("missing.think", None),
            ("reward_metrics.a.b.x", Some(7.0)),
            ("reward_metrics.a.b.y", None),
        ] {
            assert_eq!(number(&row, name), expected, "{name}");
        }
    }

    #[test]
    fn numbers_of_an_evaluation_are_of_a_suite_as_it_is() {
        let row = |suite: &str, control, correct| Evaluation {
            suite: suite.into(),
            control,
            overall: Tally { n: 98, correct, think: 49, ..Tally::default() },
            ..Evaluation::default()
        };
        let rows = [row("a", Some(scenarios::Control::Silence), 1), row("a", None, 49), row("b.c", None, 98)];
        assert_eq!(evaluation_number(&rows, "eval.accuracy"), Some(0.5));
        assert_eq!(evaluation_number(&rows, "eval.b.c.accuracy"), Some(1.0));
        assert_eq!(evaluation_number(&rows, "eval.a.think_rate"), Some(0.5));
        assert_eq!(evaluation_number(&rows, "eval.consistency"), None, "nothing was judged");
        // √(0.5 · 0.5 / 100), and √(0.99 · 0.01 / 100)
        assert!((evaluation_number(&rows, "eval.accuracy_se").unwrap() - 0.05).abs() < 1e-12);
        assert!(
            (evaluation_number(&rows, "eval.b.c.accuracy_se").unwrap() - 0.0099f64.sqrt() / 10.0).abs()
                < 1e-12
        );
    }
}
