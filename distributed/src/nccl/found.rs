//! Whether this rank can use NCCL, and with which GPU.

use std::path::Path;
use std::sync::Arc;

use tch::Device;

use super::cuda::Cuda;
use super::library::{Library, OLDEST, UniqueId};
use super::offer::{Offer, version_name};
use crate::error::Problem;

/// For tests on machines without a GPU: names a library that stands in for NCCL and for CUDA's runtime. Replicas on the CPU pass
/// for replicas on GPUs then.
pub(crate) const STAND_IN: &str = "AUDIO_THINKER_NCCL_STAND_IN";

/// NCCL on this rank, and the device of its tensors.
pub(crate) struct Found {
    pub(super) library: Arc<Library>,
    pub(super) cuda: Cuda,
    pub(super) device: Device,
    version: i32,
    /// What tells the GPU from all others.
    gpu: String,
}

impl Found {
    /// A name for a new group of ranks.
    pub(crate) fn unique_id(&self) -> Result<UniqueId, Problem> {
        self.library.unique_id()
    }

    /// The version as people write it.
    pub(crate) fn version(&self) -> String {
        version_name(self.version)
    }
}

/// Opens NCCL for the replicas of this rank, which are on `device`.
pub(crate) fn find(device: Device, stand_in: Option<&Path>) -> Result<Found, Offer> {
    let index = match (device, stand_in) {
        (Device::Cuda(index), _) => i32::try_from(index).unwrap_or(i32::MAX),
        (_, Some(_)) => 0,
        _ => return Err(Offer::OnCpu),
    };
    open(device, index, stand_in).map_err(|problem| Offer::Unfit(problem.0))
}

fn open(device: Device, index: i32, stand_in: Option<&Path>) -> Result<Found, Problem> {
    let library = Library::open(stand_in)?;
    let version = library.version()?;
    if version < OLDEST {
        let (found, oldest) = (version_name(version), version_name(OLDEST));
        return Err(Problem(format!("its NCCL {found} is older than {oldest}")));
    }
    let cuda = Cuda::find(index, stand_in)?;
    let gpu = format!("{} {}", machine(), cuda.bus_id()?);
    Ok(Found { library: Arc::new(library), cuda, device, version, gpu })
}

/// What tells this machine from others, also between containers.
fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}

/// What a rank that found this has to offer.
pub(crate) fn offer_of(found: &Result<Found, Offer>) -> Offer {
    match found {
        Ok(found) => Offer::Nccl { version: found.version, gpu: found.gpu.clone() },
        Err(offer) => offer.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_on_the_cpu_needs_no_library_and_a_library_that_is_missing_is_named() {
        assert!(matches!(find(Device::Cpu, None), Err(Offer::OnCpu)));
        let Err(Offer::Unfit(problem)) = find(Device::Cpu, Some(Path::new("/none/libnccl.so.2"))) else {
            panic!("it was opened")
        };
        assert!(problem.contains("/none/libnccl.so.2"), "{problem}");
    }
}
