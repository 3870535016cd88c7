//! Kernel images: what one says about itself, and whether it fits its modules.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::GuestKernel;
use crate::artifact::module::Modules;

/// Bytes of an image that hold its header and the version string, which a 16-bit offset points to.
const HEAD: u64 = 0x1_0000 + 0x200 + 0x400;

/// A kernel that somebody built.
///
/// # Errors
/// If the image is not a kernel for this architecture, or the modules belong to another one.
pub(super) fn built(image: &Path, modules: Option<&Path>) -> anyhow::Result<GuestKernel> {
    let version = version(image)?;
    if let Some(folder) = modules {
        belongs(folder, &version)
            .with_context(|| format!("the modules do not fit the kernel `{}`", image.display()))?;
    }
    let config = image.with_file_name(format!("config-{version}"));
    Ok(GuestKernel {
        provenance: format!("image `{}`", image.display()),
        image: image.to_owned(),
        modules: modules.map(Path::to_owned),
        package: None,
        config: config.exists().then_some(config),
        version,
    })
}

/// The kernel in a tree that is laid out like a root (`boot/vmlinuz-VERSION`, `lib/modules/VERSION`);
/// the newest, if there are several, and nothing if there is none.
///
/// # Errors
/// If the newest one is damaged.
pub(super) fn newest_installed(root: &Path) -> anyhow::Result<Option<GuestKernel>> {
    let Ok(boot) = fs::read_dir(root.join("boot")) else { return Ok(None) };
    let versions = boot.filter_map(|entry| {
        Some(entry.ok()?.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned())
    });
    let modules_of = |version: &str| -> Option<PathBuf> {
        let folders = ["lib/modules", "usr/lib/modules"].map(|at| root.join(at).join(version));
        folders.into_iter().find(|folder| folder.is_dir())
    };
    let found = versions.filter_map(|v| Some((modules_of(&v)?, v)));
    let Some((modules, version)) = found.max_by_key(|(_, version)| sort_key(version)) else {
        return Ok(None);
    };
    built(&root.join("boot").join(format!("vmlinuz-{version}")), Some(&modules)).map(Some)
}

/// Splits a version so that 6.12 is newer than 6.1 and than 6.9.
fn sort_key(version: &str) -> Vec<(u64, String)> {
    version
        .split(['.', '-', '+', '~'])
        .map(|part| (part.parse().unwrap_or(0), part.to_owned()))
        .collect()
}

/// What `uname -r` of an image will say, from the header that its boot protocol defines
/// (linux Documentation/arch/x86/boot.rst).
fn version(path: &Path) -> anyhow::Result<String> {
    let mut head = Vec::new();
    let length = File::open(path)
        .and_then(|file| {
            let length = file.metadata()?.len();
            file.take(HEAD).read_to_end(&mut head)?;
            Ok(length)
        })
        .with_context(|| format!("failed to read kernel image `{}`", path.display()))?;
    read_version(&head)
        .and_then(|version| is_whole(&head, length).map(|()| version))
        .with_context(|| format!("`{}` cannot be booted here", path.display()))
}

/// What other machines' kernels, that are no bzImages, begin with: where, what, and whose they are.
const FOREIGN: &[(usize, &[u8], &str)] = &[
    (0x38, b"ARM\x64", "a kernel for arm64, and not for x86-64"),
    (0x38, b"RSC\x05", "a kernel for riscv, and not for x86-64"),
    (0x24, &[0x18, 0x28, 0x6f, 0x01], "a kernel for arm, and not for x86-64"),
];

/// An image holds what its header says: sectors of the set-up code, one more than it counts, and paragraphs of the kernel.
fn is_whole(head: &[u8], length: u64) -> anyhow::Result<()> {
    let sectors = head.get(0x1f1).context("the header is cut short")?;
    let paragraphs = head.get(0x1f4..).and_then(|rest| rest.first_chunk());
    let paragraphs = u32::from_le_bytes(*paragraphs.context("the header is cut short")?);
    // What the boot protocol means by none.
    let sectors = if *sectors == 0 { 4 } else { u64::from(*sectors) };
    let whole = (sectors + 1) * 512 + u64::from(paragraphs) * 16;
    ensure!(length >= whole, "the image is cut short: it has {length} of {whole} bytes");
    Ok(())
}

fn read_version(head: &[u8]) -> anyhow::Result<String> {
    let half = |at: usize| head.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    let is_of = |(at, magic, _): &&(usize, &[u8], &str)| {
        head.get(*at..).is_some_and(|rest| rest.starts_with(magic))
    };
    if let Some((.., whose)) = FOREIGN.iter().find(is_of) {
        bail!("{whose}");
    }
    ensure!(
        head.get(0x202..0x206) == Some(b"HdrS"),
        "not a bzImage: take `arch/x86/boot/bzImage` of the build, not `vmlinux`"
    );
    let (protocol, flags) = half(0x206).zip(half(0x236)).context("the header is cut short")?;
    ensure!(protocol >= 0x20c && flags & 1 == 1, "not a kernel for x86-64");
    let at = usize::from(half(0x20e).context("the header is cut short")?) + 0x200;
    let text =
        head.get(at..).and_then(|rest| rest.split(|byte| *byte == 0 || *byte == b' ').next());
    match text.map(std::str::from_utf8) {
        Some(Ok(version)) if !version.is_empty() => Ok(version.to_owned()),
        _ => bail!("the image does not say which version it is"),
    }
}

fn belongs(folder: &Path, version: &str) -> anyhow::Result<()> {
    ensure!(folder.is_dir(), "`{}` is not a folder", folder.display());
    match Modules::list(folder)?.built_for()? {
        Some(built_for) => ensure!(
            built_for == version,
            "`{}` is for {built_for}, the kernel is {version}",
            folder.display()
        ),
        None => ensure!(
            folder.join("modules.builtin").exists(),
            "there are no modules in `{}`: give the folder `lib/modules/{version}`",
            folder.display()
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::module::tests::module;

    fn bzimage(version: &str) -> Vec<u8> {
        let mut image = vec![0; 0x2000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        image[0x20e..0x210].copy_from_slice(&0x1000u16.to_le_bytes());
        image[0x236] = 0x7f;
        let banner = format!("{version} (builder@host) #1 SMP");
        image[0x1200..0x1200 + banner.len()].copy_from_slice(banner.as_bytes());
        image
    }

    #[test]
    fn an_image_says_its_version() {
        assert_eq!(read_version(&bzimage("6.1.0-56-rt-amd64")).unwrap(), "6.1.0-56-rt-amd64");
    }

    #[test]
    fn what_is_no_kernel_for_this_machine_is_refused_with_the_reason() {
        let refused = |image: &[u8]| read_version(image).unwrap_err().to_string();
        assert!(refused(b"\x7fELF").starts_with("not a bzImage"));
        let mut of_32_bits = bzimage("6.1.0");
        of_32_bits[0x236] = 0;
        assert_eq!(refused(&of_32_bits), "not a kernel for x86-64");
        assert_eq!(refused(&bzimage("6.1.0")[..0x20a]), "the header is cut short");
        assert_eq!(refused(&bzimage("")), "the image does not say which version it is");
        let mut of_arm = vec![0; 0x2000];
        of_arm[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert_eq!(refused(&of_arm), "a kernel for arm64, and not for x86-64");
        let mut image = bzimage("6.1.0");
        image[0x1f4..0x1f8].copy_from_slice(&0x100u32.to_le_bytes());
        let whole = 5 * 512 + 0x100 * 16;
        assert!(is_whole(&image, whole).is_ok());
        let cut = is_whole(&image, whole - 1).unwrap_err().to_string();
        assert_eq!(cut, "the image is cut short: it has 6655 of 6656 bytes");
        let missing = version(Path::new("/nowhere/bzImage")).unwrap_err();
        assert!(missing.to_string().contains("`/nowhere/bzImage`"));
    }

    /// A root with these kernels, each with a module.
    fn root(versions: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        for version in versions {
            fs::write(root.path().join(format!("boot/vmlinuz-{version}")), bzimage(version))
                .unwrap();
            let modules = root.path().join("lib/modules").join(version);
            fs::create_dir_all(&modules).unwrap();
            let built = module(&[&format!("vermagic={version} SMP ")]);
            fs::write(modules.join("virtio.ko"), built).unwrap();
        }
        root
    }

    #[test]
    fn the_newest_kernel_is_newest_by_number() {
        let root = root(&["6.1.0-9-amd64", "6.12.3-amd64", "6.9.1-amd64"]);
        fs::write(root.path().join("boot/vmlinuz-7.0-without-modules"), "").unwrap();
        let found = newest_installed(root.path()).unwrap().unwrap();
        assert_eq!(found.version, "6.12.3-amd64");
        assert_eq!(found.modules.unwrap(), root.path().join("lib/modules/6.12.3-amd64"));
        assert_eq!(newest_installed(&root.path().join("boot")).unwrap(), None);
    }

    #[test]
    fn modules_of_another_kernel_are_refused() {
        let root = root(&["6.1.0", "6.2.0"]);
        let image = root.path().join("boot/vmlinuz-6.1.0");
        let modules = |name: &str| root.path().join("lib/modules").join(name);
        assert_eq!(built(&image, Some(&modules("6.1.0"))).unwrap().version, "6.1.0");
        let refused = |folder: &Path| format!("{:#}", built(&image, Some(folder)).unwrap_err());
        assert!(refused(&modules("6.2.0")).ends_with("is for 6.2.0, the kernel is 6.1.0"));
        assert!(refused(&modules("6.3.0")).ends_with("is not a folder"));
        assert!(refused(&root.path().join("boot")).contains("there are no modules in"));
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_header_is_an_error_and_never_a_panic(
            at in 0x200usize..0x240, byte: u8, length in 0usize..0x1300,
        ) {
            let mut image = bzimage("6.1.0");
            image[at] = byte;
            image.truncate(length);
            if let Ok(version) = read_version(&image) {
                proptest::prop_assert!(!version.is_empty());
            }
        }
    }
}
