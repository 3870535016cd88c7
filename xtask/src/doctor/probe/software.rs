//! Probes of programs, the Docker engine, guests and package sources.

use std::path::Path;
use std::time::Duration;

use evenkeel_agent::command;

use super::Host;
use crate::axis::virtualization::accelerator::QEMU;
use crate::doctor::engine::Engine;
use crate::doctor::provision::{component_here, package_of};
use crate::doctor::{Finding, PROVISION, tools};

/// A program, by its package where it is missing.
pub(super) fn program(name: &str) -> Finding {
    match command::which(name) {
        Some(path) => {
            Finding::Ok(tools::version(name).unwrap_or_else(|| path.display().to_string()))
        }
        None => Finding::missing(
            format!("`{name}` is not installed"),
            match package_of(name) {
                Some(package) => format!("{PROVISION}, or install the package {package}"),
                None => format!("install {name}"),
            },
        ),
    }
}

/// An engine that answers.
pub(super) fn docker_engine(host: &Host<'_>) -> Finding {
    match Engine::ask() {
        Ok(engine) => judge_engine(&engine, &host.kernel.release),
        Err(why) => Finding::missing(why, format!("{PROVISION}, or start the engine yourself")),
    }
}

/// The client may talk to another machine or to a virtual one: the kernel, `release` here, gives that away.
fn judge_engine(engine: &Engine, release: &str) -> Finding {
    let Engine { version, storage, cgroup_version, kernel_version } = engine;
    if !kernel_version.is_empty() && kernel_version != release {
        return Finding::missing(
            format!("the Docker engine runs its containers elsewhere, on kernel {kernel_version}"),
            "unset DOCKER_HOST, or docker context use default",
        );
    }
    let cgroup = match cgroup_version.as_str() {
        "" => String::new(),
        version => format!(", cgroup v{version}"),
    };
    Finding::Ok(format!("{version}, {storage}{cgroup}"))
}

/// An engine that translates IPv6 addresses.
pub(super) fn docker_nat6(_host: &Host<'_>) -> Finding {
    let config = std::fs::read_to_string(ENGINE_CONFIG).unwrap_or_default();
    match Engine::ask() {
        Ok(engine) => judge_nat6(&engine.version, &config),
        Err(why) => Finding::missing(why, format!("{PROVISION}, or start the engine yourself")),
    }
}

/// Where the engine's settings lie, unless it was told otherwise.
const ENGINE_CONFIG: &str = "/etc/docker/daemon.json";

/// Since 27.0 the engine keeps rules for IPv6 unless told not to; before, only if told to, and published ports are otherwise
/// served by a program that copies between two connections: no packet of the client's reaches the container.
fn judge_nat6(version: &str, config: &str) -> Finding {
    let told: serde_json::Value = serde_json::from_str(config).unwrap_or_default();
    let major: Option<u32> = version.split('.').next().and_then(|word| word.parse().ok());
    if told["ip6tables"].as_bool().unwrap_or(major.is_some_and(|major| major >= 27)) {
        return Finding::Ok(String::new());
    }
    Finding::missing(
        format!(
            "the Docker engine {version} translates no IPv6 addresses: it copies between connections instead"
        ),
        format!(
            "set \"experimental\": true and \"ip6tables\": true in {ENGINE_CONFIG}, or use an engine of 27 or later; meanwhile runc and netns measure nat"
        ),
    )
}

/// KVM that was seen to boot a guest: the device alone proves nothing.
pub(super) fn kvm(host: &Host<'_>) -> Finding {
    let booted = match Path::new("/dev/kvm").exists() {
        true => (host.outside.kvm_boots)(),
        false => Err("/dev/kvm is not there".to_owned()),
    };
    match booted {
        Ok(detail) => Finding::Ok(detail),
        Err(why) => Finding::missing(
            why,
            "guests are emulated (TCG) meanwhile; use a host with (nested) virtualization for figures that count",
        ),
    }
}

/// A QEMU that was built with libslirp.
pub(super) fn slirp() -> Finding {
    match program(QEMU) {
        Finding::Ok(_) => {
            let said = command::output(&[QEMU, "-netdev", "help"], WITHIN);
            said.map_or_else(|error| judge_slirp(&format!("{error:#}")), |said| judge_slirp(&said))
        }
        missing => missing,
    }
}

/// `said` is what QEMU lists of its back ends, one a line.
fn judge_slirp(said: &str) -> Finding {
    match said.lines().any(|line| line.trim() == "user") {
        true => Finding::Ok(String::new()),
        false => Finding::missing(
            "this QEMU has no network stack of its own (`-netdev user`)",
            "install a QEMU that was built with libslirp",
        ),
    }
}

/// Time for QEMU to list something.
const WITHIN: Duration = Duration::from_secs(10);

/// Kernels to boot.
pub(super) fn guest_kernels(host: &Host<'_>) -> Finding {
    match (host.outside.guest_kernels)() {
        Ok(kernels) if !kernels.is_empty() => Finding::Ok(kernels.join(", ")),
        Ok(_) => Finding::missing("no kernel for guests is cached or on offer", PROVISION),
        Err(why) => Finding::missing(why, PROVISION),
    }
}

/// Both ends of netperf.
pub(super) fn netperf() -> Finding {
    match program("netserver") {
        Finding::Ok(_) => program("netperf"),
        missing => missing,
    }
}

/// The component that has netperf, unless nothing is wanted of it any more.
pub(super) fn package_sources() -> Finding {
    match component_here() {
        Ok(Some(component)) => Finding::Ok(format!("{component} is enabled")),
        Ok(None) if command::which("netperf").is_some() => {
            Finding::Ok("nothing is wanted of them".to_owned())
        }
        Ok(None) => Finding::missing("no package source offers netperf", PROVISION),
        Err(_) if command::which("netperf").is_some() => {
            Finding::Ok("nothing is wanted of them".to_owned())
        }
        Err(why) => Finding::missing(why, "install netperf yourself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_copy_between_connections_translate_nothing() {
        let translates = |version, config| matches!(judge_nat6(version, config), Finding::Ok(_));
        assert!(!translates("20.10.24+dfsg1", ""));
        assert!(translates("20.10.24+dfsg1", "{\"experimental\": true, \"ip6tables\": true}"));
        assert!(translates("28.1.0", "not json"));
        assert!(!translates("28.1.0", "{\"ip6tables\": false}"));
    }

    #[test]
    fn a_qemu_lists_its_own_stack_among_others() {
        let said = "Available netdev backend types:\nsocket\nuser\ntap\nvhost-user\n";
        assert!(matches!(judge_slirp(said), Finding::Ok(_)));
        let without = said.replace("\nuser\n", "\n");
        assert!(matches!(judge_slirp(&without), Finding::Missing { .. }));
    }

    #[test]
    fn an_engine_on_another_machine_is_none_of_ours() {
        let engine = Engine {
            version: "28.0".to_owned(),
            storage: "overlay2".to_owned(),
            cgroup_version: "2".to_owned(),
            kernel_version: "6.10.14-linuxkit".to_owned(),
        };
        let here = judge_engine(&engine, "6.10.14-linuxkit");
        assert_eq!(here, Finding::Ok("28.0, overlay2, cgroup v2".to_owned()));
        assert!(matches!(judge_engine(&engine, "6.12.0"), Finding::Missing { .. }));
    }
}
