//! The normalisation layers of towers and decoders.

use tch::Tensor;

use super::builder::Builder;
use crate::error::ModelError;
use crate::init::Init;

/// Root-mean-square normalisation (<https://arxiv.org/abs/1910.07467>), computed in f32.
pub(crate) struct RmsNorm {
    /// `[width]`, in the model's dtype.
    pub(crate) weight: Tensor,
    width: i64,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn new(builder: &mut Builder<'_>, width: i64, eps: f64) -> Result<RmsNorm, ModelError> {
        let weight = builder.tensor("weight", &[width], Init::Ones)?;
        Ok(RmsNorm { weight, width, eps })
    }

    /// Shapes: `x: [.., width]`, in the model's dtype → the same
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        // libtorch computes in f32 and rounds once. Hugging Face also rounds before it applies the weight.
        x.rms_norm([self.width], Some(&self.weight), self.eps)
    }
}

/// Layer normalisation with weight and bias (<https://arxiv.org/abs/1607.06450>).
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
}

impl LayerNorm {
    pub(crate) fn new(builder: &mut Builder<'_>, width: i64) -> Result<LayerNorm, ModelError> {
        let weight = builder.tensor("weight", &[width], Init::Ones)?;
        let bias = builder.tensor("bias", &[width], Init::Zeros)?;
        Ok(LayerNorm { weight, bias, width })
    }

    /// Shapes: `x: [.., width]`, in the model's dtype → the same
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.width], Some(&self.weight), Some(&self.bias), 1e-5, true)
    }
}
