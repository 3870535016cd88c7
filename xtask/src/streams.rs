//! Standard output and standard error, whose readers may go away: `| head` is nobody's mistake, and must never keep a run
//! from bringing the host back.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Context as _;

/// Prints results to standard output. A reader that went away has seen enough: that is no error.
///
/// # Errors
/// They cannot be written, as on a full disk.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    print_by(|output| write!(output, "{text}"))
}

/// Like [`print`], for what is written piece by piece.
///
/// # Errors
/// As [`print`].
pub fn print_by(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match write(&mut output).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to standard output"),
    }
}

/// Says a line on standard error. There is nobody to tell where that fails.
pub fn say(line: impl Display) {
    writeln!(io::stderr().lock(), "{line}").ok();
}
