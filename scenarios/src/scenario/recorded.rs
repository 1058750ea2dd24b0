//! The `scenario.toml` of run directories that were written before format 1.
//!
//! Such a resolved scenario lists every key of a table with its default, also the keys that belong to another `kind` of
//! judge or to another way of training. These keys had no effect then and are refused in a scenario now, so they are
//! dropped when a recorded run is resumed, replayed or reported.

use std::path::Path;

use super::tree::{Content, Node, Table};

/// Keys of `[judge]` by the kinds that used them; those that are not listed belong to every judge.
const JUDGE_KEYS: [(&str, &[&str]); 29] = [
    ("base_url", &["openai"]),
    ("model", &["openai"]),
    ("api_key_env", &["openai"]),
    ("concurrency", &["openai"]),
    ("requests_per_minute", &["openai"]),
    ("tokens_per_minute", &["openai"]),
    ("connect_timeout_seconds", &["openai"]),
    ("timeout_seconds", &["openai"]),
    ("read_timeout_seconds", &["openai"]),
    ("retries", &["openai"]),
    ("retry_pause_seconds", &["openai"]),
    ("guided", &["openai"]),
    ("extra", &["openai"]),
    ("prompt_price", &["openai"]),
    ("reply_price", &["openai"]),
    ("temperature", &["openai"]),
    ("max_tokens", &["openai"]),
    ("path", &["local"]),
    ("device", &["local"]),
    ("dtype", &["local"]),
    ("batch", &["local"]),
    ("scoring", &["openai", "local"]),
    ("prompting", &["openai", "local"]),
    ("separate", &["openai", "local"]),
    ("max_chars", &["openai", "local"]),
    ("special_tokens", &["openai", "local"]),
    ("aggregate", &["panel"]),
    ("quorum", &["panel"]),
    ("members", &["panel"]),
];

/// Keys that a member of a panel had without effect.
const UNUSED_BY_MEMBERS: [&str; 4] = ["on_failure", "failure_window", "max_failed_fraction", "calibration"];

/// Whether `path` is the scenario of a run directory of format 0.
pub(crate) fn is_format_0(path: &Path) -> bool {
    let environment = path.with_file_name("environment.json");
    let Ok(json) = std::fs::read(environment) else { return false };
    let recorded: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    recorded.is_object() && recorded.get("format_version").is_none()
}

/// Drops the keys that had no effect.
pub(crate) fn drop_unused_keys(root: &mut Node) {
    let Content::Table(sections) = &mut root.content else { return };
    drop_from_arm(sections);
    if let Some(arms) = sections.get_mut("arm")
        && let Content::Array(arms) = &mut arms.node.content
    {
        arms.iter_mut().filter_map(table).for_each(drop_from_arm);
    }
}

fn drop_from_arm(sections: &mut Table) {
    if let Some(judge) = sections.get_mut("judge").and_then(|entry| table(&mut entry.node)) {
        drop_from_judge(judge);
    }
    if let Some(policy) = sections.get_mut("policy").and_then(|entry| table(&mut entry.node))
        && text(policy, "train").is_some_and(|train| train != "lora")
    {
        policy.remove("lora");
        policy.remove("adapter");
    }
}

fn drop_from_judge(judge: &mut Table) {
    let Some(kind) = text(judge, "kind").map(str::to_owned) else { return };
    for (key, kinds) in JUDGE_KEYS {
        if !kinds.contains(&kind.as_str()) {
            judge.remove(key);
        }
    }
    let members = judge.get_mut("members").map(|entry| &mut entry.node.content);
    if let Some(Content::Array(members)) = members {
        for member in members.iter_mut().filter_map(table) {
            drop_from_judge(member);
            UNUSED_BY_MEMBERS.iter().for_each(|key| drop(member.remove(*key)));
        }
    }
}

fn table(node: &mut Node) -> Option<&mut Table> {
    match &mut node.content {
        Content::Table(table) => Some(table),
        Content::Array(_) | Content::Scalar(_) => None,
    }
}

fn text<'a>(table: &'a Table, key: &str) -> Option<&'a str> {
    match &table.get(key)?.node.content {
        Content::Scalar(toml::Value::String(text)) => Some(text),
        Content::Scalar(_) | Content::Table(_) | Content::Array(_) => None,
    }
}
