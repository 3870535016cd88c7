//! The repository that we stand in, where no CI system says which it is.

use std::time::Duration;

use evenkeel_agent::command;

const SOON: Duration = Duration::from_secs(20);

/// Its commit.
pub(super) fn commit() -> Option<String> {
    asked(&["git", "rev-parse", "--verify", "HEAD"]).filter(|commit| is_sha(commit))
}

/// `OWNER/NAME` of its `origin`, as GitHub's addresses have them: the last two parts of a path.
pub(super) fn origin() -> Option<String> {
    of_address(&asked(&["git", "remote", "get-url", "origin"])?)
}

fn asked(argv: &[&str]) -> Option<String> {
    let text = command::output(argv, SOON).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn of_address(address: &str) -> Option<String> {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        // As scp has them; a path of this machine is none.
        None => address.split_once(':').filter(|(host, _)| !host.contains('/'))?.1,
    };
    let path = path.trim_end_matches('/');
    let (owner, name) = path.strip_suffix(".git").unwrap_or(path).split_once('/')?;
    (!owner.is_empty() && !name.is_empty() && !name.contains('/'))
        .then(|| format!("{owner}/{name}"))
}

/// 40 hexadecimal digits.
pub(super) fn is_sha(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_read_from_the_address_of_its_origin() {
        for known in [
            "https://github.example/me/mine.git",
            "https://user:secret@github.example/me/mine",
            "git@github.example:me/mine.git",
            "ssh://git@github.example:22/me/mine/",
        ] {
            assert_eq!(of_address(known).as_deref(), Some("me/mine"), "{known}");
        }
        for other in ["/srv/git/mine.git", "../mine", "https://x", "https://x/mine", "x:a/b/c", ""]
        {
            assert_eq!(of_address(other), None, "{other}");
        }
    }
}
