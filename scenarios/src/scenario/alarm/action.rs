//! What an alarm does: the texts of `then`.

use serde_json::Value;

use super::super::overrides::parse_value;
use super::super::words::name_advice;
use super::super::{ArmConfig, LIVE_SETTINGS, Method};
use super::mistake::Mistake;

/// One thing that an alarm does at the step boundary.
#[derive(Clone, Debug, PartialEq)]
pub enum AlarmAction {
    /// The arm takes no further step until it is resumed.
    Pause,
    /// A checkpoint is written.
    Checkpoint,
    /// The arm ends, with a checkpoint.
    Stop,
    /// The arm is copied into a new one.
    Fork,
    /// The evidence is sent to an address.
    Webhook,
    /// A weight gets another value.
    Weight {
        /// Its name, without `w_`.
        name: String,
        /// What becomes of it.
        edit: AlarmEdit,
    },
    /// A setting of [`LIVE_SETTINGS`] gets another value.
    Setting {
        /// Its dotted name.
        name: String,
        /// What becomes of it.
        edit: AlarmEdit,
    },
    /// The formula is replaced.
    Formula(String),
}

/// What becomes of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum AlarmEdit {
    /// It is this one.
    Set(Value),
    /// This is added to it.
    Add(f64),
    /// It is multiplied by this.
    Times(f64),
}

impl AlarmEdit {
    /// The new value; `None` if the old one is no number, or the new one is not finite.
    pub fn of(&self, old: Option<f64>) -> Option<Value> {
        match self {
            AlarmEdit::Set(value) => Some(value.clone()),
            AlarmEdit::Add(number) => old.map(|old| Value::from(old + number)).filter(Value::is_number),
            AlarmEdit::Times(number) => old.map(|old| Value::from(old * number)).filter(Value::is_number),
        }
    }
}

const KEYWORDS: [&str; 5] = ["pause", "checkpoint", "stop", "fork", "webhook"];

impl AlarmAction {
    /// Reads a text of `then`.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        match text.trim() {
            "pause" => return Ok(AlarmAction::Pause),
            "checkpoint" => return Ok(AlarmAction::Checkpoint),
            "stop" => return Ok(AlarmAction::Stop),
            "fork" => return Ok(AlarmAction::Fork),
            "webhook" => return Ok(AlarmAction::Webhook),
            _ => {}
        }
        let Some((name, value)) = text.split_once('=') else {
            let known = KEYWORDS.iter().copied();
            let advice = match rewards::nearest(text.trim(), known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!(
                    "write one of {}, or a change such as \"weights.format=1.0\"",
                    KEYWORDS.join(", ")
                ),
            };
            return Err(Mistake::new(1, format!("`{text}` is nothing that an alarm can do"), advice));
        };
        let (name, sign) = match name.strip_suffix(['+', '-', '*']) {
            Some(bare) => (bare.trim(), name.chars().next_back()),
            None => (name.trim(), None),
        };
        let value = value.trim();
        if name == "formula" && sign.is_none() {
            return Ok(AlarmAction::Formula(value.to_owned()));
        }
        let edit = edit(sign, value).ok_or_else(|| {
            Mistake::new(1, format!("`{value}` is not a number"), format!("write for example \"{name}=0.5\""))
        })?;
        match name.strip_prefix("weights.") {
            Some(weight) if matches!(&edit, AlarmEdit::Set(value) if !value.is_number()) => {
                let problem = format!("the weight `{weight}` is {value}");
                Err(Mistake::new(1, problem, "write a number such as 0.5"))
            }
            Some(weight) => {
                let weight = weight.strip_prefix("w_").unwrap_or(weight);
                Ok(AlarmAction::Weight { name: weight.to_owned(), edit })
            }
            None => Ok(AlarmAction::Setting { name: name.to_owned(), edit }),
        }
    }

    /// Checks that it can be done in an arm.
    pub(crate) fn check(&self, arm: &ArmConfig) -> Result<(), Mistake> {
        let changes = matches!(self, Self::Weight { .. } | Self::Setting { .. } | Self::Formula(_));
        if changes && arm.method != Method::Grpo {
            let problem =
                format!("`{}` is not trained by rewards, so that there is nothing to change", arm.name);
            return Err(Mistake::new(1, problem, "name the arms that the alarm watches: arms = [\"grpo*\"]"));
        }
        match self {
            Self::Weight { name, .. } if !arm.shaping.weights.contains_key(name) => {
                let known = arm.shaping.weights.keys().map(String::as_str);
                let advice = name_advice(name, known, "the weights are");
                Err(Mistake::new(1, format!("`{}` has no weight `{name}`", arm.name), advice))
            }
            Self::Setting { name, edit } => self.check_setting(arm, name, edit),
            Self::Formula(text) => {
                let parsed = rewards::Formula::parse(text, arm.rewards.keys(), arm.shaping.weights.keys());
                parsed.map(drop).map_err(|error| match error.to_string().split_once("; ") {
                    Some((problem, instead)) => Mistake::new(1, problem, instead),
                    None => Mistake::new(1, error.to_string(), "write a formula such as `accuracy`"),
                })
            }
            Self::Pause
            | Self::Checkpoint
            | Self::Stop
            | Self::Fork
            | Self::Webhook
            | Self::Weight { .. } => Ok(()),
        }
    }

    fn check_setting(&self, arm: &ArmConfig, name: &str, edit: &AlarmEdit) -> Result<(), Mistake> {
        if !LIVE_SETTINGS.contains(&name) {
            let known = ["formula", "weights.NAME"].into_iter().chain(LIVE_SETTINGS);
            let advice = name_advice(name, known, "what can be changed is");
            return Err(Mistake::new(
                1,
                format!("`{name}` can't be changed while an arm is trained"),
                advice,
            ));
        }
        let old = arm.live_settings().get(name).and_then(Value::as_f64);
        let Some(new) = edit.of(old) else {
            return Err(Mistake::new(
                1,
                format!("`{name}` has no number to change"),
                format!("write \"{name}=VALUE\""),
            ));
        };
        let changed = arm.with_live_settings(&[(name.to_owned(), new)].into());
        changed.map(drop).map_err(|error| {
            let text = error.to_string();
            let (problem, instead) = text.rsplit_once("; ").unwrap_or((text.as_str(), "write another value"));
            Mistake::new(1, problem, instead)
        })
    }
}

fn edit(sign: Option<char>, value: &str) -> Option<AlarmEdit> {
    let number = || value.parse::<f64>().ok().filter(|number| number.is_finite());
    Some(match sign {
        Some('+') => AlarmEdit::Add(number()?),
        Some('-') => AlarmEdit::Add(-number()?),
        Some('*') => AlarmEdit::Times(number()?),
        _ => AlarmEdit::Set(serde_json::to_value(parse_value(value)).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_actions() {
        let weight = |name: &str, edit| AlarmAction::Weight { name: name.into(), edit };
        for (text, expected) in [
            (" pause ", AlarmAction::Pause),
            ("webhook", AlarmAction::Webhook),
            ("weights.format=1.0", weight("format", AlarmEdit::Set(json!(1.0)))),
            ("weights.w_think *= 0.5", weight("think", AlarmEdit::Times(0.5))),
            ("weights.think-=0.25", weight("think", AlarmEdit::Add(-0.25))),
            (
                "grpo.loss=dapo",
                AlarmAction::Setting { name: "grpo.loss".into(), edit: AlarmEdit::Set(json!("dapo")) },
            ),
            ("formula=a + w_b * b", AlarmAction::Formula("a + w_b * b".into())),
        ] {
            assert_eq!(AlarmAction::parse(text), Ok(expected), "{text}");
        }
        assert_eq!(AlarmEdit::Times(0.5).of(Some(3.0)), Some(json!(1.5)));
        assert_eq!(AlarmEdit::Add(0.5).of(None), None);
        for (text, problem, instead) in [
            ("pasue", "`pasue` is nothing that an alarm can do", "did you mean \"pause\"?"),
            ("explode", "`explode` is nothing that an alarm can do", "write one of pause, "),
            ("weights.think=much", "the weight `think` is much", "write a number"),
            ("weights.think*=much", "`much` is not a number", "write for example"),
        ] {
            let mistake = AlarmAction::parse(text).unwrap_err();
            assert!(mistake.problem.contains(problem) && mistake.instead.contains(instead), "{mistake:?}");
        }
    }
}
