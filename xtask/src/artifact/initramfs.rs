//! The initramfs of a guest: our own binary as init, the modules that reach its devices in the
//! order of loading, and whatever tools the measuring needs. It is not compressed: unpacking
//! costs an emulated CPU more than reading costs the host.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context;
use evenkeel_agent::guest::MODULE_LIST;

use super::cache::Cache;
use super::module::Modules;
use super::rootfs::{Entry, RootFs, Source};
use crate::axis::kernel::GuestKernel;

/// Makes the initramfs of a kernel, or finds it in the cache, where it is named by its contents.
/// `agent` is a static binary that is the init of a guest when it is called `/init`;
/// `tools` is what else is in the root.
///
/// # Errors
/// If the kernel lacks a module, a file cannot be read, or the cache cannot be written.
pub fn initramfs(
    cache: &Cache,
    kernel: &GuestKernel,
    modules: &[&str],
    agent: &Path,
    tools: RootFs,
) -> anyhow::Result<PathBuf> {
    let root = root(kernel, modules, agent, tools)
        .with_context(|| format!("cannot make an initramfs for kernel {}", kernel.version))?;
    let folder = cache.folder(&format!("initramfs/{}", root.digest()?), |folder| {
        let file = File::create(folder.join("initramfs.cpio"))?;
        root.write_cpio(BufWriter::new(file))
    })?;
    Ok(folder.join("initramfs.cpio"))
}

fn root(
    kernel: &GuestKernel,
    modules: &[&str],
    agent: &Path,
    mut root: RootFs,
) -> anyhow::Result<RootFs> {
    root.put(Path::new("/init"), Entry::File(Source::Host(agent.to_owned()), 0o755))?;
    // The kernel opens the console for init before init can make devices.
    root.put(Path::new("/dev/console"), Entry::Device(5, 1))?;
    root.put(Path::new("/dev/null"), Entry::Device(1, 3))?;
    let mut list = String::new();
    if let Some(folder) = &kernel.modules {
        for module in Modules::list(folder)?.closure(modules)? {
            let path = format!("/lib/modules/{}.ko", module.name);
            root.put(Path::new(&path), Entry::File(Source::Bytes(module.bytes), 0o644))?;
            list.push_str(&path);
            list.push('\n');
        }
    }
    let list = Source::Bytes(list.into_bytes());
    root.put(Path::new(MODULE_LIST), Entry::File(list, 0o644))?;
    Ok(root)
}
