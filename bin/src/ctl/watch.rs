//! Follows a run until it ends, with a line for each step, evaluation, change, warning and new state.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
};

use serde_json::{Value, json};

use super::{client::Arm, context::Ctl, error::CtlError, records::what};
use crate::streams::print_line;
use crate::table::{one_line, short};

/// Prints events until the run ends.
pub fn watch(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    let mut arms: HashMap<String, String> = HashMap::new();
    let response = ctl.client.events()?;
    for arm in ctl.arms()? {
        arms.insert(arm.label(), arm.status().to_owned());
    }
    let lost = || CtlError::Lost(ctl.client.run_dir.clone());
    let mut lines = BufReader::new(response).lines();
    while let Some((event, data)) = next_event(&mut lines).map_err(|_| lost())? {
        let of_an_arm = data.get("arm").is_some();
        if of_an_arm && !arms.contains_key(&Arm::label_of(&data)) {
            continue;
        }
        if ctl.options.json {
            print_line(&json!({ "event": event, "data": data }).to_string());
        } else if let Some(line) = line(&event, &data, &mut arms) {
            print_line(&line);
        }
        if event == "end" && !of_an_arm {
            return Ok(());
        }
    }
    Err(lost())
}

/// The next event and its data; `None` at the end of the stream.
fn next_event(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
) -> std::io::Result<Option<(String, Value)>> {
    let (mut event, mut data) = (String::new(), String::new());
    for line in lines {
        let line = line?;
        if let Some(name) = line.strip_prefix("event:") {
            event = name.trim().to_owned();
        } else if let Some(more) = line.strip_prefix("data:") {
            data.push_str(more.trim_start());
        } else if line.is_empty() && !event.is_empty() {
            return Ok(Some((event, serde_json::from_str(&data).unwrap_or_default())));
        }
    }
    Ok(None)
}

/// The line for an event, if it has one; `statuses` holds the last status shown for each arm.
fn line(event: &str, data: &Value, statuses: &mut HashMap<String, String>) -> Option<String> {
    let label = Arm::label_of(data);
    match event {
        "step" => Some(step(&label, &data["metrics"])),
        "eval" => {
            let (evaluation, overall) = (&data["evaluation"], &data["evaluation"]["overall"]);
            let share = overall["correct"].as_f64()? / overall["n"].as_f64().filter(|n| *n > 0.0)?;
            let suite = short(&evaluation["suite"]);
            Some(format!(
                "{label}: step {}  evaluated on {suite}: {:.1} % correct",
                evaluation["step"],
                100.0 * share
            ))
        }
        // A warning says it too, with all of the evidence.
        "change" if data["action"] == "alarm" => None,
        "change" => Some(format!("{label}: {} by {}, step {}", what(data), short(&data["by"]), data["step"])),
        "bookmark" if data["removed"] == true => None,
        "bookmark" => {
            let note = one_line(&short(&data["note"]), 300);
            Some(format!("{label}: bookmark {} at step {}: {note}", data["number"], data["step"]))
        }
        "warning" => Some(format!("{label}: warning: {}", one_line(&short(&data["message"]), 300))),
        "state" => {
            let status = data["status"].as_str()?;
            let before = statuses.insert(label.clone(), status.to_owned());
            let reason = data["reason"]
                .as_str()
                .map_or_else(String::new, |reason| format!(": {}", one_line(reason, 300)));
            (before.as_deref() != Some(status)).then(|| format!("{label}: {status}{reason}"))
        }
        "lagged" => Some(format!("({} events were missed)", data["missed"])),
        "end" if data.get("arm").is_none() => Some("the run has ended".to_owned()),
        _ => None,
    }
}

fn step(label: &str, metrics: &Value) -> String {
    let mut line = format!("{label}: step {}/{}", metrics["step"], metrics["total_steps"]);
    let percent = |value: f64| format!("{:.0} %", 100.0 * value);
    for (name, key) in [("reward", "reward"), ("loss", "loss"), ("kl", "kl")] {
        if metrics[key].is_number() {
            line += &format!("  {name} {}", short(&metrics[key]));
        }
    }
    for (name, key) in [("accuracy", "accuracy"), ("think", "think_rate")] {
        if let Some(value) = metrics[key].as_f64() {
            line += &format!("  {name} {}", percent(value));
        }
    }
    if let Some(speed) = metrics["tokens_per_second"].as_f64() {
        line += &format!("  {speed:.0} tokens/s");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_the_stream_and_comments_skipped() {
        let stream = ": alive\n\nid: 1\nevent: step\ndata: {\"arm\":\"a\"}\n\nevent: end\ndata: {}\n\n";
        let mut lines = stream.lines().map(|line| Ok(line.to_owned()));
        let mut next = || next_event(&mut lines).unwrap();
        assert_eq!(next(), Some(("step".to_owned(), json!({"arm": "a"}))));
        assert_eq!(next(), Some(("end".to_owned(), json!({}))));
        assert_eq!(next(), None);
    }

    #[test]
    fn a_step_is_one_line_and_a_status_is_printed_once() {
        let mut statuses = HashMap::new();
        let metrics = json!({"step": 3, "total_steps": 9, "reward": 0.5, "accuracy": 0.25, "kl": null});
        let data = json!({"arm": "a", "seed": 7, "metrics": metrics});
        let said = line("step", &data, &mut statuses).unwrap();
        assert_eq!(said, "a (seed 7): step 3/9  reward 0.5  accuracy 25 %");
        let state = json!({"arm": "a", "seed": 7, "status": "paused", "reason": "by hand"});
        assert_eq!(line("state", &state, &mut statuses).unwrap(), "a (seed 7): paused: by hand");
        assert_eq!(line("state", &state, &mut statuses), None);
    }
}
