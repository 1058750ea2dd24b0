//! `[ablation]` and `[design]`: what they are made into, and the message for each mistake.

use super::*;

/// The paper's components: each is a factor of the formula.
const PAPER: &str = r#"
[rewards]
accuracy = { kind = "accuracy" }
adaptive_think = { kind = "adaptive-think" }
consistency = { kind = "consistency" }
format = { kind = "format" }
think = { kind = "think" }
[shaping]
formula = "adaptive_think * (1 + w_cr * consistency) + w_format * format + w_tr * think"
weights = { cr = 0.5, format = 0.5, tr = 1.0 }
[ablation]
name = "grpo"
DESIGN
[ablation.factors]
atar = { component = "adaptive_think", instead = "accuracy" }
cr = { component = "consistency" }
tr = { component = "think" }
"#;

fn paper(design: &str) -> Experiment {
    read(&PAPER.replace("DESIGN", design)).unwrap()
}

fn names(experiment: &Experiment) -> Vec<&str> {
    experiment.arms.iter().map(|arm| arm.name.as_str()).collect()
}

fn formula<'a>(experiment: &'a Experiment, arm: &str) -> &'a str {
    &experiment.arms.iter().find(|found| found.name == arm).unwrap().shaping.formula
}

// ABLATION-1
#[test]
fn components_compose_into_the_formulas_that_one_would_write() {
    let full = paper("design = \"full\"");
    assert_eq!(
        names(&full),
        [
            "grpo",
            "grpo+atar",
            "grpo+cr",
            "grpo+tr",
            "grpo+atar+cr",
            "grpo+atar+tr",
            "grpo+cr+tr",
            "grpo+atar+cr+tr"
        ]
    );
    for (arm, expected) in [
        ("grpo", "accuracy * 1 + w_format * format"),
        ("grpo+atar", "adaptive_think * 1 + w_format * format"),
        ("grpo+cr", "accuracy * (1 + w_cr * consistency) + w_format * format"),
        ("grpo+tr", "accuracy * 1 + w_format * format + w_tr * think"),
        ("grpo+atar+cr+tr", "adaptive_think * (1 + w_cr * consistency) + w_format * format + w_tr * think"),
    ] {
        assert_eq!(formula(&full, arm), expected, "{arm}");
    }
    let weights = |arm: usize| full.arms[arm].shaping.weights.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (weights(0), weights(2)),
        (vec!["format".to_owned()], vec!["cr".to_owned(), "format".to_owned()])
    );
    // Every arm scores every reward.
    assert!(full.arms.iter().all(|arm| arm.rewards.len() == 5));
    // The arms of other designs are among these, with the same names and settings.
    for design in
        ["\"leave-one-out\"", "\"add-one-in\"", "\"fractional\"", "[\"leave-one-out\", \"add-one-in\"]"]
    {
        let some = paper(&format!("design = {design}"));
        assert!(some.arms.iter().all(|arm| full.arms.contains(arm)), "{design}");
    }
    assert_eq!(names(&paper("design = \"add-one-in\"")), ["grpo", "grpo+atar", "grpo+cr", "grpo+tr"]);
}

#[test]
fn the_design_keeps_the_levels_of_each_arm() {
    let design = paper("").design.unwrap();
    assert_eq!(design.kind, [DesignKind::Full]);
    let factor = &design.factors[0];
    assert_eq!(
        (factor.name.as_str(), factor.changes.as_str()),
        ("atar", "adaptive_think in the formula, else accuracy")
    );
    assert_eq!(design.arms["grpo+atar+tr"], ["on", "off", "on"]);
    assert_eq!(design.levels_of("grpo+atar+tr"), Some(vec![1, 0, 1]));
    assert_eq!(design.levels_of("other"), None);
}

// SCENARIO-2
#[test]
fn a_resolved_scenario_has_the_arms_and_their_levels() {
    for design in
        ["design = \"full\"", "design = \"fractional\"", "design = [\"add-one-in\", \"leave-one-out\"]"]
    {
        let experiment = paper(design);
        let written = experiment.to_toml();
        assert!(!written.contains("[ablation"), "{written}");
        let again = read(&written).unwrap();
        assert_eq!((&again.arms, &again.design), (&experiment.arms, &experiment.design), "{written}");
        assert_eq!(again.to_toml(), written);
    }
}

#[test]
fn arms_that_are_left_out_stay_in_the_design() {
    let text = PAPER.replace("DESIGN", "");
    let some = read_with(&text, &[], &["grpo*", "!grpo+cr*"]).unwrap();
    assert_eq!(some.arms.len(), 6);
    let design = some.design.clone().unwrap();
    assert_eq!(design.left_out.iter().collect::<Vec<_>>(), ["grpo+cr", "grpo+cr+tr"]);
    let again = read(&some.to_toml()).unwrap();
    assert_eq!(again.design, some.design);
    // A part of the part.
    let fewer = read_with(&some.to_toml(), &[], &["grpo", "grpo+tr"]).unwrap();
    assert_eq!(fewer.design.unwrap().left_out.len(), 6);
}

#[test]
fn settings_and_values_are_factors_too() {
    let text = r#"
[rewards]
accuracy = { kind = "accuracy" }
[shaping]
formula = "accuracy"
[ablation]
[ablation.factors]
think = { on = { prompt.style = "think", sampling.max_new_tokens = 96 }, off = { prompt.style = "answer" } }
lr = { setting = "grpo.lr", values = [1e-4, 3e-4, 1e-5] }
"#;
    let experiment = read(text).unwrap();
    assert_eq!(
        names(&experiment),
        [
            "plain",
            "plain+think",
            "plain+lr_0.0003",
            "plain+lr_1e-5",
            "plain+think+lr_0.0003",
            "plain+think+lr_1e-5"
        ]
    );
    let arm = |name: &str| experiment.arms.iter().find(|arm| arm.name == name).unwrap();
    assert_eq!((arm("plain").grpo.lr, arm("plain+think+lr_1e-5").grpo.lr), (1e-4, 1e-5));
    assert_eq!(arm("plain+think").sampling.max_new_tokens, 96);
    assert_eq!(arm("plain").sampling.max_new_tokens, SamplingConfig::default().max_new_tokens);
    assert_eq!(arm("plain").prompt.style, PromptStyle::Answer);
    let design = experiment.design.as_ref().unwrap();
    assert_eq!(design.factors[1].levels, ["0.0001", "0.0003", "1e-5"]);
    assert_eq!((design.two_level(), design.fraction()), (vec![0], None));
    assert_eq!(read(&experiment.to_toml()).unwrap().design, experiment.design);
}

#[test]
fn arms_stand_beside_those_of_the_design_in_the_order_of_the_file() {
    let above = format!(
        "[[arm]]\nname = \"base\"\nmethod = \"none\"\n{}",
        PAPER.replace("DESIGN", "design = \"add-one-in\"")
    );
    // A table header ends [[arm]], so that the shared sections stay shared.
    assert_eq!(names(&read(&above).unwrap())[..2], ["base", "grpo"]);
    let below = PAPER.replace("DESIGN", "design = \"add-one-in\"")
        + "[[arm]]\nname = \"dry\"\nfork = { arm = \"grpo+tr\", step = 20 }\nshaping.weights.tr = 0\n";
    let experiment = read(&below).unwrap();
    assert_eq!(names(&experiment)[3..], ["grpo+tr", "dry"]);
    assert!(!experiment.design.unwrap().arms.contains_key("dry"));
    let taken = PAPER.replace("DESIGN", "") + "[[arm]]\nname = \"grpo+cr\"\n";
    assert_eq!(
        message(&taken),
        "x.toml:19:8: there are two arms named \"grpo+cr\"; give each arm a name of its own"
    );
}

// ABLATION-2
#[test]
fn a_mistake_in_a_factor_is_reported_at_its_place() {
    let with = |factors: &str| message(&format!("{}{factors}\n", PAPER.replace("DESIGN", "")));
    for (factors, expected) in [
        (
            "x = { component = \"thnk\" }",
            "x.toml:18:19: `component` of the factor `x` is \"thnk\", which the formula does not use; did you mean `think`?",
        ),
        (
            "x = { component = \"think\" }",
            "x.toml:18:1: the factors `tr` and `x` have the same component; leave one of them out",
        ),
        (
            "x = { component = \"format\", instead = \"acuracy\" }",
            "x.toml:18:39: `instead` of the factor `x`: formula, column 1: unknown name `acuracy`; did you mean `accuracy`?",
        ),
        (
            "x = { component = \"format\", instead = \"think\" }",
            "x.toml:18:1: `instead` of one of the factors `tr` and `x` uses the component of the other; write `instead` without it",
        ),
        (
            "x = { on = { shaping.formula = \"accuracy\" } }",
            "x.toml:18:1: the factors `atar` and `x` both set shaping.formula; write both as components of the formula \
             (`component`), or leave one of them out",
        ),
        (
            "x = { on = { grpo.lr = 1e-4 } }\ny = { setting = \"grpo.lr\", values = [1e-5, 1e-6] }",
            "x.toml:19:1: the factors `x` and `y` both set grpo.lr; let one of them set it",
        ),
        (
            "x = { on = { prompt.style = \"think\" } }\ny = { off = { prompt.text = \"?\" } }",
            "x.toml:19:1: the factors `x` and `y` both set prompt; let one of them set it",
        ),
        ("x = {}", "x.toml:18:1: the factor `x` has no form; write one: component = \"…\""),
        (
            "x = { component = \"format\", on = { grpo.lr = 1e-4 } }",
            "x.toml:18:1: the factor `x` has several forms; write one: component = \"…\"",
        ),
        (
            "x = { on = {} }",
            "x.toml:18:1: the factor `x` changes nothing; write settings, such as on = { grpo.lr = 1e-4 }",
        ),
        (
            "x = { on = { grpo.lr = 1e-4 }, instead = \"accuracy\" }",
            "x.toml:18:42: `instead` of the factor `x` goes with `component`",
        ),
        (
            "x = { setting = \"grpo.lr\", values = [1e-4] }",
            "x.toml:18:37: `values` of the factor `x` has 1; write two or more",
        ),
        (
            "x = { setting = \"grpo.lr\", values = [1, 2, 1] }",
            "x.toml:18:44: `values` of the factor `x` has 1 twice",
        ),
        (
            "\"x-y\" = { component = \"format\" }",
            "x.toml:18:1: \"x-y\" is no name of a factor; write letters, digits and `_`",
        ),
        (
            "x = { compnent = \"format\" }",
            "x.toml:18:7: unknown key `compnent` in [ablation.factors.x]; did you mean `component`?",
        ),
        (
            "x = { on = { grop.lr = 1e-4 } }",
            "x.toml:18:14: unknown key `grop` in [[arm]]; did you mean `grpo`?",
        ),
        ("x = { on = { grpo.lrr = 1e-4 } }", "x.toml:18:19: unknown key `lrr` in [grpo]; did you mean `lr`?"),
        ("x = { on = { name = \"y\" } }", "x.toml:18:14: the factor `x` sets `name`; leave it out"),
        ("x = { on = { run.steps = 3 } }", "x.toml:18:14: [run] applies to all arms"),
    ] {
        let found = with(factors);
        assert!(found.starts_with(expected), "{factors}: {found}");
    }
}

#[test]
fn a_mistake_in_a_design_is_reported_at_its_place() {
    let with = |design: &str| message(&PAPER.replace("DESIGN", design));
    for (design, expected) in [
        ("design = \"fll\"", "x.toml:13:10: `design` in [ablation] is \"fll\"; did you mean \"full\"?"),
        ("design = []", "x.toml:13:10: `design` in [ablation] is no such list; write one of \"full\""),
        ("design = [\"full\", \"add-one-in\"]", "x.toml:13:10: `design` in [ablation] is no such list"),
        ("runs = 4", "x.toml:13:8: `runs` is for a fractional design; leave it out"),
        (
            "design = \"fractional\"\nruns = 6",
            "x.toml:14:8: `runs` is 6, and there is no such fraction of 3 factors; write one of 4",
        ),
        ("name = \"b\"", "x.toml:13:1: this is not TOML: duplicate key"),
    ] {
        let found = with(design);
        assert!(found.starts_with(expected), "{design}: {found}");
    }
    let without = PAPER.split("[ablation.factors]").next().unwrap().replace("DESIGN", "");
    assert!(
        message(&without).starts_with("x.toml:11:1: [ablation] has no factors; add [ablation.factors.NAME]")
    );
    let values = PAPER.replace("DESIGN", "design = \"add-one-in\"")
        + "lr = { setting = \"grpo.lr\", values = [1, 2, 3] }";
    assert_eq!(
        message(&values),
        "x.toml:18:1: the factor `lr` has 3 values; write two values, or design = \"full\""
    );
}

#[test]
fn a_factor_that_changes_nothing_where_another_is_off_is_refused() {
    // Without adaptive_think the whole product goes, and with it consistency.
    let text = PAPER.replace("DESIGN", "").replace(", instead = \"accuracy\"", "");
    assert_eq!(
        message(&text),
        "x.toml:16:1: [ablation] makes two arms that are the same, \"grpo\" and \"grpo+cr\"; give a component that other terms are \
         multiplied by an `instead`, or leave a factor out"
    );
    let nothing = "[rewards]\nformat = { kind = \"format\" }\n[shaping]\nformula = \"format\"\n[ablation]\nfactors = { f = { component = \"format\" } }\n";
    assert!(
        message(nothing).starts_with("x.toml:5:1: nothing is left of the formula with every factor off; ")
    );
}

#[test]
fn what_a_factor_sets_is_not_set_on_the_command_line() {
    let text = PAPER.replace("DESIGN", "");
    for (argument, expected) in [
        (
            "shaping.formula=accuracy",
            "the factor `atar` of [ablation] sets shaping.formula; change it in the scenario",
        ),
        ("arm.grpo+cr.shaping.formula=accuracy", ": the factor `atar` of [ablation] sets shaping.formula"),
        (
            "ablation.runs=4",
            "--set ablation.runs=4: [ablation] can't be set on the command line; write it into the scenario",
        ),
    ] {
        let found = message_with(&text, &[argument], &[]);
        assert!(found.contains(expected), "{argument}: {found}");
    }
    let weights = read_with(&text, &["shaping.weights.cr=0.9", "grpo.lr=3e-5"], &[]).unwrap();
    assert_eq!(weights.arms[7].shaping.weights["cr"], 0.9.into());
    assert!(weights.arms.iter().all(|arm| arm.grpo.lr == 3e-5));
}

#[test]
fn a_design_of_arms_that_were_written_by_hand_is_checked() {
    let text = r#"
[rewards]
accuracy = { kind = "accuracy" }
[shaping]
formula = "accuracy"
[design]
factors = [{ name = "think", levels = ["off", "on"] }]
arms = { a = ["off"], b = ["on"] }
[[arm]]
name = "a"
[[arm]]
name = "b"
prompt.style = "think"
"#;
    assert_eq!(read(text).unwrap().design.unwrap().levels_of("b"), Some(vec![1]));
    for (from, to, expected) in [
        (
            "b = [\"on\"]",
            "c = [\"on\"]",
            "x.toml:8:27: [design] names the arm `c`, which there is not; the arms are a, b",
        ),
        (
            "b = [\"on\"]",
            "b = [\"onn\"]",
            "x.toml:8:27: [design] gives the arm `b` other levels than the factors have; write one of each (think: off or on)",
        ),
        ("b = [\"on\"]", "b = [\"off\"]", "x.toml:8:27: [design] gives the arms `a` and `b` the same levels"),
        (
            "\"off\", \"on\"",
            "\"off\"",
            "x.toml:7:12: `levels` of the factor `think` are not two or more different names",
        ),
        (
            "[{ name = \"think\", levels = [\"off\", \"on\"] }]",
            "[]",
            "x.toml:7:11: [design] has 0 factors; write 1 to 10",
        ),
    ] {
        let found = message(&text.replace(from, to));
        assert!(found.starts_with(expected), "{to}: {found}");
    }
    let both = format!("{text}\n[ablation]\nfactors = {{ x = {{ component = \"accuracy\" }} }}\n");
    assert!(message(&both).contains("there are both [ablation] and [design]"));
}
