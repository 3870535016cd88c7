//! What asks a run to end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;

/// Set once by SIGINT, SIGTERM or a terminal that goes away (SIGHUP). A second one changes nothing: the host is being restored.
///
/// # Errors
/// The kernel refuses a handler.
pub fn catch_signals() -> anyhow::Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Under `nohup` a run is meant to go on without its terminal.
        if signal == SIGHUP && is_ignored(signal) {
            continue;
        }
        signal_hook::flag::register(signal, Arc::clone(&flag))
            .context("failed to catch signals")?;
    }
    Ok(flag)
}

/// Whether this process was started with a signal ignored (`SigIgn` of proc(5): a mask in hexadecimal).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
