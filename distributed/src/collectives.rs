//! What the tensors of all ranks are added up by.

/// The wish of whoever starts a run. That of rank 0 counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collectives {
    /// NCCL if every rank has a GPU of its own and the same NCCL, otherwise gloo.
    #[default]
    Auto,
    /// gloo, through the CPU, also between GPUs.
    Gloo,
    /// NCCL, or an error.
    Nccl,
}

impl Collectives {
    /// The names on the command line.
    pub const NAMES: [&str; 3] = ["auto", "gloo", "nccl"];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Collectives> {
        match name {
            "auto" => Some(Collectives::Auto),
            "gloo" => Some(Collectives::Gloo),
            "nccl" => Some(Collectives::Nccl),
            _ => None,
        }
    }
}

/// What the ranks have agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adding {
    /// NCCL, on the GPUs.
    Nccl {
        /// Its version, such as `2.28.9`.
        version: String,
    },
    /// gloo, through the CPU.
    Gloo {
        /// Why not NCCL.
        because: String,
        /// Whether all replicas are on CPUs, so that nothing is lost.
        on_cpus: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::Collectives;

    #[test]
    fn every_name_is_that_of_another_wish() {
        let found = Collectives::NAMES.map(Collectives::named);
        assert_eq!(found, [Some(Collectives::Auto), Some(Collectives::Gloo), Some(Collectives::Nccl)]);
        assert_eq!(Collectives::named("mpi"), None);
    }
}
