//! `[prompt]`: what the policy is asked, and the three built-in texts (`scenarios/prompts/*.txt`).
//!
//! A text is a template with two placeholders, `{question}` and `{choices}`; the choices are set in the order of the
//! data, separated by `, `.

use std::path::PathBuf;

use rewards::Question;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;

const QUESTION: &str = "{question}";
const CHOICES: &str = "{choices}";

/// `[prompt]`: one of the built-in texts, or one's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PromptConfig {
    /// Built-in text: `adaptive` lets the policy decide whether to think, `think` asks for it, `answer` does not.
    pub style: PromptStyle,
    /// A file with a text of one's own instead, with the placeholders `{question}` and `{choices}`. Its content is
    /// kept as `text` in the resolved scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A text of one's own, written out here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl PromptConfig {
    /// The template: one's own text if there is one, else the built-in one of `style`.
    pub fn template(&self) -> &str {
        self.text.as_deref().unwrap_or(self.style.template())
    }

    /// The user turn for a question.
    pub fn render(&self, question: &Question) -> String {
        render_template(self.template(), question)
    }
}

/// The built-in prompt texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// Decide whether the question needs thinking (the paper's appendix A.1, in our words).
    #[default]
    Adaptive,
    /// Answer at once.
    Answer,
    /// Think, then answer.
    Think,
}

impl PromptStyle {
    /// All styles, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::Adaptive, Self::Answer, Self::Think];

    /// The template of this style.
    pub fn template(self) -> &'static str {
        match self {
            Self::Adaptive => include_str!("../../prompts/adaptive.txt").trim_ascii_end(),
            Self::Answer => include_str!("../../prompts/answer.txt").trim_ascii_end(),
            Self::Think => include_str!("../../prompts/think.txt").trim_ascii_end(),
        }
    }

    /// The user turn for a question.
    pub fn render(self, question: &Question) -> String {
        render_template(self.template(), question)
    }
}

/// Fills a template. The question's own text is put in last, so that a placeholder spelt in it stays as it is.
fn render_template(template: &str, question: &Question) -> String {
    let choices = question.choices.join(", ");
    let parts: Vec<String> = template.split(QUESTION).map(|part| part.replace(CHOICES, &choices)).collect();
    parts.join(&question.text)
}

/// Checks a template.
///
/// # Errors
/// It does not have the question exactly once, or has a placeholder that is not known.
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
    fn every_built_in_text_is_a_usable_template() {
        for style in PromptStyle::ALL {
            check_template(style.template()).unwrap();
            assert!(style.template().contains(CHOICES));
        }
    }

    #[test]
    fn a_template_without_the_question_or_with_a_foreign_placeholder_is_refused() {
        let problem = |text| check_template(text).unwrap_err().to_string();
        let instead = "use `{question}` once and `{choices}` where the choices go";
        assert_eq!(problem("Answer."), format!("the prompt text has `{{question}}` 0 times; {instead}"));
        assert_eq!(
            problem("{question} {options}"),
            format!("the prompt text has an unknown placeholder `{{options}}`; {instead}")
        );
    }
}
