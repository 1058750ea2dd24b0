//! A sampler: sequences that are decoded together, each token step as long as their number makes it.
//!
//! All sequences get on at the same speed, so one count of token steps says how far they are: a sequence ends when the count
//! reaches where it began plus its length. While a prompt is computed, or new weights are loaded, the count stands still.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::inputs::SamplerInputs;

/// Token steps that are taken for none: rounding of the clock.
const ROUNDING: f64 = 1e-6;

/// A sequence that is decoded.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    /// The count of token steps at which it ends.
    end: f64,
    tokens: f64,
    step: u64,
}

impl PartialEq for Sequence {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sequence {}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.end.total_cmp(&other.end).then(self.step.cmp(&other.step))
    }
}

/// One sampler of an arm.
#[derive(Default)]
pub(crate) struct Sampler {
    running: BinaryHeap<Reverse<Sequence>>,
    waiting: VecDeque<(u64, f64)>,
    /// Token steps so far.
    count: f64,
    /// The time up to which `count` and `busy_seconds` hold.
    at: f64,
    stalled_until: f64,
    /// Changes whenever the next end does; an event of an older one is void.
    pub(crate) generation: u64,
    pub(crate) busy_seconds: f64,
}

impl Sampler {
    /// Brings the counts up to `now`.
    fn advance(&mut self, now: f64, inputs: &SamplerInputs) {
        if !self.running.is_empty() {
            let decoding = now - self.at.max(self.stalled_until);
            if decoding > 0.0 {
                self.count += decoding / inputs.token_seconds(self.running.len()).max(f64::MIN_POSITIVE);
            }
            self.busy_seconds += now - self.at;
        } else {
            self.busy_seconds += (now.min(self.stalled_until) - self.at).max(0.0);
        }
        self.at = now;
    }

    /// Adds sequences of a step, by their tokens, after a stall for their prompts.
    pub(crate) fn add(
        &mut self,
        now: f64,
        inputs: &SamplerInputs,
        step: u64,
        tokens: &[f64],
        prompts_seconds: f64,
    ) {
        self.stall(now, inputs, prompts_seconds);
        self.waiting.extend(tokens.iter().map(|&tokens| (step, tokens)));
        self.admit(inputs);
    }

    /// Decodes nothing for so many seconds, from now or from the end of the present stall.
    pub(crate) fn stall(&mut self, now: f64, inputs: &SamplerInputs, seconds: f64) {
        self.advance(now, inputs);
        self.stalled_until = self.stalled_until.max(now) + seconds;
        self.generation += 1;
    }

    fn admit(&mut self, inputs: &SamplerInputs) {
        let most = if inputs.max_sequences == 0 { usize::MAX } else { inputs.max_sequences };
        while self.running.len() < most {
            let Some((step, tokens)) = self.waiting.pop_front() else { break };
            self.running.push(Reverse(Sequence { end: self.count + tokens, tokens, step }));
        }
    }

    /// Seconds until the next sequence ends; `None` if there is none.
    pub(crate) fn until_next(&self, inputs: &SamplerInputs) -> Option<f64> {
        let Reverse(first) = self.running.peek()?;
        let stall = (self.stalled_until - self.at).max(0.0);
        Some(stall + (first.end - self.count).max(0.0) * inputs.token_seconds(self.running.len()))
    }

    /// The steps of the sequences that end now: the first, and those that end with it.
    pub(crate) fn finished(&mut self, now: f64, inputs: &SamplerInputs) -> Vec<u64> {
        self.advance(now, inputs);
        if let Some(Reverse(first)) = self.running.peek() {
            // However the clock was rounded.
            self.count = self.count.max(first.end);
        }
        let mut ended = Vec::new();
        while let Some(Reverse(first)) = self.running.peek() {
            if first.end > self.count + ROUNDING {
                break;
            }
            ended.push(first.step);
            self.running.pop();
        }
        self.admit(inputs);
        self.generation += 1;
        ended
    }

    /// Loses what it has decoded, and begins all sequences again after a restart.
    pub(crate) fn fail(&mut self, now: f64, inputs: &SamplerInputs, restart_seconds: f64) {
        self.advance(now, inputs);
        let again: Vec<Sequence> = self.running.drain().map(|Reverse(sequence)| sequence).collect();
        let again = again
            .into_iter()
            .map(|sequence| Reverse(Sequence { end: self.count + sequence.tokens, ..sequence }));
        self.running = again.collect();
        self.stall(now, inputs, restart_seconds);
        self.busy_seconds -= restart_seconds;
    }

    /// Ends all sequences without a result.
    pub(crate) fn clear(&mut self, now: f64, inputs: &SamplerInputs) {
        self.advance(now, inputs);
        self.running.clear();
        self.waiting.clear();
        self.stalled_until = now;
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::inputs::DecodePoint;
    use super::*;

    #[test]
    fn sequences_that_end_make_room_and_the_others_faster() {
        let decode = vec![
            DecodePoint { sequences: 1.0, tokens_per_second: 1.0 },
            DecodePoint { sequences: 2.0, tokens_per_second: 1.0 },
        ];
        let inputs = SamplerInputs { decode, max_sequences: 2, ..SamplerInputs::default() };
        let mut sampler = Sampler::default();
        // A token step takes 1 s alone and 2 s together; 5 s for the prompts.
        sampler.add(0.0, &inputs, 7, &[3.0, 4.0, 1.0], 5.0);
        // The first ends after 3 token steps of two: 5 + 6 s.
        assert_eq!(sampler.until_next(&inputs), Some(11.0));
        assert_eq!(sampler.finished(11.0, &inputs), [7]);
        // The second and the third, which waited, have a token to go each: both end 2 s later.
        assert_eq!(sampler.until_next(&inputs), Some(2.0));
        assert_eq!(sampler.finished(13.0, &inputs), [7, 7]);
        assert_eq!(sampler.until_next(&inputs), None);
        assert_eq!(sampler.busy_seconds, 13.0);
    }

    #[test]
    fn a_sampler_that_fails_begins_its_sequences_again() {
        let decode = vec![DecodePoint { sequences: 1.0, tokens_per_second: 1.0 }];
        let inputs = SamplerInputs { decode, ..SamplerInputs::default() };
        let mut sampler = Sampler::default();
        sampler.add(0.0, &inputs, 0, &[10.0], 0.0);
        sampler.fail(6.0, &inputs, 30.0);
        assert_eq!(sampler.until_next(&inputs), Some(40.0));
        assert_eq!(sampler.finished(46.0, &inputs), [0]);
        // 6 s in vain and 10 s of use.
        assert_eq!(sampler.busy_seconds, 16.0);
    }
}
