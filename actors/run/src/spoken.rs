//! The words of a clip and when they are spoken, from the columns `transcript` and `spans` of its row, for the steps that
//! fit the projector.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Processor, SpokenWord};
use rewards::Question;
use scenarios::Questions;

/// What a pause is fitted to.
const PAUSE: &str = ",";

/// The token ids of all words of the training rows.
pub(crate) struct WordVocabulary {
    processor: Processor,
    /// Sorted but for the last, which stands for a pause.
    pub(crate) ids: Arc<[i64]>,
}

impl WordVocabulary {
    /// The tokens of the words of these rows; `None` if no row has words.
    pub(crate) fn new(rows: &Questions, processor: &Processor) -> Option<Self> {
        let mut ids = BTreeSet::new();
        for row in rows.iter() {
            for (word, _) in words_of(&row).into_iter().flatten() {
                ids.extend(tokens(processor, &word));
            }
        }
        if ids.is_empty() {
            return None;
        }
        let pause = processor.encode(PAUSE);
        let pause = pause.first().copied()?;
        ids.remove(&pause);
        Some(WordVocabulary { processor: processor.clone(), ids: ids.into_iter().chain([pause]).collect() })
    }

    /// The words of a row, `offset` seconds after the clip's beginning being the first that is heard; `None` if the row
    /// has none. A word of several tokens is divided evenly among them.
    pub(crate) fn words(&self, row: &Question, offset: f64) -> Option<Vec<SpokenWord>> {
        let mut spoken = Vec::new();
        for (word, [start, end]) in words_of(row)? {
            let ids = tokens(&self.processor, &word);
            let part = (end - start) / ids.len().max(1) as f64;
            for (place, id) in ids.iter().enumerate() {
                let words = &self.ids[..self.ids.len() - 1];
                let token = words.binary_search(id).unwrap_or(self.ids.len() - 1);
                let start = start - offset + place as f64 * part;
                spoken.push(SpokenWord { token, start, end: start + part });
            }
        }
        Some(spoken)
    }
}

/// The tokens of a word as it stands within a sentence.
fn tokens(processor: &Processor, word: &str) -> Vec<i64> {
    processor.encode(&format!(" {word}"))
}

/// The words of a row's `transcript`, and the seconds between which each is spoken; `None` if the row lacks them or has
/// another number of spans than of words.
fn words_of(row: &Question) -> Option<Vec<(String, [f64; 2])>> {
    let transcript = row.metadata.get("transcript")?.as_str()?;
    let spans: Vec<[f64; 2]> = serde_json::from_value(row.metadata.get("spans")?.clone()).ok()?;
    let words: Vec<&str> = transcript.split_whitespace().collect();
    if words.is_empty() || words.len() != spans.len() {
        return None;
    }
    Some(words.into_iter().map(str::to_owned).zip(spans).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(transcript: &str, spans: serde_json::Value) -> Question {
        let metadata = [("transcript".to_owned(), json!(transcript)), ("spans".to_owned(), spans)];
        Question { metadata: metadata.into_iter().collect(), ..Question::default() }
    }

    #[test]
    fn a_row_needs_as_many_spans_as_words() {
        let two = words_of(&row("bread boat", json!([[0.1, 0.5], [0.7, 1.0]])));
        assert_eq!(two.unwrap(), [("bread".to_owned(), [0.1, 0.5]), ("boat".to_owned(), [0.7, 1.0])]);
        assert_eq!(words_of(&row("bread boat", json!([[0.1, 0.5]]))), None);
        assert_eq!(words_of(&row("", json!([]))), None);
        assert_eq!(words_of(&row("bread", json!("0.1"))), None);
        assert_eq!(words_of(&Question::default()), None);
    }

    #[test]
    fn words_are_tokens_of_the_training_rows_with_their_times_from_what_is_heard() {
        let processor = Processor::open(&scenarios::builtin::builtin_tiny_policy().unwrap()).unwrap();
        let rows: Questions =
            [row("beep hiss", json!([[0.0, 0.5], [0.5, 1.0]]))].map(Arc::new).into_iter().collect();
        let vocabulary = WordVocabulary::new(&rows, &processor).unwrap();
        let of = |word: &str| tokens(&processor, word);
        let all: BTreeSet<i64> = of("beep").into_iter().chain(of("hiss")).collect();
        assert_eq!(vocabulary.ids.len(), all.len() + 1);
        let heard = vocabulary.words(&row("hiss", json!([[2.0, 2.4]])), 1.5).unwrap();
        assert_eq!(heard.len(), of("hiss").len());
        assert_eq!(vocabulary.ids[heard[0].token], of("hiss")[0]);
        assert!((heard[0].start - 0.5).abs() < 1e-9 && (heard.last().unwrap().end - 0.9).abs() < 1e-9);
        // A word that no training row has counts as a pause.
        let other = vocabulary.words(&row("walk", json!([[0.0, 1.0]])), 0.0).unwrap();
        assert_eq!(other[0].token, vocabulary.ids.len() - 1);
        assert!(WordVocabulary::new(&Questions::default(), &processor).is_none());
    }
}
