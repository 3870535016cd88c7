//! Bulk transfer from client to server. What counts is what arrived, so the receiver counts it,
//! with its own clock, and returns its account over the same connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::client::{self, Phase, Session, readable};
use super::header::{Header, Mode};
use super::window::{MOST_WINDOWS, Slices};
use crate::clock;
use crate::lines::{Line, Lines};
use crate::samples::{Moments, Samples, Unit, Window};
use crate::sys;
use crate::wire::Job;

/// Bytes of one write and, at most, of one read.
pub(crate) const BLOCK: usize = 128 << 10;

/// Sent by the receiver once it has seen all its windows.
const ENOUGH: u8 = b'E';

/// Longest account: two numbers of twenty digits and four signs a window.
const LONGEST_ACCOUNT: usize = 1024 + MOST_WINDOWS as usize * 44;

/// What the receiver counted.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// Payload bytes in all, warm-up and rest included.
    pub(crate) total_bytes: u64,
    /// Bytes and reads of each window that was seen to its end.
    windows: Vec<(u64, u64)>,
}

/// The client: writes until the receiver has enough, then takes its account.
pub(crate) fn drive(job: &Job) -> Result<Samples> {
    let slices = Slices::of(job)?;
    let header = Header::new(Mode::Count, slices, job.grace)?;
    client::with_session(job, &header, move |session| send(session, slices))
}

fn send(session: &Session<'_>, slices: Slices) -> Result<Samples> {
    let mut stream = session.stream;
    let block = vec![0x6b; BLOCK];
    let mut sent_bytes = 0;
    let began_ns = clock::now() + slices.warmup_ns;
    let ends_ns = began_ns + slices.measured_ns();
    // The receiver's windows cannot be over before the client's: until then nothing is asked.
    loop {
        let now = clock::now();
        if now >= ends_ns && readable(stream)? {
            break;
        }
        let written = stream.write(&block);
        let phase = if now < began_ns { Phase::WarmUp } else { Phase::Measuring };
        match written {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            written => sent_bytes += written.map_err(|error| session.failure(phase, error))? as u64,
        }
    }

    let account = account_of(session)?;
    ensure!(
        account.total_bytes == sent_bytes,
        "{sent_bytes} bytes were sent and {} received",
        account.total_bytes
    );
    samples(slices, began_ns, &account)
}

/// The receiver's account, once the sending is over.
pub(crate) fn account_of(session: &Session<'_>) -> Result<Account> {
    collect(session.stream)
        .map_err(|error| session.failure(Phase::Collecting, error))
        .and_then(|text| Ok(serde_json::from_str::<Account>(&text)?))
        .context("the receiver's account cannot be read")
}

/// Ends the sending and reads what the receiver says after [`ENOUGH`].
pub(crate) fn collect(mut stream: &TcpStream) -> io::Result<String> {
    let rubbish = || io::Error::from(ErrorKind::InvalidData);
    let mut enough = [0];
    stream.read_exact(&mut enough)?;
    if enough != [ENOUGH] {
        return Err(rubbish());
    }
    stream.shutdown(Shutdown::Write)?;
    match Lines::new(stream, LONGEST_ACCOUNT).next_line()? {
        Some(Line::Text(text)) => Ok(text),
        Some(Line::TooLong) => Err(rubbish()),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// The samples of an account: one value a window, bytes a second.
pub(crate) fn samples(
    slices: Slices,
    began_monotonic_ns: u64,
    account: &Account,
) -> Result<Samples> {
    if account.windows.len() != slices.windows as usize {
        bail!("the receiver saw {} windows of {}", account.windows.len(), slices.windows);
    }
    let values: Vec<f64> = account
        .windows
        .iter()
        .map(|(bytes, _)| *bytes as f64 * 1e9 / slices.window_ns as f64)
        .collect();
    let windows = account.windows.iter().zip(0..).map(|((bytes, reads), number)| Window {
        start_ns: number * slices.window_ns,
        length_ns: slices.window_ns,
        operations: *reads,
        bytes: *bytes,
        ..Window::default()
    });
    Ok(Samples {
        unit: Unit::BytesPerSecond,
        moments: moments(&values),
        histogram: None,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(0.0, f64::max),
        windows: windows.collect(),
        values,
        began_monotonic_ns,
        measured_ns: slices.measured_ns(),
        // A transfer is one operation: its evidence is its bytes, packets come in any size.
        crossed_operations: 1,
        crossed_bytes: account.total_bytes,
        closed_view: None,
        loss: None,
        raw: None,
    })
}

/// Moments by Welford's recurrence (Technometrics 4, 1962).
fn moments(values: &[f64]) -> Moments {
    values.iter().fold(Moments::default(), |before, value| {
        let count = before.count + 1;
        let mean = before.mean + (value - before.mean) / count as f64;
        Moments { count, mean, m2: before.m2 + (value - before.mean) * (value - mean) }
    })
}

/// The server: counts what it receives until the client has ended, then gives its account.
///
/// Its windows begin with the first read after warm-up, and a read counts for the window in which
/// it ended.
///
/// # Errors
/// Those of the connection.
pub(crate) fn serve(stream: &TcpStream, slices: Slices) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    let account = count(stream, slices, || receive(stream, &mut block))?;
    tell(stream, &account)
}

/// Gives the client its account.
pub(crate) fn tell(mut stream: &TcpStream, account: &Account) -> io::Result<()> {
    let mut line = serde_json::to_vec(account)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Counts what `read` brings, bytes each time and 0 at the end, until it ends; tells the client over `stream` once all
/// windows were seen.
pub(crate) fn count(
    mut stream: &TcpStream,
    slices: Slices,
    mut read: impl FnMut() -> io::Result<u64>,
) -> io::Result<Account> {
    let mut account =
        Account { total_bytes: 0, windows: Vec::with_capacity(slices.windows as usize) };

    account.total_bytes += read()?;
    let warm_at = clock::now() + slices.warmup_ns;
    let mut window_ends_ns = loop {
        let bytes = read()?;
        let now = clock::now();
        account.total_bytes += bytes;
        if bytes == 0 || now >= warm_at {
            break now + slices.window_ns;
        }
    };
    let mut counted = (0, 0);
    while account.windows.len() < slices.windows as usize {
        let bytes = read()?;
        let now = clock::now();
        account.total_bytes += bytes;
        while now >= window_ends_ns && account.windows.len() < slices.windows as usize {
            account.windows.push(std::mem::take(&mut counted));
            window_ends_ns += slices.window_ns;
        }
        if bytes == 0 {
            break;
        }
        counted = (counted.0 + bytes, counted.1 + 1);
    }

    stream.write_all(&[ENOUGH])?;
    loop {
        match read()? {
            0 => return Ok(account),
            bytes => account.total_bytes += bytes,
        }
    }
}

/// Takes what arrives, as long as it does, at the default policy: it is load, and must not rank with what is measured.
///
/// # Errors
/// Those of the connection, and of leaving a policy.
pub(crate) fn sink(stream: &TcpStream) -> io::Result<()> {
    sys::become_ordinary()?;
    let mut block = vec![0; BLOCK];
    while receive(stream, &mut block)? > 0 {}
    Ok(())
}

/// Bytes of the next read; 0 at the end.
fn receive(mut stream: &TcpStream, block: &mut [u8]) -> io::Result<u64> {
    loop {
        match stream.read(block) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read.map(|bytes| bytes as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_without_bytes_is_a_stall_and_not_a_gap() {
        let slices = Slices::new(0, 500_000_000, 3).unwrap();
        let account = Account { total_bytes: 40, windows: vec![(10, 1), (0, 0), (20, 2)] };
        let samples = samples(slices, 5, &account).unwrap();
        assert_eq!(samples.values, [20.0, 0.0, 40.0]);
        assert_eq!((samples.min, samples.max, samples.moments.mean), (0.0, 40.0, 20.0));
        assert_eq!(samples.moments.m2, 800.0);
        assert_eq!(samples.windows[2].start_ns, 1_000_000_000);
    }

    #[test]
    fn an_account_of_too_few_windows_is_refused() {
        let slices = Slices::new(0, 1, 2).unwrap();
        assert!(samples(slices, 0, &Account { total_bytes: 0, windows: vec![(1, 1)] }).is_err());
    }

    #[test]
    fn the_longest_account_fits_its_bound() {
        let account = Account {
            total_bytes: u64::MAX,
            windows: vec![(u64::MAX, u64::MAX); MOST_WINDOWS as usize],
        };
        assert!(serde_json::to_vec(&account).unwrap().len() <= LONGEST_ACCOUNT);
    }
}
