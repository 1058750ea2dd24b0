//! The time to clean a text for a judge: `cargo bench -p rewards`. Each length is twice the one before, so linear cleaning
//! takes twice the time, and `char/s` stays the same.

use divan::Bencher;
use divan::counter::CharsCount;
use rewards::judge::guard::Guard;

const LENGTHS: [usize; 6] = [1_500, 3_000, 6_000, 12_000, 24_000, 48_000];

fn main() {
    divan::main();
}

fn clean(bencher: Bencher<'_, '_>, text: String) {
    let guard = Guard { special_tokens: vec!["▁EOT".to_owned()], max_chars: usize::MAX };
    bencher.counter(CharsCount::of_str(&text)).bench(|| guard.clean(divan::black_box(&text)));
}

/// Template tokens in one another, of which each is completed by the removal of the next.
#[divan::bench(args = LENGTHS)]
fn nested_tokens(bencher: Bencher<'_, '_>, length: usize) {
    clean(bencher, "<|a".repeat(length / 5) + &"|>".repeat(length / 5));
}

#[divan::bench(args = LENGTHS)]
fn opened_tokens(bencher: Bencher<'_, '_>, length: usize) {
    clean(bencher, "<|".repeat(length / 2));
}

#[divan::bench(args = LENGTHS)]
fn plain_words(bencher: Bencher<'_, '_>, length: usize) {
    clean(bencher, "The dog barks twice. ".repeat(length / 21));
}
