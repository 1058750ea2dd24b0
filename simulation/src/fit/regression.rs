//! Least squares with coefficients that are not negative, for a handful of features.

/// The coefficients of `features · coefficients ≈ value` with the least sum of squares of which none is negative: of all choices of
/// features, the best one whose own least squares are not negative.
pub(super) fn nonnegative<const N: usize>(rows: &[([f64; N], f64)]) -> [f64; N] {
    let squares = |coefficients: &[f64; N]| -> f64 {
        let off = |(features, value): &([f64; N], f64)| {
            let fitted: f64 = features.iter().zip(coefficients).map(|(one, other)| one * other).sum();
            (value - fitted).powi(2)
        };
        rows.iter().map(off).sum()
    };
    let mut best = [0.0; N];
    let mut least = squares(&best);
    for chosen in 1..1_usize << N {
        let places: Vec<usize> = (0..N).filter(|place| (chosen >> place) & 1 == 1).collect();
        let Some(solved) = least_squares(rows, &places) else { continue };
        if solved.iter().any(|coefficient| *coefficient < 0.0) {
            continue;
        }
        let mut coefficients = [0.0; N];
        places.iter().zip(solved).for_each(|(place, value)| coefficients[*place] = value);
        let sum = squares(&coefficients);
        if sum < least {
            (best, least) = (coefficients, sum);
        }
    }
    best
}

/// Solves the normal equations of the chosen features; `None` if they depend on each other.
fn least_squares<const N: usize>(rows: &[([f64; N], f64)], places: &[usize]) -> Option<Vec<f64>> {
    let size = places.len();
    let mut matrix = vec![vec![0.0; size + 1]; size];
    for (features, value) in rows {
        for (row, place) in places.iter().enumerate() {
            for (column, other) in places.iter().enumerate() {
                matrix[row][column] += features[*place] * features[*other];
            }
            matrix[row][size] += features[*place] * value;
        }
    }
    let scale = matrix.iter().enumerate().map(|(place, row)| row[place]).fold(0.0, f64::max);
    for pivot in 0..size {
        let largest = (pivot..size)
            .max_by(|one, other| matrix[*one][pivot].abs().total_cmp(&matrix[*other][pivot].abs()))?;
        matrix.swap(pivot, largest);
        if matrix[pivot][pivot].abs() <= 1e-12 * scale {
            return None;
        }
        let subtracted = matrix[pivot].clone();
        for (_, row) in matrix.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = row[pivot] / subtracted[pivot];
            row.iter_mut().zip(&subtracted).for_each(|(value, other)| *value -= factor * other);
        }
    }
    Some((0..size).map(|place| matrix[place][size] / matrix[place][place]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_come_back_and_are_never_negative() {
        let row = |x: f64, y: f64| ([1.0, x, y], 2.0 + 0.5 * x + 0.25 * y);
        let rows = [row(1.0, 3.0), row(2.0, 8.0), row(5.0, 1.0), row(7.0, 9.0)];
        let fitted = nonnegative(&rows);
        for (found, expected) in fitted.into_iter().zip([2.0, 0.5, 0.25]) {
            assert!((found - expected).abs() < 1e-9, "{fitted:?}");
        }
        // 3 − x: the best that may be is the mean, 1.
        let falling = [([1.0, 1.0], 2.0), ([1.0, 2.0], 1.0), ([1.0, 3.0], 0.0)];
        assert_eq!(nonnegative(&falling), [1.0, 0.0]);
        // A feature that is another one again.
        let twice = [([1.0, 1.0], 3.0), ([2.0, 2.0], 6.0)];
        let [one, other] = nonnegative(&twice);
        assert!((one + other - 3.0).abs() < 1e-9);
    }
}
