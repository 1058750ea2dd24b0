use serde_json::{Value, json};

use super::*;
use crate::lines::Lines as _;

/// Steps 1 to `last`, each of 10 tokens and half a second; the reward is `step · factor`.
fn columns(last: u64, factor: f64) -> Columns {
    let mut columns = Columns::default();
    for step in 1..=last {
        let row = json!({
            "step": step, "reward": step as f64 * factor, "tokens_per_second": 20, "step_seconds": 0.5,
            "missing": {"think": 0}, "kl": null,
        });
        columns.take(0, row.to_string().as_bytes());
    }
    columns
}

fn curve(seed: u64, columns: &Columns, query: &CurvesQuery, known: Option<u64>) -> Option<SeedCurve> {
    let held_out = HeldOut::default();
    let news = News::of(columns, &held_out, query, 2.0, known)?;
    Some(SeedCurve::of(&ArmId::new("a", seed), columns, &held_out, query, 2.0, news))
}

fn line(columns: &Columns, query: &CurvesQuery, width: f64) -> Value {
    let held_out = HeldOut::default();
    let news = News { from: 0, evaluations: true };
    let curve = SeedCurve::of(&ArmId::new("a", 7), columns, &held_out, query, width, news);
    serde_json::to_value(CurveLine::of(&[curve], query)).unwrap()
}

#[test]
fn a_point_has_the_mean_and_the_extremes_of_its_rows() {
    let query = CurvesQuery { band: true, ..Default::default() };
    let line = line(&columns(5, 1.0), &query, 2.0);
    // Steps 1 2 | 3 4 | 5.
    assert_eq!(line["x"], json!([2.0, 4.0, 5.0]));
    assert_eq!(
        line["values"]["reward"],
        json!({"mean": [1.5, 3.5, 5.0], "low": [1.0, 3.0, 5.0], "high": [2.0, 4.0, 5.0]})
    );
    assert_eq!(line["seeds"][0]["latest"]["reward"], 5.0);
    assert_eq!(line["values"].get("kl"), None, "a metric without a value has no curve");
}

#[test]
fn several_seeds_are_the_mean_of_their_means_and_the_range_between_them() {
    let query = CurvesQuery { band: true, ..Default::default() };
    let (short, long) = (columns(4, 1.0), columns(6, 3.0));
    let curves = [curve(7, &short, &query, None).unwrap(), curve(8, &long, &query, None).unwrap()];
    let line = CurveLine::of(&curves, &query);
    // Means 1.5 3.5 – and 4.5 10.5 16.5.
    let mean = vec![Some(3.0), Some(7.0), Some(16.5)];
    let (low, high) = (vec![Some(1.5), Some(3.5), Some(16.5)], vec![Some(4.5), Some(10.5), Some(16.5)]);
    assert_eq!(line.values["reward"], CurveValues { mean, low, high });
    assert_eq!(line.x, [2.0, 4.0, 6.0]);
}

#[test]
fn a_line_is_an_arm_or_an_arm_under_a_seed() {
    let ids = [("a", 7), ("b", 7), ("a", 8)].map(|(arm, seed)| ArmId::new(arm, seed));
    assert_eq!(groups(&ids, &CurvesQuery::default()), [vec![0, 2], vec![1]]);
    let apart = CurvesQuery { seeds: Seeds::Apart, ..Default::default() };
    assert_eq!(groups(&ids, &apart), [[0], [1], [2]]);
}

#[test]
fn curves_are_aligned_by_tokens_and_seconds_and_say_the_steps() {
    let query = CurvesQuery { x: Axis::Tokens, ..Default::default() };
    let by_tokens = line(&columns(5, 1.0), &query, 20.0);
    assert_eq!(by_tokens["x"], json!([20.0, 40.0, 50.0]));
    assert_eq!(by_tokens["seeds"][0]["steps"], json!([2, 4, 5]));
    assert_eq!(by_tokens["values"]["reward"], json!({"mean": [1.5, 3.5, 5.0]}));
    let query = CurvesQuery { x: Axis::Seconds, ..Default::default() };
    assert_eq!(line(&columns(5, 1.0), &query, 1.0)["x"], json!([1.0, 2.0, 2.5]));
}

#[test]
fn only_the_points_that_may_have_changed_are_sent_again() {
    let query = CurvesQuery::default();
    let columns = columns(7, 1.0);
    // Point 2 has the steps 5 and 6; the client had 5 of them.
    let new = curve(7, &columns, &query, Some(5)).unwrap();
    assert_eq!(new.points.iter().map(|point| point.number).collect::<Vec<_>>(), [2, 3]);
    assert!(curve(7, &columns, &query, Some(7)).is_none(), "nothing is new");
    assert_eq!(
        curve(7, &columns, &query, Some(9)).unwrap().points.len(),
        4,
        "the client has rows that are gone"
    );
    // Of two seeds, both are sent from the first point that changed in either.
    let (early, late) = (News { from: 2, evaluations: false }, News { from: 5, evaluations: true });
    assert_eq!(late.and(early), News { from: 2, evaluations: true });
}

#[test]
fn a_range_is_sent_with_a_point_beyond_each_end() {
    let query = CurvesQuery { from: Some(40.0), to: Some(60.0), ..Default::default() };
    let line = line(&columns(100, 1.0), &query, 10.0);
    // Steps 40 to 60 are in the points 3, 4 and 5.
    assert_eq!(line["x"], json!([30.0, 40.0, 50.0, 60.0, 70.0]));
}

#[test]
fn the_width_is_round_and_gives_at_most_the_points_that_are_asked_for() {
    let width = |end: f64, points: usize, x: Axis| {
        CurvesQuery { points: Some(points), x, ..Default::default() }.width(end)
    };
    assert_eq!(width(10_000.0, 300, Axis::Step), 50.0);
    assert_eq!(width(90.0, 300, Axis::Step), 1.0);
    assert_eq!(width(601.0, 300, Axis::Step), 5.0);
    assert_eq!(width(3.0, 300, Axis::Seconds), 0.01);
    assert_eq!(width(0.0, 300, Axis::Tokens), 1.0);
    let odd = CurvesQuery { from: Some(f64::NAN), to: Some(f64::INFINITY), ..Default::default() };
    assert!(odd.width(5.0).is_finite());
}

#[test]
fn what_the_client_has_counts_only_for_the_same_width() {
    let query = CurvesQuery { since: Some("12,,7".into()), width: Some(2.0), ..Default::default() };
    assert_eq!(query.known(2.0), Some(vec![Some(12), None, Some(7)]));
    assert_eq!(query.known(5.0), None);
}

#[test]
fn evaluations_are_where_their_step_is() {
    let mut held_out = HeldOut::default();
    for (step, correct) in [(0, 1), (2, 2), (4, 3)] {
        let row = json!({"step": step, "suite": "s", "overall": {"n": 4, "correct": correct}});
        held_out.take(0, row.to_string().as_bytes());
    }
    let query = CurvesQuery { x: Axis::Tokens, ..Default::default() };
    let columns = columns(5, 1.0);
    let news = |known| News::of(&columns, &held_out, &query, 10.0, known);
    let curve = SeedCurve::of(&ArmId::new("a", 7), &columns, &held_out, &query, 10.0, news(None).unwrap());
    let curve = CurveLine::of(&[curve], &query).held_out.unwrap();
    assert_eq!(curve.x, [0.0, 20.0, 40.0]);
    // Each is a quarter more.
    assert_eq!(curve.values["accuracy"], [Some(0.25), Some(0.5), Some(0.75)]);
    // The evaluation after step 4 was made when the client may have had step 4 already.
    assert!(news(Some(4)).unwrap().evaluations && news(Some(5)).is_none());
}

#[test]
fn six_digits_are_kept() {
    assert_eq!([short(0.123_456_789), short(-1_234.567_89), short(0.0)], [0.123_457, -1_234.57, 0.0]);
    assert_eq!(short(1e-300), 1e-300);
}
