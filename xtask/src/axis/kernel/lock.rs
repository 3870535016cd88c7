//! The lock file: which version of a kernel's package a matrix means, until somebody asks for a newer one. It lies beside
//! the matrices of the working directory, to be kept with them; without such a folder, beside the journals.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use evenkeel_agent::state::StateDir;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::Package;
use super::deb::{Asked, Stanza};

/// Its name, in either place.
const NAME: &str = "kernels.lock";

/// The version of its format.
const SCHEMA: u32 = 1;

const HEAD: &str =
    "# Written by `cargo xtask`; newer kernels: `cargo xtask plan --update-kernels`.\n";

/// A lock file, which need not be there yet.
#[derive(Clone, Debug)]
pub struct Lock(PathBuf);

#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    schema: u32,
    #[serde(default)]
    kernel: Vec<Pin>,
}

/// A package that is asked for, and the packages that it stands for.
#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Pin {
    deb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suite: Option<String>,
    package: Vec<Package>,
}

impl Pin {
    fn is_of(&self, asked: &Asked) -> bool {
        self.deb == asked.name && self.suite == asked.suite
    }
}

impl Lock {
    /// The lock file of a working directory.
    pub fn of(directory: &Path, state: &StateDir) -> Lock {
        let matrices = directory.join("matrices");
        Lock(if matrices.is_dir() { matrices } else { state.path().to_owned() }.join(NAME))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The packages that are pinned for one that is asked for.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is none.
    pub(super) fn pinned(&self, asked: &Asked) -> anyhow::Result<Option<Vec<Stanza>>> {
        let pin = self.read()?.kernel.into_iter().find(|pin| pin.is_of(asked));
        Ok(pin.map(|pin| pin.package.into_iter().map(Stanza::from).collect()))
    }

    /// Pins packages in place of older ones. Written whole, and by one writer at a time.
    ///
    /// # Errors
    /// The file is none, or cannot be written.
    pub(super) fn pin(&self, asked: &Asked, parts: &[Stanza]) -> anyhow::Result<()> {
        let of_file = || format!("failed to write lock file `{}`", self.0.display());
        let folder = self.0.parent().context("a lock file lies in a folder")?;
        fs::create_dir_all(folder).with_context(of_file)?;
        // The folder is held, not the file: that is replaced.
        let held = fs::File::open(folder).with_context(of_file)?;
        let _held = Flock::lock(held, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(of_file)?;
        let mut file = self.read()?;
        file.kernel.retain(|pin| !pin.is_of(asked));
        file.kernel.push(Pin {
            deb: asked.name.clone(),
            suite: asked.suite.clone(),
            package: parts.iter().map(|part| part.package.clone()).collect(),
        });
        file.kernel.sort_by(|a, b| (&a.deb, &a.suite).cmp(&(&b.deb, &b.suite)));
        let text = toml::to_string(&file).with_context(of_file)?;
        let mut whole = tempfile::NamedTempFile::new_in(folder).with_context(of_file)?;
        whole.write_all(HEAD.as_bytes()).with_context(of_file)?;
        whole.write_all(text.as_bytes()).with_context(of_file)?;
        // The temporary file is private; a lock is not.
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        whole.as_file().set_permissions(all).with_context(of_file)?;
        whole.as_file().sync_all().with_context(of_file)?;
        whole.persist(&self.0).with_context(of_file)?;
        Ok(())
    }

    fn read(&self) -> anyhow::Result<File> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(File { schema: SCHEMA, kernel: Vec::new() });
            }
            Err(error) => {
                let what = || format!("failed to read lock file `{}`", self.0.display());
                return Err(error).with_context(what);
            }
        };
        let remedy = "mend it, or remove it to pin anew";
        let file: File = toml::from_str(&text)
            .with_context(|| format!("`{}` is no lock file: {remedy}", self.0.display()))?;
        ensure!(
            file.schema == SCHEMA,
            "`{}` has schema {}, this tool reads schema {SCHEMA}: {remedy}",
            self.0.display(),
            file.schema
        );
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(suite: Option<&str>) -> Asked {
        Asked::new("linux-image-rt-amd64", suite).unwrap()
    }

    fn part(version: &str) -> Stanza {
        let name = format!("linux-image-{version}-rt-amd64");
        Stanza::from(Package { name, version: version.to_owned(), sha256: "ab".repeat(32) })
    }

    #[test]
    fn a_pin_holds_for_its_package_and_suite_until_it_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let lock = Lock::of(place.path(), &StateDir::at(&place.path().join("state")));
        assert_eq!(lock.path(), place.path().join("state/kernels.lock"));
        assert_eq!(lock.pinned(&asked(None)).unwrap(), None);
        lock.pin(&asked(Some("sid")), &[part("7")]).unwrap();
        lock.pin(&asked(None), &[part("6.1")]).unwrap();
        lock.pin(&asked(None), &[part("6.2")]).unwrap();
        assert_eq!(lock.pinned(&asked(None)).unwrap().unwrap(), [part("6.2")]);
        assert_eq!(lock.pinned(&asked(Some("sid"))).unwrap().unwrap(), [part("7")]);
        let text = fs::read_to_string(lock.path()).unwrap();
        assert!(text.starts_with(HEAD) && !text.contains("6.1"), "{text}");
        fs::create_dir(place.path().join("matrices")).unwrap();
        let beside = Lock::of(place.path(), &StateDir::at(place.path()));
        assert_eq!(beside.path(), place.path().join("matrices/kernels.lock"));
    }

    #[test]
    fn many_writers_lose_no_pin() {
        let place = tempfile::tempdir().unwrap();
        let lock = Lock(place.path().join(NAME));
        std::thread::scope(|scope| {
            for n in 0..16 {
                let lock = &lock;
                scope.spawn(move || {
                    lock.pin(&asked(Some(&format!("suite{n}"))), &[part("6.1")]).unwrap();
                });
            }
        });
        assert_eq!(lock.read().unwrap().kernel.len(), 16);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no half file is left");
    }

    #[test]
    fn what_is_no_lock_file_is_an_error_that_names_it() {
        let place = tempfile::tempdir().unwrap();
        let lock = Lock(place.path().join(NAME));
        for wrong in
            ["schema = 2", "schema = 1\nkernels = []", "x", "schema = 1\n[[kernel]]\ndeb = 'x'"]
        {
            fs::write(lock.path(), wrong).unwrap();
            let error = format!("{:#}", lock.pinned(&asked(None)).unwrap_err());
            assert!(error.contains("kernels.lock") && error.contains("mend it"), "{error}");
            assert!(lock.pin(&asked(None), &[part("6.1")]).is_err());
            assert_eq!(fs::read_to_string(lock.path()).unwrap(), wrong, "it is left alone");
        }
    }
}
