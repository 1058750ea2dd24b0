//! Checks the values of `[sampler]`, and which other settings servers can't follow.

use super::judge::{check_address, check_key_variable};
use super::range::{Checked, Ranges, number, text};
use crate::scenario::{ArmConfig, AtNewVersion, ImportanceCorrection, Method, SamplerConfig, TrainPart};

/// Most completions in flight.
const MOST_IN_FLIGHT: usize = 100_000;

/// Most tokens of a slice.
const LONGEST_SLICE: usize = 1_000_000;

/// Longest waits in seconds.
const LONGEST_WAIT: f64 = 86_400.0;

pub(super) fn check_sampler(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let sampler = &arm.sampler;
    if !sampler.has_servers() {
        return Ok(());
    }
    let instead = "the servers' addresses, such as urls = [\"http://127.0.0.1:8000\"]";
    ranges.need(!sampler.urls.is_empty(), "sampler.urls", "an empty list", instead)?;
    for (index, url) in sampler.urls.iter().enumerate() {
        let key = format!("sampler.urls.{index}");
        check_address(url, &key, ranges)?;
        let bare = !url.trim_end_matches('/').ends_with("/v1");
        ranges.need(bare, &key, text(url), "the address without /v1")?;
        let new = !sampler.urls[..index].contains(url);
        ranges.need(new, &key, text(url), "each server once")?;
    }
    check_key_variable(sampler.api_key_env.as_deref(), "sampler.api_key_env", ranges)?;
    let in_flight = sampler.concurrency;
    let instead = format!("1 to {MOST_IN_FLIGHT}");
    ranges.need((1..=MOST_IN_FLIGHT).contains(&in_flight), "sampler.concurrency", in_flight, &instead)?;
    for (key, seconds) in [
        ("sampler.timeout_seconds", sampler.timeout_seconds),
        ("sampler.give_up_seconds", sampler.give_up_seconds),
    ] {
        let good = seconds > 0.0 && seconds <= LONGEST_WAIT;
        ranges.need(good, key, number(seconds), &format!("a number above 0, at most {LONGEST_WAIT}"))?;
    }
    ranges.need(sampler.retries <= 100, "sampler.retries", sampler.retries, "0 to 100")?;
    ranges.fraction(sampler.max_dropped_fraction, "sampler.max_dropped_fraction")?;
    ranges.fraction(sampler.min_effective_fraction, "sampler.min_effective_fraction")?;
    if let Some(tolerance) = sampler.canary_tolerance {
        ranges.positive(tolerance, "sampler.canary_tolerance")?;
    }
    check_slices(sampler, ranges)?;
    check_what_servers_can(arm, ranges)
}

/// What is done between the slices of a completion.
fn check_slices(sampler: &SamplerConfig, ranges: &Ranges<'_>) -> Checked {
    let (tokens, whole) = (sampler.slice_tokens, sampler.at_new_version == AtNewVersion::Finish);
    let instead = format!("0 to {LONGEST_SLICE}");
    ranges.need(tokens <= LONGEST_SLICE, "sampler.slice_tokens", tokens, &instead)?;
    let instead = "1 or more, such as 128: sampler.at_new_version takes up a new version between two slices";
    ranges.need(whole || tokens > 0, "sampler.slice_tokens", tokens, instead)?;
    let factor = sampler.straggler_factor;
    let good = factor == 0.0 || factor >= 1.0 && factor.is_finite();
    ranges.need(good, "sampler.straggler_factor", number(factor), "0, or a number of at least 1")
}

/// The settings that a server can't follow.
fn check_what_servers_can(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let train = &arm.policy.train;
    let whole =
        [TrainPart::Full, TrainPart::Projector, TrainPart::Tower].into_iter().any(|part| train.has(part));
    let trains = arm.method != Method::None;
    let instead =
        "policy.train = \"lora\" for sampler.backend = \"vllm\", which loads adapters of the language model";
    ranges.need(!(trains && whole), "policy.train", text(&train.to_string()), instead)?;
    let tower = arm.policy.train_audio_tower;
    let instead = "false for sampler.backend = \"vllm\", which loads adapters of the language model";
    ranges.need(!(trains && tower), "policy.train_audio_tower", tower, instead)?;
    let none = arm.grpo.importance_correction == ImportanceCorrection::None;
    let instead = "\"token_truncate\" or another correction for sampler.backend = \"vllm\": the servers' log-probabilities \
                   are not quite those of the learner";
    ranges.need(
        !(arm.method == Method::Grpo && none),
        "grpo.importance_correction",
        text("none"),
        instead,
    )?;
    let sampling = &arm.sampling;
    let whole_distribution =
        "for sampler.backend = \"vllm\", whose log-probabilities would be of another distribution";
    let instead = format!("1 {whole_distribution}");
    ranges.need(sampling.top_p == 1.0, "sampling.top_p", number(sampling.top_p), &instead)?;
    let instead = format!("0 {whole_distribution}");
    ranges.need(sampling.top_k == 0, "sampling.top_k", sampling.top_k, &instead)?;
    let instead = "0 for sampler.backend = \"vllm\", which can't force tokens";
    let budget = sampling.max_think_tokens;
    ranges.need(budget == 0, "sampling.max_think_tokens", budget, instead)?;
    let forced = sampling.forced_no_think;
    ranges.need(forced == 0.0, "sampling.forced_no_think", number(forced), instead)
}
