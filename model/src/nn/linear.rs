//! Linear projections with their adapters.

use tch::Tensor;

use super::builder::Builder;
use super::lora::{JoinedAdapter, Lora};
use crate::error::ModelError;
use crate::init::Init;

/// The tensors of a projection whose weights take no gradients: what it multiplies by in one operation.
pub(crate) struct Projection<'a> {
    /// `[output, input]`, in the model's dtype.
    pub(crate) weight: &'a Tensor,
    /// `[output]`, in the model's dtype.
    pub(crate) bias: Option<&'a Tensor>,
    pub(crate) adapter: Option<JoinedAdapter<'a>>,
}

/// A projection `x·Wᵀ + b`, plus the output of its adapter.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    lora: Option<Lora>,
}

impl Linear {
    /// Builds the projection from `weight: [output, input]` and, if `bias`, `bias: [output]`.
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

    /// A projection with a tensor that already belongs to another part, such as the embedding; without bias or adapter.
    pub(crate) fn tied(weight: &Tensor) -> Linear {
        Linear { weight: weight.shallow_clone(), bias: None, lora: None }
    }

    /// The tensors of the projection; `None` if its adapter takes gradients.
    pub(crate) fn projection(&self) -> Option<Projection<'_>> {
        let adapter = match &self.lora {
            Some(lora) => Some(lora.joined()?),
            None => None,
        };
        Some(Projection { weight: &self.weight, bias: self.bias.as_ref(), adapter })
    }

    /// Shapes: `x: [rows, input]`, in the model's dtype → `[rows, output]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        Lora::apply(&self.lora, x.linear(&self.weight, self.bias.as_ref()), x)
    }

    /// `residual + forward(x)`, as one operation where there is no bias.
    ///
    /// Shapes: `residual: [rows, output]`, `x: [rows, input]`, in the model's dtype → `[rows, output]`
    pub(crate) fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> Tensor {
        match &self.bias {
            None => Lora::apply(&self.lora, residual.addmm(x, &self.weight.tr()), x),
            Some(_) => residual + self.forward(x),
        }
    }
}

/// Several projections of the same input, whose outputs are concatenated.
pub(crate) struct JoinedLinear {
    /// All parts in one projection, where they take no gradients.
    whole: Option<Linear>,
    parts: Vec<Linear>,
    lora: Option<Lora>,
}

impl JoinedLinear {
    /// Builds the projections from `parts`, the name and output width of each.
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

    /// The tensors of all parts together; `None` if they take gradients.
    pub(crate) fn projection(&self) -> Option<Projection<'_>> {
        let whole = self.whole.as_ref()?;
        let adapter = match &self.lora {
            Some(lora) => Some(lora.joined()?),
            None => None,
        };
        Some(Projection { weight: &whole.weight, bias: whole.bias.as_ref(), adapter })
    }

    /// Shapes: `x: [rows, input]`, in the model's dtype → `[rows, sum of the outputs]`
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        if let Some(whole) = &self.whole {
            return Lora::apply(&self.lora, whole.forward(x), x);
        }
        // Concatenating the weights costs far less than separate multiplications and their gradients.
        let weights: Vec<&Tensor> = self.parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<&Tensor> = self.parts.iter().filter_map(|part| part.bias.as_ref()).collect();
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0)) };
        Lora::apply(&self.lora, x.linear(&Tensor::cat(&weights, 0), bias.as_ref()), x)
    }
}
