use std::path::PathBuf;
use std::sync::Mutex;

use tokio::sync::OnceCell;

use super::*;

fn version(number: u64) -> Arc<Version> {
    Arc::new(Version {
        number,
        name: None,
        folder: PathBuf::new(),
        weights: Arc::new(Mutex::default()),
        expected: OnceCell::new(),
    })
}

fn slice(ids: &[i64], finish: Finish) -> Completion {
    let logprobs = ids.iter().map(|id| -(*id as f32) / 4.0).collect();
    Completion { ids: ids.to_vec(), logprobs, forced: 0..0, finish }
}

fn whole() -> Draw {
    Draw::new(1.0, 7, &[9], &[])
}

fn spans(of: &[(u64, u64)]) -> Vec<VersionSpan> {
    of.iter()
        .map(|(policy_version, tokens)| VersionSpan { policy_version: *policy_version, tokens: *tokens })
        .collect()
}

#[test]
fn rollout_5_tokens_keep_the_log_probability_and_the_version_that_drew_them() {
    let mut partial = Partial::new(version(3));
    partial.add(slice(&[1, 2], Finish::Length));
    partial.add(slice(&[3, 4], Finish::Length));
    partial.take_up(version(5), false);
    partial.add(slice(&[5, 6], Finish::Length));
    assert!(!partial.is_done(&whole()));
    partial.add(slice(&[9], Finish::Eos));
    assert!(partial.is_done(&whole()));
    let drawn = partial.drawn();
    assert_eq!(drawn.completion.ids, [1, 2, 3, 4, 5, 6, 9]);
    assert_eq!(drawn.completion.logprobs, [-0.25, -0.5, -0.75, -1.0, -1.25, -1.5, -2.25]);
    assert_eq!((drawn.completion.finish, drawn.spans), (Finish::Eos, spans(&[(3, 4), (5, 3)])));
    assert_eq!(drawn.figures, ServerFigures { continued: 1, ..ServerFigures::default() });
}

#[test]
fn a_completion_that_begins_again_has_the_seeds_that_it_had() {
    let mut partial = Partial::new(version(0));
    let first = partial.seed(11);
    partial.add(slice(&[1, 2, 3], Finish::Length));
    assert_ne!(partial.seed(11), first);
    partial.take_up(version(1), true);
    assert_eq!((partial.seed(11), partial.draw(&whole(), 3).max_tokens), (first, 3));
    partial.add(slice(&[4, 5, 6, 7, 8, 1, 2], Finish::Length));
    assert!(partial.is_done(&whole()));
    let drawn = partial.drawn();
    assert_eq!((drawn.completion.ids.len(), drawn.completion.finish), (7, Finish::Length));
    assert_eq!(drawn.spans, spans(&[(1, 7)]));
    let figures = ServerFigures { restarted: 1, restarted_tokens: 3, ..ServerFigures::default() };
    assert_eq!(drawn.figures, figures);
}

#[test]
fn slices_end_where_the_completion_does() {
    let mut partial = Partial::new(version(0));
    let lengths = |partial: &Partial| [0, 3, 100].map(|slice| partial.draw(&whole(), slice).max_tokens);
    assert_eq!(lengths(&partial), [7, 3, 7]);
    partial.add(slice(&[1, 2, 3, 4, 5], Finish::Length));
    assert_eq!(lengths(&partial), [2, 2, 2]);
}

#[test]
fn an_answer_that_fails_its_check_is_asked_for_with_another_seed() {
    let (mut partial, server) = (Partial::new(version(0)), Server::new(2, "http://a:1"));
    let first = partial.seed(11);
    assert!(partial.fails_check(&server, 1));
    assert_ne!(partial.seed(11), first);
    assert_eq!(partial.attempts.avoid, Some(2));
    // The next slice does not depend on it.
    let mut without = Partial::new(version(0));
    for partial in [&mut partial, &mut without] {
        partial.add(slice(&[1], Finish::Length));
    }
    assert_eq!(partial.seed(11), without.seed(11));
    assert!(!partial.fails_check(&server, 1), "one retry for all of its slices");
    let figures = ServerFigures { retried: 1, dropped: 1, ..ServerFigures::default() };
    assert_eq!(partial.figures, figures);
}
