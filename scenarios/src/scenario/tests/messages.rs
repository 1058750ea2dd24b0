//! The full message for each mistake.

use super::*;

#[test]
fn misspelled_keys() {
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
        "x.toml:2:1: unknown key `foo` in [checkpoint]; the keys are every, keep"
    );
    assert_eq!(
        message("[grpo]\ntemperature = 0.5"),
        "x.toml:2:1: unknown key `temperature` in [grpo]; `temperature` belongs in [eval] or [judge] or [sampling]"
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
fn misspelled_sections() {
    assert_eq!(message("[grop]\nlr = 1"), "x.toml:1:2: unknown section [grop]; did you mean [grpo]?");
    assert_eq!(
        message("lr = 1"),
        "x.toml:1:1: `lr` is in no section; `lr` belongs in [align] or [grpo] or [sft]"
    );
    assert_eq!(message("method = 1"), "x.toml:1:1: `method` is in no section; write `method` in an [[arm]]");
    assert_eq!(
        message("[arm]\nname = \"a\""),
        "x.toml:1:1: `arm` is not a list; write [[arm]], in double brackets, above each arm"
    );
    assert_eq!(
        message("[[arm]]\nname = \"a\"\nrun.steps = 3"),
        "x.toml:3:1: [run] applies to all arms; move it out of the arm to the top level (an arm may have its own `steps`, without [run])"
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
        "x.toml:2:10: `listen` in [control] is \"here\"; write an address and a port such as \"127.0.0.1:0\", or \"off\""
    );
    let said = message("[control]\nlisten = \"0.0.0.0:8080\"");
    assert!(said.starts_with("x.toml:2:10: `listen` in [control] is \"0.0.0.0:8080\"; write "), "{said}");
    assert!(
        said.ends_with("or set allow_remote = true beside it if other machines may control the run"),
        "{said}"
    );
    let said = message("[control]\nhosts = [\"gpu1.lan\", \"http://gpu2.lan\"]");
    assert!(said.contains("x.toml:2:22: ") && said.contains("without http://"), "{said}");
    assert_eq!(
        message("[eval]\nsuites = [\"builtin:soundscapes\", \"builtin:soundscapes\"]"),
        "x.toml:2:34: there are two suites named \"builtin:soundscapes\" in [eval]; give one another `name`"
    );
    assert_eq!(
        message("[policy]\ntrain = \"lora\"\nfrom_scratch = true"),
        "x.toml:3:16: `from_scratch` in [policy] is true; write false with \"lora\" in policy.train: adapters on random weights learn nothing"
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
        "x.toml:2:8: `loss` in [grpo] is \"reinforce\"; write one of \"grpo\", \"bnpo\", \"dr_grpo\", \"dapo\", \"gspo\", \
         \"gspo_token\", \"cispo\" or \"sapo\""
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
        "x.toml:2:8: `path` in [policy] is \"builtin:tny\"; write \"builtin:tiny\", the folder of a Hugging Face model, or its name on the Hub"
    );
}

#[test]
fn arms() {
    assert_eq!(
        message("[[arm]]\nname = \"a\"\n[[arm]]\nname = \"a\""),
        "x.toml:4:8: there are two arms named \"a\"; give each arm a name of its own"
    );
    assert_eq!(
        message_with(TWO_ARMS, &["arm.high.name=low"], &[]),
        "--set arm.high.name=…: there are two arms named \"low\"; give each arm a name of its own"
    );
    assert_eq!(
        message("[[arm]]\nmethod = \"sft\""),
        "x.toml:1:1: [[arm]] has no `name`; add a line `name = …`"
    );
    assert_eq!(
        message("arm = []"),
        "x.toml:1:1: the list of arms is empty; write [[arm]], in double brackets, above each arm"
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
        "--set lr=1: `lr` is in no section; `lr` belongs in [align] or [grpo] or [sft]"
    );
    assert_eq!(
        message_with(TWO_ARMS, &["arm.low.methd=sft"], &[]),
        "--set arm.low.methd=…: unknown key `methd` in [[arm]]; did you mean `method`?"
    );
    assert_eq!(
        message_with(TWO_ARMS, &["rewards.formt=false"], &[]),
        "--set rewards.formt=false: there is no reward `formt` to remove; did you mean `format`?"
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
        "x.toml:1:1: the arm \"main\" has no formula; combine its rewards in [shaping], such as formula = \"think\""
    );
    assert_eq!(
        message("[rewards.r]\nkind = \"thinks\"\n[shaping]\nformula = \"r\""),
        "x.toml:2:8: `kind` in [rewards.r] is \"thinks\", which is no reward; did you mean `think`? (known: accuracy, ada-grpo, adapt-think, adaptive-think, \
         answer-from-caption, caption-grounding, consistency, cosine, format, http, listwise, overlong, pairwise, process, \
         python, repetition, rubric, think, think-budget, thinkless)"
    );
    assert_eq!(
        message("[rewards.r]\nkind = \"adaptive-think\"\nscop = \"step\"\n[shaping]\nformula = \"r\""),
        "x.toml:3:1: unknown key `scop` in [rewards.r] (kind \"adaptive-think\"); did you mean `scope`? (known: balance, reading, scope)"
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
            "{here}/x.toml:2:60: `audio_root` in [eval.suites]: there is no folder {here}/wav; write the folder that the file's audio paths are relative to"
        )
    );
    assert_eq!(
        message("policy.path = \"model\""),
        format!(
            "{here}/x.toml:1:15: `path` in [policy]: there is no folder {here}/model; write the folder of a Hugging Face model, its name on the Hub, or \"builtin:tiny\""
        )
    );
    std::fs::create_dir(folder.path().join("model")).unwrap();
    assert_eq!(
        message("policy.path = \"model\""),
        format!(
            "{here}/x.toml:1:15: `path` in [policy]: {here}/model has no config.json; write the folder of a Hugging Face model, its name on the Hub, or \"builtin:tiny\""
        )
    );
    assert_eq!(
        message("[judge]\nkind = \"panel\"\n[[judge.members]]\nkind = \"local\"\npath = \"grader\""),
        format!(
            "{here}/x.toml:5:8: `path` in [judge.members]: there is no folder {here}/grader; write the folder of a Qwen3 in the Hugging Face layout, or its name on the Hub"
        )
    );
    assert_eq!(
        parse("prompt.file = \"p.txt\"", &path, &[], &[], None).unwrap_err().to_string(),
        format!(
            "{here}/x.toml:1:15: the prompt file {here}/p.txt cannot be read (No such file or directory (os error 2)); write the path of a text file, from the scenario's folder"
        )
    );
}

#[test]
fn schedules_of_weights() {
    let said = |weight: &str| {
        message(&format!(
            "[rewards.a]\nkind = \"format\"\n[shaping]\nformula = \"w_a * a\"\nweights.a = {weight}"
        ))
    };
    assert_eq!(
        said("\"much\""),
        "x.toml:5:13: `a` in [shaping.weights] is \"much\"; write a number such as 0.5, or { schedule = [[0, 0.0], [100, 0.5]] }"
    );
    assert_eq!(
        said("{ schedule = [] }"),
        "x.toml:5:26: `schedule` in [shaping.weights.a] is an empty list; write points such as [[0, 0.0], [100, 0.5]]"
    );
    assert_eq!(
        said("{ schedule = [[9, 1], [9, 2]] }"),
        "x.toml:5:36: `schedule` in [shaping.weights.a] is 9; write a step after 9, since the steps have to increase"
    );
    assert_eq!(
        said("{ schedule = [[1, nan]] }"),
        "x.toml:5:31: `schedule` in [shaping.weights.a] is NaN; write a number such as 0.5"
    );
    assert_eq!(
        said("{ schedule = [[1, 2]], interpolate = \"lin\" }"),
        "x.toml:5:50: `interpolate` in [shaping.weights.a] is \"lin\"; did you mean \"linear\"?"
    );
    assert_eq!(
        said("{ shedule = [[1, 2]] }"),
        "x.toml:5:15: unknown key `shedule` in [shaping.weights.a]; did you mean `schedule`?"
    );
    assert_eq!(
        said("{ schedule = [[1]] }"),
        "x.toml:5:27: `schedule` in [shaping.weights.a] is a list of 1 values; write a list of 2 values"
    );
}
