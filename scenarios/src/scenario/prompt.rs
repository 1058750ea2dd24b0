//! `[prompt]`: how a question is put. The user turn is made of the question, its choices and an instruction.
//!
//! The built-in texts put them in this order, with one of three built-in instructions (`scenarios/prompts/*.txt`). A text of
//! your own is a template with the placeholders `{question}`, `{choices}` and `{instruction}`.

use std::path::PathBuf;

use rewards::Question;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ScenarioError;

const QUESTION: &str = "{question}";
const CHOICES: &str = "{choices}";
const INSTRUCTION: &str = "{instruction}";

/// The built-in texts: with the choices on one line, with a line for each, and without choices.
const ON_ONE_LINE: &str = "{question} Choose from: {choices}. {instruction}";
const ON_LINES: &str = "{question}\n{choices}\n{instruction}";
const OPEN: &str = "{question} {instruction}";

/// `[prompt]`: the text of the user turn, a built-in one or your own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PromptConfig {
    /// The built-in instruction: `adaptive` lets the policy decide whether to think, `think` asks it to think, `answer` asks
    /// for the answer only. With an instruction or a text of your own, it still decides how `sft.target = "world"` thinks.
    pub style: PromptStyle,
    /// How the choices are written: `text` writes their texts, `letters` puts a letter before each, `list` writes a list of
    /// quoted texts, `['dog', 'cat']`. A letter alone earns a reward only if the prompt shows the letters.
    pub choices: ChoiceStyle,
    /// How the letters are written with `choices = "letters"`.
    pub letter_style: LetterStyle,
    /// What stands between two choices. Default: `", "` for `text`, a line end for `letters`. Not for `list`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// An instruction of your own in place of the built-in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// Path of a file with a text of your own. It must have the placeholder `{question}` once, and may have `{choices}` and
    /// `{instruction}`. The resolved scenario has its content as `text`. Not together with `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// A text of your own, with the same placeholders as `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl PromptConfig {
    /// The user turn for a question.
    pub fn render(&self, question: &Question) -> String {
        let instruction = self.instruction.as_deref().unwrap_or(self.style.instruction());
        match &self.text {
            Some(template) => self.fill(template, instruction, question),
            None => self.built_in(instruction, question),
        }
    }

    /// The user turn for a question in the built-in text, with the instruction of `style`.
    pub fn render_in(&self, style: PromptStyle, question: &Question) -> String {
        self.built_in(style.instruction(), question)
    }

    fn built_in(&self, instruction: &str, question: &Question) -> String {
        let template = match (question.choices.is_empty(), self.separator().contains('\n')) {
            (true, _) => OPEN,
            (false, true) => ON_LINES,
            (false, false) => ON_ONE_LINE,
        };
        self.fill(template, instruction, question)
    }

    /// Fills in a template. The question's text is inserted last, so that a placeholder in it is not replaced.
    fn fill(&self, template: &str, instruction: &str, question: &Question) -> String {
        let choices = self.choices_of(question);
        let fill = |part: &str| part.replace(INSTRUCTION, instruction).replace(CHOICES, &choices);
        let parts: Vec<String> = template.split(QUESTION).map(fill).collect();
        parts.join(&question.text)
    }

    fn separator(&self) -> &str {
        match (&self.separator, self.choices) {
            (Some(separator), ChoiceStyle::Text | ChoiceStyle::Letters) => separator,
            (None, ChoiceStyle::Letters) => "\n",
            (None, ChoiceStyle::Text) | (_, ChoiceStyle::List) => ", ",
        }
    }

    fn choices_of(&self, question: &Question) -> String {
        let lettered = |(index, choice): (usize, &String)| match question.letter(index) {
            Some(letter) => format!("{} {choice}", self.letter_style.write(letter)),
            None => choice.clone(),
        };
        let choices = question.choices.iter();
        match self.choices {
            ChoiceStyle::Text => question.choices.join(self.separator()),
            ChoiceStyle::Letters => {
                choices.enumerate().map(lettered).collect::<Vec<_>>().join(self.separator())
            }
            ChoiceStyle::List => {
                format!("[{}]", choices.map(|choice| quoted(choice)).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Whether the user turn shows a letter for each choice: this text writes them, or the choices carry their own.
    pub fn shows_letters(&self, question: &Question) -> bool {
        let shown = self.text.as_ref().is_none_or(|text| text.contains(CHOICES));
        shown && (self.choices == ChoiceStyle::Letters || rewards::matching::choices_carry_letters(question))
    }

    /// Whether a reader of the user turn cannot tell where one choice ends and the next begins.
    pub fn hides_choices(&self, question: &Question) -> bool {
        let separator = self.separator().trim();
        self.choices == ChoiceStyle::Text
            && !separator.is_empty()
            && question.choices.iter().any(|choice| choice.contains(separator))
    }
}

/// A text in quotes as Python writes it in a list.
fn quoted(text: &str) -> String {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n").replace(mark, &format!("\\{mark}"));
    format!("{mark}{escaped}{mark}")
}

/// How the choices are written in the user turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceStyle {
    /// Their texts.
    #[default]
    Text,
    /// A letter before each text.
    Letters,
    /// A list of quoted texts, as R1-AQA writes it.
    List,
}

/// How the letter of a choice is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "a variant is named after what it writes")]
pub enum LetterStyle {
    #[default]
    #[serde(rename = "A.")]
    FullStop,
    #[serde(rename = "A)")]
    Bracket,
    #[serde(rename = "(A)")]
    Brackets,
    #[serde(rename = "A:")]
    Colon,
}

impl LetterStyle {
    fn write(self, letter: char) -> String {
        match self {
            LetterStyle::FullStop => format!("{letter}."),
            LetterStyle::Bracket => format!("{letter})"),
            LetterStyle::Brackets => format!("({letter})"),
            LetterStyle::Colon => format!("{letter}:"),
        }
    }
}

/// The built-in instructions.
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
    fn instruction(self) -> &'static str {
        match self {
            Self::Adaptive => include_str!("../../prompts/adaptive.txt").trim_ascii_end(),
            Self::Answer => include_str!("../../prompts/answer.txt").trim_ascii_end(),
            Self::Think => include_str!("../../prompts/think.txt").trim_ascii_end(),
        }
    }
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
    let rest = template.replace(QUESTION, "").replace(CHOICES, "").replace(INSTRUCTION, "");
    let Some(open) = rest.find('{') else { return Ok(()) };
    let word = rest[open..].split_inclusive('}').next().unwrap_or_default();
    Err(ScenarioError::value(format!("the prompt text has an unknown placeholder `{word}`"), instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(choices: &[&str]) -> Question {
        Question {
            text: "Which sound?".into(),
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            ..Question::default()
        }
    }

    fn config(text: &str) -> PromptConfig {
        toml::from_str(text).unwrap()
    }

    fn render(prompt: &str, choices: &[&str]) -> String {
        config(&format!("instruction = \"Answer.\"\n{prompt}")).render(&question(choices))
    }

    #[test]
    fn choices_are_written_as_the_setting_says() {
        let animals = ["dog", "a cat, asleep"];
        for (prompt, expected) in [
            ("", "Which sound? Choose from: dog, a cat, asleep. Answer."),
            ("separator = \" | \"", "Which sound? Choose from: dog | a cat, asleep. Answer."),
            ("choices = \"list\"", "Which sound? Choose from: ['dog', 'a cat, asleep']. Answer."),
            ("choices = \"letters\"", "Which sound?\nA. dog\nB. a cat, asleep\nAnswer."),
            (
                "choices = \"letters\"\nletter_style = \"(A)\"\nseparator = \" \"",
                "Which sound? Choose from: (A) dog (B) a cat, asleep. Answer.",
            ),
            ("text = \"{question} {choices}! {instruction}\"", "Which sound? dog, a cat, asleep! Answer."),
        ] {
            assert_eq!(render(prompt, &animals), expected, "{prompt}");
        }
        assert_eq!(render("", &[]), "Which sound? Answer.", "an open question");
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("it's a \"dog\""), r#"'it\'s a "dog"'"#);
    }

    #[test]
    fn letters_are_those_of_the_file() {
        let gap = Question { letters: "ABD".into(), ..question(&["0-1", "1-2", "3-4"]) };
        let text = config("choices = \"letters\"\nseparator = \", \"").render(&gap);
        assert!(text.contains("A. 0-1, B. 1-2, D. 3-4"), "{text}");
    }

    #[test]
    fn letters_are_shown_by_the_setting_or_by_the_choices_themselves() {
        let (plain, lettered) = (question(&["dog", "cat"]), question(&["A. dog", "B. cat"]));
        assert!(!config("").shows_letters(&plain));
        assert!(config("").shows_letters(&lettered));
        assert!(config("choices = \"letters\"").shows_letters(&plain));
        let without = "choices = \"letters\"\ntext = \"{question}\"";
        assert!(!config(without).shows_letters(&plain), "the text has no choices");
    }

    #[test]
    fn a_separator_within_a_choice_hides_where_it_ends() {
        let commas = question(&["dog, cat", "owl"]);
        assert!(config("").hides_choices(&commas));
        for prompt in ["choices = \"letters\"", "choices = \"list\"", "separator = \" | \""] {
            assert!(!config(prompt).hides_choices(&commas), "{prompt}");
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
