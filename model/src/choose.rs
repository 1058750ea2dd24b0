//! Writing one of a few known texts after each prompt: what a judge may reply.
//!
//! - CHOOSE-1 each token is the likeliest of those with which one of the texts can go on. What is written is therefore one
//!   of them, in whatever tokens the model likes best: decoding by a grammar, as servers do it.
//! - CHOOSE-2 what all prompts begin with, instructions and examples, is run once for all of them.
//! - CHOOSE-3 log-probabilities are those among the whole vocabulary.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::decoder::attention::{CompletionRows, GroupAttention, PromptRows};
use crate::error::ModelError;
use crate::generate::{Places, prefill};
use crate::kv_cache::KvCache;
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
    let lengths: Vec<i64> = prompts.iter().map(|prompt| prompt.ids.len() as i64).collect();
    let limit = continuations.longest;
    model.check_length(lengths.iter().max().unwrap_or(&0) + limit)?;
    let (mut cache, mut logits) = match common_beginning(prompts) {
        shared if shared < LEAST_SHARED => {
            prefill(model, &model.batch(&prompts.iter().collect::<Vec<_>>())?, 1, limit, 1.0)
        }
        shared => prefill_shared(model, prompts, shared, limit)?,
    };
    let mut places = Places::after(model, &lengths, 1, limit);
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

/// Tokens that prompts must have in common for it to pay to run them apart.
const LEAST_SHARED: usize = 32;

/// Tokens that several prompts without clips begin with, each going on afterwards; else 0.
fn common_beginning(prompts: &[Prompt]) -> usize {
    let Some((first, others)) = prompts.split_first() else { return 0 };
    if others.is_empty() || prompts.iter().any(|prompt| !prompt.clips.is_empty()) {
        return 0;
    }
    let common = |prompt: &Prompt| first.ids.iter().zip(&prompt.ids).take_while(|(a, b)| a == b).count();
    let shortest = prompts.iter().map(|prompt| prompt.ids.len()).min().unwrap_or(0);
    others.iter().map(common).min().unwrap_or(0).min(shortest.saturating_sub(1))
}

/// Runs prompts that begin with the same `shared` tokens (CHOOSE-2); as [`prefill`] otherwise.
fn prefill_shared(
    model: &Network,
    prompts: &[Prompt],
    shared: usize,
    limit: i64,
) -> Result<(KvCache, Tensor), ModelError> {
    let (decoder, options) = (&model.decoder, (model.kind(), model.device()));
    let count = prompts.len() as i64;
    let own: Vec<i64> = prompts.iter().map(|prompt| (prompt.ids.len() - shared) as i64).collect();
    let longest = own.iter().copied().max().unwrap_or(0);
    let beginning = shared as i64;

    // The beginning, then the rest of each prompt behind its padding.
    let mut ids = prompts[0].ids[..shared].to_vec();
    let mut positions: Vec<i64> = (0..beginning).collect();
    let mut segments = Vec::with_capacity((count * longest) as usize);
    for (index, (prompt, &own)) in prompts.iter().zip(&own).enumerate() {
        model.check_ids(&prompt.ids, || format!("prompt {index}"))?;
        let padding = (longest - own) as usize;
        for column in [&mut ids, &mut positions] {
            column.extend(std::iter::repeat_n(0, padding));
        }
        ids.extend(&prompt.ids[shared..]);
        positions.extend(beginning..prompt.ids.len() as i64);
        segments.extend((0..longest).map(|place| i64::from(place >= padding as i64)));
    }
    let rests = CompletionRows {
        prompts: model.upload(&vec![0; prompts.len()]),
        segments: model.upload(&segments).view([count, longest]),
    };
    let beginnings = PromptRows::new(&[beginning], options.0, options.1);
    let padded = PromptRows::new(&own, options.0, options.1);
    let bias = padded.key_bias().map(|bias| bias.constant_pad_nd([beginning, 0]));
    let mut cache = KvCache::new(bias.as_ref(), count, 1, limit, decoder.sizes, options);
    let behind = |beginning: &Tensor, rest: &Tensor| {
        let size = rest.size();
        let beginning = beginning.expand([count, size[1], beginning.size()[2], size[3]], false);
        Tensor::cat(&[&beginning, rest], 2)
    };
    let keep = |[keys, values]: [Tensor; 2], [own_keys, own_values]: [Tensor; 2]| {
        cache.push_layer(&behind(&keys, &own_keys), &behind(&values, &own_values));
    };
    let mut attention = GroupAttention::new(&beginnings, &rests, decoder.sizes, options).keeping(keep);
    let last: Vec<i64> = (1..=count).map(|row| beginning + row * longest - 1).collect();
    let angles = decoder.angles(&model.upload(&positions));
    let embedded = decoder.embed(&model.upload(&ids));
    let x = decoder.run(embedded, &angles, &mut attention, Some(&model.upload(&last)));
    drop(attention);
    Ok((cache, decoder.project(&x, 1.0)))
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
