use super::*;

const ALL: [LossKind; 8] = [
    LossKind::Grpo,
    LossKind::Bnpo,
    LossKind::DrGrpo,
    LossKind::Dapo,
    LossKind::Gspo,
    LossKind::GspoToken,
    LossKind::Cispo,
    LossKind::Sapo,
];

const RATIOS: [f64; 4] = [1.5, 0.5, 1.1, 3.0];

fn row(values: &[f64]) -> Tensor {
    Tensor::from_slice(values).view([1, -1])
}

fn inputs<'a>(
    logprobs: &'a Tensor,
    old: Option<&'a Tensor>,
    advantages: &'a Tensor,
    mask: &'a Tensor,
) -> LossInputs<'a> {
    let lengths: Vec<i64> = mask.sum_dim_intlist([-1].as_slice(), false, Kind::Int64).try_into().unwrap();
    let normalizer = Normalizer::of_lengths(lengths.iter().map(|&n| n as usize), 8);
    LossInputs {
        logprobs,
        old_logprobs: old,
        sampling_logprobs: None,
        correction: None,
        covariant: None,
        entropy: None,
        ref_logprobs: None,
        advantages,
        mask,
        normalizer,
    }
}

fn no_kl(loss: LossKind) -> GrpoConfig {
    GrpoConfig { loss, kl_coef: 0.0, ..GrpoConfig::default() }
}

/// The loss of one completion whose tokens have the given ratios.
fn loss_of_ratios(ratios: &[f64], advantage: f64, config: &GrpoConfig) -> LossOutputs {
    let logprobs = row(&ratios.iter().map(|ratio| ratio.ln()).collect::<Vec<_>>());
    let old = logprobs.zeros_like();
    let mask = logprobs.ones_like().to_kind(Kind::Bool);
    let advantages = Tensor::from_slice(&[advantage]);
    grpo_loss(&inputs(&logprobs, Some(&old), &advantages, &mask), config)
}

fn value(outputs: &LossOutputs) -> f64 {
    outputs.loss.double_value(&[])
}

#[test]
fn the_clip_has_an_effect_only_where_it_lowers_the_objective() {
    // Â = 2: min(ρ, clamp(ρ, 0.8, 1.2))·2 over 1.5 0.5 1.1 3.0 is 1.2 0.5 1.1 1.2, sum 4.0, mean 1.0, times 2.
    let up = loss_of_ratios(&RATIOS, 2.0, &no_kl(LossKind::Grpo));
    assert!((value(&up) + 2.0).abs() < 1e-12);
    assert_eq!((up.metrics.clipped_low, up.metrics.clipped_high, up.metrics.ratios), (0, 2, 4));
    // Â = −2: the lower objective takes max(ρ, clamp ρ): 1.5 0.8 1.1 3.0, sum 6.4, mean 1.6, times 2.
    let down = loss_of_ratios(&RATIOS, -2.0, &no_kl(LossKind::Grpo));
    assert!((value(&down) - 3.2).abs() < 1e-12);
    assert_eq!((down.metrics.clipped_low, down.metrics.clipped_high, down.metrics.ratios), (1, 0, 4));
}

#[test]
fn delta_bounds_large_ratios_of_bad_completions() {
    // As above with 3.0 cut to 2.0: sum 5.4, mean 1.35, times 2.
    let config = GrpoConfig { delta: Some(2.0), ..no_kl(LossKind::Grpo) };
    assert!((value(&loss_of_ratios(&RATIOS, -2.0, &config)) - 2.7).abs() < 1e-12);
}

#[test]
fn gspo_has_one_geometric_mean_ratio_per_completion() {
    // The geometric mean of 4 and 1/4 is 1, so the loss is −Â, although `importance` is per token.
    // One ratio is counted.
    let outputs = loss_of_ratios(&[4.0, 0.25], 1.0, &no_kl(LossKind::Gspo));
    assert!((value(&outputs) + 1.0).abs() < 1e-12);
    assert_eq!(outputs.metrics.ratios, 1);
}

#[test]
fn asymmetric_clip_uses_its_own_bound_on_each_side() {
    // Upper bound 1.28: 1.28 0.5 1.1 1.28, sum 4.16, mean 1.04.
    let config = GrpoConfig { clip_high: 0.28, ..no_kl(LossKind::Dapo) };
    assert!((value(&loss_of_ratios(&RATIOS, 1.0, &config)) + 1.04).abs() < 1e-12);
}

#[test]
fn each_kind_of_loss_has_its_own_average() {
    // On-policy ratios are 1, so the loss of every token is −Â: row 1 has one token of −3, row 2 three tokens of +1.
    let logprobs = Tensor::zeros([2, 3], (Kind::Double, tch::Device::Cpu));
    let mask = Tensor::from_slice(&[true, false, false, true, true, true]).view([2, 3]);
    let advantages = Tensor::from_slice(&[3.0, -1.0]);
    let batch = inputs(&logprobs, None, &advantages, &mask);
    let loss = |kind| value(&grpo_loss(&batch, &no_kl(kind)));
    assert_eq!(loss(LossKind::Grpo), (-3.0 + 1.0) / 2.0);
    assert_eq!(loss(LossKind::Gspo), (-3.0 + 1.0) / 2.0);
    assert_eq!(loss(LossKind::Bnpo), (-3.0 + 3.0) / 4.0);
    assert_eq!(loss(LossKind::Dapo), (-3.0 + 3.0) / 4.0);
    let weighted = Tensor::from_slice(&[3.0, 1.0]);
    let batch = LossInputs { advantages: &weighted, ..batch };
    // The sum −3 − 3, over 2 completions × at most 8 tokens.
    assert_eq!(value(&grpo_loss(&batch, &no_kl(LossKind::DrGrpo))), -6.0 / 16.0);
}

#[test]
fn kl_is_k3_and_can_be_weighted_by_the_ratio() {
    // d = ref − new = ln 2: k3 = 2 − ln 2 − 1 = 0.306852819…; ratio 1.1, Â = 0.
    let logprobs = row(&[1.1f64.ln()]);
    let old = row(&[0.0]);
    let reference = row(&[2.2f64.ln()]);
    let (advantages, mask) = (Tensor::from_slice(&[0.0]), Tensor::from_slice(&[true]).view([1, 1]));
    let batch =
        LossInputs { ref_logprobs: Some(&reference), ..inputs(&logprobs, Some(&old), &advantages, &mask) };
    let k3 = 1.0 - 2.0f64.ln();
    let plain = grpo_loss(&batch, &GrpoConfig::default());
    assert!((value(&plain) - 0.04 * k3).abs() < 1e-12);
    let corrected = GrpoConfig { kl_importance_corrected: true, ..GrpoConfig::default() };
    let corrected = grpo_loss(&batch, &corrected);
    assert!((value(&corrected) - 0.04 * 1.1 * k3).abs() < 1e-12);
    assert!((corrected.metrics.kl().unwrap() - 1.1 * k3).abs() < 1e-12);
    // With coefficient 0, the KL divergence is measured but not part of the loss.
    let unweighted = grpo_loss(&batch, &no_kl(LossKind::Grpo));
    assert_eq!(value(&unweighted), 0.0);
    assert!((unweighted.metrics.kl().unwrap() - k3).abs() < 1e-12);
}

#[test]
fn padding_has_no_influence_even_if_it_is_not_a_number() {
    // LOSS-1. The unmasked tokens are on-policy: loss −Â = −1, gradient −1/2 each. The second row is empty.
    let logprobs = Tensor::from_slice(&[-1.0, -2.0, f64::NEG_INFINITY, f64::NAN, -1.0, -1.0]).view([2, 3]);
    let logprobs = logprobs.set_requires_grad(true);
    let mask = Tensor::from_slice(&[true, true, false, false, false, false]).view([2, 3]);
    let advantages = Tensor::from_slice(&[1.0, 5.0]);
    let reference = logprobs.detach();
    for kind in ALL {
        let mut logprobs = logprobs.shallow_clone();
        logprobs.zero_grad();
        let batch = inputs(&logprobs, None, &advantages, &mask);
        let batch = LossInputs { ref_logprobs: Some(&reference), ..batch };
        let outputs = grpo_loss(&batch, &GrpoConfig { loss: kind, ..GrpoConfig::default() });
        outputs.loss.backward();
        assert!(value(&outputs).is_finite(), "{kind:?}");
        let gradient: Vec<f64> = logprobs.grad().view(-1).try_into().unwrap();
        let token = match kind {
            LossKind::Grpo | LossKind::Gspo | LossKind::GspoToken | LossKind::Sapo => -1.0 / 2.0 / 2.0,
            LossKind::Bnpo | LossKind::Dapo | LossKind::Cispo => -1.0 / 2.0,
            LossKind::DrGrpo => -1.0 / 16.0,
        };
        assert_eq!(gradient, [token, token, 0.0, 0.0, 0.0, 0.0], "{kind:?}");
    }
}

#[test]
#[should_panic(expected = "kl_coef > 0 needs ref_logprobs")]
fn a_kl_weight_without_a_reference_is_refused() {
    loss_of_ratios(&[1.0], 1.0, &GrpoConfig::default());
}

#[test]
#[should_panic(expected = "advantages must be [N]")]
fn advantages_that_would_broadcast_are_refused() {
    let logprobs = row(&[0.0, 0.0]);
    let mask = logprobs.ones_like().to_kind(Kind::Bool);
    let one = logprobs.narrow(1, 0, 1);
    grpo_loss(&inputs(&logprobs, None, &one, &mask), &no_kl(LossKind::Grpo));
}

/// DeGRPO: the first token has a weight of its own, and the others their mean.
#[test]
fn the_first_token_can_be_weighted_by_itself() {
    // Without a clip in force and Â = 1, the loss of a token is −ρ: −(0.1·0.9 + (1.1 + 1.0 + 0.95) / 3).
    let config = GrpoConfig { mode_token_coef: Some(0.1), ..no_kl(LossKind::Grpo) };
    let found = value(&loss_of_ratios(&[0.9, 1.1, 1.0, 0.95], 1.0, &config));
    assert!((found + 0.09 + 3.05 / 3.0).abs() < 1e-12, "{found}");
    // A completion of its first token alone.
    let found = value(&loss_of_ratios(&[0.9], 1.0, &config));
    assert!((found + 0.09).abs() < 1e-12, "{found}");
}

/// HGPO: the first token has the advantage of its mode too.
#[test]
fn a_token_can_have_an_advantage_of_its_own() {
    let logprobs = row(&[0.9f64.ln(), 1.1f64.ln()]);
    let old = logprobs.zeros_like();
    let mask = logprobs.ones_like().to_kind(Kind::Bool);
    let each = row(&[3.0, 1.0]);
    // −(0.9·3 + 1.1·1) / 2
    let found = value(&grpo_loss(&inputs(&logprobs, Some(&old), &each, &mask), &no_kl(LossKind::Grpo)));
    assert!((found + 1.9).abs() < 1e-12, "{found}");
    let same = row(&[2.0, 2.0]);
    let by_completion = Tensor::from_slice(&[2.0]);
    for loss in ALL {
        let of = |advantages: &Tensor| {
            let config = GrpoConfig { off_policy_threshold: Some(0.01), ..no_kl(loss) };
            grpo_loss(&inputs(&logprobs, Some(&old), advantages, &mask), &config)
        };
        assert_eq!(value(&of(&same)), value(&of(&by_completion)), "{loss:?}");
        assert_eq!(of(&same).metrics, of(&by_completion).metrics, "{loss:?}");
    }
}
