//! Probes of what the kernel makes networks of, and of what filters them.

use std::fs;
use std::path::Path;

use evenkeel_agent::command;
use nix::unistd::{AccessFlags, access};

use super::WITHIN;
use crate::doctor::kernel::{Kernel, Support};
use crate::doctor::{Finding, PROVISION};

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

/// Whether bridges pass their packets through netfilter, and what that does to ours.
pub(super) fn bridge_netfilter() -> Finding {
    let state = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    let filtered = state.is_ok_and(|value| value.trim() == "1");
    if !filtered {
        return Finding::Ok("off".to_owned());
    }
    let ask = |argv: &[&str]| {
        let told = command::run(argv, WITHIN).map(|ended| ended.stdout).unwrap_or_default();
        String::from_utf8_lossy(&told).into_owned()
    };
    // To list a table of iptables-legacy makes it: only one that is there already is asked for.
    let tables = fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    let legacy = match tables.lines().any(|table| table == "filter") {
        true => ask(&["iptables-legacy", "-S", "FORWARD"]),
        false => String::new(),
    };
    let chain = ask(&["nft", "list", "chain", "ip", "filter", "FORWARD"]);
    judge_bridge_netfilter(&chain, &legacy, command::which("nft").is_some())
}

/// `chain` is how nft prints the chain that forwards, `legacy` how iptables-legacy does, where there is one.
fn judge_bridge_netfilter(chain: &str, legacy: &str, has_nft: bool) -> Finding {
    if !has_nft {
        return Finding::missing(
            "bridges are filtered (bridge-nf-call-iptables=1), and without `nft` our bridge \
             cannot be let through",
            format!("{PROVISION}, or install the package nftables"),
        );
    }
    // Each table has its say: what one drops, no other can let through.
    if legacy.contains("-P FORWARD DROP") {
        return Finding::missing(
            "bridges are filtered (bridge-nf-call-iptables=1), and FORWARD of iptables-legacy \
             drops, where rules of nft do not reach",
            "sysctl net.bridge.bridge-nf-call-iptables=0, or let Docker use iptables-nft \
             (update-alternatives)",
        );
    }
    Finding::Ok(match chain.contains("policy drop") {
        true => "on, and FORWARD drops: our bridge gets a rule of its own".to_owned(),
        false => "on, and FORWARD accepts".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropping_bridge_is_fine_only_with_the_means_to_open_it() {
        let chain = "table ip filter {\n chain FORWARD {\n type filter hook forward priority filter; policy drop;\n";
        let legacy = "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n";
        let shown = |chain, legacy, has_nft| match judge_bridge_netfilter(chain, legacy, has_nft) {
            Finding::Ok(detail) => detail,
            Finding::Missing { reason, .. } => format!("missing: {reason}"),
        };
        assert!(shown(chain, "", true).contains("FORWARD drops: our bridge"));
        assert!(shown("", "-P FORWARD ACCEPT\n", true).contains("accepts"));
        assert!(shown("", legacy, true).contains("missing: bridges are filtered"));
        assert!(shown(chain, "", false).contains("without `nft`"));
    }
}
