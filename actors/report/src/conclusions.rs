//! What a run shows, in at most eight sentences. Each is made from figures of the summary and names the section of the
//! report that has them; what it claims of arms is also listed as data.
//!
//! - REPORT-4 no sentence claims a difference that was not found at the 5 % level over the whole table.

use records::StepMetrics;
use scenarios::Metric;
use serde::Serialize;
use statistics::{Estimate, Finding, Moments, mean_difference, newcombe, wilson_of_repeats};

use crate::ablation::Ablation;
use crate::arm_summary::ArmSummary;
use crate::comparison::{Comparison, Difference};
use crate::hypotheses::{Answer, Verdict};
use crate::outcomes::Measure;
use crate::recorded::{RecordedArm, RecordedRun};

/// Most sentences.
const MOST: usize = 8;

/// Most sentences about what single arms add.
const MOST_EFFECTS: usize = 3;

/// What a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// What was asked of what.
    Data,
    /// The hypotheses and their answers.
    Hypotheses,
    /// A difference between two arms.
    Effect,
    /// What factors contributed.
    Factors,
    /// Differences that are too small to matter.
    NoEffect,
    /// What can't be told.
    Undecided,
    /// A reward that rises without the accuracy.
    Hacking,
    /// What went wrong in the run.
    Trouble,
}

/// A sentence of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Conclusion {
    /// What it is about.
    pub topic: Topic,
    /// The sentence.
    pub text: String,
    /// The section of `report.html` with its figures.
    pub section: &'static str,
    /// What it says of arms.
    pub claims: Vec<ArmClaim>,
}

/// What a sentence says of an arm in comparison with another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmClaim {
    /// The arm.
    pub arm: String,
    /// The arm that it is compared with; the same arm for a claim about its own training.
    pub over: String,
    /// The metric's name.
    pub metric: String,
    /// What is claimed.
    pub finding: Finding,
}

/// The sentences about a run.
pub(crate) fn conclusions(
    run: &RecordedRun,
    arms: &[ArmSummary],
    comparisons: &[Comparison],
    ablation: Option<&Ablation>,
    answers: &[Answer],
) -> Vec<Conclusion> {
    let mut all: Vec<Conclusion> = Vec::new();
    all.extend(data(run, arms));
    all.extend(hypotheses(answers));
    all.extend(ablation.and_then(factors));
    let effects = effects(comparisons, arms);
    let found = !effects.is_empty();
    all.extend(effects);
    all.extend(too_small(comparisons));
    all.extend(undecided(comparisons, found));
    all.extend(run.arms.iter().filter_map(|arm| hacking(run, arm)).take(1));
    all.extend(trouble(arms));
    all.truncate(MOST);
    all
}

fn sentence(topic: Topic, text: String, section: &'static str, claims: Vec<ArmClaim>) -> Conclusion {
    Conclusion { topic, text, section, claims }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn data(run: &RecordedRun, arms: &[ArmSummary]) -> Option<Conclusion> {
    let suite = run.suites.first()?;
    let evaluated: Vec<&ArmSummary> = arms.iter().filter(|arm| arm.evals.contains_key(suite)).collect();
    let seeds = evaluated.iter().map(|arm| arm.seeds.len()).max()?;
    let questions = evaluated
        .iter()
        .filter_map(|arm| Some(arm.evals[suite].outcomes.as_ref()?.questions()))
        .max()
        .filter(|questions| *questions > 0);
    let questions = questions.map_or_else(|| "questions".to_owned(), |number| counted(number, "question"));
    let (arms, of_seeds) = (counted(evaluated.len(), "arm"), counted(seeds, "seed"));
    let mut text = if evaluated.len() == 1 {
        format!("{arms} with {of_seeds} was evaluated on {questions} of {suite}")
    } else {
        format!("{arms} with {of_seeds} each were evaluated on {questions} of {suite}")
    };
    if seeds == 1
        && evaluated.iter().any(|arm| arm.method.is_some_and(|method| method != scenarios::Method::None))
    {
        text.push_str("; with one seed, nothing can be said of how far another training would differ");
    }
    Some(sentence(Topic::Data, text + ".", "results", Vec::new()))
}

fn hypotheses(answers: &[Answer]) -> Option<Conclusion> {
    if answers.is_empty() {
        return None;
    }
    let of = |wanted: Verdict| {
        let names: Vec<&str> = answers
            .iter()
            .filter(|answer| answer.verdict == wanted)
            .map(|answer| answer.name.as_str())
            .collect();
        (!names.is_empty()).then(|| format!("{} {} ({})", names.len(), wanted.name(), names.join("; ")))
    };
    let parts = [Verdict::Supported, Verdict::Refuted, Verdict::Undecided, Verdict::Unanswered];
    let parts: Vec<String> = parts.into_iter().filter_map(of).collect();
    let hypotheses =
        if answers.len() == 1 { "1 hypothesis".to_owned() } else { format!("{} hypotheses", answers.len()) };
    let text = format!("Of {hypotheses}: {}.", parts.join(", "));
    Some(sentence(Topic::Hypotheses, text, "hypotheses", Vec::new()))
}

/// The factors that raise or lower the accuracy on the first suite, by their Shapley values.
fn factors(ablation: &Ablation) -> Option<Conclusion> {
    let suite = ablation.suites.first()?;
    let accuracy = suite.metrics.iter().find(|metric| metric.metric == Metric::Accuracy.name())?;
    let found: Vec<String> = accuracy
        .contributions
        .iter()
        .filter(|contribution| is_found(&contribution.value))
        .filter_map(|contribution| {
            let Estimate { value, low, high, .. } = contribution.value.estimate?;
            let more = if value < 0.0 { "takes" } else { "adds" };
            Some(format!("{} {more} {:.1} points [{low:+.1}, {high:+.1}]", contribution.factor, value.abs()))
        })
        .collect();
    if found.is_empty() {
        return None;
    }
    let text = format!(
        "Of the factors, {} of accuracy on {}, in the mean over the other factors.",
        listed(&found),
        suite.suite
    );
    Some(sentence(Topic::Factors, text, "factors", Vec::new()))
}

fn claim(comparison: &Comparison, difference: &Difference, finding: Finding) -> ArmClaim {
    ArmClaim {
        arm: comparison.arm.clone(),
        over: comparison.over.clone(),
        metric: difference.metric.clone(),
        finding,
    }
}

fn is_found(difference: &Difference) -> bool {
    matches!(difference.finding, Some(Finding::Higher | Finding::Lower))
}

/// Whether more of a metric is better; thinking and length are costs or neither.
fn is_quality(difference: &Difference) -> bool {
    matches!(difference.measure.metric, Metric::Accuracy | Metric::Consistency | Metric::ThinkQuality)
}

/// Whether the two arms are trained by different formulas: what a report is to tell first is what rewards contribute.
fn changes_rewards(comparison: &Comparison, arms: &[ArmSummary]) -> bool {
    let formula = |name: &str| arms.iter().find(|arm| arm.name == name)?.formula.as_ref();
    match (formula(&comparison.arm), formula(&comparison.over)) {
        (Some(new), Some(old)) => new != old,
        _ => false,
    }
}

/// A sentence for each of the arms with the clearest differences, those with other rewards first, and one that names the rest.
fn effects(comparisons: &[Comparison], arms: &[ArmSummary]) -> Vec<Conclusion> {
    let clear = |difference: &Difference| {
        let Some(Estimate { value, low, high, .. }) = difference.estimate else { return 0.0 };
        value.abs() / (high - low).max(1e-9)
    };
    let mut found: Vec<(&Comparison, Vec<&Difference>)> = comparisons
        .iter()
        .map(|comparison| {
            (comparison, comparison.differences.iter().filter(|found| is_found(found)).collect::<Vec<_>>())
        })
        .filter(|(_, differences)| !differences.is_empty())
        .collect();
    let strength = |differences: &[&Difference]| {
        let of = |wanted: bool| {
            differences
                .iter()
                .filter(|found| is_quality(found) == wanted)
                .map(|found| clear(found))
                .fold(0.0, f64::max)
        };
        (of(true), of(false))
    };
    let rank = |(comparison, differences): &(&Comparison, Vec<&Difference>)| {
        (changes_rewards(comparison, arms), strength(differences))
    };
    found.sort_by(|a, b| rank(b).partial_cmp(&rank(a)).unwrap_or(std::cmp::Ordering::Equal));
    let mut sentences: Vec<Conclusion> = found
        .iter()
        .take(MOST_EFFECTS)
        .map(|(comparison, differences)| {
            let parts: Vec<String> = differences.iter().map(|difference| in_words(difference)).collect();
            let text = format!(
                "With {}, {} has {} than {}.",
                comparison.adds,
                comparison.arm,
                listed(&parts),
                comparison.over
            );
            let claims = differences
                .iter()
                .filter_map(|difference| Some(claim(comparison, difference, difference.finding?)))
                .collect();
            sentence(Topic::Effect, text, "contributions", claims)
        })
        .collect();
    let rest: Vec<&str> =
        found.iter().skip(MOST_EFFECTS).map(|(comparison, _)| comparison.arm.as_str()).collect();
    if let Some(last) = sentences.last_mut().filter(|_| !rest.is_empty()) {
        let more = format!(" The table has the differences of {} too.", listed(&rest));
        last.text.push_str(&more);
    }
    sentences
}

/// `4.2 points more consistency [+1.1, +7.3]`.
fn in_words(difference: &Difference) -> String {
    let Some(Estimate { value, low, high, .. }) = difference.estimate else { return String::new() };
    let (size, metric) = (value.abs(), &difference.metric);
    let more = match (difference.measure.metric, value < 0.0) {
        (Metric::Length, false) => {
            return format!("completions {size:.1} tokens longer [{low:+.1}, {high:+.1}]");
        }
        (Metric::Length, true) => {
            return format!("completions {size:.1} tokens shorter [{low:+.1}, {high:+.1}]");
        }
        (Metric::ThinkRate, false) => "a higher",
        (Metric::ThinkRate, true) => "a lower",
        (_, false) => "more",
        (_, true) => "less",
    };
    match difference.measure.metric {
        Metric::ThinkRate => format!("{more} {metric} by {size:.1} points [{low:+.1}, {high:+.1}]"),
        _ => format!("{size:.1} points {more} {metric} [{low:+.1}, {high:+.1}]"),
    }
}

/// `a, b and c`.
fn listed<T: AsRef<str>>(parts: &[T]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// The comparisons with this finding by metric, as in `accuracy of sft and grpo; consistency in 5 of 7 comparisons`.
fn with_finding(comparisons: &[Comparison], wanted: Finding) -> Option<(String, Vec<ArmClaim>, Vec<f64>)> {
    let (mut texts, mut claims, mut detectable) = (Vec::new(), Vec::new(), Vec::new());
    for measure in Measure::shown() {
        let of = |comparison: &Comparison| {
            let mut differences = comparison.differences.iter();
            differences.find(|difference| difference.measure == measure && is_quality(difference)).cloned()
        };
        let all: Vec<(&Comparison, Difference)> =
            comparisons.iter().filter_map(|comparison| Some((comparison, of(comparison)?))).collect();
        let with: Vec<_> = all.iter().filter(|(_, difference)| difference.finding == Some(wanted)).collect();
        if with.is_empty() {
            continue;
        }
        let arms: Vec<&str> = with.iter().map(|(comparison, _)| comparison.arm.as_str()).collect();
        texts.push(if arms.len() > 3 {
            format!("{} in {} of {} comparisons", measure.name(), arms.len(), all.len())
        } else {
            format!("{} of {}", measure.name(), listed(&arms))
        });
        claims.extend(with.iter().map(|(comparison, difference)| claim(comparison, difference, wanted)));
        detectable.extend(with.iter().filter_map(|(_, difference)| difference.detectable));
    }
    (!texts.is_empty()).then(|| (texts.join("; "), claims, detectable))
}

fn too_small(comparisons: &[Comparison]) -> Option<Conclusion> {
    let (text, claims, _) = with_finding(comparisons, Finding::Equivalent)?;
    let text = format!("Changed by less than 2 points against the arm before: {text}.");
    Some(sentence(Topic::NoEffect, text, "contributions", claims))
}

fn undecided(comparisons: &[Comparison], found: bool) -> Option<Conclusion> {
    let (text, claims, mut detectable) = with_finding(comparisons, Finding::Undecided)?;
    detectable.sort_by(f64::total_cmp);
    let (least, most) = (detectable.first()?, detectable.last()?);
    let range = if most - least < 0.1 { format!("{most:.1}") } else { format!("{least:.1} to {most:.1}") };
    let begin =
        if found { "Undecided" } else { "No arm differs for certain from the arm before it. Undecided" };
    let text = format!("{begin}: {text}. Four of five such runs would find a difference of {range} points.");
    Some(sentence(Topic::Undecided, text, "contributions", claims))
}

/// An arm whose training reward rose while its accuracy on held-out questions did not.
fn hacking(run: &RecordedRun, arm: &RecordedArm) -> Option<Conclusion> {
    let suite = run.suites.first()?;
    let (mut early, mut late) = (Moments::default(), Moments::default());
    let (mut first, mut last) = ((0, 0), (0, 0));
    let mut seeds = 0;
    for seed in &arm.seeds {
        let rewards: Vec<f64> =
            seed.metrics.values().filter_map(StepMetrics::grpo).filter_map(|row| row.reward).collect();
        let window = rewards.len() / 4;
        rewards.iter().take(window).for_each(|reward| early.push(*reward));
        rewards.iter().rev().take(window).for_each(|reward| late.push(*reward));
        let evals = seed.evals.get(suite)?;
        let (before, after) = (evals.first_key_value()?.1, evals.last_key_value()?.1);
        if before.step == after.step {
            return None;
        }
        first = (first.0 + before.overall.correct, first.1 + before.overall.n);
        last = (last.0 + after.overall.correct, last.1 + after.overall.n);
        seeds += before.samples.max(1);
    }
    let (early, late) = (early.estimate()?, late.estimate()?);
    let rose = mean_difference(late, early);
    let share = |(correct, n): (u64, u64)| wilson_of_repeats(correct as f64, n, seeds);
    let accuracy = newcombe(share(last)?, share(first)?).scaled(100.0);
    if rose.low <= 0.0 || accuracy.high >= 0.0 {
        return None;
    }
    let text = format!(
        "In {} the training reward rose from {:.2} to {:.2} while the accuracy on {suite} fell by {:.1} points \
         [{:+.1}, {:+.1}]: the reward may be earned without right answers.",
        arm.name, early.value, late.value, -accuracy.value, accuracy.low, accuracy.high
    );
    let claims = vec![ArmClaim {
        arm: arm.name.clone(),
        over: arm.name.clone(),
        metric: Metric::Accuracy.name().to_owned(),
        finding: Finding::Lower,
    }];
    Some(sentence(Topic::Hacking, text, "curves", claims))
}

fn trouble(arms: &[ArmSummary]) -> Option<Conclusion> {
    let marked: Vec<String> =
        arms.iter().filter_map(|arm| Some(format!("{} ({})", arm.name, arm.mark.as_ref()?))).collect();
    let unfinished: Vec<&str> = arms
        .iter()
        .filter(|arm| arm.mark.is_none())
        .filter(|arm| arm.seeds.is_empty() || arm.seeds.iter().any(|seed| seed.status != "done"))
        .map(|arm| arm.name.as_str())
        .collect();
    let mut parts = Vec::new();
    if !marked.is_empty() {
        parts.push(format!("these went wrong: {}", marked.join(", ")));
    }
    if !unfinished.is_empty() {
        parts.push(format!("these are not complete: {}", unfinished.join(", ")));
    }
    let text = parts.join("; ");
    let mut letters = text.chars();
    let begin = letters.next()?.to_uppercase();
    let text = format!("{begin}{}; the notes say why.", letters.as_str());
    Some(sentence(Topic::Trouble, text, "notes", Vec::new()))
}

#[cfg(test)]
mod tests;
