use super::*;
use tch::nn::{self, OptimizerConfig as _};

fn parameter(values: &[f32]) -> Tensor {
    Tensor::from_slice(values).set_requires_grad(true)
}

fn named(name: &str, tensor: &Tensor) -> (String, Tensor) {
    (name.to_owned(), tensor.shallow_clone())
}

/// Sets the gradient of `tensor` to this.
fn set_gradient(tensor: &Tensor, gradient: &[f32]) {
    let mut tensor = tensor.shallow_clone();
    tensor.zero_grad();
    let gradient = Tensor::from_slice(gradient).to_kind(tensor.kind()).view(tensor.size().as_slice());
    (&tensor * gradient).sum(None).backward();
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.detach().to_kind(Kind::Float).reshape([-1]).try_into().unwrap()
}

fn unclipped() -> AdamWConfig {
    AdamWConfig { max_grad_norm: None, ..AdamWConfig::default() }
}

#[test]
fn two_steps_equal_hand_computed_adamw() {
    // lr 0.1, decay 0.1: p shrinks by 0.99 per step.
    // Step 1, g 0.5: m = 0.05, v = 0.00025; m/(1 − 0.9) = 0.5, √(v/(1 − 0.999)) = 0.5; p = 0.99 − 0.1·1 = 0.89.
    // Step 2, g −0.25: m = 0.045 − 0.025 = 0.02, v = 0.00024975 + 0.0000625 = 0.00031225;
    //   m/(1 − 0.81) = 0.105263158, √(v/(1 − 0.998001)) = √0.156203102 = 0.395225381;
    //   p = 0.89·0.99 − 0.1·0.105263158/0.395225381 = 0.8811 − 0.026633704 = 0.854466296.
    let p = parameter(&[1.0]);
    let config = AdamWConfig { weight_decay: 0.1, ..unclipped() };
    let mut optimizer = AdamW::new(vec![named("p", &p)], config).unwrap();
    set_gradient(&p, &[0.5]);
    assert_eq!(optimizer.step(0.1), Step { grad_norm: 0.5, applied: true });
    assert!((values(&p)[0] - 0.89).abs() < 1e-6);
    set_gradient(&p, &[-0.25]);
    optimizer.step(0.1);
    assert!((values(&p)[0] - 0.854_466_3).abs() < 1e-6);
    assert_eq!(optimizer.steps(), 2);
}

#[test]
fn a_factor_changes_the_learning_rate_of_the_parameters_that_it_names() {
    let [tower, decoder] = [parameter(&[1.0]), parameter(&[1.0])];
    let config = AdamWConfig { lr_factors: vec![("tower.".to_owned(), 0.25)], ..unclipped() };
    let params = || vec![named("tower.weight", &tower), named("decoder.tower.weight", &decoder)];
    let mut optimizer = AdamW::new(params(), config.clone()).unwrap();
    for tensor in [&tower, &decoder] {
        set_gradient(tensor, &[0.5]);
    }
    // The first step of Adam is the learning rate in the direction of the gradient: 1 − 0.1·0.25 and 1 − 0.1.
    optimizer.step(0.1);
    assert!((values(&tower)[0] - 0.975).abs() < 1e-6 && (values(&decoder)[0] - 0.9).abs() < 1e-6);
    let mut restored = AdamW::new(params(), config).unwrap();
    restored.load_state(&optimizer.state()).unwrap();
    restored.step(0.1);
    // The second: m = 0.095/0.19, v = 0.00049975/0.001999, so again the whole learning rate.
    assert!((values(&tower)[0] - 0.95).abs() < 1e-5 && (values(&decoder)[0] - 0.8).abs() < 1e-5);
}

#[test]
fn many_steps_equal_libtorchs_adamw_and_its_clipping() {
    // OPTIM-1. A fixed seed: with some random start values, the steps might return close to them and prove nothing.
    tch::manual_seed(7);
    let store = nn::VarStore::new(Device::Cpu);
    let shapes: [&[i64]; 3] = [&[5, 3], &[7], &[1]];
    let start: Vec<Tensor> = shapes.iter().map(|s| Tensor::randn(*s, (Kind::Float, Device::Cpu))).collect();
    let theirs: Vec<Tensor> =
        start.iter().enumerate().map(|(i, t)| store.root().var_copy(&format!("p{i}"), t)).collect();
    let ours: Vec<Tensor> = start.iter().map(|t| t.copy().set_requires_grad(true)).collect();
    let config = AdamWConfig {
        betas: (0.8, 0.95),
        eps: 1e-6,
        weight_decay: 0.1,
        max_grad_norm: Some(2.0),
        lr_factors: Vec::new(),
    };
    let params = ours.iter().enumerate().map(|(i, tensor)| named(&format!("p{i}"), tensor)).collect();
    let mut optimizer = AdamW::new(params, config).unwrap();
    let mut reference = nn::AdamW { beta1: 0.8, beta2: 0.95, wd: 0.1, eps: 1e-6, amsgrad: false }
        .build(&store, 0.01)
        .unwrap();
    for step in 0..20 {
        optimizer.zero_grad();
        reference.zero_grad();
        for (a, b) in ours.iter().zip(&theirs) {
            // Norms above and below `max_grad_norm`.
            let gradient = a.randn_like().detach() * if step % 2 == 0 { 5.0 } else { 0.1 };
            (a * &gradient).sum(None).backward();
            (b * &gradient).sum(None).backward();
        }
        optimizer.step(0.01);
        reference.clip_grad_norm(2.0);
        reference.step();
    }
    let mut moved = 0.0f64;
    for ((a, b), start) in ours.iter().zip(&theirs).zip(&start) {
        assert!((a - b).abs().max().double_value(&[]) < 1e-6);
        moved = moved.max((a - start).abs().max().double_value(&[]));
    }
    // Single parameters may return close to their start values, but not all of them.
    assert!(moved > 0.01);
}

#[test]
fn gradients_are_clipped_by_their_common_norm() {
    // Norm of (3, 4) over two parameters is 5; clipped to 1 they are (0.6, 0.8), of which m keeps a tenth.
    let (a, b) = (parameter(&[0.0]), parameter(&[0.0]));
    let mut optimizer = AdamW::new(vec![named("a", &a), named("b", &b)], AdamWConfig::default()).unwrap();
    set_gradient(&a, &[3.0]);
    set_gradient(&b, &[4.0]);
    let step = optimizer.step(0.1);
    assert!((step.grad_norm - 5.0).abs() < 1e-6);
    let state: BTreeMap<String, Tensor> = optimizer.state().into_iter().collect();
    assert!((values(&state["exp_avg.a"])[0] - 0.06).abs() < 1e-6);
    assert!((values(&state["exp_avg.b"])[0] - 0.08).abs() < 1e-6);
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    // OPTIM-3.
    for bad in [f32::NAN, f32::INFINITY] {
        let (a, b) = (parameter(&[1.0, 2.0]), parameter(&[3.0]));
        let mut optimizer = AdamW::new(vec![named("a", &a), named("b", &b)], AdamWConfig::default()).unwrap();
        set_gradient(&a, &[1.0, bad]);
        set_gradient(&b, &[1.0]);
        let step = optimizer.step(0.1);
        assert!(!step.applied && !step.grad_norm.is_finite());
        assert_eq!((values(&a), values(&b), optimizer.steps()), (vec![1.0, 2.0], vec![3.0], 0));
        assert!(optimizer.state()[1..].iter().all(|(_, tensor)| values(tensor).iter().all(|&v| v == 0.0)));
    }
}

#[test]
fn a_parameter_without_a_gradient_only_decays() {
    let (a, b) = (parameter(&[1.0]), parameter(&[2.0]));
    let config = AdamWConfig { weight_decay: 0.5, ..unclipped() };
    let mut optimizer = AdamW::new(vec![named("a", &a), named("b", &b)], config).unwrap();
    set_gradient(&a, &[1.0]);
    optimizer.step(0.1);
    assert_eq!(values(&b), [1.9]);
}

#[test]
fn bf16_parameters_accumulate_updates_below_their_resolution() {
    // bf16 steps near 1 are 2⁻⁷ ≈ 0.0078: single updates of 0.001 would all be lost, but eight of them are 0.008,
    // and 0.992 rounds to 0.9922 (steps below 1 are 2⁻⁸).
    let p = Tensor::from_slice(&[1.0f32]).to_kind(Kind::BFloat16).set_requires_grad(true);
    let mut optimizer = AdamW::new(vec![named("p", &p)], unclipped()).unwrap();
    for _ in 0..8 {
        set_gradient(&p, &[1.0]);
        optimizer.step(0.001);
    }
    assert_eq!(values(&p), [0.992_187_5]);
    let state: BTreeMap<String, Tensor> = optimizer.state().into_iter().collect();
    assert!((values(&state["master.p"])[0] - 0.992).abs() < 1e-6);
    assert_eq!(state["master.p"].kind(), Kind::Float);
}

#[test]
fn restored_state_continues_bit_identically() {
    // OPTIM-2.
    for kind in [Kind::Float, Kind::BFloat16] {
        let start = Tensor::from_slice(&[0.3f32, -1.7, 2.0, 0.01]).view([2, 2]).to_kind(kind);
        let gradients = [[0.1f32, -0.3, 7.0, 1e-3], [0.2, 0.5, -0.1, 3.0], [1.0, -1.0, 0.7, 0.9]];
        let config = AdamWConfig { weight_decay: 0.01, ..AdamWConfig::default() };
        let original = start.copy().set_requires_grad(true);
        let mut optimizer = AdamW::new(vec![named("p", &original)], config.clone()).unwrap();
        for gradient in &gradients[..2] {
            set_gradient(&original, gradient);
            optimizer.step(0.01);
        }
        let copy = original.detach().copy().set_requires_grad(true);
        let mut resumed = AdamW::new(vec![named("p", &copy)], config).unwrap();
        resumed.load_state(&optimizer.state()).unwrap();
        for (tensor, optimizer) in [(&original, &mut optimizer), (&copy, &mut resumed)] {
            set_gradient(tensor, &gradients[2]);
            optimizer.step(0.01);
        }
        assert_eq!(values(&original), values(&copy));
        for ((name, a), (_, b)) in optimizer.state().iter().zip(resumed.state()) {
            assert!(a.equal(&b), "{name}");
        }
    }
}

#[test]
fn buckets_split_by_kind_and_size() {
    let small = || Tensor::zeros([1], (Kind::Float, Device::Cpu));
    // The expanded tensor takes no memory.
    let large = small().expand([bucket_elements(Device::Cpu)], false);
    let split = split_into_buckets(vec![named("a", &small()), named("b", &large), named("c", &small())]);
    let names: Vec<Vec<&str>> =
        split.iter().map(|b| b.iter().map(|(name, _)| name.as_str()).collect()).collect();
    assert_eq!(names, [["a"], ["b"], ["c"]]);
    let reduced = small().to_kind(Kind::BFloat16);
    let optimizer = AdamW::new(vec![named("a", &small()), named("b", &reduced)], unclipped()).unwrap();
    assert_eq!(optimizer.buckets.len(), 2);
}

#[test]
fn a_state_of_other_parameters_is_refused_and_does_not_change_the_optimizer() {
    let optimizer = |name: &str, values: &[f32]| {
        AdamW::new(vec![named(name, &parameter(values))], AdamWConfig::default()).unwrap()
    };
    let mut target = optimizer("p", &[1.0, 2.0]);
    let refused =
        |state: Vec<(String, Tensor)>, target: &mut AdamW| target.load_state(&state).unwrap_err().to_string();
    assert_eq!(
        refused(optimizer("q", &[1.0, 2.0]).state(), &mut target),
        "the optimizer state has no `exp_avg.p`; it was saved for other parameters or in another dtype"
    );
    assert_eq!(
        refused(optimizer("p", &[1.0]).state(), &mut target),
        "optimizer state `exp_avg.p` has shape [1], its parameter [2]"
    );
    let mut surplus = target.state();
    surplus.push(named("master.p", &parameter(&[1.0, 2.0])));
    assert_eq!(
        refused(surplus, &mut target),
        "the optimizer state has `master.p`, which belongs to no parameter here; it was saved for other parameters"
    );
    assert_eq!(target.steps(), 0);
}

#[test]
fn unusable_parameters_are_named() {
    let double = Tensor::from_slice(&[1.0f64]);
    let error = AdamW::new(vec![named("p", &double)], AdamWConfig::default()).unwrap_err();
    assert_eq!(error.to_string(), "parameter `p` is Double; train it in Float, BFloat16 or Half");
    let p = parameter(&[1.0]);
    let error = AdamW::new(vec![named("p", &p), named("p", &p)], AdamWConfig::default()).unwrap_err();
    assert!(error.to_string().starts_with("two parameters are called `p`"));
}
