//! Parses a completion: its mode, its thinking, its answer, and whether it is well-formed.
//!
//! The text comes from the sampler, without special tokens. The result is used by the rewards, the judge and the
//! evaluator, and written to `rollouts.jsonl`. There are two valid forms (arXiv 2508.08039v3, Appendix A.1):
//!
//! - think:    `<think> … </think><answer> … </answer>`
//! - no-think: `<answer> … </answer>`
//!
//! Invariants, which the tests check:
//! - PARSE-1 a completion is `well_formed` iff each tag of one of the forms occurs exactly once, in order, with
//!   only white space around and between the elements, and the answer is not blank. A tag quoted inside the text
//!   counts as a second occurrence.
//! - PARSE-2 a malformed completion is in mode `Think` iff it has a `<think>` anywhere.
//! - PARSE-3 any text can be parsed without a panic.
//!
//! Deviation from the paper: other work marks no-think by an empty `<think></think>`. By default this is read as a
//! well-formed no-think completion, see [`ParserOptions`].

use serde::{Deserialize, Serialize};

const THINK_OPEN: &str = "<think>";
const THINK_CLOSE: &str = "</think>";
const ANSWER_OPEN: &str = "<answer>";
const ANSWER_CLOSE: &str = "</answer>";

/// The mode the policy chose: whether the completion has thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Thinking, then an answer.
    Think,
    /// An answer without thinking.
    NoThink,
}

/// Options of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParserOptions {
    /// Whether `<think></think><answer>…</answer>` is a no-think completion (default) or a think completion with empty
    /// thinking. It is well-formed in both cases.
    pub empty_think_is_no_think: bool,
}

impl Default for ParserOptions {
    fn default() -> Self {
        Self { empty_think_is_no_think: true }
    }
}

/// The parts of a completion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsedCompletion {
    /// Whether it has thinking. See PARSE-2 for malformed completions.
    pub mode: Mode,
    /// Whether it has one of the two valid forms.
    pub well_formed: bool,
    /// The trimmed thinking. In a malformed completion it is the text from the first `<think>` up to the next
    /// `</think>` or `<answer>`, whichever comes first.
    pub think: Option<String>,
    /// The trimmed answer. In a malformed completion it is the last closed `<answer>` that is not blank; it is only
    /// recorded, since a malformed completion always counts as wrong.
    pub answer: Option<String>,
}

/// Parses the text of a completion.
///
/// ```
/// use rewards::{Mode, ParserOptions, parse_completion};
///
/// let text = "<think> a bark </think>\n<answer> dog </answer>";
/// let parsed = parse_completion(text, &ParserOptions::default());
/// assert_eq!((parsed.well_formed, parsed.mode), (true, Mode::Think));
/// assert_eq!((parsed.think.as_deref(), parsed.answer.as_deref()), (Some("a bark"), Some("dog")));
/// ```
pub fn parse_completion(text: &str, options: &ParserOptions) -> ParsedCompletion {
    let Some((think, answer)) = valid_form(text.trim()) else {
        return malformed(text);
    };
    let think = think.filter(|think| !(think.is_empty() && options.empty_think_is_no_think));
    ParsedCompletion {
        mode: if think.is_some() { Mode::Think } else { Mode::NoThink },
        well_formed: true,
        think: think.map(str::to_owned),
        answer: Some(answer.to_owned()),
    }
}

/// The trimmed thinking and answer of a text in one of the valid forms; `None` for any other text.
fn valid_form(text: &str) -> Option<(Option<&str>, &str)> {
    let (think, rest) = match text.strip_prefix(THINK_OPEN) {
        Some(opened) => {
            let (think, rest) = opened.split_once(THINK_CLOSE)?;
            (Some(think), rest.trim_start())
        }
        None => (None, text),
    };
    let answer = rest.strip_prefix(ANSWER_OPEN)?.strip_suffix(ANSWER_CLOSE)?;
    let clean = |text: &str| {
        [THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE].into_iter().all(|tag| !text.contains(tag))
    };
    let valid = clean(answer) && think.is_none_or(clean) && !answer.trim().is_empty();
    valid.then(|| (think.map(str::trim), answer.trim()))
}

/// Parses a text that has neither valid form as far as possible.
fn malformed(text: &str) -> ParsedCompletion {
    let think = text.split_once(THINK_OPEN).map(|(_, opened)| {
        let end = [THINK_CLOSE, ANSWER_OPEN].into_iter().filter_map(|tag| opened.find(tag)).min();
        opened[..end.unwrap_or(opened.len())].trim().to_owned()
    });
    ParsedCompletion {
        mode: if think.is_some() { Mode::Think } else { Mode::NoThink },
        well_formed: false,
        think,
        answer: last_answer(text),
    }
}

/// The trimmed content of the last `<answer>` that is closed and not blank.
fn last_answer(text: &str) -> Option<String> {
    let mut end = text.len();
    while let Some(close) = text[..end].rfind(ANSWER_CLOSE) {
        let open = text[..close].rfind(ANSWER_OPEN)?;
        let opened = &text[open + ANSWER_OPEN.len()..end];
        let answer = opened.split(ANSWER_CLOSE).next().unwrap_or_default().trim();
        if !answer.is_empty() {
            return Some(answer.to_owned());
        }
        end = open;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ParsedCompletion {
        parse_completion(text, &ParserOptions::default())
    }

    fn well_formed(think: Option<&str>, answer: &str) -> ParsedCompletion {
        ParsedCompletion {
            mode: if think.is_some() { Mode::Think } else { Mode::NoThink },
            well_formed: true,
            think: think.map(str::to_owned),
            answer: Some(answer.to_owned()),
        }
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parse("<think>a bark</think><answer>dog</answer>"), well_formed(Some("a bark"), "dog"));
        assert_eq!(parse("<answer>dog</answer>"), well_formed(None, "dog"));
    }

    #[test]
    fn white_space_around_and_between_does_not_matter() {
        let spaced = " \n<think>\n a bark \n\n so dog\t</think>\r\n\n <answer> dog\u{a0}</answer>\u{3000}\n";
        assert_eq!(parse(spaced), well_formed(Some("a bark \n\n so dog"), "dog"));
    }

    #[test]
    fn an_empty_think_is_no_think_by_default() {
        let text = "<think> \n </think><answer>dog</answer>";
        assert_eq!(parse(text), well_formed(None, "dog"));
        let strict = ParserOptions { empty_think_is_no_think: false };
        assert_eq!(parse_completion(text, &strict), well_formed(Some(""), "dog"));
        assert_eq!(parse_completion("<answer>dog</answer>", &strict), well_formed(None, "dog"));
    }

    #[test]
    fn every_other_form_is_malformed_and_its_mode_follows_from_the_think_tag() {
        use Mode::{NoThink, Think};
        for (text, mode, think, answer) in [
            ("", NoThink, None, None),
            ("dog", NoThink, None, None),
            ("<answer>dog", NoThink, None, None),
            ("dog</answer>", NoThink, None, None),
            ("<answer></answer>", NoThink, None, None),
            ("<answer> \n </answer>", NoThink, None, None),
            ("</answer>dog<answer>", NoThink, None, None),
            ("<Answer>dog</Answer>", NoThink, None, None),
            ("<answer>dog</answer>.", NoThink, None, Some("dog")),
            ("It is <answer>dog</answer>", NoThink, None, Some("dog")),
            ("<answer>cat</answer><answer>dog</answer>", NoThink, None, Some("dog")),
            ("<answer>dog</answer><answer></answer>", NoThink, None, Some("dog")),
            ("<answer>a <answer>dog</answer></answer>", NoThink, None, Some("dog")),
            ("a bark</think><answer>dog</answer>", NoThink, None, Some("dog")),
            ("<think>a bark", Think, Some("a bark"), None),
            ("<think>a bark</think>", Think, Some("a bark"), None),
            ("<think>a bark</think>dog", Think, Some("a bark"), None),
            ("<think>a bark</think><answer>dog", Think, Some("a bark"), None),
            ("<think>a bark<answer>dog</answer>", Think, Some("a bark"), Some("dog")),
            ("<think>a bark<answer>dog</answer></think>", Think, Some("a bark"), Some("dog")),
            (
                "<think>a bark</think><think>more</think><answer>dog</answer>",
                Think,
                Some("a bark"),
                Some("dog"),
            ),
            ("<think>a <think>bark</think><answer>dog</answer>", Think, Some("a <think>bark"), Some("dog")),
            ("<think>no <answer> yet</think><answer>dog</answer>", Think, Some("no"), Some("dog")),
            ("<answer>dog</answer><think>a bark</think>", Think, Some("a bark"), Some("dog")),
            ("<think></think>dog", Think, Some(""), None),
            ("Hm.<think>a bark</think><answer>dog</answer>", Think, Some("a bark"), Some("dog")),
        ] {
            let expected = ParsedCompletion {
                mode,
                well_formed: false,
                think: think.map(str::to_owned),
                answer: answer.map(str::to_owned),
            };
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn unicode_and_other_tags_inside_the_text_are_text() {
        let text = "<think>ein Hund 🐕 <b>bellt</b> <thinking></think><answer>狗 & <i>x</i></answer>";
        assert_eq!(parse(text), well_formed(Some("ein Hund 🐕 <b>bellt</b> <thinking>"), "狗 & <i>x</i>"));
    }

    /// A linear congruential generator, so that the random texts are the same in every run.
    struct Noise(u64);

    impl Noise {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }

        fn text(&mut self, pieces: &[&str], most: usize) -> String {
            (0..self.below(most)).map(|_| pieces[self.below(pieces.len())]).collect()
        }
    }

    #[test]
    fn any_text_is_parsed_and_parts_of_the_tags_do_not_panic() {
        let pieces = [
            THINK_OPEN,
            THINK_CLOSE,
            ANSWER_OPEN,
            ANSWER_CLOSE,
            "<",
            ">",
            "/",
            "think",
            "answer",
            "<thin",
            "k>",
            " ",
            "\n",
            "dog",
            "é",
            "狗",
            "🐕",
            "\u{0}",
            "\u{301}",
            "\u{feff}",
            "</",
            "<|im_end|>",
        ];
        let mut noise = Noise(7);
        for _ in 0..20_000 {
            let text = noise.text(&pieces, 12);
            let parsed = parse(&text);
            let opened = text.contains(THINK_OPEN);
            if parsed.well_formed {
                // PARSE-1: the parts put together again are the text, apart from white space.
                let again = match &parsed.think {
                    Some(think) => {
                        format!("<think>{think}</think><answer>{}</answer>", parsed.answer.clone().unwrap())
                    }
                    None if opened => {
                        format!("<think></think><answer>{}</answer>", parsed.answer.clone().unwrap())
                    }
                    None => format!("<answer>{}</answer>", parsed.answer.clone().unwrap()),
                };
                let squeezed = |text: &str| text.split_whitespace().collect::<String>();
                assert_eq!(squeezed(&again), squeezed(&text), "{text:?}");
            } else {
                assert_eq!(parsed.mode == Mode::Think, opened, "PARSE-2: {text:?}");
            }
        }
    }

    #[test]
    fn what_is_written_in_a_valid_form_is_read_back() {
        let pieces = ["dog", " ", "\n", "<", ">", "é", "狗", "🐕", "<b>", "/think>", "1.5", ","];
        let mut noise = Noise(11);
        for _ in 0..5_000 {
            let think = noise.text(&pieces, 10).trim().to_owned();
            let answer = format!("x{}", noise.text(&pieces, 6)).trim().to_owned();
            let tags = [THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE];
            if tags.iter().any(|tag| think.contains(tag) || answer.contains(tag)) {
                continue;
            }
            let options = ParserOptions { empty_think_is_no_think: false };
            let parsed =
                parse_completion(&format!("<think>{think}</think> <answer>{answer}</answer>"), &options);
            assert_eq!(parsed, well_formed(Some(&think), &answer));
            assert_eq!(parse(&format!("<answer>{answer}</answer>")), well_formed(None, &answer));
        }
    }

    #[test]
    fn many_tags_are_parsed_in_linear_time() {
        let text = "<answer></answer>".repeat(100_000);
        assert!(!parse(&text).well_formed);
        assert!(!parse(&"<answer>".repeat(100_000)).well_formed);
        assert!(!parse(&"</answer>".repeat(100_000)).well_formed);
    }
}
