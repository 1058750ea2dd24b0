//! The memory of a process, from `/proc`.

/// The most memory that a process has taken so far, in bytes; `None` if it has ended or the system does not say it. `process` is
/// a number or `self`.
pub fn most_memory(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
