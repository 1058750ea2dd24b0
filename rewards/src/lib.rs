//! The paper's rewards: completion parser, reward components, shaping formula, advantages. Pure: no tensors, no async runtime.
