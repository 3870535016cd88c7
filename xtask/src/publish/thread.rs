//! One comment of ours where people talk about a change: every run changes it instead of adding another. It is known by a marker *and* its author,
//! so that nobody else's is ever changed; a run of an older commit leaves that of a newer one alone, however long it had to wait.

use anyhow::bail;

/// How often it is written, where other runs write it at the same time.
const TRIES: u32 = 4;

/// Where people talk about one change.
pub(super) trait Thread {
    /// What to call it by: `pull request 7`.
    fn name(&self) -> String;

    /// The commit that is the change's newest now.
    fn head(&self) -> anyhow::Result<String>;

    /// What our author has written, oldest first.
    fn comments(&self) -> anyhow::Result<Vec<Comment>>;

    /// Writes one, or changes it; right before every try it asks `still`. Answers whether it was written.
    fn write(
        &self,
        id: Option<u64>,
        text: &str,
        still: &dyn Fn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<bool>;

    /// Removes one.
    fn remove(&self, id: u64) -> anyhow::Result<()>;
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) text: String,
}

impl Comment {
    /// Whether it tells of this commit.
    fn is_of(&self, sha: &str) -> bool {
        !sha.is_empty() && self.text.trim_end().ends_with(measured_at(sha).trim_end())
    }
}

/// How a comment ends.
pub(super) fn measured_at(sha: &str) -> String {
    format!("\nMeasured at {sha}.\n")
}

/// By which a comment is found again. No name may end it.
pub(super) fn marker(matrix: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
    let name: String = matrix.chars().map(plain).take(100).collect();
    // Two dashes end a comment of HTML.
    format!("<!-- evenkeel: {} -->", name.replace("--", "-_"))
}

/// Writes what there is to say of a commit: a text that begins with the marker and ends with [`measured_at`]. Answers in words what was done.
///
/// # Errors
/// It could not be told, or others wrote it at the same time again and again.
pub(super) fn write(
    thread: &dyn Thread,
    (marker, sha): (&str, &str),
    text: &str,
) -> anyhow::Result<String> {
    for _ in 0..TRIES {
        if let Some(done) = once(thread, (marker, sha), text)? {
            return Ok(done);
        }
    }
    bail!("another run changed it {TRIES} times while it was written")
}

/// Writes it, and looks whether it is what is there then. Answers nothing where it is not, and has to be written again.
fn once(
    thread: &dyn Thread,
    (marker, sha): (&str, &str),
    text: &str,
) -> anyhow::Result<Option<String>> {
    let newer = format!("{} has a newer commit: left to its run", thread.name());
    if thread.head()? != sha {
        return Ok(Some(newer));
    }
    let ours = || -> anyhow::Result<Vec<Comment>> {
        let mut ours = thread.comments()?;
        ours.retain(|comment| comment.text.starts_with(marker));
        ours.sort_unstable_by_key(|comment| comment.id);
        Ok(ours)
    };
    let before = ours()?;
    // However long the server lets us wait: what is written then is of the commit that is the newest then.
    let still = || Ok(thread.head()? == sha);
    if !thread.write(before.first().map(|first| first.id), text, &still)? {
        return Ok(Some(newer));
    }
    let head = thread.head()?;
    let after = ours()?;
    let how = if before.is_empty() { "written" } else { "changed" };
    let done = format!("{how} on {}", thread.name());
    // A list that does not have it yet: a second one would stay.
    let [first, doubles @ ..] = &after[..] else { return Ok(Some(done)) };
    if head != sha {
        // A newer commit came while it was written. If its run was there before, its words get their place again.
        if let Some(newest) = before.first().filter(|first| first.is_of(&head)) {
            thread.write(Some(newest.id), &newest.text, &|| Ok(true))?;
        }
        return Ok(Some(newer));
    }
    // Another run may have written one at the same time: the oldest stays, with what the newest commit's says.
    let is_there = first.is_of(sha);
    if !is_there && !doubles.is_empty() {
        thread.write(Some(first.id), text, &still)?;
    }
    for double in doubles {
        thread.remove(double.id)?;
    }
    Ok(is_there.then_some(done))
}
