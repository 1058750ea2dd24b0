//! How degenerate the completions of a step are: columns that are computed only if an alarm uses them.

use std::collections::{BTreeSet, HashSet};

use records::statistics::mean_of;
use rewards::RewardItem;
use rewards::degeneracy::{Script, foreign_letters, repeated_share};

use crate::context::ArmContext;

/// Number of words of the n-grams whose repetition is counted.
const NGRAM: usize = 3;

/// The share of repeated n-grams within a completion, mean over the completions.
pub(super) fn repetition_rate(arm: &ArmContext, items: &[RewardItem]) -> Option<f64> {
    if !arm.alarms.use_number("repetition_rate") {
        return None;
    }
    mean_of(items.iter().map(|item| repeated_share(&item.completion, NGRAM)))
}

/// The share of the letters of all completions whose script no prompt of the step has.
pub(super) fn foreign_script_rate(arm: &ArmContext, items: &[RewardItem]) -> Option<f64> {
    if !arm.alarms.use_number("foreign_script_rate") {
        return None;
    }
    let mut groups = HashSet::new();
    let firsts = items.iter().filter(|item| groups.insert(item.group));
    let prompts = firsts.map(|item| Script::all_in(&arm.user_text(&item.question, None)));
    let known: BTreeSet<Script> = prompts.flatten().collect();
    let letters = items.iter().map(|item| foreign_letters(&item.completion, &known));
    let (foreign, all) = letters.fold((0, 0), |sum, of_item| (sum.0 + of_item.0, sum.1 + of_item.1));
    (all > 0).then(|| foreign as f64 / all as f64)
}
