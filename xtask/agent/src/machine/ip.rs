//! Acts on links, as words of `ip`: neighbours in one network namespace are done by one process.

use anyhow::Context as _;

use super::tools::{SOON, Tools};
use crate::command;
use crate::step::{Act, LinkKey, Object, Setting};

/// One act on a link: the named namespace (the host's if the name is empty) and what to tell `ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    netns: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Line<'a> {
    /// The act as words of `ip`; `None` if it is not one on a link.
    pub(super) fn of(act: &'a Act<String>) -> Option<Line<'a>> {
        match act {
            Act::Make { object: Object::Link { netns, name }, with } => {
                Some(Line { netns, words: make(name, with) })
            }
            Act::Put { on: Setting::Link { netns, link, key }, value } => {
                Some(Line { netns, words: set(link, *key, value) })
            }
            _ => None,
        }
    }

    /// The acts from the first on that are on links of one namespace.
    pub(super) fn neighbours(acts: &'a [Act<String>]) -> Vec<Line<'a>> {
        let mut lines = acts.iter().map_while(Line::of);
        let Some(first) = lines.next() else { return Vec::new() };
        let netns = first.netns;
        std::iter::once(first).chain(lines.take_while(|line| line.netns == netns)).collect()
    }

    /// Whether the words are the same to `ip -batch`, which knows comments, quotes and escapes.
    fn is_plain(&self) -> bool {
        let plain = |word: &&str| {
            !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "#\"'\\".contains(c))
        };
        self.words.iter().all(plain)
    }
}

fn make<'a>(name: &'a str, with: &'a [String]) -> Vec<&'a str> {
    let mut words = if with.first().is_some_and(|kind| kind == "tap") {
        vec!["tuntap", "add", "dev", name, "mode", "tap"]
    } else {
        vec!["link", "add", "name", name]
    };
    words.extend(with.iter().map(String::as_str).filter(|word| *word != "tap"));
    words
}

fn set<'a>(link: &'a str, key: LinkKey, value: &'a str) -> Vec<&'a str> {
    match key {
        LinkKey::State => vec!["link", "set", "dev", link, value],
        LinkKey::Master => vec!["link", "set", "dev", link, "master", value],
        LinkKey::Mac => vec!["link", "set", "dev", link, "address", value],
        // `nodad`: an address that is still tentative cannot be bound to, and nobody else is on our links.
        LinkKey::Address if value.contains(':') => {
            vec!["address", "add", value, "dev", link, "nodad"]
        }
        LinkKey::Address => vec!["address", "add", value, "dev", link],
        LinkKey::Gateway => vec!["route", "add", "default", "via", value, "dev", link],
    }
}

/// `ip` on links of a namespace, ours if the name is empty.
pub(super) fn ip_in(netns: &str) -> Vec<&str> {
    if netns.is_empty() { vec!["ip"] } else { vec!["ip", "-n", netns] }
}

/// Does what the lines say, all of one namespace, in order.
///
/// # Errors
/// The first line that fails, by its place among the lines; those after it were not done.
pub(super) fn run(tools: Tools<'_>, lines: &[Line<'_>]) -> Result<(), (usize, anyhow::Error)> {
    if let [_, _, ..] = lines
        && lines.iter().all(Line::is_plain)
    {
        return batch(tools, lines);
    }
    for (place, line) in lines.iter().enumerate() {
        let argv = [ip_in(line.netns), line.words.clone()].concat();
        tools.output(&argv).map_err(|error| (place, error))?;
    }
    Ok(())
}

fn batch(tools: Tools<'_>, lines: &[Line<'_>]) -> Result<(), (usize, anyhow::Error)> {
    let text: String = lines.iter().map(|line| line.words.join(" ") + "\n").collect();
    let mut argv = ip_in(lines[0].netns);
    argv.extend(["-batch", "-"]);
    let ended =
        command::run_in(tools.cgroup, &argv, text.as_bytes(), SOON).map_err(|error| (0, error))?;
    let place = failed_line(&String::from_utf8_lossy(&ended.stderr)).unwrap_or(0);
    let done = command::expect_success(&argv, ended, SOON);
    let place = place.min(lines.len() - 1);
    done.map(|_| ())
        .with_context(|| format!("in `ip {}`", lines[place].words.join(" ")))
        .map_err(|error| (place, error))
}

/// The line at which `ip -batch -` says that it stopped (`Command failed -:3`), counted from 0.
fn failed_line(stderr: &str) -> Option<usize> {
    let (_, number) = stderr.rsplit_once("Command failed -:")?;
    number.trim().parse::<usize>().ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(netns: &str, key: LinkKey, value: &str) -> Act<String> {
        let on = Setting::Link { netns: netns.to_owned(), link: "eth0".to_owned(), key };
        Act::Put { on, value: value.to_owned() }
    }

    #[test]
    fn neighbours_end_where_the_namespace_or_the_kind_of_act_changes() {
        let dir = Act::Make { object: Object::Dir("d".to_owned()), with: Vec::new() };
        let (a, b) = (put("a", LinkKey::State, "up"), put("b", LinkKey::State, "up"));
        let count = |acts: &[&Act<String>]| {
            Line::neighbours(&acts.iter().map(|act| (*act).clone()).collect::<Vec<_>>()).len()
        };
        assert_eq!(count(&[&a, &a, &b, &a]), 2);
        assert_eq!(count(&[&a, &dir, &a]), 1);
        assert_eq!(count(&[&dir, &a]), 0);
    }

    #[test]
    fn what_a_batch_would_read_otherwise_is_told_in_words() {
        assert!(Line::of(&put("a", LinkKey::Address, "2001:2::2/64")).unwrap().is_plain());
        for value in ["up # down", "", "a\nb", "\"up\"", "u\\p"] {
            assert!(!Line::of(&put("a", LinkKey::State, value)).unwrap().is_plain(), "{value}");
        }
    }

    #[test]
    fn the_line_that_failed_is_told() {
        assert_eq!(failed_line("Cannot find device \"x\"\nCommand failed -:3\n"), Some(2));
        assert_eq!(failed_line("Cannot open network namespace"), None);
    }

    #[test]
    fn a_batch_stops_at_the_first_act_that_fails_and_names_it() {
        // Reads only, so that this needs no privilege.
        let show = |link| Line { netns: "", words: vec!["link", "show", "dev", link] };
        let lines = [show("lo"), show("ek-none"), show("lo")];
        assert!(run(Tools::default(), &lines[..1]).is_ok());
        let (place, error) = run(Tools::default(), &lines).unwrap_err();
        assert_eq!(place, 1);
        assert!(format!("{error:#}").contains("in `ip link show dev ek-none`"), "{error:#}");
    }
}
