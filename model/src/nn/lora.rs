//! The adapters of one projection, or of several projections of the same input.

use tch::Tensor;

use super::builder::Builder;
use crate::dropout::Dropout;
use crate::error::ModelError;

/// Computes `scale · B·A·x` for several projections whose outputs are concatenated.
///
/// All `A`s are applied in one multiplication. So are all `B`s, as blocks of a matrix that is zero elsewhere: at the
/// ranks that are used, multiplying the zeros costs less than further operations would.
pub(crate) struct Lora {
    /// The projections that have an adapter.
    parts: Vec<Part>,
    /// Output width of every projection, adapted or not.
    outputs: Vec<i64>,
    /// All `A`s below each other and all `B`s as blocks, where they take no gradients; the parts are views into these.
    whole: Option<[Tensor; 2]>,
    scale: f64,
    dropout: Option<Dropout>,
}

/// The adapters of all projections as two matrices, where they take no gradients.
pub(crate) struct JoinedAdapter<'a> {
    /// `[sum of the ranks, input]`, in the model's dtype.
    pub(crate) a: &'a Tensor,
    /// `[sum of the outputs, sum of the ranks]`, in the model's dtype.
    pub(crate) b: &'a Tensor,
    /// The rank of each projection; 0 for one without adapter.
    pub(crate) ranks: Vec<i64>,
    /// The factor on `B·A·x`.
    pub(crate) scale: f64,
}

struct Part {
    name: String,
    /// Index of the projection.
    index: usize,
    /// `[rank, input]`; f32 if it takes gradients, else in the model's dtype.
    a: Tensor,
    /// `[output, rank]`, in the dtype of `a`.
    b: Tensor,
}

impl Lora {
    /// The adapters of some projections, given by hub name and output width; `None` if none of them has one.
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        input: i64,
        projections: &[(String, i64)],
    ) -> Result<Option<Lora>, ModelError> {
        let mut parts = Vec::new();
        for (index, (name, output)) in projections.iter().enumerate() {
            let tensors = builder.params.adapter_tensors(builder.source, name, [input, *output])?;
            parts.extend(tensors.map(|[a, b]| Part { name: name.clone(), index, a, b }));
        }
        let Some(adapter) = builder.params.adapter().filter(|_| !parts.is_empty()) else { return Ok(None) };
        let (scale, learns) = (adapter.config.scale(), builder.params.learns);
        let dropout = Dropout::new(adapter.config.dropout, &adapter.dropout).filter(|_| learns);
        let outputs = projections.iter().map(|(_, output)| *output).collect();
        let mut lora = Lora { parts, outputs, whole: None, scale, dropout };
        if !learns {
            lora.join(builder);
        }
        Ok(Some(lora))
    }

    /// Adds the adapters' output to `base`, which is the output of the projections without adapters.
    ///
    /// Shapes: `base: [rows, sum of the outputs]`, `x: [rows, input]`, in the model's dtype → as `base`
    pub(crate) fn apply(lora: &Option<Lora>, base: Tensor, x: &Tensor) -> Tensor {
        match lora {
            Some(lora) => lora.add(&base, x),
            None => base,
        }
    }

    /// The joined matrices; `None` if the adapters take gradients.
    pub(super) fn joined(&self) -> Option<JoinedAdapter<'_>> {
        let [a, b] = self.whole.as_ref()?;
        let rank = |index: usize| {
            self.parts.iter().find(|part| part.index == index).map_or(0, |part| part.a.size()[0])
        };
        let ranks = (0..self.outputs.len()).map(rank).collect();
        Some(JoinedAdapter { a, b, ranks, scale: self.scale })
    }

    fn add(&self, base: &Tensor, x: &Tensor) -> Tensor {
        let (inner, b) = match &self.whole {
            Some([a, b]) => (x.linear(a, None::<&Tensor>), b.shallow_clone()),
            None => (self.inner(x), self.blocks().to_kind(x.kind())),
        };
        base.addmm(&(inner * self.scale), &b.tr())
    }

    /// The `A·x` of every part, concatenated. Each part applies its own dropout to `x`.
    ///
    /// Shapes: `x: [rows, input]` → `[rows, sum of the ranks]`
    fn inner(&self, x: &Tensor) -> Tensor {
        if let Some(seed) = self.dropout.as_ref().and_then(Dropout::seed) {
            let part = |part: &Part| {
                let dropped = self.dropout.as_ref().map(|dropout| dropout.apply(x, seed, &part.name));
                dropped.as_ref().unwrap_or(x).linear(&part.a.to_kind(x.kind()), None::<&Tensor>)
            };
            return Tensor::cat(&self.parts.iter().map(part).collect::<Vec<_>>(), 1);
        }
        let a: Vec<&Tensor> = self.parts.iter().map(|part| &part.a).collect();
        let a = if let [only] = a.as_slice() { only.shallow_clone() } else { Tensor::cat(&a, 0) };
        x.linear(&a.to_kind(x.kind()), None::<&Tensor>)
    }

    /// All `B`s as blocks on the diagonal; the rows of a projection without adapter are zero.
    ///
    /// Shapes: → `[sum of the outputs, sum of the ranks]`
    fn blocks(&self) -> Tensor {
        if let ([only], [_]) = (self.parts.as_slice(), self.outputs.as_slice()) {
            return only.b.shallow_clone();
        }
        let empty = |output: i64| {
            let b = &self.parts[0].b;
            b.new_empty([output, 0], (b.kind(), b.device()))
        };
        let block = |(index, &output): (usize, &i64)| {
            let own = self.parts.iter().find(|part| part.index == index);
            own.map(|part| part.b.shallow_clone()).unwrap_or_else(|| empty(output))
        };
        Tensor::block_diag(&self.outputs.iter().enumerate().map(block).collect::<Vec<_>>())
    }

    /// Copies the parts into two joined tensors. The parts and the model's named tensors become views into these.
    fn join(&mut self, builder: &mut Builder<'_>) {
        let _guard = tch::no_grad_guard();
        let a = Tensor::cat(&self.parts.iter().map(|part| &part.a).collect::<Vec<_>>(), 0);
        let b = self.blocks();
        let mut column = 0;
        for part in &mut self.parts {
            let (rank, output) = (part.a.size()[0], self.outputs[part.index]);
            let row = self.outputs[..part.index].iter().sum();
            part.a = a.narrow(0, column, rank);
            part.b = b.narrow(0, row, output).narrow(1, column, rank);
            builder.params.keep_adapter_views(&part.name, [&part.a, &part.b]);
            column += rank;
        }
        self.whole = Some([a, b]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn part(index: usize, a: &[f32], b: &[f32]) -> Part {
        let (a, b) = (Tensor::from_slice(a).view([1, -1]), Tensor::from_slice(b).view([-1, 1]));
        Part { name: index.to_string(), index, a, b }
    }

    #[test]
    fn each_projection_gets_its_own_adapter_and_one_without_is_unchanged() {
        // Outputs of widths 2, 1 and 1; the second has no adapter. x = (1, 2):
        // A0·x = 1 + 4 = 5, B0·5 = (5, 10); A2·x = -2, B2·-2 = -6; all times 0.5.
        let lora = Lora {
            parts: vec![part(0, &[1.0, 2.0], &[1.0, 2.0]), part(2, &[0.0, -1.0], &[3.0])],
            outputs: vec![2, 1, 1],
            whole: None,
            scale: 0.5,
            dropout: None,
        };
        let x = Tensor::from_slice(&[1f32, 2.0]).view([1, 2]);
        let base = Tensor::from_slice(&[100f32, 100.0, 100.0, 100.0]).view([1, 4]);
        let found = Vec::<f32>::try_from(lora.add(&base, &x).flatten(0, -1)).unwrap();
        assert_eq!(found, [102.5, 105.0, 100.0, 97.0]);
        assert_eq!(lora.blocks().kind(), Kind::Float);
    }
}
