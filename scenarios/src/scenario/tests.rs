//! Scenarios as a user writes them: what they become, and the message for each mistake.

use std::path::{Path, PathBuf};

use rewards::RewardRegistry;

use super::*;
use crate::dataset::DataSource;
use crate::error::ScenarioError;

fn read(text: &str) -> Result<Experiment, ScenarioError> {
    read_with(text, &[], &[])
}

fn read_with(text: &str, overrides: &[&str], arms: &[&str]) -> Result<Experiment, ScenarioError> {
    let owned = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    parse(text, Path::new("x.toml"), &owned(overrides), &owned(arms), None)
}

/// The message for a scenario, from reading it or from checking what it refers to.
fn message(text: &str) -> String {
    message_with(text, &[], &[])
}

fn message_with(text: &str, overrides: &[&str], arms: &[&str]) -> String {
    let checked = read_with(text, overrides, arms)
        .and_then(|experiment| check(&experiment, &RewardRegistry::standard()).map(|()| experiment));
    let message = checked.expect_err("the scenario has a mistake").to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

fn scenario_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

const SCENARIO_FILES: [&str; 4] = ["ablation.toml", "smoke.toml", "collapse.toml", "pretrain.toml"];

const TWO_ARMS: &str = r#"
[grpo]
lr = 2e-4
[rewards]
accuracy = { kind = "accuracy" }
format = { kind = "format" }
[shaping]
formula = "accuracy + w_format * format"
weights = { format = 0.5 }
[[arm]]
name = "low"
[[arm]]
name = "high"
steps = 7
grpo.lr = 3e-4
shaping.formula = "accuracy"
"#;

mod meaning {
    use super::*;

    #[test]
    fn an_empty_file_is_the_paper_s_full_reward_on_the_built_in_world() {
        let experiment = read("").unwrap();
        check(&experiment, &RewardRegistry::standard()).unwrap();
        assert_eq!((experiment.run.name.as_str(), experiment.run.seeds.as_slice()), ("x", [7].as_slice()));
        let [arm] = experiment.arms.as_slice() else { panic!("one arm") };
        assert_eq!((arm.name.as_str(), arm.method, arm.steps), ("main", Method::Grpo, 300));
        assert_eq!(
            arm.shaping.formula,
            "adaptive_think * (1 + w_consistency * consistency) + w_format * format + w_think * think"
        );
        assert_eq!(arm.eval.suites, [DataSource::Soundscapes]);
    }

    #[test]
    fn an_arm_has_what_it_says_and_the_rest_from_the_base() {
        let experiment = read(TWO_ARMS).unwrap();
        let [low, high] = experiment.arms.as_slice() else { panic!("two arms") };
        assert_eq!((low.grpo.lr, low.steps), (2e-4, 300));
        assert_eq!((high.grpo.lr, high.steps), (3e-4, 7));
        assert_eq!(high.rewards, low.rewards);
    }

    #[test]
    fn a_weight_stays_only_in_the_arms_whose_formula_names_it() {
        let experiment = read(TWO_ARMS).unwrap();
        let weights = |arm: &ArmConfig| arm.shaping.weights.clone().into_iter().collect::<Vec<_>>();
        assert_eq!(weights(&experiment.arms[0]), [("format".to_owned(), 0.5)]);
        assert_eq!(weights(&experiment.arms[1]), []);
    }

    #[test]
    fn the_command_line_is_laid_over_the_arms_and_one_arm_s_over_that() {
        let overrides = ["arm.high.grpo.lr=5e-4", "grpo.lr=4e-4", "run.seed=3", "prompt.style=think"];
        let experiment = read_with(TWO_ARMS, &overrides, &[]).unwrap();
        assert_eq!([experiment.arms[0].grpo.lr, experiment.arms[1].grpo.lr], [4e-4, 5e-4]);
        assert_eq!(experiment.run.seeds, [3]);
        assert_eq!(experiment.arms[1].prompt.style, PromptStyle::Think);
    }

    #[test]
    fn chosen_arms_keep_the_order_of_the_file() {
        let experiment = read_with(TWO_ARMS, &[], &["high", "low"]).unwrap();
        assert_eq!(experiment.arms.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>(), ["low", "high"]);
        assert_eq!(read_with(TWO_ARMS, &[], &["high"]).unwrap().arms.len(), 1);
    }

    #[test]
    fn the_command_line_takes_a_reward_out_of_the_arms_that_have_it() {
        let text = "[rewards]\na = { kind = \"accuracy\" }\n[shaping]\nformula = \"a\"\n[[arm]]\nname = \"x\"\n[[arm]]\nname = \"y\"\nrewards.b = { kind = \"format\" }";
        let experiment = read_with(text, &["rewards.b=false"], &[]).unwrap();
        assert!(experiment.arms.iter().all(|arm| arm.rewards.keys().eq(["a"])));
    }

    #[test]
    fn seeds_of_the_command_line_replace_those_of_the_file() {
        let seeds = |seeds: &[u64]| parse("run.seeds = [1, 2]", Path::new("x.toml"), &[], &[], Some(seeds));
        assert_eq!(seeds(&[5, 6]).unwrap().run.seeds, [5, 6]);
        assert_eq!(
            seeds(&[]).unwrap_err().to_string(),
            "--seeds: `seeds` in [run] is an empty list; write at least one seed"
        );
    }

    #[test]
    fn paths_start_from_the_file_s_folder_or_on_the_command_line_from_the_current_one() {
        let text = "[data]\ntrain = { format = \"avqa\", path = \"a.jsonl\" }\n[policy]\npath = \"/abs\"";
        let path = Path::new("/some/where/x.toml");
        let source = |overrides: &[String]| {
            let experiment = parse(text, path, overrides, &[], None).unwrap();
            let DataSource::File(file) = experiment.arms[0].data.train.clone() else { panic!("a file") };
            assert_eq!(experiment.arms[0].policy.path, PolicyPath::Directory("/abs".into()));
            file.path
        };
        assert_eq!(source(&[]), Path::new("/some/where/a.jsonl"));
        let here = std::env::current_dir().unwrap().join("b.jsonl");
        assert_eq!(source(&["data.train={ format = \"avqa\", path = \"b.jsonl\" }".to_owned()]), here);
    }

    #[test]
    fn a_prompt_file_becomes_part_of_the_resolved_scenario() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.txt"), "Listen. {question} ({choices})\n").unwrap();
        let path = folder.path().join("x.toml");
        let experiment = parse("prompt.file = \"p.txt\"", &path, &[], &[], None).unwrap();
        let question = rewards::Question {
            text: "What is heard?".to_owned(),
            choices: vec!["a dog".to_owned(), "{question}".to_owned()],
            ..rewards::Question::default()
        };
        assert_eq!(
            experiment.arms[0].prompt.render(&question),
            "Listen. What is heard? (a dog, {question})",
            "placeholders in the data stay as they are"
        );
        assert_eq!(read(&experiment.to_toml()).unwrap().arms, experiment.arms);
    }

    #[test]
    fn the_built_in_prompts_list_the_choices_with_commas() {
        let question = rewards::Question {
            text: "Which sound is first?".to_owned(),
            choices: ["beep", "buzz"].map(str::to_owned).to_vec(),
            ..rewards::Question::default()
        };
        assert_eq!(
            PromptStyle::Think.render(&question),
            "Which sound is first? Choose from: beep, buzz. Think in <think> </think>, then answer in <answer> </answer>."
        );
    }
}

mod files {
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
    fn what_is_resolved_loads_again_to_the_same() {
        let mut experiments: Vec<_> =
            SCENARIO_FILES.map(|name| load(&scenario_file(name), &[], &[], None).unwrap()).into();
        experiments.push(read(TWO_ARMS).unwrap());
        experiments.push(read("").unwrap());
        let data = "policy.lora.target_modules = [\"q_proj\"]\nrun.device = \"cuda:1\"\n[grpo]\nclip_high = 0.28\n[data]\nlimit = 9\ntrain = { format = \"mmau\", path = \"a\", audio_root = \"b\", name = \"c\" }\n[eval]\nsuites = [\"builtin:soundscapes\", { format = \"mmar\", path = \"d\" }]";
        experiments.push(read(data).unwrap());
        for first in experiments {
            let text = first.to_toml();
            let second = parse(&text, Path::new("/elsewhere/scenario.toml"), &[], &[], None).unwrap();
            assert_eq!(second.run, first.run);
            assert_eq!(second.control, first.control);
            assert_eq!(second.arms, first.arms);
            assert_eq!(second.to_toml(), text, "and says so in the same words");
        }
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
    fn a_missing_file_is_told_apart_from_its_neighbours() {
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
        std::fs::write(folder.path().join("binary.toml"), [0xff, 0xfe]).unwrap();
        assert_eq!(
            message("binary.toml"),
            format!(
                "{folder_name}/binary.toml: this is not a text in UTF-8; write the path of a scenario file (.toml)"
            )
        );
    }
}

mod messages {
    use super::*;

    #[test]
    fn misspelt_keys() {
        assert_eq!(
            message("[run]\nstpes = 3"),
            "x.toml:2:1: unknown key `stpes` in [run]; did you mean `steps`?"
        );
        assert_eq!(
            message("[policy.lora]\nrnak = 3"),
            "x.toml:2:1: unknown key `rnak` in [policy.lora]; did you mean `rank`?"
        );
        assert_eq!(
            message("[checkpoint]\nfoo = 3"),
            "x.toml:2:1: unknown key `foo` in [checkpoint]; the keys there are every, keep"
        );
        assert_eq!(
            message("[grpo]\ntemperature = 0.5"),
            "x.toml:2:1: unknown key `temperature` in [grpo]; `temperature` belongs in [eval] or [sampling]"
        );
        assert_eq!(
            message("[[arm]]\nname = \"a\"\n[arm.grpo]\nlrr = 1"),
            "x.toml:4:1: unknown key `lrr` in [grpo]; did you mean `lr`?"
        );
        assert_eq!(
            message("[[arm]]\nname = \"a\"\nmethdo = \"sft\""),
            "x.toml:3:1: unknown key `methdo` in [[arm]]; did you mean `method`?"
        );
        assert_eq!(
            message("[data.soundscapes.train_kinds]\nwalks = 1"),
            "x.toml:2:1: `train_kinds` in [data.soundscapes] is \"walks\"; did you mean \"walk\"?"
        );
    }

    #[test]
    fn misspelt_sections() {
        assert_eq!(message("[grop]\nlr = 1"), "x.toml:1:2: unknown section [grop]; did you mean [grpo]?");
        assert_eq!(
            message("lr = 1"),
            "x.toml:1:1: `lr` stands in no section; `lr` belongs in [grpo] or [sft]"
        );
        assert_eq!(
            message("method = 1"),
            "x.toml:1:1: `method` stands in no section; write `method` in an [[arm]]"
        );
        assert_eq!(
            message("[arm]\nname = \"a\""),
            "x.toml:1:1: `arm` is not a list; write [[arm]], in double brackets, above each arm"
        );
        assert_eq!(
            message("[[arm]]\nname = \"a\"\nrun.steps = 3"),
            "x.toml:3:1: [run] is for all arms together; move it out of the arm to the top (an arm may have its own `steps`, without [run])"
        );
    }

    #[test]
    fn wrong_types() {
        assert_eq!(
            message("[grpo]\nlr = \"fast\""),
            "x.toml:2:6: `lr` in [grpo] is \"fast\"; write a number such as 0.5"
        );
        assert_eq!(
            message("[run]\nsteps = 1.5"),
            "x.toml:2:9: `steps` in [run] is 1.5; write a whole number of 0 or more"
        );
        assert_eq!(
            message("[run]\nsteps = -5"),
            "x.toml:2:9: `steps` in [run] is -5; write a whole number of 0 or more"
        );
        assert_eq!(
            message("[eval]\nat_start = 1"),
            "x.toml:2:12: `at_start` in [eval] is 1; write true or false"
        );
        assert_eq!(
            message("[optimizer]\nbetas = [0.9]"),
            "x.toml:2:9: `betas` in [optimizer] is a list of 1 values; write a list of 2 values"
        );
        assert_eq!(message("grpo = 3"), "x.toml:1:8: `grpo` is 3; write a table");
        assert_eq!(message("[run]\nname = 3"), "x.toml:2:8: `name` in [run] is 3; write a text in quotes");
        assert_eq!(
            message("[rewards]\nformat = true"),
            "x.toml:2:10: `format` in [rewards] is true; write a table such as { kind = \"accuracy\" }"
        );
        assert_eq!(
            message("[rewards.format]\nscope = \"step\""),
            "x.toml:1:1: [rewards.format] has no `kind`; add a line `kind = …`"
        );
    }

    #[test]
    fn values_out_of_range() {
        assert_eq!(
            message("[sampling]\ngroup_size = 1"),
            "x.toml:2:14: `group_size` in [sampling] is 1; write 2 or more: a completion is compared with the others of its group"
        );
        assert_eq!(
            message("[sampling]\ntemperature = -0.5"),
            "x.toml:2:15: `temperature` in [sampling] is -0.5; write a number above 0"
        );
        assert_eq!(
            message("[eval]\ntemperature = nan"),
            "x.toml:2:15: `temperature` in [eval] is NaN; write 0 or more"
        );
        assert_eq!(
            message("[optimizer]\nbetas = [0.9, 1.0]"),
            "x.toml:2:15: `betas` in [optimizer] is 1; write numbers from 0, below 1"
        );
        assert_eq!(
            message("[grpo]\nclip_high = 0.3\ndelta = 1.2"),
            "x.toml:3:9: `delta` in [grpo] is 1.2; write a number above 1 + clip_high = 1.3"
        );
        assert_eq!(
            message("[data.soundscapes]\ntrain_clips = 0"),
            "x.toml:2:15: `train_clips` in [data.soundscapes] is 0; write at least 1"
        );
        assert_eq!(
            message("[run]\nseeds = [1, 1]"),
            "x.toml:2:9: `seeds` in [run] has 1 twice; give each seed once"
        );
        assert_eq!(
            message("[run]\nname = \"a/b\""),
            "x.toml:2:8: `name` in [run] is \"a/b\"; write letters, digits and + - _ . only, since it names a folder"
        );
        assert_eq!(
            message("[control]\nlisten = \"here\""),
            "x.toml:2:10: `listen` in [control] is \"here\"; write an address and a port such as \"127.0.0.1:0\""
        );
        assert_eq!(
            message("[policy]\ntrain = \"lora\"\ntrain_audio_tower = true"),
            "x.toml:3:21: `train_audio_tower` in [policy] is true; write false with train = \"lora\": adapters are put on the decoder alone"
        );
    }

    #[test]
    fn unknown_choices() {
        assert_eq!(
            message("[grpo]\nloss = \"grop\""),
            "x.toml:2:8: `loss` in [grpo] is \"grop\"; did you mean \"grpo\"?"
        );
        assert_eq!(
            message("[grpo]\nloss = \"reinforce\""),
            "x.toml:2:8: `loss` in [grpo] is \"reinforce\"; write one of \"grpo\", \"bnpo\", \"dr_grpo\", \"dapo\" or \"gspo\""
        );
        assert_eq!(
            message("[[arm]]\nname = \"a\"\nmethod = \"ppo\""),
            "x.toml:3:10: `method` in [[arm]] is \"ppo\"; did you mean \"grpo\"?"
        );
        assert_eq!(
            message("[run]\ndevice = \"gpu\""),
            "x.toml:2:10: `device` in [run] is \"gpu\"; write \"auto\", \"cpu\" or \"cuda:0\""
        );
        assert_eq!(
            message("[policy]\npath = \"builtin:tny\""),
            "x.toml:2:8: `path` in [policy] is \"builtin:tny\"; write \"builtin:tiny\" or the folder of a Hugging Face model"
        );
    }

    #[test]
    fn arms() {
        assert_eq!(
            message("[[arm]]\nname = \"a\"\n[[arm]]\nname = \"a\""),
            "x.toml:4:8: there are two arms named \"a\"; give each arm a name of its own"
        );
        assert_eq!(
            message("[[arm]]\nmethod = \"sft\""),
            "x.toml:1:1: [[arm]] has no `name`; add a line `name = …`"
        );
        assert_eq!(
            message_with(TWO_ARMS, &[], &["hihg"]),
            "--arm hihg: there is no arm `hihg`; did you mean `high`? The arms are low, high"
        );
        assert_eq!(
            message_with(TWO_ARMS, &[], &["xyz"]),
            "--arm xyz: there is no arm `xyz`; the arms are low, high"
        );
    }

    #[test]
    fn the_command_line() {
        assert_eq!(
            message_with(TWO_ARMS, &["grpo.lrr=1"], &[]),
            "--set grpo.lrr=1: unknown key `lrr` in [grpo]; did you mean `lr`?"
        );
        assert_eq!(
            message_with(TWO_ARMS, &["sampling.group_size=1"], &[]),
            "--set sampling.group_size=1: `group_size` in [sampling] is 1; write 2 or more: a completion is compared with the others of its group"
        );
        assert_eq!(
            message_with(TWO_ARMS, &["lr=1"], &[]),
            "--set lr=1: `lr` stands in no section; `lr` belongs in [grpo] or [sft]"
        );
        assert_eq!(
            message_with(TWO_ARMS, &["arm.low.methd=sft"], &[]),
            "--set arm.low.methd=sft: unknown key `methd` in [[arm]]; did you mean `method`?"
        );
        assert_eq!(
            message_with(TWO_ARMS, &["rewards.formt=false"], &[]),
            "--set rewards.formt=false: there is no reward `formt` to take out; did you mean `format`?"
        );
        assert_eq!(
            message_with(TWO_ARMS, &["rewards.format=false"], &[]),
            "x.toml:8:11: formula, column 23: unknown name `format`; did you mean `w_format`? (known: accuracy, w_format)"
        );
    }

    #[test]
    fn rewards_and_formulas() {
        let base = "[rewards.think]\nkind = \"think\"\n[shaping]\n";
        assert_eq!(
            message(&format!("{base}formula = \"thnk\"")),
            "x.toml:4:11: formula, column 1: unknown name `thnk`; did you mean `think`? (known: think)"
        );
        assert_eq!(
            message(&format!("{base}formula = \"w_think * think\"")),
            "x.toml:4:11: formula, column 1: unknown name `w_think`; did you mean `think`? (known: think)"
        );
        assert_eq!(
            message(&format!("{base}formula = \"think\"\nweights = {{ think = 1 }}")),
            "x.toml:5:13: no formula uses the weight `think`; write `w_think` in a formula, or leave the weight out"
        );
        assert_eq!(
            message("[rewards.think]\nkind = \"think\""),
            "x.toml:1:1: the arm \"main\" has no formula; say in [shaping] how its rewards add up, such as formula = \"think\""
        );
        assert_eq!(
            message("[rewards.r]\nkind = \"thinks\"\n[shaping]\nformula = \"r\""),
            "x.toml:2:8: `kind` in [rewards.r] is \"thinks\", no such reward; did you mean `think`? (known: accuracy, adaptive-think, consistency, format, think)"
        );
        assert_eq!(
            message("[rewards.r]\nkind = \"adaptive-think\"\nscop = \"step\"\n[shaping]\nformula = \"r\""),
            "x.toml:3:1: unknown key `scop` in [rewards.r] (kind \"adaptive-think\"); did you mean `scope`? (known: scope)"
        );
    }

    #[test]
    fn paths() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        let message = |text: &str| {
            let experiment = parse(text, &path, &[], &[], None).unwrap();
            check(&experiment, &RewardRegistry::standard()).unwrap_err().to_string()
        };
        let here = folder.path().display();
        assert_eq!(
            message("[data.train]\nformat = \"avqa\"\npath = \"train.jsonl\""),
            format!(
                "{here}/x.toml:3:8: `path` in [data.train]: there is no file {here}/train.jsonl; write the path of a file in the avqa format"
            )
        );
        std::fs::write(folder.path().join("m.json"), "[]").unwrap();
        assert_eq!(
            message("[eval]\nsuites = [{ format = \"mmau\", path = \"m.json\", audio_root = \"wav\" }]"),
            format!(
                "{here}/x.toml:2:60: `audio_root` in [eval.suites]: there is no folder {here}/wav; write the folder that the file's audio paths start from"
            )
        );
        assert_eq!(
            message("policy.path = \"model\""),
            format!(
                "{here}/x.toml:1:15: `path` in [policy]: there is no folder {here}/model; write the folder of a Hugging Face model, or \"builtin:tiny\""
            )
        );
        std::fs::create_dir(folder.path().join("model")).unwrap();
        assert_eq!(
            message("policy.path = \"model\""),
            format!(
                "{here}/x.toml:1:15: `path` in [policy]: {here}/model has no config.json; write the folder of a Hugging Face model, or \"builtin:tiny\""
            )
        );
        assert_eq!(
            parse("prompt.file = \"p.txt\"", &path, &[], &[], None).unwrap_err().to_string(),
            format!(
                "{here}/x.toml:1:15: the prompt file {here}/p.txt cannot be read (No such file or directory (os error 2)); write the path of a text file, from the scenario's folder"
            )
        );
    }
}
