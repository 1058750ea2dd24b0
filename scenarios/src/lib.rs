//! Scenario files, datasets, the soundscape world, official scorers. Pure: no tensors, no async runtime.
