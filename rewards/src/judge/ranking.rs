//! Comparing the completions of a group with each other: what is compared, the order or the winner in a reply, and the score.
//!
//! The score of a completion is the share of the other completions of its group that it beats. A tie counts half. Every
//! well-formed completion beats the malformed ones, and equal completions tie; neither costs a request. Among n different
//! well-formed completions the score is the normalised rank (n − rank) / (n − 1): 1 for the best, 0 for the last.
//!
//! What is drawn depends on the texts alone (TASK-2): the same completions are compared in the same order in every run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::failure::{FailureCause, JudgeFailure};
use super::guard::content_hash;
use super::reply::value_of;
use crate::ParsedCompletion;

/// The options of the reward `listwise`, which are what it asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListwiseTask {
    /// How often a group is put in order, each time shown in another one; at least 1.
    pub orders: usize,
    /// Whether the judge is told the right answer.
    pub show_answer: bool,
    /// The settings of the reward's own judge; empty for that of the arm.
    pub judge: toml::Table,
}

impl Default for ListwiseTask {
    fn default() -> Self {
        Self { orders: 1, show_answer: false, judge: toml::Table::new() }
    }
}

/// The options of the reward `pairwise`, which are what it asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairwiseTask {
    /// Most pairs of a group that are compared; 0 for all.
    pub pairs: usize,
    /// Whether each pair is shown in both orders, so that a preference for a position cancels.
    pub both_orders: bool,
    /// What the outcomes of the pairs become.
    pub score: PairScore,
    /// Whether the judge is told the right answer.
    pub show_answer: bool,
    /// The settings of the reward's own judge; empty for that of the arm.
    pub judge: toml::Table,
}

impl Default for PairwiseTask {
    fn default() -> Self {
        Self {
            pairs: 0,
            both_orders: true,
            score: PairScore::WinRate,
            show_answer: false,
            judge: toml::Table::new(),
        }
    }
}

/// What the outcomes of the pairs become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairScore {
    /// The share of its own pairs that a completion wins.
    #[default]
    WinRate,
    /// The share of the others that a completion is expected to beat, by a Bradley-Terry model of all pairs.
    BradleyTerry,
}

/// A group of completions as they are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The different well-formed completions: for each, the place of its first in the group. Their order depends on the texts
    /// alone.
    pub contestants: Vec<usize>,
    /// For each completion of the group its contestant, by index; `None` for a malformed one.
    pub of: Vec<Option<usize>>,
    /// What is drawn for this group follows from it.
    pub seed: u64,
}

impl Contest {
    /// The contest of a group.
    pub fn of(group: &[&ParsedCompletion]) -> Self {
        let text = |parsed: &ParsedCompletion| {
            let think = parsed.think.clone().unwrap_or_default();
            parsed.well_formed.then(|| (think, parsed.answer.clone().unwrap_or_default()))
        };
        let texts: Vec<Option<(String, String)>> = group.iter().map(|parsed| text(parsed)).collect();
        let mut distinct: Vec<&(String, String)> = texts.iter().flatten().collect();
        distinct.sort();
        distinct.dedup();
        let of: Vec<Option<usize>> = texts
            .iter()
            .map(|text| text.as_ref().and_then(|text| distinct.binary_search(&text).ok()))
            .collect();
        let first = |contestant| of.iter().position(|of| *of == Some(contestant)).unwrap_or_default();
        let flat: Vec<&str> = distinct.iter().flat_map(|(think, answer)| [think.as_str(), answer]).collect();
        let hash = content_hash(&flat);
        let seed = hash.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        Self { contestants: (0..distinct.len()).map(first).collect(), of, seed }
    }

    /// Whether a judge has to be asked: there are at least two different completions.
    pub fn is_open(&self) -> bool {
        self.contestants.len() > 1
    }

    /// The scores of the group, from the share of wins of one contestant over another; `None` where that is not known. A
    /// completion of which nothing is known, or that has no other to be compared with, has no score.
    pub fn scores(&self, share: impl Fn(usize, usize) -> Option<f64>) -> Vec<Option<f64>> {
        let score = |place: usize| {
            let Some(own) = self.of[place] else { return Some(0.0) };
            let others = self.of.iter().enumerate().filter(|(other, _)| *other != place);
            let known: Vec<f64> = others
                .filter_map(|(_, other)| match other {
                    None => Some(1.0),
                    Some(other) if *other == own => Some(0.5),
                    Some(other) => share(own, *other),
                })
                .collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        (0..self.of.len()).map(score).collect()
    }

    /// The order in which the contestants are shown the `number`th time.
    pub fn shown(&self, number: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.contestants.len()).collect();
        let mut draw = Draw(self.seed.wrapping_add(number as u64));
        for last in (1..order.len()).rev() {
            order.swap(last, draw.below(last + 1));
        }
        order
    }

    /// The pairs to compare, at most `most` unless that is 0. After the first n of n contestants, each is in the same number
    /// of pairs; after the first n/2, each is in one.
    pub fn pairs(&self, most: usize) -> Vec<(usize, usize)> {
        let circle = self.shown(0);
        let n = circle.len();
        let mut pairs = Vec::new();
        for distance in 1..=n / 2 {
            // At half the way around, each pair would come twice.
            let starts = if 2 * distance == n { distance } else { n };
            let (even, odd): (Vec<usize>, Vec<usize>) =
                (0..starts).partition(|start| (start / distance) % 2 == 0);
            let pair = |start: usize| (circle[start], circle[(start + distance) % n]);
            pairs.extend(even.into_iter().chain(odd).map(pair));
        }
        if most > 0 {
            pairs.truncate(most);
        }
        pairs
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same numbers on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % most as u64) as usize
    }
}

/// Reads the order in a reply, of `count` completions numbered from 1: their indices from 0, the best first.
///
/// Errors: the reply has no order, or one that does not have each of them once.
pub fn read_order(reply: &str, count: usize) -> Result<Vec<usize>, JudgeFailure> {
    let value = value_of(reply, "order")?;
    let number = |value: &Value| match value {
        Value::String(text) => text.trim().parse().ok(),
        _ => value.as_u64(),
    };
    let numbers: Option<Vec<u64>> =
        value.as_array().and_then(|list| list.iter().map(number).collect::<Option<Vec<u64>>>());
    let numbers = numbers.unwrap_or_default();
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(1..=count as u64) {
        let message = format!("\"order\" is {value}, and does not have each number from 1 to {count} once");
        return Err(JudgeFailure::new(FailureCause::Malformed, message));
    }
    Ok(numbers.into_iter().map(|number| number as usize - 1).collect())
}

/// Reads which of two completions is better: 1 for the first, 0 for the second, 0.5 for a tie.
///
/// Errors: the reply names neither.
pub fn read_better(reply: &str) -> Result<f64, JudgeFailure> {
    let value = value_of(reply, "better")?;
    match value.as_str().map(|text| text.trim().to_lowercase()).as_deref() {
        Some("a") => Ok(1.0),
        Some("b") => Ok(0.0),
        Some("tie") => Ok(0.5),
        _ => {
            let message = format!("\"better\" is {value}, not \"A\", \"B\" or \"tie\"");
            Err(JudgeFailure::new(FailureCause::Malformed, message))
        }
    }
}

/// The outcome of a pair: the first contestant, the second, and 1 if the first won, 0 if the second did, 0.5 for a tie.
pub type Outcome = (usize, usize, f64);

/// The strengths of `count` contestants by a Bradley-Terry model: π_i / (π_i + π_j) is the probability that i beats j. `None`
/// for those without an outcome.
///
/// Each contestant also ties once with an imagined one of strength 1, so that strengths are finite for one that wins all its
/// pairs, and comparable if the pairs do not connect all (a prior as in Caron and Doucet 2012). The likelihood is maximised
/// by the iteration of Hunter (2004).
pub fn bradley_terry(count: usize, outcomes: &[Outcome]) -> Vec<Option<f64>> {
    const ITERATIONS: usize = 10_000;
    const PRECISION: f64 = 1e-12;
    let mut wins = vec![0.5; count];
    let mut compared = vec![false; count];
    for &(one, other, outcome) in outcomes {
        wins[one] += outcome;
        wins[other] += 1.0 - outcome;
        (compared[one], compared[other]) = (true, true);
    }
    let mut strengths = vec![1.0_f64; count];
    for _ in 0..ITERATIONS {
        let mut weights: Vec<f64> = strengths.iter().map(|strength| 1.0 / (strength + 1.0)).collect();
        for &(one, other, _) in outcomes {
            let weight = 1.0 / (strengths[one] + strengths[other]);
            weights[one] += weight;
            weights[other] += weight;
        }
        let next: Vec<f64> = wins.iter().zip(&weights).map(|(wins, weight)| wins / weight).collect();
        let moved = |(next, now): (&f64, &f64)| (next / now - 1.0).abs() > PRECISION;
        let still = !next.iter().zip(&strengths).any(moved);
        strengths = next;
        if still {
            break;
        }
    }
    strengths.into_iter().zip(compared).map(|(strength, compared)| compared.then_some(strength)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParserOptions, parse_completion};

    fn contest(completions: &[&str]) -> Contest {
        let parsed: Vec<ParsedCompletion> =
            completions.iter().map(|text| parse_completion(text, &ParserOptions::default())).collect();
        Contest::of(&parsed.iter().collect::<Vec<_>>())
    }

    fn thoughts(texts: &[&str]) -> Contest {
        let completions: Vec<String> =
            texts.iter().map(|text| format!("<think>{text}</think><answer>x</answer>")).collect();
        contest(&completions.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn the_score_is_the_share_of_the_others_that_are_beaten() {
        // In the order c, a, b: ranks 2, 3 and 1 of 3, (3 − rank) / 2.
        let three = thoughts(&["a", "b", "c"]);
        let place = |contestant: usize| [2, 0, 1].iter().position(|&in_order| in_order == contestant);
        let share = |one, other| Some(f64::from(u8::from(place(one) < place(other))));
        assert_eq!(three.scores(share), [0.5, 0.0, 1.0].map(Some));
    }

    #[test]
    fn equal_completions_tie_and_malformed_ones_lose_without_being_compared() {
        let group = contest(&[
            "<answer>dog</answer>",
            "<think>hm",
            " <answer> dog </answer>",
            "<think>bark</think><answer>dog</answer>",
        ]);
        assert_eq!(group.contestants.len(), 2);
        assert_eq!((group.of[0], group.of[1]), (group.of[2], None));
        let better = group.of[3].unwrap();
        let scores = group.scores(|one, _| Some(f64::from(u8::from(one == better))));
        // The twins beat the malformed one and tie with each other: (1 + 0.5 + 0) / 3.
        assert_eq!(scores, [Some(0.5), Some(0.0), Some(0.5), Some(1.0)]);
        let unknown = group.scores(|_, _| None);
        assert_eq!(unknown, [Some(0.75), Some(0.0), Some(0.75), Some(1.0)], "what is known still counts");
        let same = thoughts(&["a", "a", "a"]);
        assert!(!same.is_open());
        assert_eq!(same.scores(|_, _| None), [Some(0.5); 3]);
    }

    #[test]
    fn one_completion_has_no_score_unless_it_beats_malformed_ones() {
        assert_eq!(thoughts(&["a"]).scores(|_, _| None), [None]);
        assert_eq!(contest(&["<answer>a</answer>", "b"]).scores(|_, _| None), [Some(1.0), Some(0.0)]);
        assert_eq!(contest(&["a", "b"]).scores(|_, _| None), [Some(0.0); 2]);
        assert_eq!(contest(&[]).scores(|_, _| None), []);
        assert_eq!(thoughts(&["a", "b"]).scores(|_, _| None), [None, None]);
    }

    #[test]
    fn what_is_shown_depends_on_the_texts_and_not_on_their_places() {
        let (one, other) = (thoughts(&["a", "b", "c", "d"]), thoughts(&["d", "a", "c", "b"]));
        assert_eq!((one.seed, one.shown(0), one.pairs(0)), (other.seed, other.shown(0), other.pairs(0)));
        assert_eq!(other.contestants, [1, 3, 2, 0]);
        assert_ne!(one.seed, thoughts(&["a", "b", "c", "e"]).seed);
        let orders: Vec<Vec<usize>> = (0..20).map(|number| one.shown(number)).collect();
        assert!(orders.iter().any(|order| order != &orders[0]));
        for mut order in orders {
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn all_pairs_come_once_and_the_first_ones_cover_all_contestants() {
        for n in 2..=9 {
            let texts: Vec<String> = (0..n).map(|number| number.to_string()).collect();
            let group = thoughts(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let pairs = group.pairs(0);
            let mut distinct: Vec<(usize, usize)> =
                pairs.iter().map(|&(one, other)| (one.min(other), one.max(other))).collect();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!((pairs.len(), distinct.len()), (n * (n - 1) / 2, n * (n - 1) / 2), "{n}");
            let first = group.pairs(n.div_ceil(2));
            let covered = |contestant| first.iter().any(|(one, other)| [*one, *other].contains(&contestant));
            assert!((0..n).all(covered), "{n}: {first:?}");
        }
    }

    #[test]
    fn an_order_has_each_completion_once() {
        assert_eq!(read_order(r#"{"order": [3, 1, 2]}"#, 3).unwrap(), [2, 0, 1]);
        assert_eq!(read_order(r#"Sure: {"Order": ["2", "1"]}"#, 2).unwrap(), [1, 0]);
        for reply in [
            r#"{"order": [3, 1]}"#,
            r#"{"order": [1, 1, 2]}"#,
            r#"{"order": [0, 1, 2]}"#,
            r#"{"order": [1, 2, 3, 4]}"#,
            r#"{"order": [1.5, 2, 3]}"#,
            r#"{"order": "3 > 1 > 2"}"#,
            r#"{"order": []}"#,
            r#"{"order": [1, 2, 3]} no: {"order": [3, 2, 1]}"#,
            "3, 1, 2",
        ] {
            assert_eq!(read_order(reply, 3).unwrap_err().cause, FailureCause::Malformed, "{reply}");
        }
        assert_eq!(read_order("", 3).unwrap_err().cause, FailureCause::Empty);
    }

    #[test]
    fn a_winner_is_one_of_the_two_or_a_tie() {
        let better = |reply: &str| read_better(reply).map_err(|failure| failure.cause);
        assert_eq!(better(r#"{"better": "A"}"#), Ok(1.0));
        assert_eq!(better(r#"{"better": " b "}"#), Ok(0.0));
        assert_eq!(better(r#"{"better": "tie"}"#), Ok(0.5));
        for reply in [r#"{"better": "both"}"#, r#"{"better": 1}"#, r#"{"better": null}"#, "A"] {
            assert_eq!(better(reply), Err(FailureCause::Malformed), "{reply}");
        }
    }

    #[test]
    fn bradley_terry_strengths_satisfy_their_equations() {
        // One pair, won by the first: π and 1/π by symmetry, where π²/(π² + 1) + π/(π + 1) = 1.5, so π = 2.1304.
        let two = bradley_terry(2, &[(0, 1, 1.0)]);
        let strength = two[0].unwrap();
        assert!(
            (strength - 2.1304).abs() < 1e-4 && (two[1].unwrap() * strength - 1.0).abs() < 1e-9,
            "{two:?}"
        );
        // Of three, of which the first beats the second and that the third, the expected wins equal the wins:
        // Σ_j π_i/(π_i + π_j) + π_i/(π_i + 1) = wins_i + 0.5.
        let three: Vec<f64> =
            bradley_terry(3, &[(0, 1, 1.0), (1, 2, 1.0)]).into_iter().map(Option::unwrap).collect();
        let beats = |one: f64, other: f64| one / (one + other);
        let expected = [
            beats(three[0], three[1]) + beats(three[0], 1.0),
            beats(three[1], three[0]) + beats(three[1], three[2]) + beats(three[1], 1.0),
            beats(three[2], three[1]) + beats(three[2], 1.0),
        ];
        for (expected, wins) in expected.into_iter().zip([1.5, 1.5, 0.5]) {
            assert!((expected - wins).abs() < 1e-9, "{three:?}");
        }
        assert!(three[0] > three[1] && three[1] > three[2]);
        assert_eq!(
            bradley_terry(3, &[(0, 1, 0.5)]),
            [Some(1.0), Some(1.0), None],
            "a tie, and one that never met"
        );
    }
}
