//! The step of a whole decoder, emulated: against one pass in f64, launch by launch and as a graph; what its state does.

use crate::common::{Emulated, Tensor, chance, emulated, numbers, rounded};
use cuda::decoder::{Adapter, Decoder, Layer, Projection, Shape, Weights};
use cuda::{Address, Format, Settings};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A projection's numbers: weight, bias, and for each adapter `A` and `B` with the outputs that it belongs to.
struct Matrix {
    input: usize,
    outputs: Vec<usize>,
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
    lora: Option<(Vec<f64>, Vec<f64>, Vec<usize>)>,
}

const LORA_SCALE: f64 = 0.5;

/// What a decoder is made of.
#[derive(Clone, Copy)]
struct Kindred {
    bias: bool,
    norms: bool,
    lora: bool,
}

/// The numbers of a layer.
struct Numbers {
    /// Attention, feed-forward, queries, keys.
    norms: Vec<Vec<f64>>,
    /// Queries, keys and values; out; gate and up; down.
    matrices: Vec<Matrix>,
    /// Keys and values of the prompts.
    prompts: [Vec<f64>; 2],
}

/// A random decoder: its numbers, and the tensors that the kernels read.
struct Model {
    format: Format,
    shape: Shape,
    layers: Vec<Numbers>,
    embedding: Vec<f64>,
    norm: Vec<f64>,
    head: Vec<f64>,
    tables: [Vec<f64>; 2],
    starts: Vec<usize>,
    ends: Vec<usize>,
    kindred: Kindred,
    tensors: Vec<Tensor>,
}

const POSITIONS: usize = 40;

impl Matrix {
    fn random(
        chance: &mut ChaCha8Rng,
        format: Format,
        input: usize,
        outputs: &[usize],
        bias: bool,
        lora: bool,
    ) -> Matrix {
        let output: usize = outputs.iter().sum();
        let size = (3.0 / input as f64).sqrt();
        // The second of several has no adapter.
        let ranks: Vec<usize> = (0..outputs.len()).map(|part| [8, 0, 3][part % 3]).collect();
        let width: usize = ranks.iter().sum();
        let lora = lora.then(|| {
            let a = numbers(chance, format, width * input, size);
            let mut b = vec![f64::NAN; output * width];
            let (mut row, mut column) = (0, 0);
            for (&own, &rank) in outputs.iter().zip(&ranks) {
                for index in row..row + own {
                    b[index * width + column..][..rank].copy_from_slice(&numbers(chance, format, rank, 0.3));
                }
                (row, column) = (row + own, column + rank);
            }
            (a, b, ranks)
        });
        let bias = bias.then(|| numbers(chance, format, output, 0.5));
        Matrix {
            input,
            outputs: outputs.to_vec(),
            weight: numbers(chance, format, output * input, size),
            bias,
            lora,
        }
    }

    /// The product with one row, in f64.
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let dot = |row: &[f64], x: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
        let mut y: Vec<f64> = self.weight.chunks(self.input).map(|row| dot(row, x)).collect();
        if let Some(bias) = &self.bias {
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
        }
        if let Some((a, b, ranks)) = &self.lora {
            let inner: Vec<f64> = a.chunks(self.input).map(|row| LORA_SCALE * dot(row, x)).collect();
            let (mut row, mut column) = (0, 0);
            for (&own, &rank) in self.outputs.iter().zip(ranks) {
                for index in row..row + own {
                    y[index] += dot(&b[index * inner.len() + column..][..rank], &inner[column..][..rank]);
                }
                (row, column) = (row + own, column + rank);
            }
        }
        y
    }
}

fn rms(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let scale = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + 1e-6).sqrt();
    x.iter().zip(weight).map(|(x, weight)| x * scale * weight).collect()
}

impl Model {
    fn random(chance: &mut ChaCha8Rng, format: Format, head: usize, kindred: Kindred) -> Model {
        let shape = Shape {
            format,
            hidden: 40,
            ffn: 56,
            query_heads: 6,
            key_heads: 2,
            head_width: head as u32,
            vocabulary: 101,
            eps: 1e-6,
            prompts: 2,
            group: 3,
            prompt_capacity: 9,
            capacity: 6,
            limit: 7,
            columns: 6,
            sample: true,
        };
        let [hidden, ffn] = [shape.hidden, shape.ffn].map(|size| size as usize);
        let (queries, keys) = (6 * head, 2 * head);
        let layers = (0..2).map(|_| {
            let mut matrix = |input, outputs: &[usize], bias| {
                Matrix::random(chance, format, input, outputs, bias, kindred.lora)
            };
            let matrices = vec![
                matrix(hidden, &[queries, keys, keys], kindred.bias),
                matrix(queries, &[hidden], false),
                matrix(hidden, &[ffn, ffn], false),
                matrix(ffn, &[hidden], false),
            ];
            let norms = [hidden, hidden, head, head].map(|width| {
                let around = numbers(chance, format, width, 0.3);
                around.iter().map(|x| rounded(format, 1.0 + x)).collect()
            });
            let prompts = [0, 1].map(|_| numbers(chance, format, 2 * 2 * 9 * head, 1.0));
            Numbers { norms: norms.to_vec(), matrices, prompts }
        });
        let layers = layers.collect();
        let angle = |at: usize| (at / head) as f64 / 20f64.powf((at % (head / 2)) as f64 / head as f64);
        let sign = |at: usize| if at % head < head / 2 { -1.0 } else { 1.0 };
        let table =
            |f: &dyn Fn(usize) -> f64| (0..POSITIONS * head).map(|at| rounded(format, f(at))).collect();
        Model {
            format,
            layers,
            embedding: numbers(chance, format, 101 * hidden, 1.0),
            norm: vec![1.0; hidden],
            head: numbers(chance, format, 101 * hidden, 0.5),
            tables: [table(&|at| angle(at).cos()), table(&|at| sign(at) * angle(at).sin())],
            starts: vec![2, 0],
            ends: vec![9, 5],
            kindred,
            shape,
            tensors: Vec::new(),
        }
    }

    fn keep(&mut self, values: &[f64]) -> Address {
        self.tensors.push(Tensor::new(self.format, values));
        self.tensors[self.tensors.len() - 1].address()
    }

    /// The tensors, with caches that are NaN where nothing has been written.
    fn weights(&mut self) -> Weights {
        let layers = std::mem::take(&mut self.layers);
        let own_cache = 2 * 2 * 3 * 6 * self.shape.head_width as usize;
        let mut made = Vec::new();
        for Numbers { norms, matrices, prompts } in &layers {
            let mut projections = matrices.iter().map(|matrix| {
                let adapter = matrix.lora.as_ref().map(|(a, b, ranks)| Adapter {
                    a: self.keep(a),
                    b: self.keep(b),
                    ranks: ranks.iter().map(|&rank| rank as u32).collect(),
                    scale: LORA_SCALE as f32,
                });
                let bias = matrix.bias.as_ref().map_or(Address::NULL, |bias| self.keep(bias));
                Projection { weight: self.keep(&matrix.weight), bias, adapter }
            });
            let [qkv, out, gate_up, down] = [(); 4].map(|()| projections.next().unwrap());
            drop(projections);
            let has_norms = self.kindred.norms;
            let mut head_norm = |norm: &[f64]| if has_norms { self.keep(norm) } else { Address::NULL };
            let (query_norm, key_norm) = (head_norm(&norms[2]), head_norm(&norms[3]));
            made.push(Layer {
                attention_norm: self.keep(&norms[0]),
                qkv,
                query_norm,
                key_norm,
                out,
                ffn_norm: self.keep(&norms[1]),
                gate_up,
                down,
                prompt_keys: self.keep(&prompts[0]),
                prompt_values: self.keep(&prompts[1]),
                keys: self.keep(&vec![f64::NAN; own_cache]),
                values: self.keep(&vec![f64::NAN; own_cache]),
            });
        }
        self.layers = layers;
        let [embedding, norm, head, cos, sin] = [
            self.embedding.clone(),
            self.norm.clone(),
            self.head.clone(),
            self.tables[0].clone(),
            self.tables[1].clone(),
        ]
        .map(|values| self.keep(&values));
        Weights { embedding, layers: made, norm, head, cos, sin }
    }

    /// The logits after these own tokens of a row, in f64.
    fn logits(&self, row: usize, ids: &[i64]) -> Vec<f64> {
        let (head, hidden) = (self.shape.head_width as usize, self.shape.hidden as usize);
        let prompt = row / 3;
        let mut caches: Vec<[Vec<Vec<f64>>; 4]> = vec![Default::default(); self.layers.len()];
        let mut last = Vec::new();
        for (index, &id) in ids.iter().enumerate() {
            let mut x = self.embedding[id as usize * hidden..][..hidden].to_vec();
            let position = self.ends[prompt] - self.starts[prompt] + index;
            for (Numbers { norms, matrices, prompts }, cache) in self.layers.iter().zip(&mut caches) {
                let qkv = matrices[0].apply(&rms(&x, &norms[0]));
                let mut heads: Vec<Vec<f64>> = qkv.chunks(head).map(<[f64]>::to_vec).collect();
                for (number, own) in heads.iter_mut().enumerate().take(8) {
                    if self.kindred.norms {
                        *own = rms(own, &norms[if number < 6 { 2 } else { 3 }]);
                    }
                    let turned = |at: usize| {
                        own[at] * self.tables[0][position * head + at]
                            + own[(at + head / 2) % head] * self.tables[1][position * head + at]
                    };
                    *own = (0..head).map(turned).collect();
                }
                let mut attended = Vec::new();
                for key_head in 0..2 {
                    cache[key_head].push(heads[6 + key_head].clone());
                    cache[2 + key_head].push(heads[8 + key_head].clone());
                }
                for (number, query) in heads.iter().enumerate().take(6) {
                    let key_head = number / 3;
                    let slots = self.starts[prompt]..self.ends[prompt];
                    let place = |at: usize| ((prompt * 2 + key_head) * 9 + at) * head;
                    let of_prompt =
                        slots.map(|at| (&prompts[0][place(at)..][..head], &prompts[1][place(at)..][..head]));
                    let own = cache[key_head].iter().zip(&cache[2 + key_head]).map(|(k, v)| (&k[..], &v[..]));
                    let all: Vec<(f64, &[f64])> = of_prompt
                        .chain(own)
                        .map(|(k, v)| {
                            (query.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (head as f64).sqrt(), v)
                        })
                        .collect();
                    let total: f64 = all.iter().map(|part| part.0.exp()).sum();
                    attended.extend(
                        (0..head)
                            .map(|at| all.iter().map(|part| part.0.exp() * part.1[at]).sum::<f64>() / total),
                    );
                }
                x.iter_mut().zip(matrices[1].apply(&attended)).for_each(|(x, y)| *x += y);
                let gate_up = matrices[2].apply(&rms(&x, &norms[1]));
                let (gate, up) = gate_up.split_at(gate_up.len() / 2);
                let product: Vec<f64> =
                    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                x.iter_mut().zip(matrices[3].apply(&product)).for_each(|(x, y)| *x += y);
            }
            last = rms(&x, &self.norm);
        }
        self.head.chunks(hidden).map(|row| row.iter().zip(&last).map(|(a, b)| a * b).sum()).collect()
    }
}

const ROWS: usize = 6;
const FIRST: [i64; ROWS] = [3, 14, 15, 92, 65, 35];

/// A decoder at the start of a generation: every row has its first token, which is the next to run.
fn begin(device: &Emulated, model: &mut Model, temperature: f64, eos: &[i64]) -> Decoder {
    let weights = model.weights();
    let decoder = Decoder::new(&device.gpu, model.shape.clone(), &weights, eos).unwrap();
    let state = decoder.state();
    let as_i32 = |numbers: &[usize]| numbers.iter().map(|&x| x as i32).collect::<Vec<_>>();
    let mut chance = chance(77);
    let uniforms: Vec<f32> = (0..7 * ROWS).map(|_| chance.random_range(0.001..0.999)).collect();
    state.ids.upload(&FIRST).unwrap();
    state.finished.upload(&[0i32; ROWS]).unwrap();
    state.positions.upload(&[7, 7, 7, 5, 5, 5]).unwrap();
    state.prompt_starts.upload(&as_i32(&model.starts)).unwrap();
    state.prompt_ends.upload(&as_i32(&model.ends)).unwrap();
    state.uniforms.upload(&uniforms).unwrap();
    state.settings.upload(&[Settings::new(model.format, temperature, 6)]).unwrap();
    decoder
}

/// Runs `steps` steps, captured or not. Returns the ids, `[7, ROWS]`, and their log-probabilities.
fn generate(decoder: &mut Decoder, captured: bool, steps: usize) -> (Vec<i64>, Vec<f32>) {
    // SAFETY: the model's tensors outlive the decoder.
    unsafe {
        decoder.run().unwrap();
        if captured {
            assert_eq!(decoder.capture().unwrap(), decoder.step().launches());
        }
        (1..steps).for_each(|_| decoder.replay().unwrap());
    }
    let state = decoder.state();
    (state.drawn.download(7 * ROWS).unwrap(), state.logprobs.download(7 * ROWS).unwrap())
}

/// The kinds of decoders with their head widths, and the launches of two layers and the step's ends.
const KINDS: [(u32, Kindred, usize); 3] = [
    (32, Kindred { bias: true, norms: false, lora: false }, 2 * 9 + 3),
    (32, Kindred { bias: false, norms: true, lora: true }, 2 * 13 + 3),
    (16, Kindred { bias: true, norms: true, lora: true }, 2 * 13 + 3),
];

#[test]
fn a_decoder_gives_the_logprobs_of_one_pass_in_f64() {
    for (format, allowed) in [(Format::F32, 1e-5), (Format::Bf16, 8e-2)] {
        for (head, kindred, launches) in KINDS {
            let Some(device) = emulated(format, head) else { return };
            let temperature = 0.8;
            let mut model = Model::random(&mut chance(head.into()), format, head as usize, kindred);
            let mut decoder = begin(&device, &mut model, temperature, &[]);
            assert_eq!(decoder.step().launches(), launches);
            let (ids, logprobs) = generate(&mut decoder, false, 4);
            for row in 0..ROWS {
                let mut own = vec![FIRST[row]];
                for token in 1..5 {
                    let logits: Vec<f64> = model.logits(row, &own).iter().map(|x| x / temperature).collect();
                    let id = ids[token * ROWS + row];
                    let expected = logits[id as usize] - logits.iter().map(|x| x.exp()).sum::<f64>().ln();
                    let found = f64::from(logprobs[token * ROWS + row]);
                    assert!(
                        (found - expected).abs() < allowed * expected.abs().max(1.0),
                        "{format:?}: {found} {expected}"
                    );
                    own.push(id);
                }
            }
            assert_eq!(decoder.state().lengths.download::<i32>(ROWS).unwrap(), [4; ROWS]);
            assert_eq!(decoder.state().positions.download::<i32>(ROWS).unwrap(), [11, 11, 11, 9, 9, 9]);
        }
    }
}

#[test]
fn a_graph_draws_what_the_launches_draw_and_outlives_its_settings() {
    let (head, kindred, _) = KINDS[2];
    let Some(device) = emulated(Format::F32, head) else { return };
    let run = |captured: bool, temperature: f64| {
        let mut model = Model::random(&mut chance(5), Format::F32, head as usize, kindred);
        let mut decoder = begin(&device, &mut model, temperature, &[]);
        let all = generate(&mut decoder, captured, 5);
        (all, decoder, model)
    };
    let (plain, _, _) = run(false, 1.0);
    let (replayed, decoder, _model) = run(true, 1.0);
    assert_eq!(plain, replayed);
    assert_eq!(
        decoder.state().finished.download::<i32>(ROWS).unwrap(),
        [2; ROWS],
        "six tokens are the limit"
    );
    // The same graph, begun again with another temperature.
    let (cold, _, _) = run(false, 0.3);
    let state = decoder.state();
    state.ids.upload(&FIRST).unwrap();
    state.lengths.upload(&[0i32; ROWS]).unwrap();
    state.finished.upload(&[0i32; ROWS]).unwrap();
    state.positions.upload(&[7, 7, 7, 5, 5, 5]).unwrap();
    state.settings.upload(&[Settings::new(Format::F32, 0.3, 6)]).unwrap();
    // SAFETY: the model's tensors are alive.
    (0..5).for_each(|_| unsafe { decoder.replay() }.unwrap());
    let drawn: Vec<i64> = state.drawn.download(7 * ROWS).unwrap();
    assert_eq!(drawn, cold.0);
    assert_ne!(plain.0, cold.0);
}

#[test]
fn finished_rows_stay_and_others_do_not_change() {
    let (head, kindred, _) = KINDS[0];
    let Some(device) = emulated(Format::F32, head) else { return };
    let run = |eos: &[i64], forced: i64| {
        let mut model = Model::random(&mut chance(6), Format::F32, head as usize, kindred);
        let mut decoder = begin(&device, &mut model, 1.0, eos);
        decoder.state().forced.upload(&[-1, -1, -1, -1, forced, -1]).unwrap();
        // SAFETY: the model's tensors are alive.
        unsafe { decoder.run() }.unwrap();
        decoder.state().forced.upload(&[-1i64; ROWS]).unwrap();
        let (ids, logprobs) = generate(&mut decoder, true, 3);
        let state = decoder.state();
        let lengths: Vec<i32> = state.lengths.download(ROWS).unwrap();
        (ids, logprobs, lengths, state.finished.download::<i32>(ROWS).unwrap())
    };
    let (whole, whole_logprobs, ..) = run(&[], -1);
    // The second token of row 2 ends it; nothing else may change.
    let end = whole[ROWS + 2];
    let (ids, logprobs, lengths, finished) = run(&[end], -1);
    for row in 0..ROWS {
        let ended = (1..5).find(|token| whole[token * ROWS + row] == end).unwrap_or(4);
        assert_eq!(
            (lengths[row], finished[row]),
            (ended as i32, i32::from(whole[ended * ROWS + row] == end))
        );
        for token in 1..=ended {
            let place = token * ROWS + row;
            assert_eq!((ids[place], logprobs[place]), (whole[place], whole_logprobs[place]));
        }
        assert!(
            (ended + 1..7).all(|token| ids[token * ROWS + row] == 0),
            "nothing is recorded behind the end"
        );
    }
    assert_eq!((lengths[2], finished[2]), (1, 1));
    // A forced id is recorded with its own log-probability, and the row goes on from there.
    let (ids, logprobs, ..) = run(&[], 50);
    assert_eq!(ids[ROWS + 4], 50);
    assert_ne!(ids[ROWS + 4], whole[ROWS + 4]);
    let mut model = Model::random(&mut chance(6), Format::F32, head as usize, kindred);
    model.weights();
    let logits = model.logits(4, &[FIRST[4]]);
    let expected = logits[50] - logits.iter().map(|x| x.exp()).sum::<f64>().ln();
    assert!((f64::from(logprobs[ROWS + 4]) - expected).abs() < 1e-5 * expected.abs());
    assert_eq!(ids[ROWS], whole[ROWS]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let Some(device) = emulated(Format::F32, 32) else { return };
    let mut model = Model::random(&mut chance(1), Format::F32, 32, KINDS[0].1);
    let weights = model.weights();
    let message = |shape: Shape| Decoder::new(&device.gpu, shape, &weights, &[]).err().unwrap().to_string();
    let shape = model.shape.clone();
    let error = message(Shape { head_width: 64, ..shape.clone() });
    assert_eq!(error, "the width of a head is 64; the kernels are for 32");
    let error = message(Shape { columns: 5, ..shape.clone() });
    assert_eq!(error, "the number of completions is 5; there are 6 rows");
    let error = message(Shape { hidden: 42, ..shape.clone() });
    assert_eq!(error, "the width of the residual stream is 42; it must be a multiple of 4");
    let error = message(Shape { key_heads: 4, ..shape });
    assert_eq!(error, "the number of query heads is 6; it must be a multiple of 4");
}

#[test]
fn a_step_without_sampling_ends_with_the_logits() {
    let (head, kindred, launches) = KINDS[0];
    let Some(device) = emulated(Format::F32, head) else { return };
    let mut model = Model::random(&mut chance(8), Format::F32, head as usize, kindred);
    model.shape.sample = false;
    let decoder = begin(&device, &mut model, 1.0, &[]);
    assert_eq!(decoder.step().launches(), launches - 1);
    // SAFETY: the model's tensors are alive.
    unsafe { decoder.run() }.unwrap();
    let logits: Vec<f32> = decoder.state().logits.download(ROWS * 101).unwrap();
    for row in 0..ROWS {
        for (found, expected) in logits[row * 101..].iter().zip(model.logits(row, &[FIRST[row]])) {
            assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.abs().max(1.0));
        }
    }
    assert_eq!(decoder.state().ids.download::<i64>(ROWS).unwrap(), FIRST);
}
