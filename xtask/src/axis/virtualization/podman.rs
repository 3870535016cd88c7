//! A container of Podman, from a folder, in a network namespace that is made for it. What Podman keeps of it lies in the boot's folder
//! and goes with that: its store, its locks, and the state of the runtime below it.

use std::time::Duration;

use evenkeel_agent::step::{Act, Arg, Node, Object, Phase, Query, Role, Slot, Step};

use super::{NAME, SUT, Virtualization, hello, learn_server, limits};
use crate::axis::{Kind, Port, Site, make, network::Network, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Podman;

impl Kind for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn about(&self) -> &'static str {
        "a container of Podman, with runc below it, from a folder and with a store of its own"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[
            NeedName::Root,
            NeedName::Ip,
            NeedName::Veth,
            NeedName::Cgroup,
            NeedName::Runc,
            NeedName::Podman,
        ]
    }
}

impl Virtualization for Podman {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev]
    }

    fn roles(&self) -> &'static [Role] {
        &[Role::Server]
    }

    fn memory_knobs(&self) -> &'static [&'static str] {
        &["cpuset-mems"]
    }

    fn overhead(&self) -> Duration {
        Duration::from_millis(800)
    }

    fn steps(&self, site: &Site, _port: Port, _network: &dyn Network) -> Vec<Step> {
        let names = &site.names;
        let store = format!("{}/podman", names.dir());
        let cgroups = || Object::ControllerCgroups(names.engine_cgroup());
        let files = ["containers.conf", &engine(&store), "storage.conf", &storage(&store)]
            .map(str::to_owned);
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let mut prepare = vec![
            make(Object::Netns(names.sut_netns()), &[]),
            make(Object::Dir(store.clone()), &files),
        ];
        if site.realtime_groups {
            prepare.push(make(cgroups(), &[]));
        }
        let mut all = steps(Phase::Prepare, prepare);
        let start = Act::Start {
            name: NAME.to_owned(),
            argv: argv(site, &store).into_iter().map(Arg::from).collect(),
            gives: Slot::Pid(Node::Host),
            leaves: vec![cgroups()],
        };
        let learn = Act::Learn { slot: Slot::Pid(SUT), query: Query::PidFile(pid(&store).into()) };
        all.extend(steps(Phase::Hold, [start, hello(), learn]));
        all.extend(steps(Phase::Place, [learn_server()]));
        all
    }
}

/// Where Podman writes the process id of the container.
fn pid(store: &str) -> String {
    format!("{store}/pid")
}

/// Podman's command line. Its monitor stays in the boot's cgroup, as its client does.
fn argv(site: &Site, store: &str) -> Vec<String> {
    let names = &site.names;
    #[rustfmt::skip]
    let mut argv = [
        "env", &format!("CONTAINERS_CONF={store}/containers.conf"),
        &format!("CONTAINERS_STORAGE_CONF={store}/storage.conf"),
        "podman", "--runtime-flag", &format!("root={store}/runc"),
        "run", "--rm", "--interactive", "--name", &names.container(), "--pidfile", &pid(store),
        "--cgroups", "no-conmon", "--cgroup-parent", &format!("/{}", names.engine_cgroup()),
        "--network", &format!("ns:/run/netns/{}", names.sut_netns()),
    ].map(str::to_owned).to_vec();
    // By itself it raises these as far as a root with every capability may. To lower them is allowed to all.
    argv.extend(["--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096"].map(str::to_owned));
    argv.extend(limits(site));
    // What Podman adds to the root (names, hosts) goes to a layer above it.
    let root = format!("{}:O", site.artifacts.rootfs.display());
    argv.extend(["--rootfs".to_owned(), root, "/evenkeel-agent".to_owned()]);
    argv
}

/// Its configuration (containers.conf(5)), instead of the host's. What it knows of containers lies beside the layers, where its own cleaning up, which
/// is started with other words, looks for it: who finds nothing there has `podman run` wait for 20 s. Where there is
/// AppArmor, a profile of Podman's own would stay in the kernel.
fn engine(store: &str) -> String {
    format!(
        r#"[containers]
apparmor_profile = "unconfined"
log_driver = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
runtime = "runc"
tmp_dir = "{store}/tmp"
volume_path = "{store}/volumes"
[network]
network_config_dir = "{store}/networks"
"#
    )
}

/// Where it keeps layers (containers-storage.conf(5)).
fn storage(store: &str) -> String {
    format!(
        r#"[storage]
driver = "overlay"
graphroot = "{store}/graph"
runroot = "{store}/run"
"#
    )
}
