//! Fisher's exact test of two counts: whether something happens more often in one group than in the other.

use statrs::distribution::{DiscreteCDF, Hypergeometric};

/// One-sided p-value of `hits` of `of` being no more often than `base_hits` of `base_of`: the probability of at least as many of all hits
/// falling among the `of`, were the groups alike (Fisher 1935). 1 where nothing was observed.
pub fn more_often(base_hits: u64, base_of: u64, hits: u64, of: u64) -> f64 {
    let all = base_of + of;
    let law = Hypergeometric::new(all, base_hits + hits, of);
    match (law, hits.checked_sub(1)) {
        (Ok(law), Some(below)) => law.sf(below).clamp(0.0, 1.0),
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy.stats.fisher_exact([[hits, of - hits], [base_hits, base_of - base_hits]], 'greater').pvalue
        for ((base_hits, base_of, hits, of), p) in [
            ((0, 8, 8, 8), 7.77000777000777e-05),
            ((0, 10, 5, 10), 0.016253869969040248),
            ((2, 20, 5, 20), 0.20374220374220378),
            ((3, 10, 3, 10), 0.6857585139318885),
        ] {
            let found = more_often(base_hits, base_of, hits, of);
            assert!((found - p).abs() < 1e-9, "{found} {p}");
        }
    }

    #[test]
    fn nothing_seen_proves_nothing() {
        assert_eq!(more_often(0, 5, 0, 5), 1.0);
        assert_eq!(more_often(0, 0, 0, 0), 1.0);
        assert_eq!(more_often(5, 5, 5, 5), 1.0);
    }
}
