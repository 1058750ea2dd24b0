//! `sandbox client`: prints the Python module that steers runs.

use crate::failure::Failure;
use crate::streams::print_line;

const MODULE: &str = include_str!("../../python/audio_thinker_run.py");

pub fn client() -> Result<(), Failure> {
    print_line(MODULE.trim_end());
    Ok(())
}
