//! Sums by NCCL, for which `tests/nccl/stand_in.cc` stands in: on the CPU's memory, and failing as it is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use super::{ranks, values};
use crate::collectives::Adding;
use crate::nccl::find;
use crate::{Group, RankError};

/// The folder of the sources.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/nccl")
}

fn compiler() -> Command {
    let name = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let mut command = Command::new(name);
    command.arg("-std=c++17");
    command
}

/// The stand-in in a folder of its own, failing as `fails` says.
struct StandIn(tempfile::TempDir);

impl StandIn {
    fn new(fails: &str) -> StandIn {
        static BUILT: OnceLock<StandIn> = OnceLock::new();
        let built = BUILT.get_or_init(|| {
            let folder = StandIn(tempfile::tempdir().unwrap());
            let mut command = compiler();
            command.args(["-shared", "-fPIC", "-pthread", "-o"]).arg(folder.library());
            assert!(command.arg(sources().join("stand_in.cc")).status().unwrap().success());
            folder
        });
        let folder = StandIn(tempfile::tempdir().unwrap());
        fs::copy(built.library(), folder.library()).unwrap();
        fs::write(folder.0.path().join("libnccl.so.2.fails"), fails).unwrap();
        folder
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("libnccl.so.2")
    }

    /// Has the ranks of a group join by it.
    fn join(&self, group: &mut Group) -> Result<Adding, RankError> {
        group.join_by_nccl(find(Device::Cpu, Some(&self.library())))
    }
}

fn by_nccl() -> Adding {
    Adding::Nccl { version: "2.28.9".into() }
}

#[test]
fn sums_and_broadcasts_by_nccl_are_those_of_all_ranks() {
    let stand_in = StandIn::new("");
    let found = ranks(3, |mut group| {
        let rank = group.rank() as f32;
        let adding = stand_in.join(&mut group).unwrap();
        // More than the stand-in takes at once, in several sums, and none.
        let large = Tensor::arange(200_000, (Kind::Float, Device::Cpu)) * f64::from(rank + 1.0);
        group.sum(&large).unwrap();
        let small = Tensor::from_slice(&[rank, 1.0]);
        group.sum(&small).unwrap();
        group.sum(&Tensor::zeros([0], (Kind::Float, Device::Cpu))).unwrap();
        let half = Tensor::from_slice(&[10.0 + rank, 0.5]).to_kind(Kind::BFloat16);
        group.broadcast(&half).unwrap();
        group.barrier().unwrap();
        group.finish();
        (adding, values(&large), values(&small), values(&half.to_kind(Kind::Float)))
    });
    for (adding, large, small, half) in found {
        assert_eq!(adding, by_nccl());
        // 1 + 2 + 3 times each number.
        assert!(large.iter().enumerate().all(|(i, value)| *value == 6.0 * i as f32));
        assert_eq!((small, half), (vec![3.0, 3.0], vec![10.0, 0.5]));
    }
}

/// Joins, adds up three times, and returns the first error of each rank.
fn errors_of(fails: &str) -> Vec<RankError> {
    let stand_in = StandIn::new(fails);
    ranks(2, |mut group| {
        assert_eq!(stand_in.join(&mut group), Ok(by_nccl()), "{fails}");
        let tensor = Tensor::from_slice(&[1f32, 2.0]);
        let error = (0..3).find_map(|_| group.sum(&tensor).err()).expect(fails);
        assert_eq!(group.sum(&tensor), Err(error.clone()), "every later call fails with it, too");
        error
    })
}

/// NCCL-2, RANKS-1: what one rank finds ends all ranks with its reason.
#[test]
fn a_sum_that_fails_on_one_rank_ends_all_ranks_with_its_reason() {
    let found = [
        ("refuses 1 2", "ncclAllReduce: invalid argument"),
        ("breaks 0 1", "remote process exited or there was a network error"),
        ("breaks 1 0\nabort-hangs 0 0", "remote process exited or there was a network error"),
    ];
    for (fails, reason) in found {
        for error in errors_of(fails) {
            let told = format!("the ranks lost each other while adding up gradients: NCCL: {reason}");
            assert_eq!(error.to_string(), told, "{fails}");
        }
    }
}

#[test]
fn a_sum_that_never_ends_is_an_error_after_four_time_outs() {
    for error in errors_of("never-ends 1 1") {
        let told = "the ranks lost each other while adding up gradients: NCCL: not done within 8 s";
        assert_eq!(error.to_string(), told);
    }
}

/// NCCL-1: what one rank can't do, none does, and gloo adds up in its place.
#[test]
fn ranks_that_do_not_fit_together_stay_with_gloo_and_know_why() {
    let (fine, old) = (StandIn::new(""), StandIn::new("version 0 21205"));
    let other = StandIn::new("version 0 22703");
    let missing = Path::new("/none/libnccl.so.2");
    let (fine, old, other) = (fine.library(), old.library(), other.library());
    let found: [(Option<&Path>, Option<&Path>, &str); 5] = [
        (Some(&fine), Some(&other), "rank 1 has NCCL 2.27.3 and rank 0 has 2.28.9"),
        (Some(&fine), Some(missing), "rank 1 can't use NCCL: /none/libnccl.so.2 can't be opened: "),
        (Some(&old), Some(&old), "rank 0 can't use NCCL: its NCCL 2.12.5 is older than 2.14.0"),
        (Some(&fine), None, "the replica of rank 1 is on the CPU"),
        (None, None, "all replicas are on the CPU"),
    ];
    for (first, second, reason) in found {
        let told = ranks(2, |mut group| {
            let library = [first, second][group.rank()];
            let adding = group.join_by_nccl(find(Device::Cpu, library)).unwrap();
            let sum = Tensor::from_slice(&[1f32]);
            group.sum(&sum).unwrap();
            assert_eq!(values(&sum), [2.0]);
            group.finish();
            adding
        });
        assert_eq!(told[0], told[1]);
        let Adding::Gloo { because, on_cpus } = &told[0] else { panic!("{reason}: {told:?}") };
        assert!(because.starts_with(reason), "{because}");
        assert_eq!(*on_cpus, reason.starts_with("all"), "{because}");
    }
}

/// NCCL-1 for what is noticed only while the ranks connect: at once, or when a rank does not come.
#[test]
fn ranks_that_can_not_connect_stay_with_gloo_and_know_why() {
    let found = [
        ("init-fails 1 0", "rank 1 can't join by NCCL: unhandled system error"),
        ("init-hangs 1 0", "can't join by NCCL: not done within 8 s"),
    ];
    for (fails, reason) in found {
        let stand_in = StandIn::new(fails);
        let told = ranks(2, |mut group| {
            let adding = stand_in.join(&mut group).unwrap();
            let sum = Tensor::from_slice(&[1f32]);
            group.sum(&sum).unwrap();
            assert_eq!(values(&sum), [2.0]);
            group.finish();
            adding
        });
        assert_eq!(told[0], told[1]);
        let Adding::Gloo { because, on_cpus: false } = &told[0] else { panic!("{fails}: {told:?}") };
        assert!(because.ends_with(reason), "{because}");
    }
}

/// RANKS-1 while NCCL sums: a rank that ends is the reason on the other one, and not the transfer's own limit.
#[test]
fn a_rank_that_ends_in_the_middle_of_a_sum_ends_the_others() {
    let stand_in = StandIn::new("never-ends 0 0");
    let errors = ranks(2, |mut group| {
        stand_in.join(&mut group).unwrap();
        if group.rank() == 1 {
            group.end("rank 1: out of memory");
            return RankError::Ended("rank 1: out of memory".into());
        }
        group.sum(&Tensor::from_slice(&[1f32])).unwrap_err()
    });
    assert_eq!(errors, vec![RankError::Ended("rank 1: out of memory".into()); 2]);
}

#[test]
fn a_tensor_that_nccl_can_not_take_is_refused_and_not_read() {
    let stand_in = StandIn::new("");
    for (strided, told) in [(true, "not one piece of Cpu"), (false, "a sum of Double, where f32 is needed")] {
        let errors = ranks(2, |mut group| {
            stand_in.join(&mut group).unwrap();
            let tensor = match strided {
                true => Tensor::ones([2, 3], (Kind::Float, Device::Cpu)).tr(),
                false => Tensor::ones([2], (Kind::Double, Device::Cpu)),
            };
            group.sum(&tensor).unwrap_err().to_string()
        });
        assert!(errors.iter().all(|error| error.contains(told)), "{errors:?}");
    }
}

/// PyPI's NCCL, which `make ranks` installs with PyTorch; `None` if it is not on this machine.
fn real_nccl() -> Option<PathBuf> {
    let home = PathBuf::from(std::env::var_os("HOME")?);
    let cache = std::env::var_os("AUDIO_THINKER_CACHE")
        .map_or_else(|| home.join(".cache/audio-thinker"), PathBuf::from);
    let versions = fs::read_dir(cache.join("torchrun-2.11.0/lib")).ok()?;
    let packages = versions.filter_map(|python| Some(python.ok()?.path().join("site-packages/nvidia/nccl")));
    packages.into_iter().find(|folder| folder.join("include/nccl.h").is_file())
}

/// NCCL itself answers without a GPU as far as its version and an id, and its header has the signatures that are used.
#[test]
fn nccl_itself_has_the_functions_that_are_used() {
    let Some(folder) = real_nccl() else {
        eprintln!("SKIPPED: NCCL's package is not in the cache; `make ranks` installs it");
        return;
    };
    let mut check = compiler();
    check.arg("-fsyntax-only").arg("-I").arg(sources().join("headers")).arg("-I").arg(folder.join("include"));
    assert!(check.arg(sources().join("signatures.cc")).status().unwrap().success());
    let library = crate::nccl::Library::open(Some(&folder.join("lib/libnccl.so.2"))).unwrap();
    let header = fs::read_to_string(folder.join("include/nccl.h")).unwrap();
    let code = header.lines().find_map(|line| line.strip_prefix("#define NCCL_VERSION_CODE ")).unwrap();
    assert_eq!(library.version().unwrap().to_string(), code.trim());
    let (first, second) = (library.unique_id().unwrap(), library.unique_id().unwrap());
    assert_ne!(first.0, second.0);
}
