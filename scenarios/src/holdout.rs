//! Splits one file into a part to train on and a part held out.
//!
//! The side of a row depends on its group and the seed alone, so it stays the same when rows are added, removed or sorted.
//!
//! - SPLIT-1 with `split_by = "audio"` all rows of a clip are on one side.
//! - SPLIT-2 the two parts have every row once.

use std::path::Path;

use rewards::Question;
use sha2::{Digest, Sha256};

use crate::error::ScenarioError;
use crate::source::{FileSource, Part, SplitBy};

/// Decides which rows of a source are used.
pub(crate) struct Holdout {
    by: SplitBy,
    /// Hashes below it are held out.
    limit: f64,
    seed: u64,
    part: Part,
}

impl Holdout {
    /// The split of a source; `None` if it uses all of its rows.
    ///
    /// Errors: a key is out of range, or needs another.
    pub(crate) fn of(source: &FileSource) -> Result<Option<Self>, ScenarioError> {
        let FileSource { split_by, holdout, split_seed, part, .. } = source;
        let fail = |problem: &str, instead: &str| Err(ScenarioError::value(problem, instead));
        match (holdout, part) {
            (None, None) if split_by.is_none() && split_seed.is_none() => Ok(None),
            (None, _) => {
                fail("`holdout` is missing", "write the fraction of rows that is held out, such as 0.1")
            }
            (Some(_), None) => fail(
                "`holdout` is set, but `part` is not",
                "write part = \"train\", and part = \"heldout\" in the suite",
            ),
            (Some(holdout), Some(_)) if !(*holdout > 0.0 && *holdout < 1.0) => {
                fail(&format!("`holdout` is {holdout}"), "write a fraction between 0 and 1, such as 0.1")
            }
            (&Some(limit), &Some(part)) => {
                let by = split_by.unwrap_or_default();
                Ok(Some(Self { by, limit, seed: split_seed.unwrap_or(DEFAULT_SEED), part }))
            }
        }
    }

    /// Whether a row is in the part that is used. Paths of clips count from `root` on, so that a copy of the data is split
    /// as the original.
    pub(crate) fn takes(&self, question: &Question, root: &Path) -> bool {
        let clip = question.audio_path.strip_prefix(root).unwrap_or(&question.audio_path);
        // `./a.wav` is `a.wav`.
        let clip: std::path::PathBuf =
            clip.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect();
        let clip = clip.to_string_lossy();
        let held_out = match self.by {
            SplitBy::Audio => self.hash(&[&clip]),
            SplitBy::Id => self.hash(&[&question.id]),
            SplitBy::None => self.hash(&[&question.id, &clip, &question.text]),
        } < self.limit;
        held_out == (self.part == Part::Heldout)
    }

    /// A number from 0 to 1 that depends on the group and the seed.
    fn hash(&self, group: &[&str]) -> f64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        for text in group {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let digest = hash.finalize();
        let first = digest.iter().take(8).fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        first as f64 / 2f64.powi(64)
    }
}

/// The seed of a split that states none.
const DEFAULT_SEED: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: usize, clip: usize) -> Question {
        let audio_path = format!("root/{clip}.wav").into();
        Question { id: id.to_string(), audio_path, ..Question::default() }
    }

    fn taken(seed: u64, by: SplitBy, part: Part, rows: usize) -> Vec<usize> {
        let holdout = Holdout { by, limit: 0.1, seed, part };
        (0..rows).filter(|&id| holdout.takes(&question(id, id / 4), Path::new("root"))).collect()
    }

    #[test]
    fn a_clip_is_on_one_side_and_every_row_on_exactly_one() {
        let (train, heldout) =
            (taken(7, SplitBy::Audio, Part::Train, 4000), taken(7, SplitBy::Audio, Part::Heldout, 4000));
        assert_eq!(train.len() + heldout.len(), 4000);
        // 1000 clips at 0.1: 100 with a standard deviation of 9.5.
        assert!((70 * 4..130 * 4).contains(&heldout.len()), "{}", heldout.len());
        assert!(heldout.chunks(4).all(|rows| rows[0] % 4 == 0 && rows[3] == rows[0] + 3));
        assert!(heldout.iter().all(|id| !train.contains(id)));
    }

    #[test]
    fn rows_keep_their_side_when_others_are_added_and_another_seed_draws_others() {
        let few = taken(7, SplitBy::Id, Part::Heldout, 1000);
        let more: Vec<usize> =
            taken(7, SplitBy::Id, Part::Heldout, 2000).into_iter().filter(|&id| id < 1000).collect();
        assert_eq!(few, more);
        assert_ne!(few, taken(8, SplitBy::Id, Part::Heldout, 1000));
        assert_ne!(few, taken(7, SplitBy::None, Part::Heldout, 1000));
    }

    #[test]
    fn the_side_of_a_clip_never_changes_with_a_new_version() {
        // SHA-256 of eight zero bytes, the length 5 in eight bytes, and `a.wav`: the split of a published result.
        let holdout = Holdout { by: SplitBy::Audio, limit: 0.5, seed: 0, part: Part::Heldout };
        let hash = holdout.hash(&["a.wav"]);
        assert!((hash - HASH_OF_A).abs() < 1e-12, "{hash}");
        let a = Question { audio_path: "x/./a.wav".into(), ..Question::default() };
        let b = Question { audio_path: "y/a.wav".into(), ..Question::default() };
        assert_eq!(holdout.takes(&a, Path::new("x")), holdout.takes(&b, Path::new("y")));
    }

    const HASH_OF_A: f64 = 0.27500222681719666;

    #[test]
    fn keys_that_need_another_or_are_out_of_range_are_named() {
        let source = |holdout, part| FileSource { holdout, part, ..FileSource::default() };
        let message = |source: FileSource| Holdout::of(&source).err().unwrap().to_string();
        assert!(Holdout::of(&source(None, None)).unwrap().is_none());
        assert!(message(source(Some(0.1), None)).starts_with("`holdout` is set, but `part` is not"));
        assert!(message(source(None, Some(Part::Train))).starts_with("`holdout` is missing"));
        assert!(
            message(source(Some(1.5), Some(Part::Train))).starts_with("`holdout` is 1.5; write a fraction")
        );
    }
}
