//! Compares `model::loss::grpo_loss` with TRL 1.16's `GRPOTrainer` and with R1-AQA's trainer: values, gradients and
//! metrics of `fixtures/grpo`, computed in f64 (`LOSS-2`, `LOSS-3`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::loss::{GrpoConfig, Importance, LossInputs, LossKind, LossMetrics, Normalizer, grpo_loss};
use serde_json::Value;
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-6;

/// The batch that all cases share: 12 completions of at most 16 tokens, in groups of 4.
struct Batch {
    tensors: BTreeMap<String, Tensor>,
    max_completion_tokens: usize,
    clip: (f64, f64),
    /// The dtype that the losses are computed in.
    kind: Kind,
}

impl Batch {
    fn get(&self, name: &str) -> Tensor {
        let tensor = self.tensors[name].shallow_clone();
        if tensor.kind() == Kind::Float { tensor.to_kind(self.kind) } else { tensor }
    }
}

/// A case, parsed from its name, such as `grpo.sequence.beta0.04.klcorr.old`.
#[derive(Clone)]
struct Case {
    config: GrpoConfig,
    off_policy: bool,
    advantages: &'static str,
}

impl Case {
    fn parse(name: &str, clip: (f64, f64)) -> Case {
        if name == "r1aqa" {
            // On-policy GRPO. R1-AQA computes the standard deviation of the advantages differently.
            return Case { config: GrpoConfig::default(), off_policy: false, advantages: "advantages_r1aqa" };
        }
        let words: Vec<&str> = name.split('.').collect();
        let config = GrpoConfig {
            loss: match words[0] {
                "grpo" => LossKind::Grpo,
                "bnpo" => LossKind::Bnpo,
                "dr_grpo" => LossKind::DrGrpo,
                "dapo" => LossKind::Dapo,
                other => panic!("unknown loss {other}"),
            },
            importance: if words[1] == "sequence" { Importance::Sequence } else { Importance::Token },
            clip_low: clip.0,
            clip_high: clip.1,
            delta: None,
            kl_coef: if name.contains(".beta0.04.") { 0.04 } else { 0.0 },
            kl_importance_corrected: words.contains(&"klcorr"),
            ..GrpoConfig::default()
        };
        Case { config, off_policy: words.contains(&"old"), advantages: "advantages_group" }
    }
}

/// The totals that the losses of the parts of a batch are divided by.
#[derive(Clone, Copy)]
enum Totals {
    WholeBatch,
    /// Those of each part, and the losses of the parts are averaged, as in TRL's gradient accumulation.
    EachPart,
}

/// The loss, its gradient with respect to the log-probabilities, and the metrics of a batch that is split
/// into `parts` equal parts.
fn run(batch: &Batch, case: &Case, parts: i64, totals: Totals) -> (f64, Tensor, LossMetrics) {
    let logprobs = batch.get("new_logps").set_requires_grad(true);
    let (old, reference) = (batch.get("old_logps"), batch.get("ref_logps"));
    let advantages = batch.get(case.advantages);
    let mask = batch.get("mask").to_kind(Kind::Bool);
    let rows = logprobs.size()[0] / parts;
    let totals_of = |mask: &Tensor| {
        let lengths: Vec<i64> = mask.sum_dim_intlist([-1].as_slice(), false, Kind::Int64).try_into().unwrap();
        Normalizer::of_lengths(lengths.iter().map(|&n| n as usize), batch.max_completion_tokens)
    };
    let mut loss = 0.0;
    let mut metrics = LossMetrics::default();
    for part in 0..parts {
        let slice = |tensor: &Tensor| tensor.narrow(0, part * rows, rows);
        let (logprobs, old, reference) = (slice(&logprobs), slice(&old), slice(&reference));
        let (advantages, mask_part) = (slice(&advantages), slice(&mask));
        let (normalizer, weight) = match totals {
            Totals::WholeBatch => (totals_of(&mask), 1.0),
            Totals::EachPart => (totals_of(&mask_part), 1.0 / parts as f64),
        };
        let inputs = LossInputs {
            logprobs: &logprobs,
            old_logprobs: case.off_policy.then_some(&old),
            sampling_logprobs: None,
            correction: None,
            covariant: None,
            entropy: None,
            ref_logprobs: (case.config.kl_coef != 0.0).then_some(&reference),
            advantages: &advantages,
            mask: &mask_part,
            normalizer,
        };
        let outputs = grpo_loss(&inputs, &case.config);
        let weighted = outputs.loss * weight;
        weighted.backward();
        loss += weighted.double_value(&[]);
        metrics.merge(&outputs.metrics);
    }
    (loss, logprobs.grad(), metrics)
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/grpo")
}

fn tensors(file: &str) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(fixtures().join(file)).unwrap().into_iter().collect()
}

fn load() -> (Batch, serde_json::Map<String, Value>, BTreeMap<String, Tensor>) {
    let text = std::fs::read_to_string(fixtures().join("cases.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let batch = Batch {
        tensors: tensors("inputs.safetensors"),
        max_completion_tokens: document["max_completion_length"].as_u64().unwrap() as usize,
        clip: (document["eps_low"].as_f64().unwrap(), document["eps_high"].as_f64().unwrap()),
        kind: Kind::Double,
    };
    (batch, document["cases"].as_object().unwrap().clone(), tensors("grads_f64.safetensors"))
}

fn assert_close(what: &str, ours: f64, golden: f64) {
    assert!((ours - golden).abs() <= TOLERANCE, "{what}: {ours} instead of {golden}");
}

#[test]
fn every_case_equals_trl_in_value_gradient_and_metrics() {
    let (batch, cases, gradients) = load();
    assert_eq!(cases.len(), 53);
    for (name, golden) in &cases {
        let case = Case::parse(name, batch.clip);
        // For DAPO, TRL too divides by the totals of the whole accumulated batch.
        let (parts, totals) = match (name.ends_with(".accum2"), case.config.loss) {
            (true, LossKind::Dapo) => (2, Totals::WholeBatch),
            (true, _) => (2, Totals::EachPart),
            (false, _) => (1, Totals::WholeBatch),
        };
        let (loss, gradient, metrics) = run(&batch, &case, parts, totals);
        assert_close(name, loss, golden["loss"].as_f64().unwrap());
        let difference = (gradient - &gradients[&format!("{name}.dloss_dnew")]).abs().max().double_value(&[]);
        assert!(difference <= TOLERANCE, "gradient of {name} differs by {difference}");

        let Some(golden) = golden.get("metrics") else {
            continue;
        };
        let golden_metric = |key: &str| golden.get(key).map(|value| value.as_f64().unwrap());
        let means = [
            ("clip_ratio/low_mean", metrics.clip_frac_low()),
            ("clip_ratio/high_mean", metrics.clip_frac_high()),
            ("clip_ratio/region_mean", metrics.clip_frac_region()),
        ];
        for (key, ours) in means {
            assert_close(&format!("{key} of {name}"), ours, golden_metric(key).unwrap());
        }
        assert_eq!(metrics.kl().is_some(), golden_metric("kl").is_some(), "{name}");
        if let (Some(ours), Some(golden)) = (metrics.kl(), golden_metric("kl")) {
            assert_close(&format!("kl of {name}"), ours, golden);
        }
    }
}

#[test]
fn losses_in_f32_equal_trl_in_f32() {
    let (batch, cases, _) = load();
    let batch = Batch { kind: Kind::Float, ..batch };
    for (name, golden) in &cases {
        let Some(golden) = golden.get("loss_f32") else {
            continue;
        };
        let (loss, ..) = run(&batch, &Case::parse(name, batch.clip), 1, Totals::WholeBatch);
        assert_close(name, loss, golden.as_f64().unwrap());
    }
}

#[test]
fn gspo_is_grpo_with_one_ratio_per_completion() {
    let (batch, _, gradients) = load();
    let name = "grpo.sequence.beta0.04.klplain.old";
    let mut case = Case::parse(name, batch.clip);
    case.config.loss = LossKind::Gspo;
    case.config.importance = Importance::Token;
    let (_, gradient, _) = run(&batch, &case, 1, Totals::WholeBatch);
    let difference = (gradient - &gradients[&format!("{name}.dloss_dnew")]).abs().max().double_value(&[]);
    assert!(difference <= TOLERANCE);
}

#[test]
fn micro_batches_add_up_to_the_whole_batch_for_every_loss() {
    let (batch, ..) = load();
    for loss in [LossKind::Grpo, LossKind::Bnpo, LossKind::DrGrpo, LossKind::Dapo, LossKind::Gspo] {
        for importance in [Importance::Token, Importance::Sequence] {
            let mut case = Case::parse("grpo.token.beta0.04.klcorr.old", batch.clip);
            case.config = GrpoConfig { loss, importance, ..case.config };
            let (whole_loss, whole_gradient, whole_metrics) = run(&batch, &case, 1, Totals::WholeBatch);
            for parts in [2, 3, 12] {
                let (loss_sum, gradient, metrics) = run(&batch, &case, parts, Totals::WholeBatch);
                assert!((loss_sum - whole_loss).abs() < 1e-12, "{loss:?} in {parts} parts");
                let difference = (gradient - &whole_gradient).abs().max().double_value(&[]);
                assert!(difference < 1e-12, "gradient of {loss:?} in {parts} parts differs by {difference}");
                assert!((metrics.loss - whole_metrics.loss).abs() < 1e-12);
                assert!((metrics.kl_sum - whole_metrics.kl_sum).abs() < 1e-12);
                let counts = |m: &LossMetrics| (m.kl_tokens, m.clipped_low, m.clipped_high, m.ratios);
                assert_eq!(counts(&metrics), counts(&whole_metrics));
            }
        }
    }
}
