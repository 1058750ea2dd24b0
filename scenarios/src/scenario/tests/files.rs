//! Scenario files: those in this crate, missing ones, and resolved ones.

use super::*;

#[test]
fn every_scenario_file_passes_its_check_and_names_the_schema() {
    for name in SCENARIO_FILES {
        let path = scenario_file(name);
        let experiment = load(&path, &[], &[], None).unwrap();
        check(&experiment, &RewardRegistry::standard()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#:schema scenario.schema.json\n"), "{name}");
        assert_eq!(experiment.run.name, name.trim_end_matches(".toml"));
    }
}

#[test]
fn a_resolved_scenario_loads_to_the_same_experiment() {
    let mut experiments: Vec<_> =
        SCENARIO_FILES.map(|name| load(&scenario_file(name), &[], &[], None).unwrap()).into();
    experiments.push(read(TWO_ARMS).unwrap());
    experiments.push(read("").unwrap());
    let data = "policy = { train = \"lora\", lora.target_modules = [\"q_proj\"] }\nrun.device = \"cuda:1\"\n[grpo]\nclip_high = 0.28\n[data]\nlimit = 9\ntrain = { format = \"mmau\", path = \"a\", audio_root = \"b\", name = \"c\" }\n[eval]\nsuites = [\"builtin:soundscapes\", { format = \"mmar\", path = \"d\" }]";
    experiments.push(read(data).unwrap());
    for first in experiments {
        let text = first.to_toml();
        let second = parse(&text, Path::new("/elsewhere/scenario.toml"), &[], &[], None).unwrap();
        assert_eq!(second.run, first.run);
        assert_eq!(second.control, first.control);
        assert_eq!(second.arms, first.arms);
        assert_eq!(second.to_toml(), text, "and is written the same way");
    }
}

#[test]
fn a_resolved_scenario_has_shared_settings_once_and_then_the_arms() {
    let text = read(TWO_ARMS).unwrap().to_toml();
    assert!(text.starts_with("[run]\n"));
    assert_eq!(text.matches("[grpo]").count(), 1, "shared");
    let arms = &text[text.find("[[arm]]").unwrap()..];
    assert_eq!(
        arms,
        "[[arm]]\nname = \"low\"\nmethod = \"grpo\"\n\n\
         [arm.grpo]\nlr = 0.0002\n\n\
         [arm.shaping]\nformula = \"accuracy + w_format * format\"\n\n\
         [arm.shaping.weights]\nformat = 0.5\n\n\
         [[arm]]\nname = \"high\"\nmethod = \"grpo\"\nsteps = 7\n\n\
         [arm.grpo]\nlr = 0.0003\n\n\
         [arm.shaping]\nformula = \"accuracy\"\n\n\
         [arm.shaping.weights]\n"
    );
}

#[test]
fn the_ablation_under_five_seeds_trains_the_same_arms() {
    let [one, five] = ["ablation.toml", "ablation-seeds.toml"].map(|name| {
        let set = ["eval.every=0", "policy.path=builtin:tiny"].map(str::to_owned);
        load(&scenario_file(name), &set, &[], None).unwrap()
    });
    assert_eq!(one.arms, five.arms);
    assert_eq!((one.run.steps, five.run.seeds), (five.run.steps, vec![1, 2, 3, 4, 5]));
    assert!(!five.hypotheses.is_empty());
}

#[test]
fn the_ablation_has_the_paper_s_eight_arms() {
    let experiment = load(&scenario_file("ablation.toml"), &[], &[], None).unwrap();
    let arms: Vec<_> =
        experiment.arms.iter().map(|arm| (arm.name.as_str(), arm.method, arm.prompt.style)).collect();
    use Method::{Grpo, Sft};
    use PromptStyle::{Adaptive, Answer, Think};
    assert_eq!(
        arms,
        [
            ("base", Method::None, Adaptive),
            ("sft", Sft, Answer),
            ("sft+cot", Sft, Think),
            ("grpo", Grpo, Answer),
            ("grpo+cot", Grpo, Think),
            ("grpo+atar", Grpo, Adaptive),
            ("grpo+atar+cr", Grpo, Adaptive),
            ("grpo+atar+cr+tr", Grpo, Adaptive),
        ]
    );
}

#[test]
fn a_missing_file_is_reported_with_similar_names() {
    let folder = tempfile::tempdir().unwrap();
    let message = |name: &str| load(&folder.path().join(name), &[], &[], None).unwrap_err().to_string();
    let folder_name = folder.path().display();
    assert_eq!(
        message("ablatoin.toml"),
        format!(
            "{folder_name}/ablatoin.toml: no such scenario file; there is no .toml file in {folder_name}"
        )
    );
    std::fs::write(folder.path().join("ablation.toml"), "").unwrap();
    std::fs::write(folder.path().join("smoke.toml"), "").unwrap();
    assert_eq!(
        message("ablatoin.toml"),
        format!(
            "{folder_name}/ablatoin.toml: no such scenario file; did you mean {folder_name}/ablation.toml?"
        )
    );
    assert_eq!(
        message("xyz"),
        format!(
            "{folder_name}/xyz: no such scenario file; the .toml files in {folder_name} are ablation.toml, smoke.toml"
        )
    );
    std::fs::create_dir(folder.path().join("scenarios")).unwrap();
    std::fs::write(folder.path().join("scenarios/collapse.toml"), "").unwrap();
    assert_eq!(
        message("collapse"),
        format!(
            "{folder_name}/collapse: no such scenario file; did you mean {folder_name}/scenarios/collapse.toml?"
        )
    );
    std::fs::write(folder.path().join("binary.toml"), [0xff, 0xfe]).unwrap();
    assert_eq!(
        message("binary.toml"),
        format!(
            "{folder_name}/binary.toml: this is not a text in UTF-8; write the path of a scenario file (.toml)"
        )
    );
}

#[test]
fn a_fallback_program_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    let checked = |program: &str| {
        let text = format!("[audio]\nfallback = \"{program}\"\n[[arm]]\nname = \"a\"\nmethod = \"none\"\n");
        std::fs::write(&file, text).unwrap();
        let experiment = load(&file, &[], &[], None).unwrap();
        check(&experiment, &RewardRegistry::standard()).map_err(|error| error.to_string())
    };
    let message = checked("no-such-ffmpeg").unwrap_err();
    let place = format!("{}:2:12: ", file.display());
    assert_eq!(
        message,
        format!(
            "{place}`fallback` in [audio]: there is no program no-such-ffmpeg; install it, write its path, or leave the key out"
        )
    );
    // A path is relative to the scenario's folder, and must be executable.
    std::fs::write(folder.path().join("converter"), "").unwrap();
    assert!(checked("./converter").unwrap_err().contains("there is no program"));
    assert_eq!(checked("sh"), Ok(()));
}
