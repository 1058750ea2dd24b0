//! Access to the tensors of one part of a model, by name below the part's prefix.

use tch::Tensor;

use crate::error::ModelError;
use crate::init::Init;
use crate::params::{Params, Source};

/// Builds one part of a model: takes its tensors from `source` and adds them to `params`.
pub(crate) struct Builder<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) params: &'a mut Params,
    /// Prefix of the part's tensor names, as `model.layers.0.`; empty for the whole model.
    pub(crate) prefix: String,
}

impl Builder<'_> {
    /// A builder for a sub-part, whose tensors are named `PREFIX` + `name` + `.`.
    pub(crate) fn sub(&mut self, name: impl std::fmt::Display) -> Builder<'_> {
        let prefix = format!("{}{name}.", self.prefix);
        Builder { source: self.source, params: self.params, prefix }
    }

    /// The tensor `PREFIX` + `name`.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, ModelError> {
        self.params.tensor(self.source, &format!("{}{name}", self.prefix), shape, init)
    }

    /// The tensors `PREFIX` + part + `.` + `suffix`, of `rows` rows each and the same trailing dimensions; where they
    /// take no gradients, first the tensor that holds all of them ([`Params::joined`]).
    pub(super) fn joined(
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
