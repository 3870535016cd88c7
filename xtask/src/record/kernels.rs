//! Kernels that a run compares, and how their configurations differ. Two kernels that are compared for one option may differ in
//! hundreds: what is compared must say so. Pure; `run/kernels.rs` reads the files.

use std::collections::BTreeSet;

use evenkeel_agent::facts::config;
use serde::{Deserialize, Serialize};

/// Options of a pair that `run.json` holds, those of time and scheduling first; the others are counted.
const MOST: usize = 1500;

/// Characters of a value that are kept: a configuration may hold whole command lines.
const LONGEST: usize = 80;

/// Two kernels that a contrast compares, for cells of one sort.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct KernelPair {
    /// The contrast.
    pub contrast: String,
    /// `guests` or `containers`: the same name means another kernel in each.
    pub who: String,
    /// The kernel compared from.
    pub from: ComparedKernel,
    /// The kernel compared to.
    pub to: ComparedKernel,
    /// How they differ, or why that is not known.
    pub difference: Difference,
}

/// One of two kernels.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ComparedKernel {
    /// Its name in the matrix.
    pub name: String,
    /// What `uname -r` says of it.
    pub version: String,
    /// What the matrix adds to its command line, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmdline: Vec<String>,
}

/// How two configurations differ.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum Difference {
    /// In these options.
    Known {
        /// Those of time and scheduling first, in the order of the alphabet.
        options: Vec<OptionPair>,
        /// How many more there are.
        left_out: u32,
    },
    /// A configuration cannot be read.
    Unknown {
        /// Whose, and why.
        reason: String,
    },
}

/// An option that differs: its values as written, `n` where it is not set.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct OptionPair {
    /// Its name, with `CONFIG_`.
    pub option: String,
    /// Its value in the kernel compared from.
    pub from: String,
    /// Its value in the kernel compared to.
    pub to: String,
}

/// Compares the texts of two configurations.
pub fn difference(from: &str, to: &str) -> Difference {
    let (from, to) = (config::read(from), config::read(to));
    let names: BTreeSet<&str> = from.keys().chain(to.keys()).copied().collect();
    let cut = |value: &str| value.chars().take(LONGEST).collect::<String>();
    let mut options: Vec<OptionPair> = names
        .into_iter()
        // An option that is written as `n` is not set.
        .map(|name| [name, from.get(name).unwrap_or(&"n"), to.get(name).unwrap_or(&"n")])
        .filter(|[_, from, to]| from != to)
        .filter(|[name, ..]| !says_how_it_was_built(name))
        .map(|[name, from, to]| OptionPair { option: cut(name), from: cut(from), to: cut(to) })
        .collect();
    options.sort_by_key(|pair| !is_of_timing(&pair.option));
    let left_out = options.len().saturating_sub(MOST);
    options.truncate(MOST);
    Difference::Known { options, left_out: u32::try_from(left_out).unwrap_or(u32::MAX) }
}

/// Words about the compiler and the build, which are no choice of the configuration.
fn says_how_it_was_built(option: &str) -> bool {
    const BUILD: [&str; 7] = [
        "CONFIG_CC_VERSION_TEXT",
        "CONFIG_GCC_VERSION",
        "CONFIG_CLANG_VERSION",
        "CONFIG_AS_VERSION",
        "CONFIG_LD_VERSION",
        "CONFIG_BUILD_SALT",
        "CONFIG_PAHOLE_VERSION",
    ];
    BUILD.contains(&option)
}

/// Whether an option is about preemption.
pub fn is_of_preemption(option: &str) -> bool {
    ["CONFIG_PREEMPT", "CONFIG_HAVE_PREEMPT", "CONFIG_ARCH_SUPPORTS_RT"]
        .iter()
        .any(|start| option.starts_with(start))
}

/// Whether an option is about preemption, time, scheduling, idling, interrupts or checks that cost time: what a comparison of determinism
/// must look at first.
pub fn is_of_timing(option: &str) -> bool {
    #[rustfmt::skip]
    const STARTS: [&str; 33] = [
        "HZ", "NO_HZ", "TICK_", "HIGH_RES", "RCU_", "TREE_RCU", "TASKS_", "CPU_FREQ", "CPU_IDLE", "CPU_ISOLATION",
        "INTEL_IDLE", "X86_INTEL_PSTATE", "X86_AMD_PSTATE", "SCHED_", "FAIR_GROUP", "RT_GROUP", "RT_MUTEX", "CFS_",
        "UCLAMP", "IRQ_", "VIRT_CPU_ACCOUNTING", "CONTEXT_TRACKING", "PARAVIRT", "LATENCY", "DEBUG_PREEMPT",
        "LOCKDEP", "PROVE_", "NUMA_BALANCING", "TRANSPARENT_HUGEPAGE", "RETPOLINE", "MITIGATION", "HARDLOCKUP",
        "SOFTLOCKUP",
    ];
    let name = option.strip_prefix("CONFIG_").unwrap_or(option);
    is_of_preemption(option) || STARTS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_from_before_command_lines_were_recorded_are_read() {
        let old = r#"{"name": "running", "version": "6.1"}"#;
        let kernel: ComparedKernel = serde_json::from_str(old).expect("readable");
        assert_eq!(kernel.cmdline, Vec::<String>::new());
        let new = ComparedKernel { cmdline: vec!["preempt=full".into()], ..kernel };
        let text = serde_json::to_string(&new).expect("writable");
        assert_eq!(serde_json::from_str::<ComparedKernel>(&text).expect("readable"), new);
    }

    #[test]
    fn what_differs_is_listed_with_timing_first() {
        let from = "CONFIG_A=m\nCONFIG_HZ=250\nCONFIG_SAME=y\n# CONFIG_PREEMPT_RT is not set\nCONFIG_GCC_VERSION=1\n";
        let to = "CONFIG_HZ=1000\nCONFIG_SAME=y\nCONFIG_PREEMPT_RT=y\nCONFIG_GCC_VERSION=2\nCONFIG_Z=\"a\"\nCONFIG_OFF=n\n";
        let Difference::Known { options, left_out: 0 } = difference(from, to) else {
            panic!("known")
        };
        let told: Vec<String> =
            options.iter().map(|o| format!("{} {} {}", o.option, o.from, o.to)).collect();
        assert_eq!(
            told,
            ["CONFIG_HZ 250 1000", "CONFIG_PREEMPT_RT n y", "CONFIG_A m n", "CONFIG_Z n a"]
        );
        assert_eq!(difference(to, to), Difference::Known { options: Vec::new(), left_out: 0 });
    }

    #[test]
    fn it_is_bounded_and_keeps_what_matters() {
        let from: String =
            (0..2000).map(|n| format!("CONFIG_D{n}={}\n", "x".repeat(500))).collect();
        let Difference::Known { options, left_out } = difference(&from, "CONFIG_RCU_NOCB_CPU=y")
        else {
            panic!("known")
        };
        assert_eq!((options.len(), left_out), (MOST, 501));
        assert_eq!(options[0].option, "CONFIG_RCU_NOCB_CPU");
        assert!(options.iter().all(|option| option.from.len() <= LONGEST));
    }
}
