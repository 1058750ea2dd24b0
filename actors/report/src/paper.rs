//! Table 1 of Audio-Thinker (arXiv 2508.08039), which the report shows beside the run's own results.

use serde::Serialize;

/// Accuracy in percent on the paper's three benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Benchmarks {
    /// MMAU test-mini (old version), average.
    pub mmau: f64,
    /// MMAR, average over its categories.
    pub mmar: f64,
    /// AIR-Bench foundation, average over five subtasks.
    pub air: f64,
}

/// One row of the paper's Table 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PaperRow {
    /// Results of the policy trained from Qwen2-Audio-7B-Instruct.
    pub qwen2_audio: Benchmarks,
    /// Results of the policy trained from Qwen2.5-Omni-7B.
    pub qwen2_5_omni: Benchmarks,
}

const fn row(a: [f64; 3], b: [f64; 3]) -> PaperRow {
    PaperRow {
        qwen2_audio: Benchmarks { mmau: a[0], mmar: a[1], air: a[2] },
        qwen2_5_omni: Benchmarks { mmau: b[0], mmar: b[1], air: b[2] },
    }
}

/// The paper's arms in its order, under the names that our scenarios give them.
const TABLE_1: [(&str, PaperRow); 8] = [
    ("base", row([54.9, 30.0, 61.3], [66.3, 58.2, 64.9])),
    ("sft", row([58.2, 48.9, 63.8], [67.9, 60.9, 65.8])),
    ("sft+cot", row([57.8, 49.8, 62.6], [67.5, 59.8, 65.2])),
    ("grpo", row([63.8, 50.2, 64.5], [69.7, 62.5, 66.2])),
    ("grpo+cot", row([65.0, 50.0, 64.1], [69.8, 61.8, 65.9])),
    ("grpo+atar", row([66.9, 50.7, 66.4], [71.5, 64.2, 66.8])),
    ("grpo+atar+cr", row([67.7, 50.9, 66.5], [72.5, 64.4, 67.0])),
    ("grpo+atar+cr+tr", row([68.0, 52.0, 66.8], [73.7, 65.3, 67.1])),
];

/// The standard error of an accuracy in percent over 1,000 questions, which MMAU test-mini and MMAR have.
pub(super) fn standard_error(percent: f64) -> f64 {
    (percent * (100.0 - percent) / 1000.0).sqrt()
}

/// The row for an arm of this name, ignoring case.
pub(super) fn row_of(arm: &str) -> Option<PaperRow> {
    TABLE_1.iter().find(|(name, _)| name.eq_ignore_ascii_case(arm)).map(|(_, row)| *row)
}

/// For an arm of the paper: the arm that it extends by one change, and that change.
pub(super) fn predecessor(arm: &str) -> Option<(&'static str, &'static str)> {
    Some(match arm.to_ascii_lowercase().as_str() {
        "sft" => ("base", "supervised answers"),
        "sft+cot" => ("sft", "written-out reasoning"),
        "grpo" => ("base", "GRPO on accuracy"),
        "grpo+cot" => ("grpo", "a prompt that asks for thinking"),
        "grpo+atar" => ("grpo+cot", "adaptive-think reward (ATAR)"),
        "grpo+atar+cr" => ("grpo+atar", "consistency reward (CR)"),
        "grpo+atar+cr+tr" => ("grpo+atar+cr", "think reward (TR)"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_predecessor_is_in_the_table() {
        for (name, _) in TABLE_1 {
            if let Some((before, _)) = predecessor(name) {
                assert!(row_of(before).is_some(), "{name} follows {before}");
            }
        }
        assert_eq!(row_of("GRPO+ATAR").unwrap().qwen2_audio.mmau, 66.9);
        assert_eq!(row_of("grpo+brevity"), None);
    }
}
