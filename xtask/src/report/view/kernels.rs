//! Kernels that a run compares: how their configurations differ, and what that confounds.

use serde::Serialize;

use super::source::Source;
use crate::record::kernels::{Difference, KernelPair, OptionPair, is_of_preemption, is_of_timing};
use crate::report::format::grouped;

/// Two kernels.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
    contrast: String,
    who: String,
    from: String,
    to: String,
    from_version: String,
    to_version: String,
    sentence: String,
    confounds: Vec<String>,
    /// Options of preemption, time and scheduling.
    timing: Vec<Row>,
    others: Vec<Row>,
    /// How many others there are, recorded or not.
    other_count: String,
    left_out: u32,
}

/// An option that differs.
#[derive(Debug, Serialize)]
struct Row {
    option: String,
    from: String,
    to: String,
}

/// All pairs, in the order of the run.
pub(super) fn pairs(source: &Source<'_>) -> Vec<Pair> {
    source.run.kernels.iter().map(Pair::new).collect()
}

impl Pair {
    fn new(pair: &KernelPair) -> Pair {
        let (options, left_out): (&[OptionPair], u32) = match &pair.difference {
            Difference::Known { options, left_out } => (options, *left_out),
            Difference::Unknown { .. } => (&[], 0),
        };
        let (timing, others): (Vec<&OptionPair>, Vec<&OptionPair>) =
            options.iter().partition(|pair| is_of_timing(&pair.option));
        let rows = |options: &[&OptionPair]| options.iter().map(|pair| Row::new(pair)).collect();
        let other_count = grouped(others.len() as u64 + u64::from(left_out));
        Pair {
            contrast: pair.contrast.clone(),
            who: pair.who.clone(),
            from: pair.from.name.clone(),
            to: pair.to.name.clone(),
            from_version: pair.from.version.clone(),
            to_version: pair.to.version.clone(),
            sentence: sentence(pair, &timing, others.len() as u64 + u64::from(left_out)),
            confounds: confounds(pair, &timing, others.len() as u64 + u64::from(left_out)),
            timing: rows(&timing),
            others: rows(&others),
            other_count,
            left_out,
        }
    }
}

impl Row {
    fn new(pair: &OptionPair) -> Row {
        Row { option: pair.option.clone(), from: pair.from.clone(), to: pair.to.clone() }
    }
}

/// How configurations and command lines differ.
fn sentence(pair: &KernelPair, timing: &[&OptionPair], others: u64) -> String {
    let configurations = of_configurations(pair, timing, others);
    let [from, to] = [&pair.from, &pair.to].map(|kernel| match kernel.cmdline.join(" ") {
        none if none.is_empty() => "nothing added".to_owned(),
        words => format!("`{words}`"),
    });
    if from == to {
        return configurations;
    }
    let (a, b) = (&pair.from.name, &pair.to.name);
    format!("{configurations} Their command lines differ: {from} ({a}) and {to} ({b}).")
}

fn of_configurations(pair: &KernelPair, timing: &[&OptionPair], others: u64) -> String {
    if let Difference::Unknown { reason } = &pair.difference {
        return format!("how their configurations differ is not known: {reason}.");
    }
    let preemption = timing.iter().filter(|pair| is_of_preemption(&pair.option)).count();
    match timing.len() as u64 + others {
        0 => "their configurations are the same.".to_owned(),
        all => format!(
            "options that differ: {}; of preemption {preemption}, of time and scheduling {}, others {}.",
            grouped(all),
            timing.len() - preemption,
            grouped(others)
        ),
    }
}

/// What else than the option in question a change between them may come from.
fn confounds(pair: &KernelPair, timing: &[&OptionPair], others: u64) -> Vec<String> {
    let mut found = Vec::new();
    let [from, to] = [release(&pair.from.version), release(&pair.to.version)];
    if from != to {
        found.push(format!(
            "The versions differ, {from} and {to}: so does everything between them."
        ));
    }
    let preemption = timing.iter().filter(|pair| is_of_preemption(&pair.option)).count();
    let besides = (timing.len() - preemption) as u64 + others;
    if besides > 0 && preemption == 0 {
        found.push(format!(
            "{} {}, none of preemption: a change between the two may come from any of them.",
            grouped(besides),
            if besides == 1 { "option differs" } else { "options differ" }
        ));
    } else if besides > 0 {
        found.push(format!(
            "Not only preemption differs ({} other options): a change between the two need not come from it.",
            grouped(besides)
        ));
    }
    let realtime = timing.iter().any(|pair| pair.option == "CONFIG_PREEMPT_RT");
    if realtime {
        found.push(
            "A PREEMPT_RT kernel also does without the default coalescing of software interrupts."
                .to_owned(),
        );
    }
    found
}

/// A version without the name of its flavour: `6.1.0-56` of `6.1.0-56-rt-amd64`.
fn release(version: &str) -> &str {
    let end = version.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
    let cut = end.map_or(version, |end| &version[..end]);
    let cut = cut.trim_end_matches(['-', '.']);
    if cut.is_empty() { version } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::kernels::{ComparedKernel, difference};

    fn pair(versions: [&str; 2], difference: Difference) -> Pair {
        let [from, to] = [("running", versions[0]), ("debian-rt", versions[1])]
            .map(|(name, version)| kernel(name, version, &[]));
        of(from, to, difference)
    }

    fn kernel(name: &str, version: &str, cmdline: &[&str]) -> ComparedKernel {
        let cmdline = cmdline.iter().map(|&word| word.to_owned()).collect();
        ComparedKernel { name: name.into(), version: version.into(), cmdline }
    }

    fn of(from: ComparedKernel, to: ComparedKernel, difference: Difference) -> Pair {
        let (contrast, who) = ("realtime-kernel".into(), "guests".into());
        Pair::new(&KernelPair { contrast, who, from, to, difference })
    }

    #[test]
    fn options_without_one_of_preemption_are_not_told_as_if_there_were_one() {
        let two = difference("CONFIG_HZ=250\nCONFIG_DRIVER=m\n", "CONFIG_HZ=1000\n");
        assert_eq!(
            pair(["6.1.0", "6.1.0"], two).confounds,
            [
                "2 options differ, none of preemption: a change between the two may come from any of them."
            ]
        );
        let one = difference("CONFIG_HZ=250\n", "CONFIG_HZ=1000\n");
        assert!(pair(["6.1.0", "6.1.0"], one).confounds[0].starts_with("1 option differs, none"));
        let only = difference("CONFIG_PREEMPT=n\n", "CONFIG_PREEMPT=y\n");
        assert_eq!(pair(["6.1.0", "6.1.0"], only).confounds, [""; 0]);
    }

    #[test]
    fn command_lines_that_differ_are_both_named() {
        let same = || difference("CONFIG_HZ=250", "CONFIG_HZ=250");
        let [none, full] = [("none", "preempt=none"), ("full", "preempt=full")]
            .map(|(name, word)| kernel(name, "6.1.0", &["quiet", word]));
        assert_eq!(
            of(none.clone(), full, same()).sentence,
            "their configurations are the same. Their command lines differ: `quiet preempt=none` (none) and \
             `quiet preempt=full` (full)."
        );
        assert_eq!(
            of(none.clone(), kernel("bare", "6.1.0", &[]), same()).sentence,
            "their configurations are the same. Their command lines differ: `quiet preempt=none` (none) and \
             nothing added (bare)."
        );
        assert_eq!(of(none.clone(), none, same()).sentence, "their configurations are the same.");
    }

    #[test]
    fn what_confounds_is_named() {
        let from = "CONFIG_HZ=250\nCONFIG_DRIVER=m\n";
        let to = "CONFIG_HZ=250\nCONFIG_NO_HZ_FULL=y\nCONFIG_PREEMPT_RT=y\nCONFIG_PREEMPTION=y\n";
        let told = pair(["6.1.0-56-cloud-amd64", "6.1.0-56-rt-amd64"], difference(from, to));
        assert_eq!(
            told.sentence,
            "options that differ: 4; of preemption 2, of time and scheduling 1, others 1."
        );
        assert_eq!(
            told.confounds,
            [
                "Not only preemption differs (2 other options): a change between the two need not come from it.",
                "A PREEMPT_RT kernel also does without the default coalescing of software interrupts.",
            ]
        );
        assert_eq!((told.timing.len(), told.others.len()), (3, 1));
    }

    #[test]
    fn another_version_or_no_configuration_is_said() {
        let same = difference("CONFIG_HZ=250", "CONFIG_HZ=250");
        let told = pair(["6.1.0-56-amd64", "6.12.3+bpo-amd64"], same);
        assert_eq!(told.sentence, "their configurations are the same.");
        assert_eq!(
            told.confounds,
            ["The versions differ, 6.1.0-56 and 6.12.3: so does everything between them."]
        );
        let unknown = Difference::Unknown { reason: "kernel 6.18.5 came without one".into() };
        let told = pair(["6.18.5", "6.18.5-rt"], unknown);
        assert_eq!(
            told.sentence,
            "how their configurations differ is not known: kernel 6.18.5 came without one."
        );
        assert_eq!(release("next"), "next");
    }
}
