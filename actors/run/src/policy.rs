//! Opening the policy that a scenario names.

use model::{Adapter, Bases, LoraConfig, Policy, PolicyOptions, TargetModules, Trained};
use runtime::seed::{Purpose, derive};
use scenarios::{DType, GradientCheckpointing, PolicyConfig, TrainPart};

use crate::error::InputError;

/// Opens the policy that `config` names, as it is before training. It shares what it does not train with the policies of
/// the same checkpoint that were opened with `bases`. Blocks.
///
/// Errors: [`InputError`]: the directory or the adapter can't be used.
pub fn open_policy(
    bases: &Bases,
    config: &PolicyConfig,
    device: tch::Device,
    seed: u64,
) -> Result<Policy, InputError> {
    let folder = config.path.folder()?;
    let options = PolicyOptions {
        device,
        dtype: match config.dtype {
            DType::Auto => None,
            DType::F32 => Some(tch::Kind::Float),
            DType::Bf16 => Some(tch::Kind::BFloat16),
            DType::Fastest => Some(model::speed::fastest_kind(device)),
        },
        trained: trained(config),
        adapter: config.train.lora().then(|| adapter(config, seed)),
        adapt_tower: config.train_audio_tower,
        gradient_checkpointing: match config.gradient_checkpointing {
            GradientCheckpointing::Auto => None,
            GradientCheckpointing::Always(on) => Some(on),
        },
        from_scratch: config.from_scratch.then(|| derive(seed, Purpose::Weights, &[])),
    };
    Ok(Policy::open_with(bases, &folder, &options)?)
}

/// The parts that train as a whole. `train_audio_tower` beside an adapter extends the adapter instead.
fn trained(config: &PolicyConfig) -> Trained {
    let train = &config.train;
    let all_of_it = config.train_audio_tower && !train.lora();
    Trained {
        decoder: train.has(TrainPart::Full),
        projector: train.has(TrainPart::Projector) || all_of_it,
        tower: train.has(TrainPart::Tower) || all_of_it,
    }
}

/// The adapter that `lora` in `policy.train` trains.
fn adapter(config: &PolicyConfig, seed: u64) -> Adapter {
    if let Some(folder) = &config.adapter {
        return Adapter::Directory(folder.clone());
    }
    let lora = config.lora.clone().unwrap_or_default();
    Adapter::Fresh {
        config: LoraConfig {
            rank: lora.rank as i64,
            alpha: lora.alpha,
            dropout: lora.dropout,
            target_modules: match lora.target_modules {
                scenarios::TargetModules::AllLinear => TargetModules::AllLinear,
                scenarios::TargetModules::Named(names) => TargetModules::Named(names),
                scenarios::TargetModules::Pattern(pattern) => TargetModules::Pattern(pattern),
            },
            use_rslora: false,
        },
        seed: derive(seed, Purpose::Weights, &[]),
    }
}
