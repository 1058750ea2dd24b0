//! Mean and standard deviation of what a row aggregates; `None` where there is no value.

/// The mean of a slice.
pub fn mean(values: &[f64]) -> Option<f64> {
    mean_of(values.iter().copied())
}

/// The mean of an iterator.
pub fn mean_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// The sample standard deviation (one degree of freedom less than values).
pub fn std_of(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_three_numbers_is_that_worked_by_hand() {
        // Mean 2, squares 1 + 0 + 1 = 2, over 2 degrees of freedom: 1.
        assert_eq!(std_of(&[1.0, 2.0, 3.0]), Some(1.0));
        assert_eq!(std_of(&[1.0]), None);
        assert_eq!(mean(&[]), None);
    }
}
