//! What queues the packets that leave by a link, through `tc`. Only of links of ours, with which it goes.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use super::tools::{SOON, Tools};
use crate::command;

/// What a queue has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Packets that it let go.
    pub packets: u64,
    /// How often it held packets back because its rate was used up.
    pub overlimits: u64,
    /// Packets that it dropped.
    pub drops: u64,
}

/// A line of `tc -s -j qdisc show`.
#[derive(Deserialize)]
struct Shown {
    kind: String,
    #[serde(default)]
    root: bool,
    #[serde(default)]
    packets: u64,
    #[serde(default)]
    overlimits: u64,
    #[serde(default)]
    drops: u64,
}

/// Puts a queue on a link: `words` are its kind and options (tc(8)).
pub(super) fn set(tools: Tools<'_>, netns: &str, link: &str, words: &str) -> anyhow::Result<()> {
    let mut argv = vec!["tc", "-n", netns, "qdisc", "replace", "dev", link, "root"];
    argv.extend(words.split_whitespace());
    tools.output(&argv).map(drop).with_context(|| format!("failed to put a queue on {link}"))
}

/// What the queue of this kind on a link has done; nothing if there is none of that kind.
///
/// # Errors
/// `tc` cannot be asked.
pub fn queued(netns: &str, link: &str, kind: &str) -> anyhow::Result<Option<Queued>> {
    let argv = ["tc", "-n", netns, "-s", "-j", "qdisc", "show", "dev", link];
    let text = command::output(&argv, SOON)?;
    read(&text, kind).with_context(|| format!("`{}` printed no JSON", argv.join(" ")))
}

fn read(text: &str, kind: &str) -> serde_json::Result<Option<Queued>> {
    let shown: Vec<Shown> = serde_json::from_str(text)?;
    let ours = shown.into_iter().find(|shown| shown.root && shown.kind == kind);
    Ok(ours.map(|Shown { packets, overlimits, drops, .. }| Queued { packets, overlimits, drops }))
}

/// Why this host cannot have such a queue; nothing if it can. Tried on the loopback of a namespace that goes with the trial.
pub fn missing(words: &str) -> Option<String> {
    if command::which("tc").is_none() {
        return Some("tc is not installed: `apt install iproute2`".to_owned());
    }
    let mut argv = vec!["unshare", "--net", "--", "tc", "qdisc", "add", "dev", "lo", "root"];
    argv.extend(words.split_whitespace());
    match command::run(&argv, Duration::from_secs(20)) {
        Ok(ended) if ended.code == Some(0) => None,
        Ok(ended) => Some(ended.last_words()),
        Err(error) => Some(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tc_shows_is_read() {
        let text = r#"[{"kind":"tbf","handle":"8001:","root":true,"refcnt":2,"options":{"rate":12500000,"burst":32768,"lat":50000},"bytes":4242,"packets":42,"drops":3,"overlimits":7,"requeues":0,"backlog":0,"qlen":0}]"#;
        let queued = Queued { packets: 42, overlimits: 7, drops: 3 };
        assert_eq!(read(text, "tbf").unwrap(), Some(queued));
        assert_eq!(read(text, "netem").unwrap(), None);
        assert_eq!(read(r#"[{"kind":"noqueue","root":true}]"#, "tbf").unwrap(), None);
        assert!(read("", "tbf").is_err());
    }

    #[test]
    fn a_queue_that_no_kernel_has_is_missing_with_the_tools_words() {
        assert!(missing("ek-no-such-queue").is_some_and(|why| !why.is_empty()));
    }
}
