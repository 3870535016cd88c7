//! The configuration that a kernel was built with: as the kernel itself shows it, or as a `.config` file has it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};

use anyhow::Context as _;

/// Where a kernel shows its configuration, if it was built to.
pub const SHOWN_AT: &str = "/proc/config.gz";

/// The most that is read of a configuration, in bytes: the largest ones have 300 KB.
const MOST: u64 = 8 << 20;

/// The running kernel's configuration; nothing if it does not show it.
///
/// # Errors
/// It is there and cannot be read.
pub fn shown() -> anyhow::Result<Option<String>> {
    let of_file = || format!("failed to read `{SHOWN_AT}`");
    let file = match File::open(SHOWN_AT) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(of_file),
    };
    let mut text = String::new();
    let unpacked = flate2::read::GzDecoder::new(file).take(MOST).read_to_string(&mut text);
    unpacked.with_context(of_file)?;
    Ok(Some(text))
}

/// The values of some options, as written there; `n` for those that are not set.
pub fn options(text: &str, wanted: &[String]) -> BTreeMap<String, String> {
    let all = read(text);
    let value = |name: &str| all.get(name).map_or("n", |value| value).to_owned();
    wanted.iter().map(|name| (name.clone(), value(name))).collect()
}

/// All options that are set, by name. Quotes around texts are left out.
pub fn read(text: &str) -> BTreeMap<&str, &str> {
    let set = text.lines().filter(|line| line.starts_with("CONFIG_"));
    set.filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.trim().trim_matches('"')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_as_written_and_n_where_they_are_not_set() {
        let text = "# Linux/x86\nCONFIG_HZ=250\nCONFIG_PREEMPT_RT=y\n# CONFIG_NO_HZ_FULL is not set\nCONFIG_X=\"a=b\"\n";
        let wanted =
            ["CONFIG_HZ", "CONFIG_PREEMPT_RT", "CONFIG_NO_HZ_FULL", "CONFIG_X", "CONFIG_H"];
        let found = options(text, &wanted.map(str::to_owned));
        let values: Vec<&str> = wanted.iter().map(|name| found[*name].as_str()).collect();
        assert_eq!(values, ["250", "y", "n", "a=b", "n"]);
    }

    #[test]
    fn what_this_kernel_shows_has_options() {
        if let Some(text) = shown().unwrap() {
            assert!(read(&text).len() > 100);
        }
    }
}
