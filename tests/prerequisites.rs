//! `make run` and `make test` on machines where a program is missing: one line names the program and the command that
//! installs it, and the build does not start.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

type Program = (&'static str, &'static str);

/// A cargo without cargo-nextest, on a machine without a browser. It prints the commands that it is asked to run.
const CARGO: Program = (
    "cargo",
    concat!(
        r#"case "$*" in
    --version) echo "cargo "#,
        env!("CARGO_PKG_RUST_VERSION"),
        r#".0 (f2d3ce0bd 2026-03-21)" ;;
    "nextest --version") exit 1 ;;
    *--list*) echo "opens_the_page: test"; echo "turns_a_weight: test" ;;
    *) echo "ran cargo $*" ;;
esac"#
    ),
);
const OLD_CARGO: Program = ("cargo", "echo cargo 1.65.0");
const CC: Program = ("cc", "exit 0");
const CXX: Program = ("c++", "exit 0");
const PYTHON_WITH_PIP: Program = ("python3", "exit 0");
const PYTHON_WITHOUT_PIP: Program = ("python3", "exit 1");
/// Settings that name an existing libtorch and llama.cpp server, so that nothing is downloaded.
const HAS_BOTH: [(&str, &str); 2] = [("LIBTORCH", "/opt/libtorch"), ("JUDGE_SERVER_PYTHON", "/opt/python3")];

struct Made {
    /// Lines of output, without make's own error line.
    output: Vec<String>,
    success: bool,
}

/// Runs `make TARGET` with only these programs on the `PATH`, each a shell script, and an empty home folder.
fn make(target: &str, programs: &[Program], settings: &[(&str, &str)]) -> Made {
    let machine = tempfile::tempdir().unwrap();
    let bin = machine.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let folders = std::env::var_os("PATH").unwrap();
    for tool in ["make", "sh", "cmp", "dirname", "grep", "head", "sed", "sort"] {
        let found =
            std::env::split_paths(&folders).map(|folder| folder.join(tool)).find(|file| file.is_file());
        symlink(found.unwrap_or_else(|| panic!("this test needs {tool}")), bin.join(tool)).unwrap();
    }
    for (name, script) in programs {
        let file = bin.join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let made = Command::new("sh")
        .args(["-c", "exec make --no-print-directory \"$0\" 2>&1", target])
        .current_dir(checkout)
        .env_clear()
        .env("PATH", &bin)
        .env("HOME", machine.path())
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let output = String::from_utf8(made.stdout).unwrap();
    let output = output.lines().filter(|line| !line.starts_with("make: ***")).map(str::to_owned).collect();
    Made { output, success: made.status.success() }
}

#[track_caller]
fn assert_stops(target: &str, programs: &[Program], settings: &[(&str, &str)], lines: &[&str]) {
    let made = make(target, programs, settings);
    assert_eq!(made.output, lines);
    assert!(!made.success);
}

const INSTALL_RUST: &str = concat!(
    "install Rust ",
    env!("CARGO_PKG_RUST_VERSION"),
    " or newer: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
);

#[test]
fn a_missing_compiler_is_reported_with_its_package() {
    let line = "make run: missing: a C++ compiler; on Debian: apt-get install g++";
    assert_stops("run", &[CARGO, PYTHON_WITH_PIP], &[], &[line]);
    assert_stops("run", &[CARGO, PYTHON_WITH_PIP, CC], &[], &[line]);
    assert_stops("run", &[CARGO, PYTHON_WITH_PIP, CXX], &[], &[line]);
}

#[test]
fn missing_python_and_pip_are_reported_only_if_they_are_needed() {
    for target in ["run", "test"] {
        let line =
            format!("make {target}: missing: python3 with pip; on Debian: apt-get install python3-pip");
        assert_stops(target, &[CARGO, CC, CXX], &[], &[&line]);
        let line = format!("make {target}: missing: pip for python3; on Debian: apt-get install python3-pip");
        assert_stops(target, &[CARGO, CC, CXX, PYTHON_WITHOUT_PIP], &[], &[&line]);
    }
    let line = "make test: missing: python3; on Debian: apt-get install python3";
    assert_stops("test", &[CARGO, CC, CXX], &HAS_BOTH, &[line]);
    assert!(make("test", &[CARGO, CC, CXX, PYTHON_WITHOUT_PIP], &HAS_BOTH).success);
    assert!(make("run", &[CARGO, CC, CXX], &HAS_BOTH).success);
}

#[test]
fn one_apt_command_installs_everything_that_is_missing() {
    let line =
        "make test: missing: a C++ compiler and python3 with pip; on Debian: apt-get install g++ python3-pip";
    assert_stops("test", &[CARGO], &[], &[line]);
}

#[test]
fn a_cargo_that_is_missing_too_old_or_not_on_the_path_is_reported_with_the_remedy() {
    let missing = format!("make run: cargo is missing; {INSTALL_RUST}");
    assert_stops("run", &[CC, CXX, PYTHON_WITH_PIP], &[], &[&missing]);
    let compiler = "make run: missing: a C++ compiler; on Debian: apt-get install g++";
    assert_stops("run", &[PYTHON_WITH_PIP], &[], &[compiler, &missing]);
    let old = format!("make run: cargo 1.65.0 is too old; {INSTALL_RUST}");
    assert_stops("run", &[OLD_CARGO, CC, CXX, PYTHON_WITH_PIP], &[], &[&old]);
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("bin")).unwrap();
    fs::write(home.path().join("bin/cargo"), "").unwrap();
    let home = home.path().to_str().unwrap();
    let elsewhere = format!("make run: cargo is not on the PATH; run: . \"{home}/env\"");
    assert_stops("run", &[CC, CXX, PYTHON_WITH_PIP], &[("CARGO_HOME", home)], &[&elsewhere]);
}

#[test]
fn if_nothing_is_missing_the_tests_run_and_the_last_line_counts_skipped_ones() {
    let made = make("test", &[CARGO, CC, CXX, PYTHON_WITH_PIP], &HAS_BOTH);
    assert!(made.success, "{:?}", made.output);
    let ran: Vec<&String> = made.output.iter().filter(|line| line.starts_with("ran ")).collect();
    assert_eq!(
        ran,
        ["ran cargo test --workspace --tests --no-fail-fast", "ran cargo test --workspace --doc"]
    );
    let last = "skipped: 2 page tests (no Chromium; on Debian: apt-get install chromium)";
    assert_eq!(made.output.last().map(String::as_str), Some(last));
}
