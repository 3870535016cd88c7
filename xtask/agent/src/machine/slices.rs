//! The pause of realtime threads where the kernel gives realtime time by cgroup (version 1 with `RT_GROUP_SCHED`): how much of which period
//! they may have, as one value out of three files.
//!
//! The kernel checks every write against the other files and the budgets of all cgroups, so that no order of three plain writes leads from one
//! period to another: the limit is lifted, the period set, and the limit put back. Whoever is killed meanwhile leaves a `-1` in some of the files.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The limit of the whole machine; without it, none of a cgroup counts.
const MACHINE: &str = "/proc/sys/kernel/sched_rt_runtime_us";

/// How the files of a cgroup are named in one word.
const NAME: &str = "cpu.rt_*_us";

/// No limit.
const NONE: &str = "-1";

/// The path that stands for the value of a hierarchy's root: three numbers, the machine's limit, the root's, and its period, microseconds.
pub fn path(cpu: &Path) -> String {
    cpu.join(NAME).to_string_lossy().into_owned()
}

/// The files that a value is of.
#[derive(Debug)]
pub(super) struct Slices {
    machine: PathBuf,
    runtime: PathBuf,
    period: PathBuf,
}

impl Slices {
    /// What a path stands for, if it is such a one.
    pub(super) fn of(path: &str) -> Option<Slices> {
        let path = Path::new(path);
        let folder = path.file_name().is_some_and(|name| name == NAME).then(|| path.parent())??;
        Some(Slices::in_folder(Path::new(MACHINE), folder))
    }

    fn in_folder(machine: &Path, folder: &Path) -> Slices {
        Slices {
            machine: machine.to_owned(),
            runtime: folder.join("cpu.rt_runtime_us"),
            period: folder.join("cpu.rt_period_us"),
        }
    }

    /// The three numbers.
    pub(super) fn read(&self) -> anyhow::Result<String> {
        let read = |file: &Path| {
            let text = std::fs::read_to_string(file);
            text.with_context(|| format!("failed to read {}", file.display()))
        };
        let all = [read(&self.machine)?, read(&self.runtime)?, read(&self.period)?];
        Ok(all.map(|text| text.trim().to_owned()).join(" "))
    }

    /// Sets all three, or none.
    pub(super) fn write(&self, value: &str) -> anyhow::Result<()> {
        let before = self.read()?;
        self.set(value).map_err(|error| match self.set(&before) {
            Ok(()) => error,
            Err(worse) => error.context(format!("`{before}` was not put back: {worse:#}")),
        })
    }

    fn set(&self, value: &str) -> anyhow::Result<()> {
        let mut words = value.split_whitespace();
        let (Some(machine), Some(runtime), Some(period), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            anyhow::bail!("`{value}` is not the machine's limit, a cgroup's, and its period");
        };
        let writes = [
            (&self.machine, NONE),
            (&self.runtime, NONE),
            (&self.period, period),
            (&self.runtime, runtime),
            (&self.machine, machine),
        ];
        writes.iter().try_for_each(|(file, value)| {
            std::fs::write(file, value)
                .with_context(|| format!("failed to write `{value}` to {}", file.display()))
        })
    }
}

/// Whether three numbers may be what a killed writer of `ours` left where `is` was.
pub(super) fn on_the_way(now: &str, is: &str, ours: &str) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (now, is, ours) = (words(now), words(is), words(ours));
    let known =
        |((now, is), ours): ((&String, &String), &String)| now == is || now == ours || now == NONE;
    now.len() == 3 && now.iter().zip(&is).zip(&ours).all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_of_three_files_and_a_killed_writer_is_known_by_what_it_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let (cpu, machine) = (folder.path(), folder.path().join("machine"));
        let slices = Slices::in_folder(&machine, cpu);
        assert!(slices.read().unwrap_err().to_string().contains("machine"));
        for (name, value) in [
            ("machine", "950000\n"),
            ("cpu.rt_runtime_us", "950000\n"),
            ("cpu.rt_period_us", "1000000\n"),
        ] {
            std::fs::write(cpu.join(name), value).unwrap();
        }
        let is = slices.read().unwrap();
        assert_eq!(is, "950000 950000 1000000");
        let ours = "950000 9400 10000";
        slices.write(ours).unwrap();
        assert_eq!(slices.read().unwrap(), ours);
        assert!(slices.write("9400 10000").unwrap_err().to_string().contains("is not the machine"));
        assert_eq!(slices.read().unwrap(), ours);

        for left in ["-1 950000 1000000", "-1 -1 10000", "-1 9400 10000", ours, &is] {
            assert!(on_the_way(left, &is, ours), "{left}");
        }
        for others in ["950000 9000 10000", "950000 9400 20000", "", "-1 -1"] {
            assert!(!on_the_way(others, &is, ours), "{others}");
        }
    }

    #[test]
    fn only_its_own_path_stands_for_it() {
        let path = path(Path::new("/sys/fs/cgroup/cpu"));
        assert_eq!(path, "/sys/fs/cgroup/cpu/cpu.rt_*_us");
        let slices = Slices::of(&path).unwrap();
        assert_eq!(slices.runtime, Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"));
        assert!(Slices::of("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").is_none());
    }
}
