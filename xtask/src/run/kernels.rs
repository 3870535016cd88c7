//! How the kernels differ that a run's contrasts compare, read from their configurations before the first boot.

use std::path::Path;

use anyhow::Context as _;
use evenkeel_agent::facts::config;

use super::host::Host;
use super::lab::Kits;
use super::prepare::Prepared;
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
            pairs.push(KernelPair {
                contrast: contrast.name.clone(),
                who: if guests { "guests" } else { "containers" }.to_owned(),
                from: from.kernel,
                to: to.kernel,
                difference,
            });
        }
    }
    pairs
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
        let kernel = ComparedKernel { name: name.to_owned(), version: version.to_owned() };
        Known { kernel, text }
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
    // Most distributions put it beside the kernel instead.
    let beside = Path::new("/boot").join(format!("config-{version}"));
    let text = text.or_else(|error| std::fs::read_to_string(beside).map_err(|_| error));
    Some(Known { kernel: ComparedKernel { name: name.to_owned(), version: version.clone() }, text })
}
