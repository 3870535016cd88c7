//! Virtual machines of QEMU: virtio devices, our initramfs; KVM where a guest really boots, else TCG. One is a PC with a PCI bus (machine type q35),
//! the other the least that boots a Linux (microvm: no bus, devices at fixed places).

use std::time::Duration;

use evenkeel_agent::step::{Act, Arg, Held, Phase, Query, Role, Slot, Step};

use evenkeel_agent::guest::CONTROL_PORT;
use evenkeel_agent::machine::real::CONSOLE;

use super::accelerator::QEMU;
use super::{NAME, SUT, Virtualization};
use crate::axis::{Kind, Port, Site, network::Network, steps};
use crate::doctor::NeedName;

/// A kind of machine.
#[derive(Debug)]
pub struct Qemu {
    name: &'static str,
    about: &'static str,
    /// Words for QEMU's option `-machine`.
    machine: &'static str,
    /// How names of its virtio devices end.
    bus: &'static str,
    /// What its network card is told beside.
    card: &'static str,
    modules: &'static [&'static str],
    /// Additions to the kernel's command line.
    cmdline: &'static [&'static str],
    /// Whether it has nothing by which an emulated guest could find out how fast its processor's clock counts.
    must_be_told_clock: bool,
}

/// A PC.
pub const Q35: Qemu = Qemu {
    name: "qemu",
    about: "a virtual machine with a kernel of its own; emulated, and marked so, where KVM does not boot a guest",
    machine: MACHINE,
    bus: "pci",
    card: ",romfile=",
    modules: &["virtio_pci", "virtio_net", "virtio_console"],
    cmdline: &[],
    must_be_told_clock: false,
};

/// The least that boots a Linux. It has no clock but the processor's, so the kernel must not judge that by its own ticks, as it
/// does on an emulated processor: with those for a clock, its timers would be as coarse. Nor could it measure that clock's speed where the
/// host is busy: the one timer beside it needs an undisturbed look, and a kernel that fails at it waits for ticks that never come.
pub const MICROVM: Qemu = Qemu {
    name: "microvm",
    about: "a virtual machine without a bus, with the few devices that a Linux needs; emulated, and marked so, where KVM does not boot a guest",
    machine: "microvm,acpi=on,usb=off,graphics=off",
    bus: "device",
    card: "",
    modules: &["virtio_mmio", "virtio_net", "virtio_console"],
    cmdline: &["tsc=reliable"],
    must_be_told_clock: true,
};

/// The guest's hardware address, by which its init finds the link.
pub const MAC: &str = "02:65:6b:00:00:02";

/// How long QEMU may take to open its monitor, and a guest to say hello: emulated guests under load are slow. One that cannot come up any
/// more is given up before, by what its QEMU does.
const MONITOR: Duration = Duration::from_secs(30);
const HELLO: Duration = Duration::from_secs(180);

impl Kind for Qemu {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn needs(&self) -> &'static [NeedName] {
        &[
            NeedName::Root,
            NeedName::Ip,
            NeedName::Veth,
            NeedName::Cgroup,
            NeedName::Tun,
            NeedName::Qemu,
            NeedName::GuestKernels,
        ]
    }
}

impl Virtualization for Qemu {
    fn ports(&self) -> &'static [Port] {
        &[Port::Tap, Port::User]
    }

    fn roles(&self) -> &'static [Role] {
        &[Role::Vcpu, Role::Emulator]
    }

    fn memory_knobs(&self) -> &'static [&'static str] {
        &["memory-lock", "guest-hugepages", "guest-prealloc"]
    }

    fn is_guest(&self) -> bool {
        true
    }

    fn modules(&self) -> &'static [&'static str] {
        self.modules
    }

    /// Of one that is emulated.
    fn overhead(&self) -> Duration {
        Duration::from_secs(7)
    }

    fn steps(&self, site: &Site, _port: Port, network: &dyn Network) -> Vec<Step> {
        let names = &site.names;
        let qmp = names.qmp();
        let start = Act::Start {
            name: NAME.to_owned(),
            argv: self.argv(site, network).into_iter().map(Arg::from).collect(),
            gives: Slot::Pid(SUT),
            leaves: Vec::new(),
        };
        let monitor = || Arg::from(qmp.as_str());
        let mut all = steps(
            Phase::Hold,
            [start, Act::Await { query: Query::QmpReady(monitor()), within: MONITOR }],
        );
        all.extend(steps(
            Phase::Place,
            [
                Act::Learn {
                    slot: Slot::Threads(SUT, Role::Vcpu),
                    query: Query::QmpVcpus(monitor()),
                },
                Act::Learn {
                    slot: Slot::Threads(SUT, Role::Emulator),
                    query: Query::QmpOthers(Slot::Pid(SUT).into(), monitor()),
                },
            ],
        ));
        all.extend(steps(
            Phase::Go,
            [
                Act::Go(Held::Qemu(monitor())),
                Act::Await {
                    query: Query::GuestHello(NAME.into(), Slot::Pid(SUT).into()),
                    within: HELLO,
                },
            ],
        ));
        all
    }
}

impl Qemu {
    /// QEMU's command line. It runs in the namespace that the path is in, and is started held.
    fn argv(&self, site: &Site, network: &dyn Network) -> Vec<String> {
        let (names, bus) = (&site.names, self.bus);
        let guest = site.artifacts.guest.as_ref();
        let path = |file: Option<&std::path::PathBuf>| {
            file.map_or_else(String::new, |file| file.display().to_string())
        };
        let mut cmdline = CMDLINE.to_owned();
        let of_kernel = guest.into_iter().flat_map(|guest| &guest.cmdline).map(String::as_str);
        let clock = guest
            .and_then(|guest| guest.tsc_khz)
            .filter(|_| self.must_be_told_clock)
            .map(|khz| format!("tsc_early_khz={khz}"));
        let of_machine = self.cmdline.iter().copied().chain(clock.as_deref());
        for word in of_machine.chain(of_kernel).chain(site.profile.guest_words()) {
            cmdline.push(' ');
            cmdline.push_str(word);
        }
        let accelerator =
            guest.map_or(["-accel", "tcg", "-cpu", "qemu64"], |g| g.accelerator.arguments());
        let mut words =
            ["ip", "netns", "exec", &names.path_netns(), QEMU].map(str::to_owned).to_vec();
        words.extend(accelerator.map(str::to_owned));
        words.extend(["-machine", self.machine].map(str::to_owned));
        words.extend(COMMON.map(str::to_owned));
        words.extend(["-smp".to_owned(), site.profile.guest_cpus().to_string()]);
        words.extend(memory(site));
        #[rustfmt::skip]
    words.extend([
        "-name", &format!("{},debug-threads=on", names.container()),
        "-S", "-qmp", &format!("unix:{},server=on,wait=off", names.qmp()),
        "-kernel", &path(guest.map(|guest| &guest.kernel)),
        "-initrd", &path(guest.map(|guest| &guest.initramfs)),
        "-append", &cmdline,
        "-serial", &format!("file:{}/{CONSOLE}", names.dir()),
        "-netdev", &network.netdev(site),
        "-device", &format!("virtio-net-{bus},netdev=net0,mac={MAC}{}", self.card),
        "-device", &format!("virtio-serial-{bus}"),
        "-chardev", "stdio,id=control,signal=off",
        "-device", &format!("virtserialport,chardev=control,name={CONTROL_PORT}"),
    ].map(str::to_owned));
        words
    }
}

/// What the knobs of memory ask of QEMU. Memory of its own kind is made first and given to the machine.
fn memory(site: &Site) -> Vec<String> {
    let asks = |knob: &str| site.profile.asks(knob);
    let mut words = Vec::new();
    if asks("memory-lock") {
        words.extend(["-overcommit", "mem-lock=on"].map(str::to_owned));
    }
    let huge = site.profile.has_guest_on_hugepages(site);
    if huge || asks("guest-prealloc") {
        let prealloc = if asks("guest-prealloc") { "on" } else { "off" };
        let mut backend =
            format!("memory-backend-memfd,id=ram,size={MEMORY_MB}M,prealloc={prealloc}");
        if huge {
            backend += ",hugetlb=on,hugetlbsize=2M";
        }
        words.extend(["-object".to_owned(), backend]);
        words.extend(["-machine", "memory-backend=ram"].map(str::to_owned));
    }
    words
}

/// Memory of every guest, MiB.
pub const MEMORY_MB: u32 = 512;

/// The machine of guests that are PCs, without its devices and CPUs: a word for QEMU's option `-machine`.
pub const MACHINE: &str = "q35,usb=off,vmport=off,smbus=off,sata=off,graphics=off";

/// What QEMU is told of every machine.
pub const COMMON: [&str; 7] =
    ["-m", "512", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"];

/// What every guest's kernel is told: a console, silence, and a reset instead of a halt when it panics.
pub const CMDLINE: &str = "console=ttyS0 quiet panic=-1";
