//! A container of the Docker engine that runs on this host, from an image that was imported for the run.

use std::time::Duration;

use evenkeel_agent::step::{Act, Arg, LinkKey, Node, Object, Phase, Query, Role, Slot, Step};

use super::{NAME, SUT, Virtualization, hello, learn_server, limits};
use crate::axis::{INSIDE, Kind, Port, Site, link, make, network::Network, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Docker;

/// The container's hardware address: fixed, so that nothing depends on a draw (locally administered).
const MAC: &str = "02:65:6b:00:00:02";

impl Kind for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn about(&self) -> &'static str {
        "a container of the Docker engine on this host, from an image made of this program"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[
            NeedName::Root,
            NeedName::Ip,
            NeedName::Veth,
            NeedName::Cgroup,
            NeedName::DockerClient,
            NeedName::DockerEngine,
        ]
    }
}

impl Virtualization for Docker {
    fn ports(&self) -> &'static [Port] {
        &[Port::Engine, Port::Netdev]
    }

    fn roles(&self) -> &'static [Role] {
        &[Role::Server]
    }

    fn memory_knobs(&self) -> &'static [&'static str] {
        &["cpuset-mems"]
    }

    fn overhead(&self) -> Duration {
        Duration::from_millis(900)
    }

    fn steps(&self, site: &Site, port: Port, network: &dyn Network) -> Vec<Step> {
        let names = &site.names;
        let container = names.container();
        let mut argv: Vec<String> =
            ["docker", "run", "--rm", "--interactive", "--name", &container]
                .map(str::to_owned)
                .to_vec();
        argv.extend(["--label".to_owned(), format!("evenkeel={}", names.tag())]);
        argv.extend(["--log-driver", "none"].map(str::to_owned));
        // On hosts that give realtime time by cgroup, the container must lie under a cgroup whose budget is ours to set.
        if site.realtime_groups {
            argv.extend(["--cgroup-parent".to_owned(), format!("/{}", names.engine_cgroup())]);
        }
        argv.extend(limits(site));
        match port {
            Port::Engine => argv.extend(network.engine_words(site)),
            Port::Netdev | Port::Tap | Port::Shared | Port::User => {
                argv.extend(["--network", "none"].map(str::to_owned));
            }
        }
        argv.extend([site.artifacts.image.clone(), "/evenkeel-agent".to_owned()]);
        let start = Act::Start {
            name: NAME.to_owned(),
            argv: argv.into_iter().map(Arg::from).collect(),
            gives: Slot::Pid(Node::Host),
            leaves: vec![
                Object::ControllerCgroups(names.engine_cgroup()),
                Object::DockerContainer(container.clone()),
            ],
        };
        let learn =
            Act::Learn { slot: Slot::Pid(SUT), query: Query::DockerPid(container.as_str().into()) };
        let mut all = steps(Phase::Hold, [start, hello(), learn]);
        // A name for the container's namespace: to put links into it, and to read its counters.
        let attach = Act::Make {
            object: Object::Netns(names.sut_netns()),
            with: vec![Slot::Pid(SUT).into()],
        };
        all.extend(steps(Phase::Attach, [attach]));
        if port == Port::Engine && network.has_own_mac() {
            // Not by `--mac-address`: newer clients refuse it against older engines.
            let mac = link(&names.sut_netns(), INSIDE, LinkKey::Mac, MAC);
            all.extend(steps(Phase::Attach, [mac]));
        }
        all.extend(steps(Phase::Place, [learn_server()]));
        if site.realtime_groups {
            let object = Object::ControllerCgroups(names.engine_cgroup());
            all.extend(steps(Phase::Prepare, [make(object, &[])]));
        }
        all
    }
}
