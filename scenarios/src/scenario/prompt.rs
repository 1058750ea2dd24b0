//! `[prompt]`: the wording of the user turn, with three built-in texts (`scenarios/prompts/*.txt`).
//!
//! A text is a template with the placeholders `{question}` and `{choices}`. The choices are inserted in the order of
//! the dataset, separated by `, `.

use std::path::PathBuf;

use rewards::Question;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;

const QUESTION: &str = "{question}";
const CHOICES: &str = "{choices}";

/// `[prompt]`: the text of the user turn, a built-in one or your own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PromptConfig {
    /// The built-in text: `adaptive` lets the policy decide whether to think, `think` asks it to think, `answer` asks
    /// for the answer only. With a text of your own, it still decides how `sft.target = "world"` thinks.
    pub style: PromptStyle,
    /// Path of a file with a text of your own. It must have the placeholder `{question}` once, and may have
    /// `{choices}`. The resolved scenario has its content as `text`. Not together with `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A text of your own, with the same placeholders as `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl PromptConfig {
    /// The template: `text` if it is set, else the built-in text of `style`.
    pub fn template(&self) -> &str {
        self.text.as_deref().unwrap_or(self.style.template())
    }

    /// The user turn for a question, from this template.
    pub fn render(&self, question: &Question) -> String {
        render_template(self.template(), question)
    }
}

/// The built-in texts of the user turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// Asks the policy to decide whether the question needs thinking (Appendix A.1 of the paper, in our words).
    #[default]
    Adaptive,
    /// Asks for the answer only.
    Answer,
    /// Asks for thinking and an answer.
    Think,
}

impl PromptStyle {
    /// All styles, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Adaptive, Self::Answer, Self::Think];

    /// The built-in template of this style.
    pub fn template(self) -> &'static str {
        match self {
            Self::Adaptive => include_str!("../../prompts/adaptive.txt").trim_ascii_end(),
            Self::Answer => include_str!("../../prompts/answer.txt").trim_ascii_end(),
            Self::Think => include_str!("../../prompts/think.txt").trim_ascii_end(),
        }
    }

    /// The user turn for a question, from the built-in template.
    pub fn render(self, question: &Question) -> String {
        render_template(self.template(), question)
    }
}

/// Fills in a template. The question's text is inserted last, so that a placeholder in it is not replaced.
fn render_template(template: &str, question: &Question) -> String {
    let choices = question.choices.join(", ");
    let parts: Vec<String> = template.split(QUESTION).map(|part| part.replace(CHOICES, &choices)).collect();
    parts.join(&question.text)
}

/// Checks the placeholders of a template.
///
/// Errors: it does not have `{question}` exactly once, or has an unknown placeholder.
pub(crate) fn check_template(template: &str) -> Result<(), ScenarioError> {
    let instead = format!("use `{QUESTION}` once and `{CHOICES}` where the choices go");
    if template.matches(QUESTION).count() != 1 {
        let count = template.matches(QUESTION).count();
        return Err(ScenarioError::value(format!("the prompt text has `{QUESTION}` {count} times"), instead));
    }
    let rest = template.replace(QUESTION, "").replace(CHOICES, "");
    let Some(open) = rest.find('{') else { return Ok(()) };
    let word = rest[open..].split_inclusive('}').next().unwrap_or_default();
    Err(ScenarioError::value(format!("the prompt text has an unknown placeholder `{word}`"), instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_text_is_a_valid_template() {
        for style in PromptStyle::ALL {
            check_template(style.template()).unwrap();
            assert!(style.template().contains(CHOICES));
        }
    }

    #[test]
    fn a_template_without_the_question_or_with_an_unknown_placeholder_is_refused() {
        let problem = |text| check_template(text).unwrap_err().to_string();
        let instead = "use `{question}` once and `{choices}` where the choices go";
        assert_eq!(problem("Answer."), format!("the prompt text has `{{question}}` 0 times; {instead}"));
        assert_eq!(
            problem("{question} {options}"),
            format!("the prompt text has an unknown placeholder `{{options}}`; {instead}")
        );
    }
}
