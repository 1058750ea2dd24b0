//! `[judge]`: its kinds with their keys, and overrides by arms and the command line.

use super::*;

const OPENAI: &str = "[judge]\nkind = \"openai\"\nbase_url = \"http://gpu1:8000/v1\"\nmodel = \"q\"\n";

fn judge(text: &str, overrides: &[&str]) -> JudgeConfig {
    read_with(text, overrides, &[]).unwrap().arms[0].judge.clone()
}

fn local(path: &str) -> JudgeConfig {
    let local = LocalJudgeConfig { path: path.into(), ..LocalJudgeConfig::default() };
    JudgeConfig { kind: JudgeKind::Local(local), ..JudgeConfig::default() }
}

#[test]
fn without_a_kind_the_judge_is_rules() {
    assert_eq!(judge("", &[]), JudgeConfig::default());
    assert_eq!(JudgeConfig::default().kind, JudgeKind::Rules);
    let common = judge("[judge]\non_failure = \"pause\"\ncache.disk = false", &["judge.failure_window=3"]);
    let expected = JudgeConfig {
        on_failure: OnJudgeFailure::Pause,
        failure_window: 3,
        cache: JudgeCacheConfig { disk: false, ..JudgeCacheConfig::default() },
        ..JudgeConfig::default()
    };
    assert_eq!(common, expected);
}

#[test]
fn each_kind_has_its_own_keys_beside_the_common_ones() {
    let text = format!("{OPENAI}separate = true\nmax_failed_fraction = 0.25\nextra = {{ top_p = 0.5 }}");
    let JudgeConfig { kind: JudgeKind::Openai(openai), max_failed_fraction, .. } = judge(&text, &[]) else {
        panic!("openai")
    };
    assert_eq!((openai.model.as_str(), openai.separate, max_failed_fraction), ("q", true, 0.25));
    assert_eq!((openai.base_url.0.len(), openai.extra["top_p"].as_float()), (1, Some(0.5)));
    let panel = "[judge]\nkind = \"panel\"\nquorum = 1\ncache.max_mb = 3\n[[judge.members]]\nkind = \"rules\"\n\
                 [[judge.members]]\nkind = \"local\"\npath = \"/m\"\ncache.disk = false";
    let JudgeConfig { kind: JudgeKind::Panel(panel), cache, .. } = judge(panel, &[]) else { panic!("panel") };
    let members: Vec<JudgeConfig> = panel.members.iter().map(|member| member.as_judge(&cache)).collect();
    assert_eq!(members[0], JudgeConfig { cache, ..JudgeConfig::default() }, "the panel's cache");
    let own = JudgeCacheConfig { disk: false, ..JudgeCacheConfig::default() };
    assert_eq!(members[1], JudgeConfig { cache: own, ..local("/m") });
}

#[test]
fn a_judge_is_read_whatever_the_order_of_its_keys() {
    for text in [
        "path = \"/m\"\nbatch = 3\ncache.disk = false\nkind = \"local\"",
        "kind = \"local\"\ncache.disk = false\nbatch = 3\npath = \"/m\"",
    ] {
        let judge: JudgeConfig = toml::from_str(text).unwrap();
        assert!(!judge.cache.disk, "{text}");
        let JudgeKind::Local(local) = judge.kind else { panic!("{text}") };
        assert_eq!((local.path, local.batch), ("/m".into(), 3));
    }
    for text in ["path = \"/m\"", "kind = \"rules\"\npath = \"/m\"", "path = \"/m\"\nkind = \"rules\""] {
        let error = toml::from_str::<JudgeConfig>(text).unwrap_err().to_string();
        assert!(error.contains("unknown field `path`"), "{text}: {error}");
    }
}

#[test]
fn a_key_of_another_kind_is_refused_at_its_place() {
    let belongs = |kind: &str, has: &str| format!("belongs to kind = {kind}, and its `kind` is \"{has}\"");
    assert_eq!(
        message(&format!("{OPENAI}path = \"/x\"\n[[judge.members]]\nkind = \"rules\"")),
        format!(
            "x.toml:6:9: `members` in [judge] {}; leave `members` out, or write kind = \"panel\"",
            belongs("\"panel\"", "openai")
        )
    );
    assert_eq!(
        message(&format!("{OPENAI}  path = \"/x\"")),
        format!(
            "x.toml:5:3: `path` in [judge] {}; leave `path` out, or write kind = \"local\"",
            belongs("\"local\"", "openai")
        )
    );
    assert_eq!(
        message("[judge]\nkind = \"rules\"\nprompting = \"base\""),
        format!(
            "x.toml:3:1: `prompting` in [judge] {}; leave `prompting` out, or write kind = \"openai\" or \"local\"",
            belongs("\"openai\" or \"local\"", "rules")
        )
    );
    assert_eq!(
        message("[judge]\nkind = \"local\"\npath = \"/x\"\nconcurrency = 8"),
        format!(
            "x.toml:4:1: `concurrency` in [judge] {}; leave `concurrency` out, or write kind = \"openai\"",
            belongs("\"openai\"", "local")
        ),
        "even with its default value"
    );
    assert_eq!(
        message_with("", &["judge.kind=local", "judge.model=q", "judge.path=/x"], &[]),
        format!(
            "--set judge.model=…: `model` in [judge] {}; leave `model` out, or write kind = \"openai\"",
            belongs("\"openai\"", "local")
        )
    );
}

#[test]
fn a_key_without_a_kind_is_refused_with_the_kinds_that_fit() {
    let said = |kinds: &str, fit: &str| {
        format!("belongs to kind = {kinds}, and [judge] has no `kind`; write kind = {fit} beside it")
    };
    assert_eq!(
        message("[judge]\nbase_url = \"http://gpu1:8000/v1\"\nmodel = \"q\"\nprompting = \"base\""),
        format!("x.toml:2:1: `base_url` in [judge] {}", said("\"openai\"", "\"openai\""))
    );
    assert_eq!(
        message("[judge]\nmax_chars = 300\non_failure = \"pause\"\nmodel = \"q\""),
        format!("x.toml:2:1: `max_chars` in [judge] {}", said("\"openai\" or \"local\"", "\"openai\""))
    );
    assert_eq!(
        message_with("", &["judge.path=/x"], &[]),
        format!("--set judge.path=…: `path` in [judge] {}", said("\"local\"", "\"local\""))
    );
    let in_an_arm = "[[arm]]\nname = \"a\"\njudge.separate = true";
    assert_eq!(
        message(in_an_arm),
        format!(
            "x.toml:3:7: `separate` in [judge] {}",
            said("\"openai\" or \"local\"", "\"openai\" or \"local\"")
        )
    );
    let hidden_by_the_arms =
        "[judge]\nprompting = \"base\"\n[[arm]]\nname = \"a\"\njudge = { kind = \"local\", path = \"/x\" }";
    assert!(message(hidden_by_the_arms).starts_with("x.toml:2:1: `prompting` in [judge] belongs to"));
    let mixed = format!("{OPENAI}path = \"/x\"\n[[arm]]\nname = \"a\"\njudge.kind = \"local\"");
    assert!(message(&mixed).starts_with("x.toml:5:1: `path` in [judge] belongs to"), "{}", message(&mixed));
}

#[test]
fn members_have_a_kind_and_no_keys_of_the_run() {
    let panel = |member: &str| message(&format!("[judge]\nkind = \"panel\"\n[[judge.members]]\n{member}"));
    assert_eq!(
        panel("base_url = \"http://x/v1\"\nmodel = \"q\""),
        "x.toml:3:1: [judge.members] has no `kind`; add a line kind = \"openai\""
    );
    assert_eq!(
        panel("cache.disk = false"),
        "x.toml:3:1: [judge.members] has no `kind`; add a line kind = \"rules\", \"openai\" or \"local\""
    );
    assert_eq!(
        panel("kind = \"rules\"\non_failure = \"pause\""),
        "x.toml:5:1: unknown key `on_failure` in [judge.members]; `on_failure` belongs in [judge]"
    );
    assert_eq!(
        panel("kind = \"rules\"\npath = \"/x\""),
        "x.toml:5:1: `path` in [judge.members] belongs to kind = \"local\", and its `kind` is \"rules\"; \
         leave `path` out, or write kind = \"local\""
    );
    assert_eq!(
        panel("kind = \"panel\""),
        "x.toml:4:8: `kind` in [judge.members] is \"panel\"; write one of \"rules\", \"openai\" or \"local\""
    );
    assert_eq!(
        panel("kind = \"local\"\npath = \"/x\"\nbatch = 0"),
        "x.toml:6:9: `batch` in [judge.members] is 0; write 1 or more"
    );
    assert_eq!(
        message("[judge]\nkind = \"panel\"\nquorum = 1"),
        "x.toml:1:1: `members` in [judge] is empty; write at least one [[judge.members]] table"
    );
}

#[test]
fn other_mistakes_have_their_places_and_advice() {
    assert_eq!(
        message(&format!("{OPENAI}timeout_seconds = \"long\"")),
        "x.toml:5:19: `timeout_seconds` in [judge] is \"long\"; write a number such as 0.5"
    );
    assert_eq!(
        message(&format!("{OPENAI}cache.max_mb = -1")),
        "x.toml:5:16: `max_mb` in [judge.cache] is -1; write a whole number of 0 or more"
    );
    assert_eq!(
        message("[judge]\nfailure_window = \"x\""),
        "x.toml:2:18: `failure_window` in [judge] is \"x\"; write a whole number of 0 or more"
    );
    assert_eq!(
        message(&format!("{OPENAI}retires = 3")),
        "x.toml:5:1: unknown key `retires` in [judge]; did you mean `retries`?"
    );
    assert_eq!(
        message(&format!("{OPENAI}on_failur = \"pause\"")),
        "x.toml:5:1: unknown key `on_failur` in [judge]; did you mean `on_failure`?"
    );
    assert_eq!(
        message("[judge]\nbas_url = \"u\""),
        "x.toml:2:1: unknown key `bas_url` in [judge]; did you mean `base_url`?"
    );
    assert_eq!(
        message("[judge]\nlr = 1"),
        "x.toml:2:1: unknown key `lr` in [judge]; `lr` belongs in [align] or [grpo] or [sft]"
    );
    assert_eq!(
        message("[judge]\npath = \"/x\"\nkind = \"lcal\""),
        "x.toml:3:8: `kind` in [judge] is \"lcal\"; did you mean \"local\"?"
    );
    assert_eq!(
        message("[judge]\nkind = \"openai\"\nmodel = \"q\""),
        "x.toml:1:1: `base_url` in [judge] is missing; write the server's address, such as base_url = \"http://127.0.0.1:8000/v1\""
    );
    assert_eq!(
        message("[judge]\nkind = \"local\""),
        "x.toml:1:1: `path` in [judge] is missing; write the folder of a Qwen3 in the Hugging Face layout"
    );
}

#[test]
fn an_address_has_no_secrets_and_a_message_does_not_repeat_them() {
    let with = |line: &str| {
        let text =
            format!("[judge]\nkind = \"openai\"\nmodel = \"q\"\nbase_url = \"http://gpu1/v1\"\n{line}");
        message(&text.replace("base_url = \"http://gpu1/v1\"\nbase_url", "base_url"))
    };
    for url in ["https://me:hunter2@host/v1", "https://hunter2@host/v1", "https://host/v1?key=hunter2"] {
        let said = with(&format!("base_url = \"{url}\""));
        assert!(said.starts_with("x.toml:4:12: `base_url` in [judge] "), "{said}");
        assert!(said.contains("api_key_env") && !said.contains("hunter2"), "{said}");
    }
    assert_eq!(
        with("proxy = \"http://me:hunter2@proxy:3128\""),
        "x.toml:5:9: `proxy` in [judge] contains a secret, which would be stored with the run; write the address without \
         it, or \"environment\" and the address with its password in HTTPS_PROXY"
    );
    assert_eq!(
        with("proxy = \"proxy:3128\""),
        "x.toml:5:9: `proxy` in [judge] is \"proxy:3128\"; write an address such as \"http://proxy:3128\", or \
         \"environment\""
    );
    assert_eq!(
        with("base_url = \"http://gpu1/v1/chat/completions\""),
        "x.toml:4:12: `base_url` in [judge] is \"http://gpu1/v1/chat/completions\"; write the address up to and \
         including /v1"
    );
}

#[test]
fn a_path_of_a_cache_that_is_not_on_disk_is_refused_where_both_are_written() {
    let said = |section: &str| {
        format!("`path` in [{section}] is set, and `disk` is false; write disk = true, or leave `path` out")
    };
    assert_eq!(
        message("[judge.cache]\npath = \"/v\"\ndisk = false"),
        format!("x.toml:2:8: {}", said("judge.cache"))
    );
    let member = "[judge]\nkind = \"panel\"\n[[judge.members]]\nkind = \"rules\"\ncache = { disk = false, path = \"/v\" }";
    assert_eq!(message(member), format!("x.toml:5:32: {}", said("judge.members.cache")));
    let overridden = judge("[judge.cache]\npath = \"/v\"", &["judge.cache.disk=false"]).cache;
    assert_eq!((overridden.disk, overridden.path), (false, None), "the command line turns the file off");
    assert_eq!(
        message_with("", &["judge.cache.disk=false", "judge.cache.path=/v"], &[]),
        format!("--set judge.cache.path=…: {}", said("judge.cache"))
    );
}

#[test]
fn an_arm_or_the_command_line_may_select_another_kind() {
    let text = format!(
        "{OPENAI}separate = true\non_failure = \"abort\"\n[[arm]]\nname = \"a\"\n\
         judge = {{ kind = \"local\", path = \"/m\" }}\n[[arm]]\nname = \"b\"\njudge.concurrency = 2"
    );
    let experiment = read(&text).unwrap();
    let JudgeKind::Local(local) = &experiment.arms[0].judge.kind else { panic!("local") };
    assert!(local.separate, "a key of both kinds is kept");
    assert_eq!(experiment.arms[0].judge.on_failure, OnJudgeFailure::Abort);
    let JudgeKind::Openai(openai) = &experiment.arms[1].judge.kind else { panic!("openai") };
    assert_eq!((openai.model.as_str(), openai.concurrency), ("q", 2));

    for overrides in [["judge.kind=local", "judge.path=/m"], ["judge.path=/m", "judge.kind=local"]] {
        assert_eq!(judge("", &overrides), self::local("/m"));
        assert_eq!(judge(OPENAI, &overrides), self::local("/m"), "{overrides:?}");
    }
    assert_eq!(judge(OPENAI, &["judge.kind=rules"]), JudgeConfig::default());
    let one_arm = read_with(&text, &["arm.b.judge.kind=rules"], &[]).unwrap();
    assert_eq!(one_arm.arms[1].judge.kind, JudgeKind::Rules);
    assert_eq!(
        message_with(OPENAI, &["judge.model=z", "judge.kind=local", "judge.path=/m"], &[]),
        "--set judge.model=…: `model` in [judge] belongs to kind = \"openai\", and its `kind` is \"local\"; \
         leave `model` out, or write kind = \"openai\"",
        "a key of the file is dropped, one of the command line is not"
    );
}

#[test]
fn judges_of_all_kinds_are_written_and_read_back() {
    let panel = "[judge]\nkind = \"panel\"\ncache.disk = false\n[[judge.members]]\nkind = \"rules\"\ncache.max_mb = 9\n\
                 [[judge.members]]\nkind = \"openai\"\nbase_url = [\"http://a/v1\", \"http://b/v1\"]\nmodel = \"q\"";
    let kinds = [
        OPENAI.to_owned(),
        format!("{OPENAI}api_key_env = \"KEY\"\nprompt_price = 0.5\nextra = {{ a = {{ b = 1 }} }}"),
        "[judge]\nkind = \"local\"\npath = \"/m\"\ndevice = \"cuda:1\"\nspecial_tokens = [\"<x>\"]"
            .to_owned(),
        panel.to_owned(),
        "[judge]\nkind = \"rules\"\ncalibration = [\"builtin:attacks\"]".to_owned(),
    ];
    let arms = "[[arm]]\nname = \"rules\"\njudge.kind = \"rules\"\n[[arm]]\nname = \"own\"\n\
                judge = { kind = \"local\", path = \"/n\" }\n[[arm]]\nname = \"same\"\n";
    for text in kinds.iter().flat_map(|kind| [kind.clone(), format!("{kind}\n{arms}")]) {
        let first = read(&text).unwrap();
        let written = first.to_toml();
        let second = read(&written).unwrap_or_else(|error| panic!("{error}\n{written}"));
        assert_eq!(second.arms, first.arms, "{written}");
        assert_eq!(second.to_toml(), written);
    }
    let written = read("[judge]\nkind = \"local\"\npath = \"/m\"").unwrap().to_toml();
    assert!(!written.contains("base_url") && !written.contains("quorum"), "{written}");
}

#[test]
fn adapters_belong_to_lora() {
    assert_eq!(
        message("[policy]\nfrom_scratch = true\n[policy.lora]\nrank = 4"),
        "x.toml:3:9: [policy.lora] belongs to \"lora\" in policy.train, which is full; \
         write train = \"lora\" in [policy], or leave [policy.lora] out"
    );
    assert!(
        message_with("", &["policy.lora.rank=4"], &[]).starts_with("--set policy.lora.rank=4: [policy.lora]")
    );
    assert!(message("[policy]\nadapter = \"a\"").starts_with("x.toml:2:11: `adapter` in [policy] is"));
    let lora = "[policy]\ntrain = \"lora\"\nlora.rank = 4";
    let policy = |overrides: &[&str]| read_with(lora, overrides, &[]).unwrap().arms[0].policy.clone();
    assert_eq!(policy(&[]).lora.map(|lora| lora.rank), Some(4));
    assert_eq!(policy(&["policy.train=full"]), PolicyConfig::default(), "the shared adapters are dropped");
    assert_eq!(policy(&["policy.lora.rank=2", "policy.train=lora"]).lora.map(|lora| lora.rank), Some(2));
    let defaults = read("policy.train = \"lora\"").unwrap().arms[0].policy.lora.clone();
    assert_eq!(defaults, Some(LoraConfig::default()));
    for text in [lora, "policy.train = \"lora\"", ""] {
        let first = read(text).unwrap();
        assert_eq!(read(&first.to_toml()).unwrap().arms, first.arms);
    }
}

#[test]
fn a_constant_learning_rate_has_no_last_value() {
    assert_eq!(
        message("[optimizer]\nfinal_lr_fraction = 0.1"),
        "x.toml:2:21: `final_lr_fraction` in [optimizer] is 0.1; write `schedule = \"linear\"` or \"cosine\" beside it, \
         or leave it out: with \"constant\" the rate stays at its peak"
    );
    let falls = "[optimizer]\nschedule = \"cosine\"\nfinal_lr_fraction = 0.1";
    let optimizer = |overrides: &[&str]| read_with(falls, overrides, &[]).unwrap().arms[0].optimizer.clone();
    assert_eq!(optimizer(&["optimizer.schedule=linear"]).final_lr_fraction, 0.1);
    assert_eq!(optimizer(&["optimizer.schedule=constant"]), OptimizerConfig::default());
}
