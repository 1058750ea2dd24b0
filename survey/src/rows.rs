//! What rows tell without their clips: where the right answers are, repeats, and the lengths of the prompts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use scenarios::Dataset;

use crate::clips::Clip;
use crate::parallel::spread;
use crate::report::PromptTokens;
use crate::sources::Model;

/// Above this share of the right answers at one position, answering with that position pays.
const MOST_AT_ONE: f64 = 0.6;

/// Fewest questions of which that share says anything.
const FEWEST: usize = 50;

/// How often the right answer is the first choice, the second, …
pub(crate) fn gold_positions(dataset: &Dataset) -> Vec<usize> {
    let mut counts = Vec::new();
    for question in &dataset.questions {
        let Some(position) = question.choices.iter().position(|choice| *choice == question.answer) else {
            continue;
        };
        if counts.len() <= position {
            counts.resize(position + 1, 0);
        }
        counts[position] += 1;
    }
    counts
}

/// Says that most right answers are at one position, if they are.
pub(crate) fn lopsided(file: &Path, counts: &[usize]) -> Option<String> {
    let total: usize = counts.iter().sum();
    let (position, most) = counts.iter().enumerate().max_by_key(|(_, count)| **count)?;
    let share = *most as f64 / total.max(1) as f64;
    (total >= FEWEST && share > MOST_AT_ONE).then(|| {
        format!(
            "{}: {:.0} % of the right answers are choice {} ({most} of {total}); shuffle the choices",
            file.display(),
            100.0 * share,
            letter(position)
        )
    })
}

/// The letter of a choice: A, B, …; its number after Z.
pub(crate) fn letter(position: usize) -> String {
    match u8::try_from(position) {
        Ok(position @ 0..26) => char::from(b'A' + position).to_string(),
        _ => (position + 1).to_string(),
    }
}

/// Says in how many prompts a choice contains what separates the choices, if there are any.
pub(crate) fn hidden_choices(dataset: &Dataset, model: &Model) -> Option<String> {
    let hides = model.hides_choices.as_ref()?;
    let mut hidden = dataset.questions.iter().filter(|question| hides(question));
    let first = hidden.next()?;
    let (file, line) = dataset.place_of(&first);
    Some(format!(
        "{}:{line}: a choice contains the separator of the choices, so the prompt does not show where it ends, as in {} of {} rows; \
         set prompt.choices to \"letters\" or \"list\", or another prompt.separator",
        file.display(),
        hidden.count() + 1,
        dataset.questions.len()
    ))
}

/// Says which rows ask what an earlier row asks, about the same clip, with the same choices in any order.
pub(crate) fn repeats(dataset: &Dataset) -> Vec<String> {
    let plain = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut seen: HashMap<(PathBuf, String, Vec<String>), usize> = HashMap::new();
    let mut found = Vec::new();
    for (place, question) in dataset.questions.iter().enumerate() {
        let mut choices: Vec<String> = question.choices.iter().map(|choice| plain(choice)).collect();
        choices.sort();
        let key = (question.audio_path.clone(), plain(&question.text), choices);
        let earlier = *seen.entry(key).or_insert(place);
        if earlier != place {
            found.push(format!(
                "{}:{}: asks the same of {} as line {}; drop one of them",
                dataset.path.display(),
                dataset.line_of(&question),
                question.audio_path.display(),
                dataset.line_of(&dataset.questions.at(earlier))
            ));
        }
    }
    found
}

/// Counts the tokens of all prompts whose clips can be read. Also returns what to say about each that is too long, with
/// the index of its question.
pub(crate) fn prompts(
    dataset: &Dataset,
    clips: &[Clip],
    model: &Model,
) -> Option<(PromptTokens, Vec<(usize, String)>)> {
    let count = model.prompt_tokens.as_ref()?;
    let by_path: HashMap<&Path, &Clip> = clips.iter().map(|clip| (clip.path.as_path(), clip)).collect();
    let places: Vec<usize> = (0..dataset.questions.len()).collect();
    let tokens = spread(&places, None, &|_| {}, |&place| {
        let question = dataset.questions.at(place);
        let clip = by_path.get(question.audio_path.as_path())?;
        clip.info()?;
        // A clip of unknown length may fill the window.
        let seconds = clip.seconds().or(model.window_seconds)?;
        count(&question, model.window_seconds.map_or(seconds, |window| seconds.min(window)))
    });
    let tokens: Vec<Option<usize>> = tokens.into_iter().map(Option::flatten).collect();
    let mut sorted: Vec<usize> = tokens.iter().copied().flatten().collect();
    sorted.sort_unstable();
    let at = |share: f64| {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied()
    };
    let mut counts = PromptTokens {
        prompts: sorted.len(),
        min: *sorted.first()?,
        median: at(0.5)?,
        p95: at(0.95)?,
        max: *sorted.last()?,
        context: model.context,
        completion: model.completion,
        too_long: 0,
    };
    let mut too_long = Vec::new();
    for (index, tokens) in tokens.iter().enumerate() {
        let (Some(tokens), Some(context)) = (*tokens, model.context) else { continue };
        if tokens + model.completion > context {
            let question = dataset.questions.at(index);
            too_long.push((
                index,
                format!(
                    "{}:{}: the prompt has {tokens} tokens, and with {} for the completion more than the {context} that \
                     the model takes; shorten the question, the clip or the completion",
                    dataset.path.display(),
                    dataset.line_of(&question),
                    model.completion
                ),
            ));
        }
    }
    counts.too_long = too_long.len();
    Some((counts, too_long))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_mostly_one_letter_are_reported_from_50_rows_on() {
        let file = Path::new("a.jsonl");
        let message = lopsided(file, &[9, 31, 10]).unwrap();
        assert_eq!(
            message,
            "a.jsonl: 62 % of the right answers are choice B (31 of 50); shuffle the choices"
        );
        // 60 % is not more than 60 %.
        assert_eq!(lopsided(file, &[30, 20]), None);
        assert_eq!(lopsided(file, &[49]), None);
        assert_eq!(lopsided(file, &[]), None);
    }

    #[test]
    fn positions_have_letters() {
        assert_eq!([letter(0), letter(25), letter(26)], ["A", "Z", "27"]);
    }
}
