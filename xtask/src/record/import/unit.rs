//! Units of other tools, as ours. Pure.

use evenkeel_agent::samples::Unit;

/// What a unit is here, and the factor that its values are taken times; `None` for one that is not known. Upper and lower case matter only
/// where they tell bits from bytes.
pub(crate) fn unit(name: &str) -> Option<(Unit, f64)> {
    let exact = TABLE.iter().find(|(known, ..)| *known == name);
    let any = || {
        let mut like = TABLE.iter().filter(|(known, ..)| known.eq_ignore_ascii_case(name));
        let first = like.next()?;
        // `mb/s` may be bits or bytes.
        like.all(|other| other.1 == first.1 && other.2 == first.2).then_some(first)
    };
    exact.or_else(any).map(|&(_, unit, factor)| (unit, factor))
}

/// Names for messages.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name)
}

/// All names, with what they are here.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Unit)> {
    TABLE.iter().map(|(name, unit, _)| (*name, *unit))
}

const NS: Unit = Unit::Nanoseconds;
const BYTES: Unit = Unit::BytesPerSecond;
const TRANSACTIONS: Unit = Unit::TransactionsPerSecond;

#[rustfmt::skip]
const TABLE: &[(&str, Unit, f64)] = &[
    ("ns", NS, 1.0), ("us", NS, 1e3), ("µs", NS, 1e3), ("μs", NS, 1e3), ("ms", NS, 1e6), ("s", NS, 1e9),
    ("bytes/s", BYTES, 1.0), ("B/s", BYTES, 1.0), ("KBytes/s", BYTES, 1024.0), ("MBytes/s", BYTES, 1_048_576.0),
    ("GBytes/s", BYTES, 1_073_741_824.0), ("KiB/s", BYTES, 1024.0), ("MiB/s", BYTES, 1_048_576.0),
    ("GiB/s", BYTES, 1_073_741_824.0), ("kB/s", BYTES, 1e3), ("MB/s", BYTES, 1e6), ("GB/s", BYTES, 1e9),
    ("bits/s", BYTES, 0.125), ("bit/s", BYTES, 0.125), ("kbit/s", BYTES, 125.0), ("Mbit/s", BYTES, 125e3),
    ("Gbit/s", BYTES, 125e6), ("10^3bits/s", BYTES, 125.0), ("10^6bits/s", BYTES, 125e3),
    ("10^9bits/s", BYTES, 125e6),
    ("transactions/s", TRANSACTIONS, 1.0), ("Trans/s", TRANSACTIONS, 1.0), ("requests/s", TRANSACTIONS, 1.0),
    ("req/s", TRANSACTIONS, 1.0), ("ops/s", TRANSACTIONS, 1.0), ("1/s", TRANSACTIONS, 1.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_one_meaning() {
        for (at, (name, ..)) in TABLE.iter().enumerate() {
            assert!(!TABLE[..at].iter().any(|(other, ..)| other == name), "{name}");
            assert!(unit(name).is_some());
        }
        assert_eq!(unit("US"), Some((NS, 1e3)));
        assert_eq!(unit("mbytes/s"), Some((BYTES, 1_048_576.0)));
        assert_eq!(unit("Kb/s"), Some((BYTES, 1e3)));
        assert_eq!(unit("furlongs"), None);
    }

    #[test]
    fn our_own_units_are_known_as_they_are() {
        for own in [NS, BYTES, TRANSACTIONS] {
            assert_eq!(unit(own.symbol()), Some((own, 1.0)));
        }
    }
}
