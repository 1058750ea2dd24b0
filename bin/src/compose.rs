//! `sandbox compose`: makes an audio-language model of an encoder and a language model.

use std::path::PathBuf;

use model::{ModelError, Parts};
use scenarios::{DType, PolicyPath};

use crate::cli::ComposeOptions;
use crate::failure::Failure;
use crate::streams::outln;

pub fn compose(options: &ComposeOptions) -> Result<(), Failure> {
    let out = &options.out;
    if out.exists() {
        let message = format!("{}: exists already; choose another folder with --out", out.display());
        return Err(Failure::Input(message));
    }
    let parts = Parts {
        audio: directory(&options.audio, "--audio")?,
        text: directory(&options.text, "--text")?,
        projector: options.projector.clone(),
        bf16: options.dtype == DType::Bf16,
        seed: options.seed,
    };
    let made = model::compose(&parts, out).map_err(|error| match error {
        ModelError::Torch(_) => Failure::running(error),
        error => Failure::input(error),
    })?;
    let millions = |numbers: u64| format!("{:.1} M", numbers as f64 / 1e6);
    outln!("composed: {}", out.display());
    outln!(
        "  {} parameters: encoder {}, language model {}",
        millions(made.parameters),
        millions(made.encoder_parameters),
        millions(made.parameters - made.encoder_parameters - projector_numbers(&made))
    );
    let [width, hidden] = made.projector;
    let how = if options.projector.is_some() {
        "trained"
    } else {
        "fresh: it has to be trained before the model hears"
    };
    outln!("  projector {width} -> {hidden}, {how}");
    if !made.added_tokens.is_empty() {
        outln!("  tokens added: {}", made.added_tokens.join(" "));
    }
    Ok(())
}

fn projector_numbers(made: &model::Composed) -> u64 {
    let [width, hidden] = made.projector;
    ((width + 1) * hidden) as u64
}

fn directory(path: &PolicyPath, option: &str) -> Result<PathBuf, Failure> {
    match path {
        PolicyPath::Directory(dir) => Ok(dir.clone()),
        PolicyPath::BuiltinTiny => {
            Err(Failure::Input(format!("{option} is builtin:tiny; name a folder or a model on the Hub")))
        }
    }
}
