//! A step as its ranks take it: the share of each.

use super::message::{LeavingOrder, encode};
use super::split::split;
use crate::grpo_share::GrpoShare;
use crate::micro_batch::trained_tokens;
use crate::sft_pass::SftShare;
use crate::train_group::{SftGroup, TrainGroup};

/// Rank 0's share of a step with its groups, and the orders that bring the others theirs.
pub(crate) struct Shares<S, G> {
    pub(crate) own: S,
    pub(crate) groups: Vec<G>,
    pub(crate) orders: Vec<Vec<u8>>,
}

/// Splits the groups of a GRPO step, of which `whole` is the share of a process that trains alone.
pub(crate) fn grpo_orders(
    arm: &str,
    groups: &[TrainGroup],
    whole: &GrpoShare,
    micro_batch_prompts: usize,
    ranks: usize,
) -> Shares<GrpoShare, TrainGroup> {
    let tokens = |group: &TrainGroup| {
        group.prompt.ids.len() + group.completions.iter().map(|each| each.ids.len()).sum::<usize>()
    };
    let sizes: Vec<usize> = groups.iter().map(tokens).collect();
    // By group, the place of its first completion in the step.
    let firsts: Vec<usize> = groups
        .iter()
        .scan(0, |next, group| {
            let first = *next;
            *next += group.completions.len();
            Some(first)
        })
        .collect();
    let (mut first_micro_batch, mut tokens_before) = (0, 0);
    let share = |places: &Vec<usize>| {
        let covariant = match whole.covariant.is_empty() {
            true => Vec::new(),
            false => places
                .iter()
                .flat_map(|&place| &whole.covariant[firsts[place]..][..groups[place].completions.len()])
                .cloned()
                .collect(),
        };
        let share = GrpoShare { covariant, first_micro_batch, tokens_before, ..whole.clone() };
        let groups: Vec<&TrainGroup> = places.iter().map(|&place| &groups[place]).collect();
        first_micro_batch += micro_batches(groups.len(), micro_batch_prompts);
        let completions = groups.iter().flat_map(|group| &group.completions);
        tokens_before += completions
            .map(|completion| trained_tokens(completion, whole.settings.mask_truncated))
            .sum::<usize>();
        (share, groups)
    };
    let mut shares: Vec<_> = split(&sizes, ranks).iter().map(share).collect();
    let (own, own_groups) = shares.remove(0);
    let order =
        |(share, groups)| encode(&LeavingOrder::Grpo { arm: arm.to_owned(), share: Box::new(share), groups });
    let orders = shares.into_iter().map(order).collect();
    Shares { own, groups: own_groups.into_iter().cloned().collect(), orders }
}

/// Splits the groups of a supervised step, of which `whole` is the share of a process that trains alone.
pub(crate) fn sft_orders(
    arm: &str,
    groups: &[SftGroup],
    whole: &SftShare,
    micro_batch_prompts: usize,
    ranks: usize,
) -> Shares<SftShare, SftGroup> {
    let tokens =
        |group: &SftGroup| group.prompt.ids.len() + group.targets.iter().map(Vec::len).sum::<usize>();
    let sizes: Vec<usize> = groups.iter().map(tokens).collect();
    let mut first_micro_batch = 0;
    let share = |places: &Vec<usize>| {
        let share = SftShare { first_micro_batch, ..whole.clone() };
        first_micro_batch += micro_batches(places.len(), micro_batch_prompts);
        let groups: Vec<&SftGroup> = places.iter().map(|&place| &groups[place]).collect();
        (share, groups)
    };
    let mut shares: Vec<_> = split(&sizes, ranks).iter().map(share).collect();
    let (own, own_groups) = shares.remove(0);
    let order = |(share, groups)| encode(&LeavingOrder::Sft { arm: arm.to_owned(), share, groups });
    let orders = shares.into_iter().map(order).collect();
    Shares { own, groups: own_groups.into_iter().cloned().collect(), orders }
}

/// Number of micro-batches of so many prompts, at most `size` in each; 0 for all in one.
fn micro_batches(prompts: usize, size: usize) -> usize {
    prompts.div_ceil(if size == 0 { prompts.max(1) } else { size })
}

#[cfg(test)]
mod tests {
    use model::loss::{GrpoConfig, Normalizer};
    use model::{Completion, Finish, Prompt};

    use super::*;
    use crate::grpo_share::PassSettings;
    use crate::ranks::{ArrivingOrder, Order, decode};

    /// A group of one prompt token whose completions have these lengths.
    fn group(lengths: &[usize]) -> TrainGroup {
        let completion = |&length: &usize| Completion {
            ids: vec![1; length],
            logprobs: vec![0.0; length],
            forced: 0..0,
            finish: Finish::Eos,
        };
        TrainGroup {
            prompt: Prompt { ids: vec![0], clips: Vec::new() },
            completions: lengths.iter().map(completion).collect(),
            advantages: vec![0.0; lengths.len()],
            mode_advantages: Vec::new(),
            think_tokens: vec![0; lengths.len()],
        }
    }

    #[test]
    fn each_share_knows_where_it_is_in_the_step() {
        let groups = [group(&[1, 1]), group(&[9]), group(&[2, 2]), group(&[3])];
        let settings = PassSettings {
            config: GrpoConfig::default(),
            correction: None,
            entropy_top_fraction: 1.0,
            mask_truncated: false,
            measure_ratios: false,
            temperature: 1.0,
        };
        let whole = GrpoShare {
            settings,
            normalizer: Normalizer { completions: 6, tokens: 18, max_completion_tokens: 9 },
            covariant: vec![vec![0], vec![1], vec![2], vec![3], vec![4], vec![5]],
            first_micro_batch: 0,
            tokens_before: 0,
            iterations: 1,
            lr: 0.5,
        };
        // Sizes 3, 10, 5, 4: the second group alone, against 5 + 4 + 3.
        let Shares { own, groups: kept, orders } = grpo_orders("a", &groups, &whole, 2, 2);
        assert_eq!((kept.len(), own.first_micro_batch, own.tokens_before), (1, 0, 0));
        assert_eq!(own.covariant, [[2]], "the third completion of the step is the only one");
        let Some(Order::Grpo { arm, share, groups }) = decode::<ArrivingOrder>(&orders[0]) else {
            panic!("another order")
        };
        assert_eq!((arm.as_str(), groups.len(), orders.len()), ("a", 3, 1));
        assert_eq!((share.first_micro_batch, share.tokens_before), (1, 9));
        assert_eq!(share.covariant, [[0], [1], [3], [4], [5]]);
        assert_eq!((share.normalizer, share.lr), (whole.normalizer, 0.5), "the totals are those of the step");
    }

    #[test]
    fn micro_batches_are_counted_as_they_are_cut() {
        for (prompts, size, count) in [(5, 2, 3), (4, 2, 2), (5, 0, 1), (0, 0, 0), (0, 3, 0)] {
            assert_eq!(micro_batches(prompts, size), count, "{prompts} by {size}");
        }
    }
}
