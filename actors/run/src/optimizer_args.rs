//! The settings of an arm's optimizer, from its scenario.

use model::lr_factors;
use model::optim::{AdamWConfig, LrSchedule, LrShape};
use scenarios::{ArmConfig, LimitAction, Method};
use workers::{ComputeSlots, EntropyControl, KlControl, OptimizerArgs, WeightStore};

/// What the optimizer of an arm is made of, on every process that trains it.
pub(crate) fn optimizer_args(
    config: &ArmConfig,
    seed: u64,
    weights: WeightStore,
    threads: usize,
    compute_slots: ComputeSlots,
) -> OptimizerArgs {
    let (grpo, settings) = (&config.grpo, &config.optimizer);
    let lr = if config.method == Method::Sft { config.sft.lr } else { grpo.lr };
    let factor = |own: Option<f64>| own.map_or(1.0, |own| own / lr);
    let aligned = config.align.steps;
    OptimizerArgs {
        weights,
        kl_coef: grpo.kl_coef,
        entropy_coef: grpo.entropy_coef,
        kl_in_reward: grpo.kl_in_reward,
        kl_control: grpo.kl_target.map(|target| KlControl { target, horizon: grpo.kl_horizon }),
        entropy_control: grpo.entropy_target.map(|target| EntropyControl {
            target,
            delta: grpo.entropy_coef_delta,
            max: grpo.entropy_coef_max,
        }),
        micro_batch_prompts: grpo.micro_batch_prompts,
        max_new_tokens: config.sampling.max_new_tokens,
        reference: config.method == Method::Grpo && grpo.kl_coef > 0.0,
        adamw: AdamWConfig {
            betas: (settings.betas[0], settings.betas[1]),
            eps: settings.eps,
            weight_decay: settings.weight_decay,
            max_grad_norm: (settings.max_grad_norm > 0.0).then_some(settings.max_grad_norm),
            lr_factors: lr_factors(factor(settings.projector_lr), factor(settings.tower_lr)),
        },
        schedule: LrSchedule {
            lr,
            warmup_steps: settings.warmup_steps,
            total_steps: config.steps - aligned,
            shape: match settings.schedule {
                scenarios::Schedule::Constant => LrShape::Constant,
                scenarios::Schedule::Linear => LrShape::Linear,
                scenarios::Schedule::Cosine => LrShape::Cosine,
            },
            final_fraction: settings.final_lr_fraction,
        },
        align: (aligned > 0).then(|| LrSchedule {
            // In these steps only the projector has gradients; what it has of its own does not count.
            lr: config.align.lr / factor(settings.projector_lr),
            warmup_steps: 0,
            total_steps: aligned,
            shape: LrShape::Linear,
            final_fraction: 0.0,
        }),
        finite_checkpoints: config.limits.action != LimitAction::Ignore,
        seed,
        threads,
        compute_slots,
        ranks: None,
    }
}
