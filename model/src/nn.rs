//! The few layers all parts are made of. A [`Linear`] is the one place a projection's weights, and its adapter's, are
//! applied.

mod dropout;
mod lora;

use tch::Tensor;

use crate::error::ModelError;
use crate::params::{Init, Params, Source};

pub(crate) use dropout::{DropoutGuard, DropoutSeed};
pub(crate) use lora::Lora;

/// What a part is built from: the tensors' source, the set they go into, and the names' prefix.
pub(crate) struct Builder<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) params: &'a mut Params,
    pub(crate) prefix: String,
}

impl Builder<'_> {
    /// A builder for a part below this one.
    pub(crate) fn below(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
        let prefix = format!("{}{name}.", self.prefix);
        Builder { source: self.source, params: self.params, prefix }
    }

    pub(crate) fn tensor(&mut self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, ModelError> {
        self.params.tensor(self.source, &format!("{}{name}", self.prefix), shape, init)
    }

    fn joined(
        &mut self,
        suffix: &str,
        parts: &[(&str, i64)],
        trailing: &[i64],
        init: Init,
    ) -> Result<(Option<Tensor>, Vec<Tensor>), ModelError> {
        let shape = |rows: i64| [&[rows], trailing].concat();
        let parts: Vec<_> = parts
            .iter()
            .map(|(name, rows)| (format!("{}{name}.{suffix}", self.prefix), shape(*rows)))
            .collect();
        self.params.joined(self.source, &parts, init)
    }
}

/// `x·Wᵀ + b`, and what the adapter adds.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    lora: Option<Lora>,
}

impl Linear {
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        input: i64,
        output: i64,
        bias: bool,
    ) -> Result<Linear, ModelError> {
        let weight = builder.tensor("weight", &[output, input], Init::Linear)?;
        let bias = if bias { Some(builder.tensor("bias", &[output], Init::Zeros)?) } else { None };
        let name = builder.prefix.trim_end_matches('.').to_owned();
        let lora = Lora::new(builder, input, &[(name, output)])?;
        Ok(Linear { weight, bias, lora })
    }

    /// A projection by a tensor that already belongs to another part.
    pub(crate) fn tied(weight: &Tensor) -> Linear {
        Linear { weight: weight.shallow_clone(), bias: None, lora: None }
    }

    /// # Shapes
    /// `x: [rows, input]` → `[rows, output]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        Lora::apply(&self.lora, x.linear(&self.weight, self.bias.as_ref()), x)
    }

    /// `residual + forward(x)`, in one operation where there is no bias.
    pub(crate) fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> Tensor {
        match &self.bias {
            None => Lora::apply(&self.lora, residual.addmm(x, &self.weight.tr()), x),
            Some(_) => residual + self.forward(x),
        }
    }
}

/// Several projections of the same input, whose results stand side by side.
pub(crate) struct JoinedLinear {
    /// All parts in one, when they do not learn.
    whole: Option<Linear>,
    parts: Vec<Linear>,
    lora: Option<Lora>,
}

impl JoinedLinear {
    /// `parts` are names and output widths.
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        input: i64,
        parts: &[(&str, i64)],
        bias: bool,
    ) -> Result<JoinedLinear, ModelError> {
        let (weight, weights) = builder.joined("weight", parts, &[input], Init::Linear)?;
        let (bias, biases) = match bias {
            true => builder.joined("bias", parts, &[], Init::Zeros)?,
            false => (None, Vec::new()),
        };
        let whole = weight.map(|weight| Linear { weight, bias, lora: None });
        let mut biases = biases.into_iter();
        let names: Vec<_> =
            parts.iter().map(|(name, output)| (format!("{}{name}", builder.prefix), *output)).collect();
        let linear = |weight| Linear { weight, bias: biases.next(), lora: None };
        let parts = weights.into_iter().map(linear).collect();
        Ok(JoinedLinear { whole, parts, lora: Lora::new(builder, input, &names)? })
    }

    /// # Shapes
    /// `x: [rows, input]` → `[rows, sum of the outputs]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(whole) = &self.whole {
            return Lora::apply(&self.lora, whole.forward(x), x);
        }
        // Copying the weights together costs far less than separate multiplications and their gradients.
        let weights: Vec<&Tensor> = self.parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<&Tensor> = self.parts.iter().filter_map(|part| part.bias.as_ref()).collect();
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0)) };
        Lora::apply(&self.lora, x.linear(&Tensor::cat(&weights, 0), bias.as_ref()), x)
    }
}

/// Root-mean-square normalisation, computed in f32.
pub(crate) struct RmsNorm {
    weight: Tensor,
    width: i64,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn new(builder: &mut Builder<'_>, width: i64, eps: f64) -> Result<RmsNorm, ModelError> {
        let weight = builder.tensor("weight", &[width], Init::Ones)?;
        Ok(RmsNorm { weight, width, eps })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        // libtorch computes in f32 inside and rounds once; Hugging Face rounds before the weight is applied, too.
        x.rms_norm([self.width], Some(&self.weight), self.eps)
    }
}

/// Layer normalisation with weight and bias.
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

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.width], Some(&self.weight), Some(&self.bias), 1e-5, true)
    }
}
