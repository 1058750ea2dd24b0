//! The table of answer forms: what each reading makes of an answer.

use super::*;
use crate::{OfficialRule, ParserOptions, parse_completion};

fn animals() -> Question {
    Question {
        choices: ["cat", "dog", "owl", "cow"].map(str::to_owned).to_vec(),
        answer: "dog".to_owned(),
        letters_shown: true,
        ..Question::default()
    }
}

fn read(answer: &str, question: &Question) -> Readings {
    let completion = format!("<answer>{answer}</answer>");
    Readings::of(&completion, &parse_completion(&completion, &ParserOptions::default()), question)
}

/// Answers to "cat, dog, owl or cow?", of which dog is right: the answer, then whether the strict, the official (MMAU) and
/// the lenient reading accept it.
const FORMS: &[(&str, bool, bool, bool)] = &[
    // The choice's text.
    ("dog", true, true, true),
    ("Dog", true, true, true),
    (" DOG. ", true, true, true),
    ("**dog**", true, true, true),
    ("“dog”", true, true, true),
    ("『dog』", true, true, true),
    ("ｄｏｇ", true, false, true),
    ("cat", false, false, false),
    ("dogs", false, false, false),
    ("hotdog", false, false, false),
    ("", false, false, false),
    // Its letter.
    ("B", true, false, true),
    ("b", true, false, true),
    ("(B)", true, false, true),
    ("B.", true, false, true),
    ("[B]", true, false, true),
    ("B)", true, false, true),
    ("**B**", true, false, true),
    ("（B）", true, false, true),
    ("【B】", true, false, true),
    ("「B」", true, false, true),
    ("B。", true, false, true),
    ("B．", true, false, true),
    ("B｡", true, false, true),
    ("Ｂ", true, false, true),
    ("（Ｂ）", true, false, true),
    ("ｂ", true, false, true),
    ("A", false, false, false),
    ("（A）", false, false, false),
    ("E", false, false, false),
    ("AB", false, false, false),
    ("BB", false, false, false),
    ("A B", false, false, false),
    ("A, B", false, false, false),
    ("B-flat", false, false, false),
    // Letter and text.
    ("B. dog", true, true, true),
    ("B: dog", true, true, true),
    ("B：dog", true, true, true),
    ("B、dog", true, true, true),
    ("B dog", true, true, true),
    ("（B）dog", true, true, true),
    ("(b) Dog.", true, true, true),
    ("dog (B)", false, true, true),
    ("dog（B）", false, true, true),
    ("dog, B", false, true, true),
    ("B cat", false, false, false),
    ("B. cat", false, false, false),
    ("A. dog", false, true, false),
    ("dog (A)", false, true, false),
    // Sentences.
    ("the dog", false, true, true),
    ("a dog", false, true, true),
    ("It is a dog.", false, true, true),
    ("It's the dog", false, true, true),
    ("I hear a dog barking", false, true, true),
    ("A dog", false, true, true),
    ("Option B", false, false, true),
    ("option b", false, false, true),
    ("Choice B.", false, false, true),
    ("选项B", false, false, true),
    ("选B", false, false, true),
    ("答案是B。", false, false, true),
    ("答案：B", false, false, true),
    ("\\boxed{B}", false, false, true),
    ("\\boxed{dog}", false, true, true),
    ("$\\boxed{\\text{dog}}$", false, true, true),
    ("Answer: B", false, false, true),
    ("answer: b", false, false, true),
    ("The answer is B.", false, false, true),
    ("The answer is (B)", false, false, true),
    ("The answer is dog.", false, true, true),
    ("The correct answer is: B. dog", false, true, true),
    ("Both cat and owl are quiet. The answer is B.", false, false, true),
    ("The answer is A.", false, false, false),
    ("The answer is A, actually B", false, false, false),
    ("A, actually B", false, false, false),
    ("cat or dog", false, false, false),
    ("dog and cat", false, false, false),
    ("dog, not cat", false, false, false),
    ("not dog", false, true, false),
    ("It isn't a dog", false, true, false),
    ("No dog", false, true, false),
    ("neither", false, false, false),
    ("不是B", false, false, false),
    ("I don't know", false, false, false),
    ("I", false, false, false),
];

#[test]
fn answers_are_read_as_the_table_says() {
    let question = animals();
    let mut wrong = Vec::new();
    for &(answer, strict, official, lenient) in FORMS {
        let found = read(answer, &question);
        let expected = (strict, Some(official), lenient);
        if (found.strict, found.official, found.lenient) != expected {
            wrong.push(format!("{answer:?}: {found:?}, not {expected:?}"));
        }
        assert!(found.lenient || !found.strict, "READ-1: {answer}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn chinese_choices_are_read_alike() {
    let question = Question {
        choices: ["猫", "狗", "牛", "羊"].map(str::to_owned).to_vec(),
        answer: "狗".to_owned(),
        ..Question::default()
    };
    for (answer, strict, lenient) in [
        ("狗", true, true),
        ("狗。", true, true),
        ("（B）狗", true, true),
        ("B、狗", true, true),
        ("是狗叫", false, true),
        ("猫和狗", false, false),
        ("不是狗", false, false),
        ("B、猫", false, false),
    ] {
        let found = read(answer, &question);
        assert_eq!((found.strict, found.lenient), (strict, lenient), "{answer}");
    }
}

#[test]
fn composed_and_decomposed_characters_are_the_same() {
    let question = Question {
        choices: ["Mo\u{308}we", "Ente"].map(str::to_owned).to_vec(),
        answer: "Mo\u{308}we".to_owned(),
        ..Question::default()
    };
    assert!(read("M\u{f6}we", &question).strict);
    assert!(read("Mo\u{308}we", &question).strict);
    let composed =
        Question { choices: vec!["caf\u{e9}".into(), "bar".into()], answer: "caf\u{e9}".into(), ..question };
    assert!(read("the cafe\u{301}", &composed).lenient);
}

#[test]
fn a_letter_alone_earns_nothing_where_no_letters_were_shown() {
    let hidden = Question { letters_shown: false, ..animals() };
    for answer in ["B", "（B）", "b."] {
        for reading in [Reading::Strict, Reading::Lenient] {
            assert!(read(answer, &animals()).earns(reading), "{answer}");
            assert!(!read(answer, &hidden).earns(reading), "{answer}");
        }
        assert!(read(answer, &hidden).strict, "it names the choice all the same");
    }
    for answer in ["dog", "B. dog"] {
        assert!(read(answer, &hidden).earns(Reading::Strict), "{answer}");
    }
    let option = read("Option B", &hidden);
    assert!(option.lenient && !option.earns(Reading::Lenient));
}

#[test]
fn letters_are_those_of_the_file() {
    let question = Question {
        choices: ["0-1", "1-2", "3-4"].map(str::to_owned).to_vec(),
        letters: "ABD".into(),
        answer: "3-4".into(),
        official: OfficialRule::AirBenchLetter,
        letters_shown: true,
        ..Question::default()
    };
    let found = read("D", &question);
    assert!(found.strict && found.official == Some(true) && found.lenient);
    let found = read("C", &question);
    assert!(!found.strict && found.official == Some(false) && !found.lenient);
}

#[test]
fn several_answers_can_be_right() {
    let question = Question { other_answers: vec!["owl".into()], ..animals() };
    for answer in ["dog", "owl", "C", "the owl"] {
        assert!(read(answer, &question).lenient, "{answer}");
    }
    assert!(!read("cat", &question).lenient);
}

#[test]
fn the_answer_of_a_completion_without_tags_is_what_follows_its_thinking() {
    let of = |completion: &str| {
        let parsed = parse_completion(completion, &ParserOptions::default());
        answer_of(completion, &parsed).to_owned()
    };
    assert_eq!(of("The answer is B."), "The answer is B.");
    assert_eq!(of("<think>cat</think> dog "), "dog");
    assert_eq!(of("<think>a cat or"), "");
    assert_eq!(of("<think>x</think>y <answer>dog</answer> z"), "dog");
    let parsed = parse_completion("It is a dog.", &ParserOptions::default());
    let found = Readings::of("It is a dog.", &parsed, &animals());
    assert_eq!((found.strict, found.official, found.lenient), (false, Some(true), true));
}
