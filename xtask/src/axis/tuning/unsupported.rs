//! Knobs that people look for and that are not shipped: a knob ships only if a test applies it, reads it back and undoes it.
//! Their names are refused with the reason, so that nobody believes that one was turned.

/// Names, and why there is no such knob.
pub const UNSUPPORTED: &[(&str, &str)] = &[
    (
        "governor",
        "no host of the tests shows cpufreq, so no test could turn it: set it on the host",
    ),
    ("turbo", "no host of the tests shows cpufreq, so no test could turn it: set it on the host"),
    (
        "nmi-watchdog",
        "the kernels of the tests have no counter for it and refuse it: use `watchdog`, or `nmi_watchdog=0` on the command line",
    ),
    ("halt-poll", "the tests' kernel has halt_poll_ns read-only: set it when kvm is loaded"),
    (
        "rt-period",
        "the kernel refuses a period below the budgets of its cgroups: use `rt-throttle`",
    ),
    (
        "rcu-callbacks",
        "only a kernel's command line moves them: `rcu_nocbs` in `guest-cmdline`, or verified in `host-cmdline`",
    ),
    (
        "irqbalance",
        "a daemon of the host's, which is not ours to stop: stop it, and use `irq-cpus`",
    ),
    ("numa-policy", "no host of the tests has two nodes: use `cpuset-mems` for Docker"),
    ("xps", "a link of one queue has none to steer, and the links of a boot have one"),
    (
        "napi-threads",
        "virtual links are polled by none of their own, and the kernel refuses it for them",
    ),
    ("coalescing", "virtual links have none, and physical ones are not measured yet"),
    ("rings", "virtual links have none, and physical ones are not measured yet"),
    ("offloads", "no test turns them yet: they would change what a bandwidth means"),
    (
        "ulimits",
        "the hosts of the tests may not raise them (no CAP_SYS_RESOURCE), so no test could",
    ),
    (
        "qemu-iothread",
        "virtio-net takes none: packets go through QEMU's main loop, which the role `emulator` places",
    ),
    ("qemu-cpu-pm", "works under KVM only, which boots no guest where the tests run"),
    ("machinecheck", "the kernels of the tests show no machinecheck settings"),
    ("tcp-fastopen", "no workload uses it"),
    (
        "kernel-threads",
        "priorities of the kernel's own threads are not ours to change on a shared host",
    ),
];

/// Roles that people look for and that no profile places, and why.
pub(super) const NO_ROLES: &[(&str, &str)] = &[
    (
        "client",
        "the peer's threads have one placement and policy in every cell, because they measure",
    ),
    (
        "vhost",
        "the hosts of the tests have no /dev/vhost-net, so no test could place its threads: packets of guests go through `emulator`",
    ),
    ("irq", "interrupts are placed by `irq-cpus` and `irq-default-cpus`"),
    (
        "housekeeping",
        "it is the CPUs that no measured thread is given; others' threads are not ours to move",
    ),
];
