//! What a scenario is read into.

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
    assert_eq!(arm.eval.suites, [DataSource::default()]);
}

#[test]
fn an_arm_has_its_own_settings_and_the_shared_ones() {
    let experiment = read(TWO_ARMS).unwrap();
    let [low, high] = experiment.arms.as_slice() else { panic!("two arms") };
    assert_eq!((low.grpo.lr, low.steps), (2e-4, 300));
    assert_eq!((high.grpo.lr, high.steps), (3e-4, 7));
    assert_eq!(high.rewards, low.rewards);
}

#[test]
fn a_weight_is_kept_only_in_arms_whose_formula_uses_it() {
    let experiment = read(TWO_ARMS).unwrap();
    let weights = |arm: &ArmConfig| arm.shaping.weights.clone().into_iter().collect::<Vec<_>>();
    assert_eq!(weights(&experiment.arms[0]), [("format".to_owned(), WeightConfig::Constant(0.5))]);
    assert_eq!(weights(&experiment.arms[1]), []);
}

#[test]
fn the_command_line_overrides_the_arms_and_settings_for_one_arm_come_last() {
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
fn the_command_line_removes_a_reward_from_the_arms_that_have_it() {
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
fn paths_are_relative_to_the_file_s_folder_or_on_the_command_line_to_the_current_one() {
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
        "placeholders in the data are not replaced"
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
        PromptConfig::default().render_in(PromptStyle::Think, &question),
        "Which sound is first? Choose from: beep, buzz. Think in <think> </think>, then answer in <answer> </answer>."
    );
}

#[test]
fn a_weight_may_have_a_schedule_and_an_arm_may_replace_it() {
    let scheduled = TWO_ARMS
        .replace("{ format = 0.5 }", "{ format = { schedule = [[0, 0], [100, 0.5]] } }")
        .replace("shaping.formula = \"accuracy\"", "shaping.weights.format = 2");
    let experiment = read(&scheduled).unwrap();
    let weight = |arm: usize, step| experiment.arms[arm].shaping.weights["format"].at(step);
    assert_eq!([weight(0, 1), weight(0, 50), weight(0, 300)], [0.005, 0.25, 0.5]);
    assert_eq!(weight(1, 1), 2.0);
    assert_eq!(read(&experiment.to_toml()).unwrap().arms, experiment.arms);
}
