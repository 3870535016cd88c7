//! A run's directory after kills, damage, and on a full disk.

use std::collections::BTreeMap;

use evenkeel_agent::samples::{Samples, Unit};
use proptest::prelude::*;

use super::*;
use crate::record::figures::results;
use crate::record::testing::{bell, cell, failed, latencies, rates, record, run};
use crate::record::{Counted, Effect, Evidence};

/// A run of one cell and its directory, with these records written.
fn written(records: &[Record]) -> (tempfile::TempDir, Run) {
    let dir = tempfile::tempdir().unwrap();
    let run = run(&[cell("netns", "stock")]);
    let mut store = Store::create(dir.path(), &run).unwrap();
    records.iter().for_each(|record| store.append(record).unwrap());
    (dir, run)
}

fn boot(number: u32) -> Record {
    record(&cell("netns", "stock"), number, "tcp-rr", latencies(&bell(30_000.0, 100.0, 50)))
}

/// The text with the directory's name taken out, and columns, which move with every field that a record gains.
fn plain(dir: &tempfile::TempDir, text: impl std::fmt::Display) -> String {
    let text = text.to_string().replace(&dir.path().display().to_string(), "DIR");
    let mut parts = text.split("(column ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + "(column N" + part.trim_start_matches(|digit: char| digit.is_ascii_digit())
    })
}

#[test]
fn what_is_written_is_read() {
    let records = [boot(0), failed(&cell("netns", "stock"), 1, "a \"quoted\"\nreason"), boot(2)];
    let (dir, run) = written(&records);
    assert_eq!(read(dir.path()).unwrap(), (run.clone(), records.to_vec(), Vec::new()));
    let found = results(&run, &records).unwrap();
    write_results(dir.path(), &found).unwrap();
    write_results(dir.path(), &found).unwrap();
    let text = std::fs::read(dir.path().join(RESULTS)).unwrap();
    assert_eq!(serde_json::from_slice::<Results>(&text).unwrap(), found);
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [BOOTS, RESULTS, RUN], "nothing temporary is left");
}

#[test]
fn a_run_is_never_overwritten() {
    let (dir, run) = written(&[boot(0)]);
    let error = Store::create(dir.path(), &run).unwrap_err();
    insta::assert_snapshot!(plain(&dir, error), @"`DIR` holds a run already: choose another --out, or go on with it by `bench --resume DIR`");
    assert_eq!(read(dir.path()).unwrap().1.len(), 1);
    std::fs::remove_file(dir.path().join(RUN)).unwrap();
    assert!(Store::create(dir.path(), &run).is_err(), "records without a header are a run, too");
}

#[test]
fn a_kill_in_the_middle_of_a_line_costs_that_boot_alone() {
    let (dir, _) = written(&[boot(0), boot(1)]);
    let path = dir.path().join(BOOTS);
    let text = std::fs::read(&path).unwrap();
    let second = text.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for kept in [second + 1, second + 40, text.len() - 2] {
        std::fs::write(&path, &text[..kept]).unwrap();
        let (_, records, warnings) = read(dir.path()).unwrap();
        assert_eq!(records, [boot(0)]);
        assert_eq!(warnings.len(), 1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(plain(&dir, &warnings[0]), @"`DIR/boots.jsonl` line 2 is cut off: the boot that was being written is lost");
        }
        Store::resume(dir.path()).unwrap().append(&boot(2)).unwrap();
        let (_, records, warnings) = read(dir.path()).unwrap();
        assert_eq!((records, warnings.len()), (vec![boot(0), boot(2)], 1));
    }
    // Only the line feed is missing: the record is whole.
    std::fs::write(&path, &text[..text.len() - 1]).unwrap();
    assert_eq!(read(dir.path()).unwrap().1.len(), 2);
    Store::resume(dir.path()).unwrap().append(&boot(2)).unwrap();
    assert_eq!(read(dir.path()).unwrap().1.len(), 3);
}

#[test]
fn boots_that_count_in_nothing_are_not_among_those_that_do() {
    let (dir, _) = written(&[boot(0), boot(1)]);
    assert_eq!(read_diagnoses(dir.path()).unwrap(), []);
    let counted = Counted { names: vec!["interrupts".into()], windows: vec![vec![vec![1.5]]] };
    let more = Record { counted: Some(counted), ..boot(2) };
    Store::diagnoses(dir.path()).unwrap().append(&more).unwrap();
    assert_eq!(read(dir.path()).unwrap().1, [boot(0), boot(1)]);
    assert_eq!(read_diagnoses(dir.path()).unwrap(), [more]);
}

#[test]
fn damaged_lines_are_left_out_and_named() {
    let (dir, _) = written(&[boot(0), boot(1), boot(2), boot(3)]);
    let path = dir.path().join(BOOTS);
    let mut lines: Vec<Vec<u8>> =
        std::fs::read(&path).unwrap().split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
    lines[1] = b"\xff\xfe{".to_vec();
    lines[2] = b"{\"schema\":1,\"cell\":7}".to_vec();
    std::fs::write(&path, lines.join(&b'\n')).unwrap();
    let (_, records, warnings) = read(dir.path()).unwrap();
    assert_eq!(records, [boot(0), boot(3)]);
    insta::assert_snapshot!(plain(&dir, warnings.join("\n")), @r"
`DIR/boots.jsonl` line 2 is left out: not a record: expected value (column N)
`DIR/boots.jsonl` line 3 is left out: not a record: invalid type: integer `7`, expected a string (column N)
");
}

#[test]
fn another_version_is_an_error_that_names_both() {
    let (dir, _) = written(&[boot(0), boot(1)]);
    let bump = |name: &str, old: &str, new: &str| {
        let path = dir.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
    };
    bump(BOOTS, "\"schema\":1", "\"schema\":7");
    insta::assert_snapshot!(plain(&dir, read(dir.path()).unwrap_err()), @"`DIR/boots.jsonl` line 1 has schema 7, this tool reads schema 1: use the version of the tool that wrote it");
    bump(RUN, "\"schema\": 1", "\"schema\": 2");
    insta::assert_snapshot!(plain(&dir, read(dir.path()).unwrap_err()), @"`DIR/run.json` has schema 2, this tool reads schema 1: use the version of the tool that wrote it");
}

#[test]
fn what_is_missing_is_named() {
    let (dir, run) = written(&[]);
    std::fs::remove_file(dir.path().join(BOOTS)).unwrap();
    let (found, records, warnings) = read(dir.path()).unwrap();
    assert_eq!((found, records.len()), (run, 0));
    insta::assert_snapshot!(plain(&dir, &warnings[0]), @"`DIR/boots.jsonl` is missing: no boot left a record");
    std::fs::remove_file(dir.path().join(RUN)).unwrap();
    insta::assert_snapshot!(plain(&dir, read(dir.path()).unwrap_err()), @"no run in `DIR`: `run.json` is missing");
}

#[test]
fn a_full_disk_names_the_file() {
    let (dir, _) = written(&[]);
    let path = dir.path().join(BOOTS);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut store =
        Store { path: path.clone(), boots: OpenOptions::new().append(true).open(&path).unwrap() };
    let error = plain(&dir, store.append(&boot(0)).unwrap_err());
    assert!(
        error.starts_with("failed to write file `DIR/boots.jsonl`: No space left on device"),
        "{error}"
    );
}

/// Changes one number of a record's text.
fn absurd(field: &str, value: &str) -> String {
    let text = serde_json::to_string(&boot(0)).unwrap();
    let at = text.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
    let end = at + text[at..].find([',', '}', ']']).unwrap();
    format!("{}{value}{}", &text[..at], &text[end..])
}

#[test]
fn absurd_numbers_are_left_out() {
    let (dir, _) = written(&[boot(0)]);
    let path = dir.path().join(BOOTS);
    let lines = [
        ("mean", "1e308"),
        ("mean", "-5.0"),
        ("m2", "-1.0"),
        ("m2", "1e308"),
        ("max", "NaN"),
        ("max", "null"),
        ("max", "1e999"),
        ("min", "30e3"),
        ("count", "1e3"),
        ("count", "-1"),
        ("count", "18446744073709551615"),
    ]
    .map(|(field, value)| absurd(field, value));
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let (_, records, warnings) = read(dir.path()).unwrap();
    assert_eq!(records, []);
    insta::assert_snapshot!(plain(&dir, warnings.join("\n")), @r"
`DIR/boots.jsonl` line 1 is left out: samples of `tcp-rr`: mean 1e308 is not between 0 and 1e15
`DIR/boots.jsonl` line 2 is left out: samples of `tcp-rr`: mean -5e0 is not between 0 and 1e15
`DIR/boots.jsonl` line 3 is left out: samples of `tcp-rr`: m2 -1e0 is not between 0 and 5e31
`DIR/boots.jsonl` line 4 is left out: samples of `tcp-rr`: m2 1e308 is not between 0 and 5e31
`DIR/boots.jsonl` line 5 is left out: not a record: expected value (column N)
`DIR/boots.jsonl` line 6 is left out: not a record: invalid type: null, expected f64 (column N)
`DIR/boots.jsonl` line 7 is left out: not a record: number out of range (column N)
`DIR/boots.jsonl` line 8 is left out: samples of `tcp-rr`: mean 29999.519999999993 is not between min 30000 and max 30418
`DIR/boots.jsonl` line 9 is left out: not a record: invalid type: floating point `1000.0`, expected u64 (column N)
`DIR/boots.jsonl` line 10 is left out: not a record: invalid value: integer `-1`, expected u64 (column N)
`DIR/boots.jsonl` line 11 is left out: samples of `tcp-rr`: count 1.8446744073709552e19 is not between 0 and 1e15
");
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let (dir, run) = written(&[boot(0)]);
    let mut store = Store::resume(dir.path()).unwrap();
    let mut wrong = boot(1);
    wrong.workloads[0].samples.moments.mean = f64::NAN;
    insta::assert_snapshot!(format!("{:#}", store.append(&wrong).unwrap_err()), @"record of boot 1 of `running/netns/bridge/stock/idle`: samples of `tcp-rr`: mean NaN is not between 0 and 1e15");
    let load = Evidence::Load { worker: "compute".into(), per_second: f64::INFINITY };
    assert!(store.append(&Record { evidence: vec![load], ..boot(1) }).is_err());
    assert_eq!(read(dir.path()).unwrap(), (run, vec![boot(0)], Vec::new()));
}

fn samples() -> impl Strategy<Value = Samples> {
    let values = proptest::collection::vec(0.0..1e12f64, 1..40).prop_map(|values| rates(&values));
    let transactions =
        proptest::collection::vec(1..1_000_000_000u64, 1..40).prop_map(|ns| latencies(&ns));
    (prop_oneof![values, transactions], any::<Option<String>>(), any::<u64>())
        .prop_map(|(samples, raw, measured_ns)| Samples { raw, measured_ns, ..samples })
}

fn any_record() -> impl Strategy<Value = Record> {
    let knob =
        ("[a-z]{1,8}", any::<String>(), any::<String>()).prop_map(|(knob, requested, seen)| {
            Evidence::Knob {
                knob,
                requested,
                applied: String::new(),
                seen: [seen.clone(), seen],
                effect: Effect::Partial { reason: "one CPU".into() },
            }
        });
    (
        samples(),
        any::<u32>(),
        any::<String>(),
        proptest::option::of(any::<String>()),
        knob,
        0.0..1e9f64,
    )
        .prop_map(|(samples, boot, text, guest_boot, knob, per_second)| Record {
            evidence: vec![knob, Evidence::Load { worker: text.clone(), per_second }],
            instrument: BTreeMap::from([(text.clone(), text)]),
            guest_boot,
            ..record(&cell("netns", "stock"), boot, "tcp-rr", samples)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_record_survives_the_disk(records in proptest::collection::vec(any_record(), 0..6)) {
        let (dir, run) = written(&records);
        let (found, read, warnings) = read(dir.path()).unwrap();
        prop_assert_eq!((found, read, warnings), (run, records.clone(), Vec::new()));
        for samples in records.iter().flat_map(|record| &record.workloads).map(|workload| &workload.samples) {
            let figures = crate::record::figures::per_boot(samples).unwrap();
            prop_assert_eq!(figures.unit == Unit::Nanoseconds, figures.stall_share.is_some());
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(damage in proptest::collection::vec(any::<u8>(), 0..200), at in 0..4000usize) {
        let (dir, _) = written(&[boot(0), boot(1)]);
        let path = dir.path().join(BOOTS);
        let mut text = std::fs::read(&path).unwrap();
        let at = at.min(text.len());
        text.splice(at..(at + damage.len()).min(text.len()), damage);
        std::fs::write(&path, text).unwrap();
        if let Ok((_, records, warnings)) = read(dir.path()) {
            prop_assert!(records.len() <= 2 && records.len() + warnings.len() >= 1);
        }
    }
}

#[test]
fn batches_end_with_lines_and_lose_none() {
    let text = b"a\nbc\n\ndefg\nh";
    for bytes in 1..=text.len() + 1 {
        let mut lines = text.as_slice();
        let batches = std::iter::from_fn(|| {
            let batch = fill(Vec::new(), &mut lines, bytes).unwrap();
            (!batch.is_empty()).then_some(batch)
        });
        let batches: Vec<Vec<u8>> = batches.collect();
        assert_eq!(batches.concat(), text);
        let (_, before) = batches.split_last().unwrap();
        assert!(before.iter().all(|batch| batch.len() >= bytes && batch.ends_with(b"\n")));
    }
}
