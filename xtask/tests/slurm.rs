//! A cluster on this machine: a controller and three nodes run the shards of `smoke` as an array, a node dies, and what it was measuring is
//! named as missing, submitted once more and joined. Needs Debian's slurm-wlm and munge; skipped with that reason where they are not.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{Host, PATIENCE, Said, XTASK, run};
use evenkeel_agent::command::{self, which};
use evenkeel_agent::wait;

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// The longest that anything here may take: a guest that is emulated on a busy machine boots for minutes.
const LONG: Duration = Duration::from_secs(600);

/// Daemons in the foreground, ended with the test.
struct Cluster {
    place: PathBuf,
    daemons: Vec<(String, Child)>,
}

impl Cluster {
    fn start(host: &Host) -> Cluster {
        let place = host.place.path().join("cluster");
        std::fs::create_dir_all(place.join("state")).unwrap();
        let folder = |name: &str| place.join(name).to_str().unwrap().to_owned();
        // Held until all are known, so that they differ.
        let held: Vec<TcpListener> =
            (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|port| port.local_addr().unwrap().port()).collect();
        drop(held);
        let name = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let name = name.split('.').next().unwrap();
        let key: Vec<u8> = (0..1024).map(|_| fastrand::u8(..)).collect();
        std::fs::write(folder("munge.key"), key).unwrap();
        std::fs::set_permissions(folder("munge.key"), PermissionsExt::from_mode(0o600)).unwrap();
        let mut text = format!(
            "ClusterName=ek\nSlurmctldHost={name}(127.0.0.1)\nSlurmctldPort={}\nSlurmUser=root\n\
             AuthType=auth/munge\nAuthInfo=socket={socket},cred_expire=10\nStateSaveLocation={state}\n\
             SlurmdSpoolDir={place}/spool-%n\nSlurmctldPidFile={place}/ctld.pid\nSlurmdPidFile={place}/%n.pid\n\
             SlurmctldLogFile={place}/ctld.log\nSlurmdLogFile={place}/%n.log\nProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\nMpiDefault=none\nReturnToService=2\nSlurmdTimeout=300\nKillWait=30\n\
             PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
            ports[0],
            socket = folder("munge.socket"),
            state = folder("state"),
            place = place.display(),
        );
        for (node, port) in NODES.iter().zip(&ports[1..]) {
            text += &format!(
                "NodeName={node} NodeHostname={name} NodeAddr=127.0.0.1 Port={port} CPUs=1 Features=bench\n"
            );
            std::fs::create_dir_all(folder(&format!("spool-{node}"))).unwrap();
        }
        std::fs::write(folder("slurm.conf"), text).unwrap();
        let mut cluster = Cluster { place: place.clone(), daemons: Vec::new() };
        let socket = format!("--socket={}", folder("munge.socket"));
        let munge = [
            "--foreground".to_owned(),
            "--force".to_owned(),
            socket,
            format!("--key-file={}", folder("munge.key")),
            format!("--pid-file={}", folder("munge.pid")),
            format!("--log-file={}", folder("munge.log")),
            format!("--seed-file={}", folder("munge.seed")),
        ];
        cluster.daemon("munged", "munged", &munge.each_ref().map(String::as_str));
        let there = || Ok(Path::new(&folder("munge.socket")).exists().then_some(()));
        wait::until("munge", PATIENCE, there).unwrap();
        cluster.daemon("ctld", "slurmctld", &["-D", "-f", &folder("slurm.conf")]);
        for node in NODES {
            cluster.daemon(node, "slurmd", &["-D", "-N", node, "-f", &folder("slurm.conf")]);
        }
        let idle = || {
            let told = cluster.ask(&["sinfo", "--noheader", "--Node", "--format=%T"]);
            Ok((told.matches("idle").count() == NODES.len()).then_some(()))
        };
        wait::until("nodes that are idle", PATIENCE, idle).unwrap();
        cluster
    }

    fn daemon(&mut self, name: &str, program: &str, words: &[&str]) {
        let log = std::fs::File::create(self.place.join(format!("{name}.out"))).unwrap();
        #[expect(clippy::disallowed_methods, reason = "it is ended by the test")]
        let mut command = std::process::Command::new(program);
        command.args(words).stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        self.daemons.push((name.to_owned(), command.spawn().unwrap()));
    }

    fn config(&self) -> String {
        format!("SLURM_CONF={}/slurm.conf", self.place.display())
    }

    /// What a client of the cluster says.
    fn ask(&self, words: &[&str]) -> String {
        let config = self.config();
        let ended = command::run(&[&["env", &config][..], words].concat(), PATIENCE).unwrap();
        String::from_utf8_lossy(&ended.stdout).into_owned()
    }

    fn is_over(&self) {
        let over = || Ok(self.ask(&["squeue", "--noheader"]).trim().is_empty().then_some(()));
        wait::until("the end of all tasks", LONG, over).unwrap();
    }

    /// The node is gone, with all that it ran: what was started for its tasks, and who started it.
    fn kill_node(&mut self, node: &str, state: &Path) {
        let daemon = self.daemons.iter_mut().find(|(name, _)| name == node).unwrap();
        daemon.1.kill().unwrap();
        daemon.1.wait().unwrap();
        let own =
            [format!("SLURMD_NODENAME={node}"), format!("EVENKEEL_STATE={}", state.display())];
        let processes = || {
            std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
                let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
                let environment = std::fs::read(entry.path().join("environ")).ok()?;
                let has =
                    |of: &String| environment.split(|byte| *byte == 0).any(|v| v == of.as_bytes());
                own.iter().all(has).then_some(pid)
            })
        };
        let parent = |pid: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            let parent: i32 = line.trim().parse().ok()?;
            let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).ok()?;
            name.starts_with("slurmstepd").then_some(parent)
        };
        let parents: Vec<i32> = processes().filter_map(|pid| parent(&pid)).collect();
        assert!(!parents.is_empty(), "nothing of the cluster runs on {node}");
        for pid in parents.into_iter().chain(processes()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            // What ended with its parent is gone already.
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
        }
        self.ask(&["scontrol", "update", &format!("nodename={node}"), "state=down", "reason=gone"]);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ask(&["scancel", "--user=root"]);
        for (_, child) in self.daemons.iter_mut().rev() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The shards of `smoke` on a cluster.
struct Shards {
    // Ended before its folder goes, which lies in the host's place.
    cluster: Cluster,
    host: Host,
    script: String,
    out: PathBuf,
}

/// The shard whose node dies: the first one shows that others are not touched.
const LOST: &str = "2";

impl Shards {
    /// Planned for a cluster that was started for them; nothing where there is none to start.
    fn plan() -> Option<Shards> {
        let missing = ["munged", "slurmctld", "slurmd", "sbatch"].map(|tool| (tool, which(tool)));
        if let Some((tool, _)) = missing.iter().find(|(_, found)| found.is_none()) {
            eprintln!("skipped: {tool} is not installed (apt install slurm-wlm munge)");
            return None;
        }
        let host = Host::take();
        let cluster = Cluster::start(&host);
        let script = host.path("smoke.sh");
        let plan = ["plan", "smoke", "--format", "slurm", "--shards", "3", "--runner", "bench"];
        let planned = run(&mut host.xtask(&plan));
        std::fs::write(&script, &planned.ends_with(0).stdout).unwrap();
        let out = host.place.path().join("out");
        Some(Shards { cluster, host, script, out })
    }

    /// Submits these shards, or all. Answers the job.
    fn submit(&self, shards: &[&str]) -> String {
        let mut command = assert_cmd::Command::new("env");
        command.args([&self.cluster.config(), "sh", &self.script]).args(shards);
        // The nodes are one machine, which measures one thing at a time.
        command.env("EVENKEEL_AT_ONCE", "1").env("EVENKEEL", XTASK);
        command.env("EVENKEEL_OUT", &self.out).env("EVENKEEL_STATE", self.host.state.path());
        let said = run(command.current_dir(self.host.place.path()).timeout(PATIENCE));
        let told = &said.ends_with(0).stdout;
        let named = if shards.is_empty() { "1,2,3".to_owned() } else { shards.join(",") };
        assert!(told.contains(&format!(": shards {named} on nodes with bench\n")), "{told}");
        told.split([' ', ':']).nth(1).unwrap().to_owned()
    }

    /// Waits until the lost shard is being measured on another node than this. Answers which.
    fn measures_but_on(&self, lost: &str) -> String {
        let on = || {
            let parts = std::fs::read_dir(self.out.join("unfinished")).into_iter().flatten();
            let begun = parts.flatten().filter(|part| part.path().join("boots.jsonl").exists());
            let names = begun.filter_map(|part| part.file_name().into_string().ok());
            let start = format!("{LOST}-");
            let mut nodes = names.filter_map(|name| Some(name.strip_prefix(&start)?.to_owned()));
            Ok(nodes.find(|node| node != lost))
        };
        wait::until("the shard to be measured", LONG, on).unwrap()
    }

    /// The node that measures the shard is gone, in the middle of it.
    fn lose_a_node(&mut self) -> String {
        let node = self.measures_but_on("");
        self.cluster.kill_node(&node, self.host.state.path());
        node
    }

    fn is_there(&self, shard: &str) -> bool {
        self.out.join(shard).join("run.json").exists()
    }

    fn log(&self, shard: &str) -> String {
        std::fs::read_to_string(self.out.join(format!("log/{shard}.txt"))).unwrap_or_default()
    }

    fn merge(&self, to: &str, more: &[&str]) -> Said {
        let (from, to) = (self.out.to_str().unwrap(), self.host.path(to));
        run(self.host.xtask(&["merge", from, "--out", &to]).args(more))
    }

    /// What the node that died had changed was brought back by the task that came next, and nothing else is left.
    fn is_restored(&self) {
        let logs = ["1", "2", "3"].map(|shard| self.log(shard)).concat();
        assert!(logs.contains("states restored"), "{logs}");
        self.host.is_restored();
    }
}

#[test]
#[ignore = "starts a cluster; `cargo xtask test --long` runs it"]
fn real_an_array_loses_a_node_and_the_shard_that_is_missing_is_submitted_once_more() {
    let Some(mut shards) = Shards::plan() else { return };
    let job = shards.submit(&[]);
    let node = shards.lose_a_node();
    // It is queued again by itself; here somebody gives it up.
    shards.cluster.ask(&["scancel", &format!("{job}_{LOST}")]);
    shards.cluster.is_over();
    assert!(shards.is_there("1") && shards.is_there("3") && !shards.is_there(LOST));
    shards.merge("whole", &[]).is_refused_with(&["missing: 1 of 3 shards, 2/3"]);
    let part = shards.merge("part", &["--partial"]);
    part.ends_with(0).says(&["shards that are missing: 2/3"]);

    let job = shards.submit(&[LOST]);
    // It is queued again in the middle: it ends well, and goes on or begins anew, as the node is.
    shards.measures_but_on(&node);
    shards.cluster.ask(&["scontrol", "requeue", &format!("{job}_{LOST}")]);
    shards.cluster.is_over();
    let log = shards.log(LOST);
    assert!(log.contains("interrupted: the host is as it was"), "{log}");
    assert!(shards.is_there(LOST), "{log}");
    shards.merge("whole", &[]).ends_with(0).says(&["4 of 4 cells measured"]);
    shards.is_restored();
}

#[test]
#[ignore = "starts a cluster; `cargo xtask test --long` runs it"]
fn real_the_task_of_a_node_that_fails_is_queued_again_by_itself_and_the_run_is_whole() {
    let Some(mut shards) = Shards::plan() else { return };
    shards.submit(&[]);
    let node = shards.lose_a_node();
    // Nobody does anything.
    let other = shards.measures_but_on(&node);
    shards.cluster.is_over();
    assert!(NODES.contains(&&*other) && other != node, "{other}");
    let log = shards.log(LOST);
    assert!(shards.is_there(LOST), "{log}");
    // One host measures a shard: what the other one has begun is not in it.
    let measured = std::fs::read_to_string(shards.out.join(LOST).join("boots.jsonl")).unwrap();
    let begun = shards.out.join("unfinished").join(format!("{LOST}-{node}/boots.jsonl"));
    for boot in std::fs::read_to_string(begun).unwrap().lines() {
        assert!(!measured.contains(boot), "{measured}");
    }
    shards.merge("whole", &[]).ends_with(0).says(&["4 of 4 cells measured"]);
    shards.is_restored();
}
