//! Words of kernels' command lines: a guest's are given to it and verified inside; the host's are verified and never edited.
//!
//! Lists of CPUs are often given more than once (`isolcpus`, `nohz_full`, `rcu_nocbs`). Where they differ the profile is refused with both,
//! because one of them is a mistake. `irqaffinity` is their opposite, and must share no CPU with them.

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::threads;

use super::{Knob, Probe, Target, Turned, Without, cpus, cpus_named};
use crate::axis::Site;
use crate::doctor::NeedName;

/// Words whose lists mean the isolated CPUs.
const ISOLATED: &[&str] = &["isolcpus", "nohz_full", "rcu_nocbs"];
/// Words whose list means the others.
const OTHERS: &str = "irqaffinity";

/// What a guest's kernel shows of a word's list, as facts of the guest. What it isolates CPUs for is what it serves.
const SHOWN: &[(&str, &str)] = &[
    ("isolcpus", "cpus-isolated"),
    ("isolcpus", "cpus-that-serve"),
    ("nohz_full", "cpus-nohz-full"),
    ("rcu_nocbs", "cpus-without-callbacks"),
    ("irqaffinity", "cpus-of-new-interrupts"),
];

/// Where this host's kernel shows a word's list.
const SHOWN_BY_HOST: &[(&str, &str)] = &[
    ("isolcpus", "/sys/devices/system/cpu/isolated"),
    ("nohz_full", "/sys/devices/system/cpu/nohz_full"),
];

/// The guest's.
#[derive(Debug)]
pub(super) struct GuestCmdline;
/// The host's.
#[derive(Debug)]
pub(super) struct HostCmdline;

/// Name of the guest's.
pub(super) const GUEST: &str = "guest-cmdline";

impl Knob for GuestCmdline {
    fn name(&self) -> &'static str {
        GUEST
    }

    fn about(&self) -> &'static str {
        "words for the command line of the guest's kernel, verified inside"
    }

    fn values(&self) -> String {
        "words such as skew_tick=1 isolcpus=1 nohz_full=1".to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        ensure!(
            !want.contains(['{', '}']),
            "placement is the host's: give a guest's CPUs as numbers"
        );
        agree(&words(want)?)
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        self.check(want)?;
        let mut turned = Turned::new(GUEST, want);
        if !to.system.is_guest() {
            let reason = format!("{} has no kernel of its own", to.system.name());
            turned.without = Some(Without::Inapplicable(reason));
            return Ok(turned);
        }
        let own = words(want)?;
        // The matrix may give its kernel words too.
        let of_kernel = to.site.artifacts.guest.iter().flat_map(|guest| &guest.cmdline);
        let all: Vec<String> = of_kernel.cloned().chain(own.iter().cloned()).collect();
        agree(&all).context("with the words that the matrix gives the kernel")?;
        let has: Vec<usize> = (0..to.site.profile.guest_cpus()).collect();
        for word in &own {
            if let Some((name, list)) = cpu_list(word) {
                let online = cpus_named(list, Some(&has));
                online.with_context(|| match has.as_slice() {
                    [_] => {
                        format!("`{name}` of a guest of one CPU: `{}` gives it more", cpus::NAME)
                    }
                    all => format!("`{name}` of a guest of {} CPUs", all.len()),
                })?;
            }
        }
        turned.applied = format!("words of the guest's command line: {}", own.join(" "));
        let said = |word: &String| (Probe::GuestWord(word.clone()), "there".to_owned());
        turned.probes = own.iter().map(said).collect();
        // Words that the kernel does not know, or was built without, are on its command line all the same: what they do is asked for too.
        for (name, list) in shown_lists(&own) {
            for (_, fact) in SHOWN.iter().filter(|(word, _)| *word == name) {
                turned.probes.push((Probe::GuestFact((*fact).to_owned()), list.clone()));
            }
        }
        Ok(turned)
    }
}

impl Knob for HostCmdline {
    fn name(&self) -> &'static str {
        "host-cmdline"
    }

    fn about(&self) -> &'static str {
        "words that the host's kernel must have been started with: verified, never edited"
    }

    fn values(&self) -> String {
        "words such as isolcpus={isolated} irqaffinity={housekeeping}, which stand for the placement's CPUs".to_owned()
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[]
    }

    fn only_verified(&self) -> Option<&'static str> {
        Some(
            "it is verified and never set: start the host with and without its words, and compare the runs",
        )
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        let sample = want.replace("{isolated}", "1").replace("{housekeeping}", "0");
        ensure!(!sample.contains(['{', '}']), "`{want}`: braces hold `isolated` or `housekeeping`");
        // Where both kinds are mixed, only the placement tells whether they agree.
        match want.contains('{') {
            true => words(&sample).map(|_| ()),
            false => agree(&words(want)?),
        }
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        self.check(want)?;
        let words = words(&placed(want, to.site))?;
        agree(&words)?;
        for word in &words {
            if let Some((name, list)) = cpu_list(word) {
                cpus_named(list, Some(&to.site.cpus)).with_context(|| format!("`{name}`"))?;
            }
        }
        let said = |word: &String| (Probe::HostWord(word.clone()), "there".to_owned());
        let mut probes: Vec<(Probe, String)> = words.iter().map(said).collect();
        for (name, list) in shown_lists(&words) {
            for (_, path) in SHOWN_BY_HOST.iter().filter(|(word, _)| *word == name) {
                probes.push((Probe::File((*path).to_owned()), list.clone()));
            }
        }
        Ok(Turned {
            applied: format!("nothing: `{}` is verified only", words.join(" ")),
            probes,
            ..Turned::new(self.name(), want)
        })
    }
}

/// The words with the placement's CPUs in them.
fn placed(want: &str, site: &Site) -> String {
    want.replace("{isolated}", &threads::list(&site.placement.isolated))
        .replace("{housekeeping}", &threads::list(&site.placement.housekeeping))
}

fn words(want: &str) -> anyhow::Result<Vec<String>> {
    let words: Vec<String> = want.split_whitespace().map(str::to_owned).collect();
    ensure!(!words.is_empty(), "no words are given");
    for word in &words {
        ensure!(*word != "--", "`--` would end the kernel's own words");
        // Commas part the values of an option of QEMU and quotes the words of the kernel.
        ensure!(
            word.chars().all(|c| c.is_ascii_graphic() && !"\"'\\".contains(c)),
            "`{word}` is no word of a command line"
        );
    }
    Ok(words)
}

/// Name and CPUs of a word that lists some: `isolcpus` may have flags before them.
fn cpu_list(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    if !ISOLATED.contains(&name) && name != OTHERS {
        return None;
    }
    let flags: usize = value
        .split(',')
        .take_while(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))
        .map(|flag| flag.len() + 1)
        .sum();
    Some((name, value.get(flags..).unwrap_or_default()))
}

/// Name and CPUs of the words whose lists a kernel shows, as it writes them.
fn shown_lists(words: &[String]) -> impl Iterator<Item = (&str, String)> {
    let lists = words.iter().filter(|word| shows(word)).filter_map(|word| cpu_list(word));
    lists.filter_map(|(name, list)| Some((name, threads::list(&threads::parse_list(list).ok()?))))
}

/// Whether the kernel shows the list of a word. With flags and without `domain` among them, `isolcpus` isolates from something else than
/// the scheduler, and the kernel shows none of it.
fn shows(word: &str) -> bool {
    let Some(flags) = word.strip_prefix("isolcpus=") else { return true };
    let flags = flags.split(',').filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()));
    let flags: Vec<&str> = flags.collect();
    flags.is_empty() || flags.contains(&"domain")
}

/// Whether words that are given more than once agree.
fn agree(words: &[String]) -> anyhow::Result<()> {
    let mut lists: Vec<(&str, &str, Vec<usize>)> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        // A console and sizes of huge pages may be given several times.
        let same = |other: &&String| {
            *other != word && other.split_once('=').map_or(other.as_str(), |(n, _)| n) == name
        };
        if !["console", "hugepagesz", "hugepages"].contains(&name)
            && let Some(other) = words[..at].iter().find(same)
        {
            bail!("`{other}` and `{word}` do not agree");
        }
        let Some((name, list)) = cpu_list(word) else { continue };
        let cpus = cpus_named(list, None).with_context(|| format!("`{word}`"))?;
        for (other, theirs, others) in &lists {
            if name == OTHERS || *other == OTHERS {
                ensure!(
                    cpus.iter().all(|cpu| !others.contains(cpu)),
                    "`{other}={theirs}` and `{name}={list}` share a CPU"
                );
            } else {
                ensure!(cpus == *others, "`{other}={theirs}` and `{name}={list}` do not agree");
            }
        }
        lists.push((name, list, cpus));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_given_twice_agree_or_are_told() {
        let told = |text: &str| HostCmdline.check(text).err().map(|error| format!("{error:#}"));
        assert_eq!(
            told("isolcpus=managed_irq,domain,1-3 nohz_full=1,2,3 irqaffinity=0 quiet"),
            None
        );
        assert_eq!(
            told("isolcpus=1-3 nohz_full=1-2").unwrap(),
            "`isolcpus=1-3` and `nohz_full=1-2` do not agree"
        );
        assert_eq!(
            told("rcu_nocbs=1 irqaffinity=0-1").unwrap(),
            "`rcu_nocbs=1` and `irqaffinity=0-1` share a CPU"
        );
        assert_eq!(
            told("tsc=reliable tsc=nowatchdog").unwrap(),
            "`tsc=reliable` and `tsc=nowatchdog` do not agree"
        );
        assert_eq!(told("isolcpus=all").unwrap(), "`isolcpus=all`: `` names no CPU");
        assert_eq!(
            told("isolcpus={mine}").unwrap(),
            "`isolcpus={mine}`: braces hold `isolated` or `housekeeping`"
        );
        assert_eq!(told("isolcpus={isolated} nohz_full={isolated}"), None);
        assert_eq!(told("a -- b").unwrap(), "`--` would end the kernel's own words");
    }

    #[test]
    fn only_lists_that_the_scheduler_isolates_are_shown() {
        let words = |text: &str| words(text).unwrap();
        let shown = |text: &str| {
            let all = words(text);
            shown_lists(&all).map(|(name, list)| format!("{name} {list}")).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("isolcpus=managed_irq,domain,1,2,3 quiet irqaffinity=0"),
            ["isolcpus 1-3", "irqaffinity 0"]
        );
        assert_eq!(shown("isolcpus=nohz,1 nohz_full=1"), ["nohz_full 1"]);
    }
}
