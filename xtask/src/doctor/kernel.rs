//! What the running kernel offers: built in, loadable, or not there.
//!
//! The only proof is to use a feature, and using one may load a module, which is a change. So the
//! kernel's own configuration and its list of modules are read instead.

use std::path::Path;
use std::time::Duration;

use evenkeel_agent::command;

/// How a feature is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Support {
    /// Part of the kernel, or a module that is loaded.
    Here,
    /// A module that is loaded on first use.
    Loadable,
    /// Configured as a module, whose file is not installed.
    NoFile,
    /// Not configured.
    Absent,
    /// Neither configuration nor modules can be read.
    Unknown,
}

/// Texts about the running kernel. Absent where the host does not have them.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    /// `uname -r`.
    pub(super) release: String,
    /// Its configuration, as a `.config` file.
    config: Option<String>,
    /// Paths of its modules and what they depend on (`modules.dep`).
    modules: Option<String>,
    /// Paths of modules that are built in (`modules.builtin`).
    builtin: Option<String>,
    /// Names of loaded modules (/proc/modules).
    loaded: String,
}

impl Kernel {
    /// The running kernel.
    pub(super) fn running() -> Kernel {
        let read = |path: String| std::fs::read_to_string(path).ok();
        let release = read("/proc/sys/kernel/osrelease".to_owned()).unwrap_or_default();
        let release = release.trim().to_owned();
        let folder = format!("/lib/modules/{release}");
        let embedded = || {
            let path = "/proc/config.gz";
            let text = || command::output(&["zcat", path], Duration::from_secs(5)).ok();
            Path::new(path).exists().then(text).flatten()
        };
        Kernel {
            config: embedded()
                .or_else(|| read(format!("/boot/config-{release}")))
                .or_else(|| read(format!("{folder}/config"))),
            modules: read(format!("{folder}/modules.dep")),
            builtin: read(format!("{folder}/modules.builtin")),
            loaded: read("/proc/modules".to_owned()).unwrap_or_default(),
            release,
        }
    }

    /// How the feature behind a configuration option (`CONFIG_VETH`) and its module (`veth`) is offered.
    pub(super) fn support(&self, option: &str, module: &str) -> Support {
        if self.loaded.lines().any(|line| line.split(' ').next() == Some(module)) {
            return Support::Here;
        }
        let file = match listed(self.modules.as_deref(), module) {
            true => Support::Loadable,
            false => Support::NoFile,
        };
        match self.configured(option) {
            Some('y') => Support::Here,
            Some('m') => file,
            Some(_) => Support::Absent,
            None if listed(self.builtin.as_deref(), module) => Support::Here,
            None if file == Support::Loadable => file,
            None if self.modules.is_some() && self.builtin.is_some() => Support::Absent,
            None => Support::Unknown,
        }
    }

    /// `y`, `m` or `n`; `None` without a configuration.
    fn configured(&self, option: &str) -> Option<char> {
        let config = self.config.as_deref()?;
        let value = config.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
        Some(value.and_then(|value| value.chars().next()).unwrap_or('n'))
    }
}

/// Whether a list of paths of modules names this one. Files write `-` where the kernel writes `_`.
fn listed(list: Option<&str>, module: &str) -> bool {
    list.unwrap_or_default().lines().any(|line| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        file.split_once(".ko").is_some_and(|(name, _)| name.replace('-', "_") == module)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(config: Option<&str>, modules: Option<&str>, builtin: Option<&str>) -> Kernel {
        Kernel {
            config: config.map(str::to_owned),
            modules: modules.map(str::to_owned),
            builtin: builtin.map(str::to_owned),
            loaded: "tun 61440 2 vhost_net, Live 0x0\n".to_owned(),
            ..Kernel::default()
        }
    }

    #[test]
    fn the_configuration_decides_and_a_module_needs_its_file() {
        let config =
            "CONFIG_VETH=y\nCONFIG_IPVLAN=m\nCONFIG_MACVLAN=m\n# CONFIG_VXLAN is not set\n";
        let dep = "kernel/drivers/net/macvlan.ko.xz: kernel/net/a.ko.xz\n";
        let kernel = kernel(Some(config), Some(dep), None);
        assert_eq!(kernel.support("CONFIG_VETH", "veth"), Support::Here);
        assert_eq!(kernel.support("CONFIG_IPVLAN", "ipvlan"), Support::NoFile);
        assert_eq!(kernel.support("CONFIG_MACVLAN", "macvlan"), Support::Loadable);
        assert_eq!(kernel.support("CONFIG_VXLAN", "vxlan"), Support::Absent);
        // An option is a whole name: CONFIG_VE is not CONFIG_VETH.
        assert_eq!(kernel.support("CONFIG_VE", "ve"), Support::Absent);
    }

    #[test]
    fn without_a_configuration_the_lists_of_modules_decide() {
        let dep = "kernel/drivers/vhost/vhost-net.ko: kernel/drivers/vhost/vhost.ko\n";
        let kernel = kernel(None, Some(dep), Some("kernel/net/bridge/bridge.ko\n"));
        assert_eq!(kernel.support("CONFIG_VHOST_NET", "vhost_net"), Support::Loadable);
        assert_eq!(kernel.support("CONFIG_BRIDGE", "bridge"), Support::Here);
        // What something else depends on is not the thing itself.
        assert_eq!(kernel.support("CONFIG_VHOST", "vhost"), Support::Absent);
    }

    #[test]
    fn a_loaded_module_is_here_and_silence_is_not_absence() {
        assert_eq!(kernel(None, None, None).support("CONFIG_TUN", "tun"), Support::Here);
        assert_eq!(kernel(None, None, None).support("CONFIG_VETH", "veth"), Support::Unknown);
    }
}
