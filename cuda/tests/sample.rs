//! Sampling, emulated: draws against the inverted cumulative sum, log-probabilities, and how a row advances.

use crate::common::{Emulated, Kind, Tensor, chance, emulated, numbers};
use cuda::Format;
use cuda::op::{Op, Sample, Settings};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// The tensors of a launch, and its sizes.
struct Rows {
    format: Format,
    rows: usize,
    vocabulary: usize,
    columns: usize,
    record: usize,
    splits: u32,
    settings: Settings,
    logits: Vec<f64>,
    allowed: Vec<f64>,
    uniforms: Vec<f64>,
    column: Vec<f64>,
    forced: Vec<f64>,
    eos: Vec<f64>,
    lengths: Vec<f64>,
    finished: Vec<f64>,
}

/// What a launch has written.
#[derive(PartialEq, Debug)]
struct Written {
    ids: Vec<f64>,
    lengths: Vec<f64>,
    positions: Vec<f64>,
    finished: Vec<f64>,
    drawn: Vec<f64>,
    /// Bits, as there are NaNs where nothing is written.
    logprobs: Vec<u32>,
}

impl Rows {
    /// As many rows as there are random numbers, at their first own token, with logits that are all the same.
    fn new(format: Format, logits: &[f64], uniforms: &[f64]) -> Rows {
        let rows = uniforms.len();
        Rows {
            format,
            rows,
            vocabulary: logits.len(),
            columns: rows,
            record: 2,
            splits: 2,
            settings: Settings { factor: 1.0, divisor: 1.0, greedy: 0, limit: 9 },
            logits: logits.repeat(rows),
            allowed: vec![1.0; logits.len()],
            uniforms: [vec![f64::NAN; rows], uniforms.to_vec()].concat(),
            column: (0..rows).map(|row| row as f64).collect(),
            forced: vec![-1.0; rows],
            eos: Vec::new(),
            lengths: vec![0.0; rows],
            finished: vec![0.0; rows],
        }
    }

    fn run(&self, device: &Emulated, order: u32) -> Written {
        let elements = Tensor::new(self.format, &self.logits);
        let settings = Tensor::settings(&self.settings);
        let [uniforms, eos] =
            [(Kind::F32, &self.uniforms), (Kind::I64, &self.eos)].map(|(kind, x)| Tensor::new(kind, x));
        let (allowed, forced) = (Tensor::new(Kind::U8, &self.allowed), Tensor::new(Kind::I64, &self.forced));
        let [column, lengths, finished] =
            [&self.column, &self.lengths, &self.finished].map(|x| Tensor::new(Kind::I32, x));
        let positions = Tensor::filled(Kind::I32, self.rows, 40.0);
        let ids = Tensor::filled(Kind::I64, self.rows, -7.0);
        let drawn = Tensor::filled(Kind::I64, self.record * self.columns, -7.0);
        let logprobs = Tensor::filled(Kind::F32, self.record * self.columns, f64::NAN);
        let parts = Tensor::filled(Kind::F64, self.rows * self.splits as usize * 4, f64::NAN);
        let arrived = Tensor::filled(Kind::I32, self.rows, 0.0);
        let op = Op::Sample(Sample {
            logits: elements.address(),
            allowed: allowed.address(),
            uniforms: uniforms.address(),
            column: column.address(),
            forced: forced.address(),
            eos: eos.address(),
            settings: settings.address(),
            ids: ids.address(),
            lengths: lengths.address(),
            positions: positions.address(),
            finished: finished.address(),
            drawn: drawn.address(),
            logprobs: logprobs.address(),
            parts: parts.address(),
            arrived: arrived.address(),
            rows: self.rows as u32,
            vocabulary: self.vocabulary as u32,
            eos_count: self.eos.len() as u32,
            columns: self.columns as u32,
            record: self.record as u32,
            splits: self.splits,
        });
        device.order(order);
        device.run(&[op]).unwrap();
        device.order(0);
        assert!(arrived.values().iter().all(|&count| count == 0.0));
        let [ids, lengths, positions] = [&ids, &lengths, &positions].map(Tensor::values);
        let [finished, drawn, logprobs] = [&finished, &drawn, &logprobs].map(Tensor::values);
        let logprobs = logprobs.iter().map(|&x| (x as f32).to_bits()).collect();
        Written { ids, lengths, positions, finished, drawn, logprobs }
    }

    /// The logits of a row, divided by the temperature in f32 as the kernel does it.
    fn scaled(&self, row: usize) -> Vec<f64> {
        let own = &self.logits[row * self.vocabulary..][..self.vocabulary];
        own.iter().map(|&x| f64::from(x as f32 / self.settings.divisor)).collect()
    }

    /// What the row's token should be, and whether the random number is so near a boundary that f32 may decide otherwise.
    fn expected(&self, row: usize) -> (usize, bool) {
        let logits = self.scaled(row);
        let allowed = |id: usize| self.allowed[id] != 0.0;
        if self.forced[row] >= 0.0 {
            return (self.forced[row] as usize, false);
        }
        if self.settings.greedy != 0 {
            let best = (0..logits.len()).filter(|&id| allowed(id) && logits[id] > f64::NEG_INFINITY);
            let better = |best: usize, id: usize| if logits[id] > logits[best] { id } else { best };
            return (best.reduce(better).unwrap_or(logits.len() - 1), false);
        }
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight = |id: usize| if allowed(id) { (logits[id] - top).exp() } else { 0.0 };
        let total: f64 = (0..logits.len()).map(weight).sum();
        let token = (self.lengths[row] as i64 + 1) as usize;
        let target =
            total * f64::from(self.uniforms[token * self.columns + self.column[row] as usize] as f32);
        let mut sum = 0.0;
        for id in 0..logits.len() {
            let before = sum;
            sum += weight(id);
            if sum > target {
                let near = (sum - target).min(target - before) < 1e-6 * total && before > 0.0;
                return (id, near);
            }
        }
        (logits.len() - 1, false)
    }

    fn logprob(&self, row: usize, id: usize) -> f64 {
        let logits = self.scaled(row);
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logits[id] - top - logits.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
    }
}

fn random_rows(chance: &mut ChaCha8Rng, format: Format) -> Rows {
    let (rows, vocabulary) =
        (chance.random_range(1..5), [1, 2, 31, 257, 1000, 4099][chance.random_range(0..6)]);
    let columns = rows + chance.random_range(0..3);
    let record = chance.random_range(2..6);
    let spread = [0.1, 3.0, 12.0][chance.random_range(0..3)];
    let mut logits = numbers(chance, format, rows * vocabulary, spread);
    // Some ids can't be, and whole stretches of them.
    for x in &mut logits {
        if chance.random_range(0..40) == 0 {
            *x = f64::NEG_INFINITY;
        }
    }
    if vocabulary > 200 {
        let from = chance.random_range(0..vocabulary - 150);
        logits[from..from + 150].fill(f64::NEG_INFINITY);
    }
    // But every row has one that can be.
    logits.iter_mut().step_by(vocabulary).for_each(|x| *x = 0.5);
    let allowed = (0..vocabulary).map(|_| if chance.random_range(0..10) == 0 { 0.0 } else { 1.0 }).collect();
    let mut column: Vec<f64> = (0..columns).map(|column| column as f64).collect();
    column.rotate_left(chance.random_range(0..columns));
    column.truncate(rows);
    let temperature = [0.0, 0.7, 1.0, 1.3][chance.random_range(0..4)];
    Rows {
        format,
        rows,
        vocabulary,
        columns,
        record,
        splits: [1, 2, 5, 16][chance.random_range(0..4)],
        settings: Settings::new(format, temperature, chance.random_range(1..8)),
        logits,
        allowed,
        uniforms: (0..record * columns).map(|_| chance.random_range(1e-7..0.9999999f32).into()).collect(),
        column,
        forced: (0..rows)
            .map(|_| {
                if chance.random_range(0..8) == 0 { chance.random_range(0..vocabulary) as f64 } else { -1.0 }
            })
            .collect(),
        eos: (0..chance.random_range(0..3)).map(|_| chance.random_range(0..vocabulary) as f64).collect(),
        lengths: (0..rows).map(|_| chance.random_range(-1..record as i32 - 1).into()).collect(),
        finished: (0..rows).map(|_| if chance.random_range(0..5) == 0 { 1.0 } else { 0.0 }).collect(),
    }
}

#[test]
fn draws_invert_the_cumulative_sum() {
    let (mut drawn, mut near_boundaries) = (0, 0);
    for (format, seeds) in [(Format::F32, 0..120), (Format::Bf16, 500..620)] {
        let Some(device) = emulated(format, 32) else { return };
        for seed in seeds {
            let rows = random_rows(&mut chance(seed), format);
            let written = rows.run(&device, seed as u32 % 2);
            assert_eq!(
                written,
                rows.run(&device, 2 + seed as u32),
                "seed {seed}: the order changes the result"
            );
            for row in 0..rows.rows {
                let token = rows.lengths[row] as i64 + 1;
                let place = token as usize * rows.columns + rows.column[row] as usize;
                if rows.finished[row] != 0.0 {
                    assert_eq!((written.ids[row], written.lengths[row]), (-7.0, rows.lengths[row]));
                    assert_eq!((written.positions[row], written.finished[row]), (40.0, 1.0));
                    continue;
                }
                let (id, near) = rows.expected(row);
                drawn += 1;
                let found = written.ids[row] as usize;
                if near && found != id {
                    near_boundaries += 1;
                } else {
                    assert_eq!(found, id, "seed {seed}, row {row}");
                }
                assert_eq!(written.drawn[place] as usize, found);
                let expected = rows.logprob(row, found);
                let logprob = f64::from(f32::from_bits(written.logprobs[place]));
                assert!(
                    logprob == expected || (logprob - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                    "seed {seed}: {logprob} {expected}"
                );
                assert_eq!((written.lengths[row], written.positions[row]), (token as f64, 41.0));
                let last = token as usize + 1 >= rows.record.min(rows.settings.limit as usize);
                let end =
                    if rows.eos.contains(&(found as f64)) { 1.0 } else { f64::from(u8::from(last)) * 2.0 };
                assert_eq!(written.finished[row], end, "seed {seed}");
            }
            let recorded = written.drawn.iter().filter(|&&id| id != -7.0).count();
            assert_eq!(
                recorded,
                rows.finished.iter().filter(|&&flag| flag == 0.0).count(),
                "one place per row"
            );
        }
    }
    assert!(
        drawn > 400 && near_boundaries * 100 <= drawn,
        "{near_boundaries} of {drawn} draws differ by rounding"
    );
}

#[test]
fn a_distribution_of_four_is_cut_where_its_sums_are() {
    // As in model/src/sampling.rs. Probabilities 0.1, 0.2, 0.4, 0.3; cumulative 0.1, 0.3, 0.7, 1.0.
    let Some(device) = emulated(Format::F32, 32) else { return };
    let logits = [0.1f64, 0.2, 0.4, 0.3].map(f64::ln);
    let rows = Rows::new(Format::F32, &logits, &[0.05, 0.15, 0.35, 0.65, 0.75, 0.999_999]);
    let written = rows.run(&device, 0);
    assert_eq!(written.ids, [0.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    for (bits, probability) in written.logprobs[6..].iter().zip([0.1f32, 0.2, 0.4, 0.4, 0.3, 0.3]) {
        assert!((f32::from_bits(*bits) - probability.ln()).abs() < 1e-6);
    }
    // Without id 2 the sums are 0.1, 0.3, 0.3, 0.6, so the cuts are at 1/6 = 0.1667 and 1/2; log-probabilities stay.
    let mut rows = Rows::new(Format::F32, &logits, &[0.16, 0.17, 0.49, 0.51]);
    rows.allowed[2] = 0.0;
    let written = rows.run(&device, 0);
    assert_eq!(written.ids, [0.0, 1.0, 1.0, 3.0]);
    assert!((f32::from_bits(written.logprobs[7]) - 0.3f32.ln()).abs() < 1e-6);
    rows.settings.greedy = 1;
    assert_eq!(rows.run(&device, 0).ids, [3.0; 4]);
    rows.allowed[2] = 1.0;
    assert_eq!(rows.run(&device, 0).ids, [2.0; 4]);
    // The first of equals; nothing allowed: the last id, as in the plain path.
    rows.logits = [0.5, 1.0, 1.0, 1.0].repeat(4);
    assert_eq!(rows.run(&device, 0).ids, [1.0; 4]);
    rows.allowed = vec![0.0; 4];
    assert_eq!(rows.run(&device, 0).ids, [3.0; 4]);
    rows.settings.greedy = 0;
    assert_eq!(rows.run(&device, 0).ids, [3.0; 4]);
}

#[test]
fn draws_have_the_probabilities_of_the_model() {
    // Four ids, 0.1 to 0.4, of a temperature of 1: 400 draws from an even grid come within one of the exact numbers.
    let Some(device) = emulated(Format::F32, 32) else { return };
    let uniforms: Vec<f64> = (0..400).map(|index| (index as f64 + 0.5) / 400.0).collect();
    let rows = Rows::new(Format::F32, &[0.1f64, 0.2, 0.4, 0.3].map(f64::ln), &uniforms);
    let written = rows.run(&device, 0);
    for (id, expected) in [40i64, 80, 160, 120].into_iter().enumerate() {
        let count = written.ids.iter().filter(|&&found| found == id as f64).count() as i64;
        assert!((count - expected).abs() <= 1, "id {id}: {count}");
    }
}
