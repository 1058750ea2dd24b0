//! Every kernel, emulated, against f64: over random shapes, in two orders of threads each, which must agree to the bit.

use crate::common::{
    Adapter, Emulated, Kind, Tensor, assert_close, chance, emulated, numbers, rounded, variants,
};
use cuda::Format;
use cuda::op::{Attend, Embed, Norm, Op, Rotate, Settings, SwiGlu};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Runs an op in two orders; `outputs` are reset in between and must be the same to the bit.
fn run_twice(device: &Emulated, op: &Op, outputs: &mut [&mut Tensor], seed: u64) {
    let before: Vec<Tensor> = outputs.iter().map(|output| (**output).clone()).collect();
    let mut found = Vec::new();
    for order in [seed as u32 % 2, 2 + seed as u32] {
        for (output, before) in outputs.iter_mut().zip(&before) {
            output.restore(before);
        }
        device.order(order);
        device.run(std::slice::from_ref(op)).unwrap();
        found.push(outputs.iter().map(|output| output.bytes()).collect::<Vec<_>>());
    }
    device.order(0);
    assert_eq!(found[0], found[1], "seed {seed}: the order of threads changes the result");
}

/// `rms_norm(x) · weight · factor` as the kernels round it.
fn normal(format: Format, x: &[f64], weight: &[f64], eps: f64, factor: f64) -> Vec<(f64, f64)> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + eps).sqrt();
    let value = |(x, weight): (&f64, &f64)| rounded(format, rounded(format, x * scale * weight) * factor);
    x.iter().zip(weight).map(value).map(|value| (value, value)).collect()
}

/// The shapes of one kernel: `count` for each variant, with a generator and a seed of their own.
fn shapes(count: u64, mut each: impl FnMut(&Emulated, Format, u32, &mut ChaCha8Rng, u64)) {
    for (index, (format, width)) in variants().enumerate() {
        let Some(device) = emulated(format, width) else { return };
        for seed in 0..count {
            let seed = index as u64 * 1000 + seed;
            each(&device, format, width, &mut chance(seed), seed);
        }
    }
}

const EPS: f64 = 1e-6;

#[test]
fn embed_is_the_table_and_its_norm() {
    shapes(12, |device, format, _, chance, seed| {
        let (rows, width) = (chance.random_range(1..5), format.pack() as usize * chance.random_range(1..90));
        let vocabulary = chance.random_range(1..20);
        let table = numbers(chance, format, vocabulary * width, 2.0);
        let weight = numbers(chance, format, width, 1.5);
        // Ids outside the table are taken as 0.
        let ids: Vec<i64> = (0..rows).map(|_| chance.random_range(-1..=vocabulary as i64)).collect();
        let tensors = [Tensor::new(format, &table), Tensor::new(format, &weight)];
        let id_tensor = Tensor::new(Kind::I64, &ids.iter().map(|&id| id as f64).collect::<Vec<_>>());
        let mut x = Tensor::filled(format, rows * width, f64::NAN);
        let mut out = x.clone();
        let op = Op::Embed(Embed {
            ids: id_tensor.address(),
            table: tensors[0].address(),
            weight: tensors[1].address(),
            x: x.address(),
            normal: out.address(),
            vocabulary: vocabulary as u32,
            rows: rows as u32,
            width: width as u32,
            eps: EPS as f32,
        });
        run_twice(device, &op, &mut [&mut x, &mut out], seed);
        for (row, &id) in ids.iter().enumerate() {
            let id = if (0..vocabulary as i64).contains(&id) { id as usize } else { 0 };
            let entry = &table[id * width..][..width];
            assert_eq!(&x.values()[row * width..][..width], entry);
            let found = &out.values()[row * width..][..width];
            assert_close(format, "embed", found, &normal(format, entry, &weight, EPS, 1.0));
        }
    });
}

#[test]
fn norm_adds_the_adapter_first() {
    shapes(25, |device, format, _, chance, seed| {
        let (rows, width) = (chance.random_range(1..4), format.pack() as usize * chance.random_range(1..70));
        let rank = *[0, 1, 4, 7, 8, 16, 64, 128].get(chance.random_range(0..8)).unwrap();
        let adapter = Adapter::random(chance, format, rows, &[width], &[rank]);
        let (values, weight) =
            (numbers(chance, format, rows * width, 2.0), numbers(chance, format, width, 1.5));
        let weights = Tensor::new(format, &weight);
        let factor = if chance.random() { Some(0.625) } else { None };
        let factors = Tensor::new(Kind::F32, &[factor.unwrap_or_default()]);
        let mut x = Tensor::new(format, &values);
        let mut out = Tensor::filled(format, rows * width, f64::NAN);
        let op = Op::Norm(Norm {
            x: x.address(),
            lora: adapter.op(),
            weight: weights.address(),
            normal: out.address(),
            factor: factor.map_or(cuda::Address::NULL, |_| factors.address()),
            rows: rows as u32,
            width: width as u32,
            eps: EPS as f32,
        });
        run_twice(device, &op, &mut [&mut x, &mut out], seed);
        for row in 0..rows {
            let place = |column: usize| row * width + column;
            let expected: Vec<(f64, f64)> =
                (0..width).map(|column| adapter.added(row, column, values[place(column)])).collect();
            let found = &x.values()[place(0)..][..width];
            assert_close(format, "residual", found, &expected);
            // From what has been stored, so that a rounding that falls otherwise is not counted twice.
            let expected = normal(format, found, &weight, EPS, factor.unwrap_or(1.0));
            assert_close(format, "norm", &out.values()[place(0)..][..width], &expected);
        }
    });
}

#[test]
fn swiglu_adds_the_adapters_first() {
    shapes(25, |device, format, _, chance, seed| {
        let (rows, width) = (chance.random_range(1..19), format.pack() as usize * chance.random_range(1..40));
        let mut rank = || [0, 0, 1, 4, 8, 16, 20, 128][chance.random_range(0..8)];
        let ranks = [rank(), rank()];
        let adapter = Adapter::random(chance, format, rows, &[width, width], &ranks);
        let values = numbers(chance, format, rows * 2 * width, 4.0);
        let gate_up = Tensor::new(format, &values);
        let mut hidden = Tensor::filled(format, rows * width, f64::NAN);
        let op = Op::SwiGlu(SwiGlu {
            gate_up: gate_up.address(),
            lora: adapter.op(),
            hidden: hidden.address(),
            rows: rows as u32,
            width: width as u32,
        });
        run_twice(device, &op, &mut [&mut hidden], seed);
        let expected = |at: usize| {
            let (row, column) = (at / width, at % width);
            let part = |output: usize| adapter.added(row, output, values[row * 2 * width + output]);
            let ((gate, gate_size), (up, up_size)) = (part(column), part(width + column));
            let silu = rounded(format, gate / (1.0 + (-gate).exp()));
            // What a unit in the last place of either factor makes of the product.
            let size = (silu * up).abs().max(gate_size.abs() * up.abs()).max(silu.abs() * up_size.abs());
            (rounded(format, silu * up), size)
        };
        let expected: Vec<(f64, f64)> = (0..rows * width).map(expected).collect();
        assert_close(format, "swiglu", &hidden.values(), &expected);
    });
}

/// What `rotate` and `attend` have in common: heads, rows, and what changes from step to step.
struct Batch {
    key_heads: usize,
    query_heads: usize,
    group: usize,
    rows: usize,
    capacity: usize,
    lengths: Vec<f64>,
    finished: Vec<f64>,
}

fn batch(chance: &mut ChaCha8Rng) -> Batch {
    let key_heads = chance.random_range(1..3);
    let query_heads = key_heads * [1, 1, 2, 3, 4, 5, 7, 8, 10][chance.random_range(0..9)];
    let (group, prompts) = (chance.random_range(1..6), chance.random_range(1..3));
    let (rows, capacity) = (group * prompts, [1, 5, 33, 150][chance.random_range(0..4)]);
    let lengths = (0..rows).map(|_| chance.random_range(0..capacity) as f64).collect();
    let finished = (0..rows).map(|_| [0.0, 0.0, 0.0, 1.0, 2.0][chance.random_range(0..5)]).collect();
    Batch { key_heads, query_heads, group, rows, capacity, lengths, finished }
}

#[test]
fn rotate_writes_queries_and_one_slot_of_the_cache() {
    shapes(25, |device, format, head, chance, seed| {
        let head = head as usize;
        let Batch { key_heads, query_heads, group, rows, capacity, lengths, finished } = batch(chance);
        let outputs = [query_heads * head, key_heads * head, key_heads * head];
        let all: usize = outputs.iter().sum();
        let mut rank = || [0, 1, 4, 8, 9, 16, 64][chance.random_range(0..7)];
        let ranks = [rank(), rank(), rank()];
        let adapter = Adapter::random(chance, format, rows, &outputs, &ranks);
        let values = numbers(chance, Format::F32, rows * all, 2.0);
        let bias = chance.random::<bool>().then(|| numbers(chance, format, all, 1.0));
        let norms = chance.random::<bool>().then(|| [0, 1].map(|_| numbers(chance, format, head, 1.5)));
        let positions: Vec<f64> = (0..rows).map(|_| chance.random_range(0..50) as f64).collect();
        let angle = |at: usize| (at / head) as f64 / 1.5f64.powf((at % (head / 2)) as f64);
        let sign = |at: usize| if at % head < head / 2 { -1.0 } else { 1.0 };
        let cos: Vec<f64> = (0..50 * head).map(|at| rounded(format, angle(at).cos())).collect();
        let sin: Vec<f64> = (0..50 * head).map(|at| rounded(format, sign(at) * angle(at).sin())).collect();
        let tensor = |values: &[f64]| Tensor::new(format, values);
        let [cos_tensor, sin_tensor] = [&cos, &sin].map(|table| tensor(table));
        let qkv = Tensor::new(Kind::F32, &values);
        let bias_tensor = bias.as_ref().map(|bias| tensor(bias));
        let norm_tensors = norms.as_ref().map(|norms| [tensor(&norms[0]), tensor(&norms[1])]);
        let state = [&positions, &lengths, &finished].map(|numbers| Tensor::new(Kind::I32, numbers));
        let mut queries = Tensor::filled(format, rows * query_heads * head, f64::NAN);
        let mut keys = Tensor::filled(format, rows * key_heads * capacity * head, f64::NAN);
        let mut cached_values = keys.clone();
        let address = |tensor: Option<&Tensor>| tensor.map_or(cuda::Address::NULL, Tensor::address);
        let op = Op::Rotate(Rotate {
            qkv: qkv.address(),
            bias: address(bias_tensor.as_ref()),
            lora: adapter.op(),
            query_norm: address(norm_tensors.as_ref().map(|norms| &norms[0])),
            key_norm: address(norm_tensors.as_ref().map(|norms| &norms[1])),
            eps: EPS as f32,
            cos: cos_tensor.address(),
            sin: sin_tensor.address(),
            positions: state[0].address(),
            lengths: state[1].address(),
            finished: state[2].address(),
            queries: queries.address(),
            keys: keys.address(),
            values: cached_values.address(),
            query_heads: query_heads as u32,
            key_heads: key_heads as u32,
            rows: rows as u32,
            group: group as u32,
            capacity: capacity as u32,
        });
        run_twice(device, &op, &mut [&mut queries, &mut keys, &mut cached_values], seed);

        let [queries, keys, cached_values] = [&queries, &keys, &cached_values].map(Tensor::values);
        let mut written = 0;
        for row in (0..rows).filter(|&row| finished[row] == 0.0) {
            for number in 0..query_heads + 2 * key_heads {
                let kind =
                    usize::from(number >= query_heads) + usize::from(number >= query_heads + key_heads);
                let base = |at: usize| {
                    let output = number * head + at;
                    let x = values[row * all + output] + bias.as_ref().map_or(0.0, |bias| bias[output]);
                    adapter.added(row, output, rounded(format, x))
                };
                let projected: Vec<(f64, f64)> = (0..head).map(base).collect();
                let mut x: Vec<f64> = projected.iter().map(|part| part.0).collect();
                let mut size = projected.iter().map(|part| part.1).fold(0.0, f64::max);
                if let Some(norms) = norms.as_ref().filter(|_| kind < 2) {
                    let before = x.iter().fold(1e-9, |most: f64, x| most.max(x.abs()));
                    x = normal(format, &x, &norms[kind], EPS, 1.0).iter().map(|part| part.0).collect();
                    size *= 1.5 * x.iter().fold(0.0, |most: f64, x| most.max(x.abs())) / before;
                }
                let angle = positions[row] as usize * head;
                let turned = |at: usize| {
                    if kind == 2 {
                        return (x[at], projected[at].1);
                    }
                    let other = x[(at + head / 2) % head] * sin[angle + at];
                    let own = rounded(format, x[at] * cos[angle + at]);
                    (rounded(format, own + other), size)
                };
                let expected: Vec<(f64, f64)> = (0..head).map(turned).collect();
                let key_head = number.saturating_sub(query_heads) % key_heads;
                let slot = ((row / group * key_heads + key_head) * group + row % group) * capacity;
                let found = match kind {
                    0 => &queries[(row * query_heads + number) * head..],
                    1 => &keys[(slot + lengths[row] as usize) * head..],
                    _ => &cached_values[(slot + lengths[row] as usize) * head..],
                };
                assert_close(format, "rotate", &found[..head], &expected);
                written += head;
            }
        }
        let untouched = [queries, keys, cached_values].iter().flatten().filter(|x| x.is_nan()).count();
        let places = rows * query_heads * head + 2 * rows * key_heads * capacity * head;
        assert_eq!(untouched, places - written, "seed {seed}: nothing else is written");
    });
}

#[test]
fn attention_is_a_softmax_over_prompt_and_own_tokens() {
    shapes(45, |device, format, head, chance, seed| {
        let head = head as usize;
        let Batch { key_heads, query_heads, group, rows, capacity, lengths, finished } = batch(chance);
        let (prompts, repeat) = (rows / group, query_heads / key_heads);
        let prompt_capacity = [1, 3, 40, 130][chance.random_range(0..4)];
        let ends: Vec<usize> = (0..prompts).map(|_| chance.random_range(0..=prompt_capacity)).collect();
        let starts: Vec<usize> = ends.iter().map(|&end| chance.random_range(0..=end)).collect();
        let scale = 1.0 / (head as f64).sqrt();
        let queries = numbers(chance, format, rows * query_heads * head, 3.0);
        // What is not in use is NaN.
        let mut cache =
            |slots: usize, used: &dyn Fn(usize) -> std::ops::Range<usize>, capacity: usize| -> Vec<f64> {
                let mut all = vec![f64::NAN; slots * capacity * head];
                for slot in 0..slots {
                    for at in used(slot) {
                        let place = (slot * capacity + at) * head;
                        all[place..place + head].copy_from_slice(&numbers(chance, format, head, 3.0));
                    }
                }
                all
            };
        let of_prompt = |slot: usize| starts[slot / key_heads]..ends[slot / key_heads];
        let of_row = |slot: usize| 0..lengths[slot / group / key_heads * group + slot % group] as usize + 1;
        let [prompt_keys, prompt_values] =
            [0, 1].map(|_| cache(prompts * key_heads, &of_prompt, prompt_capacity));
        let [keys, values] = [0, 1].map(|_| cache(rows * key_heads, &of_row, capacity));
        let splits = [chance.random_range(1..4), chance.random_range(1..4)];
        let all_splits = (splits[0] + splits[1]) as usize;

        let elements =
            [&queries, &prompt_keys, &prompt_values, &keys, &values].map(|x| Tensor::new(format, x));
        let as_f64 = |numbers: &[usize]| numbers.iter().map(|&x| x as f64).collect::<Vec<_>>();
        let state =
            [&as_f64(&starts), &as_f64(&ends), &lengths, &finished].map(|x| Tensor::new(Kind::I32, x));
        let mut parts = Tensor::filled(Kind::F32, rows * query_heads * all_splits * (head + 2), f64::NAN);
        let mut arrived = Tensor::filled(Kind::I32, rows * query_heads, 0.0);
        let mut out = Tensor::filled(format, rows * query_heads * head, f64::NAN);
        let op = Op::Attend(Attend {
            queries: elements[0].address(),
            prompt_keys: elements[1].address(),
            prompt_values: elements[2].address(),
            prompt_starts: state[0].address(),
            prompt_ends: state[1].address(),
            keys: elements[3].address(),
            values: elements[4].address(),
            lengths: state[2].address(),
            finished: state[3].address(),
            parts: parts.address(),
            arrived: arrived.address(),
            out: out.address(),
            query_heads: query_heads as u32,
            key_heads: key_heads as u32,
            rows: rows as u32,
            group: group as u32,
            prompt_capacity: prompt_capacity as u32,
            capacity: capacity as u32,
            prompt_splits: splits[0],
            own_splits: splits[1],
            scale: scale as f32,
        });
        run_twice(device, &op, &mut [&mut parts, &mut arrived, &mut out], seed);
        assert!(arrived.values().iter().all(|&count| count == 0.0), "seed {seed}");

        let out = out.values();
        for place in 0..rows * query_heads {
            let (row, query_head) = (place / query_heads, place % query_heads);
            let (prompt, key_head) = (row / group, query_head / repeat);
            let found = &out[place * head..][..head];
            if finished[row] != 0.0 {
                assert!(found.iter().all(|&x| x == 0.0), "seed {seed}: a finished row is 0");
                continue;
            }
            let shared = (prompt * key_heads + key_head) * prompt_capacity;
            let own = ((prompt * key_heads + key_head) * group + row % group) * capacity;
            let of_prompt =
                (starts[prompt]..ends[prompt]).map(|at| (&prompt_keys, &prompt_values, shared + at));
            let of_row = (0..=lengths[row] as usize).map(|at| (&keys, &values, own + at));
            let query = &queries[place * head..][..head];
            let dot = |keys: &[f64]| query.iter().zip(keys).map(|(q, k)| q * k).sum::<f64>() * scale;
            let scored: Vec<(f64, &[f64])> = of_prompt
                .chain(of_row)
                .map(|(keys, values, at)| (dot(&keys[at * head..][..head]), &values[at * head..][..head]))
                .collect();
            let top = scored.iter().map(|part| part.0).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scored.iter().map(|part| (part.0 - top).exp()).sum();
            let sum = |column: usize| {
                let value =
                    scored.iter().map(|part| (part.0 - top).exp() * part.1[column]).sum::<f64>() / total;
                (rounded(format, value), value)
            };
            assert_close(
                format,
                &format!("attention, seed {seed}"),
                found,
                &(0..head).map(sum).collect::<Vec<_>>(),
            );
        }
    });
}

#[test]
fn settings_apply_a_temperature_where_the_plain_path_does() {
    let f32s = Settings::new(Format::F32, 0.8, 9);
    assert_eq!(f32s, Settings { factor: 1.25, divisor: 1.0, greedy: 0, limit: 9 });
    let bf16s = Settings::new(Format::Bf16, 0.8, 9);
    assert_eq!(bf16s, Settings { factor: 1.0, divisor: 0.8, greedy: 0, limit: 9 });
    assert_eq!(
        Settings::new(Format::Bf16, 0.0, 9),
        Settings { factor: 1.0, divisor: 1.0, greedy: 1, limit: 9 }
    );
}
