//! The state of an arm, from the plan to its end.
//!
//! `status.json`, events, the control API, the page, the report and the exit code all derive from [`ArmState`]; the
//! methods below are its only transitions:
//!
//! ```text
//! planned ──start──→ running ──pause──→ paused
//!    │                  │ ↑ └──resume─────┘│
//!    │                  │                  │
//!    └──────────────────┴── end ───────────┴──→ done │ failed │ stopped
//! ```

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of an arm under one seed.
///
/// Serialized as two fields, `status` (the state's name in lower case) and `reason` (null where there is none).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "StateFields", try_from = "StateFields")]
#[schemars(with = "StateFields")]
pub enum ArmState {
    /// It waits for its turn; nothing of it is loaded yet.
    #[default]
    Planned,
    /// It evaluates or trains.
    Running,
    /// It takes no step until it is resumed.
    Paused {
        /// Who paused it and why, or which failure made it pause.
        reason: String,
    },
    /// All of its steps were taken.
    Done,
    /// It ended early because of an error.
    Failed {
        /// The error in one line, with what to do about it.
        reason: String,
    },
    /// It ended early because somebody asked for it.
    Stopped,
}

/// A transition that the state machine does not have; a defect of the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an arm that is {from} cannot become {to}")]
pub struct InvalidTransition {
    from: &'static str,
    to: &'static str,
}

impl ArmState {
    /// The state's name, as `status` has it.
    pub fn name(&self) -> &'static str {
        match self {
            ArmState::Planned => "planned",
            ArmState::Running => "running",
            ArmState::Paused { .. } => "paused",
            ArmState::Done => "done",
            ArmState::Failed { .. } => "failed",
            ArmState::Stopped => "stopped",
        }
    }

    /// Why it is paused or has failed.
    pub fn reason(&self) -> Option<&str> {
        match self {
            ArmState::Paused { reason } | ArmState::Failed { reason } => Some(reason),
            ArmState::Planned | ArmState::Running | ArmState::Done | ArmState::Stopped => None,
        }
    }

    /// Why it failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        match self {
            ArmState::Failed { reason } => Some(reason),
            ArmState::Planned
            | ArmState::Running
            | ArmState::Paused { .. }
            | ArmState::Done
            | ArmState::Stopped => None,
        }
    }

    /// Whether it is done, failed or stopped.
    pub fn has_ended(&self) -> bool {
        match self {
            ArmState::Done | ArmState::Failed { .. } | ArmState::Stopped => true,
            ArmState::Planned | ArmState::Running | ArmState::Paused { .. } => false,
        }
    }

    /// Whether its actors exist: it is running or paused.
    pub fn is_active(&self) -> bool {
        match self {
            ArmState::Running | ArmState::Paused { .. } => true,
            ArmState::Planned | ArmState::Done | ArmState::Failed { .. } | ArmState::Stopped => false,
        }
    }

    /// Its turn has come.
    ///
    /// Errors: It is not planned.
    pub fn start(&mut self) -> Result<(), InvalidTransition> {
        self.become_if(ArmState::Running, |from| matches!(from, ArmState::Planned))
    }

    /// It takes no further step until it is resumed. A paused arm may be paused again, for another reason.
    ///
    /// Errors: It is neither running nor paused.
    pub fn pause(&mut self, reason: &str) -> Result<(), InvalidTransition> {
        self.become_if(ArmState::Paused { reason: reason.to_owned() }, ArmState::is_active)
    }

    /// Ends a pause: the arm runs again.
    ///
    /// Errors: It is not paused.
    pub fn resume(&mut self) -> Result<(), InvalidTransition> {
        self.become_if(ArmState::Running, |from| matches!(from, ArmState::Paused { .. }))
    }

    /// It ends, whatever it was doing. An arm that has ended keeps its first end.
    ///
    /// Errors: `end` is not a state in which an arm has ended, or the arm has ended before.
    pub fn end(&mut self, end: ArmState) -> Result<(), InvalidTransition> {
        let ends = end.has_ended();
        self.become_if(end, |from| ends && !from.has_ended())
    }

    fn become_if(
        &mut self,
        to: ArmState,
        allowed: impl Fn(&ArmState) -> bool,
    ) -> Result<(), InvalidTransition> {
        if !allowed(self) {
            return Err(InvalidTransition { from: self.name(), to: to.name() });
        }
        *self = to;
        Ok(())
    }
}

/// [`ArmState`] as it is serialized.
#[derive(Serialize, Deserialize, JsonSchema)]
struct StateFields {
    /// `planned`, `running`, `paused`, `done`, `failed` or `stopped`.
    #[schemars(extend("enum" = ["planned", "running", "paused", "done", "failed", "stopped"]))]
    status: String,
    /// Why it is paused or has failed, in one line.
    #[serde(default)]
    reason: Option<String>,
}

impl From<ArmState> for StateFields {
    fn from(state: ArmState) -> Self {
        StateFields { status: state.name().to_owned(), reason: state.reason().map(str::to_owned) }
    }
}

impl TryFrom<StateFields> for ArmState {
    type Error = UnknownState;

    fn try_from(fields: StateFields) -> Result<Self, UnknownState> {
        let reason = fields.reason.unwrap_or_default();
        Ok(match fields.status.as_str() {
            "planned" => ArmState::Planned,
            "running" => ArmState::Running,
            "paused" => ArmState::Paused { reason },
            "done" => ArmState::Done,
            "failed" => ArmState::Failed { reason },
            "stopped" => ArmState::Stopped,
            _ => return Err(UnknownState(fields.status)),
        })
    }
}

/// A `status` that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown status `{0}`; expected planned, running, paused, done, failed or stopped")]
struct UnknownState(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [ArmState; 6] {
        [
            ArmState::Planned,
            ArmState::Running,
            ArmState::Paused { reason: "lunch".into() },
            ArmState::Done,
            ArmState::Failed { reason: "disk full".into() },
            ArmState::Stopped,
        ]
    }

    /// Every transition against the drawing in the module's documentation.
    #[test]
    fn transitions_are_those_of_the_drawing_and_no_others() {
        for from in all() {
            for to in all() {
                let mut state = from.clone();
                let took = match &to {
                    ArmState::Planned => continue,
                    ArmState::Running if from == ArmState::Planned => state.start(),
                    ArmState::Running => state.resume(),
                    ArmState::Paused { reason } => state.pause(reason),
                    ArmState::Done | ArmState::Failed { .. } | ArmState::Stopped => state.end(to.clone()),
                };
                let allowed = matches!(
                    (from.name(), to.name()),
                    ("planned" | "paused", "running")
                        | ("running" | "paused", "paused")
                        | ("planned" | "running" | "paused", "done" | "failed" | "stopped")
                );
                assert_eq!(took.is_ok(), allowed, "{} → {}", from.name(), to.name());
                assert_eq!(state, if allowed { to } else { from.clone() });
            }
        }
        let refused = ArmState::Done.resume().unwrap_err();
        assert_eq!(refused.to_string(), "an arm that is done cannot become running");
        assert!(ArmState::Running.end(ArmState::Running).is_err(), "running is no end");
    }

    #[test]
    fn states_are_two_fields_in_json_and_come_back() {
        for state in all() {
            let json = serde_json::to_value(&state).unwrap();
            assert_eq!(json["status"], state.name());
            assert_eq!(json["reason"].as_str(), state.reason());
            assert_eq!(serde_json::from_value::<ArmState>(json).unwrap(), state);
        }
        let unknown = serde_json::from_str::<ArmState>(r#"{"status": "asleep", "reason": null}"#);
        assert!(unknown.unwrap_err().to_string().contains("unknown status `asleep`"));
    }
}
