//! The progress of one arm: its smoothed metrics and the time left, as shown while it runs.

use std::time::{Duration, Instant};

use runtime::StepFigures;

/// Weight of the latest step in the exponential averages that are shown.
const LATEST: f64 = 0.2;

/// The progress of an arm under one seed.
#[derive(Debug)]
pub struct ArmProgress {
    pub total_steps: u64,
    pub step: u64,
    reward: Option<f64>,
    accuracy: Option<f64>,
    think_rate: Option<f64>,
    loss: Option<f64>,
    tokens_per_second: Option<f64>,
    started: Instant,
    /// Steps that were completed before this process started, in a resumed run; `None` until the first step.
    before: Option<u64>,
}

impl ArmProgress {
    pub fn new(total_steps: u64) -> Self {
        Self {
            total_steps,
            step: 0,
            reward: None,
            accuracy: None,
            think_rate: None,
            loss: None,
            tokens_per_second: None,
            started: Instant::now(),
            before: None,
        }
    }

    /// Updates the averages with the metrics of a completed step.
    pub fn step(&mut self, step: u64, figures: &StepFigures) {
        let average = |shown: &mut Option<f64>, new: Option<f64>| {
            if let Some(new) = new {
                *shown = Some(shown.map_or(new, |old| old + LATEST * (new - old)));
            }
        };
        self.step = step;
        self.before.get_or_insert(step.saturating_sub(1));
        average(&mut self.reward, figures.reward);
        average(&mut self.accuracy, figures.accuracy);
        average(&mut self.think_rate, figures.think_rate);
        average(&mut self.loss, figures.loss);
        average(&mut self.tokens_per_second, Some(figures.tokens_per_second));
    }

    /// Time left at the average pace so far; `None` before the first step.
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left_after(self.started.elapsed())
    }

    fn time_left_after(&self, elapsed: Duration) -> Option<Duration> {
        let taken = self.step.checked_sub(self.before?).filter(|taken| *taken > 0)?;
        let left = self.total_steps.saturating_sub(self.step);
        Some(elapsed.mul_f64(left as f64 / taken as f64))
    }

    /// A text such as `reward 1.23  accuracy 81 %  think 45 %  2400 tokens/s`, with the loss instead if
    /// there is no reward.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(reward) = self.reward {
            parts.push(format!("reward {reward:>5.2}"));
        } else if let Some(loss) = self.loss {
            parts.push(format!("loss {loss:>6.3}"));
        }
        if let Some(accuracy) = self.accuracy {
            parts.push(format!("accuracy {:>3.0} %", accuracy * 100.0));
        }
        if let Some(rate) = self.think_rate {
            parts.push(format!("think {:>3.0} %", rate * 100.0));
        }
        if let Some(speed) = self.tokens_per_second {
            parts.push(format!("{speed:>5.0} tokens/s"));
        }
        parts.join("  ")
    }
}

/// `75` → `1 min 15 s`.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(reward: f64) -> StepFigures {
        let (accuracy, think_rate, loss) = (Some(0.5), Some(0.25), Some(0.01));
        StepFigures { reward: Some(reward), accuracy, think_rate, loss, tokens_per_second: 2000.0 }
    }

    #[test]
    fn shown_metrics_are_exponential_averages() {
        let mut arm = ArmProgress::new(10);
        arm.step(1, &figures(1.0));
        arm.step(2, &figures(2.0));
        // 1 + 0.2 · (2 − 1) = 1.2
        assert_eq!(arm.text(), "reward  1.20  accuracy  50 %  think  25 %   2000 tokens/s");
    }

    #[test]
    fn the_pace_of_a_resumed_arm_counts_only_the_steps_since_then() {
        let mut arm = ArmProgress::new(300);
        arm.step(201, &figures(1.0));
        arm.step(202, &figures(1.0));
        // 2 steps in 4 s; 98 left.
        assert_eq!(arm.time_left_after(Duration::from_secs(4)), Some(Duration::from_secs(196)));
    }

    #[test]
    fn durations_are_written_in_their_two_largest_units() {
        assert_eq!(duration(Duration::from_secs(75)), "1 min 15 s");
        assert_eq!(duration(Duration::from_secs(7261)), "2 h 1 min");
    }
}
