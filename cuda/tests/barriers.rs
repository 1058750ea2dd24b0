//! Barriers and fences: taken out one at a time, which of them do the orders of the emulation notice? And a barrier that
//! some threads do not reach is an error.

use crate::common::{Adapter, Emulated, Kind, Tensor, chance, emulated, folder, numbers};
use cuda::op::{Attend, Embed, Norm, Op, Rotate, Sample, Settings, SwiGlu};
use cuda::{Address, Format, GpuError, emulated as build, kernels};

const HEAD: usize = 16;
const FORMAT: Format = Format::F32;

/// Every kernel once, on shapes in which all of its barriers and fences matter: the ops, what they write, and what keeps
/// their inputs.
struct Battery {
    ops: Vec<Op>,
    written: Vec<Tensor>,
    _inputs: Vec<Tensor>,
    _adapters: Vec<Adapter>,
}

impl Battery {
    fn new() -> Battery {
        let mut battery =
            Battery { ops: Vec::new(), written: Vec::new(), _inputs: Vec::new(), _adapters: Vec::new() };
        battery.norms();
        battery.rotate();
        battery.attend();
        battery.swiglu();
        battery.sample();
        battery
    }

    fn input(&mut self, kind: impl Into<Kind>, values: &[f64]) -> Address {
        self._inputs.push(Tensor::new(kind, values));
        self._inputs[self._inputs.len() - 1].address()
    }

    fn random(&mut self, seed: u64, count: usize) -> Address {
        let values = numbers(&mut chance(seed), FORMAT, count, 1.0);
        self.input(FORMAT, &values)
    }

    fn output(&mut self, kind: impl Into<Kind>, count: usize, value: f64) -> Address {
        self.written.push(Tensor::filled(kind, count, value));
        self.written[self.written.len() - 1].address()
    }

    fn adapter(
        &mut self,
        seed: u64,
        rows: usize,
        outputs: &[usize],
        ranks: &[usize],
    ) -> Option<cuda::op::LoraB> {
        self._adapters.push(Adapter::random(&mut chance(seed), FORMAT, rows, outputs, ranks));
        self._adapters[self._adapters.len() - 1].op()
    }

    fn norms(&mut self) {
        let (rows, width) = (2, 400);
        let lora = self.adapter(1, rows, &[width], &[40]);
        let (weight, table) = (self.random(2, width), self.random(3, 3 * width));
        let ids = self.input(Kind::I64, &[2.0, 1.0]);
        let (x, normal) = (self.output(FORMAT, rows * width, 0.0), self.output(FORMAT, rows * width, 0.0));
        let (rows, width) = (rows as u32, width as u32);
        self.ops.push(Op::Embed(Embed {
            ids,
            table,
            weight,
            x,
            normal,
            vocabulary: 3,
            rows,
            width,
            eps: 1e-6,
        }));
        self.ops.push(Op::Norm(Norm {
            x,
            lora,
            weight,
            normal,
            factor: Address::NULL,
            rows,
            width,
            eps: 1e-6,
        }));
    }

    /// More rows than blocks, so that a block does several.
    fn rotate(&mut self) {
        let (rows, capacity) = (36, 3);
        for norms in [true, false] {
            let lora = self.adapter(4, rows, &[2 * HEAD, HEAD, HEAD], &[20, 3, 8]);
            let norm = if norms { self.random(5, HEAD) } else { Address::NULL };
            let values: Vec<f64> = numbers(&mut chance(6), FORMAT, rows * 4 * HEAD, 1.0);
            let qkv = self.input(Kind::F32, &values);
            let (cos, sin) = (self.random(7, 4 * HEAD), self.random(8, 4 * HEAD));
            let zeros = self.input(Kind::I32, &vec![0.0; rows]);
            let queries = self.output(FORMAT, rows * 2 * HEAD, 0.0);
            let [keys, values] = [0; 2].map(|_| self.output(FORMAT, rows * capacity * HEAD, 0.0));
            self.ops.push(Op::Rotate(Rotate {
                qkv,
                bias: Address::NULL,
                lora,
                query_norm: norm,
                key_norm: norm,
                eps: 1e-6,
                cos,
                sin,
                positions: zeros,
                lengths: zeros,
                finished: zeros,
                queries,
                keys,
                values,
                query_heads: 2,
                key_heads: 1,
                rows: rows as u32,
                group: 3,
                capacity: capacity as u32,
            }));
        }
    }

    /// Prompts of three ranges and own keys of two, for which blocks of both kinds can be the last.
    fn attend(&mut self) {
        let (rows, group, heads, prompt, capacity) = (4, 2, 4, 100, 70);
        let prompts = rows / group;
        let [queries, prompt_keys, prompt_values, keys, values] = [
            (9, rows * heads * HEAD),
            (10, prompts * prompt * HEAD),
            (11, prompts * prompt * HEAD),
            (12, rows * capacity * HEAD),
            (13, rows * capacity * HEAD),
        ]
        .map(|(seed, count)| self.random(seed, count));
        let prompt_starts = self.input(Kind::I32, &[0.0, 10.0]);
        let prompt_ends = self.input(Kind::I32, &[100.0, 80.0]);
        let lengths = self.input(Kind::I32, &[69.0, 50.0, 40.0, 60.0]);
        let finished = self.input(Kind::I32, &[0.0; 4]);
        let parts = self.output(Kind::F32, rows * heads * 5 * (HEAD + 2), f64::NAN);
        let arrived = self.output(Kind::I32, rows * heads, 0.0);
        let out = self.output(FORMAT, rows * heads * HEAD, 0.0);
        self.ops.push(Op::Attend(Attend {
            queries,
            prompt_keys,
            prompt_values,
            prompt_starts,
            prompt_ends,
            keys,
            values,
            lengths,
            finished,
            parts,
            arrived,
            out,
            query_heads: heads as u32,
            key_heads: 1,
            rows: rows as u32,
            group: group as u32,
            prompt_capacity: prompt as u32,
            capacity: capacity as u32,
            prompt_splits: 3,
            own_splits: 2,
            scale: 0.25,
        }));
    }

    fn swiglu(&mut self) {
        let (rows, width) = (3, 160);
        let lora = self.adapter(14, rows, &[width, width], &[12, 30]);
        let gate_up = self.random(15, rows * 2 * width);
        let hidden = self.output(FORMAT, rows * width, 0.0);
        let (rows, width) = (rows as u32, width as u32);
        self.ops.push(Op::SwiGlu(SwiGlu { gate_up, lora: None, hidden, rows, width }));
        self.ops.push(Op::SwiGlu(SwiGlu { gate_up, lora, hidden, rows, width }));
    }

    fn sample(&mut self) {
        let (rows, vocabulary, splits) = (3, 900, 3);
        for greedy in [0, 1] {
            let mut spread = numbers(&mut chance(16), FORMAT, rows * vocabulary, 3.0);
            spread[700] = 9.0;
            let logits = self.input(FORMAT, &spread);
            let allowed = self.input(Kind::U8, &vec![1.0; vocabulary]);
            let uniforms = self.input(Kind::F32, &[0.1, 0.5, 0.9]);
            let column = self.input(Kind::I32, &[0.0, 1.0, 2.0]);
            let forced = self.input(Kind::I64, &[-1.0; 3]);
            let settings = Settings { factor: 1.0, divisor: 1.0, greedy, limit: 5 };
            self._inputs.push(Tensor::settings(&settings));
            let settings = self._inputs[self._inputs.len() - 1].address();
            let ids = self.output(Kind::I64, rows, 0.0);
            let lengths = self.output(Kind::I32, rows, -1.0);
            let [positions, finished] = [0; 2].map(|_| self.output(Kind::I32, rows, 0.0));
            let drawn = self.output(Kind::I64, rows, 0.0);
            let logprobs = self.output(Kind::F32, rows, 0.0);
            let parts = self.output(Kind::F64, rows * splits * 4, f64::NAN);
            let arrived = self.output(Kind::I32, rows, 0.0);
            self.ops.push(Op::Sample(Sample {
                logits,
                allowed,
                uniforms,
                column,
                forced,
                eos: Address::NULL,
                settings,
                ids,
                lengths,
                positions,
                finished,
                drawn,
                logprobs,
                parts,
                arrived,
                rows: rows as u32,
                vocabulary: vocabulary as u32,
                eos_count: 0,
                columns: 3,
                record: 1,
                splits: splits as u32,
            }));
        }
    }

    /// What all ops write in one order, from the same start.
    fn run(&mut self, device: &Emulated, order: u32) -> Result<Vec<Vec<u8>>, GpuError> {
        let start = self.written.clone();
        device.order(order);
        let ran = device.run(&self.ops);
        let bytes = self.written.iter().map(Tensor::bytes).collect();
        self.written.iter_mut().zip(&start).for_each(|(tensor, start)| tensor.restore(start));
        ran.map(|()| bytes)
    }
}

/// Orders in which a change of the text is looked for.
const ORDERS: u32 = 14;

/// The first order in which a text gives something else than `expected`, and what.
fn noticed(battery: &mut Battery, text: &str, expected: &[Vec<u8>]) -> Option<String> {
    let path = build::build_from(folder(), text, FORMAT, HEAD as u32).unwrap();
    let device = Emulated::open(&path, FORMAT, HEAD as u32).unwrap();
    (0..ORDERS).find_map(|order| match battery.run(&device, order) {
        Ok(found) => (found != expected).then(|| format!("order {order} gives other results")),
        Err(error) => Some(format!("order {order}: {error}")),
    })
}

/// The places of a barrier or a fence in the text, with file and line.
fn places(word: &str) -> Vec<(usize, String)> {
    let mut at = 0;
    let mut found = Vec::new();
    for (file, text) in kernels::FILES {
        at += format!("#line 1 \"{file}\"\n").len();
        for (place, _) in text.match_indices(word) {
            found.push((at + place, format!("{file}:{}", text[..place].matches('\n').count() + 1)));
        }
        at += text.len();
    }
    found
}

/// The text with blanks in place of a word.
fn without(at: usize, word: &str) -> String {
    let text = kernels::source();
    assert_eq!(&text[at..at + word.len()], word);
    format!("{}{}{}", &text[..at], " ".repeat(word.len()), &text[at + word.len()..])
}

const FENCE: &str = "__threadfence();";
const BARRIER: &str = "__syncthreads();";

#[test]
fn results_are_the_same_in_every_order() {
    let Some(device) = emulated(FORMAT, HEAD as u32) else { return };
    let mut battery = Battery::new();
    let expected = battery.run(&device, 0).unwrap();
    for order in 1..60 {
        assert_eq!(battery.run(&device, order).unwrap(), expected, "order {order}");
    }
    device.order(0);
}

#[test]
fn a_missing_fence_or_barrier_between_blocks_is_noticed() {
    let Some(device) = emulated(FORMAT, HEAD as u32) else { return };
    let mut battery = Battery::new();
    let expected = battery.run(&device, 0).unwrap();
    let fences = places(FENCE);
    assert_eq!(fences.len(), 4, "two in attend, two in sample");
    // Between the fence and the atomic operation of `attend`.
    let attend = fences[0].0;
    let barrier = places(BARRIER).into_iter().find(|place| place.0 > attend).unwrap();
    for (at, place, word) in
        fences.iter().map(|(at, place)| (*at, place, FENCE)).chain([(barrier.0, &barrier.1, BARRIER)])
    {
        let why = noticed(&mut battery, &without(at, word), &expected);
        println!("{place} without {word} {why:?}");
        assert!(why.is_some(), "{place}: nobody notices that {word} is missing");
    }
}

#[test]
#[ignore = "one build for each barrier: some minutes"]
fn every_missing_barrier_is_noticed_or_known_to_be_unnecessary() {
    let Some(device) = emulated(FORMAT, HEAD as u32) else { return };
    let mut battery = Battery::new();
    let expected = battery.run(&device, 0).unwrap();
    let mut unnoticed = Vec::new();
    for (at, place) in places(BARRIER) {
        let why = noticed(&mut battery, &without(at, BARRIER), &expected);
        println!("{place} {}", why.as_deref().unwrap_or("NOT NOTICED"));
        unnoticed.extend(why.is_none().then_some(place));
    }
    assert_eq!(unnoticed, Vec::<String>::new());
}

#[test]
fn a_barrier_that_some_threads_do_not_reach_is_an_error() {
    if emulated(FORMAT, HEAD as u32).is_none() {
        return;
    }
    let text = kernels::source();
    let barrier = "  __syncthreads();\n  const int column = blockIdx.x";
    let text_of = |with: &str| text.replace(barrier, &format!("  {with}\n  const int column = blockIdx.x"));
    let mut battery = Battery::new();
    let cases = [
        (
            "if (threadIdx.x < 16) __shfl_xor_sync(ALL_LANES, 0, 1);\n  __syncthreads();",
            "some threads wait at a barrier that others never reach",
        ),
        (
            "if (threadIdx.x % 2) __syncthreads();\n  else __syncthreads();",
            "threads of a block wait at different barriers",
        ),
    ];
    for (with, message) in cases {
        assert_ne!(text_of(with), text);
        let path = build::build_from(folder(), &text_of(with), FORMAT, HEAD as u32).unwrap();
        let device = Emulated::open(&path, FORMAT, HEAD as u32).unwrap();
        let error = battery.run(&device, 0).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
