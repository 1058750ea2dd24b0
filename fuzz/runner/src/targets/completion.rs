//! Completions of the policy: the parser, the matching of answers, and the text as a judge is shown it.

use rewards::judge::guard::{Guard, fence};
use rewards::{ParserOptions, Question, answer_matches, is_correct, parse_completion};

use super::Target;

pub const TARGET: Target = Target {
    name: "completion",
    dictionary: &[
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "<",
        ">",
        "/",
        "<|",
        "|>",
        "<|im_start|>",
        "[INST]",
        "</s>",
        "(B)",
        "B.",
        "dog",
        "the dog barks",
        "\n",
        " ",
        "狗",
        "\u{200b}",
        "\u{202e}",
        "ﷺ",
    ],
    longest: 16 * 1024,
    run,
};

fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for empty_think_is_no_think in [true, false] {
        let parsed = parse_completion(&text, &ParserOptions { empty_think_is_no_think });
        // PARSE-1: a well-formed completion has an answer, and no tag within its parts.
        if parsed.well_formed {
            let answer = parsed.answer.as_deref().unwrap_or_default();
            assert!(!answer.is_empty() && answer.trim() == answer && !answer.contains("<answer>"));
            assert!(parsed.think.iter().all(|think| !think.contains("</think>")));
        }
        let choices = ["dog", "cat", "a bell", "狗"].map(str::to_owned).to_vec();
        let question = Question { choices, answer: "dog".to_owned(), ..Question::default() };
        assert!(!is_correct(&parsed, &question) || parsed.well_formed);
        answer_matches(&text, &question);
    }
    let guard = Guard { special_tokens: vec!["<x>".to_owned(), "é".to_owned()], max_chars: 4000 };
    let cleaned = guard.clean(&text);
    assert!(cleaned.chars().count() <= guard.max_chars + 64, "a cleaned text is bounded");
    // JUDGE-2: a text cannot close the fence around it.
    assert!(!cleaned.contains(&fence(&[&cleaned])));
}
