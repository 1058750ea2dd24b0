use std::path::Path;

use super::super::super::{Experiment, load};
use super::*;

fn read(text: &str) -> Result<Experiment, String> {
    let read = load::parse(text, Path::new("x.toml"), &[], &[], None).and_then(|experiment| {
        super::super::super::alarm_forks::check(&experiment)?;
        Ok(experiment)
    });
    read.map_err(|error| error.to_string())
}

const ARMS: &str = r#"
[run]
seeds = [7, 8]
steps = 50
[eval]
every = 10
[shaping]
formula = "format + w_think * think"
weights = { think = 0.5 }
[rewards]
format = { kind = "format" }
think = { kind = "think" }
[[arm]]
name = "base"
method = "none"
[[arm]]
name = "sft"
method = "sft"
[[arm]]
name = "grpo"
[[arm]]
name = "grpo+cot"
prompt.style = "think"
"#;

fn alarms(text: &str) -> Vec<(String, Vec<String>)> {
    let experiment = read(&format!("{text}\n{ARMS}")).unwrap();
    let again = read(&experiment.to_toml()).unwrap();
    assert_eq!(again.arms, experiment.arms, "SCENARIO-2: {}", experiment.to_toml());
    let of = |arm: &ArmConfig| (arm.name.clone(), arm.alarm.iter().map(|alarm| alarm.name.clone()).collect());
    experiment.arms.iter().map(of).filter(|(_, alarms): &(String, Vec<String>)| !alarms.is_empty()).collect()
}

fn pairs(expected: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    expected.iter().map(|(arm, names)| ((*arm).to_owned(), owned(names))).collect()
}

#[test]
fn an_alarm_watches_the_arms_that_have_its_numbers_and_match() {
    let of = |rest: &str| alarms(&format!("[[alarm]]\nname = \"a\"\n{rest}"));
    assert_eq!(of("when = \"think_rate < 0.1\""), pairs(&[("grpo", &["a"]), ("grpo+cot", &["a"])]));
    assert_eq!(of("when = \"loss > 9\"\narms = [\"!grpo+*\"]"), pairs(&[("sft", &["a"]), ("grpo", &["a"])]));
    assert_eq!(
        of("when = \"{eval.builtin:soundscapes.accuracy} < 1\"\narms = [\"*cot\"]"),
        pairs(&[("grpo+cot", &["a"])])
    );
    assert_eq!(of("when = \"{reward_metrics.think.x} < 1\"\narms = [\"grpo\"]"), pairs(&[("grpo", &["a"])]));
}

/// ALARM-1.
#[test]
fn vetted_alarms_are_written_out_where_they_apply() {
    let all = alarms("[[alarm]]\nvetted = \"all\"\nthen = \"pause\"");
    let grpo = [
        "entropy-collapse",
        "no-thinking",
        "always-thinking",
        "length-explosion",
        "reward-hacking",
        "equal-rewards",
        "kl",
        "repetition",
        "foreign-script",
    ];
    let cot: Vec<&str> = grpo.into_iter().filter(|name| !name.ends_with("-thinking")).collect();
    assert_eq!(all, pairs(&[("grpo", &grpo), ("grpo+cot", &cot)]));
    assert_eq!(
        alarms("[[alarm]]\nvetted = [\"kl\", \"repetition\"]\narms = [\"grpo\"]"),
        pairs(&[("grpo", &["kl", "repetition"])])
    );
    let but = alarms(
        "[[alarm]]\nvetted = [\"all\", \"!kl\"]\narms = [\"grpo\"]\n[[alarm]]\nname = \"kl\"\nwhen = \"kl > 1\"\narms = [\"grpo\"]",
    );
    assert_eq!(but[0].1.len(), 9);
    let experiment = read(&format!("[[alarm]]\nvetted = \"kl\"\n{ARMS}")).unwrap();
    assert!(experiment.to_toml().contains("when = \"lowest(kl, 3) > 2"), "thresholds are shown");
}

#[test]
fn an_arm_has_its_own_list_and_a_fork_that_of_its_parent() {
    let text =
        "[[alarm]]\nname = \"a\"\nwhen = \"kl > 1\"\nthen = \"fork\"\nset = [\"shaping.weights.think=0\"]";
    let fork = "[[arm]]\nname = \"f\"\nfork = { arm = \"grpo\", step = 5 }\n[[arm]]\nname = \"g\"\nfork = { arm = \"grpo\", step = 5 }\nalarm = []";
    let experiment = read(&format!("{text}\n{ARMS}\n{fork}")).unwrap();
    let with: Vec<&str> =
        experiment.arms.iter().filter(|arm| !arm.alarm.is_empty()).map(|arm| arm.name.as_str()).collect();
    assert_eq!(with, ["grpo", "grpo+cot", "f"]);
    assert_eq!(read(&experiment.to_toml()).unwrap().arms, experiment.arms);
    assert_eq!(experiment.arms[2].alarm[0].fork_of("grpo", 7, 2), "grpo-a-seed-7");
}

/// ALARM-2.
#[test]
fn a_mistake_is_refused_at_its_line_and_column() {
    for (rest, place, message) in [
        (
            "name = \"a\"\nwhen = \"think_rat < 1\"",
            "x.toml:3:9",
            "there is no number `think_rat`; did you mean `think_rate`?",
        ),
        (
            "name = \"a\"\nwhen = \"reward > 1 and mean(klx, 3) > 1\"",
            "x.toml:3:24",
            "there is no number `klx`; did you mean `kl`?",
        ),
        (
            "name = \"a\"\nwhen = \"{components.thnik} > 1\"",
            "x.toml:3:9",
            "did you mean `{components.think}`?",
        ),
        ("name = \"a\"\nwhen = \"kl 1\"", "x.toml:3:9", "there is no `<`"),
        ("name = \"a\"", "x.toml:1:", "the alarm \"a\" has no `when`"),
        ("when = \"kl > 1\"", "x.toml:1:", "[[alarm]] has no `name`"),
        ("name = \"a b\"\nwhen = \"kl > 1\"", "x.toml:2:8", "write up to 60 letters"),
        ("name = \"a\"\nwhen = \"kl > 1\"\nthen = \"pasue\"", "x.toml:4:9", "did you mean \"pause\"?"),
        (
            "name = \"a\"\nwhen = \"kl > 1\"\nthen = [\"pause\", \"weights.thnk=1\"]",
            "x.toml:4:19",
            "`grpo` has no weight `thnk`; did you mean `think`?",
        ),
        ("name = \"a\"\nwhen = \"kl > 1\"\nthen = \"grpo.lrr=1\"", "x.toml:4:9", "did you mean `grpo.lr`?"),
        ("name = \"a\"\nwhen = \"kl > 1\"\nthen = \"grpo.lr=-1\"", "x.toml:4:9", "grpo.lr"),
        ("name = \"a\"\nwhen = \"kl > 1\"\nthen = \"formula=thnk\"", "x.toml:4:9", "unknown name `thnk`"),
        (
            "name = \"a\"\nwhen = \"kl > 1\"\nset = [\"x=1\"]",
            "x.toml:4:7",
            "is about a fork, and `then` has none",
        ),
        (
            "name = \"a\"\nwhen = \"kl > 1\"\nthen = \"fork\"\nset = [\"grpo.lrr=1\"]",
            "x.toml:1:",
            "did you mean `lr`?",
        ),
        (
            "name = \"a\"\nwhen = \"kl > 1\"\nthen = \"webhook\"",
            "x.toml:4:8",
            "has a webhook without an address",
        ),
        (
            "name = \"a\"\nwhen = \"kl > 1\"\nthen = \"webhook\"\nurl = \"https://x/?key=1\"",
            "x.toml:5:7",
            "may contain a key",
        ),
        (
            "name = \"a\"\nwhen = \"kl > 1\"\narms = [\"gpro\"]",
            "x.toml:4:8",
            "there is no arm `gpro`; did you mean `grpo`?",
        ),
        ("vetted = \"alll\"", "x.toml:2:10", "there is no vetted alarm `alll`; did you mean `all`?"),
        ("vetted = \"all\"\nname = \"a\"", "x.toml:3:8", "has both `vetted` and `name`"),
        ("name = \"a\"\nwhen = \"kl > 1\"\nrearm_step = 3", "x.toml:4:1", "did you mean `rearm_steps`?"),
        (
            "name = \"a\"\nwhen = \"kl > 1\"\n[[alarm]]\nname = \"a\"\nwhen = \"kl > 2\"",
            "x.toml:5:8",
            "there are two alarms named \"a\"",
        ),
    ] {
        let error = read(&format!("[[alarm]]\n{rest}\n{ARMS}")).map(|_| ()).expect_err(rest);
        assert!(error.starts_with(place) && error.contains(message), "{rest}: {error}");
        assert!(!error.contains('\n') && !error.contains("key=1"), "{error}");
    }
}
