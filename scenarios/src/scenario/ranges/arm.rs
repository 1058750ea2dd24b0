//! Checks the values of an arm's sections, except for `[judge]`.

use super::grpo::check_grpo;
use super::judge::{check_address, check_judge, check_key_variable};
use super::range::{Checked, Ranges, number, text};
use super::run::{FOLDER_NAME, is_folder_name};
use super::sampler::check_sampler;
use crate::dataset::DataSource;
use crate::error::ScenarioError;
use crate::scenario::tree::Node;
use crate::scenario::{
    ArmConfig, AudioWindow, LoraConfig, Method, Schedule, ServerConfig, TargetModules, TrainPart,
    WeightConfig,
};
use crate::world::World;

/// Checks all values of an arm that need nothing from outside the scenario.
pub(crate) fn check_arm(arm: &ArmConfig, tree: &Node) -> Checked {
    let ranges = Ranges(tree);
    ranges.need(is_folder_name(&arm.name), "name", text(&arm.name), FOLDER_NAME)?;
    ranges.need(
        arm.steps >= 1,
        "steps",
        arm.steps,
        "1 or more (an arm without training has method = \"none\")",
    )?;
    check_policy(arm, &ranges)?;
    check_data(arm, &ranges)?;
    check_sampling(arm, &ranges)?;
    check_sampler(arm, &ranges)?;
    check_learning(arm, &ranges)?;
    check_feedback(arm, &ranges)?;
    ranges.not_negative(arm.eval.temperature, "eval.temperature")?;
    ranges.at_least_one(arm.eval.batch_prompts, "eval.batch_prompts")?;
    ranges.at_least_one(arm.eval.samples, "eval.samples")?;
    ranges.at_least_one(arm.eval.shuffles, "eval.shuffles")?;
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
    if let Some(server) = &arm.eval.server {
        check_server(server, arm, &ranges)?;
    }
    let seed = arm.eval.seed;
    ranges.need(i64::try_from(seed).is_ok(), "eval.seed", seed, "a seed up to 9223372036854775807")?;
    ranges.at_least_one(arm.checkpoint.keep, "checkpoint.keep")?;
    ranges.positive(arm.supervision.window_seconds, "supervision.window_seconds")?;
    ranges.positive(arm.supervision.call_timeout_seconds, "supervision.call_timeout_seconds")?;
    ranges.positive(arm.supervision.probe_timeout_seconds, "supervision.probe_timeout_seconds")?;
    ranges.not_negative(arm.supervision.help_timeout_seconds, "supervision.help_timeout_seconds")?;
    ranges.fraction(arm.supervision.max_missing_fraction, "supervision.max_missing_fraction")?;
    ranges.fraction(arm.limits.skipped_fraction, "limits.skipped_fraction")?;
    let factor = arm.limits.spike_factor;
    let above_one = factor > 1.0 && factor.is_finite();
    ranges.need(above_one, "limits.spike_factor", number(factor), "a number above 1")
}

fn check_server(server: &ServerConfig, arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    check_address(&server.url, "eval.server.url", ranges)?;
    let instead = "the model's name on the server";
    ranges.need(!server.model.is_empty(), "eval.server.model", "missing", instead)?;
    check_key_variable(server.api_key_env.as_deref(), "eval.server.api_key_env", ranges)?;
    let concurrency = server.concurrency;
    let good = (1..=100_000).contains(&concurrency);
    ranges.need(good, "eval.server.concurrency", concurrency, "a number from 1 to 100000")?;
    for (key, value, most) in [
        ("clip_seconds", server.clip_seconds, 3_600.0),
        ("timeout_seconds", server.timeout_seconds, 86_400.0),
    ] {
        let instead = format!("a number above 0, at most {most}");
        ranges.need(value > 0.0 && value <= most, &format!("eval.server.{key}"), number(value), &instead)?;
    }
    ranges.need(server.retries <= 100, "eval.server.retries", server.retries, "a number up to 100")?;
    let windows = arm.loader.window != AudioWindow::All;
    let instead = "\"first\", \"center\" or \"random\": a server is sent one part of a clip, of up to eval.server.clip_seconds";
    ranges.need(windows, "loader.window", text("all"), instead)?;
    let entry = ranges.0.entry(&["eval", "server"]);
    match (arm.method, entry) {
        (Method::None, _) | (_, None) => Ok(()),
        (Method::Grpo | Method::Sft, Some(entry)) => {
            let problem = "[eval.server] belongs to method = \"none\": a server is evaluated, not trained";
            Err(ScenarioError::at(&entry.key_place, problem, "write method = \"none\", or leave it out"))
        }
    }
}

fn check_policy(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let policy = &arm.policy;
    let lora = policy.train.lora();
    let adapter = policy.adapter.as_ref().map(|folder| folder.display().to_string()).unwrap_or_default();
    let instead = "\"lora\" in policy.train, or leave it out: without there is no adapter";
    ranges.need(lora || policy.adapter.is_none(), "policy.adapter", text(&adapter), instead)?;
    let instead = "false with \"lora\" in policy.train: adapters on random weights learn nothing";
    ranges.need(!(lora && policy.from_scratch), "policy.from_scratch", true, instead)?;
    let whole = lora && policy.train.has(TrainPart::Tower);
    let instead = "false with \"lora\" and \"tower\" in policy.train: the tower is trained as a whole and gets no adapters";
    ranges.need(!(whole && policy.train_audio_tower), "policy.train_audio_tower", true, instead)?;
    match &policy.lora {
        Some(_) if !lora => {
            let entry = ranges.0.entry(&["policy", "lora"]);
            let place = entry.map_or(&ranges.0.place, |entry| &entry.key_place);
            let problem =
                format!("[policy.lora] belongs to \"lora\" in policy.train, which is {}", policy.train);
            let instead = "write train = \"lora\" in [policy], or leave [policy.lora] out";
            Err(ScenarioError::at(place, problem, instead))
        }
        Some(lora) => check_lora(lora, ranges),
        None => Ok(()),
    }
}

fn check_lora(lora: &LoraConfig, ranges: &Ranges<'_>) -> Checked {
    ranges.at_least_one(lora.rank, "policy.lora.rank")?;
    ranges.positive(lora.alpha, "policy.lora.alpha")?;
    let dropout = lora.dropout;
    ranges.need(
        (0.0..1.0).contains(&dropout),
        "policy.lora.dropout",
        number(dropout),
        "a number from 0, below 1",
    )?;
    let empty = matches!(&lora.target_modules, TargetModules::Named(names) if names.is_empty());
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
    let placed = |error| match error {
        ScenarioError::World { section, key, problem, instead } => {
            let place = ranges.0.place_of(&["data", section, key]);
            ScenarioError::at(place, format!("`{key}` in [data.{section}] {problem}"), instead)
        }
        other => other,
    };
    arm.data.soundscapes.validate().map_err(placed)?;
    arm.data.spoken.validate().map_err(placed)?;
    arm.data.recorded.validate().map_err(placed)?;
    let recorded = DataSource::World(World::Recorded);
    ranges.need(
        arm.data.recorded.sounds.is_some()
            || arm.data.train != recorded && !arm.eval.suites.contains(&recorded),
        "data.recorded.sounds",
        "missing",
        "the path of a folder with a subfolder of recordings per class, which builtin:recorded needs",
    )?;
    ranges.fraction(arm.data.max_unusable_fraction, "data.max_unusable_fraction")?;
    ranges.at_least_one(arm.loader.workers, "loader.workers")?;
    ranges.at_least_one(arm.loader.cache_dir_mb, "loader.cache_dir_mb")?;
    ranges.fraction(arm.loader.max_failed_fraction, "loader.max_failed_fraction")
}

/// The most that `selection.extra_rounds` may be.
const MOST_EXTRA_ROUNDS: u64 = 64;

fn check_sampling(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let sampling = &arm.sampling;
    let instead = "2 or more: a completion is compared with the others of its group";
    ranges.need(sampling.group_size >= 2, "sampling.group_size", sampling.group_size, instead)?;
    ranges.at_least_one(sampling.prompts_per_step, "sampling.prompts_per_step")?;
    ranges.positive(sampling.temperature, "sampling.temperature")?;
    let top_p = sampling.top_p;
    ranges.need(top_p > 0.0 && top_p <= 1.0, "sampling.top_p", number(top_p), "a number above 0, up to 1")?;
    ranges.at_least_one(sampling.max_new_tokens, "sampling.max_new_tokens")?;
    let (thinking, most) = (sampling.max_think_tokens, sampling.max_new_tokens);
    let instead = format!("a number below max_new_tokens = {most}, or 0 for no limit");
    ranges.need(thinking < most, "sampling.max_think_tokens", thinking, &instead)?;
    ranges.fraction(sampling.forced_no_think, "sampling.forced_no_think")?;
    check_selection(arm, ranges)
}

fn check_selection(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let (selection, group) = (&arm.selection, arm.sampling.group_size);
    let keep = selection.keep_completions;
    let instead = format!("2 to group_size = {group}, or 0 for all of them");
    ranges.need(keep == 0 || (2..=group).contains(&keep), "selection.keep_completions", keep, &instead)?;
    let most = MOST_EXTRA_ROUNDS;
    let instead = format!("up to {most}; a step may sample that many times its prompts");
    ranges.need(
        selection.extra_rounds <= most,
        "selection.extra_rounds",
        selection.extra_rounds,
        &instead,
    )?;
    for (key, [first, last]) in
        [("selection.pass_rate", selection.pass_rate), ("selection.revisit_target", selection.revisit_target)]
    {
        ranges.fraction(first, &format!("{key}.0"))?;
        ranges.fraction(last, &format!("{key}.1"))?;
    }
    let [least, most] = selection.pass_rate;
    let instead = "the smaller fraction first";
    ranges.need(least <= most, "selection.pass_rate.0", number(least), instead)?;
    ranges.fraction(selection.revisit_share, "selection.revisit_share")
}

fn check_learning(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    check_grpo(arm, ranges)?;
    ranges.positive(arm.sft.lr, "sft.lr")?;
    ranges.at_least_one(arm.sft.rows_per_step, "sft.rows_per_step")?;
    ranges.at_least_one(arm.sft.targets_per_row, "sft.targets_per_row")?;
    let share = arm.sft.replay.share;
    let instead = "a fraction from 0 to below 1";
    ranges.need((0.0..1.0).contains(&share), "sft.replay.share", number(share), instead)?;
    check_align(arm, ranges)?;

    let optimizer = &arm.optimizer;
    ranges.not_negative(optimizer.weight_decay, "optimizer.weight_decay")?;
    for (index, beta) in optimizer.betas.iter().enumerate() {
        let good = (0.0..1.0).contains(beta);
        ranges.need(good, &format!("optimizer.betas.{index}"), number(*beta), "numbers from 0, below 1")?;
    }
    for (key, lr, trained, part) in [
        ("optimizer.projector_lr", optimizer.projector_lr, trains_projector(arm), "projector"),
        ("optimizer.tower_lr", optimizer.tower_lr, trains_tower(arm), "tower"),
    ] {
        let Some(lr) = lr else { continue };
        ranges.positive(lr, key)?;
        let instead = format!("\"{part}\" in policy.train, or leave it out: the {part} is not trained");
        ranges.need(trained, key, number(lr), &instead)?;
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
    let last = optimizer.final_lr_fraction;
    ranges.fraction(last, "optimizer.final_lr_fraction")?;
    let falls = optimizer.schedule != Schedule::Constant;
    let instead = "`schedule = \"linear\"` or \"cosine\" beside it, or leave it out: with \"constant\" the rate stays at its peak";
    ranges.need(falls || last == 0.0, "optimizer.final_lr_fraction", number(last), instead)
}

fn check_align(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    let align = &arm.align;
    if align.is_off() {
        return Ok(());
    }
    let steps = align.steps;
    let instead = "0, or method = \"sft\" beside it: only supervised arms begin by fitting the projector";
    ranges.need(arm.method == Method::Sft, "align.steps", steps, instead)?;
    let instead = "0, or \"projector\" in policy.train: these steps fit the projector";
    ranges.need(trains_projector(arm), "align.steps", steps, instead)?;
    let instead = format!("fewer steps than the arm has, {}", arm.steps);
    ranges.need(steps < arm.steps, "align.steps", steps, &instead)?;
    ranges.at_least_one(align.rows_per_step, "align.rows_per_step")?;
    ranges.positive(align.lr, "align.lr")
}

fn trains_projector(arm: &ArmConfig) -> bool {
    let policy = &arm.policy;
    policy.train.has(TrainPart::Projector) || (policy.train_audio_tower && !policy.train.lora())
}

fn trains_tower(arm: &ArmConfig) -> bool {
    let policy = &arm.policy;
    policy.train.has(TrainPart::Tower) || (policy.train_audio_tower && !policy.train.lora())
}

fn check_feedback(arm: &ArmConfig, ranges: &Ranges<'_>) -> Checked {
    check_judge(&arm.judge, ranges)?;
    for (name, weight) in &arm.shaping.weights {
        check_weight(&format!("shaping.weights.{name}"), weight, ranges)?;
    }
    if arm.method == Method::Grpo && arm.shaping.formula.trim().is_empty() {
        let names: Vec<&str> = arm.rewards.keys().map(String::as_str).collect();
        let place = ranges.0.place_of(&["shaping", "formula"]);
        let problem = format!("the arm \"{}\" has no formula", arm.name);
        let instead = match names.is_empty() {
            true => "define rewards in [rewards.NAME] and combine them in [shaping] formula".to_owned(),
            false => format!("combine its rewards in [shaping], such as formula = \"{}\"", names.join(" + ")),
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
        WeightConfig::Scheduled(schedule) => &schedule.schedule,
    };
    let path = format!("{path}.schedule");
    ranges.need(!points.is_empty(), &path, "an empty list", "points such as [[0, 0.0], [100, 0.5]]")?;
    for (place, (step, value)) in points.iter().enumerate() {
        finite(&format!("{path}.{place}.1"), *value)?;
        let before = place.checked_sub(1).map(|before| points[before].0);
        if let Some(before) = before.filter(|before| before >= step) {
            let instead = format!("a step after {before}, since the steps have to increase");
            ranges.need(false, &format!("{path}.{place}.0"), step, &instead)?;
        }
    }
    Ok(())
}
