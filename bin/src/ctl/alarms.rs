//! Shows the alarms of the arms: how they stand, and when and why they went off.

use report::fit::GiveUp;
use serde_json::Value;

use super::{client::Arm, context::Ctl, error::CtlError};
use crate::streams::columns;
use crate::table::{Table, one_line, short};

/// Shows the alarms of the matching arms.
pub fn alarms(ctl: &Ctl<'_>) -> Result<(), CtlError> {
    let arms: Vec<String> = ctl.arms()?.iter().map(Arm::label).collect();
    let mut answer = ctl.client.get(&["api", "alarms"], &[])?;
    if let Some(list) = answer["arms"].as_array_mut() {
        list.retain(|arm| arms.contains(&Arm::label_of(arm)));
    }
    ctl.print(&answer, text);
    Ok(())
}

fn text(answer: &Value) -> String {
    let arms = answer["arms"].as_array().map(Vec::as_slice).unwrap_or_default();
    if arms.is_empty() {
        return "no arm that has taken a step has alarms; [[alarm]] in the scenario sets them".into();
    }
    // Given up in a narrow terminal: the end of the condition, of the values, the condition, the end of the arm's name.
    let order = [
        GiveUp::Text { column: 5, least: 20 },
        GiveUp::Text { column: 4, least: 20 },
        GiveUp::Column(5),
        GiveUp::Text { column: 0, least: 8 },
    ];
    let mut table = Table::new(&["arm", "alarm", "streak", "fired", "now", "when"]).giving_up(&order);
    let mut fired = String::new();
    for arm in arms {
        let label = Arm::label_of(arm);
        for alarm in arm["alarms"].as_array().into_iter().flatten() {
            let firings = alarm["firings"].as_array().map(Vec::as_slice).unwrap_or_default();
            table.row(vec![
                label.clone(),
                short(&alarm["name"]),
                format!("{} of {}", alarm["streak"], alarm["steps"]),
                firings.len().to_string(),
                numbers(&alarm["values"]),
                short(&alarm["when"]),
            ]);
            for firing in firings {
                let message =
                    firing["message"].as_str().map_or_else(String::new, |message| format!("; {message}"));
                let numbers = numbers(&firing["values"]);
                fired += &one_line(
                    &format!(
                        "{label}: {} at step {}: {numbers}{message}",
                        short(&alarm["name"]),
                        firing["step"]
                    ),
                    400,
                );
                fired.push('\n');
            }
        }
    }
    format!("{}\n{fired}", table.text(columns()))
}

/// Numbers by their names; `–` for one that has no value yet.
fn numbers(values: &Value) -> String {
    let of = |(name, value): (&String, &Value)| format!("{name} = {}", short(value));
    values.as_object().into_iter().flatten().map(of).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alarm_is_a_row_and_each_time_it_went_off_a_line() {
        let firing = json!({ "step": 12, "values": { "kl": 3.5 }, "message": "too far" });
        let alarms = json!([
            { "name": "far", "when": "kl > 3 for 2 steps", "streak": 2, "steps": 2, "values": { "kl": 3.5 }, "firings": [firing] },
            { "name": "lost", "when": "{eval.accuracy} < 0.1", "streak": 0, "steps": 1, "values": { "{eval.accuracy}": null }, "firings": [] },
        ]);
        let said = text(&json!({ "arms": [{ "arm": "grpo", "seed": 7, "alarms": alarms }] }));
        assert!(said.contains("grpo (seed 7): far at step 12: kl = 3.5; too far\n"), "{said}");
        assert!(said.contains("2 of 2") && said.contains("{eval.accuracy} = –"), "{said}");
        assert!(text(&json!({ "arms": [] })).contains("[[alarm]]"));
    }
}
