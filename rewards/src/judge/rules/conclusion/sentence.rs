//! A sentence of free thinking: its words, its clauses and the choices it names.

use super::names::ChoiceNames;
use crate::matching::words;

/// Phrases that always introduce a conclusion. `so` and `answer` do so only in some positions.
const CUES: [&[&str]; 7] = [
    &["therefore"],
    &["thus"],
    &["hence"],
    &["consequently"],
    &["conclude"],
    &["conclusion"],
    &["in", "summary"],
];

/// Words after a `so` that introduces a conclusion, unlike the one in `so loud`.
const AFTER_SO: [&str; 9] = ["it", "its", "the", "this", "thats", "i", "im", "we", "my"];

/// Words after an `answer` that is stated, unlike the one in `to answer the question`.
const AFTER_ANSWER: [&str; 5] = ["is", "must", "should", "would", "seems"];

/// Words that begin a new clause, as a comma does.
const PARTING: [&str; 5] = ["but", "however", "whereas", "while", "although"];

/// Words that introduce a reason or a comparison.
const REASONS: [&str; 6] = ["because", "since", "as", "than", "which", "given"];

/// Phrases that deny the words after them.
const DENIALS: [&[&str]; 19] = [
    &["not"],
    &["no"],
    &["never"],
    &["neither"],
    &["nor"],
    &["without"],
    &["cannot"],
    &["cant"],
    &["isnt"],
    &["wasnt"],
    &["arent"],
    &["doesnt"],
    &["didnt"],
    &["dont"],
    &["rather", "than"],
    &["instead", "of"],
    &["opposed", "to"],
    &["rule", "out"],
    &["ruling", "out"],
];

/// Greatest distance between a denial and the choice it denies, in words, as in `not the sound of a dog`.
const DENIAL_REACH: usize = 5;

/// Words that begin a new statement, to which an earlier denial does not apply.
const NEW_STATEMENT: [&str; 3] = ["it", "its", "this"];

/// Verbs that connect a choice with a refusal after it.
const VERBS: [&str; 12] =
    ["is", "was", "are", "were", "can", "could", "would", "seems", "does", "isnt", "cannot", "cant"];

/// Words that deny the choice in front of such a verb.
const REFUSALS: [&str; 12] = [
    "not",
    "never",
    "unlikely",
    "wrong",
    "incorrect",
    "ruled",
    "excluded",
    "eliminated",
    "impossible",
    "isnt",
    "cannot",
    "cant",
];

/// Greatest distance between a choice and a refusal after it, in words, as in `the dog can therefore be ruled out`.
const REFUSAL_REACH: usize = 4;

/// A place where the sentence names a choice, as a range of words.
#[derive(Clone, Copy)]
pub(super) struct Mention {
    pub(super) choice: usize,
    start: usize,
    end: usize,
}

/// The choice, if all mentions are of the same one.
pub(super) fn only_choice(mentions: &[Mention]) -> Option<usize> {
    let first = mentions.first()?.choice;
    mentions.iter().all(|mention| mention.choice == first).then_some(first)
}

/// A sentence, divided into words and clauses.
pub(super) struct Sentence {
    words: Vec<String>,
    /// For each word, whether a clause begins with it.
    parted: Vec<bool>,
    /// For each word, whether it is part of a choice's name and so has no other meaning.
    named: Vec<bool>,
    mentions: Vec<Mention>,
}

impl Sentence {
    pub(super) fn read(text: &str, names: &ChoiceNames) -> Self {
        let mut sentence =
            Self { words: Vec::new(), parted: Vec::new(), named: Vec::new(), mentions: Vec::new() };
        for clause in split_clauses(text) {
            let clause = words(clause);
            sentence
                .parted
                .extend((0..clause.len()).map(|at| at == 0 || PARTING.contains(&clause[at].as_str())));
            sentence.words.extend(clause);
        }
        sentence.named = vec![false; sentence.words.len()];
        let mut at = 0;
        while at < sentence.words.len() {
            let named = names.text_at(&sentence.words[at..]);
            match named.or_else(|| sentence.spoken_letter(at, names).map(|choice| (choice, 1))) {
                Some((choice, length)) => {
                    sentence.mentions.push(Mention { choice, start: at, end: at + length });
                    sentence.named[at..at + length].fill(true);
                    at += length;
                }
                None => at += 1,
            }
        }
        sentence
    }

    /// The choice that a letter names if it is used as a letter: `option B`, or `answer is B` at the end of a clause.
    fn spoken_letter(&self, at: usize, names: &ChoiceNames) -> Option<usize> {
        let choice = names.letter(&self.words[at])?;
        let named = matches!(self.word_before(at, 1), "option" | "choice" | "letter");
        let last = at + 1 == self.words.len() || self.parted[at + 1];
        let given = self.word_before(at, 1) == "answer"
            || (self.word_before(at, 2) == "answer" && AFTER_ANSWER.contains(&self.word_before(at, 1)))
            || self.opens_conclusion(at.checked_sub(1)?).is_some();
        (named || (last && given)).then_some(choice)
    }

    fn word_before(&self, at: usize, distance: usize) -> &str {
        at.checked_sub(distance).map_or("", |index| self.words[index].as_str())
    }

    /// Index of the first word of the concluding clause, if the sentence has one.
    pub(super) fn conclusion_start(&self) -> Option<usize> {
        (0..self.words.len()).rev().find_map(|at| self.opens_conclusion(at))
    }

    /// Index of the first word of the conclusion that the word at this index introduces, if it does.
    fn opens_conclusion(&self, at: usize) -> Option<usize> {
        if self.named[at] {
            return None;
        }
        let next = self.words.get(at + 1).map_or("", String::as_str);
        let clause_ends = self.parted.get(at + 1).is_none_or(|parted| *parted);
        match self.words[at].as_str() {
            "so" => {
                let leads = self.parted[at] || self.word_before(at, 1) == "and";
                (leads || AFTER_SO.contains(&next)).then_some(at + 1)
            }
            "answer" => (clause_ends || AFTER_ANSWER.contains(&next)).then_some(at + 1),
            _ => {
                let cue = CUES.into_iter().find(|cue| phrase_at(&self.words, at, cue))?;
                Some(at + cue.len())
            }
        }
    }

    /// The choices that are named from this word on and not denied.
    pub(super) fn affirmed_from(&self, start: usize) -> Vec<Mention> {
        let affirmed = |mention: &&Mention| mention.start >= start && !self.denied(mention);
        self.mentions.iter().filter(affirmed).copied().collect()
    }

    fn denied(&self, mention: &Mention) -> bool {
        self.denied_before(mention) || self.refused_after(mention)
    }

    fn denied_before(&self, mention: &Mention) -> bool {
        for distance in 0..=DENIAL_REACH {
            let Some(at) = mention.start.checked_sub(distance) else { return false };
            if distance > 0 {
                let denial = DENIALS.into_iter().any(|denial| phrase_at(&self.words, at, denial));
                if denial && !self.named[at] {
                    return true;
                }
                if NEW_STATEMENT.contains(&self.words[at].as_str()) {
                    return false;
                }
            }
            if self.parted[at] {
                return false;
            }
        }
        false
    }

    fn refused_after(&self, mention: &Mention) -> bool {
        let clause_end =
            (mention.end..self.words.len()).find(|at| self.parted[*at]).unwrap_or(self.words.len());
        let after = &self.words[mention.end..clause_end.min(mention.end + REFUSAL_REACH)];
        after.first().is_some_and(|verb| VERBS.contains(&verb.as_str()))
            && after.iter().any(|word| REFUSALS.contains(&word.as_str()))
    }

    /// The conclusion of a concluding clause, given the choices that it names.
    pub(super) fn concluded(&self, mut mentions: Vec<Mention>) -> Option<usize> {
        let first = mentions.first()?.start;
        let reason = (first..self.words.len()).find(|at| REASONS.contains(&self.words[*at].as_str()));
        mentions.retain(|mention| reason.is_none_or(|reason| mention.start < reason));
        let [.., before, last] = mentions.as_slice() else { return only_choice(&mentions) };
        let between = &self.words[before.end..last.start];
        let joined = between.iter().any(|word| word == "or" || word == "and");
        if joined && before.choice != last.choice { None } else { Some(last.choice) }
    }
}

/// Splits a text at signs that separate clauses, but not within numbers such as `1,000` and `12:30`.
fn split_clauses(text: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let parts = match c {
            ',' | ':' => chars.peek().is_none_or(|(_, next)| !next.is_numeric()),
            ';' | '—' | '–' | '，' | '；' | '：' => true,
            _ => false,
        };
        if parts {
            clauses.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    clauses.push(&text[start..]);
    clauses
}

fn phrase_at(words: &[String], at: usize, phrase: &[&str]) -> bool {
    words
        .get(at..at + phrase.len())
        .is_some_and(|here| here.iter().zip(phrase).all(|(word, expected)| word == expected))
}
