//! What can be wrong with a weights file, its index of shards, or an adapter's tensors.

use tch::Kind;

/// A file that is damaged, or a tensor that is missing or has another shape or dtype than expected.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each message names its fields")]
pub enum CheckpointError {
    #[error(
        "found neither model.safetensors nor model.safetensors.index.json; fetch the weights from the model's hub page"
    )]
    NoWeights,
    #[error(
        "found neither model.safetensors nor model.safetensors.index.json (pytorch_model.bin is not read; \
         save the model again with save_pretrained)"
    )]
    OnlyPickledWeights,
    #[error("is a Git LFS pointer, not the weights; run `git lfs pull` in its repository")]
    GitLfsPointer,
    #[error("not a whole safetensors file ({error}; {bytes} bytes); fetch it again")]
    Damaged { error: String, bytes: usize },
    #[error("tensor `{name}` is missing; config.json asks for it with shape {shape:?}")]
    MissingTensor { name: String, shape: Vec<i64> },
    #[error(
        "tensor `{name}` has shape {found:?}; config.json asks for {expected:?}: take both from the same model"
    )]
    Shape { name: String, found: Vec<i64>, expected: Vec<i64> },
    #[error("tensor `{name}` is stored as {stored}; expected {expected}")]
    StoredDtype { name: String, stored: String, expected: &'static str },
    #[error("is not an index of shards ({error}); fetch it again")]
    Index { error: String },
    #[error("names the shard `{shard}`, which does not exist; fetch it from the model's hub page")]
    MissingShard { shard: String },
    #[error("cannot be written: {error}")]
    Write { error: String },
    #[error("tensor `{name}` is {kind:?}; only Float, BFloat16, Half, Double and Int64 can be written")]
    UnwritableDtype { name: String, kind: Kind },
    #[error(
        "tensor `{name}` is not part of a LoRA on a linear layer; expected names such as \
         `base_model.model.….q_proj.lora_A.weight`, and with `modules_to_save` those of the projector or the audio tower"
    )]
    NotLora { name: String },
    #[error(
        "has no tensors of `{modules}`, which adapter_config.json names in modules_to_save; save the adapter again with \
         PEFT's save_pretrained"
    )]
    NoWholeModule { modules: String },
    #[error("the adapter has no tensor `{name}`, which is trained here; it was saved without that module")]
    NotSaved { name: String },
    #[error("`{layer}` has no {part}; the file is incomplete, fetch it again")]
    HalfAdapter { layer: String, part: &'static str },
    #[error(
        "tensor `{name}` has shape {found:?}; this base and adapter_config.json ask for {expected:?}: \
         the adapter was made for another base"
    )]
    AdapterShape { name: String, found: Vec<i64>, expected: Vec<i64> },
    #[error(
        "this base has no layer for `{name}` ({count} such tensors): the adapter was made for another base"
    )]
    UnmatchedAdapter { name: String, count: usize },
    #[error("the adapter has no tensors for the layer `{layer}`; it was saved with other target_modules")]
    UnadaptedLayer { layer: String },
}
