//! Picks counters out of the kernel's text (proc(5), `Documentation/accounting/psi.rst`). Pure.

/// Stolen time in ticks, and software interrupts handled, of `/proc/stat`. A kernel too old for stolen time has none.
pub(super) fn stat(text: &str) -> Option<(u64, u64)> {
    // user nice system idle iowait irq softirq steal
    let steal = match first_line_after(text, "cpu ")?.split_ascii_whitespace().nth(7) {
        Some(steal) => steal.parse().ok()?,
        None => 0,
    };
    let softirqs = first_line_after(text, "softirq ")?.split_ascii_whitespace().next()?;
    Some((steal, softirqs.parse().ok()?))
}

/// Total of the line `some` of `/proc/pressure/cpu`, which is in microseconds.
pub(super) fn pressure_ns(text: &str) -> Option<u64> {
    let total = first_line_after(text, "some ")?.rsplit_once("total=")?.1;
    total.trim().parse::<u64>().ok()?.checked_mul(1_000)
}

/// Involuntary switches of a `/proc/TID/status`.
pub(super) fn involuntary_switches(text: &str) -> Option<u64> {
    first_line_after(text, "nonvoluntary_ctxt_switches:")?.trim().parse().ok()
}

/// Migrations of a `/proc/TID/sched`.
pub(super) fn migrations(text: &str) -> Option<u64> {
    first_line_after(text, "se.nr_migrations")?.trim_start_matches([' ', ':']).trim().parse().ok()
}

/// What follows `key` on the first line that begins with it.
fn first_line_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counters_of_a_linux_6_18_are_found() {
        let text = "cpu  24371 0 8700 225925 808 0 99 24 0 0\ncpu0 10825 0 4363 114549 169 0 19 13 0 0\n\
                    intr 362788 0 0\nctxt 740449\nsoftirq 249508 0 30680 10 13342\n";
        assert_eq!(stat(text), Some((24, 249_508)));
        let text = "some avg10=6.72 avg60=7.40 avg300=6.32 total=38982694\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(pressure_ns(text), Some(38_982_694_000));
        let text =
            "Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t12\n";
        assert_eq!(involuntary_switches(text), Some(12));
        let text = "se.sum_exec_runtime                          :             0.000000\n\
                    se.nr_migrations                             :                    5\n";
        assert_eq!(migrations(text), Some(5));
    }

    #[test]
    fn a_kernel_without_stolen_time_has_none() {
        assert_eq!(stat("cpu  1 2 3 4 5 6 7\nsoftirq 8 9\n"), Some((0, 8)));
    }

    proptest! {
        #[test]
        fn rubbish_is_nothing(text in "(cpu |softirq |some |total=|se.nr_migrations|nonvoluntary_ctxt_switches:|[ -~\n]){0,30}") {
            // None of them panics, and none finds a number in a text without digits.
            let digits = text.contains(|c: char| c.is_ascii_digit());
            let found = stat(&text).is_some() || pressure_ns(&text).is_some()
                || involuntary_switches(&text).is_some() || migrations(&text).is_some();
            prop_assert!(digits || !found);
        }
    }
}
