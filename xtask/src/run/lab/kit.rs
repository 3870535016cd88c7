//! What a lab starts from: a kernel, an initramfs with the modules that containers and their networks need, and QEMU's command line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::guest::CONTROL_PORT;
use evenkeel_agent::guest::lab::{PLACE, SHARE};

use crate::artifact::cache::Cache;
use crate::artifact::initramfs::initramfs;
use crate::artifact::module::Modules;
use crate::artifact::rootfs::{Entry, RootFs};
use crate::axis::kernel::{self, ConfigFile, lock::Lock};
use crate::axis::virtualization::GUEST_CMDLINE;
use crate::axis::virtualization::accelerator::{self, Accelerator, QEMU};
use crate::matrix::Matrix;

/// What a lab cannot come up without: its bus, its control port, and the host's root under a layer.
const NEEDED: [&str; 5] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];

/// What the kinds of network, our tables and an engine's rules use. A kernel that lacks one fails those cells that need it, not the lab.
/// Nothing loads modules by itself in a lab, because its root has none for its kernel.
#[rustfmt::skip]
const WANTED: [&str; 46] = [
    // Found by the kernel under another name, which no module's `depends` tells.
    "crc32c_generic",
    "veth", "bridge", "br_netfilter", "tun", "macvlan", "ipvlan", "vxlan", "8021q", "sch_netem",
    "nf_conntrack", "nf_conntrack_netlink", "nf_nat", "nf_tables", "nf_log_syslog", "nfnetlink",
    "nft_chain_nat", "nft_compat", "nft_counter", "nft_ct", "nft_fib", "nft_fib_inet", "nft_limit",
    "nft_log", "nft_masq", "nft_nat", "nft_redir", "nft_reject", "nft_reject_inet",
    "ip_tables", "iptable_filter", "iptable_nat", "ip6_tables", "ip6table_filter", "ip6table_nat",
    "xt_MASQUERADE", "xt_addrtype", "xt_comment", "xt_conntrack", "xt_mark", "xt_multiport",
    "xt_nat", "xt_tcpudp", "xt_LOG", "ipt_REJECT", "ip6t_REJECT",
];

/// Memory of a lab, and the least that an engine with its images in memory does with, MB.
const MEMORY_MB: u64 = 2048;
const LEAST_MB: u64 = 1024;
/// The most CPUs of a lab.
const CPUS: usize = 4;

/// The host's root stays read-only, and files of different file systems stay different ones.
const SHARED: &str = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap";

/// The machine of every lab, without its devices, CPUs and memory.
#[rustfmt::skip]
const MACHINE: [&str; 9] = [
    "-machine", "q35,usb=off,vmport=off,smbus=off,sata=off,graphics=off",
    "-name", "evenkeel-lab,debug-threads=on",
    "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
];

/// What labs of one kernel start from.
#[derive(Clone, Debug)]
pub struct Kit {
    image: PathBuf,
    initramfs: PathBuf,
    cmdline: Vec<String>,
    /// What executes its instructions.
    pub accelerator: Accelerator,
    /// What `uname -r` must say inside.
    pub version: String,
    /// The file of its kernel's configuration, where there is one.
    pub config: Option<PathBuf>,
}

impl Kit {
    /// Fetches the kernel of this name in the matrix, and makes the lab's initramfs.
    ///
    /// # Errors
    /// It cannot be had, or lacks what a lab cannot do without.
    pub fn make(
        name: &str,
        matrix: &Matrix,
        cache: &Cache,
        lock: &Lock,
        agent: &Path,
    ) -> anyhow::Result<Kit> {
        let source = matrix.kernels.get(name);
        let source = source.with_context(|| format!("kernel `{name}` is not defined"))?;
        let found = kernel::resolve(cache, lock, source)?;
        let accelerator = accelerator::probe(cache, &found)?;
        let mut modules = NEEDED.to_vec();
        if let Some(folder) = &found.modules {
            let there = Modules::list(folder)?;
            modules.extend(WANTED.iter().filter(|name| there.has(name)));
        }
        let mut root = RootFs::base();
        root.put(Path::new(PLACE), Entry::Folder(0o755))?;
        let initramfs = initramfs(cache, &found, &modules, agent, root)?;
        let cmdline = source.cmdline.clone();
        Ok(Kit {
            image: found.image,
            initramfs,
            cmdline,
            accelerator,
            version: found.version,
            config: found.config,
        })
    }

    /// The file of its kernel's configuration, and which kernel's.
    pub fn config_file(&self) -> Option<ConfigFile> {
        let path = self.config.clone()?;
        Some(ConfigFile { path, version: self.version.clone() })
    }

    /// QEMU's command line for a lab on a host with so many CPUs. It has no network: what is measured stays inside.
    pub fn argv(&self, console: &Path, cpus: usize, memory_mb: u64) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut cmdline = GUEST_CMDLINE.to_owned();
        for word in &self.cmdline {
            cmdline.push(' ');
            cmdline.push_str(word);
        }
        let mut words = vec![QEMU.to_owned()];
        words.extend(self.accelerator.arguments().map(str::to_owned));
        words.extend(MACHINE.map(str::to_owned));
        #[rustfmt::skip]
        words.extend([
            "-smp", &cpus.clamp(1, CPUS).to_string(), "-m", &memory_mb.to_string(),
            "-kernel", &path(&self.image), "-initrd", &path(&self.initramfs), "-append", &cmdline,
            "-serial", &format!("file:{}", path(console)),
            "-fsdev", SHARED, "-device", &format!("virtio-9p-pci,fsdev=root,mount_tag={SHARE}"),
            "-device", "virtio-serial-pci",
            "-chardev", "stdio,id=control,signal=off",
            "-device", &format!("virtserialport,chardev=control,name={CONTROL_PORT}"),
        ].map(str::to_owned));
        words
    }
}

/// Memory for a lab on this host now: at most half of what is available.
///
/// # Errors
/// There is too little.
pub fn memory_mb() -> anyhow::Result<u64> {
    let path = "/proc/meminfo";
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {path}"))?;
    memory_of(&text)
}

/// `meminfo` is /proc/meminfo.
fn memory_of(meminfo: &str) -> anyhow::Result<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let Some(kb) = available else { bail!("/proc/meminfo does not say what is available") };
    let half = kb / 2048;
    ensure!(
        half >= LEAST_MB,
        "{} MB of memory are available, and a lab needs twice {LEAST_MB}: end something",
        kb / 1024
    );
    Ok(half.min(MEMORY_MB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_takes_half_of_what_is_available_and_refuses_to_starve() {
        let of = |mb: u64| memory_of(&format!("MemTotal: 1 kB\nMemAvailable: {} kB\n", mb * 1024));
        assert_eq!(of(24_000).unwrap(), 2048);
        assert_eq!(of(3000).unwrap(), 1500);
        let error = of(2000).unwrap_err().to_string();
        assert!(error.starts_with("2000 MB of memory are available"), "{error}");
        assert!(memory_of("").is_err());
    }

    #[test]
    fn a_lab_has_the_hosts_root_and_no_network() {
        let kit = Kit {
            image: "KERNEL".into(),
            initramfs: "INITRAMFS".into(),
            cmdline: vec!["preempt=full".into()],
            accelerator: Accelerator::Tcg { reason: String::new() },
            version: "6.1.0".into(),
            config: None,
        };
        insta::assert_snapshot!(kit.argv(Path::new("CONSOLE"), 64, 2048).join("\n"), @r"
        qemu-system-x86_64
        -accel
        tcg
        -cpu
        qemu64
        -machine
        q35,usb=off,vmport=off,smbus=off,sata=off,graphics=off
        -name
        evenkeel-lab,debug-threads=on
        -nodefaults
        -no-user-config
        -no-reboot
        -display
        none
        -smp
        4
        -m
        2048
        -kernel
        KERNEL
        -initrd
        INITRAMFS
        -append
        console=ttyS0 quiet panic=-1 preempt=full
        -serial
        file:CONSOLE
        -fsdev
        local,id=root,path=/,security_model=none,readonly=on,multidevs=remap
        -device
        virtio-9p-pci,fsdev=root,mount_tag=evenkeel.root
        -device
        virtio-serial-pci
        -chardev
        stdio,id=control,signal=off
        -device
        virtserialport,chardev=control,name=evenkeel.control
        ");
    }
}
