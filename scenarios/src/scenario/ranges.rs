//! Values within their ranges, each judged at the line it was written on.

use std::fmt::Display;

use super::de::leaf_name;
use super::tree::Node;
use super::{ArmConfig, ControlConfig, JudgeConfig, JudgeKind, Method, RunConfig, TrainMode, WeightConfig};
use crate::error::ScenarioError;

type Checked = Result<(), ScenarioError>;

/// Complains about the value at a path unless it is good.
struct Ranges<'a>(&'a Node);

impl Ranges<'_> {
    /// `path` is the whole path of the key, `within` what of it lies above the tree.
    fn need(&self, good: bool, path: &str, value: impl Display, instead: &str) -> Checked {
        self.need_below("", good, path, value, instead)
    }

    fn need_below(
        &self,
        within: &str,
        good: bool,
        path: &str,
        value: impl Display,
        instead: &str,
    ) -> Checked {
        if good {
            return Ok(());
        }
        let keys: Vec<&str> = path.split('.').collect();
        let full: Vec<&str> =
            within.split('.').filter(|key| !key.is_empty()).chain(keys.iter().copied()).collect();
        let problem = format!("{} is {value}", leaf_name(&full));
        Err(ScenarioError::at(self.0.place_of(&keys), problem, format!("write {instead}")))
    }

    fn at_least_one(&self, value: usize, path: &str) -> Checked {
        self.need(value >= 1, path, value, "1 or more")
    }

    fn positive(&self, value: f64, path: &str) -> Checked {
        self.need(value > 0.0 && value.is_finite(), path, number(value), "a number above 0")
    }

    fn not_negative(&self, value: f64, path: &str) -> Checked {
        self.need(value >= 0.0 && value.is_finite(), path, number(value), "0 or more")
    }

    fn fraction(&self, value: f64, path: &str) -> Checked {
        self.need((0.0..=1.0).contains(&value), path, number(value), "a number from 0 to 1")
    }
}

/// As one would write it: `0.5`, `1e-7`, `2`.
fn number(value: f64) -> String {
    format!("{value:?}").trim_end_matches(".0").to_owned()
}

/// A text in quotes, for messages.
fn text(value: &str) -> String {
    format!("{value:?}")
}

/// Whether a text can be the name of a folder on every system.
fn is_folder_name(name: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || "+-_.".contains(c);
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(good)
}

const FOLDER_NAME: &str = "letters, digits and + - _ . only, since it names a folder";

/// `[run]`.
pub(crate) fn check_run(run: &RunConfig, section: &Node) -> Checked {
    let ranges = Ranges(section);
    let need =
        |good, path, value: &dyn Display, instead| ranges.need_below("run", good, path, value, instead);
    need(is_folder_name(&run.name), "name", &text(&run.name), FOLDER_NAME)?;
    need(!run.seeds.is_empty(), "seeds", &"an empty list", "at least one seed")?;
    let mut sorted = run.seeds.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = format!("`seeds` in [run] has {} twice", twice[0]);
        return Err(ScenarioError::at(section.place_of(&["seeds"]), problem, "give each seed once"));
    }
    let largest = sorted.last().copied().unwrap_or_default();
    need(i64::try_from(largest).is_ok(), "seeds", &largest, "seeds up to 9223372036854775807")?;
    need(run.steps >= 1, "steps", &run.steps, "1 or more")?;
    need(!run.out.as_os_str().is_empty(), "out", &"\"\"", "a folder such as \"runs\"")
}

/// `[control]`.
pub(crate) fn check_control(control: &ControlConfig, section: &Node) -> Checked {
    let ranges = Ranges(section);
    let need =
        |good, path, value: &dyn Display, instead| ranges.need_below("control", good, path, value, instead);
    let listen = &control.listen;
    let address = control.address();
    let instead = "an address and a port such as \"127.0.0.1:0\", or \"off\"";
    need(address.is_some() || listen == "off", "listen", &text(listen), instead)?;
    let near = address.is_none_or(|address| address.ip().is_loopback());
    let instead = "an address of this machine only such as \"127.0.0.1:8080\", or set allow_remote = true beside it \
                   if other machines are to steer the run";
    need(near || control.allow_remote, "listen", &text(listen), instead)?;
    for (index, host) in control.hosts.iter().enumerate() {
        let good = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"/@#?*\"".contains(c));
        let instead = "a name such as \"gpu1.lan\" or \"localhost:9000\", without http://";
        ranges.need_below("control", good, &format!("hosts.{index}"), text(host), instead)?;
    }
    Ok(())
}

/// Everything of an arm that can be judged by itself.
pub(crate) fn check_arm(arm: &ArmConfig, tree: &Node) -> Checked {
    let ranges = Ranges(tree);
    ranges.need(is_folder_name(&arm.name), "name", text(&arm.name), FOLDER_NAME)?;
    ranges.need(
        arm.steps >= 1,
        "steps",
        arm.steps,
        "1 or more (an arm that does not learn has method = \"none\")",
    )?;
    check_policy(arm, &ranges)?;
    check_data(arm, &ranges)?;
    check_sampling(arm, &ranges)?;
    check_learning(arm, &ranges)?;
    check_feedback(arm, &ranges)?;
    ranges.not_negative(arm.eval.temperature, "eval.temperature")?;
    ranges.at_least_one(arm.eval.batch_prompts, "eval.batch_prompts")?;
    ranges.need(
        arm.eval.limit != Some(0),
        "eval.limit",
        0,
        "1 or more, or leave it out for all questions",
    )?;
    for (index, suite) in arm.eval.suites.iter().enumerate() {
        if arm.eval.suites[..index].iter().any(|other| other.name() == suite.name()) {
            let problem = format!("there are two suites named \"{}\" in [eval]", suite.name());
            let place = tree.place_of(&["eval", "suites", &index.to_string()]);
            return Err(ScenarioError::at(place, problem, "give one another `name`"));
        }
    }
    let seed = arm.eval.seed;
    ranges.need(i64::try_from(seed).is_ok(), "eval.seed", seed, "a seed up to 9223372036854775807")?;
    ranges.at_least_one(arm.checkpoint.keep, "checkpoint.keep")?;
    ranges.positive(arm.supervision.window_seconds, "supervision.window_seconds")?;
    ranges.positive(arm.supervision.call_timeout_seconds, "supervision.call_timeout_seconds")?;
    ranges.positive(arm.supervision.probe_timeout_seconds, "supervision.probe_timeout_seconds")?;
    ranges.not_negative(arm.supervision.help_timeout_seconds, "supervision.help_timeout_seconds")?;
    ranges.fraction(arm.supervision.max_missing_fraction, "supervision.max_missing_fraction")
}

fn check_policy(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let policy = &arm.policy;
    let lora = policy.train == TrainMode::Lora;
    let adapter = policy.adapter.as_ref().map(|folder| folder.display().to_string()).unwrap_or_default();
    let instead = "`train = \"lora\"` beside it, or leave it out: with \"full\" there is no adapter";
    ranges.need(lora || policy.adapter.is_none(), "policy.adapter", text(&adapter), instead)?;
    let instead = "false with train = \"lora\": adapters on random weights learn nothing";
    ranges.need(!(lora && policy.from_scratch), "policy.from_scratch", true, instead)?;
    ranges.at_least_one(policy.lora.rank, "policy.lora.rank")?;
    ranges.positive(policy.lora.alpha, "policy.lora.alpha")?;
    let dropout = policy.lora.dropout;
    ranges.need(
        (0.0..1.0).contains(&dropout),
        "policy.lora.dropout",
        number(dropout),
        "a number from 0, below 1",
    )?;
    let empty = matches!(&policy.lora.target_modules, super::TargetModules::Named(names) if names.is_empty());
    ranges.need(
        !empty,
        "policy.lora.target_modules",
        "an empty list",
        "\"all-linear\" or at least one layer name",
    )
}

fn check_data(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    ranges.need(
        arm.data.limit != Some(0),
        "data.limit",
        0,
        "1 or more, or leave it out for all questions",
    )?;
    if let Err(message) = arm.data.soundscapes.validate() {
        let key = message.split(' ').next().unwrap_or_default();
        let place = ranges.0.place_of(&["data", "soundscapes", key]);
        let rest = message.strip_prefix(key).unwrap_or(&message);
        let (problem, instead) = rest.split_once("; ").unwrap_or((rest, "write a value within its range"));
        return Err(ScenarioError::at(place, format!("`{key}` in [data.soundscapes]{problem}"), instead));
    }
    ranges.at_least_one(arm.loader.workers, "loader.workers")?;
    ranges.fraction(arm.loader.max_failed_fraction, "loader.max_failed_fraction")
}

fn check_sampling(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let sampling = &arm.sampling;
    let instead = "2 or more: a completion is compared with the others of its group";
    ranges.need(sampling.group_size >= 2, "sampling.group_size", sampling.group_size, instead)?;
    ranges.at_least_one(sampling.prompts_per_step, "sampling.prompts_per_step")?;
    ranges.positive(sampling.temperature, "sampling.temperature")?;
    let top_p = sampling.top_p;
    ranges.need(top_p > 0.0 && top_p <= 1.0, "sampling.top_p", number(top_p), "a number above 0, up to 1")?;
    ranges.at_least_one(sampling.max_new_tokens, "sampling.max_new_tokens")
}

fn check_learning(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let grpo = &arm.grpo;
    ranges.positive(grpo.lr, "grpo.lr")?;
    ranges.not_negative(grpo.kl_coef, "grpo.kl_coef")?;
    let clip = grpo.clip;
    ranges.need(clip > 0.0 && clip < 1.0, "grpo.clip", number(clip), "a number above 0, below 1")?;
    ranges.positive(grpo.clip_high(), "grpo.clip_high")?;
    if let Some(delta) = grpo.delta {
        let least = 1.0 + grpo.clip_high();
        let instead = format!("a number above 1 + clip_high = {}", number(least));
        ranges.need(delta > least && delta.is_finite(), "grpo.delta", number(delta), &instead)?;
    }
    ranges.at_least_one(grpo.iterations, "grpo.iterations")?;
    let (micro, prompts) = (grpo.micro_batch_prompts, arm.sampling.prompts_per_step);
    let instead = format!("up to prompts_per_step = {prompts}, or 0 for all of them");
    ranges.need(micro <= prompts, "grpo.micro_batch_prompts", micro, &instead)?;

    ranges.positive(arm.sft.lr, "sft.lr")?;
    ranges.at_least_one(arm.sft.rows_per_step, "sft.rows_per_step")?;
    ranges.at_least_one(arm.sft.targets_per_row, "sft.targets_per_row")?;

    let optimizer = &arm.optimizer;
    ranges.not_negative(optimizer.weight_decay, "optimizer.weight_decay")?;
    for (index, beta) in optimizer.betas.iter().enumerate() {
        let good = (0.0..1.0).contains(beta);
        ranges.need(good, &format!("optimizer.betas.{index}"), number(*beta), "numbers from 0, below 1")?;
    }
    ranges.positive(optimizer.eps, "optimizer.eps")?;
    ranges.not_negative(optimizer.max_grad_norm, "optimizer.max_grad_norm")?;
    let instead = format!("fewer steps than the arm has, {}", arm.steps);
    ranges.need(
        optimizer.warmup_steps < arm.steps,
        "optimizer.warmup_steps",
        optimizer.warmup_steps,
        &instead,
    )?;
    ranges.fraction(optimizer.final_lr_fraction, "optimizer.final_lr_fraction")
}

fn check_feedback(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    check_judge(&arm.judge, "judge", ranges)?;
    for (name, weight) in &arm.shaping.weights {
        check_weight(&format!("shaping.weights.{name}"), weight, ranges)?;
    }
    if arm.method == Method::Grpo && arm.shaping.formula.trim().is_empty() {
        let names: Vec<&str> = arm.rewards.keys().map(String::as_str).collect();
        let place = ranges.0.place_of(&["shaping", "formula"]);
        let problem = format!("the arm \"{}\" has no formula", arm.name);
        let instead = match names.is_empty() {
            true => "define rewards in [rewards.NAME] and add them up in [shaping] formula".to_owned(),
            false => format!(
                "say in [shaping] how its rewards add up, such as formula = \"{}\"",
                names.join(" + ")
            ),
        };
        return Err(ScenarioError::at(place, problem, instead));
    }
    Ok(())
}

fn check_weight(path: &str, weight: &WeightConfig, ranges: &Ranges<'_>) -> Checked {
    let finite =
        |path: &str, value: f64| ranges.need(value.is_finite(), path, number(value), "a number such as 0.5");
    let points = match weight {
        WeightConfig::Constant(value) => return finite(path, *value),
        WeightConfig::Scheduled(course) => &course.schedule,
    };
    let path = format!("{path}.schedule");
    ranges.need(!points.is_empty(), &path, "an empty list", "points such as [[0, 0.0], [100, 0.5]]")?;
    for (place, (step, value)) in points.iter().enumerate() {
        finite(&format!("{path}.{place}.1"), *value)?;
        let before = place.checked_sub(1).map(|before| points[before].0);
        if let Some(before) = before.filter(|before| before >= step) {
            let instead = format!("a step after {before}, for the points stand in rising order");
            ranges.need(false, &format!("{path}.{place}.0"), step, &instead)?;
        }
    }
    Ok(())
}

fn check_judge(judge: &JudgeConfig, section: &str, ranges: &Ranges<'_>) -> Checked {
    let key = |name: &str| format!("{section}.{name}");
    for (name, seconds) in [
        ("connect_timeout_seconds", judge.connect_timeout_seconds),
        ("timeout_seconds", judge.timeout_seconds),
        ("read_timeout_seconds", judge.read_timeout_seconds),
        ("retry_pause_seconds", judge.retry_pause_seconds),
    ] {
        let day = 86_400.0;
        let instead = "a number above 0, up to 86400";
        ranges.need(seconds > 0.0 && seconds <= day, &key(name), number(seconds), instead)?;
    }
    for (name, count) in [
        ("concurrency", judge.concurrency),
        ("batch", judge.batch),
        ("max_tokens", judge.max_tokens),
        ("failure_window", judge.failure_window),
        ("cache.max_entries", judge.cache.max_entries),
    ] {
        ranges.at_least_one(count, &key(name))?;
    }
    let most = 100_000;
    let instead = format!("a number up to {most}");
    ranges.need(judge.concurrency <= most, &key("concurrency"), judge.concurrency, &instead)?;
    ranges.need(judge.retries <= 100, &key("retries"), judge.retries, "a number up to 100")?;
    ranges.need(judge.max_chars >= 200, &key("max_chars"), judge.max_chars, "200 or more")?;
    let megabytes = judge.cache.max_mb;
    ranges.need((1..=1_000_000).contains(&megabytes), &key("cache.max_mb"), megabytes, "1 to 1000000")?;
    ranges.not_negative(judge.temperature, &key("temperature"))?;
    ranges.fraction(judge.max_failed_fraction, &key("max_failed_fraction"))?;
    for (name, price) in [("prompt_price", judge.prompt_price), ("reply_price", judge.reply_price)] {
        ranges.not_negative(price.unwrap_or(0.0), &key(name))?;
    }
    match judge.kind {
        JudgeKind::Rules => Ok(()),
        JudgeKind::Openai => check_server(judge, section, ranges),
        JudgeKind::Local => {
            let instead = "the folder of a Qwen3 in the Hugging Face layout";
            ranges.need(judge.path.is_some(), &key("path"), "missing", instead)
        }
        JudgeKind::Panel => check_panel(judge, section, ranges),
    }
}

fn check_server(judge: &JudgeConfig, section: &str, ranges: &Ranges<'_>) -> Checked {
    let key = |name: &str| format!("{section}.{name}");
    let instead = "the server's address, such as base_url = \"http://127.0.0.1:8000/v1\"";
    ranges.need(!judge.base_url.0.is_empty(), &key("base_url"), "missing", instead)?;
    for url in &judge.base_url.0 {
        let good = url.starts_with("http://") || url.starts_with("https://");
        ranges.need(good, &key("base_url"), text(url), "an address that begins with http:// or https://")?;
    }
    let instead = "the model's name as the server knows it";
    ranges.need(!judge.model.is_empty(), &key("model"), "missing", instead)?;
    if let Some(variable) = &judge.api_key_env {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = !variable.is_empty() && variable.chars().all(good);
        let instead =
            "the name of an environment variable, such as OPENAI_API_KEY; the key itself stays out of files";
        // The value may be a key, so it is not repeated.
        ranges.need(name, &key("api_key_env"), "not the name of a variable", instead)?;
    }
    Ok(())
}

fn check_panel(judge: &JudgeConfig, section: &str, ranges: &Ranges<'_>) -> Checked {
    let members = format!("{section}.members");
    let instead = "at least one [[judge.members]] table";
    ranges.need(!judge.members.is_empty(), &members, "empty", instead)?;
    let instead = format!("up to {}, the number of members, or 0 for all of them", judge.members.len());
    let quorum = format!("{section}.quorum");
    ranges.need(judge.quorum <= judge.members.len(), &quorum, judge.quorum, &instead)?;
    for (index, member) in judge.members.iter().enumerate() {
        let section = format!("{members}.{index}");
        let instead = "another kind: a panel has no panels in it";
        let kind = format!("{section}.kind");
        ranges.need(member.kind != JudgeKind::Panel, &kind, "\"panel\"", instead)?;
        check_judge(member, &section, ranges)?;
    }
    Ok(())
}

/// Whether a formula names this component or weight. A name ends where no letter, digit or underscore follows.
pub(crate) fn formula_names(formula: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    formula.match_indices(name).any(|(start, _)| {
        let before = formula[..start].chars().next_back();
        let after = formula[start + name.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_names_whole_names_only() {
        assert!(formula_names("a * (1 + w_think*think)", "w_think"));
        assert!(!formula_names("w_thinking * think", "w_think"));
        assert!(!formula_names("my_w_think", "w_think"));
        assert!(formula_names("{w_my-reward} + 1", "w_my-reward"));
    }

    #[test]
    fn numbers_are_shown_as_one_writes_them() {
        assert_eq!([number(2.0), number(-0.5), number(1e-7)], ["2", "-0.5", "1e-7"]);
    }
}
