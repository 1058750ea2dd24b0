//! Learning rates over the steps of a run.

/// How the learning rate goes from its full value to its final one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LrShape {
    /// Stays at the full value.
    #[default]
    Constant,
    /// A straight line.
    Linear,
    /// Half a cosine wave.
    Cosine,
}

/// A linear warm-up followed by a [`LrShape`].
#[derive(Clone, Debug, PartialEq)]
pub struct LrSchedule {
    /// The full learning rate.
    pub lr: f64,
    /// Steps before the full learning rate is reached.
    pub warmup_steps: u64,
    /// Steps of the whole run, warm-up included.
    pub total_steps: u64,
    /// Decay after the warm-up.
    pub shape: LrShape,
    /// The decay heads for `lr × final_fraction`, which the step after the last would have.
    pub final_fraction: f64,
}

impl LrSchedule {
    /// The same learning rate for all steps.
    pub fn constant(lr: f64) -> Self {
        LrSchedule { lr, warmup_steps: 0, total_steps: 0, shape: LrShape::Constant, final_fraction: 1.0 }
    }

    /// Learning rate of a step, counted from 0.
    ///
    /// No step has learning rate 0: the warm-up starts one increment above it, and the decay ends one before.
    pub fn lr_at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.lr * (step + 1) as f64 / (self.warmup_steps + 1) as f64;
        }
        let decay_steps = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let progress = ((step - self.warmup_steps) as f64 / decay_steps as f64).min(1.0);
        let remaining = match self.shape {
            LrShape::Constant => return self.lr,
            LrShape::Linear => 1.0 - progress,
            LrShape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        self.lr * (self.final_fraction + (1.0 - self.final_fraction) * remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: LrShape) -> LrSchedule {
        LrSchedule { lr: 8.0, warmup_steps: 3, total_steps: 7, shape, final_fraction: 0.5 }
    }

    fn rates(shape: LrShape) -> Vec<f64> {
        (0..8).map(|step| schedule(shape).lr_at(step)).collect()
    }

    #[test]
    fn warm_up_rises_in_equal_increments_and_never_is_zero() {
        // 8 · 1/4, 2/4, 3/4, then the full value.
        assert_eq!(rates(LrShape::Constant), [2.0, 4.0, 6.0, 8.0, 8.0, 8.0, 8.0, 8.0]);
        assert_eq!(LrSchedule::constant(0.3).lr_at(12), 0.3);
    }

    #[test]
    fn linear_decay_heads_for_the_final_fraction() {
        // 4 steps from 8 to 4, one apart.
        assert_eq!(rates(LrShape::Linear)[3..], [8.0, 7.0, 6.0, 5.0, 4.0]);
        assert_eq!(schedule(LrShape::Linear).lr_at(100), 4.0);
    }

    #[test]
    fn cosine_decay_is_half_way_in_the_middle() {
        let rates = rates(LrShape::Cosine);
        // 4 + 4·(1 + cos(π/4))/2 = 6 + √2 a quarter of the way, 6 half-way.
        assert!((rates[4] - (6.0 + 2.0f64.sqrt())).abs() < 1e-12);
        assert!((rates[5] - 6.0).abs() < 1e-12);
        assert!((rates[7] - 4.0).abs() < 1e-12);
    }
}
