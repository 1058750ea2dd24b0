//! What the manifest adds to the writing of a checkpoint: `cargo bench -p records`.
//!
//! Both write two files of equal size and the state to the disk, wait for the disk, and rename their folder. `with_manifest`
//! also hashes them, and writes the manifest. The tensors of the built-in policy are 8 MB, those of a LoRA adapter of a 7B model and its moments about 512 MB.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::fs::{self, File};
use std::path::Path;

use divan::Bencher;
use records::{CheckpointState, FormatVersion, Progress, RecordsError};

fn main() {
    divan::main();
}

const MEGABYTES: [usize; 3] = [8, 64, 512];

fn state() -> CheckpointState {
    CheckpointState {
        format_version: FormatVersion::CURRENT,
        policy_version: 1,
        progress: Progress { step: 1, ..Progress::default() },
        conditions: None,
        records: None,
    }
}

fn write_tensors(folder: &Path, content: &[u8]) {
    for name in ["model.safetensors", "optimizer.safetensors"] {
        fs::write(folder.join(name), content).unwrap();
    }
}

#[divan::bench(args = MEGABYTES, sample_count = 12, sample_size = 1)]
fn without_manifest(bencher: Bencher<'_, '_>, megabytes: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let content = vec![7; megabytes << 19];
    bencher.bench_local(|| {
        let (draft, done) = (folder.path().join("step-000001.draft"), folder.path().join("step-000001"));
        fs::create_dir(&draft).unwrap();
        write_tensors(&draft, &content);
        fs::write(draft.join("state.json"), serde_json::to_vec_pretty(&state()).unwrap()).unwrap();
        std::thread::scope(|scope| {
            for file in fs::read_dir(&draft).unwrap() {
                scope.spawn(move || File::open(file.unwrap().path()).unwrap().sync_all().unwrap());
            }
        });
        File::open(&draft).unwrap().sync_all().unwrap();
        let _ = fs::remove_dir_all(&done);
        fs::rename(draft, done).unwrap();
        File::open(folder.path()).unwrap().sync_all().unwrap();
    });
}

#[divan::bench(args = MEGABYTES, sample_count = 12, sample_size = 1)]
fn with_manifest(bencher: Bencher<'_, '_>, megabytes: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let content = vec![7; megabytes << 19];
    bencher.bench_local(|| {
        let written = state().write(&folder.path().join("step-000001"), |draft| {
            write_tensors(draft, &content);
            Ok::<(), RecordsError>(())
        });
        written.unwrap();
    });
}
