//! What there is on a host that a run could leave changed. Taken before and after, two inventories prove that nothing was.
//!
//! Only what lasts is listed: counters, lifetimes, and the threads of other programs that come and go are not. Programs
//! that this host does not have, and engines that do not answer, list nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use evenkeel_agent::{command, wait};

mod kernel;
mod processes;

/// Deadline of one question to a tool.
const SOON: Duration = Duration::from_secs(20);

/// How long what is cleaned up in the background (namespaces, links of engines, cgroups) may take.
pub const SETTLES: Duration = Duration::from_secs(60);

/// What kind of thing is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A network link of the host's namespace.
    Link,
    /// An address of the host.
    Address,
    /// A route or a routing rule.
    Route,
    /// A named network namespace.
    Netns,
    /// A rule of netfilter, without its counters.
    Rule,
    /// A value under `/proc/sys`, or a scheduler's or transparent huge page setting.
    Setting,
    /// A control group, in any hierarchy.
    Cgroup,
    /// A mount.
    Mount,
    /// A process of a run: by its tag, its cgroup or its program; and children that nobody waited for.
    Process,
    /// Placement and policy of a thread that is not a run's.
    Thread,
    /// A container, network, image or volume of the Docker engine, or a container of runc in our root.
    Container,
    /// A file in the folders of a run.
    File,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Link => "link",
            Kind::Address => "address",
            Kind::Route => "route",
            Kind::Netns => "network namespace",
            Kind::Rule => "rule",
            Kind::Setting => "setting",
            Kind::Cgroup => "cgroup",
            Kind::Mount => "mount",
            Kind::Process => "process",
            Kind::Thread => "thread",
            Kind::Container => "container",
            Kind::File => "file",
        })
    }
}

/// Everything that is listed: what it is, and its value (empty where being there says it all).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<(Kind, String), String>);

impl Inventory {
    /// Looks at this host. Changes nothing.
    ///
    /// # Errors
    /// The kernel does not list what it always lists, or a tool that is there fails.
    pub fn take() -> anyhow::Result<Inventory> {
        let mut found = Inventory::default();
        found.network()?;
        found.rules()?;
        found.containers()?;
        kernel::list(&mut found)?;
        processes::list(&mut found)?;
        for folder in ["/run/evenkeel", evenkeel_agent::machine::RUNC_ROOT] {
            found.files(Path::new(folder));
        }
        Ok(found)
    }

    /// What differs from this inventory once the host has settled: asks again until nothing does, at most for `within`.
    ///
    /// # Errors
    /// As [`Inventory::take`].
    pub fn differs(&self, within: Duration) -> anyhow::Result<Vec<String>> {
        let mut last = Vec::new();
        let settled = wait::until("the host to be as before", within, || {
            last = difference(self, &Inventory::take()?);
            Ok(last.is_empty().then_some(()))
        });
        match settled {
            Err(error) if last.is_empty() => Err(error),
            _ => Ok(last),
        }
    }

    fn put(&mut self, kind: Kind, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert((kind, name.into()), value.into());
    }

    /// Lists each line that a tool prints, if the tool is there.
    fn lines(
        &mut self,
        kind: Kind,
        argv: &[&str],
        name: impl Fn(&str) -> String,
    ) -> anyhow::Result<()> {
        if command::which(argv[0]).is_none() {
            return Ok(());
        }
        let text = command::output(argv, SOON)?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            self.put(kind, name(line.trim_end()), "");
        }
        Ok(())
    }

    fn network(&mut self) -> anyhow::Result<()> {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        self.lines(Kind::Link, &["ip", "-brief", "link"], words)?;
        self.lines(Kind::Address, &["ip", "-brief", "address"], words)?;
        for family in ["-4", "-6"] {
            let argv = ["ip", family, "route", "show", "table", "all"];
            self.lines(Kind::Route, &argv, without_lifetime)?;
            self.lines(Kind::Route, &["ip", family, "rule"], words)?;
        }
        for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            self.put(Kind::Netns, entry.file_name().to_string_lossy(), "");
        }
        Ok(())
    }

    /// Rules of all tables, each under its table and chain, whatever their order.
    fn rules(&mut self) -> anyhow::Result<()> {
        if command::which("nft").is_none() {
            return Ok(());
        }
        let ended = command::run(&["nft", "--stateless", "list", "ruleset"], SOON)?;
        // Without root, or in a kernel without nftables, there are no rules to be seen, nor to be changed.
        if ended.code != Some(0) {
            return Ok(());
        }
        let (mut table, mut chain) = (String::new(), String::new());
        for line in String::from_utf8_lossy(&ended.stdout).lines().map(str::trim) {
            match line.split_once(' ') {
                Some(("table", _)) => line.clone_into(&mut table),
                Some(("chain" | "set" | "map", _)) => line.clone_into(&mut chain),
                _ => {}
            }
            if !matches!(line, "" | "}") {
                let name = format!("{table} {chain} {line}");
                let count = self.0.entry((Kind::Rule, name)).or_default();
                count.push('|');
            }
        }
        Ok(())
    }

    fn containers(&mut self) -> anyhow::Result<()> {
        let lists: [&[&str]; 4] = [
            &["docker", "ps", "--all", "--no-trunc", "--format", "container {{.Names}} {{.ID}}"],
            &["docker", "network", "ls", "--no-trunc", "--format", "network {{.Name}} {{.ID}}"],
            &["docker", "images", "--all", "--format", "image {{.Repository}}:{{.Tag}} {{.ID}}"],
            &["docker", "volume", "ls", "--format", "volume {{.Name}}"],
        ];
        if command::which("docker").is_none() {
            return Ok(());
        }
        for argv in lists {
            let ended = command::run(argv, SOON)?;
            // Nothing is known then, and an empty list would say that nothing is there.
            anyhow::ensure!(!ended.timed_out, "`{}` did not answer in time", argv.join(" "));
            if ended.code == Some(0) {
                for line in String::from_utf8_lossy(&ended.stdout).lines() {
                    self.put(Kind::Container, line, "");
                }
            }
        }
        Ok(())
    }

    fn files(&mut self, folder: &Path) {
        for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
            self.put(Kind::File, entry.path().to_string_lossy(), "");
        }
    }
}

/// What differs, in words, one line a difference; nothing if the host is as it was.
pub fn difference(before: &Inventory, after: &Inventory) -> Vec<String> {
    let mut words = Vec::new();
    for ((kind, name), was) in &before.0 {
        match after.0.get(&(*kind, name.clone())) {
            Some(is) if is != was => {
                words.push(format!("{kind} {name} is `{is}`, and was `{was}`"));
            }
            // Threads of other programs end when they like, and that a process of a run has ended is what is wanted.
            None if !matches!(kind, Kind::Thread | Kind::Process) => {
                words.push(format!("{kind} {name} is gone"))
            }
            _ => {}
        }
    }
    for (kind, name) in after.0.keys() {
        if *kind != Kind::Thread && !before.0.contains_key(&(*kind, name.clone())) {
            words.push(format!("{kind} {name} was not there before"));
        }
    }
    words
}

/// A route without the time that it has left.
fn without_lifetime(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        if word == "expires" {
            words.next();
        } else {
            kept.push(word);
        }
    }
    kept.join(" ")
}

/// Reads a file that the kernel always has.
fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: Kind, name: &str, value: &str) -> Inventory {
        let mut inventory = Inventory::default();
        inventory.put(kind, name, value);
        inventory
    }

    #[test]
    fn every_difference_is_said_in_words() {
        let nothing = Inventory::default();
        let link = one(Kind::Link, "ek4f2a01x-p", "");
        assert_eq!(difference(&nothing, &link), ["link ek4f2a01x-p was not there before"]);
        assert_eq!(difference(&link, &nothing), ["link ek4f2a01x-p is gone"]);
        let path = "/proc/sys/kernel/sched_rt_runtime_us";
        let (was, is) = (one(Kind::Setting, path, "950000"), one(Kind::Setting, path, "-1"));
        assert_eq!(difference(&was, &is), [format!("setting {path} is `-1`, and was `950000`")]);
        assert!(difference(&is, &is).is_empty());
    }

    #[test]
    fn threads_may_come_and_go_but_not_change() {
        let (on_one, on_two) =
            (one(Kind::Thread, "7 sshd", "CPUs 0"), one(Kind::Thread, "7 sshd", "CPUs 0-1"));
        assert!(difference(&on_one, &Inventory::default()).is_empty());
        assert!(difference(&Inventory::default(), &on_one).is_empty());
        assert_eq!(difference(&on_one, &on_two).len(), 1);
    }

    #[test]
    fn lifetimes_of_routes_are_not_listed() {
        let route = "default via fe80::1 dev eth0 proto ra metric 100 expires 1798sec pref medium";
        assert_eq!(
            without_lifetime(route),
            "default via fe80::1 dev eth0 proto ra metric 100 pref medium"
        );
    }

    #[test]
    fn this_host_has_links_settings_and_mounts() {
        let here = Inventory::take().unwrap();
        let has =
            |kind, part: &str| here.0.keys().any(|(k, name)| *k == kind && name.contains(part));
        assert!(has(Kind::Link, "lo"));
        assert!(has(Kind::Setting, "/proc/sys/net/ipv4/ip_forward"));
        assert!(has(Kind::Mount, "/proc"));
        assert!(has(Kind::Thread, ""));
    }
}
