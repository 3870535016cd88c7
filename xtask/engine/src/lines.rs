//! Reads lines of bounded length from a stream that may carry rubbish.

use std::io::{self, BufRead, BufReader, Read};

/// Longest line of a control channel, in bytes.
pub const CONTROL_LINE: usize = 4 << 20;

/// One line of a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its end. Bytes that are not UTF-8 are replaced.
    Text(String),
    /// A line that was longer than the bound; it was read to its end and dropped.
    TooLong,
}

/// Reads a stream line by line and never holds more than one bounded line.
pub struct Lines<R> {
    reader: BufReader<R>,
    bound: usize,
}

impl<R: Read> Lines<R> {
    /// Reads `reader`; lines of more than `bound` bytes come out as [`Line::TooLong`].
    pub fn new(reader: R, bound: usize) -> Lines<R> {
        Lines { reader: BufReader::new(reader), bound }
    }

    /// The next line, or nothing at the end of the stream. A last line without an end counts.
    ///
    /// # Errors
    /// Those of the stream, interruptions excepted.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let mut length = 0;
        let ended = loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            let (taken, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(at) => (&chunk[..at], true),
                None => (chunk, chunk.is_empty()),
            };
            length += taken.len();
            if length <= self.bound {
                text.extend_from_slice(taken);
            } else {
                text = Vec::new();
            }
            let at_end_of_stream = chunk.is_empty();
            let consumed = taken.len() + usize::from(ended && !at_end_of_stream);
            self.reader.consume(consumed);
            if ended {
                break !at_end_of_stream;
            }
        };
        Ok(match (ended, length) {
            (false, 0) => None,
            (_, length) if length > self.bound => Some(Line::TooLong),
            _ => Some(Line::Text(String::from_utf8_lossy(&text).into_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8], bound: usize) -> Vec<Line> {
        let mut lines = Lines::new(bytes, bound);
        std::iter::from_fn(|| lines.next_line().unwrap()).collect()
    }

    #[test]
    fn a_long_line_is_dropped_and_the_next_one_read() {
        let text = |text: &str| Line::Text(text.to_owned());
        assert_eq!(
            all(b"ab\n\nabcd\nabcde\nf", 4),
            [text("ab"), text(""), text("abcd"), Line::TooLong, text("f")]
        );
        assert_eq!(all(b"abcdef", 4), [Line::TooLong]);
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_standard_library(text in "[a-c\n]{0,200}") {
            let expected: Vec<Line> = text.split_terminator('\n').map(|line| Line::Text(line.to_owned())).collect();
            prop_assert_eq!(all(text.as_bytes(), 1000), expected);
        }
    }
}
