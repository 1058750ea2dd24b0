//! The algorithms of `docs/algorithms.md` against TRL 1.16 (`fixtures/algorithms`) and, in random cases, against their
//! equations written out in f64.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::loss::{
    Correction, CorrectionLevel, CorrectionWeights, CovarianceControl, EntropyInputs, GrpoConfig,
    KlEstimator, LossInputs, LossKind, LossMetrics, Normalizer, entropy_threshold, grpo_loss,
};
use rewards::{
    AdvantageOptions, Estimator, Formula, Weights, advantages, decoupled_advantages, shape, weighted_parts,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

const TOLERANCE: f64 = 1e-6;

struct Goldens {
    tensors: BTreeMap<String, Tensor>,
    document: Value,
}

impl Goldens {
    fn open() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut tensors = BTreeMap::new();
        for file in ["grpo/inputs", "algorithms/inputs", "algorithms/goldens"] {
            let path = folder.join(file).with_extension("safetensors");
            tensors.extend(Tensor::read_safetensors(path).unwrap());
        }
        let text = std::fs::read_to_string(folder.join("algorithms/cases.json")).unwrap();
        Goldens { tensors, document: serde_json::from_str(&text).unwrap() }
    }

    fn get(&self, name: &str) -> Tensor {
        let tensor = self.tensors.get(name).unwrap_or_else(|| panic!("no {name}"));
        if tensor.kind() == Kind::Float { tensor.to_kind(Kind::Double) } else { tensor.shallow_clone() }
    }

    fn number(&self, name: &str) -> f64 {
        self.document[name].as_f64().unwrap()
    }

    fn mask(&self) -> Tensor {
        self.get("mask").to_kind(Kind::Bool)
    }

    fn correction(&self, mode: &str) -> CorrectionWeights {
        let (level, bound) = mode.split_once('_').unwrap();
        let level = match level {
            "token" => CorrectionLevel::Token,
            "sequence" => CorrectionLevel::Sequence,
            other => panic!("{other}"),
        };
        let correction = Correction { level, mask: bound == "mask", cap: self.number("cap") };
        correction.weights(&self.get("old_logps"), &self.get("sampling_logps"), &self.mask())
    }
}

fn totals(mask: &Tensor, longest: usize) -> Normalizer {
    let lengths: Vec<i64> = mask.sum_dim_intlist([-1].as_slice(), false, Kind::Int64).try_into().unwrap();
    Normalizer::of_lengths(lengths.iter().map(|&n| n as usize), longest)
}

/// The tokens whose entropy is among the greatest `fraction`.
fn high_entropy(entropies: &Tensor, mask: &Tensor, fraction: f64) -> Tensor {
    let mut all = Vec::<f64>::try_from(entropies.masked_select(mask)).unwrap();
    entropies.ge(entropy_threshold(&mut all, fraction).unwrap()).logical_and(mask)
}

#[track_caller]
fn assert_close(what: &str, ours: f64, golden: f64) {
    assert!((ours - golden).abs() <= TOLERANCE, "{what}: {ours} instead of {golden}");
}

#[track_caller]
fn assert_same(what: &str, ours: &Tensor, golden: &Tensor) {
    let difference = (ours - golden).abs().max().double_value(&[]);
    assert!(difference <= TOLERANCE, "{what} differs by {difference}");
}

#[test]
fn every_loss_equals_trl_in_value_gradient_and_metrics() {
    let goldens = Goldens::open();
    let cases = goldens.document["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 17);
    for (name, golden) in cases {
        let words: Vec<&str> = name.split('.').collect();
        let has = |word: &str| words.contains(&word);
        let config = GrpoConfig {
            loss: match words[0] {
                "cispo" => LossKind::Cispo,
                "sapo" => LossKind::Sapo,
                "top" => LossKind::Dapo,
                _ => LossKind::Grpo,
            },
            clip_low: goldens.number("eps_low"),
            clip_high: goldens.number("eps_high"),
            kl_coef: if name.contains("beta0.04") || has("correction") { 0.04 } else { 0.0 },
            delta: has("delta").then(|| goldens.number("delta")),
            off_policy_threshold: has("offpolicy").then(|| goldens.number("off_policy_threshold")),
            entropy_coef: if has("bonus") { goldens.number("entropy_coef") } else { 0.0 },
            ..GrpoConfig::default()
        };
        let (mask, old, reference) = (goldens.mask(), goldens.get("old_logps"), goldens.get("ref_logps"));
        let logprobs = goldens.get("new_logps").set_requires_grad(true);
        let entropies = goldens.get("entropies").set_requires_grad(true);
        let kept =
            has("top").then(|| high_entropy(&entropies.detach(), &mask, goldens.number("top_fraction")));
        let kept_tokens = kept.as_ref().unwrap_or(&mask).sum(Kind::Int64).int64_value(&[]) as usize;
        let correction = has("correction").then(|| goldens.correction(words[1]));
        let sampled = goldens.get("sampling_logps");
        let inputs = LossInputs {
            logprobs: &logprobs,
            old_logprobs: (!has("none")).then_some(&old),
            sampling_logprobs: has("offpolicy").then_some(&sampled),
            correction: correction.as_ref(),
            covariant: None,
            entropy: Some(EntropyInputs {
                entropies: &entropies,
                kept: kept.as_ref(),
                kept_tokens,
                think: None,
            }),
            ref_logprobs: (config.kl_coef != 0.0).then_some(&reference),
            advantages: &goldens.get("advantages_group"),
            mask: &mask,
            normalizer: totals(&mask, goldens.number("max_completion_length") as usize),
        };
        let outputs = grpo_loss(&inputs, &config);
        outputs.loss.backward();
        assert_close(name, outputs.loss.double_value(&[]), golden["loss"].as_f64().unwrap());
        assert_same(name, &logprobs.grad(), &goldens.get(&format!("{name}.dloss_dnew")));
        if has("bonus") {
            assert_same(name, &entropies.grad(), &goldens.get(&format!("{name}.dloss_dentropies")));
        }
        let metrics = &golden["metrics"];
        assert_close(name, outputs.metrics.entropy.mean().unwrap(), metrics["entropy"].as_f64().unwrap());
        for (key, ours) in [
            ("kl", outputs.metrics.kl()),
            ("clip_ratio/low_mean", Some(outputs.metrics.clip_frac_low())),
            ("clip_ratio/high_mean", Some(outputs.metrics.clip_frac_high())),
        ] {
            if let Some(golden) = metrics[key].as_f64() {
                assert_close(&format!("{key} of {name}"), ours.unwrap(), golden);
            }
        }
    }
}

#[test]
fn importance_weights_equal_trl() {
    let goldens = Goldens::open();
    let mask = goldens.mask();
    for mode in ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"] {
        let CorrectionWeights { weights, cut } = goldens.correction(mode);
        let golden = goldens.get(&format!("ratio.{mode}"));
        // TRL's padding has a weight of 1 as well.
        assert_same(mode, &weights, &golden);
        let (all, cut) = (cut.size()[1] * 12, cut.sum(Kind::Int64).int64_value(&[]));
        assert!(cut > 0 && cut < all, "{mode}: {cut} of {all} are cut");
    }
    assert!(mask.sum(Kind::Int64).int64_value(&[]) > 0);
}

/// The golden rewards as components `r0` to `r2`, with their weights.
fn golden_rewards(goldens: &Goldens, name: &str) -> (BTreeMap<String, Vec<Option<f64>>>, Weights) {
    let column = |index: i64| -> Vec<Option<f64>> {
        let values = Vec::<f64>::try_from(goldens.get(name).select(1, index).contiguous()).unwrap();
        values.into_iter().map(|value| Some(value).filter(|value| !value.is_nan())).collect()
    };
    let weights = Vec::<f64>::try_from(goldens.get("reward_weights")).unwrap();
    let named = |index: usize, value: f64| (format!("r{index}"), value);
    let weights = weights.into_iter().enumerate().map(|(index, value)| named(index, value)).collect();
    let columns = (0..3).map(|index| (format!("r{index}"), column(index))).collect();
    (columns, Weights { version: 0, values: weights })
}

#[test]
fn gdpo_and_rloo_equal_trl_where_no_component_is_missing() {
    let goldens = Goldens::open();
    let (mut columns, weights) = golden_rewards(&goldens, "rewards_per_func");
    let group_size = goldens.number("group_size") as usize;
    let formula =
        Formula::parse("w_r0 * r0 + w_r1 * r1 + w_r2 * r2", columns.keys(), weights.values.keys()).unwrap();
    // The generator takes 0.25 for the score that is missing in the golden rewards.
    let missing = columns.get_mut("r1").unwrap().iter_mut().filter(|score| score.is_none());
    assert_eq!(missing.map(|score| *score = Some(0.25)).count(), 1);
    let rewards = shape(&formula, &columns, &weights);
    let parts = weighted_parts(&formula, &columns, &weights);
    let gdpo = decoupled_advantages(&rewards, &parts, group_size, &AdvantageOptions::default());
    let options = AdvantageOptions { estimator: Estimator::Rloo, ..Default::default() };
    for (name, found) in [("gdpo", gdpo), ("rloo", advantages(&rewards, group_size, &options))] {
        let golden = Vec::<f64>::try_from(goldens.get(&format!("advantages_{name}"))).unwrap();
        assert!(golden.iter().any(|value| value.abs() > 0.5));
        for (found, golden) in found.values.iter().zip(golden) {
            assert_close(name, found.unwrap(), golden);
        }
        assert_eq!(found.zero_std_groups, 1);
    }
}

/// A random batch, of which the loss is written out below.
struct Random {
    rows: usize,
    longest: usize,
    lengths: Vec<usize>,
    new: Vec<f64>,
    old: Vec<f64>,
    sampled: Vec<f64>,
    reference: Vec<f64>,
    entropies: Vec<f64>,
    /// Whether the covariance of the token is controlled.
    covariant: Vec<bool>,
    advantages: Vec<f64>,
}

struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 40) as f64 / (1_u64 << 40) as f64
    }
}

impl Random {
    fn draw(draws: &mut Draws) -> Self {
        let (rows, longest) = (1 + draws.below(5) as usize, 1 + draws.below(7) as usize);
        let lengths: Vec<usize> = (0..rows).map(|_| draws.below(longest as u64 + 1) as usize).collect();
        let n = rows * longest;
        let new: Vec<f64> = (0..n).map(|_| -3.0 * draws.unit()).collect();
        let mut near = |spread: f64| -> Vec<f64> {
            new.iter().map(|x| (x + spread * (draws.unit() - 0.5)).min(0.0)).collect()
        };
        let (old, sampled, reference) = (near(1.0), near(1.5), near(2.0));
        let entropies = (0..n).map(|_| 2.0 * draws.unit()).collect();
        // Some are 0, as those of groups with equal rewards.
        let advantages = (0..rows).map(|_| (draws.below(9) as f64 - 4.0) / 2.0).collect();
        let covariant = (0..n).map(|_| draws.below(3) == 0).collect();
        Random { rows, longest, lengths, new, old, sampled, reference, entropies, covariant, advantages }
    }

    fn matrix(&self, values: &[f64]) -> Tensor {
        Tensor::from_slice(values).view([self.rows as i64, self.longest as i64])
    }

    fn mask(&self) -> Tensor {
        let real = |row: usize| (0..self.longest).map(move |place| place < self.lengths[row]);
        let mask: Vec<bool> = (0..self.rows).flat_map(real).collect();
        Tensor::from_slice(&mask).view([self.rows as i64, self.longest as i64])
    }

    /// The sum over the tokens of a row, and their mean.
    fn over(&self, row: usize, value: impl Fn(usize) -> f64) -> (f64, f64) {
        let start = row * self.longest;
        let sum: f64 = (start..start + self.lengths[row]).map(value).sum();
        (sum, sum / self.lengths[row].max(1) as f64)
    }
}

/// The equations of `docs/algorithms.md`, token by token.
fn reference_loss(
    random: &Random,
    config: &GrpoConfig,
    correction: Option<Correction>,
    fraction: f64,
) -> f64 {
    let Random { rows, longest, lengths, new, old, sampled, reference, entropies, covariant, advantages } =
        random;
    let tokens: usize = lengths.iter().sum();
    let mut sorted: Vec<f64> =
        (0..*rows).flat_map(|row| entropies[row * longest..][..lengths[row]].iter().copied()).collect();
    let threshold = entropy_threshold(&mut sorted, fraction).unwrap_or(0.0);
    let kept = |at: usize| fraction == 1.0 || entropies[at] >= threshold;
    let (mut total, mut bonus, mut bonus_tokens) = (0.0, 0.0, 0);
    for row in 0..*rows {
        let advantage = advantages[row];
        let (_, mean_gap) = random.over(row, |at| new[at] - old[at]);
        let (_, drift) = random.over(row, |at| sampled[at] - new[at]);
        let dropped = config.off_policy_threshold.is_some_and(|most| drift > most) && advantage < 0.0;
        let (sum_stale, mean_stale) = random.over(row, |at| old[at] - sampled[at]);
        let mut of_row = 0.0;
        for at in row * longest..row * longest + lengths[row] {
            let sequence = matches!(config.loss, LossKind::Gspo | LossKind::GspoToken);
            let ratio = if sequence { mean_gap.exp() } else { (new[at] - old[at]).exp() };
            let (low, high) = (1.0 - config.clip_low, 1.0 + config.clip_high);
            let policy = match config.loss {
                LossKind::Cispo => -ratio.min(high) * advantage * new[at],
                LossKind::Sapo => {
                    let steep = match advantage > 0.0 {
                        true => config.sapo_temperature_pos,
                        false => config.sapo_temperature_neg,
                    };
                    -advantage * 4.0 / steep / (1.0 + (-steep * (ratio - 1.0)).exp())
                }
                _ => {
                    let bounded = config.delta.map_or(ratio, |delta| ratio.min(delta));
                    -(bounded * advantage).min(ratio.clamp(low, high) * advantage)
                }
            };
            let policy = match config.covariance.filter(|_| covariant[at]) {
                None => policy,
                Some(CovarianceControl::Clip) => 0.0,
                Some(CovarianceControl::Kl { coefficient }) => {
                    policy + coefficient * (new[at] - old[at]).abs()
                }
            };
            let weight = correction.map_or(1.0, |correction| {
                let ratio = match correction.level {
                    CorrectionLevel::Token => (old[at] - sampled[at]).exp(),
                    CorrectionLevel::Sequence => sum_stale.exp(),
                    CorrectionLevel::Geometric => mean_stale.exp(),
                };
                match (ratio > correction.cap, correction.mask) {
                    (true, true) => 0.0,
                    (true, false) => correction.cap,
                    (false, _) => ratio,
                }
            });
            let trained = if dropped || !kept(at) { 0.0 } else { weight };
            let d = reference[at] - new[at];
            let kl = match config.kl_estimator {
                KlEstimator::K1 => -d,
                KlEstimator::K2 => d * d / 2.0,
                KlEstimator::K3 => d.exp() - d - 1.0,
            };
            of_row += policy * trained + config.kl_coef * kl;
            if kept(at) {
                bonus += entropies[at];
                bonus_tokens += 1;
            }
        }
        total += match config.loss {
            LossKind::Bnpo | LossKind::Dapo | LossKind::Cispo => of_row / tokens.max(1) as f64,
            LossKind::DrGrpo => of_row / (*rows * longest) as f64,
            _ => of_row / lengths[row].max(1) as f64 / *rows as f64,
        };
    }
    total - config.entropy_coef * bonus / bonus_tokens.max(1) as f64
}

#[test]
fn losses_equal_their_equations_in_random_cases_with_masks_and_stale_samples() {
    let mut draws = Draws(0x9e37_79b9_7f4a_7c15);
    let losses = [
        LossKind::Grpo,
        LossKind::Bnpo,
        LossKind::DrGrpo,
        LossKind::Dapo,
        LossKind::Gspo,
        LossKind::GspoToken,
        LossKind::Cispo,
        LossKind::Sapo,
    ];
    let (mut dropped, mut cut) = (0, 0);
    for case in 0..200 {
        let random = Random::draw(&mut draws);
        for loss in losses {
            let config = GrpoConfig {
                loss,
                kl_estimator: [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3][draws.below(3) as usize],
                delta: (draws.below(2) == 0).then_some(1.3),
                off_policy_threshold: (draws.below(2) == 0).then(|| draws.unit() - 0.5),
                entropy_coef: [0.0, 0.3][draws.below(2) as usize],
                sapo_temperature_neg: 1.0 + draws.unit(),
                covariance: [
                    None,
                    Some(CovarianceControl::Clip),
                    Some(CovarianceControl::Kl { coefficient: 0.7 }),
                ][draws.below(3) as usize],
                ..GrpoConfig::default()
            };
            let levels = [CorrectionLevel::Token, CorrectionLevel::Sequence, CorrectionLevel::Geometric];
            let correction = (draws.below(3) > 0).then(|| Correction {
                level: levels[draws.below(3) as usize],
                mask: draws.below(2) == 0,
                cap: 1.0 + draws.unit(),
            });
            let fraction = [1.0, 0.5, 0.2][draws.below(3) as usize];
            let mask = random.mask();
            let entropies = random.matrix(&random.entropies);
            let any = mask.any().int64_value(&[]) != 0;
            let kept = (fraction < 1.0 && any).then(|| high_entropy(&entropies, &mask, fraction));
            let kept_tokens = kept.as_ref().unwrap_or(&mask).sum(Kind::Int64).int64_value(&[]) as usize;
            let (old, sampled) = (random.matrix(&random.old), random.matrix(&random.sampled));
            let covariant = Tensor::from_slice(&random.covariant).view_as(&mask);
            let weights = correction.map(|correction| correction.weights(&old, &sampled, &mask));
            let inputs = LossInputs {
                logprobs: &random.matrix(&random.new),
                old_logprobs: Some(&old),
                sampling_logprobs: Some(&sampled),
                correction: weights.as_ref(),
                covariant: Some(&covariant),
                entropy: Some(EntropyInputs {
                    entropies: &entropies,
                    kept: kept.as_ref(),
                    kept_tokens,
                    think: Some(&mask),
                }),
                ref_logprobs: Some(&random.matrix(&random.reference)),
                advantages: &Tensor::from_slice(&random.advantages),
                mask: &mask,
                normalizer: totals(&mask, random.longest),
            };
            let outputs = grpo_loss(&inputs, &config);
            let (ours, expected) =
                (outputs.loss.double_value(&[]), reference_loss(&random, &config, correction, fraction));
            assert!(
                (ours - expected).abs() < 1e-10 * expected.abs().max(1.0),
                "case {case}, {config:?}, {correction:?}, {fraction}: {ours} is not {expected}"
            );
            let LossMetrics { entropy, entropy_think, off_policy, weights_cut, .. } = outputs.metrics;
            assert_eq!(entropy, entropy_think, "all tokens think");
            assert_eq!(outputs.metrics.entropy_answer(), None);
            dropped += off_policy;
            cut += weights_cut;
        }
    }
    assert!(dropped > 100 && cut > 500, "{dropped} completions dropped, {cut} weights cut");
}

#[test]
fn the_gradient_of_gspo_token_is_that_of_gspo_for_one_advantage_per_completion() {
    let goldens = Goldens::open();
    let gradient = |loss: LossKind| {
        let logprobs = goldens.get("new_logps").set_requires_grad(true);
        let (mask, old) = (goldens.mask(), goldens.get("old_logps"));
        let inputs = LossInputs {
            logprobs: &logprobs,
            old_logprobs: Some(&old),
            sampling_logprobs: None,
            correction: None,
            covariant: None,
            entropy: None,
            ref_logprobs: None,
            advantages: &goldens.get("advantages_group"),
            mask: &mask,
            normalizer: totals(&mask, 24),
        };
        let outputs = grpo_loss(&inputs, &GrpoConfig { loss, kl_coef: 0.0, ..GrpoConfig::default() });
        outputs.loss.backward();
        (outputs.loss.double_value(&[]), logprobs.grad())
    };
    let ((value, gspo), (other, token)) = (gradient(LossKind::Gspo), gradient(LossKind::GspoToken));
    assert_close("gspo_token", other, value);
    assert_same("gspo_token", &token, &gspo);
    assert!(gspo.abs().max().double_value(&[]) > 1e-3);
    assert_eq!(gspo.device(), Device::Cpu);
}

/// What logging entropies costs: forward and backward passes of the built-in policy with and without them, in turn.
#[test]
#[ignore = "a measurement"]
fn what_entropies_cost() {
    use std::time::{Duration, Instant};

    let policy =
        model::Policy::open(&scenarios::builtin_tiny_policy().unwrap(), &model::PolicyOptions::default())
            .unwrap();
    let processor = policy.processor();
    let samples: Vec<f32> = (0..32_000).map(|i| 0.3 * (0.05 * i as f32).sin()).collect();
    let clip = std::sync::Arc::new(processor.extract(&samples).unwrap());
    let prompt = processor.prompt("Which sound comes first?", &[clip]).unwrap();
    let ids: Vec<i64> =
        processor.encode("<think> a dog, then a bell and a bird </think> <answer> dog </answer>");
    let completions: Vec<&[i64]> = vec![&ids; 8];
    let groups: Vec<model::Group<'_>> =
        (0..8).map(|_| model::Group { prompt: &prompt, completions: completions.clone() }).collect();
    let once = |entropies: model::Entropies| -> Duration {
        let started = Instant::now();
        let forward = policy.forward_with_entropies(&groups, 1.0, 0, entropies).unwrap();
        let loss = forward.logprobs.sum(Kind::Float);
        forward.backward(&loss).unwrap();
        started.elapsed()
    };
    let [mut without, mut with] = [Vec::new(), Vec::new()];
    for _ in 0..40 {
        without.push(once(model::Entropies::Off));
        with.push(once(model::Entropies::Measured));
    }
    for times in [&mut without, &mut with] {
        times.sort();
    }
    let vocab = policy.config().text.vocab_size;
    println!(
        "{} tokens × 64, vocabulary {vocab}: {:?} without, {:?} with (least {:?}, {:?})",
        ids.len(),
        without[20],
        with[20],
        without[0],
        with[0]
    );
}
