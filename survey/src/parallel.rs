//! The same work on many items, on all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Calls `work` on each item, on as many threads as there are cores, and returns the results in the order of the items.
/// Items are begun in an order that is spread over all of them; those that are not begun before the `deadline` have no
/// result. `done` is told how many are done so far.
pub(crate) fn spread<T: Sync, R: Send>(
    items: &[T],
    deadline: Option<Instant>,
    done: &(dyn Fn(usize) + Sync),
    work: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let step = stride(items.len());
    let worker = || {
        let mut results = Vec::new();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= items.len() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return results;
            }
            // In 128 bits, because the product of two lengths may not fit into 64.
            let index = (turn as u128 * step as u128 % items.len() as u128) as usize;
            results.push((index, work(&items[index])));
            done(finished.fetch_add(1, Ordering::Relaxed) + 1);
        }
    };
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            match worker.join() {
                Ok(found) => found.into_iter().for_each(|(index, result)| results[index] = Some(result)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    results
}

/// A step that leads through all of `length` places and skips far: coprime to it, near the golden section.
fn stride(length: usize) -> usize {
    let near = (length as f64 * 0.618) as usize;
    (near.max(1)..).find(|&step| gcd(step, length) <= 1).unwrap_or(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_its_result_whatever_their_number() {
        for length in [0, 1, 2, 3, 5, 8, 50, 64, 97, 1000] {
            let items: Vec<usize> = (0..length).collect();
            let done = AtomicUsize::new(0);
            let count = |count: usize| {
                done.fetch_max(count, Ordering::Relaxed);
            };
            let squares = spread(&items, None, &count, |item| item * item);
            let expected: Vec<_> = items.iter().map(|item| Some(item * item)).collect();
            assert_eq!(squares, expected);
            assert_eq!(done.into_inner(), length);
        }
    }

    #[test]
    fn nothing_is_begun_after_the_deadline() {
        let results = spread(&[1, 2, 3], Some(Instant::now()), &|_| {}, |item| *item);
        assert_eq!(results, [None, None, None]);
    }
}
