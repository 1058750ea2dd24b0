//! Scoring all texts in one pass: the ways in which a tokenizer writes them, as a tree behind each prompt.
//!
//! A model mostly writes a text in the tokens of its tokenizer. The tokens of all texts form a tree, in which texts share
//! what they begin with. One pass over the prompts with the tree behind each of them gives the logits wherever a token has
//! to be chosen, and the choice is then read off from the root.
//!
//! - `TREE-1` the result is that of choosing token by token. Where the likeliest token is not in the tree, the prompt has no
//!   result, and is decoded token by token.

use tch::{Kind, Tensor};

use super::{Chosen, Continuations, Shared, likeliest};
use crate::decoder::attention::{CompletionRows, GroupAttention, PromptRows};
use crate::error::ModelError;
use crate::logprobs::CHUNK;
use crate::network::Network;
use crate::processor::{Processor, Prompt};

/// Most places in the tree: with more, decoding token by token is less work.
const MOST_PLACES: usize = 128;

/// A place where the next token is to be chosen: the root, which is the end of a prompt, or behind a token of the tree.
struct Place {
    /// The token that leads here; that of the root is not used.
    id: i64,
    parent: usize,
    /// Number of tokens behind the prompt.
    depth: i64,
    text: String,
}

/// The places in which the texts are written; the first is the root.
pub(super) struct Tree {
    places: Vec<Place>,
}

impl Tree {
    /// The tree of these texts; `None` if it is too large.
    pub(super) fn new(
        processor: &Processor,
        texts: &[String],
        continuations: &mut Continuations<'_>,
    ) -> Option<Tree> {
        let mut places = vec![Place { id: 0, parent: 0, depth: 0, text: String::new() }];
        for text in texts {
            let mut at = 0;
            for id in processor.encode(text) {
                let so_far = places[at].text.clone();
                let Some((_, piece)) = continuations.after(&so_far).iter().find(|(known, _)| *known == id)
                else {
                    break;
                };
                let text = so_far + piece;
                // Behind a whole text there is nothing to choose.
                if continuations.after(&text).is_empty() {
                    break;
                }
                at = match places.iter().skip(1).position(|place| place.parent == at && place.id == id) {
                    Some(known) => known + 1,
                    None => {
                        places.push(Place { id, parent: at, depth: places[at].depth + 1, text });
                        places.len() - 1
                    }
                };
            }
        }
        (places.len() <= MOST_PLACES).then_some(Tree { places })
    }

    /// The place behind a token at another place.
    fn behind(&self, at: usize, text: &str) -> Option<usize> {
        self.places.iter().skip(1).position(|place| place.parent == at && place.text == text).map(|at| at + 1)
    }

    /// Whether each place but the root, by row, continues each other one, by column, or is it.
    ///
    /// Shapes: → `[places, places]`, bool
    fn ancestors(&self) -> Tensor {
        let count = self.places.len() - 1;
        let mut allowed = vec![false; count * count];
        for place in 1..=count {
            let mut at = place;
            while at > 0 {
                allowed[(place - 1) * count + at - 1] = true;
                at = self.places[at].parent;
            }
        }
        Tensor::from_slice(&allowed).view([count as i64, count as i64])
    }
}

/// One of the texts for each prompt, or `None` for those that a model begins to write otherwise (TREE-1). The prompts have
/// no clips, and begin with the same `shared` tokens, at least one, behind which each has a further one.
pub(super) fn choose_at_once(
    model: &Network,
    prompts: &[Prompt],
    shared: usize,
    tree: &Tree,
    continuations: &mut Continuations<'_>,
) -> Result<Vec<Option<Chosen>>, ModelError> {
    let layout = Shared::new(model, prompts, shared)?;
    let (decoder, options) = (&model.decoder, (model.kind(), model.device()));
    let (count, longest, places) = (prompts.len() as i64, layout.longest, tree.places.len() as i64 - 1);

    // Behind each prompt, one row for each place of the tree.
    let (mut ids, mut positions) = (layout.ids[..shared].to_vec(), layout.positions[..shared].to_vec());
    for (index, prompt) in prompts.iter().enumerate() {
        let own = shared + index * longest as usize..shared + (index + 1) * longest as usize;
        ids.extend(&layout.ids[own.clone()]);
        positions.extend(&layout.positions[own]);
        ids.extend(tree.places.iter().skip(1).map(|place| place.id));
        positions.extend(tree.places.iter().skip(1).map(|place| prompt.ids.len() as i64 + place.depth - 1));
    }
    let slots = longest + places;
    let segments = model.upload(&layout.segments).view([count, longest]);
    let rests = CompletionRows {
        prompts: model.upload(&vec![0; prompts.len()]),
        segments: segments.constant_pad_nd([0, places]),
    };
    let beginnings = PromptRows::new(&[shared as i64], options.0, options.1);
    let allowed = allowed(&segments, &tree.ancestors().to_device(options.1));
    let mut attention = GroupAttention::with_own(&beginnings, &rests, &allowed, decoder.sizes, options);

    let first = |index: i64| shared as i64 + index * slots + longest - 1;
    let wanted: Vec<i64> = (0..count).flat_map(|index| first(index)..=first(index) + places).collect();
    let angles = decoder.angles(&model.upload(&positions));
    let embedded = decoder.embed(&model.upload(&ids));
    let hidden = decoder.run(embedded, &angles, &mut attention, Some(&model.upload(&wanted)));

    let logprobs = next_tokens(model, &hidden, tree, continuations)?;
    let of_prompt = places as usize + 1;
    Ok(logprobs.chunks(of_prompt).map(|logprobs| walk(tree, logprobs, continuations)).collect())
}

/// Which slots of a row attend to which: those of the rest of a prompt as ever, and those of the tree to that rest and to
/// the tokens before them.
///
/// Shapes: `segments: [rows, longest]`, i64; `ancestors: [places, places]`, bool → `[rows, slots, slots]`, bool
fn allowed(segments: &Tensor, ancestors: &Tensor) -> Tensor {
    let (rows, longest, places) = (segments.size()[0], segments.size()[1], ancestors.size()[0]);
    let own = segments.unsqueeze(1).eq_tensor(&segments.unsqueeze(2)).tril(0);
    let none = Tensor::zeros([rows, longest, places], (Kind::Bool, segments.device()));
    let to_rest = segments.ne(0).unsqueeze(1).expand([rows, places, longest], false);
    let to_tree = ancestors.unsqueeze(0).expand([rows, places, places], false);
    Tensor::cat(&[Tensor::cat(&[own, none], 2), Tensor::cat(&[to_rest, to_tree], 2)], 1)
}

/// For each row, the log-probabilities of the tokens that may follow at its place.
///
/// Shapes: `hidden: [prompts × (places + 1), hidden]`, in the model's dtype
fn next_tokens(
    model: &Network,
    hidden: &Tensor,
    tree: &Tree,
    continuations: &mut Continuations<'_>,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let ids: Vec<Vec<i64>> = tree
        .places
        .iter()
        .map(|place| continuations.after(&place.text).iter().map(|(id, _)| *id).collect())
        .collect();
    let most = ids.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let mut of_prompt = vec![0; ids.len() * most];
    for (row, ids) in of_prompt.chunks_mut(most).zip(&ids) {
        row[..ids.len()].copy_from_slice(ids);
    }
    let (rows, places) = (hidden.size()[0], ids.len() as i64);
    let of_prompt = model.upload(&of_prompt).view([places, most as i64]);
    let prompts_at_once = (CHUNK / (model.config.text.vocab_size * places)).max(1);
    let mut found = Vec::with_capacity(rows as usize);
    for first in (0..rows / places).step_by(prompts_at_once as usize) {
        let prompts = prompts_at_once.min(rows / places - first);
        let logits = model.decoder.project(&hidden.narrow(0, first * places, prompts * places), 1.0);
        let logprobs =
            logits.log_softmax(-1, Kind::Float).f_gather(1, &of_prompt.repeat([prompts, 1]), false)?;
        let logprobs = Vec::<f32>::try_from(logprobs.flatten(0, -1))?;
        let of_row = |(row, logprobs): (usize, &[f32])| logprobs[..ids[row % ids.len()].len()].to_vec();
        found.extend(logprobs.chunks(most).enumerate().map(of_row));
    }
    Ok(found)
}

/// The text that is chosen from the root on; `None` where the likeliest token is not in the tree.
fn walk(tree: &Tree, logprobs: &[Vec<f32>], continuations: &mut Continuations<'_>) -> Option<Chosen> {
    let (mut at, mut chosen) = (0, Chosen { text: String::new(), tokens: Vec::new() });
    loop {
        let tokens = continuations.after(&chosen.text).to_vec();
        likeliest(&mut chosen, tokens, &logprobs[at])?;
        if continuations.after(&chosen.text).is_empty() {
            return Some(chosen);
        }
        at = tree.behind(at, &chosen.text)?;
    }
}
