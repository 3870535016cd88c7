//! A run to attack the report with.

use super::fixture::{Fixture, thesis};
use crate::record::kernels::Difference;
use crate::record::results::{CheckResult, ComparisonResult, Overall, PolicyLine, VerdictRow};
use crate::record::{Evidence, Outcome, Status};

/// Text that tries to leave its place.
pub(super) const EVIL: &str = "</td></script><script>alert(1)</script><img src=x onerror=alert(2)> \" ' | `x` ```\n# @user \
                    [a](javascript:alert(3)) ]]> &lt; \u{1b}[31mred\u{1b}[0m\u{0}\u{7}\u{202e}gnp ${{ x }} {{ y }} {% z %}";

/// A run whose every text from outside is hostile.
pub(super) fn hostile() -> Fixture {
    let mut fixture = thesis();
    let results = &mut fixture.results;
    results.matrix = EVIL.into();
    results.overall = Overall { verdict: EVIL.into(), sentence: EVIL.into() };
    results.facts.insert(EVIL.into(), EVIL.into());
    results.contrasts[0].note = Some(EVIL.into());
    results.contrasts[1].name = EVIL.into();
    results.contrasts[2].aspect = EVIL.into();
    results.contrasts[3].figure = EVIL.into();
    for pair in &mut fixture.run.kernels {
        (pair.contrast, pair.who) = (EVIL.into(), EVIL.into());
        (pair.from.name, pair.to.version) = (EVIL.into(), EVIL.into());
        if let Difference::Known { options, .. } = &mut pair.difference {
            options.iter_mut().for_each(|option| option.to = EVIL.into());
        }
    }
    let table = &mut results.attribution[0];
    for text in [&mut table.profile, &mut table.base, &mut table.place, &mut table.workload] {
        *text = EVIL.into();
    }
    table.knobs[0].name = EVIL.into();
    table.knobs[0].knobs[0].on = Some(EVIL.into());
    table.knobs[1].evidence = EVIL.into();
    table.knobs[2].notes.push(EVIL.into());
    table.knobs[0].effects[1].note = Some(EVIL.into());
    table.knobs[0].effects[1].beside = EVIL.into();
    table.knobs[1].effects[0].low = Some(f64::NAN);
    table.knobs[1].effects[1].high = Some(f64::INFINITY);
    table.knobs[1].effects[2].ratio = Some(0.0);
    let id = results.cells[0].id.clone();
    let evil_id = format!("running/{EVIL}");
    results.cells[0].id.clone_from(&evil_id);
    results.cells[0].axes.virtualization = EVIL.into();
    results.cells[0].reason = Some(EVIL.into());
    results.cells[1].workloads[0].name = EVIL.into();
    results.cells[1].workloads[1].unit = EVIL.into();
    for status in &mut fixture.run.cells {
        if let Status::Skipped { reason, remedy } = &mut status.status {
            *reason = EVIL.into();
            *remedy = EVIL.into();
        }
    }
    for record in fixture.records.iter_mut().filter(|record| record.cell == id) {
        record.cell.clone_from(&evil_id);
        record.side = if record.boot == 0 { EVIL.into() } else { record.side.clone() };
        record.host_boot = EVIL.into();
        record.instrument.insert(EVIL.into(), EVIL.into());
        record.timing_ns.insert(EVIL.into(), 1);
        for evidence in &mut record.evidence {
            match evidence {
                Evidence::Hop { hop, .. } => *hop = EVIL.into(),
                Evidence::Knob { knob, .. } => *knob = EVIL.into(),
                Evidence::Loss { workload, .. } => *workload = EVIL.into(),
                Evidence::Load { worker, .. } => *worker = EVIL.into(),
                Evidence::Program { workload, .. } => *workload = EVIL.into(),
            }
        }
        let [workload, program, sha256, copy] = [EVIL; 4].map(str::to_owned);
        record.evidence.push(Evidence::Program { workload, program, sha256, copy });
        for measured in &mut record.workloads {
            measured.samples.raw = Some(EVIL.into());
        }
    }
    if let Some(record) = fixture.records.last_mut() {
        record.outcome = Outcome::Failed { reason: EVIL.into() };
    }
    results.verdicts = ["regressed", EVIL]
        .map(|verdict| VerdictRow {
            cell: evil_id.clone(),
            workload: EVIL.into(),
            aspect: EVIL.into(),
            figure: Some(EVIL.into()),
            verdict: verdict.into(),
            ratio: Some(1.6),
            low: Some(f64::NAN),
            high: Some(f64::INFINITY),
            p: Some(0.01),
            p_corrected: None,
            detectable_ratio: Some(1e308),
            boots: [5, u32::MAX],
            boots_needed: Some(u32::MAX),
            gates: true,
            accepted: Some(EVIL.into()),
            beside_worse: true,
            reason: EVIL.into(),
        })
        .to_vec();
    results.comparison = Some(ComparisonResult {
        gate: EVIL.into(),
        why: Some(EVIL.into()),
        checks: [true, false]
            .map(|void| CheckResult {
                of: EVIL.into(),
                workload: EVIL.into(),
                aspect: EVIL.into(),
                ratio: f64::NAN,
                p: 2.0,
                void,
                told: EVIL.into(),
            })
            .to_vec(),
        notes: vec![EVIL.into()],
        policy: vec![PolicyLine { name: EVIL.into(), value: EVIL.into() }],
    });
    fixture
}
