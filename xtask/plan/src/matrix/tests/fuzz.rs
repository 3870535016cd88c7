//! No input panics, and what holds for every matrix.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Lines that are nearly those of a matrix.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "schema",
        "name",
        "kernel",
        "virtualization",
        "network",
        "tuning",
        "load",
        "workloads",
        "boots",
        "warmup",
        "window",
        "windows",
        "axis",
        "from",
        "to",
        "deb",
        "axes",
        "serve",
        "drive",
        "files",
        "programs",
        "reads",
        "unit",
        "better",
        "within",
        "exclude",
        "é",
    ]);
    let value = prop::sample::select(vec![
        "1",
        "0",
        "-1",
        "nan",
        "1e400",
        "\"m\"",
        "\"\"",
        "\"running\"",
        "[\"running\"]",
        "[]",
        "[\"netns\", \"docker\"]",
        "\"stock\"",
        "[[1]]",
        "{ a = 1 }",
        "{ preempt = \"rt\" }",
        "true",
        "1979-05-27",
        "\"20ms\"",
        "\"\\u0000\"",
        "[\"bridge\", 1]",
        "[\"a/b\", \"{port}\", \"{x}\", \"{{port}}\"]",
        "[\"../a\", \"/b\", \"./\"]",
        "[\"command-a\"]",
        "\"us\"",
        "\"csv:\"",
        "\"tuning\"",
        "[",
        "\"",
    ]);
    let header = prop::sample::select(vec![
        "[axes]",
        "[measure]",
        "[[exclude]]",
        "[[include]]",
        "[[contrast]]",
        "[kernel.a]",
        "[command.a]",
        "[command]",
        "[[command]]",
        "[kernel]",
        "[[axes]]",
        "[exclude]",
        "[",
        "[kernel.\"\\n\"]",
    ]);
    prop_oneof![
        4 => (key, value).prop_map(|(key, value)| format!("{key} = {value}")),
        2 => header.prop_map(str::to_owned),
        1 => "\\PC{0,12}",
    ]
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let errors = parse_bytes(&bytes, "m", &words());
        prop_assert!(errors.is_err_and(|errors| !errors.problems.is_empty()));
    }

    #[test]
    fn no_text_like_a_matrix_panics(lines in prop::collection::vec(line(), 0..20), valid in any::<bool>()) {
        let more = lines.join("\n");
        let text = if valid { with(&more) } else { more };
        match parse(&text, "m", &words()) {
            Ok(matrix) => prop_assert!(!matrix.cells.is_empty()),
            Err(errors) => {
                let lines = text.matches('\n').count() + 1;
                prop_assert!(errors.problems.iter().all(|p| (1..=lines).contains(&p.line)));
                prop_assert!(!errors.to_string().is_empty());
            }
        }
    }

    #[test]
    fn a_cut_or_changed_matrix_never_panics(
        which in 0..EMBEDDED.len(), at in 0usize..10_000, cut in any::<bool>(), byte in any::<u8>(),
    ) {
        let mut bytes = EMBEDDED[which].1.as_bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Err(errors) = parse_bytes(&bytes, "m", &words()) {
            prop_assert!(!errors.problems.is_empty());
        }
    }

    #[test]
    fn ids_are_unique_and_do_not_depend_on_the_order_of_tables(excluded in 0usize..4) {
        let exclude = ["", "network = \"bridge\"", "tuning = \"stock\"", "virtualization = \"docker\""][excluded];
        let exclude = if exclude.is_empty() { String::new() } else { format!("[[exclude]]\nload = \"idle\"\n{exclude}\n") };
        let contrast = "[[contrast]]\nname = \"c\"\naxis = \"tuning\"\nfrom = \"stock\"\nto = \"isolated\"\n";
        let one = good(&with(&format!("load = [\"idle\", \"noisy\"]\n{exclude}{contrast}")));
        let other = good(&with(&format!("load = [\"idle\", \"noisy\"]\n{contrast}{exclude}")));
        prop_assert_eq!(&one, &other);
        let unique: BTreeSet<_> = ids(&one).into_iter().collect();
        prop_assert_eq!(unique.len(), one.cells.len());
    }
}
