//! Rubrics: criteria by which thinking is rated, and the points in a reply.
//!
//! A rating is Σ points / Σ max over the criteria, so it lies between 0 and 1. Several raters' ratings become one score by a
//! trimmed mean, as in MMAR-Rubrics (arXiv 2602.14224).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::{FailureCause, JudgeFailure};
use super::reply::value_of;
use crate::{Mode, ParsedCompletion, Reading, Readings};

/// Most criteria of a rubric.
pub const MOST_CRITERIA: usize = 50;

/// The options of the reward `rubric`, which are what it asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RubricTask {
    /// Number of ratings of each completion; at least `2 · trim + 1`.
    pub raters: usize,
    /// How many of the lowest ratings, and of the highest, are dropped.
    pub trim: usize,
    /// Whether a completion with a wrong answer scores 0, without being rated.
    pub only_correct: bool,
    /// The reading that decides whether an answer is wrong.
    pub reading: Reading,
    /// The score of a completion that does not think.
    pub no_think: f64,
    /// The column of the data that has the rubric of a row.
    pub column: String,
    /// Whether a server makes the rubric of a row that has none.
    pub make: bool,
    /// Number of criteria of a rubric that is made.
    pub criteria: usize,
    /// Sampling temperature of the ratings.
    pub temperature: f64,
    /// The settings of the reward's own judge; empty for that of the arm.
    pub judge: toml::Table,
}

impl Default for RubricTask {
    fn default() -> Self {
        Self {
            raters: 5,
            trim: 1,
            only_correct: true,
            reading: Reading::Official,
            no_think: 0.0,
            column: "rubric".to_owned(),
            make: true,
            criteria: 5,
            temperature: 0.7,
            judge: toml::Table::new(),
        }
    }
}

impl RubricTask {
    /// The score of a completion that is not rated: 0 for a wrong answer with `only_correct` and for a malformed completion,
    /// `no_think` for one that does not think. `None` if it has to be rated.
    pub fn unrated(&self, readings: &Readings, parsed: &ParsedCompletion) -> Option<f64> {
        if self.only_correct && !readings.earns(self.reading) || !parsed.well_formed {
            return Some(0.0);
        }
        (parsed.mode == Mode::NoThink).then_some(self.no_think)
    }
}

/// What the thinking has to show, and the points for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Criterion {
    /// What has to be shown.
    pub criterion: String,
    /// Most points; above 0.
    pub max: f64,
    /// The points that can be given, if only some can; empty for any from 0 to `max`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<f64>,
}

/// At least one criterion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rubric(pub Vec<Criterion>);

impl Rubric {
    /// Reads the rubric of a data row. A criterion is a text, which is worth 1 point; an object with `criterion` and `max`
    /// (1 if left out); or one as in MMAR-Rubrics, with `scoring_point`, optionally `name` and `note`, and the points that
    /// can be given in `choices`. A text instead of the list is read as JSON if it begins with `[`, else as one criterion
    /// per line. `None` if there is nothing: `null`, an empty list, or a blank text.
    ///
    /// Errors: [`FailureCause::Malformed`] if it has another form, with what to write instead.
    pub fn from_value(value: &Value) -> Result<Option<Self>, JudgeFailure> {
        let list = match value {
            Value::Null => return Ok(None),
            Value::Array(list) => list.clone(),
            Value::String(text) if text.trim_start().starts_with('[') => serde_json::from_str(text)
                .map_err(|error| malformed(&format!("it is a text with broken JSON ({error})")))?,
            Value::String(text) => {
                text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Value::from).collect()
            }
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                return Err(malformed(&format!("it is {value}")));
            }
        };
        if list.is_empty() {
            return Ok(None);
        }
        if list.len() > MOST_CRITERIA {
            return Err(malformed(&format!(
                "it has {} criteria, and {MOST_CRITERIA} are the most",
                list.len()
            )));
        }
        let numbered = list.iter().enumerate();
        numbered
            .map(|(index, value)| criterion(index + 1, value))
            .collect::<Result<_, _>>()
            .map(Rubric)
            .map(Some)
    }

    /// Reads the rubric that a server made.
    ///
    /// Errors: the reply has none, or one of another form.
    pub fn made(reply: &str) -> Result<Self, JudgeFailure> {
        let value = value_of(reply, "criteria")?;
        Self::from_value(&value)?.ok_or_else(|| malformed("the reply has no criteria"))
    }

    /// The numbered criteria, each with the points that can be given.
    pub fn listed(&self) -> String {
        let line = |(index, criterion): (usize, &Criterion)| {
            let points = match criterion.levels.as_slice() {
                [] => format!("0 to {}", criterion.max),
                levels => levels.iter().map(f64::to_string).collect::<Vec<_>>().join(" or "),
            };
            format!("{}. {} ({points})", index + 1, criterion.criterion)
        };
        self.0.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Reads the points of a reply, and returns Σ points / Σ max.
    ///
    /// Errors: the reply does not have one number for each criterion, or one outside of what its criterion allows.
    pub fn rating(&self, reply: &str) -> Result<f64, JudgeFailure> {
        let value = value_of(reply, "scores")?;
        let scores = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if scores.len() != self.0.len() {
            let message = format!("\"scores\" is {value}, not a list of {} numbers", self.0.len());
            return Err(JudgeFailure::new(FailureCause::Malformed, message));
        }
        let (mut points, mut most) = (0.0, 0.0);
        for (index, (criterion, score)) in self.0.iter().zip(scores).enumerate() {
            let number = index + 1;
            let Some(score) = score.as_f64().filter(|score| score.is_finite()) else {
                let message = format!("the points for criterion {number} are {score}, not a number");
                return Err(JudgeFailure::new(FailureCause::Malformed, message));
            };
            let allowed = criterion.levels.is_empty() || criterion.levels.contains(&score);
            if !(0.0..=criterion.max).contains(&score) || !allowed {
                let message =
                    format!("the points for criterion {number} are {score}, of at most {}", criterion.max);
                return Err(JudgeFailure::new(FailureCause::OutOfRange, message));
            }
            points += score;
            most += criterion.max;
        }
        Ok(points / most)
    }
}

fn criterion(number: usize, value: &Value) -> Result<Criterion, JudgeFailure> {
    let wrong = |what: &str| malformed(&format!("criterion {number} {what}"));
    let text =
        |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let Value::Object(fields) = value else {
        let criterion = text(value).ok_or_else(|| wrong(&format!("is {value}")))?;
        return Ok(Criterion { criterion, max: 1.0, levels: Vec::new() });
    };
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    if let Some(point) = field("scoring_point") {
        let point = text(point).ok_or_else(|| wrong("has no text in `scoring_point`"))?;
        let named = field("name").and_then(text).map_or_else(String::new, |name| format!("{name}: "));
        let note = field("note").and_then(text).map_or_else(String::new, |note| format!(" [{note}]"));
        let numbers = field("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let levels: Option<Vec<f64>> = numbers.iter().map(Value::as_f64).collect();
        let levels = levels.filter(|levels| levels.iter().all(|&level| level >= 0.0 && level.is_finite()));
        let max = levels.as_ref().and_then(|levels| levels.iter().copied().reduce(f64::max));
        let max = max.filter(|&max| max > 0.0).ok_or_else(|| wrong("has no points in `choices`"))?;
        let levels = levels.unwrap_or_default();
        return Ok(Criterion { criterion: format!("{named}{point}{note}"), max, levels });
    }
    let criterion = field("criterion").and_then(text).ok_or_else(|| wrong("has no text in `criterion`"))?;
    let max = match field("max") {
        None => 1.0,
        Some(max) => {
            let number = max.as_f64().filter(|max| *max > 0.0 && max.is_finite());
            number.ok_or_else(|| wrong(&format!("has `max` = {max}, not a number above 0")))?
        }
    };
    Ok(Criterion { criterion, max, levels: Vec::new() })
}

fn malformed(what: &str) -> JudgeFailure {
    let message = format!("{what}; write a list such as [{{\"criterion\": \"names the bark\", \"max\": 1}}]");
    JudgeFailure::new(FailureCause::Malformed, message)
}

/// The mean of what is left of `ratings` without the `trim` lowest and the `trim` highest. `None` if nothing is left: it takes
/// `2 · trim + 1` ratings.
pub fn trimmed_mean(ratings: &[f64], trim: usize) -> Option<f64> {
    let mut sorted = ratings.to_vec();
    sorted.sort_by(f64::total_cmp);
    let kept = sorted.get(trim..sorted.len().checked_sub(trim)?)?;
    (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rubric(value: Value) -> Rubric {
        Rubric::from_value(&value).unwrap().unwrap()
    }

    #[test]
    fn a_rubric_has_any_of_its_forms() {
        let two = rubric(json!(["names the bark", { "criterion": "counts", "max": 3 }]));
        assert_eq!((two.0[0].max, two.0[1].max), (1.0, 3.0));
        assert_eq!(rubric(json!([{ "criterion": "counts", "max": null }])).0[0].max, 1.0);
        assert_eq!(rubric(json!("- names the bark\n\n - counts ")).0[1].criterion, "- counts");
        assert_eq!(rubric(json!(r#" [{"criterion": "counts", "max": 3}]"#)).0[0], two.0[1]);
        let mmar =
            json!([{ "name": "Cue", "scoring_point": "It is named.", "note": "", "choices": [0, 0.5, 1] }]);
        assert_eq!(rubric(mmar).listed(), "1. Cue: It is named. (0 or 0.5 or 1)");
        for nothing in [json!(null), json!([]), json!(" \n")] {
            assert_eq!(Rubric::from_value(&nothing).unwrap(), None);
        }
    }

    #[test]
    fn a_rubric_of_another_form_is_refused_with_what_to_write() {
        for (value, what) in [
            (json!(3), "it is 3"),
            (json!({ "criterion": "x" }), "it is {"),
            (json!("[1"), "broken JSON"),
            (json!(["a", 3]), "criterion 2 is 3"),
            (json!([" "]), "criterion 1 is"),
            (json!([{ "max": 1 }]), "criterion 1 has no text"),
            (json!([{ "criterion": "a", "max": 0 }]), "`max` = 0"),
            (json!([{ "criterion": "a", "max": "two" }]), "not a number above 0"),
            (json!([{ "scoring_point": "a", "choices": [0, 0] }]), "no points in `choices`"),
            (json!([{ "scoring_point": "a" }]), "no points in `choices`"),
            (json!(vec!["a"; 51]), "51 criteria"),
        ] {
            let failure = Rubric::from_value(&value).unwrap_err();
            assert_eq!(failure.cause, FailureCause::Malformed);
            let message = failure.to_string();
            assert!(message.contains(what) && message.contains("; write a list such as ["), "{message}");
        }
    }

    #[test]
    fn a_rating_is_the_points_over_the_most_points() {
        let three = rubric(json!(["a", { "criterion": "b", "max": 3 }, "c"]));
        // (1 + 1.5 + 0) / (1 + 3 + 1) = 0.5
        assert_eq!(three.rating(r#"{"scores": [1, 1.5, 0]}"#).unwrap(), 0.5);
        let cause = |reply: &str| three.rating(reply).unwrap_err().cause;
        for reply in [
            r#"{"scores": [1, 1]}"#,
            r#"{"scores": [1, 1, 1, 1]}"#,
            r#"{"scores": [1, null, 1]}"#,
            r#"{"scores": [1, "3", 1]}"#,
            r#"{"scores": 3}"#,
            r#"{"score": [1, 1, 1]}"#,
            r#"{"scores": [1, 1, 1]} or {"scores": [0, 0, 0]}"#,
            "[1, 1, 1]",
        ] {
            assert_eq!(cause(reply), FailureCause::Malformed, "{reply}");
        }
        assert_eq!(cause(r#"{"scores": [2, 0, 0]}"#), FailureCause::OutOfRange);
        assert_eq!(cause(r#"{"scores": [-1, 0, 0]}"#), FailureCause::OutOfRange);
        assert_eq!(cause(""), FailureCause::Empty);
        assert_eq!(cause("I'm sorry, I cannot do that."), FailureCause::Refused);
        let levels = rubric(json!([{ "scoring_point": "a", "choices": [0, 2] }]));
        assert_eq!(levels.rating(r#"{"scores": [2]}"#).unwrap(), 1.0);
        assert_eq!(levels.rating(r#"{"scores": [1]}"#).unwrap_err().cause, FailureCause::OutOfRange);
    }

    #[test]
    fn the_lowest_and_the_highest_rating_are_dropped() {
        // 0.2 and 1.0 are dropped: (0.4 + 0.6 + 0.8) / 3 = 0.6
        assert!((trimmed_mean(&[1.0, 0.4, 0.8, 0.2, 0.6], 1).unwrap() - 0.6).abs() < 1e-12);
        assert_eq!(trimmed_mean(&[0.0, 1.0, 0.5], 1), Some(0.5));
        assert_eq!(trimmed_mean(&[1.0, 0.0], 0), Some(0.5));
        assert_eq!(trimmed_mean(&[1.0, 0.0], 1), None, "nothing is left");
        assert_eq!((trimmed_mean(&[1.0], 1), trimmed_mean(&[], 0)), (None, None));
    }
}
