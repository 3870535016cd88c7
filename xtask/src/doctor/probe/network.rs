//! Probes of what the kernel makes networks of.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::doctor::Finding;
use crate::doctor::kernel::{Kernel, Support};

/// A feature of the kernel.
pub(super) fn feature(kernel: &Kernel, option: &str, module: &str) -> Finding {
    let release = &kernel.release;
    match kernel.support(option, module) {
        Support::Here => Finding::Ok(String::new()),
        Support::Loadable => Finding::Ok("module, loaded on first use".to_owned()),
        Support::Unknown => {
            Finding::Ok("not certain: the kernel does not show its options".to_owned())
        }
        Support::NoFile => Finding::missing(
            format!("the module {module} of kernel {release} is not installed"),
            format!("install the package with the modules of kernel {release}"),
        ),
        Support::Absent => Finding::missing(
            format!("kernel {release} has no {option}"),
            format!("boot a kernel with {option}"),
        ),
    }
}

/// A device, and the feature of the kernel behind it: opening it would load its module.
pub(super) fn device(kernel: &Kernel, path: &str, option: &str, module: &str) -> Finding {
    match feature(kernel, option, module) {
        Finding::Ok(_) if !Path::new(path).exists() => Finding::missing(
            format!("{path} is not there"),
            format!("modprobe {module}, or give the container that device"),
        ),
        Finding::Ok(_) if access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_err() => {
            Finding::missing(format!("{path} is not ours to open"), "run as root")
        }
        finding => finding,
    }
}
