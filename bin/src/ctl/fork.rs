//! Copies an arm into new ones under other conditions.

use serde_json::{Value, json};

use super::context::Ctl;
use super::error::CtlError;
use crate::cli::{ForkOptions, Sweep};
use crate::streams::print_line;
use crate::table::short;

/// Makes one fork, or one for each value of a sweep, all of them at the same step.
pub fn fork(ctl: &Ctl<'_>, options: &ForkOptions) -> Result<(), CtlError> {
    let mut step = options.at;
    let mut answers = Vec::new();
    for (name, settings) in forks(options) {
        let body = json!({
            "arm": options.arm, "name": name, "step": step, "settings": settings,
            "seeds": ctl.options.seed.map_or_else(Vec::new, |seed| vec![seed]),
        });
        let answer = ctl.client.post(&["api", "fork"], &body)?;
        step = answer["step"].as_u64();
        answers.push(answer);
    }
    if ctl.options.json {
        print_line(&format!("{:#}", Value::Array(answers)));
        return Ok(());
    }
    for answer in &answers {
        print_line(&text(&options.arm, answer));
    }
    Ok(())
}

/// The name and the settings of each fork.
fn forks(options: &ForkOptions) -> Vec<(String, Vec<String>)> {
    let Some(Sweep { weight, values }) = &options.sweep else {
        return vec![(options.name.clone(), options.set.clone())];
    };
    let fork = |value: &f64| {
        let mut settings = options.set.clone();
        settings.push(format!("shaping.weights.{weight}={value}"));
        (format!("{}-{weight}{value}", options.name), settings)
    };
    values.iter().map(fork).collect()
}

fn text(arm: &str, answer: &Value) -> String {
    let seeds = answer["seeds"].as_array().into_iter().flatten().map(short).collect::<Vec<_>>().join(", ");
    let name = short(&answer["name"]);
    let mut text =
        format!("{name}: copied from {arm} after step {}, under the seeds {seeds}", answer["step"]);
    for left in answer["left_out"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\n{name}: not under seed {}, which {}",
            left["seed"],
            short(&left["reason"])
        ));
    }
    text
}
