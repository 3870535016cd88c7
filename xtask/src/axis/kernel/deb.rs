//! Kernels out of Debian packages. The asked package is usually an empty one that depends on the
//! real one; that is downloaded by apt, checked, unpacked into the cache and never installed. What
//! was fetched once is found again without a network.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use evenkeel_agent::command;
use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::{GuestKernel, Package, image};
use crate::artifact::cache::{Cache, sha256_of_file};

const APT_ANSWERS: Duration = Duration::from_secs(30);
const DOWNLOADS: Duration = Duration::from_secs(600);
const UNPACKS: Duration = Duration::from_secs(300);
const REMEDY: &str = "run `apt-get update` or `cargo xtask doctor --provision`";

/// Starts of the names of packages that carry a part of a kernel; the first one carries the image.
const PARTS: [&str; 3] = ["linux-image-", "linux-modules-", "linux-binary-"];

/// What apt knows about a package.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Stanza {
    pub(super) package: Package,
    /// Names of packages that it depends on; of alternatives the first. Not kept in lock files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    depends: Vec<String>,
}

impl From<Package> for Stanza {
    fn from(package: Package) -> Stanza {
        Stanza { package, depends: Vec::new() }
    }
}

/// A package that a matrix asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: String,
    /// The suite that it is taken from; apt's choice where there is none.
    pub(super) suite: Option<String>,
}

impl Asked {
    /// A package of a suite, where `backports` is that of the host's release.
    ///
    /// # Errors
    /// No kernel's package, or a host that does not name its release.
    pub(super) fn new(name: &str, suite: Option<&str>) -> anyhow::Result<Asked> {
        is_kernel(name)?;
        let suite = match suite {
            Some("backports") => Some(format!("{}-backports", codename()?)),
            other => other.map(str::to_owned),
        };
        Ok(Asked { name: name.to_owned(), suite })
    }

    /// What apt knows of a package of the asked one's suite.
    fn show(&self, name: &str) -> anyhow::Result<String> {
        let Some(suite) = &self.suite else {
            return command::output(&["apt-cache", "show", "--no-all-versions", name], APT_ANSWERS);
        };
        let wanted = format!("{name}/{suite}");
        let argv = ["apt-cache", "show", "--no-all-versions", &wanted];
        // Of a suite that it does not have, apt says nothing, and that it went well.
        let text = command::output(&argv, APT_ANSWERS).unwrap_or_default();
        ensure!(
            !text.trim().is_empty(),
            "apt's lists have no `{name}` of suite `{suite}`: run `cargo xtask doctor --provision`, or add the suite to apt's sources"
        );
        Ok(text)
    }

    /// The packages that apt would take now.
    fn newest(&self) -> anyhow::Result<Vec<Stanza>> {
        let parts = parts(&self.name, |name| self.show(name))?;
        ensure!(
            parts.iter().any(|part| part.package.name.starts_with(PARTS[0])),
            "package `{}` leads to no kernel image",
            self.name
        );
        Ok(parts)
    }
}

fn is_kernel(asked: &str) -> anyhow::Result<()> {
    ensure!(
        asked.starts_with(PARTS[0])
            && asked.bytes().all(|b| b.is_ascii_alphanumeric() || b"-+.".contains(&b)),
        "`{asked}` is not the name of a kernel package: they start with `{}`",
        PARTS[0]
    );
    Ok(())
}

/// The host's release as its suites are named by (`bookworm`), from os-release(5).
fn codename() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let named = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let named = named.map(|name| name.trim_matches('"').to_owned()).filter(|name| !name.is_empty());
    named.context(
        "this host does not name its release: give `suite` in full, as in bookworm-backports",
    )
}

/// The kernel of a package, in the version that the lock file pins. A package that it does not pin is pinned to what apt
/// would take now.
///
/// # Errors
/// The pinned version is neither cached nor to be had any more, or there is none to pin. The message names package, lock and remedy.
pub(super) fn fetch(cache: &Cache, asked: &Asked, lock: &Lock) -> anyhow::Result<GuestKernel> {
    if let Some(parts) = lock.pinned(asked)? {
        return unpacked(cache, &asked.name, &parts).with_context(|| {
            format!(
                "kernel package `{}` is pinned by `{}` to a version that is not cached and cannot be fetched: run `cargo xtask plan --update-kernels` to pin the one that apt has now",
                asked.name,
                lock.path().display()
            )
        });
    }
    let parts = asked
        .newest()
        .with_context(|| format!("cannot get kernel package `{}`: {REMEDY}", asked.name))?;
    let kernel = unpacked(cache, &asked.name, &parts)
        .with_context(|| format!("cannot get kernel package `{}`: {REMEDY}", asked.name))?;
    lock.pin(asked, &parts)?;
    Ok(kernel)
}

/// Pins what apt would take now, and says what that is.
///
/// # Errors
/// Apt does not know it, or the lock file cannot be written.
pub(super) fn pin_newest(asked: &Asked, lock: &Lock) -> anyhow::Result<String> {
    let parts = asked
        .newest()
        .with_context(|| format!("cannot pin kernel package `{}`: {REMEDY}", asked.name))?;
    lock.pin(asked, &parts)?;
    let names: Vec<String> = parts
        .iter()
        .map(|part| format!("{} {}", part.package.name, part.package.version))
        .collect();
    Ok(names.join(", "))
}

/// The kernel of a package: the version that apt would install, or if apt cannot say or fetch it, the one
/// that the cache has.
///
/// # Errors
/// If neither apt nor the cache has it. The message names the package and a remedy.
pub(super) fn fetch_newest(cache: &Cache, asked: &str) -> anyhow::Result<GuestKernel> {
    is_kernel(asked)?;
    let remembered = format!("kernels/{asked}.json");
    let fresh = parts(asked, |name| {
        command::output(&["apt-cache", "show", "--no-all-versions", name], APT_ANSWERS)
    })
    .and_then(|parts| {
        let kernel = unpacked(cache, asked, &parts)?;
        cache.remember(&remembered, &parts)?;
        Ok(kernel)
    });
    fresh.or_else(|error| {
        let older: Option<Vec<Stanza>> = cache.recall(&remembered);
        let older = older.filter(|parts| cache.get(&entry_name(parts)).is_some());
        let Some(parts) = older else {
            return Err(error.context(format!("cannot get kernel package `{asked}`: {REMEDY}")));
        };
        let mut kernel = unpacked(cache, asked, &parts)?;
        kernel.provenance.push_str(&format!(", from the cache because apt failed: {error:#}"));
        Ok(kernel)
    })
}

/// The kernel of a package if the cache has one, without asking apt.
pub(super) fn cached(cache: &Cache, asked: &str) -> Option<GuestKernel> {
    let parts: Vec<Stanza> = cache.recall(&format!("kernels/{asked}.json"))?;
    cache.get(&entry_name(&parts))?;
    unpacked(cache, asked, &parts).ok()
}

/// Whether apt could fetch a package: the real package's name, or why not.
pub(super) fn fetchable(asked: &str) -> anyhow::Result<String> {
    let parts = parts(asked, |name| {
        command::output(&["apt-cache", "show", "--no-all-versions", name], APT_ANSWERS)
    })?;
    let names: Vec<&str> = parts.iter().map(|part| part.package.name.as_str()).collect();
    Ok(names.join(" "))
}

/// The packages that make up a kernel: what the asked one depends on, without those that are empty.
fn parts(
    asked: &str,
    show: impl Fn(&str) -> anyhow::Result<String>,
) -> anyhow::Result<Vec<Stanza>> {
    let mut waiting = vec![asked.to_owned()];
    let mut seen = Vec::new();
    let mut parts = Vec::new();
    while let Some(name) = waiting.pop() {
        if seen.contains(&name) {
            continue;
        }
        let text = show(&name)?;
        let stanza = read_stanza(&text)
            .with_context(|| format!("apt does not describe package `{name}`"))?;
        let carried = |name: &&String| PARTS.iter().any(|part| name.starts_with(part));
        waiting.extend(stanza.depends.iter().filter(carried).cloned());
        // A package that depends on another image has none of its own.
        if !stanza.depends.iter().any(|name| name.starts_with(PARTS[0])) {
            parts.push(stanza);
        }
        seen.push(name);
    }
    Ok(parts)
}

/// Reads the first stanza of what `apt-cache show` prints.
fn read_stanza(text: &str) -> Option<Stanza> {
    let stanza = text.split("\n\n").next()?;
    let field = |name: &str| {
        let is = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(": ");
        stanza.lines().find(is).map(|line| line[name.len() + 2..].trim().to_owned())
    };
    let depends = [field("Pre-Depends"), field("Depends")].into_iter().flatten();
    let depends = depends
        .flat_map(|list| list.split(',').map(first_name).collect::<Vec<_>>())
        .filter(|name| !name.is_empty())
        .collect();
    let package =
        Package { name: field("Package")?, version: field("Version")?, sha256: field("SHA256")? };
    Some(Stanza { package, depends })
}

/// `linux-image-x` of `linux-image-x:amd64 (= 6.1) | linux-image-y`.
fn first_name(alternatives: &str) -> String {
    let end = |c: char| c.is_whitespace() || "|(:".contains(c);
    alternatives.trim().split(end).next().unwrap_or_default().to_owned()
}

/// The cache's name for a kernel made of these packages.
fn entry_name(parts: &[Stanza]) -> String {
    let words = parts.iter().map(|Stanza { package, .. }| {
        let hash = package.sha256.get(..12).unwrap_or(&package.sha256);
        format!("{}_{}_{hash}", package.name, package.version)
    });
    format!("kernels/{}", words.collect::<Vec<_>>().join("_"))
}

/// Finds the unpacked packages in the cache, or downloads, checks and unpacks them.
fn unpacked(cache: &Cache, asked: &str, parts: &[Stanza]) -> anyhow::Result<GuestKernel> {
    let root = cache.folder(&entry_name(parts), |root| {
        let downloads =
            tempfile::tempdir_in(root).context("failed to make a folder in the cache")?;
        for Stanza { package, .. } in parts {
            download(package, downloads.path(), root).with_context(|| {
                format!("failed to fetch `{}` {}", package.name, package.version)
            })?;
        }
        downloads.close().context("failed to remove the downloads")
    })?;
    let kernel = image::newest_installed(&root)?;
    let kernel =
        kernel.with_context(|| format!("package `{asked}` holds no kernel with modules"))?;
    let package = parts.iter().map(|part| &part.package).find(|p| p.name.starts_with(PARTS[0]));
    let package = package.with_context(|| format!("package `{asked}` leads to no kernel image"))?;
    Ok(GuestKernel {
        provenance: format!("package {} {}", package.name, package.version),
        package: Some(package.clone()),
        ..kernel
    })
}

fn download(package: &Package, downloads: &Path, root: &Path) -> anyhow::Result<()> {
    let text =
        |path: &Path| path.to_str().map(str::to_owned).context("the cache's path is not UTF-8");
    let folder = tempfile::tempdir_in(downloads)?;
    let wanted = format!("{}={}", package.name, package.version);
    // `apt-get download` writes to its working folder. As root it would drop to a user who cannot.
    let argv = [
        "env",
        "-C",
        &text(folder.path())?,
        "apt-get",
        "-q",
        "-o",
        "APT::Sandbox::User=root",
        "download",
        &wanted,
    ];
    command::output(&argv, DOWNLOADS)?;
    let mut files = std::fs::read_dir(folder.path())?;
    let deb = files.next().context("`apt-get download` left no file")??.path();
    let found = sha256_of_file(&deb)?;
    if found != package.sha256 {
        bail!("the checksum is {found}, expected was {}", package.sha256);
    }
    command::output(&["dpkg-deb", "-x", &text(&deb)?, &text(root)?], UNPACKS).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "Package: linux-image-rt-amd64\nSource: linux-signed-amd64 (6.1.192+2)\n\
        Version: 6.1.192-2\nDepends: linux-image-6.1.0-56-rt-amd64 (= 6.1.192-2)\n\
        Description: Linux for 64-bit PCs (meta-package)\n Version: 0 is not a field here\nSHA256: e97e\n\n\
        Package: linux-image-rt-amd64\nVersion: 6.1.176-1\nSHA256: 0000\n";
    const REAL: &str = "Package: linux-image-6.1.0-56-rt-amd64\nVersion: 6.1.192-2\n\
        Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool\n\
        SHA256: 0123456789abcdef\n";
    const SPLIT: &str = "Package: linux-image-7-amd64\nVersion: 7-1\n\
        Pre-Depends: linux-binary-7-amd64:amd64\nDepends: linux-modules-7-amd64 (= 7-1), kmod\nSHA256: aa\n";

    #[test]
    fn an_empty_package_leads_to_the_real_one() {
        let found = parts("linux-image-rt-amd64", |name| {
            Ok(if name == "linux-image-rt-amd64" { META } else { REAL }.to_owned())
        });
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        let expected = Package {
            name: "linux-image-6.1.0-56-rt-amd64".to_owned(),
            version: "6.1.192-2".to_owned(),
            sha256: "0123456789abcdef".to_owned(),
        };
        assert_eq!(found[0].package, expected);
        assert_eq!(
            entry_name(&found),
            "kernels/linux-image-6.1.0-56-rt-amd64_6.1.192-2_0123456789ab"
        );
    }

    #[test]
    fn a_kernel_in_several_packages_is_collected() {
        let found = parts("linux-image-7-amd64", |name| {
            let other = format!(
                "Package: {name}\nVersion: 7-1\nDepends: linux-image-7-amd64\nSHA256: bb\n"
            );
            let plain = format!("Package: {name}\nVersion: 7-1\nSHA256: bb\n");
            Ok(match name {
                "linux-image-7-amd64" => SPLIT.to_owned(),
                "linux-meta-amd64" => other,
                _ => plain,
            })
        });
        let mut names: Vec<String> = found.unwrap().into_iter().map(|s| s.package.name).collect();
        names.sort();
        assert_eq!(names, ["linux-binary-7-amd64", "linux-image-7-amd64", "linux-modules-7-amd64"]);
    }

    #[test]
    fn packages_that_depend_on_each_other_end() {
        let found = parts("linux-image-a", |name| {
            let other = if name == "linux-image-a" { "linux-image-b" } else { "linux-image-a" };
            Ok(format!("Package: {name}\nVersion: 1\nDepends: {other}\nSHA256: 00\n"))
        });
        assert_eq!(found.unwrap(), []);
    }

    #[test]
    fn a_suite_that_apt_does_not_have_is_named() {
        let asked = Asked::new("linux-image-amd64", Some("warty")).unwrap();
        let error = format!("{:#}", asked.newest().unwrap_err());
        assert!(error.contains("of suite `warty`") && error.contains("--provision"), "{error}");
    }

    #[test]
    fn without_apt_and_cache_the_error_names_package_and_remedy() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        let error = fetch_newest(&cache, "linux-image-of-nobody-amd64").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("`linux-image-of-nobody-amd64`") && text.contains(REMEDY), "{text}");
        for wrong in ["bash", "linux-image-x; reboot", "linux-image-../x"] {
            let error = fetch_newest(&cache, wrong).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{wrong}` is not")), "{error}");
        }
    }
}
