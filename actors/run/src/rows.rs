//! Which rows a step trains on.

use std::sync::{Arc, Mutex, PoisonError};

use rand::seq::SliceRandom;
use rewards::Question;
use scenarios::Questions;

use runtime::seed::{Purpose, generator};

/// A training row, and its place in the data.
pub(crate) struct Row {
    pub(crate) place: usize,
    pub(crate) question: Arc<Question>,
}

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

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.questions.len()
    }

    /// The `count` rows of `step`, counted from 0.
    pub(crate) fn of_step(&self, step: u64, count: usize) -> Vec<Row> {
        self.next(step * count as u64, count)
    }

    /// `count` rows, after `before` others.
    pub(crate) fn next(&self, before: u64, count: usize) -> Vec<Row> {
        (before..before + count as u64).map(|turn| self.at_place(self.place(turn))).collect()
    }

    /// The row at `place` in the data.
    pub(crate) fn at_place(&self, place: usize) -> Row {
        Row { place, question: self.questions.at(place) }
    }

    /// The place in the data of the row whose turn it is after `turn` others.
    fn place(&self, turn: u64) -> usize {
        let rows = self.questions.len() as u64;
        let (epoch, turn) = (turn / rows, (turn % rows) as usize);
        let mut drawn = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if drawn.0 != epoch {
            let mut order: Vec<u32> = (0..rows as u32).collect();
            order.shuffle(&mut generator(self.seed, Purpose::RowOrder, &[epoch]));
            *drawn = (epoch, order);
        }
        drawn.1[turn] as usize
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
        let ids = |step| rows.of_step(step, 4).iter().map(|row| row.question.id.clone()).collect::<Vec<_>>();
        let later = ids(5);
        let mut epoch: Vec<_> = (0..3).flat_map(ids).collect();
        epoch.sort_by_key(|id| id.parse::<usize>().unwrap());
        assert_eq!(epoch, (0..12).map(|id| id.to_string()).collect::<Vec<_>>());
        assert_eq!(ids(5), later);
    }
}
