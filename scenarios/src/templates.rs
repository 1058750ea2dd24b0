//! Scenarios to start from, for `sandbox init`. They are embedded in the binary.

/// The name under which the templates refer to [`SCHEMA`].
pub const SCHEMA_NAME: &str = "scenario.schema.json";

/// The JSON schema of scenarios, with which editors complete and explain the keys.
pub const SCHEMA: &str = include_str!("../scenario.schema.json");

/// A scenario to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// The paper's eight arms in miniature. It needs no files and runs on a CPU.
    Ablation,
    /// Questions about the user's own audio.
    OwnData,
    /// The paper's own setting: LoRA on Qwen2-Audio-7B, for one GPU.
    SevenB,
}

impl Template {
    /// The name of the scenario file.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Ablation => "ablation.toml",
            Self::OwnData => "own-data.toml",
            Self::SevenB => "audio-thinker-qwen2-audio.toml",
        }
    }

    /// The text of the scenario file. Models are named as on the Hugging Face Hub, and paths begin in the file's folder.
    pub fn text(self) -> String {
        match self {
            Self::Ablation => include_str!("../ablation.toml").replace("# sandbox scenarios/", "# sandbox "),
            Self::OwnData => include_str!("../init/own-data.toml").to_owned(),
            Self::SevenB => include_str!("../audio-thinker-qwen2-audio.toml")
                .replace("# sandbox scenarios/", "# sandbox ")
                .replace(
                    "# Put the models and the data into the folders below, or set other paths with --set.",
                    "# Download the models with `hf download`, and put the data into the folders below.",
                )
                .replace("\"../models/", "\"Qwen/")
                .replace("\"../data/", "\"data/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rewards::RewardRegistry;

    use super::*;
    use crate::scenario::{check_names, parse};

    #[test]
    fn every_template_can_be_read_and_leads_nowhere_but_into_its_own_folder() {
        for template in [Template::Ablation, Template::OwnData, Template::SevenB] {
            let (name, text) = (template.file_name(), template.text());
            let experiment = parse(&text, Path::new(name), &[], &[], None).unwrap();
            check_names(&experiment, &RewardRegistry::standard()).unwrap();
            assert!(text.starts_with(&format!("#:schema {SCHEMA_NAME}\n")), "{name}");
            assert!(!text.contains("../"), "{name}");
            assert!(text.contains(&format!("# sandbox {name}")), "{name} says how it is run");
        }
        let paper = Template::SevenB.text();
        assert!(paper.contains("path = \"Qwen/Qwen2-Audio-7B-Instruct\""), "{paper}");
        assert!(paper.contains("path = \"Qwen/Qwen3-8B-Base\"") && paper.contains("hf download"), "{paper}");
    }
}
