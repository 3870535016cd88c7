//! What was measured of a runner, in its state folder beside the journal: `calibration.json`, one entry for each instrument, tool, policy and
//! matrix, so that calibrations add up over time and the file stays small.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use evenkeel_agent::state::StateDir;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::rate::AlarmRate;
use crate::fingerprint::{fingerprint, instrument};
use crate::history::file::lock;
use crate::matrix::{Cell, RUNNING};
use crate::record::Run;
use crate::record::store::replace;
use crate::verdict::Policy;

/// Version of the file. The first did not tell how boots were taken, and counted runs in which nothing could be flagged.
const SCHEMA: u32 = 2;

/// The file.
const NAME: &str = "calibration.json";

/// Entries that are kept; of more, those go that nothing was added to for longest.
const MOST: usize = 200;

/// By what rates may be added up: the same instrument, judged by the same tool and the same thresholds.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Fingerprint of the runner as an instrument.
    fingerprint: String,
    /// Version of the tool.
    tool: String,
    /// Hash of what the policy says of verdicts.
    policy: String,
    /// Whether boots were taken until the policy's gate knew, and not a number of them that was fixed.
    by_policy: bool,
    /// Whether runs were cut short by `--quick`.
    quick: bool,
}

impl Key {
    /// The key of a run.
    pub fn of(run: &Run, policy: &Policy) -> Key {
        let by_policy = run.base.as_ref().is_some_and(|base| base.by_policy);
        Key::new(&run.facts, policy, by_policy, run.quick)
    }

    /// The key of a runner with these facts, of runs by this policy that take boots in this way.
    pub fn new(
        facts: &BTreeMap<String, String>,
        policy: &Policy,
        by_policy: bool,
        quick: bool,
    ) -> Key {
        // What every cell of the runner has in common is that of its plainest one.
        let plainest = Cell::of([RUNNING, "netns", "veth", "stock", "idle", RUNNING]);
        Key {
            fingerprint: fingerprint(&instrument(&plainest, facts, None, None)),
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            policy: thresholds(policy),
            by_policy,
            quick,
        }
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of what a policy says of verdicts: not where it lies, nor what it accepts or asks of a
/// runner, which make no flag.
fn thresholds(policy: &Policy) -> String {
    let silent = ["policy", "accepted", "calibration"];
    let lines = policy.lines().into_iter().filter(|(name, _)| !silent.contains(&name.as_str()));
    let text: String = lines.map(|(name, value)| format!("{name}: {value}\n")).collect();
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// What was measured with one matrix.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: Key,
    /// Name of the matrix.
    matrix: String,
    rate: AlarmRate,
    /// How long all its runs took, seconds.
    took_s: u64,
    /// When the first run was added, and the last: seconds since 1970.
    first_unix: u64,
    last_unix: u64,
}

/// What is added: counts, and how long they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// The counts.
    pub rate: AlarmRate,
    /// For how long it was measured.
    pub took: Duration,
}

/// What is kept of a runner and one way of taking boots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whether boots were taken until the policy's gate knew.
    pub by_policy: bool,
    /// Whether runs were cut short.
    pub quick: bool,
    /// The counts.
    pub rate: AlarmRate,
    /// For how long it was measured.
    pub took: Duration,
    /// Names of the matrices.
    pub matrices: Vec<String>,
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Calibrations {
    schema: u32,
    entries: Vec<Entry>,
}

/// All that is believed of a file before its version is known.
#[derive(Deserialize)]
struct Header {
    schema: u32,
}

/// The file of calibrations.
pub fn file(state: &StateDir) -> PathBuf {
    state.path().join(NAME)
}

/// What is known of a runner; of one that was never calibrated, no runs.
///
/// # Errors
/// The file cannot be read, or is of another version.
pub fn rate_of(state: &StateDir, key: &Key) -> Result<AlarmRate> {
    Ok(sum(&read(&file(state))?, key))
}

/// All that is kept of a runner with these facts and this policy, one for each way of taking boots.
///
/// # Errors
/// The file cannot be read, or is of another version.
pub fn kept(
    state: &StateDir,
    facts: &BTreeMap<String, String>,
    policy: &Policy,
) -> Result<Vec<Kept>> {
    let known = read(&file(state))?;
    let ways = [(true, false), (true, true), (false, false), (false, true)];
    let of = |(by_policy, quick)| {
        let key = Key::new(facts, policy, by_policy, quick);
        let mut entries = known.entries.iter().filter(|entry| entry.key == key).peekable();
        entries.peek()?;
        let mut kept = Kept {
            by_policy,
            quick,
            rate: AlarmRate::default(),
            took: Duration::ZERO,
            matrices: Vec::new(),
        };
        for entry in entries {
            kept.rate = kept.rate.and(entry.rate);
            kept.took += Duration::from_secs(entry.took_s);
            kept.matrices.push(entry.matrix.clone());
        }
        Some(kept)
    };
    Ok(ways.into_iter().filter_map(of).collect())
}

fn sum(known: &Calibrations, key: &Key) -> AlarmRate {
    let entries = known.entries.iter().filter(|entry| entry.key == *key);
    entries.fold(AlarmRate::default(), |sum, entry| sum.and(entry.rate))
}

/// Adds what was measured, and waits until it is on the disk. Answers what is known now.
///
/// # Errors
/// Another writer that does not end, or a file that cannot be read or written.
pub fn add(
    state: &StateDir,
    key: &Key,
    matrix: &str,
    Ran { rate, took }: Ran,
    now_unix: u64,
) -> Result<AlarmRate> {
    let path = file(state);
    std::fs::create_dir_all(state.path())
        .with_context(|| format!("failed to make folder {}", state.path().display()))?;
    let _lock = lock(&path)?;
    let mut known = read(&path)?;
    match known.entries.iter_mut().find(|entry| entry.key == *key && entry.matrix == matrix) {
        Some(entry) => {
            entry.rate = entry.rate.and(rate);
            entry.took_s = entry.took_s.saturating_add(took.as_secs());
            entry.last_unix = entry.last_unix.max(now_unix);
        }
        None => known.entries.push(Entry {
            key: key.clone(),
            matrix: matrix.to_owned(),
            rate,
            took_s: took.as_secs(),
            first_unix: now_unix,
            last_unix: now_unix,
        }),
    }
    known.entries.sort_by_key(|entry| std::cmp::Reverse(entry.last_unix));
    known.entries.truncate(MOST);
    replace(&path, &known)?;
    Ok(sum(&known, key))
}

fn read(path: &Path) -> Result<Calibrations> {
    let name = path.display();
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Calibrations { schema: SCHEMA, entries: Vec::new() });
        }
        Err(error) => return Err(error).with_context(|| format!("failed to read file `{name}`")),
    };
    let broken = || format!("file `{name}` holds no calibrations: remove it, and calibrate anew");
    let Header { schema } = serde_json::from_slice(&bytes).with_context(broken)?;
    // What those of an older version prove is not known.
    if (1..SCHEMA).contains(&schema) {
        return Ok(Calibrations { schema: SCHEMA, entries: Vec::new() });
    }
    anyhow::ensure!(
        schema == SCHEMA,
        "file `{name}` has schema {schema}, this tool reads schema {SCHEMA}: remove it, and calibrate anew"
    );
    serde_json::from_slice(&bytes).with_context(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::policy;

    fn facts(cpu: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("cpu".to_owned(), cpu.to_owned())])
    }

    fn policy_of(text: &str) -> Policy {
        policy::parse(&format!("schema = 1\n{text}"), "mine").unwrap()
    }

    fn new(facts: &BTreeMap<String, String>, policy: &Policy) -> Key {
        Key::new(facts, policy, true, false)
    }

    fn ran(rate: AlarmRate) -> Ran {
        Ran { rate, took: Duration::from_secs(60) }
    }

    fn clean(runs: u32) -> AlarmRate {
        AlarmRate { runs, flagged: 0, void: 0 }
    }

    #[test]
    fn calibrations_add_up_by_instrument_and_thresholds() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(&folder.path().join("state"));
        let key = new(&facts("one"), &policy_of(""));
        assert_eq!(rate_of(&state, &key).unwrap(), clean(0));
        add(&state, &key, "smoke", ran(clean(3)), 10).unwrap();
        let flagged = AlarmRate { runs: 2, flagged: 1, void: 4 };
        let both = AlarmRate { runs: 5, flagged: 1, void: 4 };
        assert_eq!(add(&state, &key, "default", ran(flagged), 20).unwrap(), both);
        assert_eq!(add(&state, &key, "smoke", ran(clean(1)), 30).unwrap().runs, 6);
        let all = kept(&state, &facts("one"), &policy_of("")).unwrap();
        let [all] = &all[..] else { panic!("{all:?}") };
        assert_eq!((all.rate.runs, all.took, all.by_policy), (6, Duration::from_secs(180), true));
        assert_eq!(all.matrices, ["smoke", "default"]);
        // Where the policy lies, and what it accepts or requires, flags nothing.
        let accepts = "[calibrate]\nrequired = true\n[[accept]]\nreason = 'x'\nratio = 2\nuntil = '2027-01-01'\n";
        let same = new(&facts("one"), &policy_of(accepts));
        assert_eq!(rate_of(&state, &same).unwrap().runs, 6);
        for other in [
            new(&facts("other"), &policy_of("")),
            new(&facts("one"), &policy_of("[margins]\ntail = 2\n")),
            Key { tool: "0.0.9".to_owned(), ..key.clone() },
            // Another number of boots, and other windows, err at another rate.
            Key { by_policy: false, ..key.clone() },
            Key { quick: true, ..key.clone() },
        ] {
            assert_eq!(rate_of(&state, &other).unwrap(), clean(0), "{other:?}");
        }
    }

    #[test]
    fn the_file_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let key = new(&facts("one"), &policy_of(""));
        for number in 0..MOST + 3 {
            add(&state, &key, &format!("m{number}"), ran(clean(1)), number as u64).unwrap();
        }
        assert_eq!(rate_of(&state, &key).unwrap().runs as usize, MOST);
        let names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".lock"))
            .collect();
        assert_eq!(names, [NAME]);
    }

    #[test]
    fn what_an_older_version_counted_proves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let key = new(&facts("one"), &policy_of(""));
        std::fs::write(file(&state), "{\"schema\": 1, \"entries\": [{\"matrix\": \"smoke\"}]}")
            .unwrap();
        assert_eq!(rate_of(&state, &key).unwrap(), clean(0));
        assert_eq!(add(&state, &key, "smoke", ran(clean(1)), 1).unwrap(), clean(1));
        assert_eq!(rate_of(&state, &key).unwrap(), clean(1));
    }

    #[test]
    fn a_file_that_is_none_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::at(folder.path());
        let key = new(&facts("one"), &policy_of(""));
        for (text, says) in [
            ("{\"schema\": 3, \"x\": 1}", "has schema 3"),
            ("{\"schema\": 2", "holds no calibrations: remove it"),
            ("", "holds no calibrations: remove it"),
        ] {
            std::fs::write(file(&state), text).unwrap();
            let error = add(&state, &key, "smoke", ran(clean(1)), 1).unwrap_err();
            assert!(format!("{error:#}").contains(says), "{error:#}");
            assert_eq!(std::fs::read_to_string(file(&state)).unwrap(), text);
        }
    }
}
