//! The versions of the policy that drew the tokens of a step.

use workers::{Generated, VersionSpan};

/// The versions by which the weights that drew a token lag behind `version`, in the mean over the tokens of a step.
pub(super) fn token_staleness(version: u64, spans: &[Vec<VersionSpan>]) -> Option<f64> {
    let add = |(tokens, versions), span: &VersionSpan| {
        (tokens + span.tokens, versions + span.tokens * (version - span.policy_version))
    };
    let (tokens, versions) = spans.iter().flatten().fold((0, 0), add);
    (tokens > 0).then(|| versions as f64 / tokens as f64)
}

/// The version that drew a completion's first token.
pub(super) fn first_version(generated: &Generated, place: usize) -> u64 {
    let first = generated.spans.get(place).and_then(|spans| spans.first());
    first.map_or(generated.policy_version, |span| span.policy_version)
}

/// The versions that drew a completion, and how many of its tokens; nothing if it was a single one.
pub(super) fn versions(generated: &Generated, place: usize) -> Vec<[u64; 2]> {
    let spans = generated.spans.get(place).filter(|spans| spans.len() > 1);
    spans.into_iter().flatten().map(|span| [span.policy_version, span.tokens]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(of: &[(u64, u64)]) -> Vec<VersionSpan> {
        let span = |(policy_version, tokens): &(u64, u64)| VersionSpan {
            policy_version: *policy_version,
            tokens: *tokens,
        };
        of.iter().map(span).collect()
    }

    #[test]
    fn the_staleness_of_tokens_counts_each_by_the_version_that_drew_it() {
        let generated = Generated {
            policy_version: 3,
            spans: vec![spans(&[(3, 4), (5, 2)]), spans(&[(4, 6)])],
            ..Generated::default()
        };
        // (4 · 2 + 2 · 0 + 6 · 1) / 12.
        let mean = token_staleness(5, &generated.spans).unwrap();
        assert!((mean - 14.0 / 12.0).abs() < 1e-12, "{mean}");
        assert_eq!(token_staleness(5, &[]), None);
        assert_eq!([0, 1].map(|place| first_version(&generated, place)), [3, 4]);
        assert_eq!([0, 1].map(|place| versions(&generated, place)), [vec![[3, 4], [5, 2]], vec![]]);
        let own = Generated { policy_version: 7, ..Generated::default() };
        assert_eq!((first_version(&own, 0), versions(&own, 0)), (7, vec![]));
    }
}
