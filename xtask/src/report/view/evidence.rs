//! Proof over all boots of a cell: one row a hop, knob or load worker, the worst boot speaking for all.

use std::collections::BTreeMap;

use evenkeel_agent::samples::Noise;
use serde::Serialize;

use crate::record::{CANDIDATE, Effect, Evidence, Outcome, Record};
use crate::report::format::{Quantity, grouped, significant};

/// A hop of the path.
#[derive(Debug, Serialize)]
pub(super) struct Hop {
    hop: String,
    /// Fewest packets and bytes of any boot.
    packets: String,
    bytes: String,
    needed: String,
    crossed: usize,
    boots: usize,
}

/// A knob.
#[derive(Debug, Serialize)]
pub(super) struct Knob {
    knob: String,
    requested: String,
    applied: String,
    before: String,
    after: String,
    /// `effective`, `partial`, `not applicable`, `not effective`.
    effect: &'static str,
    reason: Option<String>,
    /// In how many boots it was that.
    alike: usize,
    boots: usize,
}

impl Knob {
    /// What a reader must not miss: that it was not effective, in so many boots.
    pub(super) fn warning(&self) -> Option<String> {
        let Knob { knob, effect, alike, boots, .. } = self;
        (*effect == "not effective").then(|| format!("{knob} {effect} in {alike} of {boots}"))
    }
}

/// Datagrams of a workload, over all boots.
#[derive(Debug, Serialize)]
pub(super) struct Loss {
    workload: String,
    sent: String,
    lost: String,
    share: String,
    /// The largest share of one boot.
    worst: String,
    boots: usize,
}

/// A program of the repository's that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Program {
    workload: String,
    program: String,
    /// The beginning of its SHA-256, of the candidate; several where boots differ.
    candidate: String,
    /// The same of the base, where there is one.
    base: Option<String>,
}

/// A worker of the load.
#[derive(Debug, Serialize)]
pub(super) struct LoadWorker {
    worker: String,
    least: String,
    most: String,
    boots: usize,
}

/// What disturbed the host in one boot.
#[derive(Debug, Serialize)]
pub(super) struct NoiseRow {
    boot: u32,
    side: String,
    steal: String,
    pressure: Option<String>,
    switches: String,
    migrations: Option<String>,
    softirqs: String,
    frequency: Option<String>,
}

/// Groups evidence by a name, keeping the order in which names first appear.
fn by_name<'a, T>(
    records: &[&'a Record],
    pick: impl Fn(&'a Evidence) -> Option<(&'a str, T)>,
) -> Vec<(&'a str, Vec<T>)> {
    let mut order: Vec<(&str, Vec<T>)> = Vec::new();
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, item) in records.iter().flat_map(|record| &record.evidence).filter_map(pick) {
        let at = *index.entry(name).or_insert_with(|| {
            order.push((name, Vec::new()));
            order.len() - 1
        });
        order[at].1.push(item);
    }
    order
}

/// Hops of the path that the cell names.
pub(super) fn hops(records: &[&Record]) -> Vec<Hop> {
    let found = by_name(records, |evidence| match evidence {
        Evidence::Hop { hop, packets, bytes, needed_packets, needed_bytes: _ } => {
            Some((hop.as_str(), (*packets, *bytes, *needed_packets)))
        }
        _ => None,
    });
    found
        .into_iter()
        .map(|(hop, seen)| {
            // The boot that came closest to missing its need, or missed it most.
            let worst = seen
                .iter()
                .min_by_key(|(packets, _, needed)| i128::from(*packets) - i128::from(*needed));
            let (packets, bytes, needed) = worst.copied().unwrap_or_default();
            Hop {
                hop: hop.to_owned(),
                packets: grouped(packets),
                bytes: grouped(bytes),
                needed: grouped(needed),
                crossed: seen.iter().filter(|(packets, _, needed)| packets >= needed).count(),
                boots: seen.len(),
            }
        })
        .collect()
}

/// Knobs of the tuning profile.
pub(super) fn knobs(records: &[&Record]) -> Vec<Knob> {
    let found = by_name(records, |evidence| match evidence {
        Evidence::Knob { knob, requested, applied, seen, effect } => {
            Some((knob.as_str(), (requested, applied, seen, effect)))
        }
        _ => None,
    });
    let badness = |effect: &Effect| match effect {
        Effect::Effective | Effect::Inapplicable { .. } => 0,
        Effect::Partial { .. } => 1,
        Effect::NotEffective { .. } => 2,
    };
    found
        .into_iter()
        .filter_map(|(knob, seen)| {
            let (requested, applied, [before, after], effect) =
                *seen.iter().max_by_key(|(_, _, _, effect)| badness(effect))?;
            let (word, reason) = match effect {
                Effect::Effective => ("effective", None),
                Effect::Partial { reason } => ("partial", Some(reason.clone())),
                Effect::Inapplicable { reason } => ("not applicable", Some(reason.clone())),
                Effect::NotEffective { reason } => ("not effective", Some(reason.clone())),
            };
            Some(Knob {
                knob: knob.to_owned(),
                requested: requested.clone(),
                applied: applied.clone(),
                before: before.clone(),
                after: after.clone(),
                effect: word,
                reason,
                alike: seen.iter().filter(|(_, _, _, other)| is_alike(other, effect)).count(),
                boots: seen.len(),
            })
        })
        .collect()
}

fn is_alike(one: &Effect, other: &Effect) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Datagrams of workloads that may lose some.
pub(super) fn losses(records: &[&Record]) -> Vec<Loss> {
    let found = by_name(records, |evidence| match evidence {
        Evidence::Loss { workload, sent, lost } => Some((workload.as_str(), (*sent, *lost))),
        _ => None,
    });
    let share = |(sent, lost): (u64, u64)| lost as f64 / sent.max(1) as f64;
    found
        .into_iter()
        .map(|(workload, seen)| {
            let total = seen.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let worst = seen.iter().copied().map(share).fold(0.0, f64::max);
            Loss {
                workload: workload.to_owned(),
                sent: grouped(total.0),
                lost: grouped(total.1),
                share: percent(share(total)),
                worst: percent(worst),
                boots: seen.len(),
            }
        })
        .collect()
}

fn percent(share: f64) -> String {
    format!("{} %", significant(share * 100.0))
}

/// Hashes of one program, of the candidate and of the base.
type Sums<'a> = [Vec<&'a str>; 2];

/// Programs of the repository's, of both sides.
pub(super) fn programs(records: &[&Record]) -> Vec<Program> {
    let mut found: Vec<((&str, &str), Sums<'_>)> = Vec::new();
    for record in records {
        for evidence in &record.evidence {
            let Evidence::Program { workload, program, sha256, .. } = evidence else { continue };
            let key = (workload.as_str(), program.as_str());
            let at = found.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                found.push((key, Default::default()));
                found.len() - 1
            });
            let seen = &mut found[at].1[usize::from(record.side != CANDIDATE)];
            let sum: &str = sha256.get(..SUM).unwrap_or(sha256);
            if !seen.contains(&sum) {
                seen.push(sum);
            }
        }
    }
    let has_base = found.iter().any(|(_, [_, base])| !base.is_empty());
    let told = |sums: Vec<&str>| match sums.is_empty() {
        true => "-".to_owned(),
        false => sums.join(" "),
    };
    found
        .into_iter()
        .map(|((workload, program), [candidate, base])| Program {
            workload: workload.to_owned(),
            program: program.to_owned(),
            candidate: told(candidate),
            base: has_base.then(|| told(base)),
        })
        .collect()
}

/// Characters of a hash that tell two programs apart.
const SUM: usize = 16;

/// Workers of the load.
pub(super) fn loads(records: &[&Record]) -> Vec<LoadWorker> {
    let found = by_name(records, |evidence| match evidence {
        Evidence::Load { worker, per_second } => Some((worker.as_str(), *per_second)),
        _ => None,
    });
    found
        .into_iter()
        .map(|(worker, rates)| LoadWorker {
            worker: worker.to_owned(),
            least: per_second(rates.iter().copied().fold(f64::INFINITY, f64::min)),
            most: per_second(rates.iter().copied().fold(0.0, f64::max)),
            boots: rates.len(),
        })
        .collect()
}

fn per_second(rate: f64) -> String {
    if rate >= 1_000.0 { grouped(rate.round() as u64) } else { significant(rate) }
}

/// Noise of the first `most` boots that recorded it.
pub(super) fn noise(records: &[&Record], most: usize) -> Vec<NoiseRow> {
    let measured = records.iter().filter(|record| record.outcome == Outcome::Measured);
    let noisy = measured.filter_map(|record| Some((record, record.noise?)));
    noisy
        .take(most)
        .map(
            |(
                record,
                Noise {
                    steal_ns,
                    pressure_ns,
                    softirqs,
                    involuntary_switches,
                    migrations,
                    frequency_khz,
                    recorded_ns: _,
                },
            )| {
                NoiseRow {
                    boot: record.boot,
                    side: record.side.clone(),
                    steal: Quantity::Time.show(steal_ns as f64),
                    pressure: Quantity::Time.show_some(pressure_ns.map(|ns| ns as f64)),
                    switches: grouped(involuntary_switches),
                    migrations: migrations.map(grouped),
                    softirqs: grouped(softirqs),
                    frequency: frequency_khz.map(|khz| format!("{:.2} GHz", khz as f64 / 1e6)),
                }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::{cell, latencies, record};

    #[test]
    fn a_knob_that_was_turned_back_in_one_boot_warns_and_its_worst_boot_speaks() {
        let with = |effect: Effect| {
            let mut boot = record(&cell("netns", "stock"), 0, "tcp-rr", latencies(&[20_000]));
            boot.evidence = vec![Evidence::Knob {
                knob: "swappiness".to_owned(),
                requested: "0".to_owned(),
                applied: "0".to_owned(),
                seen: ["0", "0"].map(str::to_owned),
                effect,
            }];
            boot
        };
        let back = with(Effect::NotEffective { reason: "turned back".to_owned() });
        let boots = [with(Effect::Effective), back, with(Effect::Effective)];
        let all: Vec<&Record> = boots.iter().collect();
        let found = knobs(&all);
        assert_eq!(found[0].warning().unwrap(), "swappiness not effective in 1 of 3");
        assert_eq!(knobs(&all[..1])[0].warning(), None);
    }

    #[test]
    fn programs_of_both_sides_stand_beside_each_other() {
        let of = |side: &str, server: char| {
            let mut boot = record(&cell("netns", "stock"), 0, "command-echo", latencies(&[20_000]));
            boot.side = side.to_owned();
            let with = |program: &str, sum: char| Evidence::Program {
                workload: "command-echo".to_owned(),
                program: program.to_owned(),
                sha256: sum.to_string().repeat(64),
                copy: "c".repeat(64),
            };
            boot.evidence = vec![with("echo/server", server), with("echo/client", 'e')];
            boot
        };
        let boots = [of("candidate", 'a'), of("base", 'b'), of("base", 'b')];
        let told = |boots: &[Record]| {
            let rows = programs(&boots.iter().collect::<Vec<_>>()).into_iter();
            let row = |row: Program| format!("{} {} {:?}", row.program, row.candidate, row.base);
            rows.map(row).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(told(&boots), @r#"
        echo/server aaaaaaaaaaaaaaaa Some("bbbbbbbbbbbbbbbb")
        echo/client eeeeeeeeeeeeeeee Some("eeeeeeeeeeeeeeee")
        "#);
        insta::assert_snapshot!(told(&boots[..1]), @r"
        echo/server aaaaaaaaaaaaaaaa None
        echo/client eeeeeeeeeeeeeeee None
        ");
    }
}
