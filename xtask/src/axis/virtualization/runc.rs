//! A container of runc, without an engine around it.

use std::time::Duration;

use evenkeel_agent::step::{Act, Object, Phase, Query, Role, Slot, Step};
use serde_json::json;

use super::{NAME, SUT, Virtualization, hello, learn_server};
use crate::axis::{Kind, Port, Site, make, network::Network, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Runc;

impl Kind for Runc {
    fn name(&self) -> &'static str {
        "runc"
    }

    fn about(&self) -> &'static str {
        "a container started by runc from a folder, in a network namespace that is made for it"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Root, NeedName::Ip, NeedName::Veth, NeedName::Cgroup, NeedName::Runc]
    }
}

impl Virtualization for Runc {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev]
    }

    fn roles(&self) -> &'static [Role] {
        &[Role::Server]
    }

    fn overhead(&self) -> Duration {
        Duration::from_millis(350)
    }

    fn steps(&self, site: &Site, _port: Port, _network: &dyn Network) -> Vec<Step> {
        let names = &site.names;
        let bundle = format!("{}/bundle", names.dir());
        let config = config(site).to_string();
        let mut all = steps(
            Phase::Prepare,
            [
                make(Object::Netns(names.sut_netns()), &[]),
                make(Object::Dir(bundle.clone()), &["config.json", &config]),
            ],
        );
        let container = names.container();
        let root = evenkeel_agent::machine::RUNC_ROOT;
        let argv = ["runc", "--root", root, "run", "--bundle", &bundle, &container];
        let start = Act::Start {
            name: NAME.to_owned(),
            argv: argv.iter().map(|word| (*word).into()).collect(),
            gives: Slot::Pid(evenkeel_agent::step::Node::Host),
            leaves: vec![
                Object::ControllerCgroups(names.engine_cgroup()),
                Object::RuncContainer(container.clone()),
            ],
        };
        let learn =
            Act::Learn { slot: Slot::Pid(SUT), query: Query::RuncPid(container.as_str().into()) };
        all.extend(steps(Phase::Hold, [start, hello(), learn]));
        all.extend(steps(Phase::Place, [learn_server()]));
        all
    }
}

/// The bundle's configuration (OCI runtime specification 1.0): what Docker gives a container by default, with our network namespace.
fn config(site: &Site) -> serde_json::Value {
    let capabilities = [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SYS_CHROOT",
    ];
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/evenkeel-agent"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "noNewPrivileges": true,
        },
        "root": {"path": site.artifacts.rootfs, "readonly": true},
        "hostname": site.names.tag(),
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/tmp", "tmpfs", &["nosuid", "nodev", "mode=1777"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "cgroupsPath": format!("/{}", site.names.engine_cgroup()),
            "namespaces": [
                {"type": "pid"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
                {"type": "network", "path": format!("/run/netns/{}", site.names.sut_netns())},
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sched_debug", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
