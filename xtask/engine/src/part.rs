//! The samples of a record's line, read where this is compiled for speed: they are nearly all of its text, and a run may have ten thousand boots.

use std::ops::Range;

use serde::Deserialize;

use crate::samples::Samples;

/// What comes before them in a line. Inside of a text its quotes would be escaped.
const KEY: &[u8] = b"\"workloads\":[";

/// What one workload left. A field that is not here would be lost: its line is read another way.
#[derive(Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The workload.
    pub workload: String,
    /// Its samples.
    pub samples: Samples,
}

/// The workloads of a line, and where their list stands in it. Nothing where it is not as we write it: who asks reads it another way then, and
/// finds what is wrong with it.
#[must_use]
pub fn workloads(line: &[u8]) -> Option<(Vec<Part>, Range<usize>)> {
    let mut found = line.windows(KEY.len()).enumerate().filter(|(_, bytes)| *bytes == KEY);
    let (at, _) = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let start = at + KEY.len() - 1;
    let mut list = serde_json::Deserializer::from_slice(&line[start..]).into_iter::<Vec<Part>>();
    let parts = list.next()?.ok()?;
    let end = start + list.byte_offset();
    Some((parts, start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_where_it_stands_and_only_if_there_is_one() {
        let line = br#"{"a":"\"workloads\":[","workloads":[],"b":1}"#;
        let (parts, at) = workloads(line).unwrap();
        assert_eq!((parts.len(), &line[at]), (0, &b"[]"[..]));
        for line in [
            &br#"{"workloads": []}"#[..],
            br#"{"workloads":[],"x":{"workloads":[]}}"#,
            br#"{"workloads":[{"workload":1}]}"#,
            br#"{"workloads":["#,
            b"",
        ] {
            assert_eq!(workloads(line), None);
        }
    }

    #[test]
    fn a_field_that_is_not_known_here_is_not_dropped() {
        let samples = crate::samples::Samples {
            unit: crate::samples::Unit::Nanoseconds,
            moments: crate::samples::Moments { count: 1, mean: 1.0, m2: 0.0 },
            histogram: None,
            min: 1.0,
            max: 1.0,
            values: vec![1.0],
            windows: Vec::new(),
            began_monotonic_ns: 0,
            measured_ns: 0,
            crossed_operations: 0,
            crossed_bytes: 0,
            closed_view: None,
            loss: None,
            raw: None,
        };
        let mut part = serde_json::json!({ "workload": "tcp-rr", "samples": samples });
        let line = |part: &serde_json::Value| format!(r#"{{"workloads":[{part}]}}"#);
        assert!(workloads(line(&part).as_bytes()).is_some());
        part["new"] = 1.into();
        assert_eq!(workloads(line(&part).as_bytes()), None);
    }
}
