//! Effects with standard errors: of pairs, and of the factors of a designed experiment by least squares. And Holm's correction of many
//! p-values.
//!
//! Both use Student's law with the degrees of freedom that are left, whatever the count: an interval and the p-value beside it then never
//! contradict one another. Differences of pairs are symmetric where nothing has an effect, which is what Student's law asks for most.

use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::interval::{Interval, NoInterval};
use crate::moments::Moments;

/// An estimate, its standard error and how well that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect {
    /// The estimate.
    pub estimate: f64,
    /// Its standard error; above zero.
    pub error: f64,
    /// Degrees of freedom of the standard error.
    pub degrees_of_freedom: u32,
}

impl Effect {
    /// The estimate with its two-sided 95 % confidence interval.
    pub fn interval(&self) -> Interval {
        let reach = self.law().map_or(f64::INFINITY, |law| law.inverse_cdf(0.975)) * self.error;
        let Effect { estimate, .. } = *self;
        Interval { low: estimate - reach, estimate, high: estimate + reach }
    }

    /// Two-sided p-value of the hypothesis that there is no effect.
    pub fn p(&self) -> f64 {
        let t = (self.estimate / self.error).abs();
        self.law().map_or(1.0, |law| (2.0 * law.sf(t)).min(1.0))
    }

    fn law(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, f64::from(self.degrees_of_freedom)).ok()
    }
}

/// The mean of `to` - `from`, value by value.
///
/// # Errors
/// Fewer than two pairs, or differences that do not vary.
pub fn paired(pairs: &[(f64, f64)]) -> Result<Effect, NoInterval> {
    let differences: Vec<f64> = pairs.iter().map(|(from, to)| to - from).collect();
    let moments = Moments::of(&differences);
    let variance = moments.variance().ok_or(NoInterval::TooFew)?;
    let error = (variance / moments.count as f64).sqrt();
    let size = pairs.iter().map(|(from, to)| from.abs() + to.abs()).fold(0.0, f64::max);
    // Rounding alone leaves this much in the variance of equal values.
    if error <= size * f64::EPSILON * 4.0 {
        return Err(NoInterval::NoSpread);
    }
    let degrees_of_freedom = u32::try_from(moments.count - 1).unwrap_or(u32::MAX);
    Ok(Effect { estimate: moments.mean, error, degrees_of_freedom })
}

/// Coefficients of the columns that explain `values` best: ordinary least squares. A row has one number a column. What the columns leave
/// unexplained is taken for chance, whatever it is, and makes the errors.
///
/// # Errors
/// Not more rows than columns, columns that do not tell one another apart, or nothing that is left unexplained.
pub fn least_squares(rows: &[Vec<f64>], values: &[f64]) -> Result<Vec<Effect>, NoInterval> {
    let columns = rows.first().map_or(0, Vec::len);
    let left = rows.len().checked_sub(columns).filter(|left| *left > 0);
    let left = left.ok_or(NoInterval::TooFew)?;
    let sum = |of: &dyn Fn(usize) -> f64| (0..rows.len()).map(of).sum::<f64>();
    let products: Vec<Vec<f64>> = (0..columns)
        .map(|a| (0..columns).map(|b| sum(&|row| rows[row][a] * rows[row][b])).collect())
        .collect();
    let inverse = inverse(products).ok_or(NoInterval::TooFew)?;
    let totals: Vec<f64> = (0..columns).map(|a| sum(&|row| rows[row][a] * values[row])).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let coefficients: Vec<f64> = inverse.iter().map(|row| dot(row, &totals)).collect();
    let residual = |row: usize| (values[row] - dot(&rows[row], &coefficients)).powi(2);
    let variance = sum(&residual) / left as f64;
    let size = values.iter().copied().map(f64::abs).fold(0.0, f64::max);
    if variance.sqrt() <= size * f64::EPSILON * 64.0 {
        return Err(NoInterval::NoSpread);
    }
    let degrees_of_freedom = u32::try_from(left).unwrap_or(u32::MAX);
    let effect = |(at, estimate): (usize, f64)| Effect {
        estimate,
        error: (inverse[at][at] * variance).sqrt(),
        degrees_of_freedom,
    };
    Ok(coefficients.into_iter().enumerate().map(effect).collect())
}

/// The inverse of a symmetric positive matrix by Gauss and Jordan, the largest pivot first; `None` where it has none.
fn inverse(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    /// A pivot this much smaller than its column's diagonal was is rounding.
    const SINGULAR: f64 = 1e-9;
    let size = matrix.len();
    let least: Vec<f64> = (0..size).map(|n| matrix[n][n].abs() * SINGULAR).collect();
    for (n, row) in matrix.iter_mut().enumerate() {
        row.extend((0..size).map(|c| if c == n { 1.0 } else { 0.0 }));
    }
    for column in 0..size {
        let largest = (column..size)
            .max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, largest);
        let pivot = matrix[column][column];
        if pivot.is_nan() || pivot.abs() <= least[column] {
            return None;
        }
        matrix[column].iter_mut().for_each(|value| *value /= pivot);
        let pivoted = matrix[column].clone();
        for row in matrix.iter_mut().enumerate().filter(|(n, _)| *n != column).map(|(_, row)| row) {
            let times = row[column];
            row.iter_mut().zip(&pivoted).for_each(|(value, of)| *value -= times * of);
        }
    }
    Some(matrix.into_iter().map(|row| row[size..].to_vec()).collect())
}

/// p-values corrected for their number, in their order: with all of them compared with alpha, the chance of even one false rejection
/// is at most alpha, whatever their dependence (Holm 1979).
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![1.0; p.len()];
    let mut reached = 0.0_f64;
    for (rank, at) in order.into_iter().enumerate() {
        reached = reached.max(p[at] * (p.len() - rank) as f64).min(1.0);
        corrected[at] = reached;
    }
    corrected
}

#[cfg(test)]
mod tests;
