//! What a client says first on a measuring connection: a fixed header, so that all shapes share a port.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::window::Slices;
use crate::clock;

/// The first bytes of a header, and all of the server's greeting.
pub(crate) const MAGIC: [u8; 8] = *b"evenkeel";

/// Bytes of an encoded header.
pub(crate) const LENGTH: usize = 56;

/// Changes with every incompatible change of a measuring connection.
const VERSION: u32 = 1;

/// Largest payload of a transaction, bytes.
const MOST_PAYLOAD: u32 = 1 << 20;

/// Largest payload of a datagram, bytes: what the length field of IPv4 leaves.
pub(crate) const MOST_DATAGRAM: u32 = 65_507;

/// Longest time that a connection may last beyond its windows.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);

/// What happens on a connection after the greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The server answers each request of so many bytes with so many bytes; the first is echoed.
    Answer {
        /// Bytes of a request.
        request: u32,
        /// Bytes of an answer.
        response: u32,
    },
    /// The server counts what it receives.
    Count,
    /// As [`Mode::Answer`], in datagrams to the same port.
    AnswerDatagrams {
        /// Bytes of a request.
        request: u32,
        /// Bytes of an answer.
        response: u32,
    },
    /// The server counts the datagrams of this many bytes that it receives on the same port.
    CountDatagrams {
        /// Bytes of a datagram.
        datagram: u32,
    },
    /// The server takes what comes until the client ends, as load.
    Sink,
    /// As [`Mode::Answer`], each request in a connection of its own, which the server closes.
    AnswerConnections {
        /// Bytes of a request.
        request: u32,
        /// Bytes of an answer.
        response: u32,
        /// Where the server listens for them; 0 lets its kernel choose. It tells which after its greeting.
        port: u16,
    },
}

/// The header of a measuring connection. Valid by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What the client will do.
    pub(crate) mode: Mode,
    /// When it will do it.
    pub(crate) slices: Slices,
    /// Beyond warm-up and windows, how long the connection may last.
    pub(crate) grace: Duration,
}

impl Header {
    /// A header of these parts.
    ///
    /// # Errors
    /// A payload of nothing, of more than 1 MiB, or of more than a datagram holds; a grace of more than a day.
    pub(crate) fn new(mode: Mode, slices: Slices, grace: Duration) -> Result<Header> {
        let (payloads, most) = match mode {
            Mode::Answer { request, response }
            | Mode::AnswerConnections { request, response, .. } => {
                (vec![("request", request), ("response", response)], MOST_PAYLOAD)
            }
            Mode::AnswerDatagrams { request, response } => {
                (vec![("request", request), ("response", response)], MOST_DATAGRAM)
            }
            Mode::CountDatagrams { datagram } => (vec![("datagram", datagram)], MOST_DATAGRAM),
            Mode::Count | Mode::Sink => (Vec::new(), 0),
        };
        for (what, bytes) in payloads {
            ensure!((1..=most).contains(&bytes), "a {what} of {bytes} bytes: use 1 to {most}");
        }
        ensure!(grace <= LONGEST_GRACE, "a grace of more than a day");
        Ok(Header { mode, slices, grace })
    }

    /// How long the connection may last in all.
    pub(crate) fn longest(&self) -> Duration {
        self.slices.total() + self.grace
    }

    /// How long the server holds the connection for a client that says nothing more: longer than
    /// the client waits, so that it is the client that finds out and says why.
    pub(crate) fn longest_held(&self) -> Duration {
        self.longest() + self.grace + Duration::from_secs(1)
    }

    /// The header as it is sent: magic, then integers in little-endian order.
    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let (mode, request, response, port) = match self.mode {
            Mode::Answer { request, response } => (1_u32, request, response, 0),
            Mode::Count => (2, 0, 0, 0),
            Mode::AnswerDatagrams { request, response } => (3, request, response, 0),
            Mode::CountDatagrams { datagram } => (4, datagram, 0, 0),
            Mode::Sink => (5, 0, 0, 0),
            Mode::AnswerConnections { request, response, port } => (6, request, response, port),
        };
        let words = [VERSION, mode, request, response, self.slices.windows, port.into()];
        let times = [self.slices.warmup_ns, self.slices.window_ns, clock::nanos(self.grace)];
        let bytes = MAGIC
            .into_iter()
            .chain(words.into_iter().flat_map(u32::to_le_bytes))
            .chain(times.into_iter().flat_map(u64::to_le_bytes));
        let mut header = [0; LENGTH];
        header.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        header
    }

    /// Reads a header that somebody sent.
    ///
    /// # Errors
    /// Anything that [`Header::encode`] of a valid header would not have written.
    pub(crate) fn decode(bytes: &[u8; LENGTH]) -> Result<Header> {
        let (magic, rest) = bytes.split_first_chunk().context("a header without a beginning")?;
        ensure!(*magic == MAGIC, "not a measuring client");
        let (words, times) = rest.split_at(6 * 4);
        let word = |at: usize| -> Result<u32> {
            let (word, _) = words[at * 4..].split_first_chunk().context("a short header")?;
            Ok(u32::from_le_bytes(*word))
        };
        let time = |at: usize| -> Result<u64> {
            let (time, _) = times[at * 8..].split_first_chunk().context("a short header")?;
            Ok(u64::from_le_bytes(*time))
        };
        let version = word(0)?;
        ensure!(
            version == VERSION,
            "the client measures by version {version}, this server by {VERSION}: run one build on both"
        );
        let mode = match word(1)? {
            1 => Mode::Answer { request: word(2)?, response: word(3)? },
            2 => Mode::Count,
            3 => Mode::AnswerDatagrams { request: word(2)?, response: word(3)? },
            4 => Mode::CountDatagrams { datagram: word(2)? },
            5 => Mode::Sink,
            6 => Mode::AnswerConnections {
                request: word(2)?,
                response: word(3)?,
                port: u16::try_from(word(5)?).context("no such port")?,
            },
            mode => bail!("no such mode: {mode}"),
        };
        let slices = Slices::new(time(0)?, time(1)?, word(4)?)?;
        Header::new(mode, slices, Duration::from_nanos(time(2)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_survives_the_wire(
            request in 1..=MOST_DATAGRAM, response in 1..=MOST_DATAGRAM, which in 0usize..6,
            port in any::<u16>(),
            warmup in 0u64..1_000_000_000, window in 1u64..1_000_000_000, windows in 1u32..1_000, grace in 0u64..1_000_000_000_000,
        ) {
            let mode = [
                Mode::Count,
                Mode::Answer { request, response },
                Mode::AnswerDatagrams { request, response },
                Mode::CountDatagrams { datagram: request },
                Mode::Sink,
                Mode::AnswerConnections { request, response, port },
            ][which];
            let slices = Slices::new(warmup, window, windows).unwrap();
            let header = Header::new(mode, slices, Duration::from_nanos(grace)).unwrap();
            prop_assert_eq!(Header::decode(&header.encode()).unwrap(), header);
        }

        #[test]
        fn rubbish_is_refused(bytes in prop::collection::vec(any::<u8>(), LENGTH)) {
            let mut bytes: [u8; LENGTH] = bytes.try_into().unwrap();
            prop_assert!(Header::decode(&bytes).is_err());
            // With the right beginning, whatever is accepted is valid.
            bytes[..8].copy_from_slice(&MAGIC);
            bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(Header::new(header.mode, header.slices, header.grace).unwrap(), header);
            }
        }
    }
}
