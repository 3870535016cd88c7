//! Standard output and standard error, whose readers may go away: `| head` is nobody's mistake, and must never keep a run
//! from bringing the host back.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Context as _;

use crate::matrix::printable;

/// Prints results to standard output. A reader that went away has seen enough: that is no error.
///
/// # Errors
/// They cannot be written, as on a full disk.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    print_by(|output| write!(output, "{text}"))
}

/// Like [`print()`], for what is written piece by piece.
///
/// # Errors
/// As [`print()`].
pub fn print_by(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match write(&mut output).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to standard output"),
    }
}

/// Says something on standard error, made safe to print: it may quote a tool, a guest's console or the user's file. There
/// is nobody to tell where that fails.
pub fn say(text: impl Display) {
    writeln!(io::stderr().lock(), "{}", safe(&text.to_string())).ok();
}

/// Text from outside without anything that a terminal acts on, line by line.
pub fn safe(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn what_a_terminal_acts_on_is_replaced_and_lines_stay() {
        assert_eq!(safe("a\u{1b}[2J\r\n\tb\n"), "a\u{fffd}[2J\n    b");
    }
}
