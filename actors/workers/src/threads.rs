//! The number of threads that libtorch uses.

/// Sets the number of libtorch threads of the calling OS thread; 0 leaves the choice to libtorch.
pub(crate) fn use_threads(threads: usize) {
    if threads > 0 {
        tch::set_num_threads(i32::try_from(threads).unwrap_or(1));
    }
}
