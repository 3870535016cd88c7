//! What this host has of what knobs write. Looked up once by a run, and data from then on.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use evenkeel_agent::machine::cgroup::Hierarchies;
use evenkeel_agent::machine::slices;

use super::rows;

/// Paths that are there, by the pattern that asks for them, and what is there and cannot be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    paths: BTreeMap<&'static str, Vec<String>>,
    out_of_reach: Option<String>,
    /// What says how realtime threads pause, or why nothing does; nothing where nobody looked.
    slices: Option<Result<String, String>>,
}

/// Where kernels from 6.12 on let their fair servers be set.
const FAIR_SERVERS: &str = "/sys/kernel/debug/sched/fair_server";

/// The first kernel with fair servers.
const WITH_FAIR_SERVERS: (u32, u32) = (6, 12);

impl Found {
    /// Looks for the paths of every row. Changes nothing.
    pub fn look() -> Found {
        let paths = rows::ROWS.iter().map(|row| (row.paths, expand(row.paths))).collect();
        // Without its release, nothing is claimed of a kernel.
        let release = nix::sys::utsname::uname().ok();
        let release = release.map(|name| name.release().to_string_lossy().into_owned());
        let has = release.is_some_and(|release| version(&release) >= Some(WITH_FAIR_SERVERS));
        let out_of_reach = has.then(|| out_of_reach(Path::new(FAIR_SERVERS))).flatten();
        Found { paths, out_of_reach, slices: Some(accounted(Hierarchies::mounted())) }
    }

    /// A host that has one path for every row.
    pub fn everything() -> Found {
        let one =
            |row: &rows::Row| (row.paths, vec![row.paths.replace('*', "0").replace('+', "1")]);
        Found { paths: rows::ROWS.iter().map(one).collect(), ..Found::default() }
    }

    /// The paths of a pattern.
    pub fn paths(&self, pattern: &str) -> &[String] {
        self.paths.get(pattern).map_or(&[], Vec::as_slice)
    }

    /// Why the kernel's fair servers cannot be turned off, where it has some.
    pub fn fair_servers_out_of_reach(&self) -> Option<&str> {
        self.out_of_reach.as_deref()
    }

    /// What says how realtime threads pause, where the kernel gives realtime time by cgroup.
    ///
    /// # Errors
    /// Why it does not, or why that cannot be told.
    pub fn slices(&self) -> Result<&str, &str> {
        match &self.slices {
            Some(found) => found.as_deref().map_err(String::as_str),
            None => Err("control groups were not looked at"),
        }
    }

    /// All paths that knobs may write machine-wide.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.paths.values().flatten().map(String::as_str)
    }
}

/// What says how realtime threads pause, of the hierarchies of control groups that are mounted, or why nothing does.
fn accounted(mounted: anyhow::Result<Hierarchies>) -> Result<String, String> {
    let mounted = mounted.map_err(|error| format!("{error:#}"))?;
    let cpu = mounted
        .controller("cpu")
        .ok_or("no control groups of version 1 with the controller `cpu` are mounted")?;
    let period = cpu.join("cpu.rt_period_us");
    match period.metadata() {
        Ok(_) => Ok(slices::path(cpu)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(format!(
            "there is no {}: this kernel does not account realtime by control group",
            period.display()
        )),
        Err(error) => Err(format!("{} cannot be read: {error}", period.display())),
    }
}

/// The first two numbers of a release such as `6.12.95+deb12-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split('.');
    let minor = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    Some((numbers.next()?.parse().ok()?, minor(numbers.next()?)?))
}

/// Why the fair servers below a folder cannot be set; nothing if they can. A kernel that is locked down shows the files and lets nobody read them.
fn out_of_reach(folder: &Path) -> Option<String> {
    let servers: Vec<PathBuf> =
        inside(folder, "cpu*").iter().map(|cpu| cpu.join("runtime")).collect();
    if servers.is_empty() {
        let parent = folder.display();
        return Some(format!("there is no {parent}: mount debugfs on /sys/kernel/debug"));
    }
    let refused = servers.iter().find_map(|path| std::fs::read(path).err().map(|e| (path, e)));
    refused.map(|(path, error)| format!("{} cannot be read: {error}", path.display()))
}

/// The paths that a pattern stands for: `*` is any number, `+` any number from one on.
fn expand(pattern: &str) -> Vec<String> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|folder| inside(folder, part)).collect();
    }
    let mut found: Vec<String> =
        found.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    found.sort();
    found
}

fn inside(folder: &Path, part: &str) -> Vec<PathBuf> {
    let Some((before, after)) = part.split_once(['*', '+']) else {
        let path = folder.join(part);
        return if path.exists() { vec![path] } else { Vec::new() };
    };
    let least = u32::from(part.contains('+'));
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let fits = |name: &String| {
        let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        number.and_then(|number| number.parse::<u32>().ok()).is_some_and(|n| n >= least)
    };
    names.filter(fits).map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use evenkeel_agent::machine::cgroup::Hierarchies;

    use super::{accounted, expand, out_of_reach, version};

    #[test]
    fn why_realtime_is_not_accounted_by_control_group_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("cpu");
        let mounted = |place: &std::path::Path| {
            let place = place.display();
            Ok(Hierarchies::parse(&format!(
                "30 25 0:26 / {place} rw - cgroup cgroup rw,cpu,cpuacct"
            )))
        };
        let why = |mounted| accounted(mounted).unwrap_err();
        assert_eq!(
            why(Err(anyhow::anyhow!("EACCES").context("failed to read it"))),
            "failed to read it: EACCES"
        );
        assert!(why(Ok(Hierarchies::default())).starts_with("no control groups"));
        assert!(
            why(mounted(&place))
                .ends_with("this kernel does not account realtime by control group")
        );
        // A file in the folder's place refuses to be looked into, whoever asks.
        std::fs::write(&place, "").unwrap();
        assert!(
            why(mounted(&place)).contains("cpu.rt_period_us cannot be read: "),
            "{}",
            why(mounted(&place))
        );
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
        std::fs::write(place.join("cpu.rt_period_us"), "1000000").unwrap();
        assert!(accounted(mounted(&place)).is_ok());
    }

    #[test]
    fn fair_servers_are_in_reach_where_they_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let why = out_of_reach(&folder.path().join("fair_server")).unwrap();
        assert!(why.ends_with("mount debugfs on /sys/kernel/debug"), "{why}");
        let server = folder.path().join("cpu0/runtime");
        // A folder in its place refuses to be read, whoever asks.
        std::fs::create_dir_all(&server).unwrap();
        let why = out_of_reach(folder.path()).unwrap();
        assert!(why.contains("cpu0/runtime cannot be read: "), "{why}");
        std::fs::remove_dir(&server).unwrap();
        std::fs::write(&server, "50000000").unwrap();
        assert_eq!(out_of_reach(folder.path()), None);
        assert!(version("6.18.44-fc").unwrap() > version("6.12.95+deb12-amd64").unwrap());
        assert!(version("6.1.0-56-rt-amd64").unwrap() < (6, 12));
        assert_eq!((version("6.12-rc1"), version("next")), (Some((6, 12)), None));
    }

    #[test]
    fn patterns_stand_for_numbers_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["cpu0/state0", "cpu0/state1", "cpu10/state2", "cpufreq/state1", "cpu2"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let root = folder.path().to_str().unwrap();
        let found = |pattern: &str| {
            let all = expand(&format!("{root}/{pattern}"));
            all.iter().map(|path| path[root.len() + 1..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("cpu*/state+"), ["cpu0/state1", "cpu10/state2"]);
        assert_eq!(found("cpu*/state*"), ["cpu0/state0", "cpu0/state1", "cpu10/state2"]);
        assert_eq!(found("cpu0/state7"), Vec::<String>::new());
    }
}
