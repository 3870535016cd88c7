//! Files of the kernel that hold a value: sysctls, sysfs attributes, limits of cgroups.

use anyhow::Context as _;

use super::Reached;

/// The value of a file, without white space around it; of a choice such as `always [madvise] never`, the chosen word.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &str) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    Ok(chosen(text.trim()).to_owned())
}

/// Writes a value and nothing else.
pub(crate) fn write(path: &str, value: &str) -> anyhow::Result<()> {
    std::fs::write(path, value).with_context(|| format!("failed to write `{value}` to {path}"))
}

/// Brings a file back to `is` if it still holds what we wrote.
pub(crate) fn restore(path: &str, is: &str, ours: &str) -> anyhow::Result<Reached> {
    let now = read(path)?;
    if same(&now, is) {
        return Ok(Reached::Yes);
    }
    if !same(&now, ours) {
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

/// Whether two spellings mean one value: the kernel rewrites `0,1` as `0-1`.
fn same(a: &str, b: &str) -> bool {
    let lists = || Some(crate::threads::parse_list(a).ok()? == crate::threads::parse_list(b).ok()?);
    a.trim() == b.trim()
        || (a.contains([',', '-']) || b.contains([',', '-'])) && lists() == Some(true)
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
    fn choices_and_lists_are_compared_by_meaning() {
        let (_folder, path) = file("always [madvise] never\n");
        assert_eq!(read(&path).unwrap(), "madvise");
        assert!(same("0-1", "0,1") && !same("0-1", "0,2") && !same("-1", "1") && same("-1", "-1"));
    }
}
