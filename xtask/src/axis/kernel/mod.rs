//! Kernels that a guest can boot, and where they come from: a Debian package that is fetched and
//! unpacked but never installed, or an image that somebody built.

mod deb;
mod image;
pub mod lock;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use crate::artifact::cache::Cache;
use crate::matrix::KernelSource;

use lock::Lock;

/// The package that `running` means for a guest: Debian's kernel for virtual machines.
const DEFAULT_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel on disk, ready to boot.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GuestKernel {
    /// The image (bzImage).
    pub image: PathBuf,
    /// The folder of its modules (`lib/modules/VERSION`); absent if everything is built in.
    pub modules: Option<PathBuf>,
    /// What `uname -r` will say.
    pub version: String,
    /// The package that it came from, if any.
    pub package: Option<Package>,
    /// Its configuration, where there is one.
    pub config: Option<PathBuf>,
    /// Where it came from, in words; says so if an older one was taken from the cache.
    pub provenance: String,
}

/// The configuration of a kernel, and which kernel's.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// The file.
    pub path: PathBuf,
    /// `uname -r` of its kernel.
    pub version: String,
}

/// A package, pinned.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the `.deb`, in hexadecimal.
    pub sha256: String,
}

/// The kernel of a source in a matrix.
///
/// # Errors
/// If it can neither be fetched nor found in the cache, or is not a kernel that this machine can boot.
pub fn resolve(cache: &Cache, lock: &Lock, source: &KernelSource) -> anyhow::Result<GuestKernel> {
    match (&source.deb, &source.image) {
        (Some(package), _) => {
            deb::fetch(cache, &deb::Asked::new(package, source.suite.as_deref())?, lock)
        }
        (None, Some(image)) => {
            image::built(Path::new(image), source.modules.as_deref().map(Path::new))
        }
        (None, None) => running(cache),
    }
}

/// Pins the newest version that apt has of a source's package, in place of an older one. Nothing is fetched.
///
/// # Errors
/// Apt does not know the package or its suite, or the lock file cannot be written.
pub fn update(lock: &Lock, source: &KernelSource) -> anyhow::Result<Option<String>> {
    let Some(package) = &source.deb else { return Ok(None) };
    deb::pin_newest(&deb::Asked::new(package, source.suite.as_deref())?, lock).map(Some)
}

/// What `running` would mean for a guest, if it is cached already.
pub fn cached(cache: &Cache) -> Option<GuestKernel> {
    deb::cached(cache, DEFAULT_PACKAGE)
}

/// Where a guest's kernel would come from, without fetching it.
///
/// # Errors
/// There is none to be had, with the reason.
pub fn available(cache: &Cache) -> Result<Vec<String>, String> {
    if let Some(kernel) = cached(cache) {
        return Ok(vec![format!("{} (cached)", kernel.version)]);
    }
    let no_package = match deb::fetchable(DEFAULT_PACKAGE) {
        Ok(package) => return Ok(vec![format!("package {package}")]),
        Err(error) => error,
    };
    match image::newest_installed(Path::new("/")) {
        Ok(Some(kernel)) => Ok(vec![format!("{} (installed)", kernel.version)]),
        Ok(None) => Err(format!("no kernel is cached or installed, and {no_package:#}")),
        Err(error) => Err(format!("{error:#}; {no_package:#}")),
    }
}

/// What `running` means for a guest, which does not run the host's kernel: Debian's kernel for virtual
/// machines, or if that cannot be had, the newest one that is installed on this host.
///
/// # Errors
/// If there is neither.
pub fn running(cache: &Cache) -> anyhow::Result<GuestKernel> {
    deb::fetch_newest(cache, DEFAULT_PACKAGE).or_else(|no_package| {
        image::newest_installed(Path::new("/"))
            .and_then(|found| {
                found.context("no kernel with modules is installed on this host either")
            })
            .map_err(|not_installed| anyhow!("{no_package:#}; {not_installed:#}"))
    })
}
