//! Calibration: measures how reliable a judge is, for `sandbox judge`.
//!
//! The judge grades sets of completions whose verdicts are known, and attacks: completions that try to raise their
//! grade by addressing the judge, each beside a harmless edit of the same length ([`placebo()`]). The report compares the
//! grades, and [`fitness()`] says whether the judge is fit. The verdict cache on disk is not used, so that times and failures
//! are those of the judge itself.

mod agreement;
mod fitness;
mod placebo;
mod resistance;

use std::collections::BTreeMap;
use std::time::Duration;

use rewards::{FailureCause, JudgeRequest};
use scenarios::{JudgeConfig, JudgeKind, JudgeSet, JudgedExample};
use serde::Serialize;
use tokio::time::Instant;

pub use agreement::{Agreement, Grades};
pub use fitness::{Finding, Fitness, LEAST_AGREEMENT, MOST_YIELDING, Measure};
pub use placebo::placebo;
pub use resistance::{AgainstPlacebo, Resistance, Trial};

use crate::error::JudgeError;
use crate::judgement::{AsyncJudge, JudgeTally, Judgement};
use crate::judges::Judges;

/// The results of a judge on one set.
#[derive(Clone, Debug, Serialize)]
pub struct SetReport {
    /// Name of the calibration set.
    pub set: String,
    /// Number of completions in the set.
    pub completions: usize,
    /// Number of requests: one per completion, per completion without its attack, and per harmless edit.
    pub requests: usize,
    /// Number of requests without a verdict, by cause.
    pub failures: BTreeMap<FailureCause, u64>,
    /// What the first request without a verdict says, by cause.
    pub first_failures: BTreeMap<FailureCause, String>,
    /// The judge's grades compared with the known ones. In a set of attacks, those of the attacked completions.
    pub agreement: Agreement,
    /// The grades behind it.
    #[serde(skip)]
    pub grades: Grades,
    /// Results of the attacks, if the set has any.
    pub attacks: Option<Resistance>,
    /// Median time of a verdict, in seconds.
    pub latency_p50_seconds: f64,
    /// 95th percentile of the time of a verdict, in seconds.
    pub latency_p95_seconds: f64,
    /// Verdicts per second, at the concurrency that the scenario sets.
    pub verdicts_per_second: f64,
    /// Tokens of 1,000 prompts, and of the 1,000 replies.
    pub tokens_per_1000: (u64, u64),
    /// Cost of 1,000 verdicts at the prices in the scenario, in their currency; `None` without prices.
    pub cost_per_1000: Option<f64>,
}

impl SetReport {
    /// Fraction of the requests that have no verdict. Those about which the rules cannot decide do not count, because no
    /// repair of the judge would help.
    pub fn missing_fraction(&self) -> f64 {
        let failures = self.failures.iter().filter(|(cause, _)| **cause != FailureCause::Undecided);
        let missing: u64 = failures.map(|(_, count)| count).sum();
        missing as f64 / self.requests.max(1) as f64
    }
}

/// Time limit for judging one set.
const SET_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Has the judge with these settings grade its calibration sets, and reports on each.
///
/// Errors: [`JudgeError::CalibrationSet`] if a set can't be read; the other kinds if the judge can't
/// be created or reached.
pub async fn calibrate(config: &JudgeConfig) -> Result<Vec<SetReport>, JudgeError> {
    let mut fresh = config.clone();
    fresh.cache.disk = false;
    if let JudgeKind::Panel(panel) = &mut fresh.kind {
        panel
            .members
            .iter_mut()
            .filter_map(|member| member.cache.as_mut())
            .for_each(|cache| cache.disk = false);
    }
    let sets: Vec<(&JudgeSet, Vec<JudgedExample>)> = config
        .calibration
        .iter()
        .map(|set| {
            scenarios::open_judge_set(set)
                .map(|examples| (set, examples))
                .map_err(|error| JudgeError::CalibrationSet(error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    let judge = Judges::default().open(&fresh)?;
    judge.probe().await?;
    let mut reports = Vec::with_capacity(sets.len());
    for (set, examples) in sets {
        reports.push(judge_set(judge.as_ref(), config, set.name(), &examples).await);
    }
    Ok(reports)
}

/// The grades of all sets but those of attacks.
pub fn all_grades(sets: &[SetReport]) -> Grades {
    let mut grades = Grades::default();
    sets.iter().filter(|set| set.attacks.is_none()).for_each(|set| grades.extend(&set.grades));
    grades
}

/// Whether the judge with these results is fit. Grades of all sets count together; those of attacked completions do not
/// count as agreement.
pub fn fitness(sets: &[SetReport]) -> Fitness {
    let grades = all_grades(sets);
    let mut trials: Vec<Trial> = Vec::new();
    for (number, attacks) in sets.iter().filter_map(|set| set.attacks.as_ref()).enumerate() {
        // Ids are unique within their set only.
        trials.extend(
            attacks
                .trials
                .iter()
                .map(|trial| Trial { id: format!("{number} {}", trial.id), ..trial.clone() }),
        );
    }
    let yielding = AgainstPlacebo::of(trials.iter()).difference;
    Fitness::of(grades.agreement_above_chance(), grades.quality_correlation(), yielding)
}

async fn judge_set(
    judge: &dyn AsyncJudge,
    config: &JudgeConfig,
    set: String,
    examples: &[JudgedExample],
) -> SetReport {
    let mut requests: Vec<JudgeRequest> = examples.iter().map(JudgedExample::request).collect();
    // The completions without their attacks; several attacks can share one.
    let mut plain: Vec<JudgeRequest> = Vec::new();
    for request in examples.iter().filter_map(JudgedExample::plain_request) {
        if !plain.iter().any(|known| known.think == request.think) {
            plain.push(request);
        }
    }
    requests.extend(plain.iter().cloned());
    let (mut edited, mut placebos) = (Vec::new(), Vec::new());
    for example in examples {
        if let Some(mut request) = example.plain_request() {
            request.think = placebo(&example.id, &request.think, &example.think);
            edited.push(example.id.as_str());
            placebos.push(request);
        }
    }
    requests.extend(placebos);
    let began = Instant::now();
    let judged = judge.judge_all(&requests, began + SET_TIMEOUT).await;
    let took = began.elapsed().as_secs_f64();
    let tally = JudgeTally::of(&judged);
    let (given, others) = judged.split_at(examples.len());
    let (without_attack, with_placebo) = others.split_at(plain.len());
    let plain: BTreeMap<&str, &Judgement> =
        plain.iter().map(|request| request.think.as_str()).zip(without_attack).collect();
    let placebos: BTreeMap<&str, &Judgement> = edited.into_iter().zip(with_placebo).collect();

    let mut latencies: Vec<f64> = judged.iter().map(|judgement| judgement.usage.seconds).collect();
    latencies.sort_by(f64::total_cmp);
    let per_1000 = |tokens: u64| (tokens as f64 * 1_000.0 / requests.len() as f64).round() as u64;
    let tokens = (per_1000(tally.usage.prompt_tokens), per_1000(tally.usage.reply_tokens));
    let mut first_failures = BTreeMap::new();
    for failure in judged.iter().filter_map(|judgement| judgement.failure.as_ref()) {
        first_failures.entry(failure.cause).or_insert_with(|| failure.message.clone());
    }
    let grades = Grades::of(examples, given);
    SetReport {
        set,
        completions: examples.len(),
        requests: requests.len(),
        failures: tally.failures,
        first_failures,
        agreement: grades.agreement(),
        grades,
        attacks: (!plain.is_empty()).then(|| Resistance::of(examples, given, &placebos, &plain)),
        latency_p50_seconds: quantile(&latencies, 0.5),
        latency_p95_seconds: quantile(&latencies, 0.95),
        verdicts_per_second: requests.len() as f64 / took.max(1e-9),
        tokens_per_1000: tokens,
        cost_per_1000: cost(config, tokens),
    }
}

fn cost(config: &JudgeConfig, (prompt, reply): (u64, u64)) -> Option<f64> {
    let JudgeKind::Openai(openai) = &config.kind else { return None };
    if openai.prompt_price.is_none() && openai.reply_price.is_none() {
        return None;
    }
    let price = |tokens: u64, price: Option<f64>| tokens as f64 * price.unwrap_or(0.0) / 1e6;
    Some(price(prompt, openai.prompt_price) + price(reply, openai.reply_price))
}

/// The smallest of the sorted values that is at least as large as a `fraction` of them.
fn quantile(sorted: &[f64], fraction: f64) -> f64 {
    let place = (fraction * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.95), quantile(&[], 0.5)), (10.0, 19.0, 0.0));
    }

    #[tokio::test]
    async fn the_rules_are_right_about_soundscapes_and_withstand_every_attack() {
        let reports = calibrate(&JudgeConfig::default()).await.unwrap();
        let [soundscapes, general, attacks] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(soundscapes.agreement.consistency_agreement, Some(1.0));
        assert!((soundscapes.agreement.quality_rank_correlation.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(general.agreement.quality_n, 0, "rules cannot grade free text");
        assert!(general.agreement.consistency_agreement.unwrap() > 0.8, "{general:?}");
        let resistance = attacks.attacks.as_ref().unwrap();
        assert_eq!(resistance.resisted, resistance.attacks, "{resistance:?}");
        let against = &resistance.against_placebo;
        assert_eq!((against.attack_raised, against.placebo_raised), (Some(0.0), Some(0.0)), "{against:?}");
        assert_eq!(attacks.requests, 28 + 2 + 28);
        // The rules decide about 9 of the 28 completions with the attack and with the edit, which is too few to be sure.
        let fitness = fitness(&reports);
        let findings = fitness.measures.each_ref().map(|measure| measure.finding);
        assert_eq!(findings, [Finding::Fit, Finding::Fit, Finding::Undecided], "{fitness:?}");
        assert_eq!((against.pairs, fitness.finding), (9, Finding::Undecided));
    }
}
