//! The names of linear layers in adapter files.
//!
//! In this crate a layer has its hub name. PEFT names layers by the module tree of transformers, which version
//! 5 reordered for Qwen2-Audio.

use crate::config::Architecture;
use crate::parts::Part;

/// Whether a layer or tensor belongs to the audio tower or its projector.
pub(super) fn is_tower(name: &str) -> bool {
    Part::of(name) != Part::Decoder
}

/// The hub name of a tensor of the audio tower or its projector, from its name in an adapter file; `None` if it belongs
/// to neither.
pub(super) fn hub_of_tower(name: &str) -> Option<&str> {
    let bare =
        ["model.", "thinker."].into_iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    is_tower(bare).then_some(bare)
}

/// Every name that some version of transformers gives to a layer in adapter files.
pub(super) fn accepted(module: &str) -> Vec<String> {
    let mut names = vec![module.to_owned(), format!("thinker.{module}")];
    if is_tower(module) || module.starts_with("language_model.") {
        names.push(of_qwen2_audio(module));
    }
    names
}

/// The name that transformers 5 gives to a layer of Qwen2-Audio.
fn of_qwen2_audio(module: &str) -> String {
    if let Some(rest) = module.strip_prefix("language_model.model.") {
        return format!("model.language_model.{rest}");
    }
    match module.strip_prefix("language_model.") {
        Some(head) => head.to_owned(),
        None => format!("model.{module}"),
    }
}

/// How the layers of a base are named in adapter files that are written for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Naming {
    /// The family of the base.
    pub(crate) architecture: Architecture,
    /// `thinker.` for the whole Qwen2.5-Omni, of which the thinker is a part. vLLM ignores tensors without it, and says
    /// nothing.
    pub(crate) prefix: &'static str,
}

impl Naming {
    /// The name that transformers 5 gives to a layer.
    pub(super) fn written(self, module: &str) -> String {
        match self.architecture {
            Architecture::Qwen2Audio => of_qwen2_audio(module),
            _ => format!("{}{module}", self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_qwen2_audio_are_accepted_under_the_names_of_both_versions() {
        let cases = [
            ("language_model.model.layers.0.mlp.up_proj", "model.language_model.layers.0.mlp.up_proj"),
            ("language_model.lm_head", "lm_head"),
            ("audio_tower.layers.0.fc1", "model.audio_tower.layers.0.fc1"),
            ("multi_modal_projector.linear", "model.multi_modal_projector.linear"),
        ];
        for (hub, new) in cases {
            assert_eq!(of_qwen2_audio(hub), new);
            assert!(
                accepted(hub).contains(&hub.to_owned()) && accepted(hub).contains(&new.to_owned()),
                "{hub}"
            );
        }
    }

    #[test]
    fn layers_of_the_others_have_their_hub_names_with_or_without_the_thinker_prefix() {
        for hub in ["model.layers.0.mlp.up_proj", "audio_tower.layers.0.fc1", "lm_head"] {
            let thinker = format!("thinker.{hub}");
            let written = |prefix| Naming { architecture: Architecture::Qwen25Omni, prefix }.written(hub);
            assert_eq!([written("thinker."), written("")], [thinker.clone(), hub.to_owned()]);
            assert!(accepted(hub).contains(&thinker) && accepted(hub).contains(&hub.to_owned()));
        }
    }
}
