//! Kernel modules: which ones a set of drivers needs and in which order they load. What a module
//! depends on is read from the module itself (`depends=` in its `.modinfo`), because a Debian package
//! that was unpacked and not installed has no `modules.dep`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use evenkeel_agent::command;
use walkdir::WalkDir;

use super::elf::Elf;

const UNPACKS: Duration = Duration::from_secs(30);

/// A kernel module, uncompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name as the kernel shows it, with underscores.
    pub name: String,
    /// The ELF file.
    pub bytes: Vec<u8>,
}

/// The modules of one kernel: a folder like `/lib/modules/VERSION`.
#[derive(Debug)]
pub struct Modules {
    folder: PathBuf,
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Modules {
    /// Lists the modules in a folder, and those that the folder says are part of the kernel itself.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(folder: &Path) -> anyhow::Result<Modules> {
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(folder).sort_by_file_name() {
            let entry = entry.with_context(|| format!("failed to list `{}`", folder.display()))?;
            if let Some(name) = module_name(entry.path()) {
                files.entry(name).or_insert_with(|| entry.into_path());
            }
        }
        let builtin = match fs::read_to_string(folder.join("modules.builtin")) {
            Ok(text) => text.lines().filter_map(|line| module_name(Path::new(line))).collect(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                let what = || format!("failed to read `{}/modules.builtin`", folder.display());
                return Err(error).with_context(what);
            }
        };
        Ok(Modules { folder: folder.to_owned(), files, builtin })
    }

    /// The kernel version that some module of the folder was built for; nothing if there are none.
    ///
    /// # Errors
    /// If the module cannot be read.
    pub fn built_for(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = self.files.values().next() else { return Ok(None) };
        let bytes = read_module(path)?;
        let magic = about(&bytes, "vermagic")?.into_iter().next();
        Ok(magic.and_then(|magic| magic.split(' ').next().map(str::to_owned)))
    }

    /// Whether the kernel has a module, as a file or as a part of itself.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.builtin.contains(name)
    }

    /// What must be loaded for these modules to work, each after what it depends on. What is part
    /// of the kernel is left out.
    ///
    /// # Errors
    /// If a module is neither a file nor part of the kernel, or a file is damaged.
    pub fn closure(&self, wanted: &[&str]) -> anyhow::Result<Vec<Module>> {
        let mut seen = BTreeSet::new();
        let mut order = Vec::new();
        for name in wanted {
            self.visit(&name.replace('-', "_"), &mut seen, &mut order)?;
        }
        Ok(order)
    }

    /// Depth first: `seen` is marked before the dependencies are visited, so that a circle ends.
    fn visit(
        &self,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<Module>,
    ) -> anyhow::Result<()> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            bail!(
                "module `{name}` is not in `{}` and not part of the kernel: \
                 build the kernel with it, or take another one",
                self.folder.display()
            );
        };
        let bytes = read_module(path)?;
        for list in about(&bytes, "depends")? {
            for dependency in list.split(',').filter(|name| !name.is_empty()) {
                self.visit(&dependency.replace('-', "_"), seen, order)
                    .with_context(|| format!("module `{name}` needs `{dependency}`"))?;
            }
        }
        order.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// `virtio_rng` of `.../virtio-rng.ko.xz`; nothing if the path is not a module's.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|end| file.strip_suffix(end));
    Some(stem?.replace('-', "_"))
}

/// A module's ELF file, unpacked if distributions pack it.
fn read_module(path: &Path) -> anyhow::Result<Vec<u8>> {
    let of_module = || format!("failed to read module `{}`", path.display());
    let packer = match path.extension().and_then(|end| end.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(path).with_context(of_module),
    };
    let file = path.to_str().context("its path is not UTF-8").with_context(of_module)?;
    let ended = command::run(&[packer, "-dc", file], UNPACKS).with_context(of_module)?;
    ensure!(
        ended.code == Some(0),
        "{}: `{packer} -dc` failed: {}",
        of_module(),
        String::from_utf8_lossy(&ended.stderr).trim()
    );
    Ok(ended.stdout)
}

/// The values of a key in a module's `.modinfo`, which holds `key=value` with zeros between.
fn about(module: &[u8], key: &str) -> anyhow::Result<Vec<String>> {
    let section = Elf::parse(module).and_then(|elf| elf.section(".modinfo"));
    let section = section?.context("not a kernel module: it has no section `.modinfo`")?;
    let lines = section.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    Ok(lines
        .filter_map(|line| Some(line.strip_prefix(key)?.strip_prefix('=')?.to_owned()))
        .collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An ELF file with nothing but a section `.modinfo`, which is all of a module that we read.
    pub(crate) fn module(lines: &[&str]) -> Vec<u8> {
        let names = b"\0.modinfo\0.names\0";
        let info: Vec<u8> =
            lines.iter().flat_map(|line| [line.as_bytes(), b"\0"].concat()).collect();
        let (names_at, info_at) = (64, 64 + names.len());
        let table_at = info_at + info.len();
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[40..48].copy_from_slice(&(table_at as u64).to_le_bytes());
        elf[58..64].copy_from_slice(&[64, 0, 2, 0, 1, 0]);
        elf.extend_from_slice(names);
        elf.extend(&info);
        for (name, at, size) in [(1u32, info_at, info.len()), (10, names_at, names.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[24..32].copy_from_slice(&(at as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            elf.extend(header);
        }
        elf
    }

    /// A folder of modules: (file name, what it depends on).
    fn folder(modules: &[(&str, &str)], builtin: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let kernel = place.path().join("kernel/drivers");
        fs::create_dir_all(&kernel).unwrap();
        for (file, depends) in modules {
            let lines = [&format!("depends={depends}"), "vermagic=6.1.0-1 SMP mod_unload "];
            fs::write(kernel.join(file), module(&lines)).unwrap();
        }
        fs::write(place.path().join("modules.builtin"), builtin).unwrap();
        place
    }

    fn order(place: &tempfile::TempDir, wanted: &[&str]) -> Vec<String> {
        let modules = Modules::list(place.path()).unwrap().closure(wanted).unwrap();
        modules.into_iter().map(|module| module.name).collect()
    }

    const VIRTIO: &[(&str, &str)] = &[
        ("virtio_pci.ko", "virtio_ring,virtio,virtio-pci-dev"),
        ("virtio_net.ko", "virtio,virtio_ring,net_failover"),
        ("net_failover.ko", "failover"),
        ("failover.ko", ""),
        ("virtio.ko", ""),
        ("virtio_ring.ko", "virtio"),
        ("virtio-pci-dev.ko", "virtio_pci"),
    ];

    #[test]
    fn each_module_loads_after_what_it_depends_on_and_once() {
        let place = folder(VIRTIO, "");
        // `virtio-pci-dev` depends back on `virtio_pci`: a circle must not hang us.
        assert_eq!(
            order(&place, &["virtio_pci", "virtio-net"]),
            [
                "virtio",
                "virtio_ring",
                "virtio_pci_dev",
                "virtio_pci",
                "failover",
                "net_failover",
                "virtio_net"
            ]
        );
    }

    #[test]
    fn what_is_part_of_the_kernel_is_not_loaded() {
        let place = folder(VIRTIO, "kernel/drivers/virtio.ko\nkernel/drivers/virtio_ring.ko\n");
        assert_eq!(
            order(&place, &["virtio_ring", "virtio_net"]),
            ["failover", "net_failover", "virtio_net"]
        );
    }

    #[test]
    fn a_missing_module_is_named_with_what_needs_it() {
        let place = folder(&[("virtio_net.ko", "net-failover")], "");
        let error = Modules::list(place.path()).unwrap().closure(&["virtio_net"]).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.starts_with(
                "module `virtio_net` needs `net-failover`: module `net_failover` is not in"
            ),
            "{text}"
        );
    }

    #[test]
    fn packed_modules_are_unpacked() {
        for (end, packer) in [("xz", "xz"), ("zst", "zstd"), ("gz", "gzip")] {
            let place = folder(VIRTIO, "");
            let plain = place.path().join("kernel/drivers/virtio.ko");
            let argv = [packer, "-q", plain.to_str().unwrap()];
            command::output(&argv, UNPACKS).unwrap();
            if plain.exists() {
                fs::remove_file(&plain).unwrap();
            }
            assert!(plain.with_extension(format!("ko.{end}")).exists());
            assert_eq!(order(&place, &["virtio"]), ["virtio"]);
        }
    }

    #[test]
    fn a_folder_knows_its_kernel() {
        let built_for =
            |place: &tempfile::TempDir| Modules::list(place.path()).unwrap().built_for().unwrap();
        assert_eq!(built_for(&folder(VIRTIO, "")).as_deref(), Some("6.1.0-1"));
        assert_eq!(built_for(&folder(&[], "")), None);
    }
}
