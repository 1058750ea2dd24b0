//! How often the intervals contain the truth, and how often a table of comparisons claims an effect that is not there, on
//! synthetic answers whose truth is known: `make coverage`. `RUNS` sets the number of runs of each setting.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statistics::{Panel, SeedVariance, holm, shapley_weights};
use statrs::distribution::{ContinuousCDF, Normal};

/// A policy answers a question rightly if `level + clip + question + seed + noise > 0`, each a normal variable with these
/// standard deviations, except the noise, which has 1.
#[derive(Clone, Copy)]
struct Setting {
    name: &'static str,
    questions: usize,
    /// Questions about each clip.
    per_clip: usize,
    seeds: usize,
    level: f64,
    clip: f64,
    question: f64,
    seed: f64,
    /// How much the second arm's level is above the first's.
    effect: f64,
}

const PLAIN: Setting = Setting {
    name: "",
    questions: 400,
    per_clip: 1,
    seeds: 1,
    level: 0.4,
    clip: 0.0,
    question: 1.0,
    seed: 0.0,
    effect: 0.2,
};

fn settings() -> Vec<Setting> {
    vec![
        Setting { name: "few questions", questions: 24, ..PLAIN },
        Setting { name: "few questions, 3 seeds", questions: 24, seeds: 3, seed: 0.2, ..PLAIN },
        Setting { name: "few questions, near the ceiling", questions: 24, seeds: 5, level: 2.2, ..PLAIN },
        Setting { name: "100 questions", questions: 100, ..PLAIN },
        Setting {
            name: "4 questions a clip",
            questions: 100,
            per_clip: 4,
            clip: 1.0,
            question: 0.7,
            ..PLAIN
        },
        Setting { name: "2 seeds", questions: 100, seeds: 2, seed: 0.1, ..PLAIN },
        Setting { name: "2 seeds that differ much", questions: 200, seeds: 2, seed: 0.5, ..PLAIN },
        Setting {
            name: "5 seeds that differ",
            questions: 100,
            per_clip: 2,
            clip: 0.7,
            question: 0.7,
            seeds: 5,
            seed: 0.3,
            ..PLAIN
        },
        Setting { name: "near the ceiling", questions: 100, seeds: 3, level: 2.6, ..PLAIN },
        Setting { name: "near the ceiling, 8 seeds", seeds: 8, level: 2.4, seed: 0.1, ..PLAIN },
        Setting { name: "chance level", level: -0.95, ..PLAIN },
        Setting { name: "400 questions", ..PLAIN },
        Setting {
            name: "clips and 3 seeds",
            per_clip: 4,
            clip: 1.0,
            question: 0.7,
            seeds: 3,
            seed: 0.1,
            ..PLAIN
        },
        Setting { name: "600 questions, 5 seeds", questions: 600, seeds: 5, seed: 0.15, ..PLAIN },
        Setting { name: "2000 questions", questions: 2000, per_clip: 4, clip: 0.7, question: 0.7, ..PLAIN },
        Setting {
            name: "2000 questions, 8 seeds",
            questions: 2000,
            per_clip: 2,
            clip: 0.7,
            question: 0.7,
            seeds: 8,
            seed: 0.2,
            ..PLAIN
        },
    ]
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let (radius, turn): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
}

impl Setting {
    /// The share of right answers at this level, over all questions and seeds.
    fn truth(&self, level: f64) -> f64 {
        let total = 1.0 + self.clip.powi(2) + self.question.powi(2) + self.seed.powi(2);
        Normal::standard().cdf(level / total.sqrt())
    }

    /// The answers of arms with these levels to the same questions.
    fn draw(&self, levels: &[f64], rng: &mut ChaCha8Rng) -> Vec<Panel> {
        let clips = self.questions.div_ceil(self.per_clip);
        let of_clip: Vec<f64> = (0..clips).map(|_| self.clip * normal(rng)).collect();
        let of_question: Vec<f64> = (0..self.questions).map(|_| self.question * normal(rng)).collect();
        let names: Vec<(String, String)> = (0..self.questions)
            .map(|question| (question.to_string(), (question / self.per_clip).to_string()))
            .collect();
        let mut panels = Vec::new();
        for level in levels {
            let mut panel = Panel::default();
            for seed in 0..self.seeds {
                let of_seed = self.seed * normal(rng);
                for (question, (name, clip)) in names.iter().enumerate() {
                    let sum = level + of_seed + of_clip[question / self.per_clip] + of_question[question];
                    let right = sum + normal(rng) > 0.0;
                    panel.add(name, clip, seed as u64, f64::from(u8::from(right)), 1.0);
                }
            }
            panels.push(panel);
        }
        panels
    }
}

fn pooled(panels: &[Panel]) -> Option<SeedVariance> {
    SeedVariance::pooled(panels.iter().filter_map(Panel::seed_variance))
}

/// How often something held, in percent.
#[derive(Debug)]
struct Found {
    /// The interval of an arm contains the truth.
    arm: f64,
    /// The interval of a difference contains the truth.
    difference: f64,
    /// A table of seven comparisons, with nothing to find, claims a difference.
    claims: f64,
}

fn measure(setting: &Setting, runs: usize, seed: u64) -> Found {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (first, second) = (setting.level, setting.level + setting.effect);
    let (share, other) = (setting.truth(first), setting.truth(second));
    let (mut arm, mut difference, mut claims) = (0, 0, 0);
    for _ in 0..runs {
        let panels = setting.draw(&[first, second], &mut rng);
        let of_arm = panels[0].share().expect("there are answers");
        arm += usize::from(of_arm.low <= share && share <= of_arm.high);
        let found = panels[1].share_difference(&panels[0], pooled(&panels)).expect("there are answers");
        let (found, truth) = (found.estimate, other - share);
        difference += usize::from(found.low <= truth && truth <= found.high);
    }
    let tables = runs.div_ceil(4);
    for _ in 0..tables {
        // Eight arms of which none differs from the one before.
        let panels = setting.draw(&[first; 8], &mut rng);
        let seeds = pooled(&panels);
        let p_values: Vec<f64> = panels
            .windows(2)
            .map(|pair| pair[1].share_difference(&pair[0], seeds).expect("there are answers").p_value)
            .collect();
        claims += usize::from(holm(&p_values).iter().any(|p_value| *p_value < 0.05));
    }
    let percent = |count: usize, of: usize| 100.0 * count as f64 / of as f64;
    Found { arm: percent(arm, runs), difference: percent(difference, runs), claims: percent(claims, tables) }
}

/// A design of factors that an arm has or has not. The level of an arm is the sum of the parts of all sets of its factors; the parts are
/// drawn anew for each world.
struct Factorial {
    name: &'static str,
    factors: usize,
    /// The arms, each as the bits of the factors that are on.
    arms: Vec<u32>,
    /// Standard deviations of the parts of single factors, of pairs and of triples.
    parts: [f64; 3],
    setting: Setting,
}

fn factorials() -> Vec<Factorial> {
    let base = Setting { questions: 200, seeds: 3, seed: 0.15, ..PLAIN };
    let parts = [0.3, 0.15, 0.0];
    let even =
        |factors: u32| (0..1 << factors).filter(|arm: &u32| arm.count_ones().is_multiple_of(2)).collect();
    // The last two of six factors are products of the first four, in signs.
    let quarter = (0..16_u32).map(|arm| {
        let sign = |product: u32| u32::from((product & !arm).count_ones().is_multiple_of(2));
        arm | sign(0b0111) << 4 | sign(0b1110) << 5
    });
    let ones = (0..4).map(|factor| 1_u32 << factor);
    let one_different = [0, 15].into_iter().chain(ones.clone()).chain(ones.map(|one| 15 - one)).collect();
    let full = |factors: u32| (0..1 << factors).collect::<Vec<u32>>();
    vec![
        Factorial { name: "full, 2 factors", factors: 2, arms: full(2), parts, setting: base },
        Factorial {
            name: "full, 3 factors",
            factors: 3,
            arms: full(3),
            parts: [0.3, 0.2, 0.2],
            setting: base,
        },
        Factorial {
            name: "full, 3 factors, 1 seed",
            factors: 3,
            arms: full(3),
            parts: [0.3, 0.2, 0.2],
            setting: Setting { seeds: 1, seed: 0.0, ..base },
        },
        Factorial {
            name: "full, 3 factors, 4 questions a clip",
            factors: 3,
            arms: full(3),
            parts,
            setting: Setting { per_clip: 4, clip: 1.0, question: 0.7, ..base },
        },
        Factorial {
            name: "full, 3 factors, near the ceiling",
            factors: 3,
            arms: full(3),
            parts,
            setting: Setting { level: 2.2, questions: 100, ..base },
        },
        Factorial {
            name: "full, 3 factors, nothing to find",
            factors: 3,
            arms: full(3),
            parts: [0.0; 3],
            setting: base,
        },
        Factorial { name: "half of 4 factors (IV)", factors: 4, arms: even(4), parts, setting: base },
        Factorial {
            name: "quarter of 6 factors (IV)",
            factors: 6,
            arms: quarter.collect(),
            parts,
            setting: base,
        },
        Factorial {
            name: "leave-one-out and add-one-in, 4 factors",
            factors: 4,
            arms: one_different,
            parts,
            setting: base,
        },
    ]
}

/// How often the interval of a Shapley value contains the truth, and how often a table of all factors claims a value with the
/// wrong sign or one where there is none; in percent.
#[derive(Debug)]
struct Values {
    covered: f64,
    wrong: f64,
    /// Mean half width of the intervals, in points.
    half: f64,
}

impl Factorial {
    /// The level of each of all combinations in a new world.
    fn world(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let all = 1_u32 << self.factors;
        let part = |set: u32, rng: &mut ChaCha8Rng| match set.count_ones() as usize {
            size @ 1..=3 => self.parts[size - 1] * normal(rng),
            _ => 0.0,
        };
        let parts: Vec<f64> = (0..all).map(|set| part(set, rng)).collect();
        let level =
            |arm: u32| (0..all).filter(|set| set & !arm == 0).map(|set| parts[set as usize]).sum::<f64>();
        (0..all).map(|arm| self.setting.level + level(arm)).collect()
    }

    fn measure(&self, runs: usize, seed: u64) -> Values {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let all: Vec<u32> = (0..1 << self.factors).collect();
        let exact = shapley_weights(self.factors, &all);
        let estimated = shapley_weights(self.factors, &self.arms);
        let (mut covered, mut wrong, mut half) = (0, 0, 0.0);
        for _ in 0..runs {
            let levels = self.world(&mut rng);
            let of_arms: Vec<f64> = self.arms.iter().map(|arm| levels[*arm as usize]).collect();
            let panels = self.setting.draw(&of_arms, &mut rng);
            let seeds = pooled(&panels);
            let contrasts =
                Panel::share_contrasts(&panels.iter().collect::<Vec<_>>()).expect("there are answers");
            let (mut p_values, mut signs) = (Vec::new(), Vec::new());
            for (exact, estimated) in exact.iter().flatten().zip(estimated.iter().flatten()) {
                let truth: f64 = exact
                    .weights
                    .iter()
                    .zip(&levels)
                    .map(|(weight, level)| weight * self.setting.truth(*level))
                    .sum();
                let found = contrasts.of(&estimated.weights, seeds).expect("the weights are not 0");
                let estimate = found.estimate;
                covered += usize::from(estimate.low <= truth && truth <= estimate.high);
                half += 50.0 * (estimate.high - estimate.low);
                p_values.push(found.p_value);
                signs.push(estimate.value * truth);
            }
            let claims = holm(&p_values).into_iter().zip(signs);
            wrong += usize::from(claims.into_iter().any(|(p_value, sign)| p_value < 0.05 && sign <= 0.0));
        }
        let intervals = (runs * self.factors) as f64;
        Values {
            covered: 100.0 * covered as f64 / intervals,
            wrong: 100.0 * wrong as f64 / runs as f64,
            half: half / intervals,
        }
    }
}

fn main() {
    let runs: usize = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2000);
    println!("{runs} runs of each setting, and {} tables\n", runs.div_ceil(4));
    println!(
        "| setting | questions | clips | seeds | share | of an arm | of a difference | false claims in a table of 7 |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (number, setting) in settings().into_iter().enumerate() {
        let Found { arm, difference, claims } = measure(&setting, runs, number as u64);
        println!(
            "| {} | {} | {} | {} | {:.1} % | {arm:.1} % | {difference:.1} % | {claims:.1} % |",
            setting.name,
            setting.questions,
            setting.questions.div_ceil(setting.per_clip),
            setting.seeds,
            100.0 * setting.truth(setting.level),
        );
    }
    let worlds = runs.div_ceil(4);
    println!("\nShapley values, {worlds} worlds of each design\n");
    println!(
        "| design | arms | questions | seeds | intervals with the truth | half width, points | wrong claims in a table |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (number, factorial) in factorials().into_iter().enumerate() {
        let Values { covered, wrong, half } = factorial.measure(worlds, 100 + number as u64);
        println!(
            "| {} | {} | {} | {} | {covered:.1} % | ±{half:.1} | {wrong:.1} % |",
            factorial.name,
            factorial.arms.len(),
            factorial.setting.questions,
            factorial.setting.seeds,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bounds that a correct method misses once in thousands of seeds; the seed is fixed. `make coverage` is the exact form.
    #[test]
    fn intervals_contain_the_truth_about_as_often_as_they_say() {
        for setting in settings().iter().filter(|setting| setting.questions == 100) {
            let found = measure(setting, 300, 1);
            assert!(
                found.arm > 90.0 && found.difference > 90.0 && found.claims < 15.0,
                "{}: {found:?}",
                setting.name
            );
            assert!(found.arm < 99.5, "{}: {found:?}", setting.name);
        }
    }

    /// 500 worlds whose contributions are known, with interactions. The average over these three designs has a standard error of
    /// 0.25 points; the seeds are fixed.
    #[test]
    fn intervals_of_shapley_values_contain_the_truth_in_94_of_100_worlds() {
        let names = ["full, 3 factors", "half of 4 factors (IV)", "leave-one-out and add-one-in, 4 factors"];
        let designs: Vec<Factorial> =
            factorials().into_iter().filter(|design| names.contains(&design.name)).collect();
        assert_eq!(designs.len(), names.len());
        for (number, design) in designs.iter().enumerate() {
            let found = design.measure(500, number as u64);
            assert!(found.covered >= 94.0 && found.wrong < 7.0, "{}: {found:?}", design.name);
        }
    }
}
