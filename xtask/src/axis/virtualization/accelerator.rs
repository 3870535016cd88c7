//! Whether guests run under KVM or are emulated. A `/dev/kvm` that opens and even makes a machine
//! proves nothing: paravirtual nested KVM may run firmware and never a kernel. So a kernel is booted
//! once, under a watchdog, and the answer is remembered.

use std::fs::OpenOptions;
use std::time::Duration;

use anyhow::Context;
use evenkeel_agent::command::{self, Ended};
use serde::{Deserialize, Serialize};

use crate::artifact::cache::Cache;
use crate::axis::kernel::GuestKernel;

/// The program that runs guests.
pub const QEMU: &str = "qemu-system-x86_64";

/// A working KVM boots in well under a second, a slow nested one in two.
const WATCHDOG: Duration = Duration::from_secs(5);
/// And this is given to one that did not.
const SURELY: Duration = Duration::from_secs(15);
const ANSWERS: Duration = Duration::from_secs(10);
/// What a kernel without an initramfs says when it has come up: everything before this has worked.
const CAME_UP: &str = "Unable to mount root fs";

/// What executes a guest's instructions. Part of a cell's fingerprint: never compared across.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Accelerator {
    /// The CPU itself.
    Kvm,
    /// QEMU's translator.
    Tcg {
        /// Why it is not KVM.
        reason: String,
    },
}

impl Accelerator {
    /// The accelerator as a fact: `kvm` or `tcg`.
    pub fn name(&self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg { .. } => "tcg",
        }
    }

    /// QEMU's arguments for it. The emulated CPU is named so that it stays the same: `max` would
    /// change with QEMU, boots slower, and hangs with an emulated IOMMU.
    pub fn arguments(&self) -> [&'static str; 4] {
        match self {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accelerator::Tcg { .. } => ["-accel", "tcg", "-cpu", "qemu64"],
        }
    }
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Accelerator::Kvm => f.write_str(self.name()),
            Accelerator::Tcg { reason } => write!(f, "{} ({reason})", self.name()),
        }
    }
}

/// Finds out what guests run on here, by booting `kernel` under KVM if there is one. Takes a few
/// seconds the first time where KVM does not work; remembered by the versions of the host's kernel, of QEMU
/// and of the guest's kernel.
///
/// # Errors
/// If there is no QEMU, or the cache cannot be written.
pub fn probe(cache: &Cache, kernel: &GuestKernel) -> anyhow::Result<Accelerator> {
    let qemu = command::output(&[QEMU, "--version"], ANSWERS).context(
        "no guest can run: install qemu-system-x86 or run `cargo xtask doctor --provision`",
    )?;
    let qemu = qemu.lines().next().unwrap_or_default();
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Ok(Accelerator::Tcg { reason: format!("/dev/kvm: {error}") });
    }
    let host = nix::sys::utsname::uname().context("failed to ask for the host's kernel")?;
    let host = host.release().to_string_lossy();
    let name = entry_name(&[&host, qemu, &kernel.version]);
    if let Some(known) = cache.recall(&name) {
        return Ok(known);
    }
    let image = kernel.image.to_str().context("the kernel's path is not UTF-8")?;
    let mut ended = command::run(&trial(image), WATCHDOG)?;
    if ended.timed_out {
        // What is remembered must not be that this host was busy at the moment.
        ended = command::run(&trial(image), SURELY)?;
    }
    let found = judge(&ended);
    cache.remember(&name, &found)?;
    Ok(found)
}

/// Whether KVM boots a guest: how it went, or why not. For a survey, which says it in words.
///
/// # Errors
/// Why it does not.
pub fn kvm_boots(cache: &Cache) -> Result<String, String> {
    let kernel =
        crate::axis::kernel::cached(cache).ok_or("no guest kernel is cached to try it with")?;
    match probe(cache, &kernel) {
        Ok(Accelerator::Kvm) => Ok(format!("boots {}", kernel.version)),
        Ok(Accelerator::Tcg { reason }) => Err(reason),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// The smallest machine that shows whether a kernel comes up. It has no root, so the kernel
/// panics at the end, and the machine resets, which ends QEMU.
fn trial(image: &str) -> [&str; 20] {
    [
        QEMU,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        "q35",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        "256",
        "-kernel",
        image,
        "-append",
        "console=ttyS0 quiet panic=-1",
        "-serial",
        "stdio",
    ]
}

fn judge(ended: &Ended) -> Accelerator {
    if String::from_utf8_lossy(&ended.stdout).contains(CAME_UP) {
        return Accelerator::Kvm;
    }
    let reason = if ended.timed_out {
        format!("/dev/kvm is there, but no kernel came up under it within {SURELY:?}")
    } else {
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let last = stderr.lines().rfind(|line| !line.trim().is_empty());
        format!("/dev/kvm is there, but QEMU ended: {}", last.unwrap_or("the guest reset itself"))
    };
    Accelerator::Tcg { reason }
}

/// A file name that is different for different versions, and readable.
fn entry_name(versions: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-.+".contains(c) { c } else { '_' };
    let words = versions.iter().map(|version| version.chars().map(plain).collect::<String>());
    format!("accelerator/{}.json", words.collect::<Vec<_>>().join("--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: Option<i32>, stdout: &str, stderr: &str) -> Ended {
        let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        Ended { code, timed_out: code.is_none(), stdout, stderr }
    }

    #[test]
    fn only_a_kernel_that_came_up_is_kvm() {
        let panic = "[ 0.5] VFS: Unable to mount root fs on unknown-block(0,0)\r\n";
        assert_eq!(judge(&ended(Some(0), panic, "qemu: warning")), Accelerator::Kvm);
        let reason = |ended: &Ended| match judge(ended) {
            Accelerator::Tcg { reason } => reason,
            Accelerator::Kvm => panic!("nothing came up"),
        };
        assert!(
            reason(&ended(None, "SeaBIOS", "")).ends_with("no kernel came up under it within 15s")
        );
        let refused =
            reason(&ended(Some(1), "", "warning\nfailed to initialize kvm: Device busy\n"));
        assert!(
            refused.ends_with("QEMU ended: failed to initialize kvm: Device busy"),
            "{refused}"
        );
        assert!(reason(&ended(Some(0), "", "")).ends_with("the guest reset itself"));
    }

    #[test]
    fn an_answer_is_remembered_under_all_three_versions() {
        let name = entry_name(&["6.18.44", "QEMU emulator version 7.2 (Debian 1:7.2/x)", "6.1.0"]);
        assert_eq!(
            name,
            "accelerator/6.18.44--QEMU_emulator_version_7.2__Debian_1_7.2_x_--6.1.0.json"
        );
    }
}
