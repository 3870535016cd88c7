//! How long a guest takes from the start of its process to the first measured packet, beside the same kernel booted bare to its
//! init: in the same machine without devices or modules, and with this program for an init that ends at once. The kernel panics at
//! that, and the machine ends.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use evenkeel_agent::command;

use super::runs::{Boot, Runs};
use super::table::{Must, Row, middle};
use crate::artifact::cache::Cache;
use crate::artifact::initramfs::initramfs;
use crate::artifact::rootfs::{Entry, RootFs};
use crate::axis::kernel;
use crate::axis::virtualization::accelerator::{self, QEMU};
use crate::axis::virtualization::{GUEST_CMDLINE, GUEST_MACHINE};

/// Over the bare boot.
const MOST: f64 = 1.3;

/// Deadline of the bare boot; an emulated one takes seconds.
const BARE: Duration = Duration::from_secs(60);

/// The name under which this program is neither an agent nor an init: asked for its version, it ends at once.
const BARE_INIT: &str = "/bare";

/// What a kernel says when its init ends.
const INIT_ENDED: &str = "Attempted to kill init";

const WARMUP_MS: f64 = 1.0;

const MATRIX: &str = r#"schema = 1
name = "guest"
[axes]
kernel = ["running"]
virtualization = ["qemu"]
network = ["bridge"]
[measure]
workloads = ["tcp-rr"]
boots = 8
warmup = "1ms"
window = "10ms"
windows = 3
"#;

/// The row.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let (mut bare, mut failed) = (Vec::new(), None);
    let done = runs.run(MATRIX, &mut |_, _| match bare_boot() {
        Ok(took) => bare.push(took),
        Err(error) => failed = Some(format!("{error:#}")),
    })?;
    let (what, must) = ("guest's start to first packet / bare boot to init", Must::AtMost(MOST));
    let ours: Vec<f64> = done.boots.iter().filter_map(to_first_packet).collect();
    if let Some(why) = failed.or_else(|| ours.is_empty().then(|| done.why_not("qemu"))) {
        return Ok(vec![Row::missing(what, must, why)]);
    }
    let note = format!("{} ms and {} ms", middle(&ours), middle(&bare));
    Ok(vec![Row::ratio_of(what, &bare, &ours, must, note)])
}

/// From when processes were started to the first measured packet, milliseconds.
fn to_first_packet(boot: &Boot) -> Option<f64> {
    let (_, started_ns) = boot.entered_ns.iter().find(|(phase, _)| phase == "hold")?;
    let samples = &boot.record.workloads.first()?.samples;
    let until_ns = samples.began_monotonic_ns.checked_sub(*started_ns)?;
    Some(until_ns as f64 / 1e6 - WARMUP_MS)
}

/// The same kernel in the same machine, to the end of its init; milliseconds.
fn bare_boot() -> anyhow::Result<f64> {
    let cache = Cache::open()?;
    let kernel = kernel::cached(&cache).context("no guest kernel is cached")?;
    let accelerator = accelerator::probe(&cache, &kernel)?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let mut root = RootFs::base();
    root.put(Path::new(BARE_INIT), Entry::Link("/init".to_owned()))?;
    let initramfs = initramfs(&cache, &kernel, &[], &program, root)?;
    let [image, initramfs] = [&kernel.image, &initramfs].map(|path| path.to_string_lossy());
    let cmdline = format!("{GUEST_CMDLINE} rdinit={BARE_INIT} -- --version");
    let mut argv = vec![QEMU];
    argv.extend(accelerator.arguments());
    argv.extend(GUEST_MACHINE);
    argv.extend(["-kernel", &image, "-initrd", &initramfs, "-append", &cmdline]);
    argv.extend(["-serial", "stdio"]);
    let began = Instant::now();
    let ended = command::run(&argv, BARE)?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    let said = String::from_utf8_lossy(&ended.stdout);
    anyhow::ensure!(
        said.contains(INIT_ENDED),
        "the bare kernel did not start its init: {}",
        ended.last_words()
    );
    Ok(took)
}
