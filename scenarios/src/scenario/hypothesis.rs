//! `[[hypothesis]]`: what a run is to find out, written before it begins.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ArmConfig;
use super::tree::{Content, Node};
use super::{de, words};
use crate::error::ScenarioError;

/// `[[hypothesis]]`: a claim about two arms that the report answers: supported, refuted or undecided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hypothesis {
    /// What the report calls it.
    pub name: String,
    /// The claim: `"ARM > ARM on METRIC"`, `<`, or `=` for a difference below the smallest effect of interest. The metrics are
    /// `accuracy`, `consistency`, `think quality`, `think rate`, `format` and `length`, each also of one difficulty, as in
    /// `accuracy (hard)`.
    pub claim: String,
    /// The suite whose answers decide. Default: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// The smallest effect of interest, above 0: percentage points, or tokens for `length`. A difference below it counts as
    /// none. Default: 2 points, 1 token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smallest_effect: Option<f64>,
}

/// A metric of the answers to held-out questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of right answers.
    Accuracy,
    /// The share of judged completions whose thinking supports their answer.
    Consistency,
    /// The mean grade of the thinking.
    ThinkQuality,
    /// The share of completions that think.
    ThinkRate,
    /// The share of completions in a valid form.
    Format,
    /// The mean length of a completion in tokens.
    Length,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Metric; 6] = [
        Metric::Accuracy,
        Metric::Consistency,
        Metric::ThinkQuality,
        Metric::ThinkRate,
        Metric::Format,
        Metric::Length,
    ];

    /// Its name in claims and tables.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::Consistency => "consistency",
            Metric::ThinkQuality => "think quality",
            Metric::ThinkRate => "think rate",
            Metric::Format => "format",
            Metric::Length => "length",
        }
    }
}

/// How a claim says that two arms compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The first arm has more.
    More,
    /// The first arm has less.
    Less,
    /// They differ by less than the smallest effect of interest.
    Same,
}

/// A claim in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The first arm.
    pub arm: String,
    /// How it compares.
    pub relation: Relation,
    /// The second arm.
    pub other: String,
    /// In what.
    pub metric: Metric,
    /// The difficulty of the questions; `None` for all questions.
    pub difficulty: Option<String>,
}

const FORM: &str = "write a claim such as \"grpo+atar+cr > grpo+atar on consistency\"";

impl Claim {
    /// Reads a claim.
    ///
    /// Errors: [`ScenarioError::Value`].
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let wrong = |problem: String, instead: String| ScenarioError::Value { problem, instead };
        let (arms, measure) =
            text.rsplit_once(" on ").ok_or_else(|| wrong("it names no metric".into(), FORM.into()))?;
        let relations = [(" > ", Relation::More), (" < ", Relation::Less), (" = ", Relation::Same)];
        let found = relations.into_iter().find_map(|(sign, relation)| {
            let (arm, other) = arms.split_once(sign)?;
            Some((arm.trim().to_owned(), relation, other.trim().to_owned()))
        });
        let (arm, relation, other) = found
            .ok_or_else(|| wrong("it does not compare two arms by `>`, `<` or `=`".into(), FORM.into()))?;
        let (metric, difficulty) =
            match measure.trim().strip_suffix(')').and_then(|text| text.split_once('(')) {
                Some((metric, difficulty)) => (metric.trim(), Some(difficulty.trim().to_owned())),
                None => (measure.trim(), None),
            };
        let metric = Metric::ALL.into_iter().find(|known| known.name() == metric).ok_or_else(|| {
            let names = Metric::ALL.map(Metric::name);
            wrong(
                format!("\"{metric}\" is no metric"),
                words::name_advice(metric, names.to_vec(), "the metrics are"),
            )
        })?;
        Ok(Claim { arm, relation, other, metric, difficulty })
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.relation {
            Relation::More => '>',
            Relation::Less => '<',
            Relation::Same => '=',
        };
        write!(f, "{} {sign} {} on {}", self.arm, self.other, self.metric.name())?;
        self.difficulty.as_ref().map_or(Ok(()), |difficulty| write!(f, " ({difficulty})"))
    }
}

/// Reads the list of hypotheses. Those about arms that are not run are left out; `known` has the names of all arms.
pub(super) fn read(
    list: Option<&Node>,
    known: &[String],
    arms: &[ArmConfig],
) -> Result<Vec<Hypothesis>, ScenarioError> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let instead = "write [[hypothesis]], in double brackets, above each hypothesis";
    let Content::Array(nodes) = &list.content else {
        return Err(ScenarioError::at(&list.place, "`hypothesis` is not a list", instead));
    };
    let mut hypotheses: Vec<Hypothesis> = Vec::new();
    for node in nodes {
        let hypothesis: Hypothesis = de::read(node, &["hypothesis"])?;
        let at = |key: &str, problem: String, instead: String| {
            ScenarioError::at(node.place_of(&[key]), problem, instead)
        };
        if hypothesis.name.is_empty() {
            return Err(at("name", "[[hypothesis]] has no `name`".into(), "add a line `name = …`".into()));
        }
        if hypotheses.iter().any(|other| other.name == hypothesis.name) {
            let problem = format!("there are two hypotheses named \"{}\"", hypothesis.name);
            return Err(at("name", problem, "give each a name of its own".into()));
        }
        let claim = Claim::parse(&hypothesis.claim).map_err(|error| match error {
            ScenarioError::Value { problem, instead } => {
                at("claim", format!("`claim` is \"{}\": {problem}", hypothesis.claim), instead)
            }
            other => other,
        })?;
        for arm in [&claim.arm, &claim.other] {
            if !known.contains(arm) {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                let problem = format!("`claim` names \"{arm}\", which is no arm");
                return Err(at("claim", problem, words::name_advice(arm, names, "the arms are")));
            }
        }
        if claim.arm == claim.other {
            return Err(at("claim", "`claim` compares an arm with itself".into(), "name two arms".into()));
        }
        if hypothesis.smallest_effect.is_some_and(|effect| !(effect.is_finite() && effect > 0.0)) {
            let problem = "`smallest_effect` is not above 0".to_owned();
            return Err(at("smallest_effect", problem, "write a difference such as 2.0".into()));
        }
        let run = |name: &String| arms.iter().find(|arm| arm.name == *name);
        let (Some(arm), Some(_)) = (run(&claim.arm), run(&claim.other)) else { continue };
        let suites: Vec<String> = arm.eval.suites.iter().map(|suite| suite.name()).collect();
        if let Some(suite) = hypothesis.suite.as_ref().filter(|suite| !suites.contains(suite)) {
            let names: Vec<&str> = suites.iter().map(String::as_str).collect();
            let problem = format!("`suite` is \"{suite}\", which the arms are not evaluated on");
            return Err(at("suite", problem, words::name_advice(suite, names, "the suites are")));
        }
        hypotheses.push(hypothesis);
    }
    Ok(hypotheses)
}

/// SHA-256 of hypotheses in hexadecimal digits, by which the report tells that none was written or changed after the run
/// began; `None` if there are none.
pub fn hypotheses_hash(hypotheses: &[Hypothesis]) -> Option<String> {
    let text = serde_json::to_vec(hypotheses).ok().filter(|_| !hypotheses.is_empty())?;
    Some(Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_names_arms_with_any_sign_and_a_metric() {
        let claim = Claim::parse("grpo+atar+cr > grpo+atar on think quality (hard)").unwrap();
        assert_eq!((claim.arm.as_str(), claim.other.as_str()), ("grpo+atar+cr", "grpo+atar"));
        assert_eq!((claim.metric, claim.difficulty.as_deref()), (Metric::ThinkQuality, Some("hard")));
        assert_eq!(claim.to_string(), "grpo+atar+cr > grpo+atar on think quality (hard)");
        assert_eq!(Claim::parse("a = b on length").unwrap().relation, Relation::Same);
        for (text, problem) in [
            ("a > b", "it names no metric"),
            ("a beats b on accuracy", "does not compare two arms"),
            ("a > b on acuracy", "did you mean `accuracy`?"),
        ] {
            let error = Claim::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
