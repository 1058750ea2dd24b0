//! The combinations of levels that a design has.

use super::{DesignKind, MOST_ARMS};
use crate::error::ScenarioError;
use crate::scenario::design::Fraction;

/// The level of each factor; 0 is off.
pub(super) type Levels = Vec<usize>;

/// The combinations of `kinds` for factors with these numbers of levels: those with fewer factors on first, then in the order of
/// the factors.
///
/// Errors: [`ScenarioError::Value`]: the design has too many arms, or does not fit these factors.
pub(super) fn combinations(
    kinds: &[DesignKind],
    runs: Option<usize>,
    levels: &[usize],
) -> Result<Vec<Levels>, ScenarioError> {
    let wrong = |problem: String, instead: String| Err(ScenarioError::value(problem, instead));
    if runs.is_some() && !kinds.contains(&DesignKind::Fractional) {
        return wrong("`runs` is for a fractional design".into(), "leave it out".into());
    }
    let mut all = Vec::new();
    for kind in kinds {
        all.extend(match kind {
            DesignKind::Full => full(levels)?,
            DesignKind::Fractional => fractional(runs, levels)?,
            DesignKind::LeaveOneOut => one_different(levels, true),
            DesignKind::AddOneIn => one_different(levels, false),
        });
    }
    all.sort_by_key(|levels: &Levels| {
        let off: Vec<bool> = levels.iter().map(|level| *level == 0).collect();
        (levels.len() - off.iter().filter(|off| **off).count(), off, levels.clone())
    });
    all.dedup();
    Ok(all)
}

fn full(levels: &[usize]) -> Result<Vec<Levels>, ScenarioError> {
    let count = levels.iter().fold(1_usize, |count, of_factor| count.saturating_mul(*of_factor));
    if count > MOST_ARMS {
        let factors = levels.len();
        let ones = 2 * factors + 2;
        let fewer = match Fraction::default_runs(factors).filter(|_| levels.iter().all(|of| *of == 2)) {
            Some(runs) => format!(
                "write design = \"fractional\" ({runs} arms), or [\"leave-one-out\", \"add-one-in\"] ({ones} arms)"
            ),
            None => "leave out values or factors".to_owned(),
        };
        let problem =
            format!("a full design of these {factors} factors has {count} arms, more than {MOST_ARMS}");
        return Err(ScenarioError::value(problem, fewer));
    }
    let mut all = vec![Levels::new()];
    for &of_factor in levels {
        all = all
            .into_iter()
            .flat_map(|levels| (0..of_factor).map(move |level| [levels.as_slice(), &[level]].concat()))
            .collect();
    }
    Ok(all)
}

fn fractional(runs: Option<usize>, levels: &[usize]) -> Result<Vec<Levels>, ScenarioError> {
    let factors = levels.len();
    let Some(default) = Fraction::default_runs(factors) else {
        let problem = format!("there is no fraction of a design of {factors} factors");
        return Err(ScenarioError::value(problem, "write design = \"full\", which has few arms"));
    };
    let runs = runs.unwrap_or(default);
    let Some(fraction) = Fraction::best(factors, runs) else {
        let possible: Vec<String> = Fraction::possible_runs(factors).iter().map(usize::to_string).collect();
        let problem = format!("`runs` is {runs}, and there is no such fraction of {factors} factors");
        return Err(ScenarioError::value(problem, format!("write one of {}", possible.join(", "))));
    };
    let on = |arm: u32| (0..factors).map(|factor| usize::from(arm >> factor & 1 == 1)).collect();
    Ok(fraction.arms().iter().map(|arm| on(*arm)).collect())
}

/// All factors on (or off), and each of them different by itself.
fn one_different(levels: &[usize], on: bool) -> Vec<Levels> {
    let rest = usize::from(on);
    let all = vec![rest; levels.len()];
    let different = (0..levels.len()).map(|factor| {
        let mut levels = all.clone();
        levels[factor] = 1 - rest;
        levels
    });
    std::iter::once(all.clone()).chain(different).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kinds: &[DesignKind], runs: Option<usize>, levels: &[usize]) -> Result<Vec<String>, String> {
        let text = |levels: &Levels| levels.iter().map(usize::to_string).collect::<String>();
        match combinations(kinds, runs, levels) {
            Ok(all) => Ok(all.iter().map(text).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn designs_have_the_textbook_s_combinations() {
        let (full, part) = (DesignKind::Full, DesignKind::Fractional);
        let (out, add) = (DesignKind::LeaveOneOut, DesignKind::AddOneIn);
        let of = |kinds: &[DesignKind]| written(kinds, None, &[2, 2, 2]).unwrap().join(" ");
        assert_eq!(of(&[full]), "000 100 010 001 110 101 011 111");
        assert_eq!(of(&[out]), "110 101 011 111");
        assert_eq!(of(&[add]), "000 100 010 001");
        assert_eq!(of(&[out, add]), "000 100 010 001 110 101 011 111");
        // The half with c = a·b (Box, Hunter and Hunter's 2 to the 3 − 1): c is on where a and b are alike.
        assert_eq!(of(&[part]), "100 010 001 111");
        assert_eq!(written(&[full], None, &[3, 2]).unwrap().join(" "), "00 10 20 01 11 21");
        // With two factors, those of leave-one-out are those of add-one-in.
        assert_eq!(written(&[out, add], None, &[2, 2]).unwrap().join(" "), "00 10 01 11");
    }

    #[test]
    fn designs_that_do_not_fit_are_refused() {
        let error = |kind, runs, levels: &[usize]| written(&[kind], runs, levels).unwrap_err();
        assert_eq!(
            error(DesignKind::Full, None, &[2; 7]),
            "a full design of these 7 factors has 128 arms, more than 64; write design = \"fractional\" (16 arms), or \
             [\"leave-one-out\", \"add-one-in\"] (16 arms)"
        );
        assert_eq!(
            error(DesignKind::Fractional, Some(12), &[2; 5]),
            "`runs` is 12, and there is no such fraction of 5 factors; write one of 8, 16"
        );
        assert!(error(DesignKind::Fractional, None, &[2; 2]).contains("write design = \"full\""));
        assert!(error(DesignKind::Full, Some(4), &[2; 3]).starts_with("`runs` is for a fractional design"));
        assert!(error(DesignKind::Full, None, &[9; 3]).contains("729 arms"));
    }
}
