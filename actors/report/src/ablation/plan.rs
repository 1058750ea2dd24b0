//! The contrasts of a design: for each figure the weights of the arms that count.

use std::collections::{BTreeMap, BTreeSet};

use scenarios::{Design, Fraction};
use statistics::shapley_weights;

/// The contrasts that the arms allow.
pub(super) struct Plan {
    pub(super) contributions: Vec<Planned>,
    /// All factors on minus all off.
    pub(super) all: Option<Vec<f64>>,
    /// The sum of the Shapley values minus that.
    pub(super) unexplained: Option<Vec<f64>>,
    pub(super) effects: Vec<PlannedEffect>,
    pub(super) remarks: Vec<String>,
}

/// The contrasts of a factor.
pub(super) struct Planned {
    pub(super) factor: String,
    pub(super) holds: String,
    pub(super) weights: Option<Vec<f64>>,
    pub(super) alone: Option<Vec<f64>>,
    pub(super) last: Option<Vec<f64>>,
}

/// A main effect or an interaction of two factors.
pub(super) struct PlannedEffect {
    /// The factors, as bits over all factors of the design.
    pub(super) effect: u32,
    pub(super) aliases: Vec<u32>,
    pub(super) weights: Vec<f64>,
}

impl Plan {
    /// `levels` are those of the arms that count.
    pub(super) fn of(design: &Design, levels: &[Vec<usize>]) -> Self {
        let cells = Cells::of(design, levels);
        let mut contributions = cells.shapley(design);
        let all =
            cells.weights(&[(cells.everything(), 1.0), (0, -1.0)]).filter(|_| !cells.factors.is_empty());
        let sum = |values: &[Planned]| -> Option<Vec<f64>> {
            let mut sum = vec![0.0; levels.len()];
            for planned in values {
                sum.iter_mut().zip(planned.weights.as_ref()?).for_each(|(sum, weight)| *sum += weight);
            }
            Some(sum)
        };
        let unexplained = sum(&contributions).zip(all.as_ref()).and_then(|(sum, all)| {
            let rest: Vec<f64> = sum.iter().zip(all).map(|(sum, all)| sum - all).collect();
            rest.iter().any(|weight| weight.abs() > 1e-6).then_some(rest)
        });
        contributions.extend(level_contributions(design, levels));
        let effects = cells.effects();
        let mut remarks = Vec::new();
        let lacking: Vec<&str> = contributions
            .iter()
            .filter(|planned| planned.weights.is_none())
            .map(|planned| planned.factor.as_str())
            .collect();
        if !lacking.is_empty() {
            remarks.push(format!("These arms do not determine what {} contributed.", lacking.join(", ")));
        }
        Self { contributions, all, unexplained, effects, remarks }
    }
}

/// The arms by the factors that are on. Factors with more than two levels make several copies of the same combinations, whose
/// figures are averaged.
struct Cells {
    /// The factors with two levels, as indices into those of the design.
    factors: Vec<usize>,
    /// The combinations that count in every copy, as bits over `factors`.
    combinations: Vec<u32>,
    /// For each copy the arm of each of the combinations.
    copies: Vec<Vec<usize>>,
    arms: usize,
}

impl Cells {
    fn of(design: &Design, levels: &[Vec<usize>]) -> Self {
        let factors = design.two_level();
        let split = |levels: &[usize]| {
            let on = factors.iter().enumerate().map(|(bit, factor)| (levels[*factor] as u32) << bit).sum();
            let rest: Vec<usize> = (0..levels.len())
                .filter(|factor| !factors.contains(factor))
                .map(|factor| levels[factor])
                .collect();
            (rest, on)
        };
        let designed = design.arms.keys().filter_map(|arm| design.levels_of(arm));
        let mut copies: BTreeMap<Vec<usize>, BTreeMap<u32, usize>> =
            designed.map(|levels| (split(&levels).0, BTreeMap::new())).collect();
        for (arm, levels) in levels.iter().enumerate() {
            let (rest, on): (_, u32) = split(levels);
            copies.entry(rest).or_default().insert(on, arm);
        }
        let all: BTreeSet<u32> = copies.values().flat_map(|copy| copy.keys().copied()).collect();
        let combinations: Vec<u32> =
            all.into_iter().filter(|on| copies.values().all(|copy| copy.contains_key(on))).collect();
        let arms_of = |copy: &BTreeMap<u32, usize>| {
            combinations.iter().filter_map(|on| copy.get(on).copied()).collect()
        };
        let copies = copies.values().map(arms_of).collect();
        Self { factors, combinations, copies, arms: levels.len() }
    }

    /// All factors on.
    fn everything(&self) -> u32 {
        (1 << self.factors.len()) - 1
    }

    /// The weights of the arms for weights of combinations, averaged over the copies.
    fn spread(&self, weights: &[f64]) -> Vec<f64> {
        let mut of_arms = vec![0.0; self.arms];
        for copy in &self.copies {
            for (arm, weight) in copy.iter().zip(weights) {
                of_arms[*arm] += weight / self.copies.len() as f64;
            }
        }
        of_arms
    }

    /// The weights of the arms for some combinations; `None` if one of them does not count.
    fn weights(&self, of: &[(u32, f64)]) -> Option<Vec<f64>> {
        let mut weights = vec![0.0; self.combinations.len()];
        for (on, weight) in of {
            weights[self.combinations.iter().position(|known| known == on)?] += weight;
        }
        Some(self.spread(&weights))
    }

    fn shapley(&self, design: &Design) -> Vec<Planned> {
        let values = shapley_weights(self.factors.len(), &self.combinations);
        let all = self.everything();
        let planned = |(bit, found): (usize, Option<statistics::ShapleyWeights>)| {
            let one = 1 << bit;
            Planned {
                factor: design.factors[self.factors[bit]].name.clone(),
                holds: found
                    .as_ref()
                    .map_or_else(String::new, |found| holds(found.order, self.factors.len())),
                weights: found.map(|found| self.spread(&found.weights)),
                alone: self.weights(&[(one, 1.0), (0, -1.0)]),
                last: self.weights(&[(all, 1.0), (all & !one, -1.0)]),
            }
        };
        values.into_iter().enumerate().map(planned).collect()
    }

    /// Main effects and interactions of two factors, each once, if the combinations are a regular fraction.
    fn effects(&self) -> Vec<PlannedEffect> {
        let factors = self.factors.len();
        let Some(fraction) = Fraction::of(factors, &self.combinations).filter(|_| factors > 1) else {
            return Vec::new();
        };
        let ones = (0..factors).map(|a| 1_u32 << a);
        let twos = (0..factors).flat_map(|a| (a + 1..factors).map(move |b| 1_u32 << a | 1 << b));
        let (mut effects, mut seen) = (Vec::new(), BTreeSet::<u32>::new());
        for effect in ones.chain(twos) {
            let aliases = fraction.aliases(effect);
            // What has the same sign in every arm is no contrast.
            if aliases.contains(&0) || seen.contains(&effect) {
                continue;
            }
            seen.extend(&aliases);
            let scale = f64::from(1 << effect.count_ones()) / self.combinations.len() as f64;
            let weights: Vec<f64> = fraction.signs(effect).iter().map(|sign| sign * scale).collect();
            let whole = |effect: u32| {
                self.factors
                    .iter()
                    .enumerate()
                    .map(|(bit, factor)| (effect >> bit & 1) << factor)
                    .sum::<u32>()
            };
            effects.push(PlannedEffect {
                effect: whole(effect),
                aliases: aliases.into_iter().filter(|alias| alias.count_ones() <= 3).map(whole).collect(),
                weights: self.spread(&weights),
            });
        }
        effects
    }
}

/// What has to hold for a Shapley value.
fn holds(order: usize, factors: usize) -> String {
    match order {
        order if order == factors => "exact".to_owned(),
        1 => "if factors do not interact".to_owned(),
        2 => "if no three factors interact".to_owned(),
        order => format!("if no {} factors interact", order + 1),
    }
}

/// For each level of a factor with more than two but the first: the mean difference to the first over all combinations of the
/// other factors.
fn level_contributions(design: &Design, levels: &[Vec<usize>]) -> Vec<Planned> {
    let designed: Vec<Vec<usize>> = design.arms.keys().filter_map(|arm| design.levels_of(arm)).collect();
    let arm_of = |wanted: &Vec<usize>| levels.iter().position(|found| found == wanted);
    let mut planned = Vec::new();
    for (factor, of) in design.factors.iter().enumerate().filter(|(_, factor)| factor.levels.len() > 2) {
        for (level, name) in of.levels.iter().enumerate().skip(1) {
            let with: Vec<&Vec<usize>> = designed.iter().filter(|arm| arm[factor] == level).collect();
            let mut weights = Some(vec![0.0; levels.len()]);
            for arm in &with {
                let mut first = (*arm).clone();
                first[factor] = 0;
                match (arm_of(arm), arm_of(&first), &mut weights) {
                    (Some(new), Some(old), Some(weights)) => {
                        weights[new] += 1.0 / with.len() as f64;
                        weights[old] -= 1.0 / with.len() as f64;
                    }
                    _ => weights = None,
                }
            }
            planned.push(Planned {
                factor: format!("{}: {name} instead of {}", of.name, of.levels[0]),
                holds: "mean over the other factors".to_owned(),
                weights: weights.filter(|_| !with.is_empty()),
                alone: None,
                last: None,
            });
        }
    }
    planned
}
