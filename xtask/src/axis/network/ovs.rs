//! An Open vSwitch between peer and system under test, with its datapath in userspace. Database and switch are processes of the boot, in
//! the namespace of the path: a switch of the host's is neither asked nor needed. An ordinary user's would start, and carry nothing.

use std::time::Duration;

use evenkeel_agent::step::{Act, Arg, LinkKey, Node, Object, Phase, Query, Slot, Step};

use super::{Network, hop};
use crate::axis::{Hop, INSIDE, Kind, Port, Site, end_is, link, make, make_link, make_pair, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Ovs;

/// The name of its processes.
const NAME: &str = "switch";

/// How long the switch may take to have its ports.
const READY: Duration = Duration::from_secs(60);

/// Starts both for a folder, a bridge and its ports, and says so in a file once the switch has them. Senders leave segments and checksums to
/// their links, so the switch must take what is larger than the MTU, and what has no checksum yet: that is asked for before it starts. What they say is the boot's, not the host's
/// log's.
const SCRIPT: &str = r#"set -e
d=$1 bridge=$2; shift 2
ask="ovs-vsctl -vsyslog:off --db=unix:$d/db.sock --timeout=30 --retry"
ovsdb-tool create $d/conf.db
ovsdb-server -vconsole:warn -vsyslog:off --remote=punix:$d/db.sock --unixctl=$d/db.ctl $d/conf.db &
$ask --no-wait init -- set Open_vSwitch . other_config:userspace-tso-enable=true
ovs-vswitchd -vconsole:warn -vsyslog:off unix:$d/db.sock --unixctl=$d/switch.ctl &
$ask add-br $bridge -- set bridge $bridge datapath_type=netdev
for port; do
  $ask add-port $bridge $port
  error=$($ask get interface $port error)
  [ "$error" = '[]' ] || { echo "port $port: $error" >&2; exit 1; }
done
: >$d/ready
wait"#;

impl Kind for Ovs {
    fn name(&self) -> &'static str {
        "ovs"
    }

    fn about(&self) -> &'static str {
        "an Open vSwitch of the boot's own, with its datapath in userspace"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Root, NeedName::Ip, NeedName::Veth, NeedName::Tun, NeedName::Ovs]
    }
}

impl Network for Ovs {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev, Port::Tap]
    }

    fn steps(&self, site: &Site, port: Port) -> Vec<Step> {
        let names = &site.names;
        let (peer, path, sut) = (names.peer_netns(), names.path_netns(), names.sut_netns());
        let (peer_port, sut_port) = (names.peer_port(), names.sut_port());
        let mut prepare = vec![
            make(Object::Netns(path.clone()), &[]),
            make(Object::Dir(folder(site)), &[]),
            make_pair((&path, &peer_port), (&peer, INSIDE)),
            link(&path, &peer_port, LinkKey::State, "up"),
        ];
        prepare.extend(end_is(&site.addresses, &peer, site.addresses.peer()));
        if port == Port::Tap {
            prepare.push(make_link(&path, &sut_port, &["tap"]));
            prepare.push(link(&path, &sut_port, LinkKey::State, "up"));
        }
        let mut all = steps(Phase::Prepare, prepare);
        let mut attach = Vec::new();
        if port == Port::Netdev {
            attach.push(make_pair((&path, &sut_port), (&sut, INSIDE)));
            attach.push(link(&path, &sut_port, LinkKey::State, "up"));
            attach.extend(end_is(&site.addresses, &sut, site.addresses.sut()));
        }
        attach.push(start(site));
        all.extend(steps(Phase::Attach, attach));
        let ready = Query::FileIsThere(format!("{}/ready", folder(site)).into());
        all.extend(steps(Phase::Go, [Act::Await { query: ready, within: READY }]));
        all
    }

    fn hops(&self, site: &Site, port: Port) -> Vec<Hop> {
        let (names, path) = (&site.names, site.names.path_netns());
        let mut hops = vec![
            hop("peer's link", &names.peer_netns(), INSIDE),
            hop("peer's port of the switch", &path, &names.peer_port()),
            hop("system's port of the switch", &path, &names.sut_port()),
        ];
        if port != Port::Tap {
            hops.push(hop("system's link", &names.sut_netns(), INSIDE));
        }
        hops
    }

    fn has_untuned_threads(&self) -> Option<&'static str> {
        Some("the threads of the switch, which carries every packet, are left as they are")
    }

    fn engine_words(&self, _site: &Site) -> Vec<String> {
        Vec::new()
    }
}

/// Where database and switch keep what is theirs.
fn folder(site: &Site) -> String {
    format!("{}/ovs", site.names.dir())
}

/// Starts database and switch. The variables are those of ovs-vswitchd(8) and its neighbours.
fn start(site: &Site) -> Act<Arg> {
    let (names, folder) = (&site.names, folder(site));
    let mut argv = ["ip", "netns", "exec", &names.path_netns(), "env"].map(str::to_owned).to_vec();
    let variables = ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"];
    argv.extend(variables.map(|variable| format!("{variable}={folder}")));
    argv.extend(["sh", "-c", SCRIPT, NAME].map(str::to_owned));
    argv.extend([folder, names.bridge(), names.peer_port(), names.sut_port()]);
    Act::Start {
        name: NAME.to_owned(),
        argv: argv.into_iter().map(Arg::from).collect(),
        gives: Slot::Pid(Node::Path),
        leaves: Vec::new(),
    }
}
