//! Constrained decoding: generating one of a few given texts after each prompt, such as a judge's possible replies.
//!
//! The local judge calls it through `Policy::choose` on a frozen policy.
//!
//! - `CHOOSE-1` At each step, the tokens that continue one of the texts are considered, and the most likely one is
//!   chosen. The result is one of the texts, in the tokens that the model prefers, as with grammar-constrained
//!   decoding on a server.
//! - `CHOOSE-2` The tokens that all prompts begin with, such as instructions and examples, are run once
//!   for all of them.
//! - `CHOOSE-3` Log-probabilities are those under the distribution over the whole vocabulary.
//! - `CHOOSE-4` Prompts without clips that begin alike are run once, with all texts behind each (`tree.rs`). Only what the
//!   model would write in other tokens than its tokenizer is decoded token by token.

mod tree;

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::decoder::attention::{CompletionRows, GroupAttention, PromptRows};
use crate::error::{InputError, ModelError};
use crate::generate::{Context, NextPositions, prefill};
use crate::graph::{Begun, Decode, Draws};
use crate::kv_cache::KvCache;
use crate::network::Network;
use crate::processor::{Processor, Prompt};
use tree::{Tree, choose_at_once};

/// The text that was chosen for a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The chosen text, one of the given ones.
    pub text: String,
    /// The tokens of the text, in order.
    pub tokens: Vec<ChosenToken>,
}

/// A token of a [`Chosen`] text.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenToken {
    /// The text of the token.
    pub text: String,
    /// The text and natural log-probability of every token that was considered at this step, this one included.
    pub alternatives: Vec<(String, f64)>,
}

/// Generates one of `texts` after each prompt (CHOOSE-1).
pub(crate) fn choose(
    context: &Context<'_>,
    prompts: &[Prompt],
    texts: &[String],
) -> Result<Vec<Chosen>, ModelError> {
    let &Context { model, processor, .. } = context;
    let mut continuations = Continuations::new(processor, texts)?;
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let _guard = tch::no_grad_guard();
    let longest = prompts.iter().map(|prompt| prompt.ids.len() as i64).max().unwrap_or(0);
    model.check_length(longest + continuations.longest)?;
    let tree = match shared_by_all(prompts) {
        0 => None,
        shared => Tree::new(processor, texts, &mut continuations).map(|tree| (tree, shared)),
    };
    let Some((tree, shared)) = tree else { return choose_by_token(context, prompts, &mut continuations) };
    let found = choose_at_once(model, prompts, shared, &tree, &mut continuations)?;
    let open = found.iter().zip(prompts).filter(|(found, _)| found.is_none());
    let open: Vec<Prompt> = open.map(|(_, prompt)| prompt.clone()).collect();
    let mut by_token = match open.is_empty() {
        true => Vec::new(),
        false => choose_by_token(context, &open, &mut continuations)?,
    }
    .into_iter();
    // There is one for each prompt that has none yet.
    Ok(found.into_iter().filter_map(|found| found.or_else(|| by_token.next())).collect())
}

/// What is chosen in one pass, as far as it is; for tests.
#[cfg(test)]
pub(crate) fn chosen_at_once(
    context: &Context<'_>,
    prompts: &[Prompt],
    texts: &[String],
) -> Result<Vec<Option<Chosen>>, ModelError> {
    let &Context { model, processor, .. } = context;
    let _guard = tch::no_grad_guard();
    let mut continuations = Continuations::new(processor, texts)?;
    let tree = Tree::new(processor, texts, &mut continuations).expect("a small tree");
    choose_at_once(model, prompts, shared_by_all(prompts), &tree, &mut continuations)
}

/// What is chosen token by token; for tests.
#[cfg(test)]
pub(crate) fn chosen_by_token(
    context: &Context<'_>,
    prompts: &[Prompt],
    texts: &[String],
) -> Result<Vec<Chosen>, ModelError> {
    let _guard = tch::no_grad_guard();
    choose_by_token(context, prompts, &mut Continuations::new(context.processor, texts)?)
}

/// Generates one of the texts after each prompt, token by token.
fn choose_by_token(
    context: &Context<'_>,
    prompts: &[Prompt],
    continuations: &mut Continuations<'_>,
) -> Result<Vec<Chosen>, ModelError> {
    let &Context { model, graphs, .. } = context;
    let lengths: Vec<i64> = prompts.iter().map(|prompt| prompt.ids.len() as i64).collect();
    let limit = continuations.longest;
    let shared = common_beginning(prompts);
    let (cache, mut logits) = match shared {
        shared if shared < LEAST_SHARED => {
            prefill(model, &model.batch(&prompts.iter().collect::<Vec<_>>())?, 1, limit, 1.0)
        }
        shared => prefill_shared(model, prompts, shared, limit)?,
    };
    let decode = Decode {
        lengths: &lengths,
        padded_at: if shared < LEAST_SHARED { 0 } else { shared as i64 },
        limit,
        temperature: 1.0,
        draws: Draws::Outside,
    };
    let mut begun = graphs.begin(model, cache, &decode)?;
    let mut positions = NextPositions::after(model, &lengths, 1, limit);
    let mut chosen = vec![Chosen { text: String::new(), tokens: Vec::new() }; prompts.len()];
    for step in 0.. {
        let ids = append_tokens(&mut chosen, continuations, &logits)?;
        let complete: Vec<bool> =
            chosen.iter().map(|chosen| continuations.after(&chosen.text).is_empty()).collect();
        if complete.iter().all(|complete| *complete) {
            break;
        }
        logits = match &mut begun {
            Begun::Graph(session) => {
                session.set(step, &ids, &complete)?;
                session.replay(1)?;
                session.logits()?
            }
            Begun::Plain(cache) => {
                cache.grow();
                let embedded = model.decoder.embed(&model.upload(&ids));
                let x = model.decoder.run(embedded, &positions.next_angles(), cache, None);
                model.decoder.project(&x, 1.0)
            }
        };
    }
    Ok(chosen)
}

/// Fewest tokens that prompts must have in common to be run separately. With fewer, one ordinary prefill is as fast.
const LEAST_SHARED: usize = 32;

/// The number of tokens of prompts that can be run once for all texts: what all prompts begin with, if that is much, or all
/// of a single prompt but its last token. 0 if there is none, or if a prompt has clips.
fn shared_by_all(prompts: &[Prompt]) -> usize {
    match prompts {
        [alone] if alone.clips.is_empty() => alone.ids.len().saturating_sub(1),
        _ => Some(common_beginning(prompts)).filter(|shared| *shared >= LEAST_SHARED).unwrap_or(0),
    }
}

/// The number of tokens that all prompts begin with, which leaves each prompt at least one further token. 0 for a
/// single prompt, or if a prompt has clips.
fn common_beginning(prompts: &[Prompt]) -> usize {
    let Some((first, others)) = prompts.split_first() else { return 0 };
    if others.is_empty() || prompts.iter().any(|prompt| !prompt.clips.is_empty()) {
        return 0;
    }
    let common = |prompt: &Prompt| first.ids.iter().zip(&prompt.ids).take_while(|(a, b)| a == b).count();
    let shortest = prompts.iter().map(|prompt| prompt.ids.len()).min().unwrap_or(0);
    others.iter().map(common).min().unwrap_or(0).min(shortest.saturating_sub(1))
}

/// Prompts that begin with the same tokens, as rows: the common beginning, then the rest of each prompt, padded on the left.
struct Shared {
    ids: Vec<i64>,
    positions: Vec<i64>,
    /// For each row of the rests, 1 for a token and 0 for padding.
    segments: Vec<i64>,
    /// Length of each rest.
    own: Vec<i64>,
    /// Length of the longest rest.
    longest: i64,
}

impl Shared {
    /// Lays out prompts that begin with the same `shared` tokens, of which each has more.
    fn new(model: &Network, prompts: &[Prompt], shared: usize) -> Result<Self, ModelError> {
        let own: Vec<i64> = prompts.iter().map(|prompt| (prompt.ids.len() - shared) as i64).collect();
        let longest = own.iter().copied().max().unwrap_or(0);
        let mut ids = prompts[0].ids[..shared].to_vec();
        let mut positions: Vec<i64> = (0..shared as i64).collect();
        let mut segments = Vec::with_capacity(prompts.len() * longest as usize);
        for (index, (prompt, &own)) in prompts.iter().zip(&own).enumerate() {
            model.check_ids(&prompt.ids, || format!("prompt {index}"))?;
            let padding = (longest - own) as usize;
            for column in [&mut ids, &mut positions] {
                column.extend(std::iter::repeat_n(0, padding));
            }
            ids.extend(&prompt.ids[shared..]);
            positions.extend(shared as i64..prompt.ids.len() as i64);
            segments.extend((0..longest).map(|slot| i64::from(slot >= padding as i64)));
        }
        Ok(Shared { ids, positions, segments, own, longest })
    }
}

/// Runs prompts that begin with the same `shared` tokens (CHOOSE-2). Returns a cache for one completion of each, of at
/// most `limit` tokens, and the logits after each prompt.
///
/// Shapes: → logits `[prompts, vocabulary]`, f32
fn prefill_shared(
    model: &Network,
    prompts: &[Prompt],
    shared: usize,
    limit: i64,
) -> Result<(KvCache, Tensor), ModelError> {
    let (decoder, options) = (&model.decoder, (model.kind(), model.device()));
    let (count, beginning) = (prompts.len() as i64, shared as i64);
    let Shared { ids, positions, segments, own, longest } = Shared::new(model, prompts, shared)?;
    let rests = CompletionRows {
        prompts: model.upload(&vec![0; prompts.len()]),
        segments: model.upload(&segments).view([count, longest]),
    };
    let beginnings = PromptRows::new(&[beginning], options.0, options.1);
    let padded = PromptRows::new(&own, options.0, options.1);
    let bias = padded.key_bias().map(|bias| bias.constant_pad_nd([beginning, 0]));
    let mut cache = KvCache::new(bias.as_ref(), count, 1, limit, decoder.sizes, options);
    let join = |beginning: &Tensor, rest: &Tensor| {
        let size = rest.size();
        let beginning = beginning.expand([count, size[1], beginning.size()[2], size[3]], false);
        Tensor::cat(&[&beginning, rest], 2)
    };
    let keep = |[keys, values]: [Tensor; 2], [own_keys, own_values]: [Tensor; 2]| {
        cache.push_layer(&join(&keys, &own_keys), &join(&values, &own_values));
    };
    let mut attention = GroupAttention::new(&beginnings, &rests, decoder.sizes, options).keeping(keep);
    let last: Vec<i64> = (1..=count).map(|row| beginning + row * longest - 1).collect();
    let angles = decoder.angles(&model.upload(&positions));
    let embedded = decoder.embed(&model.upload(&ids));
    let x = decoder.run(embedded, &angles, &mut attention, Some(&model.upload(&last)));
    drop(attention);
    Ok((cache, decoder.project(&x, 1.0)))
}

/// Appends the most likely token to each text that is not complete. Returns the ids of the tokens; that of a
/// complete text is ignored.
///
/// Shapes: `logits: [prompts, vocabulary]`, f32 → one id for each prompt
fn append_tokens(
    chosen: &mut [Chosen],
    continuations: &mut Continuations<'_>,
    logits: &Tensor,
) -> Result<Vec<i64>, ModelError> {
    let tokens: Vec<Vec<(i64, String)>> =
        chosen.iter().map(|chosen| continuations.after(&chosen.text).to_vec()).collect();
    let most = tokens.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut wanted = vec![0; chosen.len() * most];
    for (row, tokens) in wanted.chunks_mut(most).zip(&tokens) {
        for (slot, (id, _)) in row.iter_mut().zip(tokens) {
            *slot = *id;
        }
    }
    let wanted = Tensor::from_slice(&wanted).view([chosen.len() as i64, most as i64]);
    let logprobs =
        logits.log_softmax(-1, Kind::Float).f_gather(1, &wanted.to_device(logits.device()), false)?;
    let logprobs = Vec::<f32>::try_from(logprobs.flatten(0, -1))?;

    let mut ids = Vec::with_capacity(chosen.len());
    for ((chosen, tokens), logprobs) in chosen.iter_mut().zip(tokens).zip(logprobs.chunks(most)) {
        ids.push(likeliest(chosen, tokens, logprobs).unwrap_or(0));
    }
    Ok(ids)
}

/// Appends the likeliest of some tokens to a text, and returns its id; `None` without a token. Among equally likely tokens the
/// first is chosen, so that the result does not depend on the batch.
fn likeliest(chosen: &mut Chosen, tokens: Vec<(i64, String)>, logprobs: &[f32]) -> Option<i64> {
    let best = (0..tokens.len()).reduce(|a, b| if logprobs[b] > logprobs[a] { b } else { a })?;
    let (id, text) = tokens[best].clone();
    chosen.text.push_str(&text);
    let alternatives = tokens.into_iter().zip(logprobs);
    let alternatives = alternatives.map(|((_, text), &logprob)| (text, f64::from(logprob))).collect();
    chosen.tokens.push(ChosenToken { text, alternatives });
    Some(id)
}

/// The tokens that can continue a partly generated text.
struct Continuations<'a> {
    processor: &'a Processor,
    texts: &'a [String],
    /// The tokens that were computed before, by the text generated so far.
    known: HashMap<String, Vec<(i64, String)>>,
    /// Length of the longest text in characters, which is the most tokens that a text can have.
    longest: i64,
}

impl<'a> Continuations<'a> {
    /// Fails if there is no text, or if a text is empty or has a character without a token of its own.
    fn new(processor: &'a Processor, texts: &'a [String]) -> Result<Continuations<'a>, InputError> {
        for text in texts {
            if text.is_empty() {
                return Err(InputError::EmptyChoice);
            }
            let unwritable = |character: &char| processor.token_id(&character.to_string()).is_none();
            if let Some(character) = text.chars().find(unwritable) {
                return Err(InputError::UnwritableChoice { character, text: text.clone() });
            }
        }
        let longest = texts.iter().map(String::len).max().unwrap_or(0) as i64;
        match longest {
            0 => Err(InputError::NoChoice),
            _ => Ok(Continuations { processor, texts, known: HashMap::new(), longest }),
        }
    }

    /// The ids and texts of the tokens that can follow `text`, sorted by id; empty if it is complete. A text that is
    /// the beginning of another is never chosen.
    fn after(&mut self, text: &str) -> &[(i64, String)] {
        let Continuations { processor, texts, known, .. } = self;
        known.entry(text.to_owned()).or_insert_with(|| {
            let rests = texts.iter().filter_map(|whole| whole.strip_prefix(text));
            // The texts are ASCII, so every byte is a character.
            let pieces = rests.flat_map(|rest| (1..=rest.len()).map(move |end| &rest[..end]));
            let mut tokens: Vec<(i64, String)> =
                pieces.filter_map(|piece| Some((processor.token_id(piece)?, piece.to_owned()))).collect();
            tokens.sort();
            tokens.dedup();
            tokens
        })
    }
}
