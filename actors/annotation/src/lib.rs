//! Annotation.
