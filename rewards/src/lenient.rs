//! The lenient reading: which choice a free answer mentions, such as `Option B`, `\boxed{B}`, `the dog` or `选项B`.
//!
//! An answer names a choice leniently if everything in it that could name a choice names the same one. So `dog or cat`,
//! `A, actually B` and `B cat` (with the choices `A. cat`, `B. dog`) name none, and neither does an answer with a denial such
//! as `not dog`. If the answer states itself (`the answer is …`, `\boxed{…}`, `答案是…`), only what follows counts.

use crate::Question;
use crate::matching::{bare_choices, is_bare_letter, letters_name_choices, named_choice, words};
use crate::text::fold;

/// Phrases after which the answer stands. The last one in the text counts.
const MARKERS: [&str; 7] =
    ["answer is", "answer:", "answer would be", "\\boxed", "答案是", "答案为", "答案:"];

/// Words in front of a letter that make it a letter, whatever its case.
const BEFORE_LETTER: [&str; 9] =
    ["option", "choice", "letter", "answer", "answer is", "选项", "选", "答案", "答案是"];

/// Words that deny what is said. A denied choice is not the answer, and which one is instead is not clear enough.
const DENIALS: [&str; 16] = [
    "not", "no", "never", "neither", "nor", "cannot", "cant", "isnt", "wasnt", "arent", "dont", "doesnt",
    "except", "without", "rather", "instead",
];

/// The same in Chinese, which is written without spaces.
const DENIALS_WITHIN: [char; 4] = ['不', '没', '非', '无'];

/// The only choice that an answer mentions.
#[derive(Clone, Copy)]
pub(crate) struct Mention {
    /// Its index.
    pub(crate) choice: usize,
    /// Whether its text is mentioned, rather than its letter alone.
    pub(crate) spelled: bool,
}

/// The only choice that an answer mentions.
pub(crate) fn mentioned_choice(answer: &str, question: &Question) -> Option<Mention> {
    if let Some(mention) = strictly(answer, question) {
        return Some(mention);
    }
    let answer = fold(answer);
    let lower = answer.to_lowercase();
    // A place in the lower-cased text is one in the answer only if lower-casing kept the length, as it does in most scripts.
    let stated = if lower.len() == answer.len() {
        MARKERS.iter().filter_map(|marker| Some(lower.rfind(marker)? + marker.len())).max()
    } else {
        None
    };
    match stated.map(|start| &answer[start..]) {
        Some(stated) if !stated.trim_matches(|c: char| !c.is_alphanumeric()).is_empty() => {
            strictly(stated, question).or_else(|| only_mention(stated, true, question))
        }
        _ => only_mention(&answer, false, question),
    }
}

/// `stated` says that the text is the answer itself, so that a letter at its beginning is one in either case.
fn only_mention(text: &str, stated: bool, question: &Question) -> Option<Mention> {
    let texts = Texts::of(question);
    let (mut mentions, denied) = texts.in_words(&words(text));
    mentions.extend(texts.within(text));
    let spelled = !mentions.is_empty();
    if letters_name_choices(question) {
        mentions.extend(letters(text, stated, question));
    }
    let choice = *mentions.first()?;
    let unique = mentions.iter().all(|other| *other == choice);
    (unique && !denied && !text.contains(DENIALS_WITHIN)).then_some(Mention { choice, spelled })
}

/// The choice that the strict reading finds.
fn strictly(answer: &str, question: &Question) -> Option<Mention> {
    let choice = named_choice(answer, question)?;
    Some(Mention { choice, spelled: !is_bare_letter(answer, question) })
}

/// The texts of the choices as they are searched for.
struct Texts {
    /// The words of each choice, without an article in front.
    words: Vec<Vec<String>>,
    /// The choices in a script without spaces.
    unspaced: Vec<(usize, String)>,
}

impl Texts {
    fn of(question: &Question) -> Self {
        let bare = bare_choices(question);
        let mut texts: Vec<Vec<String>> = bare.iter().map(|choice| words(choice)).collect();
        let short: Vec<Vec<String>> = texts.iter().map(|text| without_article(text).to_vec()).collect();
        let distinct = (1..short.len()).all(|index| !short[..index].contains(&short[index]));
        if distinct && short.iter().all(|text| !text.is_empty()) {
            texts = short;
        }
        let unspaced = bare.iter().enumerate().filter(|(_, choice)| choice.chars().any(is_unspaced));
        let unspaced = unspaced.map(|(index, choice)| (index, fold(choice))).collect();
        Texts { words: texts, unspaced }
    }

    /// The choices that these words mention, each place by the longest that fits, and whether another word denies.
    fn in_words(&self, words: &[String]) -> (Vec<usize>, bool) {
        let (mut mentions, mut denied, mut at) = (Vec::new(), false, 0);
        while at < words.len() {
            let fitting = self
                .words
                .iter()
                .enumerate()
                .filter(|(_, text)| !text.is_empty() && words[at..].starts_with(text));
            match fitting.max_by_key(|(_, text)| text.len()) {
                Some((choice, text)) => {
                    mentions.push(choice);
                    at += text.len();
                }
                None => {
                    denied |= DENIALS.contains(&words[at].as_str());
                    at += 1;
                }
            }
        }
        (mentions, denied)
    }

    /// The choices without spaces that occur anywhere in the text, except as a part of a longer one that occurs too.
    fn within(&self, text: &str) -> Vec<usize> {
        let found: Vec<&(usize, String)> =
            self.unspaced.iter().filter(|(_, choice)| text.contains(choice.as_str())).collect();
        let part = |choice: &str| {
            found.iter().any(|(_, other)| other.len() > choice.len() && other.contains(choice))
        };
        found.iter().filter(|(_, choice)| !part(choice)).map(|(index, _)| *index).collect()
    }
}

fn without_article(words: &[String]) -> &[String] {
    match words {
        [first, rest @ ..] if matches!(first.as_str(), "a" | "an" | "the") && !rest.is_empty() => rest,
        all => all,
    }
}

/// Whether a character belongs to a script that is written without spaces.
fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0x20000..=0x2ffff)
}

/// The choices that single letters mention.
fn letters(text: &str, stated: bool, question: &Question) -> Vec<usize> {
    let chars: Vec<char> = text.chars().collect();
    let at = |index: Option<usize>| index.and_then(|index| chars.get(index)).copied();
    let mut found = Vec::new();
    for (index, &c) in chars.iter().enumerate() {
        let (before, after) = (at(index.checked_sub(1)), at(Some(index + 1)));
        if !c.is_ascii_alphabetic() || [before, after].into_iter().flatten().any(joins) {
            continue;
        }
        let enclosed = matches!(
            (before, after),
            (Some('('), Some(')')) | (Some('['), Some(']')) | (Some('{'), Some('}')) | (Some('*'), Some('*'))
        );
        let front: String = chars[..index].iter().collect::<String>().to_lowercase();
        let front = front.trim_end_matches(|c: char| !c.is_alphanumeric());
        let marked = BEFORE_LETTER.iter().any(|word| front.ends_with(word)) || (stated && front.is_empty());
        // `A dog` and `I hear a dog` begin with a word.
        let another = |distance: usize| at(Some(index + distance)).is_some_and(char::is_alphanumeric);
        let word = c.is_ascii_lowercase()
            || (matches!(c, 'A' | 'I') && after == Some(' ') && another(2) && another(3));
        if enclosed || marked || !word {
            found.extend(question.choice_of_letter(c));
        }
    }
    found
}

/// Whether a neighbour makes a letter part of a word, such as `AB`, `B-flat`, `C#` or `I'm`.
fn joins(neighbour: char) -> bool {
    neighbour.is_alphanumeric() && !is_unspaced(neighbour)
        || matches!(neighbour, '\'' | '’' | '-' | '+' | '#' | '_')
}
