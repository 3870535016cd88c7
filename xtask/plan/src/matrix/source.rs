//! Where matrices lie: a file that was named, `./matrices`, or this binary. The only part of this module that does I/O.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::problem::{quoted, suggestion};

/// The folder of the working directory where matrices are looked up by name.
const FOLDER: &str = "matrices";

/// Matrices that travel with the binary: (name, text).
pub const EMBEDDED: [(&str, &str); 7] = [
    ("containers", include_str!("../../../../matrices/containers.toml")),
    ("default", include_str!("../../../../matrices/default.toml")),
    ("knobs", include_str!("../../../../matrices/knobs.toml")),
    ("preempt", include_str!("../../../../matrices/preempt.toml")),
    ("smoke", include_str!("../../../../matrices/smoke.toml")),
    ("thesis", include_str!("../../../../matrices/thesis.toml")),
    ("virtual-machines", include_str!("../../../../matrices/virtual-machines.toml")),
];

/// No matrix is larger than this: a million cells need some megabytes of kernel tables.
const MOST_BYTES: u64 = 64 << 20;

/// A matrix as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The name to call it by in errors: a path, or `NAME (built in)`.
    pub file: String,
    /// What it holds. Need not be UTF-8.
    pub bytes: Vec<u8>,
}

/// Why no matrix was found.
#[derive(Debug)]
pub enum NotFound {
    /// There is none of that name.
    Unknown {
        /// The name as given.
        name: String,
        /// Names that would be right.
        known: Vec<String>,
    },
    /// The file is there but cannot be read, or is no file.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotFound::Unknown { name, known } => {
                write!(f, "no matrix {}: neither a file nor a name", quoted(name))?;
                // `defualt.toml` and `matrices/defualt` stand for `default`, too.
                let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
                let near = suggestion(stem.unwrap_or(name), known.iter().map(String::as_str));
                near.map_or(Ok(()), |near| write!(f, "; {near}"))
            }
            NotFound::Unreadable { path, reason } => {
                write!(f, "failed to read matrix {}: {reason}", quoted(&path.to_string_lossy()))
            }
        }
    }
}

impl std::error::Error for NotFound {}

/// Finds a matrix: a file of that path, else `./matrices/NAME.toml`, else one that travels with the binary.
pub fn find(name_or_path: &str) -> Result<Found, NotFound> {
    find_in(Path::new("."), name_or_path)
}

/// [`find`] with another working directory.
pub fn find_in(directory: &Path, name_or_path: &str) -> Result<Found, NotFound> {
    let path = directory.join(name_or_path);
    let there = !name_or_path.is_empty() && path.exists();
    if there && !path.is_dir() {
        return read(&path, name_or_path);
    }
    let is_name = !name_or_path.contains('/');
    let shown = format!("{FOLDER}/{name_or_path}.toml");
    let named = directory.join(&shown);
    if is_name && named.exists() {
        return read(&named, &shown);
    }
    if let Some((name, text)) = EMBEDDED.iter().find(|(name, _)| *name == name_or_path) {
        return Ok(Found { file: format!("{name} (built in)"), bytes: text.as_bytes().to_vec() });
    }
    if there {
        let reason = "it is a folder; name a file in it".to_owned();
        return Err(NotFound::Unreadable { path: PathBuf::from(name_or_path), reason });
    }
    Err(NotFound::Unknown { name: name_or_path.to_owned(), known: names_in(directory) })
}

fn read(path: &Path, shown: &str) -> Result<Found, NotFound> {
    let bytes = read_bounded(path).map_err(|error| NotFound::Unreadable {
        path: PathBuf::from(shown),
        reason: error.to_string(),
    })?;
    Ok(Found { file: shown.to_owned(), bytes })
}

/// A file's bytes, unless there is no end of them.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MOST_BYTES >> 20)));
    }
    Ok(bytes)
}

/// Names that [`find`] knows in a working directory, sorted.
pub fn names_in(directory: &Path) -> Vec<String> {
    let files = directory.join(FOLDER).read_dir().into_iter().flatten().flatten();
    let local = files.filter_map(|entry| {
        let path = entry.path();
        let is_matrix = path.extension().is_some_and(|ending| ending == "toml") && path.is_file();
        // The gate's policy lies in the same folder.
        let stem = path.file_stem()?.to_str()?;
        (is_matrix && stem != "policy").then(|| stem.to_owned())
    });
    let mut names: Vec<String> = local.chain(EMBEDDED.map(|(name, _)| name.to_owned())).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_comes_before_the_folder_and_the_folder_before_the_binary() {
        let here = tempfile::tempdir().unwrap();
        let find = |name: &str| find_in(here.path(), name).unwrap();
        assert_eq!(find("default").file, "default (built in)");
        fs::create_dir(here.path().join("matrices")).unwrap();
        fs::write(here.path().join("matrices/default.toml"), "folder").unwrap();
        assert_eq!(find("default").file, "matrices/default.toml");
        fs::write(here.path().join("default"), "file").unwrap();
        assert_eq!(find("default"), Found { file: "default".into(), bytes: b"file".to_vec() });
    }

    #[test]
    fn a_folder_does_not_hide_a_matrix_of_its_name() {
        let here = tempfile::tempdir().unwrap();
        fs::create_dir(here.path().join("smoke")).unwrap();
        assert_eq!(find_in(here.path(), "smoke").unwrap().file, "smoke (built in)");
        fs::create_dir(here.path().join("other")).unwrap();
        let error = find_in(here.path(), "other").unwrap_err().to_string();
        assert_eq!(error, "failed to read matrix `other`: it is a folder; name a file in it");
    }

    #[test]
    fn an_unknown_name_tells_the_nearest_and_all() {
        let here = tempfile::tempdir().unwrap();
        let error = find_in(here.path(), "defualt").unwrap_err().to_string();
        insta::assert_snapshot!(error, @"no matrix `defualt`: neither a file nor a name; did you mean `default`? known: containers, default, knobs, preempt, smoke, thesis, virtual-machines");
        let error = find_in(here.path(), "matrices/defualt.toml").unwrap_err().to_string();
        assert!(error.contains("did you mean `default`?"), "{error}");
        for odd in ["", "no/such.toml", "a\0b", "\u{1b}[2J"] {
            assert!(matches!(find_in(here.path(), odd), Err(NotFound::Unknown { .. })), "{odd:?}");
        }
    }

    #[test]
    fn endless_files_are_refused() {
        let error = find("/dev/zero").unwrap_err().to_string();
        assert_eq!(error, "failed to read matrix `/dev/zero`: it is larger than 64 MiB");
    }
}
