//! Files of the kernel that hold a value: sysctls, sysfs attributes, limits of cgroups.

use anyhow::Context as _;

use super::Reached;
use super::slices::{self, Slices};

/// The value of a file, without white space around it; of a choice such as `always [madvise] never`, the chosen word.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &str) -> anyhow::Result<String> {
    if let Some(slices) = Slices::of(path) {
        return slices.read();
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    Ok(chosen(text.trim()).to_owned())
}

/// Writes a value and nothing else.
pub(crate) fn write(path: &str, value: &str) -> anyhow::Result<()> {
    if let Some(slices) = Slices::of(path) {
        return slices.write(value);
    }
    std::fs::write(path, value).with_context(|| format!("failed to write `{value}` to {path}"))
}

/// The value of a file as somebody in a network namespace of ours sees it (nothing: the host's).
///
/// # Errors
/// It cannot be read, or the namespace not be entered.
pub fn read_seen_from(netns: &str, path: &str) -> anyhow::Result<String> {
    if netns.is_empty() {
        read(path)
    } else {
        super::links::inside_with_links(netns, || read(path))
    }
}

/// Writes a file as somebody in a network namespace of ours sees it.
pub(crate) fn write_seen_from(netns: &str, path: &str, value: &str) -> anyhow::Result<()> {
    if netns.is_empty() {
        return write(path, value);
    }
    // Only what lies below /sys needs a mount of its own.
    match path.starts_with("/sys/") {
        true => super::links::inside_with_links(netns, || write(path, value)),
        false => super::links::inside(netns, || write(path, value)),
    }
}

/// Files whose value moves towards what was written: whoever is killed while it writes leaves a number on the way.
const GRADUAL: &[&str] = &["/nr_hugepages"];

/// Whether a value is one that we may have left: what we wrote, or a step on the way there.
fn left_by_us(path: &str, now: &str, is: &str, ours: &str) -> bool {
    let on_the_way = || -> Option<bool> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let (now, is, ours) = (number(now)?, number(is)?, number(ours)?);
        Some((is.min(ours)..=is.max(ours)).contains(&now))
    };
    same(now, ours)
        || GRADUAL.iter().any(|end| path.ends_with(end)) && on_the_way() == Some(true)
        || Slices::of(path).is_some() && slices::on_the_way(now, is, ours)
}

/// Whether what a file belonged to is gone: an interrupt that was given back, a device that was pulled out.
fn is_orphaned(path: &str) -> bool {
    std::path::Path::new(path).parent().is_some_and(|folder| !folder.exists())
}

/// Brings a file back to `is` if it still holds what we wrote.
pub(crate) fn restore(path: &str, is: &str, ours: &str) -> anyhow::Result<Reached> {
    if is_orphaned(path) {
        return Ok(Reached::LeftAlone(format!("{path} is gone with what it belonged to")));
    }
    let now = read(path)?;
    if same(&now, is) {
        return Ok(Reached::Yes);
    }
    if !left_by_us(path, &now, is, ours) {
        return Ok(Reached::LeftAlone(format!(
            "{path} is `{now}`: somebody else changed it from our `{ours}`, so it was not set back to `{is}`"
        )));
    }
    write(path, is)?;
    let now = read(path)?;
    anyhow::ensure!(same(&now, is), "{path} reads `{now}` after `{is}` was written to it");
    Ok(Reached::Yes)
}

fn chosen(text: &str) -> &str {
    match (text.find('['), text.find(']')) {
        (Some(open), Some(close)) if open < close => &text[open + 1..close],
        _ => text,
    }
}

/// Whether two spellings mean one value: the kernel rewrites `0,1` as `0-1`, and writes masks with as many digits as it has CPUs.
pub fn same(a: &str, b: &str) -> bool {
    if let (Some(a), Some(b)) = (mask(a), mask(b))
        && a == b
    {
        return true;
    }
    let lists = || Some(crate::threads::parse_list(a).ok()? == crate::threads::parse_list(b).ok()?);
    a.trim() == b.trim()
        || (a.contains([',', '-']) || b.contains([',', '-'])) && lists() == Some(true)
}

/// The digits of a mask of CPUs as the kernel writes it (groups of eight hexadecimal digits) without leading zeros.
fn mask(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.trim().split(',').collect();
    let digits = groups.concat();
    let fits = !digits.is_empty()
        && groups[1..].iter().all(|group| group.len() == 8)
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| digits.trim_start_matches('0').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(value: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value").to_str().unwrap().to_owned();
        std::fs::write(&path, value).unwrap();
        (folder, path)
    }

    #[test]
    fn our_value_is_set_back_and_a_strangers_is_not() {
        let (_folder, path) = file("2\n");
        assert_eq!(restore(&path, "1", "2").unwrap(), Reached::Yes);
        assert_eq!(read(&path).unwrap(), "1");
        assert_eq!(restore(&path, "1", "2").unwrap(), Reached::Yes);
        std::fs::write(&path, "3").unwrap();
        let Reached::LeftAlone(words) = restore(&path, "1", "2").unwrap() else {
            panic!("overwritten")
        };
        assert!(words.contains("is `3`"), "{words}");
        assert_eq!(read(&path).unwrap(), "3");
    }

    #[test]
    fn pages_that_were_given_in_part_are_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nr_hugepages").to_str().unwrap().to_owned();
        std::fs::write(&path, "40").unwrap();
        assert_eq!(restore(&path, "2", "64").unwrap(), Reached::Yes);
        assert_eq!(read(&path).unwrap(), "2");
        std::fs::write(&path, "65").unwrap();
        assert!(matches!(restore(&path, "2", "64").unwrap(), Reached::LeftAlone(_)));
    }

    #[test]
    fn a_value_of_what_is_gone_is_nobodys() {
        let Reached::LeftAlone(words) = restore("/proc/ek-gone/value", "1", "2").unwrap() else {
            panic!("it came back")
        };
        assert_eq!(words, "/proc/ek-gone/value is gone with what it belonged to");
    }

    #[test]
    fn choices_and_lists_are_compared_by_meaning() {
        let (_folder, path) = file("always [madvise] never\n");
        assert_eq!(read(&path).unwrap(), "madvise");
        assert!(
            same("3", "00000000,00000003") && same("03", "3") && !same("3", "00000003,00000000")
        );
        assert!(same("0-1", "0,1") && !same("0-1", "0,2") && !same("-1", "1") && same("-1", "-1"));
    }
}
