//! What works and still disturbs measurements: told to people, never a reason to skip.

use std::collections::BTreeMap;

/// Notes about this host, from its facts and its counters.
pub(super) fn notes(facts: &BTreeMap<String, String>) -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let stat = read("/proc/stat");
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    [
        facts.get("sched-rt-runtime-us").and_then(|value| throttling(value)),
        facts.get("hypervisor").and_then(|name| virtual_machine(name, stat.as_deref())),
        governor.as_deref().and_then(frequency),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Realtime throttling, from `sched_rt_runtime_us`; the period is the kernel's default of a second.
fn throttling(runtime_us: &str) -> Option<String> {
    let runtime: i64 = runtime_us.trim().parse().ok()?;
    (0..1_000_000).contains(&runtime).then(|| {
        let stopped_ms = (1_000_000 - runtime) / 1000;
        format!(
            "realtime throttling is on: a realtime thread that never sleeps may stop for \
             {stopped_ms} ms each second"
        )
    })
}

/// That this is a virtual machine, and how much of its busy time was taken from it.
fn virtual_machine(hypervisor: &str, stat: Option<&str>) -> Option<String> {
    if hypervisor == "none" {
        return None;
    }
    let steal = stat.and_then(steal_share).map_or(String::new(), |share| {
        format!("; {:.1} % of its busy time since boot was stolen", share * 100.0)
    });
    Some(format!("this is a virtual machine ({hypervisor}){steal}"))
}

/// Steal as a share of busy time since boot, from /proc/stat (fields of the line `cpu`: user, nice, system, idle,
/// iowait, irq, softirq, steal; proc_stat(5)). `None` while nothing was busy.
fn steal_share(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let &[user, nice, system, _, _, irq, softirq, steal, ..] = ticks.as_slice() else {
        return None;
    };
    let busy = user + nice + system + irq + softirq + steal;
    (busy > 0).then(|| steal as f64 / busy as f64)
}

/// A governor that changes frequencies while something is measured.
fn frequency(governor: &str) -> Option<String> {
    let governor = governor.trim();
    (governor != "performance").then(|| {
        format!("the frequency governor is `{governor}`: frequencies change while measuring")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_told_with_its_length_and_only_where_it_is_on() {
        assert!(throttling("950000").unwrap().contains("50 ms each second"));
        assert_eq!(throttling("-1"), None);
        assert_eq!(throttling("1000000"), None);
    }

    #[test]
    fn steal_is_a_share_of_busy_time() {
        let stat = "cpu  40 10 30 900 5 2 8 10 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(steal_share(stat), Some(0.1));
        assert_eq!(steal_share("cpu  0 0 0 7 0 0 0 0 0 0\n"), None);
        assert_eq!(steal_share("cpu  1 2\n"), None);
        assert_eq!(virtual_machine("none", Some(stat)), None);
        assert!(virtual_machine("kvm", Some(stat)).unwrap().contains("10.0 %"));
    }

    #[test]
    fn only_a_fixed_frequency_goes_without_a_note() {
        assert_eq!(frequency("performance\n"), None);
        assert!(frequency("schedutil\n").unwrap().contains("`schedutil`"));
    }
}
