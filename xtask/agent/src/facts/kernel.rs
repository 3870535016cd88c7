//! The kernel: how it preempts, which weaknesses it works around, what it offers. Pure functions
//! of the texts of /proc and /sys.

use std::collections::BTreeMap;

/// The preemption model: `none`, `voluntary`, `full`, `lazy` or `rt`; `dynamic` where the kernel
/// chose at boot and does not show what (debugfs is not mounted); `none-or-voluntary` where the
/// version line cannot tell them apart. Absent without a version line.
///
/// `version` is `uname -v` or /proc/version, `realtime` is /sys/kernel/realtime, `debug` is
/// /sys/kernel/debug/sched/preempt (`none voluntary (full) lazy`), `log` is what the kernel has said of it since it started
/// (`Dynamic Preempt: full`). What its command line asks for is no evidence: a model that the kernel does not have is ignored.
pub(super) fn preemption(
    version: Option<&str>,
    realtime: Option<&str>,
    debug: Option<&str>,
    log: Option<&str>,
) -> Option<String> {
    let version = version?;
    let says = |mark: &str| version.split_whitespace().any(|word| word == mark);
    // A realtime kernel also shows a dynamic model ("full" or "lazy"): it comes first.
    if realtime == Some("1") || says("PREEMPT_RT") || version.contains("PREEMPT RT") {
        return Some("rt".to_owned());
    }
    let chosen = || debug?.split_once('(')?.1.split_once(')').map(|(model, _)| model.to_owned());
    let told = || {
        let told = log?.lines().filter_map(|line| line.split_once("Dynamic Preempt: ")).next_back();
        told?.1.split_whitespace().next().map(str::to_owned)
    };
    let by_version = if says("PREEMPT_DYNAMIC") {
        return Some(chosen().or_else(told).unwrap_or_else(|| "dynamic".to_owned()));
    } else if says("PREEMPT") {
        "full"
    } else {
        "none-or-voluntary"
    };
    Some(chosen().unwrap_or_else(|| by_version.to_owned()))
}

/// The weaknesses that the processor has, each with what the kernel does about it:
/// `mds=Vulnerable; spectre_v2=Retpolines`. `not affected` where it has none of those known;
/// absent where the kernel lists none.
pub(super) fn mitigations(vulnerabilities: &BTreeMap<String, String>) -> Option<String> {
    if vulnerabilities.is_empty() {
        return None;
    }
    let affected: Vec<String> = vulnerabilities
        .iter()
        .filter(|(_, state)| *state != "Not affected")
        .map(|(name, state)| format!("{name}={}", state.trim_start_matches("Mitigation: ")))
        .map(|text| text.replace(';', ","))
        .collect();
    Some(if affected.is_empty() { "not affected".to_owned() } else { affected.join("; ") })
}

/// The kernel's own part of its command line. What follows `--` is for the first process, says
/// nothing of the kernel, and may hold what is nobody's business.
pub(super) fn parameters(command_line: &str) -> String {
    command_line.split_whitespace().take_while(|word| *word != "--").collect::<Vec<_>>().join(" ")
}

/// Words of its command line that the kernel said it does not know (since 5.15): what they ask for is not done.
pub(super) fn unknown_words(log: &str) -> Option<String> {
    let (_, said) = log.split_once("Unknown kernel command line parameters \"")?;
    let (words, _) = said.lines().next()?.rsplit_once('"')?;
    Some(parameters(words)).filter(|words| !words.is_empty())
}

/// The CPUs whose callbacks of RCU others run, as the kernel has said at its start; nothing where it did not say so, or has forgotten.
pub(super) fn cpus_without_callbacks(log: &str) -> Option<String> {
    let mut said =
        log.lines().filter_map(|line| line.split_once("Offload RCU callbacks from CPUs: "));
    let list = said.next_back()?.1.trim().trim_end_matches('.');
    list.starts_with(|c: char| c.is_ascii_digit()).then(|| list.to_owned())
}

/// All memory of the node with its unit, from /proc/meminfo.
pub(super) fn memory(meminfo: &str) -> Option<String> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().to_owned())
}

/// Versions of control groups that are mounted: `v1`, `v2`, `v1+v2`; from /proc/self/mounts.
pub(super) fn cgroup(mounts: &str) -> Option<String> {
    let mounted = |kind| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    match (mounted("cgroup"), mounted("cgroup2")) {
        (false, false) => None,
        (true, false) => Some("v1".to_owned()),
        (false, true) => Some("v2".to_owned()),
        (true, true) => Some("v1+v2".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_line_names_realtime_and_full_kernels() {
        let model = |version| preemption(Some(version), None, None, None).unwrap();
        assert_eq!(model("#1 SMP PREEMPT_RT Debian 6.1.140-1 (2025-05-22)"), "rt");
        assert_eq!(model("#1 SMP PREEMPT RT Debian 4.19.208-1"), "rt");
        assert_eq!(model("#1 SMP PREEMPT Thu Apr 4 2024"), "full");
        assert_eq!(model("#1 SMP Debian 5.10.0"), "none-or-voluntary");
        assert_eq!(model("#1 SMP PREEMPT_DYNAMIC @0"), "dynamic");
    }

    #[test]
    fn a_dynamic_kernel_is_what_it_shows_then_what_it_said() {
        let dynamic = Some("#1 SMP PREEMPT_DYNAMIC Debian 6.12");
        let model = |debug, log| preemption(dynamic, None, debug, log).unwrap();
        let said = "6,1,2,-;Linux version 6\n6,80,9,-;Dynamic Preempt: full\n";
        assert_eq!(model(Some("none (voluntary) full"), Some(said)), "voluntary");
        assert_eq!(model(Some("full (lazy)"), None), "lazy");
        assert_eq!(model(None, Some(said)), "full");
        assert_eq!(model(None, Some("6,0,0,-;Command line: preempt=none")), "dynamic");
    }

    #[test]
    fn a_realtime_kernel_is_one_whatever_its_dynamic_model() {
        let dynamic = Some("#1 SMP PREEMPT_DYNAMIC");
        assert_eq!(preemption(dynamic, Some("1"), Some("(full) lazy"), None).unwrap(), "rt");
        assert_eq!(preemption(None, None, None, None), None);
    }

    #[test]
    fn mitigations_name_what_is_affected_only() {
        let text = |pairs: &[(&str, &str)]| {
            mitigations(&pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect())
        };
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[("mds", "Not affected")]).unwrap(), "not affected");
        assert_eq!(
            text(&[
                ("spectre_v2", "Mitigation: Retpolines; STIBP: disabled"),
                ("spec_rstack_overflow", "Vulnerable: Safe RET, no microcode"),
                ("mds", "Not affected"),
            ])
            .unwrap(),
            "spec_rstack_overflow=Vulnerable: Safe RET, no microcode; spectre_v2=Retpolines, STIBP: disabled"
        );
    }

    #[test]
    fn cpus_without_callbacks_are_what_the_kernel_said() {
        let said = |list: &str| {
            format!("6,1,2,-;Linux\n6,9,9,-;rcu: \\x09Offload RCU callbacks from CPUs: {list}.\n")
        };
        assert_eq!(cpus_without_callbacks(&said("1-3,5")).unwrap(), "1-3,5");
        assert_eq!(cpus_without_callbacks(&said("(none)")), None);
        assert_eq!(cpus_without_callbacks("6,1,2,-;Linux\n"), None);
    }

    #[test]
    fn words_that_a_kernel_does_not_know_are_what_it_said() {
        let said = "5,1,2,-;Kernel command line: nohz_ful=1 quiet x\n\
            5,9,9,-;Unknown kernel command line parameters \"nohz_ful=1 x\", will be passed to user space.\n";
        assert_eq!(unknown_words(said).unwrap(), "nohz_ful=1 x");
        assert_eq!(unknown_words("6,1,2,-;Linux\n"), None);
    }

    #[test]
    fn words_for_the_first_process_are_not_the_kernels() {
        assert_eq!(parameters("quiet isolcpus=1 -- --token 123"), "quiet isolcpus=1");
        assert_eq!(parameters("quiet --x=1"), "quiet --x=1");
    }

    #[test]
    fn both_versions_of_cgroups_may_be_mounted() {
        let v1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n";
        let v2 = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        assert_eq!(cgroup("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"), None);
        assert_eq!(cgroup(v1).unwrap(), "v1");
        assert_eq!(cgroup(&format!("{v1}{v2}")).unwrap(), "v1+v2");
    }
}
