//! The child processes of one reward. Mostly there is one. Several share the groups of each batch (PLUGIN-4), and each is
//! restarted on its own when it fails.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Instant;

use futures_util::future::join_all;
use rewards::{RewardBatch, RewardItem};
use scenarios::ProcessPlugin;

use crate::process::ProcessReward;
use crate::protocol::Call;
use crate::scored::Scored;

/// The child processes of one reward, which are killed when this is dropped.
pub struct Processes {
    children: Vec<ProcessReward>,
    /// Warnings that were passed on. Every child gives them, and so does its successor.
    warned: BTreeSet<String>,
}

impl Processes {
    /// Starts the children. The first batch waits until they are ready.
    pub(crate) fn open(name: &str, plugin: &ProcessPlugin) -> Self {
        let open = |_| ProcessReward::open(name, plugin.clone());
        Processes { children: (0..plugin.processes.max(1)).map(open).collect(), warned: BTreeSet::new() }
    }

    /// How the children call the user's code, if one is running and has said so.
    pub(crate) fn call(&self) -> Option<&Call> {
        self.children.iter().find_map(ProcessReward::call)
    }

    /// Scores a batch: each child a part of its groups, all at the same time. A child that fails costs its part only. The
    /// future may be dropped at any `.await`.
    pub(crate) async fn score(&mut self, batch: &RewardBatch) -> Scored {
        let parts = divide(&batch.items, self.children.len());
        let part = async |child: &mut ProcessReward, part: Range<usize>| {
            let started = Instant::now();
            let items = &batch.items[part];
            let answer = child.score(batch, items).await;
            Scored::of(answer, items.len(), started.elapsed().as_secs_f64())
        };
        let scoring = self.children.iter_mut().zip(parts).map(|(child, range)| part(child, range));
        let mut scored = Scored::joined(join_all(scoring).await);
        scored.warnings.retain(|warning| self.warned.insert(warning.clone()));
        scored
    }

    /// Stops the children and waits until they are reaped.
    pub(crate) async fn close(self) {
        join_all(self.children.into_iter().map(ProcessReward::close)).await;
    }
}

/// Divides completions into at most `most` parts of whole groups, whose numbers of groups differ by at most one. There is
/// always one part, also without completions.
fn divide(items: &[RewardItem], most: usize) -> Vec<Range<usize>> {
    let groups: Vec<usize> = items.chunk_by(|one, next| one.group == next.group).map(<[_]>::len).collect();
    let parts = most.min(groups.len()).max(1);
    let mut ranges = Vec::with_capacity(parts);
    let (mut first_group, mut start) = (0, 0);
    for part in 0..parts {
        let end_group = groups.len() * (part + 1) / parts;
        let end = start + groups[first_group..end_group].iter().sum::<usize>();
        ranges.push(start..end);
        (first_group, start) = (end_group, end);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample_batch;

    fn items(groups: &[usize]) -> Vec<RewardItem> {
        let item = sample_batch().items[0].clone();
        groups.iter().map(|group| RewardItem { group: *group, ..item.clone() }).collect()
    }

    #[test]
    fn plugin_4_parts_are_whole_groups_and_as_even_as_can_be() {
        let six = items(&[0, 0, 1, 1, 2, 2]);
        let whole = |parts: Vec<Range<usize>>| (parts.len(), parts[0].clone());
        assert_eq!(whole(divide(&six, 1)), (1, 0..6));
        assert_eq!(divide(&six, 2), [0..2, 2..6]);
        assert_eq!(divide(&six, 3), [0..2, 2..4, 4..6]);
        assert_eq!(divide(&six, 8), [0..2, 2..4, 4..6], "the rest idle");
        assert_eq!(divide(&items(&[4, 4, 4, 9]), 2), [0..3, 3..4], "a row that was left out leaves a gap");
        assert_eq!(whole(divide(&[], 3)), (1, 0..0));
    }
}
