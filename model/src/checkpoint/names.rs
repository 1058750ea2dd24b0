//! Translation of tensor names to those of the Hugging Face hub.
//!
//! On the hub, the tensors of Qwen2-Audio are `audio_tower.*`, `multi_modal_projector.*` and
//! `language_model.*`; those of the other architectures are `audio_tower.*`, `model.*` and `lm_head.*`,
//! prefixed with `thinker.` in a whole Qwen2.5-Omni.

use crate::config::Architecture;

/// The hub's name of a tensor, without the `thinker.` of a larger model. In memory, transformers 5 prefixes the parts
/// of Qwen2-Audio with `model.`; some of its versions saved `language_model.model.model.…`.
pub(super) fn hub_name(name: &str, architecture: Architecture) -> String {
    if architecture != Architecture::Qwen2Audio {
        return name.strip_prefix("thinker.").unwrap_or(name).to_owned();
    }
    let renamed = [
        ("language_model.model.model.", "language_model.model."),
        ("language_model.model.lm_head.", "language_model.lm_head."),
        ("model.language_model.", "language_model.model."),
        ("model.audio_tower.", "audio_tower."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("lm_head.", "language_model.lm_head."),
    ];
    let renamed = renamed.iter().find_map(|(other, hub)| Some(format!("{hub}{}", name.strip_prefix(other)?)));
    renamed.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_transformers_5_become_those_of_the_hub() {
        for (name, hub) in [
            ("language_model.model.model.norm.weight", "language_model.model.norm.weight"),
            ("language_model.model.norm.weight", "language_model.model.norm.weight"),
            ("language_model.model.lm_head.weight", "language_model.lm_head.weight"),
            ("model.language_model.norm.weight", "language_model.model.norm.weight"),
            ("lm_head.weight", "language_model.lm_head.weight"),
            ("model.audio_tower.conv1.bias", "audio_tower.conv1.bias"),
            ("audio_tower.conv1.bias", "audio_tower.conv1.bias"),
        ] {
            assert_eq!(hub_name(name, Architecture::Qwen2Audio), hub);
        }
    }

    #[test]
    fn thinker_has_the_same_names_within_a_whole_model() {
        for (name, hub) in [
            ("thinker.model.norm.weight", "model.norm.weight"),
            ("model.norm.weight", "model.norm.weight"),
            ("lm_head.weight", "lm_head.weight"),
            ("talker.model.norm.weight", "talker.model.norm.weight"),
        ] {
            assert_eq!(hub_name(name, Architecture::Qwen25Omni), hub);
        }
    }
}
