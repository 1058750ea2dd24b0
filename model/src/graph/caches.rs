//! The keys and values of a generation by graph: of the prompts, once for each group, and of the completions, at full size
//! from the beginning (GRAPH-1).

use cuda::decoder::Shape;
use tch::{TchError, Tensor};

use super::Decode;
use crate::kv_cache::KvCache;
use crate::network::Network;

/// The caches of all layers.
pub(super) struct Caches {
    /// Keys and values of the prompts, `[prompts, key heads, prompt capacity, head width]`, and of the completions,
    /// `[prompts, key heads, group, capacity, head width]`.
    layers: Vec<[Tensor; 4]>,
}

impl Caches {
    /// Caches with any content. Fails if the device has not enough memory.
    pub(super) fn new(shape: &Shape, model: &Network) -> Result<Caches, TchError> {
        let [prompts, heads, group, width] =
            [shape.prompts, shape.key_heads, shape.group, shape.head_width].map(i64::from);
        let options = (model.kind(), model.device());
        let of_prompts = || Tensor::f_empty([prompts, heads, shape.prompt_capacity.into(), width], options);
        let own = || Tensor::f_empty([prompts, heads, group, shape.capacity.into(), width], options);
        let layer = |_| Ok([of_prompts()?, of_prompts()?, own()?, own()?]);
        let layers = (0..model.decoder.depth()).map(layer).collect::<Result<_, TchError>>()?;
        Ok(Caches { layers })
    }

    /// The tensors of each layer: keys and values of the prompts, keys and values of the completions.
    pub(super) fn layers(&self) -> &[[Tensor; 4]] {
        &self.layers
    }

    /// Takes the keys and values of the prompts over. Returns the first slot of each prompt and the slot behind its last.
    pub(super) fn fill(&self, model: &Network, cache: KvCache, decode: &Decode<'_>) -> Vec<[i32; 2]> {
        let [batch, _, length] = cache.shape();
        let heads = model.decoder.sizes.keys;
        let order = order(decode, length, heads).map(|order| model.upload(&order));
        for (tensors, prompts) in self.layers.iter().zip(cache.into_prompts()) {
            for (to, from) in tensors.iter().zip(prompts) {
                let width = from.size()[2];
                let from = match &order {
                    Some(order) => from.view([batch * heads * length, width]).index_select(0, order),
                    None => from,
                };
                let from = from.view([batch, heads, length, width]);
                to.narrow(0, 0, batch).narrow(2, 0, length).copy_(&from);
            }
        }
        let moved = order.is_some();
        let bounds =
            |&own: &i64| if moved { [0, own as i32] } else { [(length - own) as i32, length as i32] };
        decode.lengths.iter().map(bounds).collect()
    }
}

/// For prompts that are padded in the middle: the rows of `[batch, heads, length]` in an order in which each prompt's tokens
/// follow one another from the first slot on. `None` if they do so already, or up to the last slot.
fn order(decode: &Decode<'_>, length: i64, heads: i64) -> Option<Vec<i64>> {
    if decode.padded_at == 0 || decode.lengths.iter().all(|&own| own == length) {
        return None;
    }
    let mut rows = Vec::with_capacity(decode.lengths.len() * (heads * length) as usize);
    for (prompt, &own) in (0..).zip(decode.lengths) {
        for head in 0..heads {
            let first = (prompt * heads + head) * length;
            let padding = length - own;
            rows.extend((0..length).map(|slot| match slot {
                slot if slot < decode.padded_at => first + slot,
                slot if slot < own => first + slot + padding,
                // Behind the prompt: any row.
                _ => first,
            }));
        }
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Draws;

    #[test]
    fn a_prompt_that_is_padded_in_the_middle_is_closed_up() {
        // Two tokens in common; the first prompt has one more, the second three: its slots 2 and 3 are padding.
        let decode =
            Decode { lengths: &[3, 5], padded_at: 2, limit: 1, temperature: 1.0, draws: Draws::Outside };
        assert_eq!(order(&decode, 5, 1).unwrap(), [0, 1, 4, 0, 0, 5, 6, 7, 8, 9]);
        assert_eq!(order(&Decode { lengths: &[5, 5], ..decode }, 5, 1), None);
        let left =
            Decode { lengths: &[3, 5], padded_at: 0, limit: 1, temperature: 1.0, draws: Draws::Outside };
        assert_eq!(order(&left, 5, 1), None);
    }
}
