//! Supervised actors of one run.
