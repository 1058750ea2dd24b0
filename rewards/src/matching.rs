//! Exact choice match, as used in training: finds the choice that an answer names.
//!
//! The content of `<answer>` names a choice if one of these holds; the rules are tried in this order:
//! 1. it is the choice's text, ignoring case and white space;
//! 2. it is the choice's text, also ignoring punctuation, and not the text of another choice;
//! 3. it is the choice's letter (`B`, `b.`, `(B)` or `（B）`), alone or in front of the choice's text (`B. dog`, `(b) dog`,
//!    `B、dog`). A letter in front of another choice's text names nothing.
//!
//! Texts are compared in one form: composed characters (NFC), and full-width letters and signs as ASCII.
//!
//! Letters are not accepted if a choice is itself a single letter, such as a musical key. Choices that are written with
//! their letters (`A. cat`, `B. dog`) match with and without them. The answer as a whole has to match: `a dog` is not
//! `dog`, and `dog and cat` names neither.
//!
//! The official string match of MMAU and MMAR is less strict: it compares sets of words and so accepts `from near to
//! far` for `from far to near`. Evaluation reports both.

use crate::numbers::same_number;
use crate::text::fold;
use crate::{ParsedCompletion, Question};

/// Whether the content of `<answer>` names the right choice, or one of several right answers. Where the question asks for
/// a number, a number within its tolerance is right too ([`numbers`](crate::numbers)).
pub fn answer_matches(answer: &str, question: &Question) -> bool {
    let mut golds = std::iter::once(&question.answer).chain(&question.other_answers);
    golds.any(|gold| {
        same_answer(answer, gold, question)
            || question.tolerance.is_some_and(|tolerance| same_number(answer, gold, tolerance))
    })
}

/// Whether a completion counts as correct: it is well-formed and its answer names the right choice.
pub fn is_correct(parsed: &ParsedCompletion, question: &Question) -> bool {
    parsed.well_formed && parsed.answer.as_deref().is_some_and(|answer| answer_matches(answer, question))
}

/// Whether two answers to a question name the same choice; if neither names one, whether they have the same words.
pub fn same_answer(one: &str, other: &str, question: &Question) -> bool {
    match (named_choice(one, question), named_choice(other, question)) {
        (Some(one), Some(other)) => plain(&question.choices[one]) == plain(&question.choices[other]),
        (None, None) => !plain(one).is_empty() && (plain(one) == plain(other) || same_words(one, other)),
        _ => false,
    }
}

/// The index of the choice that an answer names by the rules above.
pub fn named_choice(answer: &str, question: &Question) -> Option<usize> {
    if answer.trim().is_empty() {
        return None;
    }
    let choices = Choices::of(question);
    choices.by_text(answer).or_else(|| choices.by_letter(answer))
}

/// Whether an answer names a choice by its letter and nothing else.
pub(crate) fn is_bare_letter(answer: &str, question: &Question) -> bool {
    let choices = Choices::of(question);
    let letter = choices.by_letter(answer).is_some() && choices.by_text(answer).is_none();
    letter && letter_prefix(&fold(answer)).is_some_and(|letter| letter.rest.is_empty())
}

/// Whether the choices of this question can be named by the letters `A`, `B`, …; not if a choice is a single letter.
pub(crate) fn letters_name_choices(question: &Question) -> bool {
    Choices::of(question).letters_name_choices()
}

/// Whether every choice is written with its own letter, as in `A. dog`.
pub fn choices_carry_letters(question: &Question) -> bool {
    let bare = Choices::of(question).bare;
    !bare.is_empty() && bare.iter().zip(&question.choices).all(|(bare, full)| *bare != full)
}

/// The texts of a question's choices without the letters they may be written with.
pub fn bare_choices(question: &Question) -> Vec<&str> {
    Choices::of(question).bare
}

struct Choices<'a> {
    question: &'a Question,
    full: &'a [String],
    /// The same without the letters they are written with.
    bare: Vec<&'a str>,
}

impl<'a> Choices<'a> {
    fn of(question: &'a Question) -> Self {
        let full = question.choices.as_slice();
        let stripped = full.iter().enumerate().map(|(index, choice)| match letter_prefix(choice) {
            Some(Letter { letter, delimited: true, rest })
                if question.choice_of_letter(letter) == Some(index) && !rest.is_empty() =>
            {
                Some(rest)
            }
            _ => None,
        });
        let bare = stripped.collect::<Option<Vec<&str>>>();
        Self { question, full, bare: bare.unwrap_or_else(|| full.iter().map(String::as_str).collect()) }
    }

    fn by_text(&self, answer: &str) -> Option<usize> {
        let answer_plain = plain(answer);
        let texts = || self.full.iter().map(String::as_str).zip(self.bare.iter().copied()).enumerate();
        let exact =
            texts().find(|(_, (full, bare))| plain(full) == answer_plain || plain(bare) == answer_plain);
        if let Some((index, _)) = exact {
            return Some(index);
        }
        let mut alike =
            texts().filter(|(_, (full, bare))| same_words(full, answer) || same_words(bare, answer));
        let (index, _) = alike.next()?;
        // A choice that is listed twice is not ambiguous, but two choices that differ in punctuation only are.
        alike.all(|(other, _)| plain(&self.full[other]) == plain(&self.full[index])).then_some(index)
    }

    fn by_letter(&self, answer: &str) -> Option<usize> {
        if !self.letters_name_choices() {
            return None;
        }
        let answer = fold(answer);
        let Letter { letter, delimited, rest } = letter_prefix(&answer)?;
        let index = self.question.choice_of_letter(letter)?;
        let text = self.bare.get(index)?;
        // The `a` of `a dog` is an article.
        if letter.eq_ignore_ascii_case(&'a') && !delimited && !rest.is_empty() {
            return None;
        }
        let agrees = rest.is_empty() || plain(rest) == plain(text) || same_words(rest, text);
        agrees.then_some(index)
    }

    fn letters_name_choices(&self) -> bool {
        let single_letter = |text: &str| match words(text).as_slice() {
            [word] => word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_alphabetic()),
            _ => false,
        };
        !self.bare.iter().any(|text| single_letter(text))
    }
}

/// A letter at the beginning of a text, as in `B`, `b.`, `(B)`, `B: dog` or `B dog`.
struct Letter<'a> {
    letter: char,
    /// Whether punctuation separates the letter from the rest.
    delimited: bool,
    rest: &'a str,
}

fn letter_prefix(text: &str) -> Option<Letter<'_>> {
    let text = text.trim();
    let opened = text.trim_start_matches(['(', '[', '*', '"', '\'', '`', '【', '「', '『', '〔', '《']);
    let letter = opened.chars().next().filter(char::is_ascii_alphabetic)?;
    let after = &opened[1..];
    let rest = after.trim_start_matches([
        ')', ']', '.', ':', '-', '*', '"', '\'', '`', ',', ';', '】', '」', '』', '〕', '》', '。', '、',
        '．',
    ]);
    let delimited = rest.len() < after.len();
    // `Bdog` and `I'm` begin with a word rather than with a letter.
    let apart =
        rest.is_empty() || rest.starts_with(char::is_whitespace) || (delimited && !after.starts_with('\''));
    apart.then(|| Letter { letter, delimited, rest: rest.trim() })
}

/// Whether two texts have the same words, and at least one.
fn same_words(one: &str, other: &str) -> bool {
    let one = words(one);
    !one.is_empty() && one == words(other)
}

/// The text in lower case and one form, with single spaces between words.
fn plain(text: &str) -> String {
    fold(text).to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a text in lower case, without punctuation. Signs with a meaning are kept, as in `f#`, `c++`, `50%`,
/// `-5`, `3.5` and `1/2`. Apostrophes are removed without splitting the word.
pub(crate) fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = fold(text).to_lowercase().chars().collect();
    let digit = |index: Option<usize>| index.and_then(|i| chars.get(i)).is_some_and(|c| c.is_numeric());
    let mut spaced = String::with_capacity(text.len());
    for (index, c) in chars.iter().copied().enumerate() {
        let (before, after) = (index.checked_sub(1), Some(index + 1));
        let starts_word = before.is_none_or(|i| chars[i].is_whitespace() || chars[i] == '(');
        match c {
            '\'' | '’' | '‘' | '`' => {}
            '.' | ',' | ':' | '/' if digit(before) && digit(after) => spaced.push(c),
            '-' | '−' if starts_word && digit(after) => spaced.push('-'),
            '.' if starts_word && digit(after) => spaced.push(c),
            '.' | ',' | ':' | ';' | '!' | '?' | '/' | '\\' | '|' | '-' | '–' | '—' | '_' | '*' | '…' => {
                spaced.push(' ')
            }
            '(' | ')' | '[' | ']' | '{' | '}' | '"' | '“' | '”' | '„' | '«' | '»' => spaced.push(' '),
            '。' | '、' | '【' | '】' | '「' | '」' | '『' | '』' | '〔' | '〕' | '《' | '》' => {
                spaced.push(' ')
            }
            c => spaced.push(c),
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParserOptions, parse_completion};

    fn question(choices: &[&str], answer: &str) -> Question {
        Question {
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            answer: answer.to_owned(),
            ..Question::default()
        }
    }

    #[test]
    fn case_space_and_punctuation_do_not_matter() {
        let animals = question(&["cat", "A small dog", "cow"], "A small dog");
        for answer in
            ["a small dog", " A  Small\nDog ", "a small dog.", "**A small dog**", "\"a small-dog\"!"]
        {
            assert!(answer_matches(answer, &animals), "{answer}");
        }
        for answer in ["", " ", ".", "cat", "small dog", "a small dog and cat", "dog small a", "a small dogs"]
        {
            assert!(!answer_matches(answer, &animals), "{answer}");
        }
    }

    #[test]
    fn a_letter_names_its_choice_alone_or_before_the_same_text() {
        let animals = question(&["cat", "dog", "cow"], "dog");
        for answer in [
            "B", "b", "(b)", "B.", "[B]", "B. dog", "(b) dog", "B) Dog.", "B: dog", "b - dog", "B dog",
            "**B**",
        ] {
            assert!(answer_matches(answer, &animals), "{answer}");
        }
        // `C. dog` contradicts itself, there is no choice E, and `Bdog` has no separate letter.
        for answer in ["A", "C. dog", "A. dog", "E", "Bdog", "B. cat", "BB", "b dog cat", "z"] {
            assert!(!answer_matches(answer, &animals), "{answer}");
        }
    }

    #[test]
    fn letters_are_not_accepted_if_choices_are_letters() {
        let keys = question(&["C", "A", "F#", "B"], "A");
        assert!(answer_matches("a", &keys));
        assert!(answer_matches("A.", &keys));
        assert!(!answer_matches("B", &keys), "the second choice, but also the text of the fourth");
        assert!(!answer_matches("F", &keys), "not F#");
    }

    #[test]
    fn choices_written_with_letters_match_with_and_without_them() {
        let animals = question(&["A. cat", "B. dog"], "B. dog");
        for answer in ["B. dog", "dog", "B", "(B) dog"] {
            assert!(answer_matches(answer, &animals), "{answer}");
        }
        assert!(!answer_matches("cat", &animals));
        let gold_without = question(&["(A) cat", "(B) dog"], "dog");
        assert!(answer_matches("(B) dog", &gold_without));
        // Here `A` is an article, since not every choice is written with its own letter.
        let articles = question(&["A cat", "A dog"], "A dog");
        assert!(!answer_matches("dog", &articles));
    }

    #[test]
    fn signs_with_a_meaning_are_kept() {
        let numbers = question(&["5", "-5", "3.5", "35", "1/2", "12"], "-5");
        assert!(answer_matches("-5", &numbers));
        assert!(!answer_matches("5", &numbers));
        let halves = question(&["35", "3.5", "3,5"], "3.5");
        assert!(answer_matches("3.5.", &halves));
        assert!(!answer_matches("35", &halves));
        let keys = question(&["F minor", "F# minor"], "F# minor");
        assert!(!answer_matches("F minor", &keys));
    }

    #[test]
    fn choices_that_differ_in_punctuation_only_are_matched_exactly() {
        let tricky = question(&["re-sign", "re sign"], "re-sign");
        assert!(answer_matches("Re-Sign", &tricky));
        assert!(!answer_matches("re sign", &tricky));
        assert!(!answer_matches("re, sign", &tricky), "either could be meant");
    }

    #[test]
    fn an_open_question_compares_the_words() {
        let open = question(&[], "Two dogs");
        assert!(answer_matches("two dogs.", &open));
        assert!(!answer_matches("dogs two", &open));
        let gold_is_no_choice = question(&["cat", "cow"], "dog");
        assert!(answer_matches("Dog", &gold_is_no_choice));
        assert!(!answer_matches("cat", &gold_is_no_choice));
        assert!(!answer_matches("", &question(&[], "")), "an empty answer is never right");
    }

    #[test]
    fn a_question_with_a_tolerance_takes_numbers_near_the_right_one() {
        let tempo = Question { tolerance: Some(2.0), ..question(&[], "120") };
        for answer in ["120", "118", "122.0", "one hundred and twenty"] {
            assert!(answer_matches(answer, &tempo), "{answer}");
        }
        for answer in ["122.1", "-120", "about a hundred", ""] {
            assert!(!answer_matches(answer, &tempo), "{answer}");
        }
        let count = Question { tolerance: Some(0.0), ..question(&[], "3") };
        assert!(answer_matches("Three.", &count) && answer_matches("3.00", &count));
        assert!(!answer_matches("3", &question(&[], "three")), "without a tolerance the words count");
        let either = Question { other_answers: vec!["1,000".into()], ..count };
        assert!(answer_matches("1000", &either));
    }

    #[test]
    fn the_order_of_words_matters_unlike_in_the_official_match() {
        let direction = question(&["from near to far", "from far to near"], "from far to near");
        assert!(!answer_matches("from near to far", &direction));
    }

    #[test]
    fn other_scripts_match_literally() {
        let birds = question(&["Möwe", "Ö", "鸟"], "鸟");
        assert!(answer_matches("鸟。", &birds));
        assert!(answer_matches("C", &birds));
        assert!(answer_matches("MÖWE", &question(&["Möwe"], "Möwe")));
    }

    #[test]
    fn a_malformed_completion_is_never_correct() {
        let animals = question(&["cat", "dog"], "dog");
        let options = ParserOptions::default();
        assert!(is_correct(&parse_completion("<answer>dog</answer>", &options), &animals));
        assert!(!is_correct(&parse_completion("<answer>dog</answer>.", &options), &animals));
        assert!(!is_correct(&parse_completion("dog", &options), &animals));
    }
}
