//! The chain of thought: how it is asked for, its four parts, and what it concludes.

use rewards::judge::rules::conclusion::concluded_choice;
use rewards::{ParserOptions, Question, Readings, parse_completion};
use serde::{Deserialize, Serialize};

/// The parts of a chain, in their order, as they are tagged in a reply.
const PARTS: [&str; 4] = ["planning", "caption", "reasoning", "summary"];

/// What the server is told to be.
pub const SYSTEM: &str =
    "You write the thinking of an expert who answers questions about audio clips by listening.";

/// What the server is told to write.
const INSTRUCTION: &str = "Write the thinking that leads from the clip to this answer, as if you were listening to the clip \
    and did not know the answer yet. Write four parts, each in its tag:\n\
    <planning> what the question asks for and how to find it in the clip </planning>\n\
    <caption> what is heard, as far as the question needs it </caption>\n\
    <reasoning> step by step, what follows from what is heard, and why the other choices do not fit </reasoning>\n\
    <summary> one sentence that begins with \"Therefore, the answer is\" and states the choice in its exact words </summary>\n\
    Write nothing outside of the tags. Do not mention a caption, a description or that the answer was given.";

/// Phrases by which a chain shows that it was told the answer or a description, in lower case.
const LEAKS: [&str; 14] = [
    "given answer",
    "provided answer",
    "correct answer is given",
    "answer provided",
    "answer given",
    "gold answer",
    "reference answer",
    "as stated in the answer",
    "the caption",
    "provided caption",
    "the description",
    "according to the text",
    "right answer is given",
    "was told",
];

/// Why a row has no chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropCause {
    /// The question has no choices, so that the row can't be written in AVQA's format.
    NoChoices,
    /// The clip can't be decoded, or is silent.
    ClipUnusable,
    /// The file with captions has none for the row.
    NoCaption,
    /// The server refused the request, or declined to answer.
    ServerRefused,
    /// The reply was cut off at the limit of its length.
    Truncated,
    /// The reply lacks a part.
    PartMissing,
    /// The chain says that it was told the answer.
    AnswerMentioned,
    /// The chain concludes another choice than the right one.
    WrongConclusion,
    /// The chain does not conclude one choice.
    NoConclusion,
}

impl DropCause {
    /// The cause as it is written in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoChoices => "no_choices",
            Self::ClipUnusable => "clip_unusable",
            Self::NoCaption => "no_caption",
            Self::ServerRefused => "server_refused",
            Self::Truncated => "truncated",
            Self::PartMissing => "part_missing",
            Self::AnswerMentioned => "answer_mentioned",
            Self::WrongConclusion => "wrong_conclusion",
            Self::NoConclusion => "no_conclusion",
        }
    }
}

/// The user turn that asks for a chain.
pub fn prompt(question: &Question, caption: Option<&str>) -> String {
    let caption = match caption {
        Some(caption) => format!("What is heard in the clip: {caption}\n\n"),
        None => String::new(),
    };
    let choices: Vec<String> = question.choices.iter().map(|choice| format!("- {choice}")).collect();
    format!(
        "{caption}Question: {}\nChoices:\n{}\nRight answer: {}\n\n{INSTRUCTION}",
        question.text,
        choices.join("\n"),
        question.answer
    )
}

/// The chain in a reply, as the text of the column `reasoning`: its four parts as paragraphs.
///
/// Errors: the cause for which the reply is no chain of this question.
pub fn read(reply: &str, question: &Question) -> Result<String, DropCause> {
    // A model that thinks writes that in front of its reply.
    let reply = reply.rsplit_once("</think>").map_or(reply, |(_, reply)| reply);
    let parts: Option<Vec<String>> = PARTS.iter().map(|name| part(reply, name)).collect();
    let parts = parts.ok_or(DropCause::PartMissing)?;
    let chain = parts.join("\n\n");
    let lower = chain.to_lowercase();
    if LEAKS.iter().any(|leak| lower.contains(leak)) {
        return Err(DropCause::AnswerMentioned);
    }
    let summary = &parts[PARTS.len() - 1];
    match concluded_choice(summary, question).or_else(|| concluded_choice(&chain, question)) {
        Some(choice) if question.is_answer(&question.choices[choice]) => Ok(chain),
        Some(_) => Err(DropCause::WrongConclusion),
        None if leniently_right(summary, question) => Ok(chain),
        None => Err(DropCause::NoConclusion),
    }
}

/// The content of a part. A missing end tag is made up for by the next part's beginning.
fn part(reply: &str, name: &str) -> Option<String> {
    let (_, rest) = reply.split_once(&format!("<{name}>"))?;
    let ends = PARTS.iter().flat_map(|part| [format!("</{part}>"), format!("<{part}>")]);
    let end = ends.filter_map(|tag| rest.find(&tag)).min().unwrap_or(rest.len());
    let text = rest[..end].trim();
    // Tags of a completion would end the thinking early.
    let clean = ["<think>", "</think>", "<answer>", "</answer>"].iter().all(|tag| !text.contains(tag));
    (clean && text.chars().any(char::is_alphanumeric)).then(|| text.to_owned())
}

fn leniently_right(summary: &str, question: &Question) -> bool {
    let parsed = parse_completion(summary, &ParserOptions::default());
    let readings = Readings::of(summary, &parsed, question);
    readings.lenient && !readings.unseen_letter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question {
            text: "Which animal?".into(),
            choices: vec!["dog".into(), "cat".into(), "cow".into()],
            answer: "dog".into(),
            ..Question::default()
        }
    }

    fn reply(reasoning: &str, summary: &str) -> String {
        format!(
            "<planning>Find the animal.</planning>\n<caption>Barking.</caption>\n<reasoning>{reasoning}</reasoning>\n\
             <summary>{summary}</summary>"
        )
    }

    #[test]
    fn a_chain_with_four_parts_and_the_right_conclusion_is_kept() {
        let read = read(&reply("It barks; no cat does.", "Therefore, the answer is dog."), &question());
        let expected =
            "Find the animal.\n\nBarking.\n\nIt barks; no cat does.\n\nTherefore, the answer is dog.";
        assert_eq!(read.as_deref(), Ok(expected));
    }

    #[test]
    fn what_is_no_chain_of_the_question_is_dropped_with_its_cause() {
        let whole = reply("It barks.", "Therefore, the answer is dog.");
        for (reply, cause) in [
            (reply("It meows.", "Therefore, the answer is cat."), DropCause::WrongConclusion),
            (reply("Hard to tell.", "It is a dog or a cat."), DropCause::NoConclusion),
            (
                reply("As the given answer says, it barks.", "Therefore, the answer is dog."),
                DropCause::AnswerMentioned,
            ),
            (whole.replace("Barking.", " "), DropCause::PartMissing),
            (whole.replace("<planning>", ""), DropCause::PartMissing),
            (whole.replace("It barks.", "<answer>dog</answer>"), DropCause::PartMissing),
            (String::new(), DropCause::PartMissing),
        ] {
            assert_eq!(read(&reply, &question()), Err(cause), "{reply}");
        }
    }

    #[test]
    fn a_model_s_own_thinking_is_no_part_and_a_missing_end_tag_is_made_up_for() {
        let whole = reply("It barks.", "Therefore, the answer is dog.");
        let thought = format!("<think><planning>cat</planning></think>\n{}", whole.replace("</caption>", ""));
        assert!(
            read(&thought, &question()).unwrap().starts_with("Find the animal.\n\nBarking.\n\nIt barks.")
        );
    }

    #[test]
    fn the_prompt_has_what_the_paper_s_has() {
        let text = prompt(&question(), Some("A dog barks twice."));
        for part in
            ["A dog barks twice.", "Which animal?", "- cat", "Right answer: dog", "<planning>", "<summary>"]
        {
            assert!(text.contains(part), "{part}");
        }
        assert!(!prompt(&question(), None).contains("What is heard"));
    }
}
