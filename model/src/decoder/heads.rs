//! Attention heads: their sizes, the tensors that a layer computes for them, and the interface of an attention.

use tch::Tensor;

use crate::config::TextConfig;

/// The number and width of a decoder's heads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadSizes {
    /// Query heads of each layer.
    pub(crate) queries: i64,
    /// Key and value heads of each layer, a divisor of `queries`.
    pub(crate) keys: i64,
    /// Width of one head.
    pub(crate) width: i64,
}

impl HeadSizes {
    pub(super) fn of(config: &TextConfig) -> HeadSizes {
        HeadSizes {
            queries: config.num_attention_heads,
            keys: config.num_key_value_heads,
            width: config.head_dim,
        }
    }

    /// Query heads that share a key head.
    pub(crate) fn repeat(&self) -> i64 {
        self.queries / self.keys
    }

    /// The factor on the scores, `1 / √width`.
    pub(crate) fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }
}

/// One layer's rotated queries and keys, and its values, in the model's dtype.
pub(crate) struct Heads {
    /// `[rows, query heads + key heads, head width]`, the queries first.
    pub(crate) queries_keys: Tensor,
    /// `[rows, key heads, head width]`, of the same rows.
    pub(crate) values: Tensor,
}

/// The attention of a pass: which rows attend to which, and where keys and values are kept.
pub(crate) trait Attention {
    /// Computes the attention of one layer.
    ///
    /// Shapes: `heads`: of `rows` rows → `[rows, query heads × head width]`, in the model's dtype
    fn attend(&mut self, layer: usize, heads: &Heads) -> Tensor;
}

/// Splits a tensor into two along one dimension.
pub(crate) fn split(x: &Tensor, sizes: [i64; 2], dim: i64) -> [Tensor; 2] {
    let parts: Result<[Tensor; 2], _> = x.split_with_sizes(sizes, dim).try_into();
    parts.expect("as many parts as sizes")
}
