//! Writing one of a few known texts after each prompt: what a judge may reply.
//!
//! - CHOOSE-1 each token is the likeliest of those with which one of the texts can go on. What is written is therefore one
//!   of them, in whatever tokens the model likes best: decoding by a grammar, as servers do it.
//! - CHOOSE-2 log-probabilities are those among the whole vocabulary.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::error::ModelError;
use crate::generate::{Places, prefill};
use crate::network::Network;
use crate::processor::{Processor, Prompt};

/// The text that was written after a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// One of the texts to choose from.
    pub text: String,
    /// The tokens it was written in.
    pub tokens: Vec<ChosenToken>,
}

/// A token of a [`Chosen`] text.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenToken {
    /// Its text.
    pub text: String,
    /// What could have stood in its place, itself included: texts and natural log-probabilities.
    pub alternatives: Vec<(String, f64)>,
}

/// Writes one of `texts` after each prompt.
pub(crate) fn choose(
    model: &Network,
    processor: &Processor,
    prompts: &[Prompt],
    texts: &[String],
) -> Result<Vec<Chosen>, ModelError> {
    let mut continuations = Continuations::new(processor, texts)?;
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let _guard = tch::no_grad_guard();
    let batch = model.batch(&prompts.iter().collect::<Vec<_>>())?;
    let limit = continuations.longest;
    model.check_length(batch.rows.length + limit)?;
    let (mut cache, mut logits) = prefill(model, &batch, 1, limit, 1.0);
    let mut places = Places::after(model, &batch, 1, limit);
    let mut chosen = vec![Chosen { text: String::new(), tokens: Vec::new() }; prompts.len()];
    loop {
        let ids = write_tokens(&mut chosen, &mut continuations, &logits)?;
        if chosen.iter().all(|chosen| continuations.after(&chosen.text).is_empty()) {
            return Ok(chosen);
        }
        cache.grow();
        let embedded = model.decoder.embed(&model.upload(&ids));
        let x = model.decoder.run(embedded, &places.next_angles(), &mut cache, None);
        logits = model.decoder.project(&x, 1.0);
    }
}

/// Adds the likeliest token to each text that is not whole yet. Returns the ids; whole texts have one that nobody reads.
fn write_tokens(
    chosen: &mut [Chosen],
    continuations: &mut Continuations<'_>,
    logits: &Tensor,
) -> Result<Vec<i64>, ModelError> {
    let tokens: Vec<Vec<(i64, String)>> =
        chosen.iter().map(|chosen| continuations.after(&chosen.text).to_vec()).collect();
    let most = tokens.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut wanted = vec![0; chosen.len() * most];
    for (row, tokens) in wanted.chunks_mut(most).zip(&tokens) {
        for (place, (id, _)) in row.iter_mut().zip(tokens) {
            *place = *id;
        }
    }
    let wanted = Tensor::from_slice(&wanted).view([chosen.len() as i64, most as i64]);
    let logprobs =
        logits.log_softmax(-1, Kind::Float).f_gather(1, &wanted.to_device(logits.device()), false)?;
    let logprobs = Vec::<f32>::try_from(logprobs.flatten(0, -1))?;

    let mut ids = Vec::with_capacity(chosen.len());
    for ((chosen, tokens), logprobs) in chosen.iter_mut().zip(tokens).zip(logprobs.chunks(most)) {
        // Of equally likely tokens the one that comes first, whatever the batch.
        let Some(best) = (0..tokens.len()).reduce(|a, b| if logprobs[b] > logprobs[a] { b } else { a })
        else {
            ids.push(0);
            continue;
        };
        let (id, text) = tokens[best].clone();
        chosen.text.push_str(&text);
        let alternatives = tokens.into_iter().zip(logprobs);
        let alternatives = alternatives.map(|((_, text), &logprob)| (text, f64::from(logprob))).collect();
        chosen.tokens.push(ChosenToken { text, alternatives });
        ids.push(id);
    }
    Ok(ids)
}

/// The tokens with which a text that has been begun can go on.
struct Continuations<'a> {
    processor: &'a Processor,
    texts: &'a [String],
    /// By what has been written.
    known: HashMap<String, Vec<(i64, String)>>,
    /// Tokens of the longest text, if each held one character.
    longest: i64,
}

impl<'a> Continuations<'a> {
    fn new(processor: &'a Processor, texts: &'a [String]) -> Result<Continuations<'a>, ModelError> {
        for text in texts {
            if text.is_empty() {
                return Err(ModelError::input("a text to choose from is empty"));
            }
            if let Some(letter) =
                text.chars().find(|letter| processor.written_id(&letter.to_string()).is_none())
            {
                return Err(ModelError::input(format!(
                    "the tokenizer has no token for the character `{letter}` alone, which `{text}` needs"
                )));
            }
        }
        let longest = texts.iter().map(String::len).max().unwrap_or(0) as i64;
        match longest {
            0 => Err(ModelError::input("there is no text to choose from")),
            _ => Ok(Continuations { processor, texts, known: HashMap::new(), longest }),
        }
    }

    /// Sorted by id; none if the text is whole. A text that is the beginning of another is never chosen.
    fn after(&mut self, written: &str) -> &[(i64, String)] {
        let Continuations { processor, texts, known, .. } = self;
        known.entry(written.to_owned()).or_insert_with(|| {
            let rests = texts.iter().filter_map(|text| text.strip_prefix(written));
            // ASCII: every byte is a character.
            let pieces = rests.flat_map(|rest| (1..=rest.len()).map(move |end| &rest[..end]));
            let mut tokens: Vec<(i64, String)> =
                pieces.filter_map(|piece| Some((processor.written_id(piece)?, piece.to_owned()))).collect();
            tokens.sort();
            tokens.dedup();
            tokens
        })
    }
}
