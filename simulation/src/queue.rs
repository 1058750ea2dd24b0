//! The queue of events, by time; events of the same time in the order in which they were added.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Events of type `E` that are still to happen.
pub(crate) struct Queue<E> {
    events: BinaryHeap<Entry<E>>,
    added: u64,
    /// The time of the last event that happened, in seconds.
    pub(crate) now: f64,
}

struct Entry<E> {
    time: f64,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives the greatest first, so the earliest is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.time.total_cmp(&self.time).then(other.number.cmp(&self.number))
    }
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Queue { events: BinaryHeap::new(), added: 0, now: 0.0 }
    }

    /// Has an event happen in so many seconds.
    pub(crate) fn after(&mut self, seconds: f64, event: E) {
        self.added += 1;
        self.events.push(Entry { time: self.now + seconds.max(0.0), number: self.added, event });
    }

    /// The next event; it is now its time.
    pub(crate) fn next(&mut self) -> Option<E> {
        let entry = self.events.pop()?;
        self.now = entry.time;
        Some(entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_those_of_one_time_in_their_order() {
        let mut queue = Queue::new();
        for (seconds, name) in [(2.0, "c"), (1.0, "a"), (1.0, "b"), (3.0, "d")] {
            queue.after(seconds, name);
        }
        let order: Vec<&str> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!((order.as_slice(), queue.now), (&["a", "b", "c", "d"][..], 3.0));
    }
}
