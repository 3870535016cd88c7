//! How long a guest takes from the start of its process to the first measured packet, beside the same kernel booted bare to its
//! init: in the same machine without devices or modules, and with this program for an init that ends at once. The kernel panics at
//! that, and the machine ends.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use evenkeel_agent::command;

use super::runs::{self, Boot, Done, Runs};
use super::table::{Must, Row, middle};
use crate::artifact::cache::Cache;
use crate::artifact::initramfs::initramfs;
use crate::artifact::rootfs::{Entry, RootFs};
use crate::axis::kernel::lock::Lock;
use crate::axis::kernel::{self, GuestKernel};
use crate::axis::virtualization::accelerator::{self, QEMU};
use crate::axis::virtualization::{GUEST_CMDLINE, GUEST_COMMON, GUEST_MACHINE};
use crate::matrix::SHIPPED;

/// Over the bare boot.
const MUST: Must = Must::AtMost(1.3);

/// Deadline of the bare boot; an emulated one takes seconds.
const BARE: Duration = Duration::from_secs(60);

/// The name under which this program is neither an agent nor an init: asked for its version, it ends at once.
const BARE_INIT: &str = "/bare";

/// What a kernel says when its init ends.
const INIT_ENDED: &str = "Attempted to kill init";

const WARMUP_MS: f64 = 1.0;

/// Boots of each kernel, as pairs: a guest, and right after it the bare boot of its kernel.
const MATRIX: &str = r#"schema = 1
name = "guest"
[axes]
kernel = [KERNELS]
virtualization = ["qemu"]
network = ["bridge"]
[measure]
workloads = ["tcp-rr"]
boots = 8
warmup = "1ms"
window = "10ms"
windows = 3
"#;

/// A row for each shipped kernel. They alternate, as cells do: pairs of all kernels in every block, in an order of its own.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let cache = Cache::open()?;
    let lock = Lock::of(Path::new("."), runs.state());
    let sources = runs::parse(&matrix(&SHIPPED.map(|(name, ..)| name)))?.kernels;
    let bare = |name: &str| -> anyhow::Result<Bare> {
        let source = sources.get(name).with_context(|| format!("kernel `{name}` is unknown"))?;
        Bare::of(&cache, &kernel::resolve(&cache, &lock, source)?)
    };
    let kernels = SHIPPED.map(|(name, ..)| (name, bare(name)));
    let had: Vec<(&str, &Bare)> =
        kernels.iter().filter_map(|(name, bare)| Some((*name, bare.as_ref().ok()?))).collect();
    let names: Vec<&str> = had.iter().map(|(name, _)| *name).collect();
    let mut booted: Vec<anyhow::Result<f64>> = Vec::new();
    let done = match names.is_empty() {
        true => None,
        false => Some(runs.run(&matrix(&names), &mut |_, cell| {
            let of_cell = had.iter().find(|(name, _)| cell.split('/').next() == Some(name));
            booted.push(
                of_cell.context("a kernel that nobody asked for").and_then(|(_, bare)| bare.boot()),
            );
        })?),
    };
    let row = |(name, bare): &(&str, anyhow::Result<Bare>)| {
        let what = format!("guest's start to first packet / bare boot to init, {name}");
        match (bare, &done) {
            (Ok(bare), Some(done)) => pairs(&what, name, bare, done, &booted),
            (Err(why), _) => Row::missing(&what, MUST, format!("{why:#}")),
            (Ok(_), None) => Row::missing(&what, MUST, "nothing was run".to_owned()),
        }
    };
    Ok(kernels.iter().map(row).collect())
}

fn matrix(kernels: &[&str]) -> String {
    let quoted: Vec<String> = kernels.iter().map(|name| format!("\"{name}\"")).collect();
    MATRIX.replace("KERNELS", &quoted.join(", "))
}

/// The row of a kernel. `booted` has how long each bare boot took, in the order of the guests' boots.
fn pairs(what: &str, name: &str, bare: &Bare, done: &Done, booted: &[anyhow::Result<f64>]) -> Row {
    let of_kernel = |boot: &&Boot| boot.record.cell.split('/').next() == Some(name);
    let (mut ours, mut theirs, mut why) = (Vec::new(), Vec::new(), None);
    for boot in done.boots.iter().filter(of_kernel) {
        match (to_first_packet(boot), booted.get(boot.nth)) {
            (Some(guest), Some(Ok(bare))) => {
                ours.push(guest);
                theirs.push(*bare);
            }
            (_, Some(Err(error))) => why = Some(format!("{error:#}")),
            (None, _) | (_, None) => {}
        }
    }
    if ours.is_empty() {
        return Row::missing(what, MUST, why.unwrap_or_else(|| done.why_not_kernel(name)));
    }
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(guest, bare)| guest / bare).collect();
    let note = format!(
        "{} ms and {} ms, {} pairs of {}, {}",
        middle(&ours),
        middle(&theirs),
        ratios.len(),
        bare.version,
        bare.accelerator
    );
    Row::ratio(what, &ratios, MUST, note)
}

/// From when processes were started to the first measured packet, milliseconds.
fn to_first_packet(boot: &Boot) -> Option<f64> {
    let (_, started_ns) = boot.entered_ns.iter().find(|(phase, _)| phase == "hold")?;
    let samples = &boot.record.workloads.first()?.samples;
    let until_ns = samples.began_monotonic_ns.checked_sub(*started_ns)?;
    Some(until_ns as f64 / 1e6 - WARMUP_MS)
}

/// A kernel that is booted bare.
struct Bare {
    /// What `uname -r` would say.
    version: String,
    /// What executes its instructions.
    accelerator: &'static str,
    argv: Vec<String>,
}

impl Bare {
    fn of(cache: &Cache, kernel: &GuestKernel) -> anyhow::Result<Bare> {
        let accelerator = accelerator::probe(cache, kernel)?;
        let program = std::env::current_exe().context("failed to find this program's own file")?;
        let mut root = RootFs::base();
        root.put(Path::new(BARE_INIT), Entry::Link("/init".to_owned()))?;
        let initramfs = initramfs(cache, kernel, &[], &program, root)?;
        let [image, initramfs] = [&kernel.image, &initramfs].map(|path| path.to_string_lossy());
        let cmdline = format!("{GUEST_CMDLINE} rdinit={BARE_INIT} -- --version");
        let mut argv = vec![QEMU];
        argv.extend(accelerator.arguments());
        argv.extend(["-machine", GUEST_MACHINE]);
        argv.extend(GUEST_COMMON);
        argv.extend(["-smp", "1", "-kernel", &image, "-initrd", &initramfs, "-append", &cmdline]);
        argv.extend(["-serial", "stdio"]);
        Ok(Bare {
            version: kernel.version.clone(),
            accelerator: accelerator.name(),
            argv: argv.into_iter().map(str::to_owned).collect(),
        })
    }

    /// The same kernel in the same machine, to the end of its init; milliseconds.
    fn boot(&self) -> anyhow::Result<f64> {
        let argv: Vec<&str> = self.argv.iter().map(String::as_str).collect();
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
}
