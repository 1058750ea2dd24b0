//! Which column of a table is what: as the scenario says, or by the usual names.

use rewards::did_you_mean;
use serde_json::Value;

use super::{cells, too_few};
use crate::formats::row::{Row, unfit};
use crate::rows::RowError;
use crate::source::{AnswerType, ChoiceColumns, Columns};

const AUDIO: [&str; 8] =
    ["audio", "audio_path", "path", "file_name", "wav", "audio_file", "filename", "wav_path"];
const QUESTION: [&str; 4] = ["question", "query", "prompt", "question_text"];
const CHOICES: [&str; 3] = ["choices", "options", "multi_choice"];
const ANSWER: [&str; 5] = ["answer", "label", "gold", "answer_gt", "correct_answer"];
const ID: [&str; 4] = ["id", "uid", "question_id", "uniq_id"];

/// Beginnings of the names of columns with one choice each, in front of a letter.
const FAMILIES: [&str; 5] = ["choice_", "option_", "choice", "option", ""];

/// What the columns are. A problem is what is wrong and what to write instead.
#[derive(Debug, Default)]
pub(in crate::formats) struct Roles {
    pub(in crate::formats) audio: String,
    pub(super) question: String,
    choices: Option<Choices>,
    pub(super) answer: String,
    pub(super) id: Option<String>,
    pub(super) difficulty: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) reasoning: Option<String>,
}

#[derive(Debug)]
enum Choices {
    List(String),
    /// A column for each letter.
    Letters(Vec<(char, String)>),
}

impl Roles {
    /// Finds the columns among `names`.
    ///
    /// Errors: a column that was named does not exist, one that is needed is not found, or several may be it.
    pub(super) fn of(
        columns: &Columns,
        names: &[String],
        asked: AnswerType,
    ) -> Result<Self, (String, String)> {
        let find = Find { names };
        let audio = find.required("audio", columns.audio.as_deref(), &AUDIO)?;
        let question = find.required("question", columns.question.as_deref(), &QUESTION)?;
        let answer = find.required("answer", columns.answer.as_deref(), &ANSWER)?;
        let choices = match &columns.choices {
            Some(ChoiceColumns::One(name)) => Some(Choices::List(find.named("choices", name)?)),
            Some(ChoiceColumns::Several(several)) => {
                let all =
                    several.iter().map(|name| find.named("choices", name)).collect::<Result<Vec<_>, _>>()?;
                Some(Choices::Letters(('A'..='Z').zip(all).collect()))
            }
            None if asked != AnswerType::Choice => None,
            None => Some(match find.among(&CHOICES).as_slice() {
                [] => Choices::Letters(find.family().ok_or_else(|| find.missing_choices())?),
                [only] => Choices::List((*only).to_owned()),
                several => return Err(find.ambiguous("choices", several)),
            }),
        };
        let optional =
            |key: &str, name: &Option<String>| name.as_ref().map(|name| find.named(key, name)).transpose();
        let id = match &columns.id {
            Some(name) => Some(find.named("id", name)?),
            None => find.among(&ID).first().map(|&name| name.to_owned()),
        };
        Ok(Self {
            audio,
            question,
            choices,
            answer,
            id,
            difficulty: optional("difficulty", &columns.difficulty)?,
            kind: optional("kind", &columns.kind)?,
            reasoning: optional("reasoning", &columns.reasoning)?,
        })
    }

    /// The column with the list of choices, if they are in one.
    pub(super) fn choice_column(&self) -> Option<&str> {
        match &self.choices {
            Some(Choices::List(name)) => Some(name),
            _ => None,
        }
    }

    /// Takes out the choices, and their letters where one is left out; none for an open question.
    pub(super) fn choices(
        &self,
        row: &mut Row,
        separator: Option<&str>,
    ) -> Result<(Vec<String>, String), RowError> {
        match &self.choices {
            None => Ok(Default::default()),
            Some(Choices::List(key)) => {
                let missing = || unfit(key, &Value::Null, "write a list of choices");
                let value = row.value(key).ok_or_else(missing)?;
                let choices = cells::choices(key, value, separator)?;
                if choices.len() < 2 {
                    return Err(too_few(key, choices.len()));
                }
                Ok((choices, String::new()))
            }
            Some(Choices::Letters(columns)) => {
                let (mut choices, mut letters) = (Vec::new(), String::new());
                for (letter, key) in columns {
                    if let Some(choice) = row.optional_text(key)? {
                        choices.push(choice);
                        letters.push(*letter);
                    }
                }
                if choices.len() < 2 {
                    return Err(too_few(&columns[0].1, choices.len()));
                }
                // Letters without a gap need not be stated.
                let gapless = letters.chars().eq(('A'..='Z').take(choices.len()));
                Ok((choices, if gapless { String::new() } else { letters }))
            }
        }
    }
}

struct Find<'a> {
    names: &'a [String],
}

impl<'a> Find<'a> {
    /// The columns with one of these names, in the order of the names. Case does not matter.
    fn among(&self, usual: &[&str]) -> Vec<&'a str> {
        let find = |name: &&str| self.names.iter().find(|other| other.eq_ignore_ascii_case(name));
        let mut found: Vec<&str> = usual.iter().filter_map(find).map(String::as_str).collect();
        found.dedup();
        found
    }

    fn named(&self, key: &str, name: &str) -> Result<String, (String, String)> {
        if self.names.iter().any(|other| other == name) {
            return Ok(name.to_owned());
        }
        let hint = did_you_mean(name, self.names.iter().map(String::as_str));
        let problem = format!("there is no column `{name}`, which `columns.{key}` names");
        Err((problem, format!("it has {}{hint}", self.list())))
    }

    fn required(&self, key: &str, named: Option<&str>, usual: &[&str]) -> Result<String, (String, String)> {
        if let Some(name) = named {
            return self.named(key, name);
        }
        match self.among(usual).as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => {
                let problem = format!("no column is the {key} by its name; it has {}", self.list());
                Err((problem, format!("write columns = {{ {key} = \"…\" }}")))
            }
            several => Err(self.ambiguous(key, several)),
        }
    }

    fn ambiguous(&self, key: &str, several: &[&str]) -> (String, String) {
        let names = several.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        let problem = format!("the {key} may be {names}; it has {}", self.list());
        (problem, format!("write columns = {{ {key} = \"{}\" }}, or the other", several[0]))
    }

    fn missing_choices(&self) -> (String, String) {
        let problem = format!("no column has the choices by its name; it has {}", self.list());
        let instead = "write columns = { choices = \"…\" }, or set answer_type to \"text\" or \"number\"";
        (problem, instead.to_owned())
    }

    /// Columns with one choice each: `choice_a`, `choice_b`, … or the like; or numbers instead of letters.
    fn family(&self) -> Option<Vec<(char, String)>> {
        FAMILIES.into_iter().find_map(|beginning| {
            let letter = |name: &String| {
                let rest = name.get(..beginning.len()).filter(|start| start.eq_ignore_ascii_case(beginning));
                let rest = &name[rest?.len()..];
                let letter = match rest.as_bytes() {
                    [letter @ (b'a'..=b'j' | b'A'..=b'J')] => letter.to_ascii_uppercase(),
                    [digit @ b'1'..=b'9'] if !beginning.is_empty() => b'A' + digit - b'1',
                    _ => return None,
                };
                Some((char::from(letter), name.clone()))
            };
            let mut found: Vec<(char, String)> = self.names.iter().filter_map(letter).collect();
            found.sort();
            let begins_with_a_and_b = found.iter().map(|(letter, _)| *letter).take(2).eq(['A', 'B']);
            begins_with_a_and_b.then_some(found)
        })
    }

    fn list(&self) -> String {
        let named = self.names.iter().take(20).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match self.names.len() {
            0..=20 => format!("the columns {named}"),
            more => format!("the columns {named} and {} more", more - 20),
        }
    }
}
