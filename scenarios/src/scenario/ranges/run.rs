//! Checks the values of `[run]`, `[control]` and `[tracking]`.

use std::fmt::Display;

use super::range::{Checked, Ranges, text};
use crate::error::ScenarioError;
use crate::scenario::secret::is_variable_name;
use crate::scenario::tree::Node;
use crate::scenario::{ControlConfig, RunConfig, TrackingConfig};

/// Whether a text can be a folder's name on every system.
pub(super) fn is_folder_name(name: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || "+-_.".contains(c);
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(good)
}

pub(super) const FOLDER_NAME: &str = "letters, digits and + - _ . only, since it names a folder";

/// Checks the values of `[run]`.
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

/// Checks the values of `[control]`.
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
                   if other machines may control the run";
    need(near || control.allow_remote, "listen", &text(listen), instead)?;
    for (index, host) in control.hosts.iter().enumerate() {
        let good = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"/@#?*\"".contains(c));
        let instead = "a name such as \"gpu1.lan\" or \"localhost:9000\", without http://";
        ranges.need_below("control", good, &format!("hosts.{index}"), text(host), instead)?;
    }
    if let Some(variable) = &control.token_env {
        let instead = "the name of an environment variable, such as \"SANDBOX_TOKEN\"";
        need(is_variable_name(variable), "token_env", &"no name of a variable", instead)?;
    }
    Ok(())
}

/// Checks the values of `[tracking]`.
pub(crate) fn check_tracking(tracking: &TrackingConfig, section: &Node) -> Checked {
    let ranges = Ranges(section);
    let need =
        |good, path, value: &dyn Display, instead| ranges.need_below("tracking", good, path, value, instead);
    if let Some(wandb) = &tracking.wandb {
        let good =
            |name: &str| !name.is_empty() && name.len() <= 128 && !name.contains(|c| "/\\#?%:".contains(c));
        let instead = "a name of 1 to 128 characters without / \\ # ? % :";
        need(good(&wandb.project), "wandb.project", &text(&wandb.project), instead)?;
        if let Some(entity) = &wandb.entity {
            need(good(entity), "wandb.entity", &text(entity), instead)?;
        }
    }
    if let Some(mlflow) = &tracking.mlflow {
        let url = &mlflow.url;
        let address = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let good =
            address.is_some_and(|address| !address.is_empty() && !address.contains(['?', '#', '@', ' ']));
        let instead = "the address of the server, such as \"http://127.0.0.1:5000\"";
        need(good, "mlflow.url", &text(url), instead)?;
        if let Some(variable) = &mlflow.token_env {
            let instead = "the name of an environment variable, such as \"MLFLOW_TRACKING_TOKEN\"";
            need(is_variable_name(variable), "mlflow.token_env", &"no name of a variable", instead)?;
        }
        if let Some(experiment) = &mlflow.experiment {
            need(!experiment.trim().is_empty(), "mlflow.experiment", &text(experiment), "a name")?;
        }
    }
    Ok(())
}
