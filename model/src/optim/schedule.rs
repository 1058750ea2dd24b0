//! The learning rate of each step of a run.

/// How the learning rate changes from its full value to its final value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LrShape {
    /// The learning rate stays at its full value.
    #[default]
    Constant,
    /// The learning rate decreases linearly.
    Linear,
    /// The learning rate follows half a cosine wave.
    Cosine,
}

/// A linear warm-up, followed by a decay of the given [`LrShape`].
#[derive(Clone, Debug, PartialEq)]
pub struct LrSchedule {
    /// The full learning rate, after the warm-up.
    pub lr: f64,
    /// Number of steps before the full learning rate is reached.
    pub warmup_steps: u64,
    /// Number of steps of the whole run, warm-up included.
    pub total_steps: u64,
    /// The shape of the decay after the warm-up.
    pub shape: LrShape,
    /// The decay ends at `lr × final_fraction`, which would be the learning rate of the step after the last.
    pub final_fraction: f64,
}

impl LrSchedule {
    /// The same learning rate for all steps.
    pub fn constant(lr: f64) -> Self {
        LrSchedule { lr, warmup_steps: 0, total_steps: 0, shape: LrShape::Constant, final_fraction: 1.0 }
    }

    /// The learning rate of a step, counted from 0.
    ///
    /// No step has a learning rate of 0: the warm-up starts one increment above 0, and the decay ends one step
    /// before its end value.
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
    fn warm_up_rises_in_equal_increments_and_is_never_zero() {
        // 8 · 1/4, 2/4, 3/4, then the full value.
        assert_eq!(rates(LrShape::Constant), [2.0, 4.0, 6.0, 8.0, 8.0, 8.0, 8.0, 8.0]);
        assert_eq!(LrSchedule::constant(0.3).lr_at(12), 0.3);
    }

    #[test]
    fn linear_decay_ends_at_the_final_fraction() {
        // Four steps from 8 to 4, by 1 each.
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
