//! Questions about a sequence of named items: what the answer is, how thinking about it concludes, and the choices.

use rewards::ORDINALS;

use super::rng::Rng;

/// Number of choices of a question, if there are as many.
pub(crate) const CHOICES: usize = 4;

/// Counts as words, from 0.
pub(crate) const NUMBERS: [&str; 10] =
    ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// What is asked about a sequence. Places count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Its only item.
    Only,
    /// The item at a place.
    Place(usize),
    /// The last item.
    Last,
    /// The item behind the one at this place, whose name occurs once.
    After(usize),
    /// The item that occurs twice, here at this place.
    Twice(usize),
    /// The longest name, which is at this place.
    Longest(usize),
    /// How many items there are.
    Count,
    /// How many names begin with a letter.
    Begins(char),
}

/// The answer to a question about these items, and the conclusion that names it.
pub(crate) fn answer(ask: Ask, items: &[String]) -> (String, String) {
    let item = |place: usize| items[place].clone();
    let number = |count: usize| NUMBERS[count.min(NUMBERS.len() - 1)].to_owned();
    let with = |answer: String, conclusion: &dyn Fn(&str) -> String| {
        let conclusion = conclusion(&answer);
        (answer, conclusion)
    };
    match ask {
        Ask::Only => with(item(0), &str::to_owned),
        Ask::Place(place) => with(item(place), &|item| format!("{} {item}", ORDINALS[place])),
        Ask::Last => with(item(items.len() - 1), &|item| format!("last {item}")),
        Ask::After(place) => with(item(place + 1), &|item| format!("{} then {item}", items[place])),
        Ask::Twice(place) => with(item(place), &|item| format!("{item} twice")),
        Ask::Longest(place) => with(item(place), &|item| format!("longest {item}")),
        Ask::Count => with(number(items.len()), &str::to_owned),
        Ask::Begins(letter) => {
            with(number(items.iter().filter(|item| item.starts_with(letter)).count()), &str::to_owned)
        }
    }
}

/// The choices in random order, and the index of the right one. Wrong ones are taken from `near` in random order, then from
/// `far`; one of those from `near` is left out with the probability `foreign`.
pub(crate) fn choices(
    right: &str,
    near: &[String],
    far: &[String],
    foreign: f64,
    rng: &mut Rng,
) -> (Vec<String>, usize) {
    let shuffled = |items: &[String], rng: &mut Rng| {
        let mut items = items.to_vec();
        items.sort();
        items.dedup();
        rng.shuffle(&mut items);
        items
    };
    let mut near = shuffled(near, rng);
    near.retain(|item| item != right);
    let far: Vec<String> = shuffled(far, rng);
    if rng.chance(foreign) {
        near.truncate(CHOICES - 2);
    }
    let mut choices: Vec<String> = Vec::new();
    for item in near.iter().chain(&far) {
        if choices.len() < CHOICES - 1 && item != right && !choices.contains(item) {
            choices.push(item.clone());
        }
    }
    let answer = rng.below(choices.len() + 1);
    choices.insert(answer, right.to_owned());
    (choices, answer)
}

/// The places of items whose name occurs so many times.
pub(crate) fn places(items: &[String], times: usize) -> Vec<usize> {
    let count = |item: &String| items.iter().filter(|other| *other == item).count();
    (0..items.len()).filter(|&place| count(&items[place]) == times).collect()
}

/// The place of the longest name, if no other name is as long.
pub(crate) fn longest(items: &[String]) -> Option<usize> {
    let length = |item: &String| item.chars().count();
    let most = items.iter().map(length).max()?;
    let place = items.iter().position(|item| length(item) == most)?;
    items.iter().all(|item| length(item) < most || *item == items[place]).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_known_sequence_has_the_expected_answers() {
        let said = items("bread boat garden bread");
        for (ask, expected) in [
            (Ask::Only, ("bread", "bread")),
            (Ask::Place(1), ("boat", "second boat")),
            (Ask::Last, ("bread", "last bread")),
            (Ask::After(1), ("garden", "boat then garden")),
            (Ask::Twice(0), ("bread", "bread twice")),
            (Ask::Longest(2), ("garden", "longest garden")),
            (Ask::Count, ("four", "four")),
            (Ask::Begins('b'), ("three", "three")),
            (Ask::Begins('x'), ("none", "none")),
        ] {
            let (answer, conclusion) = answer(ask, &said);
            assert_eq!((answer.as_str(), conclusion.as_str()), expected, "{ask:?}");
        }
        assert_eq!((places(&said, 1), places(&said, 2)), (vec![1, 2], vec![0, 3]));
        assert_eq!(longest(&said), Some(2));
        assert_eq!(longest(&items("boat bread train")), None);
    }

    #[test]
    fn wrong_choices_are_near_ones_first_and_none_is_there_twice() {
        let (near, far) = (items("bread boat bread cat river"), items("stone table boat"));
        let mut rng = Rng::new(1, "choices");
        let mut foreign = 0;
        for _ in 0..1000 {
            let (choices, answer) = choices("boat", &near, &far, 0.25, &mut rng);
            assert_eq!((choices.len(), choices[answer].as_str()), (4, "boat"));
            let mut distinct = choices.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), 4);
            let far = choices.iter().filter(|choice| !near.contains(choice)).count();
            assert!(far <= 1);
            foreign += far;
        }
        // 250, standard deviation √(1000·¼·¾) = 14.
        assert!(foreign.abs_diff(250) < 56, "{foreign}");
        // Fewer choices if there are no more.
        assert_eq!(choices("a", &items("a b"), &[], 0.0, &mut rng).0.len(), 2);
    }
}
