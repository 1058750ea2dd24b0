//! `sandbox merge`: writes a model with a LoRA adapter merged into its weights, for programs that cannot load adapters
//! and for arms that start from the merged model.

use scenarios::{PolicyConfig, TrainPart};

use crate::{cli::MergeOptions, failure::Failure, streams::outln};

pub fn merge(options: &MergeOptions) -> Result<(), Failure> {
    if options.out.exists() {
        let message = format!("{}: exists already; choose another folder with --out", options.out.display());
        return Err(Failure::Input(message));
    }
    let config = PolicyConfig {
        path: options.policy.clone(),
        train: TrainPart::Lora.into(),
        adapter: Some(options.adapter.clone()),
        dtype: options.dtype,
        ..PolicyConfig::default()
    };
    let device = model::device::resolve("cpu").map_err(running)?.device;
    let policy = run::open_policy(&model::Bases::default(), &config, device, 0).map_err(Failure::input)?;
    policy.merge(&options.out).map_err(running)?;
    outln!("merged: {}", options.out.display());
    Ok(())
}

fn running(error: model::ModelError) -> Failure {
    Failure::Running(error.to_string())
}
