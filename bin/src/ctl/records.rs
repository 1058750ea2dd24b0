//! Shows the state of the run, its actors and its records.

use report::fit::GiveUp;
use serde_json::{Value, json};

use super::{client::Arm, context::Ctl, error::CtlError};
use crate::cli::{MetricsOptions, RolloutsOptions};
use crate::streams::columns;
use crate::table::{Table, one_line, short};

/// Shows the run and its arms.
pub fn state(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    let state = ctl.client.get(&["api", "state"], &[])?;
    ctl.print(&state, |state| {
        let (run, totals) = (&state["run"], &state["totals"]);
        // Given up in a narrow terminal: the end of the reason, version, method, the reason, the end of the arm's name.
        let order = [
            GiveUp::Text { column: 7, least: 20 },
            GiveUp::Column(6),
            GiveUp::Column(2),
            GiveUp::Column(7),
            GiveUp::Text { column: 0, least: 8 },
            GiveUp::Column(5),
        ];
        let heads = ["arm", "seed", "method", "status", "step", "of", "version", "reason"];
        let mut table = Table::new(&heads).giving_up(&order);
        for arm in state["arms"].as_array().into_iter().flatten() {
            let version = short(&arm["conditions"]["version"]);
            let reason = arm["reason"].as_str().map_or_else(String::new, |reason| one_line(reason, 80));
            let cell = |key: &str| short(&arm[key]);
            let about = ["arm", "seed", "method", "status", "step", "total_steps"].map(cell);
            table.row(about.into_iter().chain([version, reason]).collect());
        }
        format!(
            "{}  {}  {} of {} steps  {}\n\n{}",
            short(&run["name"]),
            short(&run["status"]),
            totals["steps_done"],
            totals["steps_total"],
            ctl.client.run_dir.display(),
            table.text(columns())
        )
    });
    Ok(())
}

/// Shows the actors of the arms that run or are paused.
pub fn actors(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    for arm in ctl.arms()?.iter().filter(|arm| matches!(arm.status(), "running" | "paused")) {
        let tree = ctl.client.get_of(arm, "actors", &[])?;
        ctl.print(&tree, |tree| {
            // Given up in a narrow terminal: the end of the last failure, generation, ms, calls, load, the last failure,
            // the end of the actor's name.
            let order = [
                GiveUp::Text { column: 8, least: 20 },
                GiveUp::Column(1),
                GiveUp::Column(7),
                GiveUp::Column(4),
                GiveUp::Column(3),
                GiveUp::Column(8),
                GiveUp::Text { column: 0, least: 12 },
            ];
            let mut table = Table::new(&[
                "actor",
                "generation",
                "status",
                "load",
                "calls",
                "failures",
                "restarts",
                "ms",
                "last failure",
            ])
            .giving_up(&order);
            branch(&mut table, &tree["actors"], 0);
            format!("{}\n{}\n", arm.label(), table.text(columns()))
        });
    }
    Ok(())
}

fn branch(table: &mut Table, actors: &Value, depth: usize) {
    for actor in actors.as_array().into_iter().flatten() {
        let cell = |key: &str| short(&actor[key]);
        let load = if actor["capacity"] == 0 {
            String::new()
        } else {
            format!("{}/{}", actor["in_flight"], actor["capacity"])
        };
        let failure =
            actor["last_failure"].as_str().map_or_else(String::new, |failure| one_line(failure, 80));
        table.row(vec![
            format!("{}{}", "  ".repeat(depth), cell("name")),
            cell("generation"),
            cell("status"),
            load,
            cell("calls"),
            cell("failures"),
            cell("restarts"),
            cell("latency_ms"),
            failure,
        ]);
        branch(table, &actor["children"], depth + 1);
    }
}

/// The columns shown without `--fields`, as far as the arm has them.
const COLUMNS: [&str; 7] =
    ["reward", "accuracy", "think_rate", "components", "loss", "kl", "tokens_per_second"];

/// Shows the metrics of an arm.
pub fn metrics(ctl: &Ctl<'_>, options: &MetricsOptions) -> Result<(), CtlError> {
    let arm = ctl.arm()?;
    let mut query = Vec::new();
    let from = options.from.or_else(|| {
        // Without a range, the last steps.
        let step = arm.0["step"].as_u64()?;
        options.to.is_none().then(|| (step + 1).saturating_sub(options.last).max(1))
    });
    query.extend(from.map(|from| ("from", from.to_string())));
    query.extend(options.to.map(|to| ("to", to.to_string())));
    query.extend(options.fields.as_ref().map(|fields| ("fields", fields.clone())));
    let answer = ctl.client.get_of(&arm, "metrics", &query)?;
    ctl.print(&answer, |answer| {
        let names: Vec<&str> =
            answer["columns"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_shown = |name: &str| {
            options.fields.is_some()
                || name == "step"
                || COLUMNS.contains(&name.split('.').next().unwrap_or(name))
        };
        let shown: Vec<usize> = (0..names.len()).filter(|&place| is_shown(names[place])).collect();
        let head = |&place: &usize| {
            // The prefix stays if there is a metric of this name too.
            let short = names[place].strip_prefix("components.").filter(|short| !names.contains(short));
            short.unwrap_or(names[place]).to_owned()
        };
        let heads: Vec<String> = shown.iter().map(head).collect();
        // The last columns are given up first; the step stays.
        let order: Vec<GiveUp> = (1..heads.len()).rev().map(GiveUp::Column).collect();
        let mut table = Table::of(heads).giving_up(&order);
        for row in answer["rows"].as_array().into_iter().flatten() {
            table.row(shown.iter().map(|&place| short(&row[place])).collect());
        }
        format!("{}\n{}", arm.label(), table.text(columns()))
    });
    Ok(())
}

/// Shows completions of an arm.
pub fn rollouts(ctl: &Ctl<'_>, options: &RolloutsOptions) -> Result<(), CtlError> {
    let arm = ctl.arm()?;
    let mut query = vec![("limit", options.limit.to_string()), ("offset", options.offset.to_string())];
    query.extend(options.step.map(|step| ("step", step.to_string())));
    let texts = [
        ("phase", &options.phase),
        ("id", &options.id),
        ("filter", &options.filter),
        ("q", &options.search),
        ("sort", &options.sort),
    ];
    query.extend(texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))));
    if options.ascending {
        query.push(("order", "asc".to_owned()));
    }
    let answer = ctl.client.get_of(&arm, "rollouts", &query)?;
    ctl.print(&answer, |answer| {
        let rollouts = answer["rollouts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown = rollouts.iter().map(rollout).collect::<String>();
        format!("{}: {} of {}\n\n{shown}", arm.label(), rollouts.len(), answer["total"])
    });
    Ok(())
}

fn rollout(rollout: &Value) -> String {
    let part = |(name, score): (&String, &Value)| format!("{name} {}", short(score));
    let components: Vec<String> = rollout["components"].as_object().into_iter().flatten().map(part).collect();
    format!(
        "{} step {}  {}  reward {}  advantage {}  {}\n  {}\n  gold {}\n  {}\n\n",
        short(&rollout["phase"]),
        rollout["step"],
        short(&rollout["id"]),
        short(&rollout["reward"]),
        short(&rollout["advantage"]),
        components.join("  "),
        one_line(&short(&rollout["question"]), 160),
        short(&rollout["answer_gold"]),
        one_line(&short(&rollout["completion"]), 400),
    )
}

pub fn journal(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    let answer = ctl.client.get(&["api", "journal"], &[])?;
    ctl.print(&answer, |answer| {
        // Given up in a narrow terminal: the end of what was done, who did it, the time, the end of the arm's name.
        let order = [
            GiveUp::Text { column: 4, least: 30 },
            GiveUp::Column(1),
            GiveUp::Column(0),
            GiveUp::Text { column: 4, least: 12 },
            GiveUp::Text { column: 2, least: 8 },
        ];
        let mut table = Table::new(&["time", "by", "arm", "step", "what"]).giving_up(&order);
        for entry in answer["entries"].as_array().into_iter().flatten() {
            let cell = |key: &str| short(&entry[key]);
            table.row(vec![cell("time"), cell("by"), Arm::label_of(entry), cell("step"), what(entry)]);
        }
        table.text(columns())
    });
    Ok(())
}

/// A journal entry in one line, such as `change  think 0.2 → 0.3`.
pub fn what(entry: &Value) -> String {
    let (change, from) = (&entry["change"], &entry["from"]);
    let mut parts = vec![short(&entry["action"])];
    for (name, value) in change["weights"].as_object().into_iter().flatten() {
        parts.push(format!("{name} {} → {}", short(&from["weights"][name]), short(value)));
    }
    for (name, reward) in change["rewards"].as_object().into_iter().flatten() {
        let kind = |reward: &Value| if reward.is_null() { json!(null) } else { reward["kind"].clone() };
        parts.push(format!(
            "reward {name} {} → {}",
            short(&kind(&from["rewards"][name])),
            short(&kind(reward))
        ));
    }
    if let Some(formula) = change["formula"].as_str() {
        parts.push(format!("formula {} → {}", short(&from["formula"]), one_line(formula, 100)));
    }
    parts.extend(entry["note"].as_str().map(|note| one_line(note, 100)));
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_old_and_new_values() {
        let entry = json!({
            "action": "change",
            "change": {"weights": {"think": 0.3}, "rewards": {"brevity": {"kind": "process"}, "old": null}},
            "from": {"weights": {"think": 0.2}, "rewards": {"brevity": null, "old": {"kind": "format"}}},
        });
        assert_eq!(
            what(&entry),
            "change  think 0.2 → 0.3  reward brevity – → process  reward old format → –"
        );
        assert_eq!(what(&json!({"action": "pause", "change": null, "note": "lunch"})), "pause  lunch");
    }
}
