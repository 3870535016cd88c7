//! What building and undoing a cell of containers takes: the wall time of a boot's process without what it measures.
//!
//! After each boot of Docker the engine alone does what it is compared with, as its client asks it to: a network made, in it a container
//! of the same image whose program ends at once, and both removed. Every cell gets a fresh network, and the engine takes as long for that as for the
//! container; what a container in the default network takes alone is told beside it.

use std::time::{Duration, Instant};

use evenkeel_agent::command;
use evenkeel_agent::entry::NAME as AGENT;
use evenkeel_agent::interpret::{self, Slots};
use evenkeel_agent::journal::Journal;
use evenkeel_agent::machine::real::Real;
use evenkeel_agent::state::{StateDir, host_boot};
use evenkeel_agent::step::{Object, Phase};

use super::runs::{Boot, Done, Runs};
use super::table::{Must, Row, middle};
use crate::axis::names::{FOLDER, RunTag};
use crate::axis::{make, steps};

/// Milliseconds for a cell without an engine.
const MOST_MS: f64 = 150.0;

/// Over `docker run --rm`.
const MOST_RATIO: f64 = 1.2;

/// Deadline of the engine alone.
const ENGINE: Duration = Duration::from_secs(60);

const WARMUP_MS: f64 = 1.0;

const MATRIX: &str = r#"schema = 1
name = "build"
[axes]
kernel = ["running"]
virtualization = ["netns", "runc", "docker"]
network = ["bridge"]
[measure]
workloads = ["tcp-rr"]
boots = 8
warmup = "1ms"
window = "10ms"
windows = 3
"#;

/// What the engine takes alone, milliseconds.
#[derive(Default)]
struct Engine {
    /// A container in the default network.
    container: Vec<f64>,
    /// A container, with a network made before and removed after.
    with_network: Vec<f64>,
    /// Why there is nothing of a container in the default network.
    no_container: Option<String>,
    /// Why there is nothing of a container with a network.
    no_network: Option<String>,
}

/// The rows of netns, runc and Docker.
pub(super) fn rows(runs: &Runs) -> anyhow::Result<Vec<Row>> {
    let mut engine = Engine::default();
    let done = runs.run(MATRIX, &mut |tag, cell| {
        if cell.split('/').nth(1) == Some("docker") {
            engine.measure(runs.state(), tag);
        }
    })?;
    let mut rows: Vec<Row> = ["netns", "runc"].map(|kind| alone(&done, kind)).into();
    let docker = times(&done, "docker");
    let not_here = docker.is_empty().then(|| done.why_not("docker"));
    let references = [
        (
            "docker cell / `docker network create`, `run --rm`, `network rm`",
            &engine.with_network,
            engine.no_network,
            Some(Must::AtMost(MOST_RATIO)),
        ),
        ("docker cell / `docker run --rm`", &engine.container, engine.no_container, None),
    ];
    for (what, alone, why, must) in references {
        rows.push(match not_here.clone().or(why) {
            Some(why) => Row::missing(what, must, why),
            None => {
                let note = format!(
                    "{} ms and {} ms; {}",
                    middle(&docker),
                    middle(alone),
                    phases(&done, "docker")
                );
                Row::ratio_of(what, alone, &docker, must, note)
            }
        });
    }
    Ok(rows)
}

/// The row of a kind that is compared with nothing.
fn alone(done: &Done, kind: &str) -> Row {
    let what = format!("{kind} cell, build + undo");
    let must = Must::AtMost(MOST_MS);
    let times = times(done, kind);
    if times.is_empty() {
        return Row::missing(&what, must, done.why_not(kind));
    }
    Row::mean(&what, "ms", &times, must, phases(done, kind))
}

/// What each phase took, milliseconds: the middle boot's.
fn phases(done: &Done, kind: &str) -> String {
    let phases = ["begin", "prepare", "hold", "attach", "place", "go", "undo"].map(|phase| {
        let spent = done.boots.iter().filter(|boot| boot.is_of(kind));
        let spent = spent.filter_map(|boot| boot.record.timing_ns.get(phase));
        let spent: Vec<f64> = spent.map(|&ns| ns as f64 / 1e6).collect();
        format!("{phase} {}", middle(&spent))
    });
    phases.join(", ")
}

/// Wall time of each boot's process without warm-up and measured time, milliseconds.
fn times(done: &Done, kind: &str) -> Vec<f64> {
    let outside =
        |boot: &Boot| boot.took.as_secs_f64() * 1e3 - boot.measured_ns() as f64 / 1e6 - WARMUP_MS;
    done.boots.iter().filter(|boot| boot.is_of(kind)).map(outside).collect()
}

impl Engine {
    /// The engine alone, once each way.
    fn measure(&mut self, state: &StateDir, tag: &RunTag) {
        match container(tag, &[]) {
            Ok(took) => self.container.push(took),
            Err(error) => self.no_container = Some(format!("{error:#}")),
        }
        match with_network(state, tag) {
            Ok(took) => self.with_network.push(took),
            Err(error) => self.no_network = Some(format!("{error:#}")),
        }
    }
}

/// A container whose program ends at once, milliseconds.
fn container(tag: &RunTag, network: &[&str]) -> anyhow::Result<f64> {
    let (image, label) = (tag.image(), format!("evenkeel={tag}"));
    let program = format!("/{AGENT}");
    let mut argv = vec!["docker", "run", "--rm", "--label", &label];
    argv.extend(network);
    // Without standard input the agent ends as soon as it has said hello.
    argv.extend([image.as_str(), &program]);
    let began = Instant::now();
    command::output(&argv, ENGINE)?;
    Ok(milliseconds(began))
}

/// The same in a network that the engine's client makes before and removes after, all of it in milliseconds. The network is
/// journaled like everything that a boot makes.
fn with_network(state: &StateDir, tag: &RunTag) -> anyhow::Result<f64> {
    let _lock = state.lock_boot(Duration::from_secs(5))?;
    let journal = Journal::begin(&state.boot_journal(), &tag.to_string(), &host_boot()?)?;
    let mut machine = Real::new(journal, std::path::Path::new(FOLDER));
    let (name, label) = (format!("{tag}-alone"), format!("evenkeel={tag}"));
    let object = Object::DockerNetwork(name.clone());
    let steps = steps(Phase::Prepare, [make(object, &["--driver", "bridge", "--label", &label])]);
    let mut undo = Vec::new();
    let began = Instant::now();
    let made = interpret::run(&mut machine, &steps, &mut Slots::new(), &mut undo, |_| ());
    let ran = made.map_err(anyhow::Error::new).and_then(|()| {
        container(tag, &["--network", &name])?;
        command::output(&["docker", "network", "rm", &name], ENGINE)?;
        Ok(milliseconds(began))
    });
    let undone = interpret::undo_all(&mut machine, &undo);
    anyhow::ensure!(undone.failed.is_empty(), "{}", undone.failed.join("; "));
    machine.finish()?;
    ran
}

fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
