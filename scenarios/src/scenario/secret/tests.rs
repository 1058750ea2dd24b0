//! SECRET-1 and SECRET-2.

use std::path::Path;

use rewards::RewardRegistry;

use crate::scenario::{check, parse, storable_arguments};

/// Planted in scenarios; nothing recognizes it by its form.
const PLANTED: &str = "hunter2-planted";

fn message(text: &str, set: &[&str]) -> String {
    let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
    let experiment = match parse(text, Path::new("x.toml"), &set, &[], None) {
        Ok(experiment) => experiment,
        Err(error) => return error.to_string(),
    };
    check(&experiment, &RewardRegistry::standard())
        .map_or_else(|error| error.to_string(), |()| experiment.to_toml())
}

fn reward(keys: &str) -> String {
    format!(
        "[shaping]\nformula = \"r\"\n[rewards.r]\nkind = \"http\"\nurl = \"http://127.0.0.1:1/\"\n{keys}\n"
    )
}

#[test]
fn secret_1_a_secret_is_refused_at_its_place_with_what_to_write_instead() {
    let judge = "[judge]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodel = \"q\"\n";
    for (text, place, instead) in [
        (format!("{judge}api_key = \"{PLANTED}\""), "x.toml:5:11: ", "write api_key_env = \"NAME\""),
        (
            format!("{judge}api_key_env = \"{PLANTED}\""),
            "x.toml:5:15: ",
            "the name of an environment variable",
        ),
        (format!("{judge}extra = {{ api_key = \"{PLANTED}\" }}"), "x.toml:5:21: ", "api_key_env = \"NAME\""),
        (
            format!("[judge]\nkind = \"openai\"\nmodel = \"q\"\nbase_url = \"http://a:{PLANTED}@h/v1\""),
            "x.toml:4:12: ",
            "without it",
        ),
        (
            reward(&format!("headers = {{ Authorization = \"Bearer {PLANTED}\" }}")),
            "x.toml:6:29: ",
            "${NAME}",
        ),
        (reward(&format!("headers = {{ X-Key = \"{PLANTED}\" }}")), "x.toml:6:21: ", "${NAME}"),
        (
            reward(&format!("options = {{ deep = [{{ password = \"{PLANTED}\" }}] }}")),
            "x.toml:6:34: ",
            "env = [\"NAME\"]",
        ),
        (reward("options = { password = 12345678 }"), "x.toml:6:24: ", "env = [\"NAME\"]"),
        (
            format!("[rewards.r]\nkind = \"process\"\nenv = {{ HF_TOKEN = \"{PLANTED}\" }}"),
            "x.toml:3:20: ",
            "env = [\"HF_TOKEN\"]",
        ),
        (
            format!("[rewards.r]\nkind = \"process\"\ncommand = [\"a\", \"--token\", \"{PLANTED}\"]"),
            "x.toml:3:28: ",
            "env = ",
        ),
        (
            format!("[rewards.r]\nkind = \"process\"\ncommand = [\"a\", \"--api-key={PLANTED}\"]"),
            "x.toml:3:17: ",
            "env = ",
        ),
        (
            format!(
                "[rewards.r]\nkind = \"process\"\ncommand = [\"sh\", \"-c\", \"HF_TOKEN={PLANTED} python3 x.py\"]"
            ),
            "x.toml:3:24: ",
            "env = ",
        ),
        (format!("[[arm]]\nname = \"a\"\njudge.api_key = \"{PLANTED}\""), "x.toml:3:17: ", "api_key_env"),
        (
            "[prompt]\ntemplate = \"hf_ABCDEFGHIJKLMNOPQRSTUV\"".to_owned(),
            "x.toml:2:12: ",
            "environment variable",
        ),
    ] {
        let said = message(&text, &[]);
        assert!(said.starts_with(place) && said.contains(instead), "{text}\n{said}");
        assert!(!said.contains("hunter2") && !said.contains("hf_ABC") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn secret_1_a_reference_to_a_variable_is_kept_and_not_filled_in() {
    let text = reward("headers = { Authorization = \"Bearer ${PATH}\" }");
    let resolved = message(&text, &[]);
    assert!(resolved.contains("\"Bearer ${PATH}\""), "{resolved}");
}

#[test]
fn secret_2_no_message_repeats_a_text_of_set_or_a_value_that_may_be_a_secret() {
    let judge = "[judge]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodel = \"q\"\n";
    let reward = reward("");
    for set in [
        "judge.api_key={}",
        "judge.api_kye={}",
        "judge.api_key_env={}",
        "judge.extra={}",
        "judge.retries=sk-0123456789-{}",
        "api_key={}",
        "jugde.api_key={}",
        "{}",
        "judge.api_key {}",
        "rewards.r.headers.Authorization={}",
        "rewards.r.headers.x-foo=Bearer {}",
        "rewards.r.headers={}",
        "rewards.r.headers.x-foo=\"${PATH {}\"",
        "rewards.r.options={}",
        "rewards.r.env=[\"A={}\"]",
        "rewards.r.haeders={ Authorization = \"{}\" }",
        "rewards.r.url=http://a:{}@host",
        "rewards.x.api_key={}",
        "arm.nobody.judge.api_key={}",
        "run.nmae={}",
    ] {
        let said = message(&format!("{judge}{reward}"), &[&set.replace("{}", PLANTED)]);
        assert!(!said.contains("hunter2"), "{set}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for text in [
        format!("api_key = {PLANTED}"),
        format!("api_key = \"{PLANTED}"),
        format!("api_key = \"{PLANTED}\"\napi_key = \"{PLANTED}\""),
        format!("api_key = '{PLANTED}\nx = 1"),
        PLANTED.to_string(),
        "[judge]\napi_key = 99999999999999999999".to_owned(),
    ] {
        let said = message(&text, &[]);
        assert!(!said.contains("hunter2") && !said.contains("9999"), "{text}: {said}");
    }
}

#[test]
fn secret_2_numbers_and_flags_of_set_are_shown() {
    assert!(message("", &["grpo.lr=1e9x"]).starts_with("--set grpo.lr=…: "));
    assert!(message("", &["grpo.lrr=1"]).starts_with("--set grpo.lrr=1: "));
    assert!(message("", &["run.seeds=[1, \"a\"]"]).starts_with("--set run.seeds=…: "));
}

#[test]
fn secret_1_the_command_line_is_stored_without_secrets() {
    let stored =
        |arguments: &[&str]| storable_arguments(arguments.iter().map(|argument| (*argument).to_owned()));
    let arguments =
        ["sandbox", "a.toml", "--set", "grpo.lr=1e-4", "--set=run.name=x", "--out", "api_key=runs"];
    assert_eq!(stored(&arguments), arguments);
    assert_eq!(
        stored(&[
            "--set",
            "judge.api_key=hunter2",
            "--set=rewards.r.headers={ X-Key = \"hunter2\" }",
            "sk-0123456789abcdefgh"
        ]),
        ["--set", "judge.api_key=…", "--set=rewards.r.headers=…", "…"]
    );
}
