//! Shapley values (Shapley 1953) of factors that an arm has or has not, from the arms that were run.
//!
//! The value of a factor is the mean of what it adds to a set of other factors, over all orders in which the factors can be
//! added. In Harsanyi's dividends, the part of each set of factors that none of its subsets has, the value of a factor is the sum of
//! `dividend / size` over the sets with it. With all combinations the dividends are known. With fewer arms a value is known if
//! dividends of more than `order` factors are 0: then it is a sum of the arms' rates, and the one with the smallest weights is the
//! estimate of least squares.
//!
//! - SHAPLEY-1 a value is given for the highest order for which the arms determine it, which assumes least; it is exact if that is the
//!   number of factors.

/// The weights of the arms that add up to the Shapley value of a factor.
#[derive(Clone, Debug, PartialEq)]
pub struct ShapleyWeights {
    /// One weight for each arm.
    pub weights: Vec<f64>,
    /// The value is right if no more than so many factors interact.
    pub order: usize,
}

/// A weight below it is 0 but for rounding.
const ROUNDING: f64 = 1e-9;

/// A pivot below it is 0 but for rounding: the matrices have whole numbers up to the number of arms.
const SINGULAR: f64 = 1e-7;

/// The weights of the Shapley value of each factor; `None` if the arms do not determine it even if no factors interact. An arm is the set of the
/// factors that are on, as bits; `factors` is at most 16.
pub fn shapley_weights(factors: usize, arms: &[u32]) -> Vec<Option<ShapleyWeights>> {
    let mut found: Vec<Option<ShapleyWeights>> = vec![None; factors];
    for order in 1..=factors {
        let sets: Vec<u32> = (0..1_u32 << factors).filter(|set| set.count_ones() as usize <= order).collect();
        let model = Model::new(arms, &sets);
        let mut any = false;
        for (factor, slot) in found.iter_mut().enumerate() {
            let share =
                |set: &u32| if set >> factor & 1 == 1 { 1.0 / f64::from(set.count_ones()) } else { 0.0 };
            if let Some(weights) = model.weights(&sets.iter().map(share).collect::<Vec<_>>()) {
                *slot = Some(ShapleyWeights { weights, order });
                any = true;
            }
        }
        // What is not determined at one order is not at a higher one.
        if !any {
            break;
        }
    }
    found
}

/// The dividends of which each arm's rate is the sum.
struct Model {
    /// By arm, whether each set is among its factors.
    rows: Vec<Vec<f64>>,
    /// The product of the transpose of the rows with them.
    gram: Vec<Vec<f64>>,
}

impl Model {
    fn new(arms: &[u32], sets: &[u32]) -> Self {
        let row = |arm: &u32| sets.iter().map(|set| f64::from(u8::from(set & !arm == 0))).collect();
        let rows: Vec<Vec<f64>> = arms.iter().map(row).collect();
        let entry = |a: usize, b: usize| rows.iter().map(|row| row[a] * row[b]).sum();
        let gram = (0..sets.len()).map(|a| (0..sets.len()).map(|b| entry(a, b)).collect()).collect();
        Self { rows, gram }
    }

    /// The smallest weights of the arms with which the dividends add up as in `target`; `None` if there are none.
    fn weights(&self, target: &[f64]) -> Option<Vec<f64>> {
        let solution = solve(&self.gram, target);
        let dot = |row: &Vec<f64>| row.iter().zip(&solution).map(|(a, b)| a * b).sum::<f64>();
        let weights: Vec<f64> = self
            .rows
            .iter()
            .map(dot)
            .map(|weight| if weight.abs() < ROUNDING { 0.0 } else { weight })
            .collect();
        let sum =
            |set: usize| self.rows.iter().zip(&weights).map(|(row, weight)| row[set] * weight).sum::<f64>();
        (0..target.len()).all(|set| (sum(set) - target[set]).abs() < 1e-6).then_some(weights)
    }
}

/// A solution of linear equations with a positive semi-definite matrix, by elimination with the largest of the diagonal as pivot. If
/// there is none, the result solves some of the equations.
fn solve(matrix: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> =
        matrix.iter().zip(right).map(|(row, right)| row.iter().copied().chain([*right]).collect()).collect();
    let mut left: Vec<usize> = (0..right.len()).collect();
    while let Some(place) =
        (0..left.len()).max_by(|a, b| rows[left[*a]][left[*a]].total_cmp(&rows[left[*b]][left[*b]]))
    {
        let at = left[place];
        if rows[at][at] < SINGULAR {
            break;
        }
        left.swap_remove(place);
        let pivot = rows[at].clone();
        for (other, row) in rows.iter_mut().enumerate() {
            let factor = row[at] / pivot[at];
            if other != at && factor != 0.0 {
                row.iter_mut().zip(&pivot).for_each(|(value, of_pivot)| *value -= factor * of_pivot);
            }
        }
    }
    let value = |at: usize| if left.contains(&at) { 0.0 } else { rows[at][right.len()] / rows[at][at] };
    (0..right.len()).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of each factor from the rates of arms, with the order of its estimate.
    fn values(factors: usize, rates: &[(u32, f64)]) -> Vec<Option<(f64, usize)>> {
        let arms: Vec<u32> = rates.iter().map(|(arm, _)| *arm).collect();
        let sum = |found: ShapleyWeights| {
            let value: f64 = found.weights.iter().zip(rates).map(|(weight, (_, rate))| weight * rate).sum();
            ((value * 1e9).round() / 1e9, found.order)
        };
        shapley_weights(factors, &arms).into_iter().map(|found| found.map(sum)).collect()
    }

    #[test]
    fn two_factors_by_hand() {
        // v(∅) = 10, v(a) = 14, v(b) = 11, v(ab) = 21.
        // a: ½ (14 − 10) + ½ (21 − 11) = 7; b: ½ (11 − 10) + ½ (21 − 14) = 4; together 11 = 21 − 10.
        let rates = [(0b00, 10.0), (0b01, 14.0), (0b10, 11.0), (0b11, 21.0)];
        assert_eq!(values(2, &rates), [Some((7.0, 2)), Some((4.0, 2))]);
    }

    #[test]
    fn three_factors_by_hand() {
        // v(∅) = 0, a 12, b 6, c 0, ab 24, ac 18, bc 6, abc 36.
        // a: ⅓·12 + ⅙ (24 − 6) + ⅙ (18 − 0) + ⅓ (36 − 6) = 4 + 3 + 3 + 10 = 20
        // b: ⅓·6 + ⅙ (24 − 12) + ⅙ (6 − 0) + ⅓ (36 − 18) = 2 + 2 + 1 + 6 = 11
        // c: ⅓·0 + ⅙ (18 − 12) + ⅙ (6 − 6) + ⅓ (36 − 24) = 0 + 1 + 0 + 4 = 5; together 36.
        let rates = [0.0, 12.0, 6.0, 24.0, 0.0, 18.0, 6.0, 36.0];
        let rates: Vec<(u32, f64)> = (0..8).zip(rates).collect();
        assert_eq!(values(3, &rates), [Some((20.0, 3)), Some((11.0, 3)), Some((5.0, 3))]);
    }

    #[test]
    fn values_of_all_combinations_add_up_to_all_on_minus_all_off() {
        // Any game of four factors; the weights of the values add up to −1 for none, 1 for all, 0 for the rest.
        let arms: Vec<u32> = (0..16).collect();
        let all = shapley_weights(4, &arms);
        for arm in 0..16 {
            let sum: f64 = all.iter().flatten().map(|found| found.weights[arm]).sum();
            let expected =
                [(0, -1.0), (15, 1.0)].into_iter().find(|(at, _)| *at == arm).map_or(0.0, |(_, sum)| sum);
            assert!((sum - expected).abs() < 1e-9, "{arm:b}: {sum}");
        }
        assert!(all.iter().flatten().all(|found| found.order == 4), "exact");
    }

    #[test]
    fn leave_one_out_alone_is_right_if_the_factors_add_up() {
        // All on, and each off by itself: what a factor adds last is all that is known.
        let rates = [(0b111, 36.0), (0b110, 6.0), (0b101, 18.0), (0b011, 24.0)];
        assert_eq!(values(3, &rates), [Some((30.0, 1)), Some((18.0, 1)), Some((12.0, 1))]);
    }

    #[test]
    fn leave_one_out_and_add_one_in_are_right_if_no_three_factors_interact() {
        // Four factors with dividends a 3, b 2, c 1, d 0, ab 4, cd −2: the values are a 3 + 2, b 2 + 2, c 1 − 1, d −1.
        let v = |arm: u32| {
            let has = |set: u32| f64::from(u8::from(set & !arm == 0));
            3.0 * has(1) + 2.0 * has(2) + has(4) + 4.0 * has(3) - 2.0 * has(12)
        };
        let ones = [0b0001, 0b0010, 0b0100, 0b1000];
        let arms: Vec<u32> = [0, 15].into_iter().chain(ones).chain(ones.map(|one| 15 - one)).collect();
        let rates: Vec<(u32, f64)> = arms.iter().map(|arm| (*arm, v(*arm))).collect();
        assert_eq!(values(4, &rates), [Some((5.0, 2)), Some((4.0, 2)), Some((0.0, 2)), Some((-1.0, 2))]);
    }

    #[test]
    fn a_half_fraction_of_resolution_four_is_right_if_no_three_factors_interact() {
        // d = a·b·c in signs: arms with an even number of factors on. The same world as above.
        let v = |arm: u32| {
            let has = |set: u32| f64::from(u8::from(set & !arm == 0));
            3.0 * has(1) + 2.0 * has(2) + has(4) + 4.0 * has(3) - 2.0 * has(12)
        };
        let rates: Vec<(u32, f64)> =
            (0..16).filter(|arm: &u32| arm.count_ones().is_multiple_of(2)).map(|arm| (arm, v(arm))).collect();
        assert_eq!(values(4, &rates), [Some((5.0, 2)), Some((4.0, 2)), Some((0.0, 2)), Some((-1.0, 2))]);
        // The quarter of resolution III: right only if nothing interacts, and says so.
        let third = shapley_weights(3, &[0b001, 0b010, 0b100, 0b111]);
        assert!(third.iter().flatten().all(|found| found.order == 1), "{third:?}");
    }

    #[test]
    fn what_the_arms_do_not_determine_has_no_value() {
        // The second factor is never on.
        assert_eq!(values(2, &[(0b00, 1.0), (0b01, 3.0)]), [Some((2.0, 1)), None]);
        assert_eq!(values(2, &[(0b00, 1.0)]), [None, None]);
        assert_eq!(values(2, &[]), [None, None]);
        // Without one of the eight arms, three factors are no longer exact.
        let seven: Vec<u32> = (0..7).collect();
        assert!(shapley_weights(3, &seven).iter().flatten().all(|found| found.order == 2));
    }
}
