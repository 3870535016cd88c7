//! The files of `/proc` and `/sys` that show the noise, held open.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

use super::{Measured, Reading, mean, parse};
use crate::{clock, sys};

/// Largest file that is read, in bytes: `/proc/stat` grows with CPUs and interrupts.
const MOST_BYTES: usize = 4 << 20;

/// Most threads that are read.
const MOST_THREADS: usize = 256;

/// All files.
pub(super) struct Sources {
    stat: File,
    pressure: Option<File>,
    processes: Vec<u32>,
    threads: Vec<Thread>,
    frequencies: Vec<File>,
    ns_per_tick: u64,
    buffer: Vec<u8>,
}

impl Sources {
    /// Opens what there is to read about this machine and what is measured.
    ///
    /// # Errors
    /// `/proc/stat`, or a thread or process, cannot be opened. The rest may be missing.
    pub(super) fn open(measured: &[Measured]) -> Result<Sources> {
        let mut sources = Sources {
            stat: open("/proc/stat")?,
            pressure: File::open("/proc/pressure/cpu").ok(),
            processes: Vec::new(),
            threads: Vec::new(),
            frequencies: frequencies(),
            ns_per_tick: 1_000_000_000 / sys::ticks_per_second(),
            buffer: vec![0; 16 << 10],
        };
        for measured in measured {
            match *measured {
                Measured::Thread(id) => sources.threads.push(Thread::open(id, id)?),
                Measured::Process(id) => {
                    sources.threads.push(Thread::open(id, id)?);
                    sources.processes.push(id);
                }
            }
        }
        // Some kernels have the file of the pressure and refuse to read it (psi=0).
        let psi = sources.pressure.take();
        sources.pressure = psi.filter(|file| text(file, &mut sources.buffer).is_ok());
        Ok(sources)
    }

    /// Reads everything once.
    ///
    /// # Errors
    /// A file of the machine cannot be read or is not as documented. Threads may come and go.
    pub(super) fn read(&mut self) -> io::Result<Reading> {
        let at_ns = clock::now();
        let stat = text(&self.stat, &mut self.buffer)?;
        let (steal_ticks, softirqs) = parse::stat(stat).ok_or_else(|| rubbish("/proc/stat"))?;
        let pressure_ns = match &self.pressure {
            Some(file) => parse::pressure_ns(text(file, &mut self.buffer)?),
            None => None,
        };
        self.find_threads();
        for thread in &mut self.threads {
            thread.read(&mut self.buffer);
        }
        let buffer = &mut self.buffer;
        let frequencies = self.frequencies.iter();
        let frequency_khz =
            mean(frequencies.filter_map(|file| text(file, buffer).ok()?.trim().parse().ok()));
        Ok(Reading {
            at_ns,
            steal_ns: steal_ticks * self.ns_per_tick,
            softirqs,
            pressure_ns,
            involuntary_switches: self.threads.iter().map(|t| t.involuntary_switches).sum(),
            migrations: self.threads.iter().map(|thread| thread.migrations).sum(),
            frequency_khz,
        })
    }

    /// Opens the files of threads that the processes have started since the last reading.
    fn find_threads(&mut self) {
        for process in &self.processes {
            // A process that ended starts no more threads.
            let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for id in tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()) {
                if self.threads.len() < MOST_THREADS
                    && self.threads.iter().all(|thread| thread.id != id)
                    && let Ok(thread) = Thread::open(*process, id)
                {
                    self.threads.push(thread);
                }
            }
        }
    }
}

/// The files of one thread, and what they said last.
struct Thread {
    id: u32,
    status: File,
    sched: Option<File>,
    involuntary_switches: u64,
    migrations: Option<u64>,
}

impl Thread {
    fn open(process: u32, id: u32) -> Result<Thread> {
        let folder = format!("/proc/{process}/task/{id}");
        let sched = File::open(format!("{folder}/sched")).ok();
        Ok(Thread {
            id,
            status: open(&format!("{folder}/status"))?,
            // Shown by a kernel with CONFIG_SCHED_DEBUG, or not at all.
            migrations: sched.is_some().then_some(0),
            sched,
            involuntary_switches: 0,
        })
    }

    /// Takes the counters in. A thread that ended cannot be read any more: they keep their last values.
    fn read(&mut self, buffer: &mut Vec<u8>) {
        if let Ok(status) = text(&self.status, buffer)
            && let Some(switches) = parse::involuntary_switches(status)
        {
            self.involuntary_switches = switches;
        }
        if let Some(sched) = &self.sched
            && let Ok(sched) = text(sched, buffer)
            && let Some(migrations) = parse::migrations(sched)
        {
            self.migrations = Some(migrations);
        }
    }
}

fn open(path: &str) -> Result<File> {
    File::open(path).with_context(|| format!("failed to open `{path}`"))
}

fn rubbish(path: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("`{path}` is not as the kernel documents it"),
    )
}

/// The files that show the CPUs' frequencies; none in most guests.
fn frequencies() -> Vec<File> {
    (0..)
        .map(|cpu| File::open(format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq")))
        .map_while(Result::ok)
        .collect()
}

/// The text of a file of the kernel, from its beginning, in a buffer that grows as it must.
fn text<'a>(file: &File, buffer: &'a mut Vec<u8>) -> io::Result<&'a str> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if length >= MOST_BYTES {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            buffer.resize(length * 2, 0);
        }
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    std::str::from_utf8(&buffer[..length])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
