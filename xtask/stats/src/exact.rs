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

/// How much likelier counts are by two rates than by one, each rate the one that makes them likeliest: 1 for equal shares.
pub fn likelier(base_hits: u64, base_of: u64, hits: u64, of: u64) -> f64 {
    let log = |hits: u64, of: u64| {
        let term = |part: u64| match part {
            0 => 0.0,
            part => part as f64 * (part as f64 / of as f64).ln(),
        };
        term(hits) + term(of.saturating_sub(hits))
    };
    let two = log(base_hits, base_of) + log(hits, of);
    (two - log(base_hits + hits, base_of + of)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_rates_are_likelier_than_one_where_counts_differ() {
        // from scipy.stats import binom; b = binom.pmf
        // b(hits, of, hits / of) * b(base_hits, base_of, base_hits / base_of) / (b(hits, of, r) * b(base_hits, base_of, r))
        // with r = (hits + base_hits) / (of + base_of)
        for ((base_hits, base_of, hits, of), odds) in [
            ((0, 6, 1, 6), 2.093138351898092),
            ((1, 6, 4, 6), 5.092999394081421),
            ((0, 24, 2, 24), 4.1778064272086235),
            ((3, 12, 3, 12), 1.0),
            ((0, 6, 0, 6), 1.0),
        ] {
            let found = likelier(base_hits, base_of, hits, of);
            assert!((found - odds).abs() < 1e-9 * odds, "{found} {odds}");
        }
    }

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
