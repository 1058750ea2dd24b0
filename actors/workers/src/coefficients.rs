//! The weights of the KL term and of the entropy bonus, which may follow a target from step to step.

use tch::Tensor;

use crate::weight_store::NamedTensors;

/// Prefix of the names under which the coefficients are stored beside AdamW's moments.
const PREFIX: &str = "coefficients.";

/// How `kl_coef` follows a target (Ziegler et al., <https://arxiv.org/abs/1909.08593>, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlControl {
    /// KL divergence per token to hold.
    pub target: f64,
    /// Number of completions after which a divergence 20 % or more off the target has changed the coefficient by 20 %.
    pub horizon: f64,
}

/// How `entropy_coef` follows a target (Skywork-OR1, <https://arxiv.org/abs/2505.22312>).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EntropyControl {
    /// Mean entropy per token, in nats, below which the bonus is in force.
    pub target: f64,
    /// By how much the coefficient rises or falls in a step.
    pub delta: f64,
    /// Largest coefficient.
    pub max: f64,
}

/// The coefficients of a step, in arms in which they follow a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coefficients {
    pub(crate) kl: f64,
    entropy: f64,
    /// Mean entropy in the step before; infinite before the first, so that it begins without a bonus.
    last_entropy: f64,
}

impl Coefficients {
    pub(crate) fn new(kl: f64, entropy: f64) -> Self {
        Coefficients { kl, entropy, last_entropy: f64::INFINITY }
    }

    /// The weight of the entropy bonus in this step.
    pub(crate) fn entropy(&self, control: EntropyControl) -> f64 {
        if self.last_entropy > control.target { 0.0 } else { self.entropy }
    }

    /// Moves the KL coefficient after a step with `completions` and this divergence per token.
    pub(crate) fn follow_kl(&mut self, control: KlControl, kl: f64, completions: usize) {
        if kl.is_finite() {
            let error = (kl / control.target - 1.0).clamp(-0.2, 0.2);
            self.kl *= 1.0 + error * completions as f64 / control.horizon;
        }
    }

    /// Moves the entropy coefficient after a step with this mean entropy.
    pub(crate) fn follow_entropy(&mut self, control: EntropyControl, entropy: f64) {
        if entropy.is_finite() {
            let change = if entropy <= control.target { control.delta } else { -control.delta };
            self.entropy = (self.entropy + change).clamp(0.0, control.max);
            self.last_entropy = entropy;
        }
    }

    /// The coefficients as tensors, bit for bit.
    pub(crate) fn tensors(&self) -> NamedTensors {
        let tensor = |(name, value): (&str, f64)| {
            (format!("{PREFIX}{name}"), Tensor::from(i64::from_ne_bytes(value.to_ne_bytes())))
        };
        let values = [("entropy", self.entropy), ("kl", self.kl), ("last_entropy", self.last_entropy)];
        values.into_iter().map(tensor).collect()
    }

    /// Takes the coefficients out of a stored state, if it has them.
    pub(crate) fn take_from(&mut self, state: &mut NamedTensors) {
        state.retain(|(name, tensor)| {
            let Some(name) = name.strip_prefix(PREFIX) else { return true };
            if let Ok(bits) = tensor.f_int64_value(&[]) {
                let value = f64::from_ne_bytes(bits.to_ne_bytes());
                match name {
                    "entropy" => self.entropy = value,
                    "kl" => self.kl = value,
                    "last_entropy" => self.last_entropy = value,
                    _ => {}
                }
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coefficients() -> Coefficients {
        Coefficients::new(0.1, 0.01)
    }

    #[test]
    fn the_kl_coefficient_follows_its_target_by_at_most_a_fifth_per_horizon() {
        let control = KlControl { target: 0.5, horizon: 100.0 };
        let mut found = coefficients();
        // 0.55 / 0.5 − 1 = 0.1, times 20 of 100: 1.02.
        found.follow_kl(control, 0.55, 20);
        assert!((found.kl - 0.1 * 1.02).abs() < 1e-15, "{found:?}");
        // Far off in either direction: 0.2 · 20 / 100 = 0.04.
        found.follow_kl(control, 7.0, 20);
        found.follow_kl(control, 0.0, 20);
        assert!((found.kl - 0.1 * 1.02 * 1.04 * 0.96).abs() < 1e-15, "{found:?}");
        let before = found;
        found.follow_kl(control, f64::NAN, 20);
        assert_eq!(found, before);
    }

    #[test]
    fn the_entropy_bonus_is_in_force_below_its_target_only() {
        let control = EntropyControl { target: 1.0, delta: 0.005, max: 0.02 };
        let mut found = coefficients();
        assert_eq!((found.entropy, found.entropy(control)), (0.01, 0.0));
        for (entropy, coefficient, applied) in
            [(0.5, 0.015, 0.015), (0.5, 0.02, 0.02), (0.5, 0.02, 0.02), (1.5, 0.015, 0.0)]
        {
            found.follow_entropy(control, entropy);
            assert!((found.entropy - coefficient).abs() < 1e-15, "{found:?}");
            assert!((found.entropy(control) - applied).abs() < 1e-15, "{found:?}");
        }
    }

    #[test]
    fn coefficients_are_stored_bit_for_bit_beside_other_tensors() {
        let mut found = coefficients();
        found.follow_kl(KlControl { target: 0.3, horizon: 7.0 }, 0.31, 3);
        let mut state = found.tensors();
        state.push(("step".to_owned(), Tensor::from(3i64)));
        let mut restored = coefficients();
        restored.take_from(&mut state);
        assert_eq!(restored, found);
        assert_eq!(state.len(), 1, "the others stay");
    }
}
