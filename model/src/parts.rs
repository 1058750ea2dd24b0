//! The parts of a model that are trained or frozen separately: decoder, audio tower and projector.

use crate::config::Architecture;

/// A part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The language model.
    Decoder,
    /// The audio encoder without its projector.
    Tower,
    /// The projection from the tower's width to the decoder's.
    Projector,
}

impl Part {
    /// The part that a layer or tensor belongs to, by its hub name.
    pub(crate) fn of(name: &str) -> Part {
        if name.starts_with("multi_modal_projector.") || name.starts_with("audio_tower.proj.") {
            Part::Projector
        } else if name.starts_with("audio_tower.") {
            Part::Tower
        } else {
            Part::Decoder
        }
    }

    /// The module that holds the part, by the end of its name in transformers, as in PEFT's `modules_to_save`. The tower
    /// of Qwen2.5-Omni contains its projector.
    pub(crate) fn module(self, architecture: Architecture) -> &'static str {
        match (self, architecture) {
            (Part::Decoder, _) => "language_model",
            (Part::Tower, _) => "audio_tower",
            (Part::Projector, Architecture::Qwen25Omni) => "audio_tower.proj",
            (Part::Projector, _) => "multi_modal_projector",
        }
    }
}

/// Which parts of a checkpoint train as a whole, beside an adapter or without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trained {
    /// The language model.
    pub decoder: bool,
    /// The projection from the audio tower's width to the decoder's.
    pub projector: bool,
    /// The audio encoder, without its projector.
    pub tower: bool,
}

impl Trained {
    /// Nothing: an adapter trains, or the model is only run.
    pub const NOTHING: Trained = Trained { decoder: false, projector: false, tower: false };
    /// The language model alone.
    pub const DECODER: Trained = Trained { decoder: true, ..Trained::NOTHING };
    /// All weights.
    pub const EVERYTHING: Trained = Trained { decoder: true, projector: true, tower: true };

    /// Whether this part trains.
    pub(crate) fn has(self, part: Part) -> bool {
        match part {
            Part::Decoder => self.decoder,
            Part::Tower => self.tower,
            Part::Projector => self.projector,
        }
    }
}

/// Factors of the learning rate of the projector and of the audio tower, for
/// [`AdamWConfig::lr_factors`](crate::optim::AdamWConfig::lr_factors).
pub fn lr_factors(projector: f64, tower: f64) -> Vec<(String, f64)> {
    // The first that fits counts, so the projector within the tower of Qwen2.5-Omni comes before the tower.
    [("multi_modal_projector.", projector), ("audio_tower.proj.", projector), ("audio_tower.", tower)]
        .map(|(start, factor)| (start.to_owned(), factor))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_projector_of_either_architecture_is_no_part_of_the_tower() {
        for (name, part) in [
            ("multi_modal_projector.linear.weight", Part::Projector),
            ("audio_tower.proj.bias", Part::Projector),
            ("audio_tower.layers.0.self_attn.out_proj.weight", Part::Tower),
            ("audio_tower.ln_post.weight", Part::Tower),
            ("language_model.lm_head.weight", Part::Decoder),
            ("model.layers.0.mlp.up_proj.weight", Part::Decoder),
        ] {
            assert_eq!(Part::of(name), part, "{name}");
        }
    }
}
