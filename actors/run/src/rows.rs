//! Which rows a step trains on.

use std::sync::{Arc, Mutex, PoisonError};

use rand::seq::SliceRandom;
use rewards::Question;
use scenarios::Questions;

use runtime::seed::{Purpose, generator};

/// The training rows in an order drawn anew for each epoch; a step's rows follow from the seed and the step alone.
pub(crate) struct Rows {
    questions: Questions,
    seed: u64,
    /// The last epoch asked for and its order.
    epoch: Mutex<(u64, Vec<u32>)>,
}

impl Rows {
    /// Rows in the order of `seed`.
    pub(crate) fn new(questions: Questions, seed: u64) -> Self {
        Rows { questions, seed, epoch: Mutex::new((u64::MAX, Vec::new())) }
    }

    /// The `count` rows of `step`, counted from 0.
    pub(crate) fn of_step(&self, step: u64, count: usize) -> Vec<Arc<Question>> {
        let first = step * count as u64;
        (first..first + count as u64).map(|place| self.at(place)).collect()
    }

    fn at(&self, place: u64) -> Arc<Question> {
        let rows = self.questions.len() as u64;
        let (epoch, place) = (place / rows, (place % rows) as usize);
        let mut drawn = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.0 != epoch {
            let mut order: Vec<u32> = (0..rows as u32).collect();
            order.shuffle(&mut generator(self.seed, Purpose::RowOrder, &[epoch]));
            *drawn = (epoch, order);
        }
        self.questions.at(drawn.1[place] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: usize) -> Arc<Question> {
        Arc::new(Question { id: id.to_string(), audio_path: "a.wav".into(), ..Question::default() })
    }

    #[test]
    fn an_epoch_has_every_row_once_and_steps_do_not_depend_on_what_was_asked_before() {
        let rows = Rows::new((0..12).map(question).collect(), 7);
        let ids = |step| rows.of_step(step, 4).iter().map(|row| row.id.clone()).collect::<Vec<_>>();
        let later = ids(5);
        let mut epoch: Vec<_> = (0..3).flat_map(ids).collect();
        epoch.sort_by_key(|id| id.parse::<usize>().unwrap());
        assert_eq!(epoch, (0..12).map(|id| id.to_string()).collect::<Vec<_>>());
        assert_eq!(ids(5), later);
    }
}
