//! Processes of runs, and the threads of everybody else.

use evenkeel_agent::threads;

use super::{Inventory, Kind};

/// Programs that a run starts: one of these that nobody waited for is a run's.
const OURS: &[&str] = &[
    "xtask",
    "evenkeel-agent",
    "ip",
    "nft",
    "docker",
    "runc",
    "podman",
    "conmon",
    "systemd-nspawn",
    "ovs-vswitchd",
    "ovsdb-server",
    "qemu-system-x86",
];

/// Lists them.
pub(super) fn list(found: &mut Inventory) -> anyhow::Result<()> {
    let me = nix::unistd::getpid().as_raw();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may end while it is looked at: then it is not listed.
        let Some(stat) = Stat::of(&format!("/proc/{pid}/stat")) else { continue };
        let text = |file: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let (words, groups) = (text("cmdline"), text("cgroup"));
        // Orphans are init's to wait for, at its leisure; our own children are ours.
        let forgotten = stat.parent != me && stat.parent != 1;
        if stat.state == 'Z' {
            if !forgotten || !OURS.contains(&stat.name.as_str()) {
                continue;
            }
            let name =
                format!("{pid} {} since {}, ended and not waited for", stat.name, stat.start);
            found.put(Kind::Process, name, "");
        } else if has_tag(&groups) || has_tag(&words) {
            found.put(Kind::Process, format!("{pid} {} since {}", words.trim(), stat.start), "");
        } else if pid != me {
            threads_of(found, pid);
        }
    }
    Ok(())
}

fn threads_of(found: &mut Inventory, pid: i32) {
    for thread in threads::of_process(pid).unwrap_or_default() {
        let Some(stat) = Stat::of(&format!("/proc/{pid}/task/{thread}/stat")) else { continue };
        let policy = threads::policy(thread).map_or(String::new(), |policy| policy.to_string());
        let Ok(cpus) = threads::affinity(thread) else { continue };
        let name = format!("{thread} {} since {}", stat.name, stat.start);
        found.put(Kind::Thread, name, format!("CPUs {}, {policy}", threads::list(&cpus)));
    }
}

/// What `/proc/PID/stat` says (proc(5)): after the name in parentheses, which may hold anything, state is the first field,
/// the parent the second, and the start time the twentieth.
struct Stat {
    name: String,
    state: char,
    parent: i32,
    start: String,
}

impl Stat {
    fn of(path: &str) -> Option<Stat> {
        Stat::parse(&std::fs::read_to_string(path).ok()?)
    }

    fn parse(text: &str) -> Option<Stat> {
        let (left, right) = text.rsplit_once(')')?;
        let fields: Vec<&str> = right.split_whitespace().collect();
        Some(Stat {
            name: left.split_once('(')?.1.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            start: (*fields.get(19)?).to_owned(),
        })
    }
}

/// Whether a text holds a tag as a word of its own: `ek` and four hexadecimal digits of a run, three more of base 36 of a boot.
pub(super) fn has_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric();
    text.split(|c| !word(c)).any(|word| {
        word.strip_prefix("ek").is_some_and(|rest| {
            matches!(rest.len(), 4 | 7..)
                && rest.bytes().take(4).all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_by_its_form() {
        for text in [
            "0::/ek4f2a",
            "0::/ek4f2a01x",
            "ip netns exec ek4f2a01x-sut agent",
            "/ek00ff000-engine/9",
        ] {
            assert!(has_tag(text), "{text}");
        }
        for text in ["/srv/ek/trace", "ekt-a", "geek4f2a01x", "ek4f2", "week", "ekzzzz01x"] {
            assert!(!has_tag(text), "{text}");
        }
    }

    #[test]
    fn a_name_may_hold_anything() {
        let text = format!("12 (a) b (c) S 7{} 4242 0", " 0".repeat(17));
        let stat = Stat::parse(&text).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) b (c", 'S', 7));
        assert_eq!(stat.start, "4242");
    }
}
