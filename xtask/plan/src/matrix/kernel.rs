//! The `[kernel.NAME]` tables. Pure: nothing is fetched or looked for here.

use std::collections::BTreeMap;

use toml::Spanned;

use super::parse::check_name;
use super::problem::{Problems, quoted};
use super::read::Table;
use super::{Expect, KernelSource};

/// The kernel that the host runs: always known, never defined.
pub const RUNNING: &str = "running";

/// Keys of `[kernel.NAME]`.
pub(super) const KEYS: [&str; 7] =
    ["deb", "suite", "image", "modules", "cmdline", "expect", "runner"];

/// Kernels that a matrix may name without a table, which a table of that name replaces: name, package, suite, preemption model.
pub const SHIPPED: [(&str, &str, Option<&str>, Option<&str>); 5] = [
    ("debian", "linux-image-amd64", None, None),
    ("debian-cloud", "linux-image-cloud-amd64", None, None),
    ("debian-rt", "linux-image-rt-amd64", None, Some("rt")),
    ("debian-backports", "linux-image-amd64", Some("backports"), None),
    ("debian-backports-rt", "linux-image-rt-amd64", Some("backports"), Some("rt")),
];

/// The source of a shipped kernel.
pub(super) fn shipped(name: &str) -> Option<KernelSource> {
    let (_, deb, suite, preempt) = SHIPPED.into_iter().find(|(known, ..)| *known == name)?;
    Some(KernelSource {
        deb: Some(deb.to_owned()),
        suite: suite.map(str::to_owned),
        image: None,
        modules: None,
        cmdline: Vec::new(),
        expect: Expect { preempt: preempt.map(str::to_owned), ..Expect::default() },
        runner: Vec::new(),
    })
}

/// Preemption models that can be expected.
pub const PREEMPTION: [&str; 5] = ["none", "voluntary", "full", "lazy", "rt"];

/// Reads the kernels by name. A kernel that no cell uses is no error: it changes no cell, and tables of kernels are
/// copied from matrix to matrix.
pub(super) fn read(
    tables: Vec<(Spanned<&str>, Table<'_>)>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, KernelSource> {
    let mut kernels = BTreeMap::new();
    for (name, table) in tables {
        check_name(&name, "kernel name", problems);
        if *name.get_ref() == RUNNING {
            let help = "choose another name: `running` is the kernel that the host runs";
            problems.add_with_help(name.span(), "kernel `running` cannot be defined", help);
        }
        kernels.insert((*name.get_ref()).to_owned(), source(&name, &table, problems));
    }
    kernels
}

fn source(name: &Spanned<&str>, table: &Table<'_>, problems: &mut Problems<'_>) -> KernelSource {
    let quoted_name = quoted(name.get_ref());
    let help = "give either deb = \"PACKAGE\", or image = \"FILE\" with modules = \"FOLDER\"";
    match (table.has("deb"), table.has("image"), table.has("modules")) {
        (true, false, false) | (false, true, _) => {}
        (false, false, true) => {
            let message = format!("kernel {quoted_name} has modules but no image");
            problems.add_with_help(table.span_of("modules"), message, help);
        }
        (false, false, false) => {
            let message = format!("kernel {quoted_name} has no source");
            problems.add_with_help(name.span(), message, help);
        }
        (true, ..) => {
            let message = format!("kernel {quoted_name} has two sources");
            problems.add_with_help(table.span_of("deb"), message, help);
        }
    }
    let deb = table.string("deb", problems);
    if let Some(deb) = deb.as_ref().filter(|deb| !is_package(deb.get_ref())) {
        let help =
            "a Debian package name holds a-z, 0-9, `+`, `-` and `.`, as in linux-image-rt-amd64";
        problems.add_with_help(
            deb.span(),
            format!("{} is no package name", quoted(deb.get_ref())),
            help,
        );
    }
    let suite = table.string("suite", problems);
    if let Some(suite) = &suite {
        if !table.has("deb") {
            let message = format!("kernel {quoted_name} has a suite but no package");
            problems.add_with_help(suite.span(), message, "a suite is where `deb` is taken from");
        } else if !is_package(suite.get_ref()) {
            let help = "a suite is a name such as bookworm-backports; `backports` is that of the host's release";
            let message = format!("{} is no suite", quoted(suite.get_ref()));
            problems.add_with_help(suite.span(), message, help);
        }
    }
    let mut words = |key| table.strings(key, problems).into_iter().flatten().map(owned).collect();
    let (cmdline, runner) = (words("cmdline"), words("runner"));
    KernelSource {
        deb: deb.map(owned),
        suite: suite.map(owned),
        image: table.string("image", problems).map(owned),
        modules: table.string("modules", problems).map(owned),
        cmdline,
        expect: expect(table, problems),
        runner,
    }
}

fn expect(table: &Table<'_>, problems: &mut Problems<'_>) -> Expect {
    let Some(table) = table.table("expect", &["version", "preempt", "config"], problems) else {
        return Expect::default();
    };
    let preempt = table.string("preempt", problems);
    if let Some(model) = preempt.as_ref().filter(|model| !PREEMPTION.contains(model.get_ref())) {
        problems.unknown(model.span(), "preemption model", model.get_ref(), PREEMPTION);
    }
    let config = table.named_strings("config", problems).into_iter().map(|(option, value)| {
        if !is_option(option.get_ref()) {
            let help = "options are written as CONFIG_HZ: `CONFIG_` with A-Z, 0-9 and `_`";
            let message = format!("{} is no option of a kernel", quoted(option.get_ref()));
            problems.add_with_help(option.span(), message, help);
        }
        (owned(option), owned(value))
    });
    let config = config.collect();
    Expect {
        version: table.string("version", problems).map(owned),
        preempt: preempt.map(owned),
        config,
    }
}

fn owned(word: Spanned<&str>) -> String {
    word.into_inner().to_owned()
}

/// Whether a text is the name of an option as `.config` has it.
fn is_option(name: &str) -> bool {
    name.strip_prefix("CONFIG_").is_some_and(|rest| {
        let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        !rest.is_empty() && rest.chars().all(word)
    })
}

/// Whether a text is a name as Debian's policy (5.6.1) has it: it can be no option and no path.
fn is_package(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c))
}
