//! Checks `[grpo]`.

use super::range::{Checked, Ranges, number, text};
use crate::scenario::{AdvantageKind, ArmConfig, GrpoConfig, LossKind, ScaleRewards};

pub(super) fn check_grpo(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let grpo = &arm.grpo;
    ranges.positive(grpo.lr, "grpo.lr")?;
    ranges.not_negative(grpo.kl_coef, "grpo.kl_coef")?;
    let clip = grpo.clip;
    ranges.need(clip > 0.0 && clip < 1.0, "grpo.clip", number(clip), "a number above 0, below 1")?;
    ranges.positive(grpo.clip_high(), "grpo.clip_high")?;
    if let Some(delta) = grpo.delta {
        let least = 1.0 + grpo.clip_high();
        let instead = format!("a number above 1 + clip_high = {}", number(least));
        ranges.need(delta > least && delta.is_finite(), "grpo.delta", number(delta), &instead)?;
    }
    ranges.at_least_one(grpo.iterations, "grpo.iterations")?;
    let (micro, prompts) = (grpo.micro_batch_prompts, arm.sampling.prompts_per_step);
    let instead = format!("up to prompts_per_step = {prompts}, or 0 for all of them");
    ranges.need(micro <= prompts, "grpo.micro_batch_prompts", micro, &instead)?;
    let relative = grpo.advantages == AdvantageKind::GroupRelative;
    let instead =
        "advantages = \"group_relative\" beside it, or leave it out: other advantages have their own divisor";
    let written = match grpo.scale_rewards {
        ScaleRewards::Group => "group",
        ScaleRewards::Batch => "batch",
        ScaleRewards::None => "none",
    };
    ranges.need(relative || written == "group", "grpo.scale_rewards", text(written), instead)?;
    ranges.positive(grpo.sapo_temperature_pos, "grpo.sapo_temperature_pos")?;
    ranges.positive(grpo.sapo_temperature_neg, "grpo.sapo_temperature_neg")?;
    check_kl(grpo, ranges)?;
    let cap = grpo.importance_cap;
    ranges.need(cap >= 1.0 && cap.is_finite(), "grpo.importance_cap", number(cap), "1 or more")?;
    if let Some(threshold) = grpo.off_policy_threshold {
        ranges.not_negative(threshold, "grpo.off_policy_threshold")?;
    }
    if let Some(coefficient) = grpo.mode_token_coef {
        ranges.not_negative(coefficient, "grpo.mode_token_coef")?;
        let instead = "leave it out, or write loss = \"grpo\" beside it";
        ranges.need(grpo.loss == LossKind::Grpo, "grpo.mode_token_coef", number(coefficient), instead)?;
    }
    ranges.not_negative(grpo.mode_advantage_coef, "grpo.mode_advantage_coef")?;
    let margin = grpo.mode_margin;
    ranges.need(margin.is_finite(), "grpo.mode_margin", number(margin), "a number")?;
    check_entropy(grpo, ranges)
}

fn check_kl(grpo: &GrpoConfig, ranges: &Ranges<'_>) -> Checked {
    let reference = grpo.kl_coef > 0.0;
    let instead = "false, or kl_coef above 0 beside it";
    ranges.need(reference || !grpo.kl_in_reward, "grpo.kl_in_reward", true, instead)?;
    let gdpo = grpo.advantages == AdvantageKind::Gdpo;
    let instead = "false with advantages = \"gdpo\": the divergence is no term of the formula";
    ranges.need(!(gdpo && grpo.kl_in_reward), "grpo.kl_in_reward", true, instead)?;
    if let Some(target) = grpo.kl_target {
        ranges.positive(target, "grpo.kl_target")?;
        let instead = "kl_coef above 0 beside it, where it begins, or leave it out";
        ranges.need(reference, "grpo.kl_target", number(target), instead)?;
    }
    ranges.positive(grpo.kl_horizon, "grpo.kl_horizon")
}

fn check_entropy(grpo: &GrpoConfig, ranges: &Ranges<'_>) -> Checked {
    let coefficient = grpo.entropy_coef;
    ranges.not_negative(coefficient, "grpo.entropy_coef")?;
    ranges.positive(grpo.entropy_coef_delta, "grpo.entropy_coef_delta")?;
    ranges.positive(grpo.entropy_coef_max, "grpo.entropy_coef_max")?;
    if let Some(target) = grpo.entropy_target {
        ranges.positive(target, "grpo.entropy_target")?;
        let most = grpo.entropy_coef_max;
        let instead = format!("a number up to entropy_coef_max = {}", number(most));
        ranges.need(coefficient <= most, "grpo.entropy_coef", number(coefficient), &instead)?;
    }
    let fraction = grpo.entropy_top_fraction;
    let good = fraction > 0.0 && fraction <= 1.0;
    ranges.need(good, "grpo.entropy_top_fraction", number(fraction), "a number above 0, up to 1")?;
    let fraction = grpo.covariance_fraction;
    let good = fraction > 0.0 && fraction <= 1.0;
    ranges.need(good, "grpo.covariance_fraction", number(fraction), "a number above 0, up to 1")?;
    let [least, most] = grpo.covariance_range;
    let good = least.is_finite() && most.is_finite() && least <= most;
    ranges.need(good, "grpo.covariance_range.0", number(least), "two numbers, the smaller first")?;
    ranges.positive(grpo.covariance_kl_coef, "grpo.covariance_kl_coef")
}
