//! Rows as ms-swift trains on them: `messages` of `role` and `content`, or `query` and `response`; `audios`, a list with
//! the clip; and for GRPO `solution`. ShareGPT's `conversations` of `from` and `value` are read as well.
//!
//! The question is the last turn of the user without its `<audio>`; the answer is `solution`, or else the turn of the
//! assistant after it. Choices that the question lists with letters become the question's choices.

use rewards::Question;
use rewards::matching::named_choice;
use rewards::numbers::number;
use serde_json::Value;

use super::row::{Row, no_choice_twice, unfit};
use crate::rows::{RowCause, RowError};
use crate::source::AnswerType;

/// The column from which the clip is taken after [`prepare`].
pub(super) const AUDIO: &str = "audio";

/// How the answers of a source are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chat {
    pub(super) asked: Option<AnswerType>,
    pub(super) tolerance: f64,
}

/// Makes the clip of the list `audios` a column of its own.
pub(super) fn prepare(row: &mut Row) -> Result<(), RowError> {
    let write = "write \"audios\": [\"a.wav\"]";
    let clip = match row.value("audios") {
        None => row.value(AUDIO).ok_or_else(|| unfit("audios", &Value::Null, write))?,
        Some(Value::Array(mut clips)) if clips.len() == 1 => clips.remove(0),
        Some(Value::Array(clips)) => {
            let problem = format!("`audios` has {} clips", clips.len());
            return Err(RowError::new(
                RowCause::BadColumn,
                problem,
                "write one: a question is about one clip",
            ));
        }
        Some(clip @ Value::String(_)) => clip,
        Some(other) => return Err(unfit("audios", &other, write)),
    };
    row.set(AUDIO, clip);
    Ok(())
}

/// Turns a row into a question. Its clip is a text by now.
pub(super) fn question(chat: Chat, mut row: Row) -> Result<Question, RowError> {
    let (asked, replied) = turns(&mut row)?;
    let solution = row.optional_text("solution")?;
    let answer = solution.or(replied).map(|text| without_tags(&text).to_owned());
    let answer = answer.filter(|answer| !answer.is_empty()).ok_or_else(|| {
        let instead = "write \"solution\": \"…\", or a turn of the assistant after the question";
        RowError::new(RowCause::BadColumn, "the row has no answer", instead)
    })?;
    let asked = ["<audio>", "<|audio_bos|><|AUDIO|><|audio_eos|>", "<|AUDIO|>"]
        .iter()
        .fold(asked, |text, tag| text.replace(tag, ""));
    let (text, choices) = match chat.asked {
        None | Some(AnswerType::Choice) => split_choices(asked.trim()),
        Some(AnswerType::Text | AnswerType::Number) => (asked.trim().to_owned(), Vec::new()),
    };
    if !text.chars().any(char::is_alphanumeric) {
        let instead = "write the question in the turn of the user";
        return Err(RowError::new(RowCause::EmptyQuestion, "the question is missing or empty", instead));
    }
    if choices.is_empty() && chat.asked == Some(AnswerType::Choice) {
        let instead = "list them as in `A. dog`, or set answer_type = \"text\"";
        return Err(RowError::new(RowCause::TooFewChoices, "the question lists no choices", instead));
    }
    no_choice_twice(&choices)?;
    let number_asked = chat.asked == Some(AnswerType::Number);
    if number_asked && number(&answer).is_none() {
        let problem = format!("the answer is \"{answer}\"");
        return Err(RowError::new(RowCause::BadColumn, problem, "write a number, such as 3.5 or 1,000"));
    }
    let line = row.line;
    let mut question = Question {
        id: row.optional_text("id")?.unwrap_or_else(|| line.to_string()),
        text,
        choices,
        answer,
        tolerance: number_asked.then_some(chat.tolerance),
        audio_path: row.text(AUDIO)?.into(),
        metadata: row.rest(),
        ..Question::default()
    };
    if !question.choices.is_empty() {
        let Some(place) = named_choice(&question.answer, &question) else {
            let problem = format!("the answer is \"{}\"", question.answer);
            let instead =
                format!("write the text or the letter of one of the choices {:?}", question.choices);
            return Err(RowError::new(RowCause::AnswerNotAChoice, problem, instead));
        };
        question.answer = question.choices[place].clone();
    }
    Ok(question)
}

/// The last turn of the user, and the turn of the assistant after it.
fn turns(row: &mut Row) -> Result<(String, Option<String>), RowError> {
    if let Some(query) = row.optional_text("query")? {
        return Ok((query, row.optional_text("response")?));
    }
    let list =
        row.value("messages").or_else(|| row.value("conversations")).or_else(|| row.value("conversation"));
    let wrong = |value: &Value| {
        unfit(
            "messages",
            value,
            r#"write [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]"#,
        )
    };
    let Some(Value::Array(turns)) = list else { return Err(wrong(&list.unwrap_or(Value::Null))) };
    let mut found: Option<(String, Option<String>)> = None;
    for turn in &turns {
        let role = turn.get("role").or_else(|| turn.get("from")).and_then(Value::as_str);
        let content = turn.get("content").or_else(|| turn.get("value")).map(words_of);
        let (Some(role), Some(content)) = (role, content) else { return Err(wrong(turn)) };
        match (role, &mut found) {
            ("user" | "human", _) => found = Some((content, None)),
            ("assistant" | "gpt", Some((_, reply))) => *reply = Some(content),
            _ => {}
        }
    }
    found.ok_or_else(|| {
        RowError::new(RowCause::EmptyQuestion, "no turn of the user", "write a turn with the role `user`")
    })
}

/// The words of a turn, which may be a text or a list of texts and clips.
fn words_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// What is between the tags of an answer, or the text without its thinking.
fn without_tags(text: &str) -> &str {
    let text = text.rsplit_once("</think>").map_or(text, |(_, rest)| rest);
    let inner = text.split_once("<answer>").map_or(text, |(_, rest)| rest);
    inner.split_once("</answer>").map_or(inner, |(inner, _)| inner).trim()
}

/// Splits a question from the choices that it lists with the letters A, B, …; none if it lists fewer than two.
fn split_choices(text: &str) -> (String, Vec<String>) {
    let mut marks = Vec::new();
    let mut from = 0;
    for letter in 'A'..='Z' {
        let Some((start, end)) = mark(text, letter, from) else { break };
        marks.push((start, end));
        from = end;
    }
    if marks.len() < 2 {
        return (text.to_owned(), Vec::new());
    }
    let mut choices = Vec::new();
    for (place, &(_, start)) in marks.iter().enumerate() {
        let rest = match marks.get(place + 1) {
            Some(&(next, _)) => &text[start..next],
            // What follows the line of the last choice is an instruction.
            None => text[start..].lines().next().unwrap_or_default(),
        };
        choices.push(rest.trim().trim_end_matches([',', ';']).trim_end().to_owned());
    }
    if choices.iter().any(String::is_empty) {
        return (text.to_owned(), Vec::new());
    }
    let mut question = text[..marks[0].0].trim();
    for heading in ["Options:", "Choices:", "options:", "choices:", "Options", "Choices"] {
        question = question.strip_suffix(heading).unwrap_or(question).trim_end();
    }
    (question.to_owned(), choices)
}

/// Where after `from` a choice with this letter begins: its mark, such as `A.`, `(A)` or `A)`, and its text.
fn mark(text: &str, letter: char, from: usize) -> Option<(usize, usize)> {
    text[from..].match_indices(letter).find_map(|(at, _)| {
        let at = from + at;
        let before = text[..at].chars().next_back();
        let after = &text[at + 1..];
        let opened = before == Some('(');
        let start = if opened { at - 1 } else { at };
        let apart = text[..start].chars().next_back().is_none_or(|c| c.is_whitespace() || ",;".contains(c));
        let sign = after.chars().next().filter(|&c| if opened { c == ')' } else { ".):、".contains(c) })?;
        let end = at + 1 + sign.len_utf8();
        let spaced = text[end..].starts_with(char::is_whitespace) || opened || sign == '、';
        (apart && spaced).then_some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_split_off_where_letters_list_them() {
        let expect = |text: &str, question: &str, choices: &[&str]| {
            let (found, listed) = split_choices(text);
            assert_eq!(
                (found.as_str(), listed),
                (question, choices.iter().map(|&c| c.to_owned()).collect()),
                "{text}"
            );
        };
        expect("What barks?\nA. dog\nB. cat\nAnswer with the letter.", "What barks?", &["dog", "cat"]);
        expect("What barks? (A) dog (B) cat", "What barks?", &["dog", "cat"]);
        expect("What barks?\nOptions:\nA) dog\nB) cat\nC) cow", "What barks?", &["dog", "cat", "cow"]);
        expect("Who is it, A. Smith?", "Who is it, A. Smith?", &[]);
        expect("What barks?", "What barks?", &[]);
        expect("什么声音？\nA、狗\nB、猫", "什么声音？", &["狗", "猫"]);
    }

    #[test]
    fn an_answer_is_read_without_its_tags_and_thinking() {
        for text in [
            "dog",
            " dog\n",
            "<answer>dog</answer>",
            "<think>It barks.</think><answer> dog </answer>",
            "<think>x</think>dog",
        ] {
            assert_eq!(without_tags(text), "dog", "{text}");
        }
    }
}
