//! Checks the values of `[judge]`.

use super::range::{Checked, Ranges, number, text};
use crate::scenario::secret::is_variable_name;
use crate::scenario::tree::Node;
use crate::scenario::{
    JudgeCacheConfig, JudgeConfig, JudgeKind, LocalJudgeConfig, MemberKind, OpenaiJudgeConfig,
    PanelJudgeConfig, Prompting,
};

pub(super) fn check_judge(judge: &JudgeConfig, ranges: &Ranges<'_>) -> Checked {
    ranges.at_least_one(judge.failure_window, "judge.failure_window")?;
    ranges.fraction(judge.max_failed_fraction, "judge.max_failed_fraction")?;
    let key = "judge.calibration_max_failed_fraction";
    ranges.fraction(judge.calibration_max_failed_fraction, key)?;
    check_cache(&judge.cache, "judge.cache", ranges)?;
    check_budget(judge, ranges)?;
    match &judge.kind {
        JudgeKind::Rules => Ok(()),
        JudgeKind::Openai(openai) => check_openai(openai, "judge", ranges),
        JudgeKind::Local(local) => check_local(local, "judge", ranges),
        JudgeKind::Panel(panel) => check_panel(panel, ranges),
    }
}

fn check_budget(judge: &JudgeConfig, ranges: &Ranges<'_>) -> Checked {
    let cost = judge.budget.cost;
    ranges.not_negative(cost, "judge.budget.cost")?;
    let priced = |server: &OpenaiJudgeConfig| server.prompt_price.is_some() && server.reply_price.is_some();
    let all_priced = match &judge.kind {
        JudgeKind::Openai(openai) => priced(openai),
        JudgeKind::Panel(panel) => panel.members.iter().all(|member| match &member.kind {
            MemberKind::Openai(openai) => priced(openai),
            MemberKind::Rules | MemberKind::Local(_) => true,
        }),
        JudgeKind::Rules | JudgeKind::Local(_) => true,
    };
    let instead = "prompt_price and reply_price of every server too, or 0 for no limit";
    let value = format!("{}, and a server has no price", number(cost));
    ranges.need(cost == 0.0 || all_priced, "judge.budget.cost", value, instead)
}

fn check_cache(cache: &JudgeCacheConfig, section: &str, ranges: &Ranges<'_>) -> Checked {
    ranges.at_least_one(cache.max_entries, &format!("{section}.max_entries"))?;
    let useful = cache.disk || cache.path.is_none();
    let instead = "disk = true, or leave `path` out";
    ranges.need(useful, &format!("{section}.path"), "set, and `disk` is false", instead)?;
    let megabytes = cache.max_mb;
    let good = (1..=1_000_000).contains(&megabytes);
    ranges.need(good, &format!("{section}.max_mb"), megabytes, "1 to 1000000")
}

/// Checks `max_chars`, which every judge with a model has.
fn check_max_chars(max_chars: usize, section: &str, ranges: &Ranges<'_>) -> Checked {
    ranges.need(max_chars >= 200, &format!("{section}.max_chars"), max_chars, "200 or more")
}

fn check_local(local: &LocalJudgeConfig, section: &str, ranges: &Ranges<'_>) -> Checked {
    let key = |name: &str| format!("{section}.{name}");
    ranges.at_least_one(local.batch, &key("batch"))?;
    check_max_chars(local.max_chars, section, ranges)?;
    let given = !local.path.as_os_str().is_empty();
    ranges.need(given, &key("path"), "missing", "the folder of a Qwen3 in the Hugging Face layout")
}

/// Checks the keys of a reward's own judge.
pub(crate) fn check_task_server(openai: &OpenaiJudgeConfig, places: &Node) -> Checked {
    check_openai(openai, "judge", &Ranges(places))
}

fn check_openai(openai: &OpenaiJudgeConfig, section: &str, ranges: &Ranges<'_>) -> Checked {
    let key = |name: &str| format!("{section}.{name}");
    for (name, seconds) in [
        ("connect_timeout_seconds", openai.connect_timeout_seconds),
        ("timeout_seconds", openai.timeout_seconds),
        ("read_timeout_seconds", openai.read_timeout_seconds),
        ("retry_pause_seconds", openai.retry_pause_seconds),
    ] {
        let day = 86_400.0;
        let instead = "a number above 0, up to 86400";
        ranges.need(seconds > 0.0 && seconds <= day, &key(name), number(seconds), instead)?;
    }
    let seconds = openai.clip_seconds;
    let good = seconds > 0.0 && seconds <= 600.0;
    ranges.need(good, &key("clip_seconds"), number(seconds), "a number above 0, up to 600")?;
    let hears = !openai.hears_clip || openai.prompting == Prompting::Instruct;
    let instead = "hears_clip = false, or prompting = \"instruct\": a base model takes no audio";
    ranges.need(hears, &key("hears_clip"), "true, and `prompting` is \"base\"", instead)?;
    ranges.at_least_one(openai.concurrency, &key("concurrency"))?;
    ranges.at_least_one(openai.max_tokens, &key("max_tokens"))?;
    ranges.at_least_one(openai.longest_reply(), &key("max_completion_tokens"))?;
    let wait = openai.max_retry_after_seconds;
    let good = (0.0..=86_400.0).contains(&wait);
    ranges.need(good, &key("max_retry_after_seconds"), number(wait), "a number from 0 to 86400")?;
    let most = 100_000;
    let instead = format!("a number up to {most}");
    ranges.need(openai.concurrency <= most, &key("concurrency"), openai.concurrency, &instead)?;
    ranges.need(openai.retries <= 100, &key("retries"), openai.retries, "a number up to 100")?;
    check_max_chars(openai.max_chars, section, ranges)?;
    ranges.not_negative(openai.temperature, &key("temperature"))?;
    for (name, price) in [("prompt_price", openai.prompt_price), ("reply_price", openai.reply_price)] {
        ranges.not_negative(price.unwrap_or(0.0), &key(name))?;
    }
    check_addresses(openai, section, ranges)?;
    let instead = "the model's name on the server";
    ranges.need(!openai.model.is_empty(), &key("model"), "missing", instead)?;
    check_key_variable(openai.api_key_env.as_deref(), &key("api_key_env"), ranges)
}

/// Checks the name of the variable with an API key.
pub(super) fn check_key_variable(variable: Option<&str>, path: &str, ranges: &Ranges<'_>) -> Checked {
    let Some(variable) = variable else { return Ok(()) };
    // Small letters are refused, because a key that is pasted here by mistake would be stored with the run.
    let name = is_variable_name(variable) && !variable.contains(|c: char| c.is_ascii_lowercase());
    let instead = "the name of an environment variable, such as OPENAI_API_KEY; the key itself is never written to a file";
    // The value may be a key, so the message does not repeat it.
    ranges.need(name, path, "not the name of a variable", instead)
}

/// Checks the addresses of the servers and of the proxy. Those that have a key in them are not repeated.
fn check_addresses(openai: &OpenaiJudgeConfig, section: &str, ranges: &Ranges<'_>) -> Checked {
    let key = |name: &str| format!("{section}.{name}");
    let base_url = key("base_url");
    let instead = "the server's address, such as base_url = \"http://127.0.0.1:8000/v1\"";
    ranges.need(!openai.base_url.0.is_empty(), &base_url, "missing", instead)?;
    for url in &openai.base_url.0 {
        check_address(url, &base_url, ranges)?;
    }
    if let Some(proxy) = &openai.proxy {
        let instead =
            "the address alone, or \"environment\" and the address with its password in HTTPS_PROXY";
        ranges.need(!has_password(proxy), &key("proxy"), "an address with a password", instead)?;
        let instead = "an address such as \"http://proxy:3128\", or \"environment\"";
        ranges.need(proxy == "environment" || is_web(proxy), &key("proxy"), text(proxy), instead)?;
    }
    Ok(())
}

/// Checks the address of a server. One that has a key in it is not repeated.
pub(super) fn check_address(url: &str, path: &str, ranges: &Ranges<'_>) -> Checked {
    let instead = "the address alone; a key comes from the environment variable that api_key_env names";
    let secret = has_password(url) || url.contains(['?', '#']);
    ranges.need(!secret, path, "an address with a password or a query", instead)?;
    ranges.need(is_web(url), path, text(url), "an address that begins with http:// or https://")?;
    let whole = url.trim_end_matches('/').ends_with("/completions");
    ranges.need(!whole, path, text(url), "the address up to and including /v1")
}

fn is_web(address: &str) -> bool {
    address.starts_with("http://") || address.starts_with("https://")
}

/// Whether an address has a user name or a password in front of its host.
fn has_password(url: &str) -> bool {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    after_scheme.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@'))
}

fn check_panel(panel: &PanelJudgeConfig, ranges: &Ranges<'_>) -> Checked {
    let instead = "at least one [[judge.members]] table";
    ranges.need(!panel.members.is_empty(), "judge.members", "empty", instead)?;
    let instead = format!("up to {}, the number of members, or 0 for all of them", panel.members.len());
    ranges.need(panel.quorum <= panel.members.len(), "judge.quorum", panel.quorum, &instead)?;
    for (index, member) in panel.members.iter().enumerate() {
        let section = format!("judge.members.{index}");
        if let Some(cache) = &member.cache {
            check_cache(cache, &format!("{section}.cache"), ranges)?;
        }
        match &member.kind {
            MemberKind::Rules => {}
            MemberKind::Openai(openai) => check_openai(openai, &section, ranges)?,
            MemberKind::Local(local) => check_local(local, &section, ranges)?,
        }
    }
    Ok(())
}
