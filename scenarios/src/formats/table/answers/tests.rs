use serde_json::json;

use super::*;
use crate::formats::DataFormat;

fn rows(answers: &[Value], choices: &[&str]) -> Vec<(Vec<String>, Value)> {
    let choices: Vec<String> = choices.iter().map(|&choice| choice.to_owned()).collect();
    answers.iter().map(|answer| (choices.clone(), answer.clone())).collect()
}

fn decide(answers: &[Value], choices: &[&str]) -> Result<AnswerIs, (String, String)> {
    let source = FileSource::new(DataFormat::Table, "rows.csv");
    Answers::of(&source, "label", rows(answers, choices).into_iter()).map(|answers| answers.is)
}

const ANIMALS: [&str; 3] = ["dog", "cat", "cow"];

#[test]
fn the_file_decides_whether_answers_are_texts_indices_or_letters() {
    assert_eq!(decide(&[json!("dog"), json!("COW")], &ANIMALS), Ok(AnswerIs::Text));
    assert_eq!(decide(&[json!(0), json!("2"), json!("1.0")], &ANIMALS), Ok(AnswerIs::Index));
    assert_eq!(decide(&[json!("A"), json!("(c)")], &ANIMALS), Ok(AnswerIs::Letter));
    assert_eq!(decide(&[json!("dog")], &["A. dog", "B. cat"]), Ok(AnswerIs::Text));
    // One row that is wrong does not change what the others are.
    assert_eq!(decide(&[json!(0), json!(2), json!(9)], &ANIMALS), Ok(AnswerIs::Index));
    assert_eq!(decide(&[json!("dog"), json!("B"), json!("cow")], &ANIMALS), Ok(AnswerIs::Text));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_with_the_key_to_set() {
    let numbers = ["2", "1", "0"];
    let (problem, instead) = decide(&[json!("2"), json!("1")], &numbers).unwrap_err();
    assert_eq!(problem, "`label` is \"2\", which may be a choice's text or its index");
    assert_eq!(instead, "set answer_is to \"text\" or \"index\"");
    // Where both name the same choices there is nothing to decide.
    assert_eq!(decide(&[json!("0"), json!("1")], &["0", "1"]), Ok(AnswerIs::Text));
    let keys = ["B", "A", "C"];
    assert_eq!(decide(&[json!("A")], &keys).unwrap_err().1, "set answer_is to \"text\" or \"letter\"");
    assert_eq!(decide(&[json!(1), json!(3)], &ANIMALS).unwrap_err().1, "set answer_base = 1");
    let (problem, _) = decide(&[json!("bird")], &ANIMALS).unwrap_err();
    assert!(problem.starts_with("`label`, such as \"bird\", is no text, index or letter"), "{problem}");
}

#[test]
fn keys_of_the_source_decide() {
    let read = |source: FileSource, value: Value, choices: &[&str]| {
        let choices: Vec<String> = choices.iter().map(|&choice| choice.to_owned()).collect();
        let answers = Answers::of(&source, "label", rows(&[], &[]).into_iter()).unwrap();
        answers
            .read("label", value, &choices)
            .map_err(|error| format!("{}; {}", error.problem, error.instead))
    };
    let table = || FileSource::new(DataFormat::Table, "rows.csv");
    let one = |text: &str| Ok((text.to_owned(), vec![]));
    let from_one = || FileSource { answer_base: Some(1), ..table() };
    assert_eq!(read(from_one(), json!(3), &ANIMALS), one("cow"));
    assert_eq!(
        read(from_one(), json!(0), &ANIMALS),
        Err("`label` is \"0\"; write the index of a choice, from 1 to 3".into())
    );
    let index = FileSource { answer_is: Some(AnswerIs::Index), ..table() };
    assert_eq!(read(index, json!("2"), &["2", "1", "0"]), one("0"));
    let letter = FileSource { answer_is: Some(AnswerIs::Letter), ..table() };
    assert_eq!(
        read(letter, json!("D"), &ANIMALS),
        Err("`label` is \"D\"; write a letter from A to C".into())
    );
}

#[test]
fn an_open_question_may_have_several_answers_and_a_number_must_be_one() {
    let read = |asked, value: Value| {
        let source =
            FileSource { answer_type: Some(asked), ..FileSource::new(DataFormat::Table, "rows.csv") };
        let answers = Answers::of(&source, "label", rows(&[], &[]).into_iter()).unwrap();
        answers.read("label", value, &[]).map_err(|error| error.problem)
    };
    let several = |first: &str, others: &[&str]| {
        Ok((first.to_owned(), others.iter().map(|&other| other.to_owned()).collect::<Vec<_>>()))
    };
    assert_eq!(read(AnswerType::Text, json!(["dog", "a dog"])), several("dog", &["a dog"]));
    assert_eq!(read(AnswerType::Text, json!("['dog', 'hound']")), several("dog", &["hound"]));
    assert_eq!(read(AnswerType::Number, json!(3.5)), several("3.5", &[]));
    assert_eq!(read(AnswerType::Number, json!("three")), several("three", &[]));
    assert_eq!(read(AnswerType::Number, json!("many")), Err("`label` is \"many\"".into()));
    assert_eq!(read(AnswerType::Text, json!("")), Err("`label` is \"\"".into()));
}
