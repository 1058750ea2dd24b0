//! What a survey found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::sources::Role;

/// Number of clips that are named of each kind.
pub(crate) const NAMED: usize = 3;

/// The data of an experiment: counts per source, and what is odd.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Survey {
    /// The sources, in the order of the scenario.
    pub sources: Vec<SourceReport>,
    /// What is odd, by source and kind. Those that stop a run come first.
    pub findings: Vec<Finding>,
}

impl Survey {
    /// Whether a run could take its first step.
    pub fn can_begin(&self) -> bool {
        !self.findings.iter().any(|finding| finding.stops)
    }
}

/// Something odd about a row or a clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Name of the source.
    pub source: String,
    /// A short name to count it under, such as `missing` or `leakage`.
    pub kind: String,
    /// Whether a run would be refused, or end, for it.
    pub stops: bool,
    /// One line: the file and line or the clip, what is wrong, and what to write instead.
    pub message: String,
}

/// What a source holds.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    /// `train`, or `eval` and the name of the suite.
    pub name: String,
    /// What it is used for.
    pub role: Role,
    /// The arms that use it.
    pub arms: Vec<String>,
    /// The data file.
    pub file: PathBuf,
    /// Its rows.
    pub rows: RowCounts,
    /// The clips of its rows, by their headers.
    pub clips: ClipCounts,
    /// How long the clips are.
    pub lengths: Lengths,
    /// What the decoded clips sound like; absent if none was decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoded: Option<DecodedCounts>,
    /// How often the right answer is the first choice, the second, …
    pub gold_positions: Vec<usize>,
    /// How long the prompts are; absent if the model's tokenizer is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<PromptTokens>,
}

/// Rows that are used, and rows that cannot be.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RowCounts {
    /// Rows that the filters of the scenario select.
    pub total: usize,
    /// Those that can be asked, their clips included as far as these have been looked at.
    pub usable: usize,
    /// The others, by cause.
    pub unusable: BTreeMap<&'static str, usize>,
}

/// A number of clips and the names of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Named {
    /// How many there are.
    pub count: usize,
    /// The first three.
    pub first: Vec<PathBuf>,
}

impl Named {
    pub(crate) fn add(&mut self, path: &std::path::Path) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(path.to_owned());
        }
    }
}

/// Clips by what their headers say. A clip that several rows use is counted once.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ClipCounts {
    /// Different clips that the rows name.
    pub distinct: usize,
    /// Those that were looked at: all, unless time was limited.
    pub looked_at: usize,
    /// Those whose headers can be read.
    pub found: usize,
    /// Those that do not exist.
    pub missing: Named,
    /// Those whose headers cannot be read, by kind of problem.
    pub unreadable: BTreeMap<&'static str, Named>,
    /// Containers.
    pub formats: BTreeMap<&'static str, usize>,
    /// Codings of the samples.
    pub codecs: BTreeMap<String, usize>,
    /// Sampling rates, in Hz.
    pub rates: BTreeMap<u32, usize>,
    /// Numbers of channels.
    pub channels: BTreeMap<usize, usize>,
}

/// Upper ends of the classes of [`Lengths::histogram`], in seconds; the last class has none.
pub(crate) const CLASSES: [f64; 6] = [1.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// How long clips are, by their headers, or as they were decoded where the header does not tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lengths {
    /// Sum of the known lengths, in hours.
    pub hours: f64,
    /// Clips whose length is known.
    pub known: usize,
    /// Clips whose length is not known unless they are decoded to their end.
    pub unknown: usize,
    /// Clips of less than 1, 5, 10, 30, 60 and 300 s, and longer ones.
    pub histogram: [usize; 7],
    /// What the model does not hear; absent if its window is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// What lies beyond the model's window.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cut {
    /// The window, in seconds.
    pub window_seconds: f64,
    /// Clips that are longer.
    pub clips: usize,
    /// Their parts beyond the window, in hours.
    pub hours: f64,
}

impl Lengths {
    pub(crate) fn add(&mut self, seconds: Option<f64>) {
        let Some(seconds) = seconds else {
            self.unknown += 1;
            return;
        };
        self.known += 1;
        self.hours += seconds / 3600.0;
        let class = CLASSES.iter().position(|&end| seconds < end).unwrap_or(CLASSES.len());
        self.histogram[class] += 1;
        if let Some(cut) = &mut self.cut
            && seconds > cut.window_seconds
        {
            cut.clips += 1;
            cut.hours += (seconds - cut.window_seconds) / 3600.0;
        }
    }
}

/// What decoded clips sound like.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DecodedCounts {
    /// Clips that were decoded, those that failed included.
    pub clips: usize,
    /// Those that could not be, by kind of problem.
    pub failed: BTreeMap<&'static str, Named>,
    /// Those without sound: no sample above 1e-4 of full scale.
    pub silent: Named,
    /// Those with 0.1 % or more of their samples at full scale, three or more in a row.
    pub clipped: Named,
    /// Those that were heard with a warning, by kind.
    pub warnings: BTreeMap<&'static str, Named>,
}

/// How many tokens the prompts of a source have, clips included.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PromptTokens {
    /// Prompts that were counted.
    pub prompts: usize,
    /// The shortest.
    pub min: usize,
    /// Half are shorter.
    pub median: usize,
    /// 95 % are not longer.
    pub p95: usize,
    /// The longest.
    pub max: usize,
    /// Tokens that the model takes, prompt and completion together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// Tokens of these that a completion needs.
    pub completion: usize,
    /// Prompts that leave too few tokens for the completion.
    pub too_long: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_counted_in_its_class_and_beyond_the_window() {
        let mut lengths =
            Lengths { cut: Some(Cut { window_seconds: 30.0, ..Cut::default() }), ..Lengths::default() };
        for seconds in [0.5, 1.0, 4.9, 9.0, 30.0, 66.0, 3600.0] {
            lengths.add(Some(seconds));
        }
        lengths.add(None);
        assert_eq!(lengths.histogram, [1, 2, 1, 0, 1, 1, 1]);
        assert_eq!((lengths.known, lengths.unknown), (7, 1));
        let cut = lengths.cut.unwrap();
        // 36 s of the 66 s, 3570 s of the hour; 30 s itself is heard whole.
        assert_eq!(cut.clips, 2);
        assert!((cut.hours - 3606.0 / 3600.0).abs() < 1e-9);
    }
}
