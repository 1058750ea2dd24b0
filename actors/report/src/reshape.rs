//! What the advantages of a run would have been under another formula, other weights or another estimator, computed from
//! the recorded scores of its completions.
//!
//! The completions are those that the policy drew under the recorded rewards. Under others it would have learned otherwise
//! and drawn others, so this says which completions would have been favoured at that moment, not how the training would
//! have ended.
//!
//! - `RESHAPE-1` without a change, rewards and advantages equal the recorded ones.

use std::collections::BTreeMap;

use records::{
    ArmId, GrpoMetrics, JournalEntry, Phase, Rollout, RunDir, StepMetrics, changes_in_order, for_each_line,
};
use rewards::{Advantages, Agreement, Difficulty, Formula, Mode, Weights, shaped_advantages};
use scenarios::{ArmConfig, Method};
use serde::Serialize;

use crate::error::ReshapeError;

/// The override that sets the formula of all arms.
const FORMULA: &str = "shaping.formula=";

/// An arm under one seed, as it was recorded and under other conditions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reshaped {
    /// The arm and its seed.
    #[serde(flatten)]
    pub id: ArmId,
    /// Steps that were reshaped.
    pub steps: u64,
    /// Completions of these steps.
    pub completions: u64,
    /// Completions with an advantage in both cases, of which the figures below are.
    pub compared: u64,
    /// Completions with an advantage under the change and none recorded.
    pub gained: u64,
    /// Completions with a recorded advantage and none under the change.
    pub lost: u64,
    /// Share of the compared completions whose advantage has the other sign; `None` if nothing is compared.
    pub changed_signs: Option<f64>,
    /// Spearman's rank correlation of the advantages; `None` if one side is constant.
    pub rank_correlation: Option<f64>,
    /// The largest difference of an advantage.
    pub largest_difference: f64,
    /// Share of the groups with variance: recorded and changed.
    pub groups_with_variance: [Option<f64>; 2],
    /// Mean advantage by mode, recorded and changed: whom the rewards favour.
    pub by_mode: BTreeMap<String, [Option<f64>; 2]>,
    /// The same by difficulty and mode, such as `hard, think`.
    pub by_difficulty: BTreeMap<String, [Option<f64>; 2]>,
    /// By step.
    pub by_step: Vec<ReshapedStep>,
}

/// A step of [`Reshaped`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReshapedStep {
    /// The step, from 1.
    pub step: u64,
    /// Mean reward, recorded and changed.
    pub reward: [Option<f64>; 2],
    /// Share of changed signs.
    pub changed_signs: Option<f64>,
    /// Mean advantage of the completions that think, recorded and changed.
    pub think_advantage: [Option<f64>; 2],
}

/// Reshapes the GRPO arms of a run that `arms` selects (all without any), with the overrides `set` of its scenario, such as
/// `shaping.formula=accuracy`.
///
/// Errors: [`ReshapeError`]: files can't be read, an override does not fit, or an arm can't be reshaped; the message says why.
pub fn reshape(run_dir: &RunDir, set: &[String], arms: &[String]) -> Result<Vec<Reshaped>, ReshapeError> {
    let load = |set: &[String]| scenarios::load(&run_dir.scenario(), set, arms, None);
    let recorded = load(&[])?;
    // A formula need not use all weights of the run, which a scenario's must.
    let (formulas, others): (Vec<String>, Vec<String>) =
        set.iter().cloned().partition(|set| set.starts_with(FORMULA));
    let mut changed = load(&others)?;
    if let Some(formula) = formulas.last() {
        let formula = formula[FORMULA.len()..].trim().trim_matches('"');
        changed.arms.iter_mut().for_each(|arm| arm.shaping.formula = formula.to_owned());
    }
    let journal = run_dir.read_journal()?;
    let mut all = Vec::new();
    for arm in changed.arms.iter().filter(|arm| arm.method == Method::Grpo) {
        let Some(before) = recorded.arms.iter().find(|before| before.name == arm.name) else { continue };
        if arm.grpo.kl_in_reward {
            return Err(ReshapeError::KlInReward { arm: arm.name.clone() });
        }
        for &seed in &changed.run.seeds {
            let id = ArmId::new(arm.name.clone(), seed);
            if run_dir.arm(&id).rollouts().is_file() {
                all.push(Arm { before, after: arm, id }.reshape(run_dir, &journal)?);
            }
        }
    }
    if all.is_empty() {
        return Err(ReshapeError::NothingToReshape { path: run_dir.path().to_owned() });
    }
    Ok(all)
}

/// An arm under one seed.
struct Arm<'a> {
    before: &'a ArmConfig,
    after: &'a ArmConfig,
    id: ArmId,
}

/// What is needed of the completions of one step, in the order in which they were recorded.
#[derive(Default)]
struct Step {
    scores: BTreeMap<String, Vec<Option<f64>>>,
    rewards: Vec<Option<f64>>,
    advantages: Vec<Option<f64>>,
    thinks: Vec<bool>,
    difficulties: Vec<Option<Difficulty>>,
}

impl Step {
    fn push(&mut self, rollout: &Rollout) {
        for (name, score) in &rollout.components {
            let scores = self.scores.entry(name.clone()).or_default();
            // A component that came later has no score before.
            scores.resize(self.rewards.len(), None);
            scores.push(*score);
        }
        self.rewards.push(rollout.reward);
        self.advantages.push(rollout.advantage);
        self.thinks.push(rollout.mode == Some(Mode::Think));
        self.difficulties.push(rollout.difficulty);
    }
}

impl Arm<'_> {
    fn reshape(self, run_dir: &RunDir, journal: &[JournalEntry]) -> Result<Reshaped, ReshapeError> {
        let dir = run_dir.arm(&self.id);
        let metrics = dir.read_metrics()?;
        let weights: BTreeMap<u64, &GrpoMetrics> =
            metrics.iter().filter_map(StepMetrics::grpo).map(|row| (row.step, row)).collect();
        let formulas = self.formulas(journal);
        // The earlier steps of a fork are its parent's.
        let begins_after = self.before.fork.as_ref().map_or(0, |fork| fork.step);
        let mut totals = Totals::default();
        let mut failed = None;
        let mut pending: Option<(u64, Step)> = None;
        let mut finish = |number: u64, step: Step| {
            // A step without its row of metrics was not finished.
            let Some(row) = weights.get(&number) else { return Ok(()) };
            let formula = formulas.iter().rev().find(|(from, _)| *from <= number).map(|(_, formula)| formula);
            let (rewards, advantages) = self.shape(number, row, formula.map(String::as_str), &step)?;
            totals.add(number, self.after.sampling.group_size, &step, &rewards, &advantages);
            Ok::<(), ReshapeError>(())
        };
        for_each_line(&dir.rollouts(), |line| {
            let rollout: Rollout = serde_json::from_slice(line)?;
            if rollout.phase != Phase::Train || rollout.step <= begins_after || failed.is_some() {
                return Ok(());
            }
            if pending.as_ref().is_some_and(|(step, _)| *step != rollout.step)
                && let Some((number, step)) = pending.take()
            {
                failed = finish(number, step).err();
            }
            pending.get_or_insert_with(|| (rollout.step, Step::default())).1.push(&rollout);
            Ok(())
        })?;
        if let (Some((number, step)), None) = (pending, &failed) {
            failed = finish(number, step).err();
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(totals.reshaped(self.id)),
        }
    }

    /// The formulas as they were recorded, each with the first step under it.
    fn formulas(&self, journal: &[JournalEntry]) -> Vec<(u64, String)> {
        let begun = (0, self.before.shaping.formula.clone());
        let changes = changes_in_order(journal, &self.id).into_iter();
        let later = changes.filter_map(|entry| Some((entry.step, entry.change?.formula?)));
        std::iter::once(begun).chain(later).collect()
    }

    /// The rewards and advantages of a step under the change. What the change does not touch is as it was in this step.
    fn shape(
        &self,
        step: u64,
        row: &GrpoMetrics,
        recorded: Option<&str>,
        scores: &Step,
    ) -> Result<(Vec<Option<f64>>, Advantages), ReshapeError> {
        let shaping = &self.after.shaping;
        let formula = match recorded {
            Some(recorded) if shaping.formula == self.before.shaping.formula => recorded,
            _ => &shaping.formula,
        };
        let mut weights = row.weights.clone();
        for (name, weight) in &shaping.weights {
            if self.before.shaping.weights.get(name) != Some(weight) || !weights.contains_key(name) {
                weights.insert(name.clone(), weight.at(step));
            }
        }
        let parsed = Formula::parse(formula, scores.scores.keys(), weights.keys());
        let formula = parsed.map_err(|source| ReshapeError::Formula {
            arm: self.id.arm.clone(),
            step,
            source: Box::new(source),
            recorded: scores.scores.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        let weights = Weights { version: row.weights_version, values: weights };
        let options = self.after.advantage_options();
        let group_size = self.after.sampling.group_size;
        Ok(shaped_advantages(&formula, &scores.scores, &weights, group_size, &options, None, &scores.thinks))
    }
}

/// The sum and number of some values.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn get(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

fn means(pair: [Mean; 2]) -> [Option<f64>; 2] {
    pair.map(Mean::get)
}

#[derive(Default)]
struct Totals {
    /// The advantages of all completions, recorded and changed.
    advantages: [Vec<Option<f64>>; 2],
    varied: [Mean; 2],
    by_mode: BTreeMap<String, [Mean; 2]>,
    by_difficulty: BTreeMap<String, [Mean; 2]>,
    by_step: Vec<ReshapedStep>,
}

impl Totals {
    fn add(
        &mut self,
        number: u64,
        group_size: usize,
        step: &Step,
        rewards: &[Option<f64>],
        advantages: &Advantages,
    ) {
        let (mut reward, mut think) = ([Mean::default(); 2], [Mean::default(); 2]);
        for (side, rewards) in [step.rewards.as_slice(), rewards].into_iter().enumerate() {
            rewards.iter().flatten().for_each(|value| reward[side].add(*value));
        }
        for (side, values) in [&step.advantages, &advantages.values].into_iter().enumerate() {
            for group in values.chunks(group_size.max(1)) {
                let varied = group.iter().flatten().any(|advantage| *advantage != 0.0);
                self.varied[side].add(f64::from(u8::from(varied)));
            }
        }
        for place in 0..step.rewards.len() {
            let (Some(before), Some(after)) = (step.advantages[place], advantages.values[place]) else {
                continue;
            };
            let mode = if step.thinks[place] { "think" } else { "no-think" };
            let by_mode = self.by_mode.entry(mode.to_owned()).or_default();
            let by_difficulty = step.difficulties[place]
                .map(|difficulty| self.by_difficulty.entry(format!("{difficulty}, {mode}")).or_default());
            let mut of = vec![by_mode];
            of.extend(by_difficulty);
            if step.thinks[place] {
                of.push(&mut think);
            }
            for pair in of {
                pair[0].add(before);
                pair[1].add(after);
            }
        }
        self.advantages[0].extend(&step.advantages);
        self.advantages[1].extend(&advantages.values);
        self.by_step.push(ReshapedStep {
            step: number,
            reward: means(reward),
            changed_signs: Agreement::of(&step.advantages, &advantages.values).changed_signs,
            think_advantage: means(think),
        });
    }

    fn reshaped(self, id: ArmId) -> Reshaped {
        let [before, after] = &self.advantages;
        let agreement = Agreement::of(before, after);
        Reshaped {
            id,
            steps: self.by_step.len() as u64,
            completions: before.len() as u64,
            compared: agreement.compared,
            gained: agreement.gained,
            lost: agreement.lost,
            changed_signs: agreement.changed_signs,
            rank_correlation: agreement.rank_correlation,
            largest_difference: agreement.largest_difference,
            groups_with_variance: means(self.varied),
            by_mode: self.by_mode.into_iter().map(|(mode, pair)| (mode, means(pair))).collect(),
            by_difficulty: self.by_difficulty.into_iter().map(|(key, pair)| (key, means(pair))).collect(),
            by_step: self.by_step,
        }
    }
}
