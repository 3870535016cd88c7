//! What goes between a run and its lab: one JSON object a line, over the lab's control port.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use evenkeel_agent::lines::{Line, Lines};
use serde::{Deserialize, Serialize};

use crate::artifact::programs::Programs;
use crate::axis::kernel::ConfigFile;
use crate::axis::names::RunTag;
use crate::matrix::{Cell, Matrix};
use crate::record::Record;
use crate::run::spec::Place;

/// The longest line, bytes: a record with all its histograms, or a matrix of many cells.
const LINE: usize = 64 << 20;
/// Lines that are read ahead.
const READ_AHEAD: usize = 16;
/// How often somebody who waits looks up.
const LOOKS_UP: Duration = Duration::from_millis(100);

/// What a lab is asked.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Prepare for boots. Answer: `Begun`.
    Begin(Box<Begin>),
    /// Make one boot. Answer: `Ended`, with phases and notes before it.
    Boot {
        /// The cell.
        cell: Cell,
        /// Which boot of the plan.
        place: Place,
        /// A number that no other boot of the run has.
        number: u32,
    },
}

/// What a lab prepares for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Begin {
    /// The run's tag.
    pub tag: RunTag,
    /// The run's working directory, where profiles are looked up.
    pub folder: PathBuf,
    /// The root of containers, as a folder of the host; empty if no cell needs one.
    pub rootfs: PathBuf,
    /// The user's programs, copied in the host's cache.
    #[serde(default)]
    pub programs: Option<Programs>,
    /// The matrix, with only the cells that are measured in this lab.
    pub matrix: Matrix,
    /// The configuration file that came with the lab's kernel, as a file of the host.
    pub config: Option<ConfigFile>,
}

/// What a lab says.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// It is ready for boots.
    Begun {
        /// Facts of the lab.
        facts: BTreeMap<String, String>,
    },
    /// The boot under way enters a phase.
    Phase(String),
    /// Something that the user should know.
    Note(String),
    /// The boot is over.
    Ended {
        /// What it left.
        record: Box<Record>,
    },
    /// The lab is of no use any more, and why.
    Failed(String),
}

/// The run's end of the port.
pub struct Channel {
    /// A lab that hangs takes nothing: who asks must not wait for it.
    asked: Sender<Ask>,
    lines: Receiver<std::io::Result<Line>>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channel")
    }
}

impl Channel {
    /// Reads and writes on threads of their own until either end closes.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(
        reader: impl Read + Send + 'static,
        mut writer: impl Write + Send + 'static,
    ) -> anyhow::Result<Channel> {
        let (asked, asks) = mpsc::channel();
        let write = move || {
            // What cannot be written any more is missed by the reader, which finds the end.
            while asks.recv().is_ok_and(|ask: Ask| write_line(&mut writer, &ask).is_ok()) {}
        };
        thread::Builder::new()
            .name("ek-lab-asks".into())
            .spawn(write)
            .context("failed to start the writer of a lab")?;
        let (heard, lines) = mpsc::sync_channel(READ_AHEAD);
        let read = move || {
            let mut reader = Lines::new(reader, LINE);
            while let Some(line) = reader.next_line().transpose() {
                let failed = line.is_err();
                if heard.send(line).is_err() || failed {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("ek-lab".into())
            .spawn(read)
            .context("failed to start the reader of a lab")?;
        Ok(Channel { asked, lines })
    }

    /// Asks, without waiting for the lab to take it.
    ///
    /// # Errors
    /// The lab has ended.
    pub fn ask(&mut self, ask: Ask) -> anyhow::Result<()> {
        self.asked.send(ask).ok().context("the lab has ended")
    }

    /// What it says next, if it says something soon, at most within `within`. What is no word of a lab (a kernel that talks) is nothing.
    ///
    /// # Errors
    /// The lab has ended.
    pub fn hear(&self, within: Duration) -> anyhow::Result<Option<Said>> {
        match self.lines.recv_timeout(within.min(LOOKS_UP)) {
            Ok(Ok(Line::Text(text))) => Ok(serde_json::from_str(text.trim()).ok()),
            Ok(Ok(Line::TooLong)) => bail!("the lab said more than {LINE} bytes in a line"),
            Ok(Err(error)) => Err(error).context("failed to read from the lab"),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the lab ended"),
        }
    }
}

/// Writes one line, with a line's end before it: on a port the kernel may have left half a line.
///
/// # Errors
/// Those of the writer.
pub fn write_line(output: &mut impl Write, what: &impl Serialize) -> anyhow::Result<()> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, what).context("failed to write a line as JSON")?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn words_come_through_between_those_of_a_kernel_and_the_end_is_told() {
        let (host, mut lab) = UnixStream::pair().unwrap();
        let channel = Channel::new(host.try_clone().unwrap(), host).unwrap();
        lab.write_all(b"[ 1.0] Linux version 6.1\r\n{\"half").unwrap();
        write_line(&mut lab, &Said::Phase("place".to_owned())).unwrap();
        drop(lab);
        let mut heard = Vec::new();
        let error = loop {
            match channel.hear(Duration::from_secs(30)) {
                Ok(said) => heard.extend(said),
                Err(error) => break error,
            }
        };
        assert_eq!(heard, [Said::Phase("place".to_owned())]);
        assert_eq!(error.to_string(), "the lab ended");
    }

    #[test]
    fn a_lab_that_takes_nothing_does_not_hold_who_asks() {
        let (host, lab) = UnixStream::pair().unwrap();
        let mut channel = Channel::new(host.try_clone().unwrap(), host).unwrap();
        let long = "k".repeat(4 << 20);
        let cell = Cell::of([&*long, "netns", "veth", "stock", "idle", crate::matrix::RUNNING]);
        let place = Place { block: 0, position: 0, boot: 0, side: crate::record::Side::Candidate };
        channel.ask(Ask::Boot { cell, place, number: 0 }).unwrap();
        assert_eq!(channel.hear(Duration::from_millis(1)).unwrap(), None);
        drop(lab);
        let gone = |()| channel.hear(Duration::from_secs(30)).err();
        assert!(std::iter::repeat(()).find_map(gone).is_some());
    }

    #[test]
    fn silence_is_nothing_yet() {
        let (host, _lab) = UnixStream::pair().unwrap();
        let channel = Channel::new(host.try_clone().unwrap(), host).unwrap();
        assert_eq!(channel.hear(Duration::from_millis(1)).unwrap(), None);
    }
}
