//! How the kernels differ that a run's contrasts compare, read from their configurations before the first boot.

use std::path::Path;

use anyhow::Context as _;
use evenkeel_agent::facts::config;

use super::host::Host;
use super::lab::Kits;
use super::prepare::Prepared;
use crate::axis::kernel::ConfigFile;
use crate::axis::virtualization;
use crate::matrix::{Axis, Cell, Matrix, RUNNING};
use crate::record::kernels::{ComparedKernel, Difference, KernelPair, difference};

/// For every contrast of kernels, the pairs that these cells make: of guests and of containers, for which one name may mean two kernels.
pub fn compared(
    matrix: &Matrix,
    cells: &[Cell],
    prepared: &Prepared,
    kits: &Kits,
    host: &Host,
) -> Vec<KernelPair> {
    let is_guest = |cell: &Cell| {
        virtualization::find(&cell.virtualization).is_some_and(|kind| kind.is_guest())
    };
    let mut pairs = Vec::new();
    for contrast in matrix.contrasts.iter().filter(|contrast| contrast.axis == Axis::Kernel) {
        for guests in [true, false] {
            let with = |kernel: &str| {
                cells.iter().any(|cell| cell.kernel == kernel && is_guest(cell) == guests)
            };
            if !(with(&contrast.from) && with(&contrast.to)) {
                continue;
            }
            let known = |name: &str| match guests {
                true => of_guest(prepared, name),
                false => of_container(kits, host, name),
            };
            // A kernel that cannot be had has no cells that run.
            let (Some(from), Some(to)) = (known(&contrast.from), known(&contrast.to)) else {
                continue;
            };
            let difference = match (from.text, to.text) {
                (Ok(from), Ok(to)) => difference(&from, &to),
                (Err(error), _) | (_, Err(error)) => {
                    Difference::Unknown { reason: format!("{error:#}") }
                }
            };
            let [from, to] = [from.kernel, to.kernel].map(|kernel| with_cmdline(matrix, kernel));
            pairs.push(KernelPair {
                contrast: contrast.name.clone(),
                who: if guests { "guests" } else { "containers" }.to_owned(),
                from,
                to,
                difference,
            });
        }
    }
    pairs
}

/// The kernel with what the matrix adds to its command line, which may be all that tells two kernels apart.
fn with_cmdline(matrix: &Matrix, kernel: ComparedKernel) -> ComparedKernel {
    let source = matrix.kernels.get(&*kernel.name);
    ComparedKernel { cmdline: source.map_or_else(Vec::new, |it| it.cmdline.clone()), ..kernel }
}

/// A kernel with the text of its configuration.
struct Known {
    kernel: ComparedKernel,
    text: anyhow::Result<String>,
}

impl Known {
    fn new(name: &str, version: &str, config: Option<&Path>) -> Known {
        let text = config
            .with_context(|| format!("kernel {version} came without a configuration"))
            .and_then(|path| {
                std::fs::read_to_string(path)
                    .with_context(|| format!("failed to read `{}`", path.display()))
            });
        Known { kernel: compared_kernel(name, version), text }
    }
}

fn of_guest(prepared: &Prepared, name: &str) -> Option<Known> {
    let (version, config) = prepared.guest_kernel(name)?;
    Some(Known::new(name, version, config))
}

/// What containers run under: the host's kernel, or a lab's.
fn of_container(kits: &Kits, host: &Host, name: &str) -> Option<Known> {
    if name != RUNNING {
        let kit = kits.get(name)?.as_ref().ok()?;
        return Some(Known::new(name, &kit.version, kit.config.as_deref()));
    }
    let version = host.facts.get("kernel")?;
    let text = config::shown().and_then(|shown| {
        shown.with_context(|| format!("kernel {version} does not show its configuration"))
    });
    let text = text.or_else(|error| {
        let beside = beside(version);
        std::fs::read_to_string(beside.path).map_err(|_| error)
    });
    Some(Known { kernel: compared_kernel(name, version), text })
}

/// Where most distributions put the configuration of a kernel that does not show its own: beside it.
fn beside(version: &str) -> ConfigFile {
    let path = Path::new("/boot").join(format!("config-{version}"));
    ConfigFile { path, version: version.to_owned() }
}

/// The configuration file of the host's kernel, where there is one.
pub(super) fn beside_running(host: &Host) -> Option<ConfigFile> {
    let file = beside(host.facts.get("kernel")?);
    file.path.exists().then_some(file)
}

fn compared_kernel(name: &str, version: &str) -> ComparedKernel {
    ComparedKernel { name: name.to_owned(), version: version.to_owned(), cmdline: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::host::vocabulary;
    use super::*;

    #[test]
    fn the_shipped_kernels_of_preempt_are_told_apart_by_their_command_lines() {
        let text = include_str!("../../../matrices/preempt.toml");
        let matrix = crate::matrix::parse(text, "preempt.toml", &vocabulary()).expect("valid");
        let contrast = matrix.contrasts.iter().find(|c| c.axis == Axis::Kernel).expect("one");
        let [from, to] = [&contrast.from, &contrast.to]
            .map(|name| with_cmdline(&matrix, compared_kernel(name, "6.1")).cmdline);
        assert_ne!(from, to);
        assert_eq!(with_cmdline(&matrix, compared_kernel(RUNNING, "6.1")).cmdline, [""; 0]);
    }
}
