//! Which threads run where. One rule for every cell: the peer has one placement and policy, whatever the cell; tuning moves the system
//! under test only; and at least one CPU is left without realtime threads, or a machine could hang.

use serde::{Deserialize, Serialize};

/// Where threads run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// CPUs for everything else; never a realtime thread.
    pub housekeeping: Vec<usize>,
    /// CPUs of the peer's threads.
    pub peer: Vec<usize>,
    /// Policy of the peer's threads.
    pub peer_policy: String,
    /// CPUs for the system under test, if its tuning isolates it.
    pub isolated: Vec<usize>,
    /// Why this is less than what was asked for.
    pub partial: Option<String>,
}

/// Realtime priority of measured threads: below 50, at which realtime kernels run their interrupt threads, so that a
/// measured thread never keeps the packets it waits for from arriving.
pub const PRIORITY: u8 = 49;

/// Realtime priority of the peer: below every thread of the system under test, virtual CPUs included, so that on a shared CPU
/// a client that polls never keeps the server from answering. (iperf3 3.12 does: while it waits for its server's word, its `select`
/// watches a data socket that can always be written.)
const PEER_PRIORITY: u8 = PRIORITY - 2;

impl Placement {
    /// The placement on a machine with these CPUs online, for a user who may or may not ask for realtime.
    pub fn on(cpus: &[usize], realtime: bool) -> Placement {
        let fifo = if realtime { format!("fifo:{PEER_PRIORITY}") } else { "other".to_owned() };
        match cpus {
            [] | [_] => Placement {
                housekeeping: cpus.to_vec(),
                peer: cpus.to_vec(),
                peer_policy: "other".to_owned(),
                isolated: cpus.to_vec(),
                partial: Some("there is only one CPU: nothing can be isolated".to_owned()),
            },
            [first, second] => Placement {
                housekeeping: vec![*first],
                peer: vec![*second],
                peer_policy: fifo,
                isolated: vec![*second],
                partial: Some(format!(
                    "there are only two CPUs: the peer shares CPU {second}, so that CPU {first} stays free of realtime threads"
                )),
            },
            [first, middle @ .., last] => Placement {
                housekeeping: vec![*first],
                peer: vec![*last],
                peer_policy: fifo,
                isolated: middle.to_vec(),
                partial: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_cpu_is_always_free_of_realtime_threads() {
        for count in 1..9 {
            let cpus: Vec<usize> = (0..count).collect();
            let placement = Placement::on(&cpus, true);
            let realtime = |cpu| placement.peer.contains(cpu) || placement.isolated.contains(cpu);
            let free = cpus.iter().any(|cpu| !realtime(cpu));
            assert!(free || placement.peer_policy == "other", "{placement:?}");
            assert_eq!(placement.partial.is_some(), count < 3);
        }
    }
}
