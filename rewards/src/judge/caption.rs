//! Judging what a completion says about its clip: by a caption that the row has, and by what can be answered from it.
//!
//! The description that is judged is the thinking, or the content of one element in it, such as `<caption>`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::{FailureCause, JudgeFailure};
use super::reply::value_of;
use crate::matching::{answer_matches, named_choice, same_answer};
use crate::{Mode, ParsedCompletion, Question};

/// The options of the reward `caption-grounding`, which are what it asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroundingTask {
    /// The column of the data with a caption of the clip.
    pub column: String,
    /// The element of the thinking that is judged, such as `caption`; empty for all of the thinking.
    pub tag: String,
    /// The score of a description that says nothing about the clip.
    pub no_statement: f64,
    /// The score of a completion that does not think.
    pub no_think: f64,
    /// The settings of the reward's own judge; empty for that of the arm.
    pub judge: toml::Table,
}

impl Default for GroundingTask {
    fn default() -> Self {
        Self {
            column: "caption".to_owned(),
            tag: String::new(),
            no_statement: 0.0,
            no_think: 0.0,
            judge: toml::Table::new(),
        }
    }
}

/// The options of the reward `answer-from-caption`, which are what it asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerTask {
    /// The element of the thinking that is judged, such as `caption`; empty for all of the thinking.
    pub tag: String,
    /// The answer that the judge has to find.
    pub target: AnswerTarget,
    /// The score of a completion that does not think.
    pub no_think: f64,
    /// The settings of the reward's own judge; empty for that of the arm.
    pub judge: toml::Table,
}

impl Default for AnswerTask {
    fn default() -> Self {
        Self {
            tag: String::new(),
            target: AnswerTarget::Completion,
            no_think: 1.0,
            judge: toml::Table::new(),
        }
    }
}

/// An answer that can be found from a description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerTarget {
    /// That of the completion, right or wrong.
    #[default]
    Completion,
    /// The right one.
    Gold,
}

/// A completion's description of its clip, or the score of a completion without one.
#[derive(Clone, Debug, PartialEq)]
pub enum Description {
    /// The text that is judged.
    Text(String),
    /// 0 for a malformed completion and for one whose element is missing or empty; else the score for not thinking.
    Without(f64),
}

impl Description {
    /// The description in a completion.
    pub fn of(parsed: &ParsedCompletion, tag: &str, no_think: f64) -> Self {
        if !parsed.well_formed {
            return Self::Without(0.0);
        }
        let think = parsed.think.as_deref().unwrap_or_default();
        if parsed.mode == Mode::NoThink || think.is_empty() {
            return Self::Without(no_think);
        }
        if tag.is_empty() {
            return Self::Text(think.to_owned());
        }
        let after = think.split_once(&format!("<{tag}>")).map(|(_, after)| after);
        let content =
            after.and_then(|after| after.split_once(&format!("</{tag}>"))).map(|(content, _)| content.trim());
        match content {
            Some(content) if !content.is_empty() => Self::Text(content.to_owned()),
            _ => Self::Without(0.0),
        }
    }

    /// The score, if it does not take a judge.
    pub fn unjudged(&self) -> Option<f64> {
        match self {
            Self::Text(_) => None,
            Self::Without(score) => Some(*score),
        }
    }
}

/// The caption of a row; `None` if it has none.
///
/// Errors: [`FailureCause::NoCaption`] if the column has something else than a text.
pub fn caption_of<'a>(question: &'a Question, column: &str) -> Result<Option<&'a str>, JudgeFailure> {
    match question.metadata.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(other) => {
            let message = format!("the row `{}` has no text in `{column}` but {other}", question.id);
            Err(JudgeFailure::new(FailureCause::NoCaption, message))
        }
    }
}

/// Reads the share of the statements about the clip that are supported; `None` if there is no statement.
///
/// Errors: the reply does not have a list of 0 and 1.
pub fn read_grounding(reply: &str) -> Result<Option<f64>, JudgeFailure> {
    let value = value_of(reply, "statements")?;
    let supported = |value: &Value| match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        _ => value.as_f64().filter(|number| *number == 0.0 || *number == 1.0),
    };
    let list = value.as_array().and_then(|list| list.iter().map(supported).collect::<Option<Vec<f64>>>());
    let Some(list) = list else {
        let message = format!("\"statements\" is {value}, not a list of 0 and 1");
        return Err(JudgeFailure::new(FailureCause::Malformed, message));
    };
    Ok((!list.is_empty()).then(|| list.iter().sum::<f64>() / list.len() as f64))
}

/// Reads the answer that the judge found: 1 if it is the target, 0 if it is another one or the judge found none.
///
/// Errors: the reply has no answer, or one that is none of the choices.
pub fn read_answer(
    reply: &str,
    question: &Question,
    answer: &str,
    target: AnswerTarget,
) -> Result<f64, JudgeFailure> {
    let value = value_of(reply, "answer")?;
    let found = value.as_str().map(str::trim).filter(|found| !found.is_empty());
    let none = |found: &str| {
        let message = format!("\"answer\" is {found}, not one of the choices or \"unknown\"");
        JudgeFailure::new(FailureCause::Malformed, message)
    };
    let found = found.ok_or_else(|| none(&value.to_string()))?;
    if found.eq_ignore_ascii_case("unknown") && named_choice(found, question).is_none() {
        return Ok(0.0);
    }
    if !question.choices.is_empty() && named_choice(found, question).is_none() {
        return Err(none(&value.to_string()));
    }
    let is_target = match target {
        AnswerTarget::Completion => same_answer(found, answer, question),
        AnswerTarget::Gold => answer_matches(found, question),
    };
    Ok(f64::from(u8::from(is_target)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ParserOptions, parse_completion};

    fn description(completion: &str, tag: &str) -> Description {
        Description::of(&parse_completion(completion, &ParserOptions::default()), tag, 0.25)
    }

    #[test]
    fn the_description_is_the_thinking_or_one_element_of_it() {
        let text = |text: &str| Description::Text(text.to_owned());
        let whole = "<think>plan <caption> a bark </caption> so dog</think><answer>dog</answer>";
        assert_eq!(description(whole, ""), text("plan <caption> a bark </caption> so dog"));
        assert_eq!(description(whole, "caption"), text("a bark"));
        for (completion, tag, score) in [
            (whole, "summary", 0.0),
            ("<think><caption> </caption></think><answer>dog</answer>", "caption", 0.0),
            ("<think><caption>cut</think><answer>dog</answer>", "caption", 0.0),
            ("<think>hm", "", 0.0),
            ("<answer>dog</answer>", "", 0.25),
            ("<answer>dog</answer>", "caption", 0.25),
            ("<think></think><answer>dog</answer>", "", 0.25),
        ] {
            assert_eq!(description(completion, tag), Description::Without(score), "{completion}");
        }
    }

    #[test]
    fn the_grounding_is_the_share_of_supported_statements() {
        let read = |reply: &str| read_grounding(reply).map_err(|failure| failure.cause);
        assert_eq!(read(r#"{"statements": [1, 0, true, 1]}"#), Ok(Some(0.75)));
        assert_eq!(read(r#"{"statements": []}"#), Ok(None));
        for reply in [r#"{"statements": [0.5]}"#, r#"{"statements": ["yes"]}"#, r#"{"statements": 1}"#, "1"] {
            assert_eq!(read(reply), Err(FailureCause::Malformed), "{reply}");
        }
    }

    #[test]
    fn the_answer_found_is_the_completions_or_the_right_one() {
        let question = Question {
            choices: vec!["cat".to_owned(), "dog".to_owned()],
            answer: "dog".to_owned(),
            ..Question::default()
        };
        let read = |reply: &str, target| {
            read_answer(reply, &question, "cat", target).map_err(|failure| failure.cause)
        };
        for (found, completion, gold) in [("Cat", 1.0, 0.0), ("dog", 0.0, 1.0), ("unknown", 0.0, 0.0)] {
            let reply = json!({ "answer": found }).to_string();
            assert_eq!(read(&reply, AnswerTarget::Completion), Ok(completion), "{found}");
            assert_eq!(read(&reply, AnswerTarget::Gold), Ok(gold), "{found}");
        }
        for reply in [r#"{"answer": "horse"}"#, r#"{"answer": 1}"#, r#"{"answer": ""}"#, "cat"] {
            assert_eq!(read(reply, AnswerTarget::Completion), Err(FailureCause::Malformed), "{reply}");
        }
        let open = Question { choices: vec![], ..question.clone() };
        assert_eq!(
            read_answer(r#"{"answer": "a Dog"}"#, &open, "dog", AnswerTarget::Completion).unwrap(),
            0.0
        );
        assert_eq!(
            read_answer(r#"{"answer": "Dog."}"#, &open, "dog", AnswerTarget::Completion).unwrap(),
            1.0
        );
    }

    #[test]
    fn a_caption_is_a_text_or_missing() {
        let question = |caption: Value| Question {
            id: "q".to_owned(),
            metadata: json!({ "caption": caption }).as_object().unwrap().clone(),
            ..Question::default()
        };
        assert_eq!(caption_of(&question(json!(" a bark ")), "caption").unwrap(), Some("a bark"));
        for nothing in [json!(null), json!(" ")] {
            assert_eq!(caption_of(&question(nothing), "caption").unwrap(), None);
        }
        assert_eq!(caption_of(&Question::default(), "caption").unwrap(), None);
        assert_eq!(
            caption_of(&question(json!(["a"])), "caption").unwrap_err().cause,
            FailureCause::NoCaption
        );
    }
}
