//! From the text of a policy to a checked [`Policy`], or everything that is wrong with it, each at its place. Pure.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::DeTable;

use super::source::{BUILT_IN, EMBEDDED};
use super::{
    Accept, Calibrate, Confirm, Date, Errors, Find, Gate, Margins, Policy, Require, Screen,
    Validity,
};
use crate::matrix::{self, Problems, Table, document_of, quoted};
use crate::plan::Filter;
use crate::verdict::Aspect;
use crate::workload;

/// The version of the format.
const SCHEMA: u32 = 1;

const KEYS: [&str; 15] = [
    "schema",
    "margins",
    "errors",
    "gate",
    "screen",
    "confirm",
    "find",
    "find-of-rates",
    "require",
    "validity",
    "noise",
    "modes",
    "test",
    "calibrate",
    "accept",
];

/// What a gate can be told to find.
const FOUND: [&str; 5] = ["location", "dispersion", "tail", "stall", "modes"];

/// Factors. A margin of 1 would flag what is merely different.
const FACTOR: RangeInclusive<f64> = 1.0001..=1000.0;
/// Rates of error.
const RATE: RangeInclusive<f64> = 1e-9..=0.5;
/// Times that one is likelier than the other.
const ODDS: RangeInclusive<f64> = 1.0..=1e9;
/// Boots a side.
const BOOTS: RangeInclusive<u32> = 2..=10_000;
/// Shares.
const SHARE: RangeInclusive<f64> = 0.0..=1.0;

/// Reads a policy. `file` is the name that errors call it by.
///
/// # Errors
/// Everything that is wrong, by position; of broken TOML the first place only.
pub fn parse(text: &str, file: &str) -> Result<Policy, matrix::Errors> {
    let built_in =
        document_of(EMBEDDED, BUILT_IN, |top, problems| document(top, BUILT_IN, None, problems))?;
    document_of(text, file, |top, problems| document(top, file, Some(&built_in), problems))
}

/// One table of the file.
struct Part<'t> {
    table: Option<Table<'t>>,
    /// Whether every key must be there: in the policy that others fall back to.
    complete: bool,
    name: &'static str,
}

impl Part<'_> {
    fn number(
        &self,
        key: &str,
        range: RangeInclusive<f64>,
        fallback: Option<f64>,
        problems: &mut Problems<'_>,
    ) -> f64 {
        if self.complete && !self.table.as_ref().is_some_and(|table| table.has(key)) {
            problems.add(0..0, format!("missing key `{key}` in `[{}]`", self.name));
        }
        let found = self.table.as_ref().and_then(|table| table.number(key, range, problems));
        // A problem was noted where neither is there.
        found.or(fallback).unwrap_or(f64::NAN)
    }

    fn integer(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
        fallback: Option<u32>,
        problems: &mut Problems<'_>,
    ) -> u32 {
        if self.complete && !self.table.as_ref().is_some_and(|table| table.has(key)) {
            problems.add(0..0, format!("missing key `{key}` in `[{}]`", self.name));
        }
        let found = self.table.as_ref().and_then(|table| table.integer(key, range, problems));
        found.or(fallback).unwrap_or_default()
    }
}

fn document(
    top: &DeTable<'_>,
    file: &str,
    fallback: Option<&Policy>,
    problems: &mut Problems<'_>,
) -> Policy {
    let top = Table::new("the policy", 0..0, top, &KEYS, problems);
    top.require("schema", "schema = 1", problems);
    let schema = top.integer("schema", 0..=u32::MAX, problems);
    if let Some(other) = schema.filter(|schema| *schema != SCHEMA) {
        let help = format!("this version of the tool reads schema = {SCHEMA}");
        problems.add_with_help(top.span_of("schema"), format!("unknown schema {other}"), help);
    }
    let complete = fallback.is_none();
    let mut part = |name: &'static str, keys: &[&str]| Part {
        table: top.table(name, keys, problems),
        complete,
        name,
    };
    let of_margins =
        part("margins", &["location", "dispersion", "tail", "stall", "modes", "between-boot"]);
    let of_errors = part("errors", &["family", "equivalence", "screen", "failures"]);
    let of_gate = part("gate", &["aspects", "workloads"]);
    let of_screen = part("screen", &["first", "more", "most", "cleared", "enough", "suspect"]);
    let of_confirm = part("confirm", &["looks", "futile"]);
    let of_find = part("find", &FOUND);
    let of_rates = part("find-of-rates", &FOUND);
    let of_require = part("require", &["boots", "power"]);
    let of_validity = part("validity", &["alternating", "location", "dispersion", "error"]);
    let of_noise = part("noise", &["steal"]);
    let of_modes = part("modes", &["share"]);
    let of_test = part("test", &["permutations"]);
    let of_calibrate = part("calibrate", &["required", "most"]);
    let mut number = |part: &Part<'_>, key, range, of: fn(&Policy) -> f64| {
        part.number(key, range, fallback.map(of), problems)
    };
    let margins = Margins {
        location: number(&of_margins, "location", FACTOR, |p| p.margins.location),
        dispersion: number(&of_margins, "dispersion", FACTOR, |p| p.margins.dispersion),
        tail: number(&of_margins, "tail", FACTOR, |p| p.margins.tail),
        stall: number(&of_margins, "stall", FACTOR, |p| p.margins.stall),
        modes: number(&of_margins, "modes", FACTOR, |p| p.margins.modes),
        between_boot: number(&of_margins, "between-boot", FACTOR, |p| p.margins.between_boot),
    };
    let errors = Errors {
        family: number(&of_errors, "family", RATE, |p| p.errors.family),
        equivalence: number(&of_errors, "equivalence", RATE, |p| p.errors.equivalence),
        screen: number(&of_errors, "screen", RATE, |p| p.errors.screen),
        failures: number(&of_errors, "failures", RATE, |p| p.errors.failures),
    };
    let validity = Validity {
        alternating: number(&of_validity, "alternating", SHARE, |p| p.validity.alternating),
        location: number(&of_validity, "location", FACTOR, |p| p.validity.location),
        dispersion: number(&of_validity, "dispersion", FACTOR, |p| p.validity.dispersion),
        error: number(&of_validity, "error", RATE, |p| p.validity.error),
    };
    let mut find = |part: &Part<'_>, of: fn(&Policy) -> &Find| {
        let mut factor = |key, aspect, at: fn(&Find) -> f64| {
            let margin = margins.of(aspect);
            // What is left out lies as far beyond the margin as it does in the built-in policy.
            let own = |p: &Policy| {
                let beyond = margin * at(of(p)) / p.margins.of(aspect);
                at(of(p)).max((beyond * 100.0).round() / 100.0)
            };
            let found = part.number(key, FACTOR, fallback.map(own), problems);
            if found <= margin {
                let message = format!("`{key} = {found}` is not above its margin, {margin}");
                let at = part.table.as_ref().map_or(0..0, |table| table.span_of(key));
                problems.add_with_help(at, message, "a gate finds changes beyond the margin");
            }
            found
        };
        Find {
            location: factor("location", Aspect::Location, |find| find.location),
            dispersion: factor("dispersion", Aspect::Dispersion, |find| find.dispersion),
            tail: factor("tail", Aspect::Tail, |find| find.tail),
            stall: factor("stall", Aspect::Stall, |find| find.stall),
            modes: factor("modes", Aspect::Modes, |find| find.modes),
        }
    };
    let (find, find_of_rates) =
        (find(&of_find, |p| &p.find), find(&of_rates, |p| &p.find_of_rates));
    let screen = screen(&of_screen, fallback, problems);
    let confirm = confirm(&of_confirm, fallback, problems);
    let mut number = |part: &Part<'_>, key, range, of: fn(&Policy) -> f64| {
        part.number(key, range, fallback.map(of), problems)
    };
    let power = number(&of_require, "power", 0.5..=0.9999, |p| p.require.power);
    let steal = number(&of_noise, "steal", 0.0..=1000.0, |p| p.steal);
    let mode_share = number(&of_modes, "share", 0.01..=0.5, |p| p.mode_share);
    let most = number(&of_calibrate, "most", 1e-4..=1.0, |p| p.calibrate.most);
    let required =
        of_calibrate.table.as_ref().and_then(|table| table.boolean("required", problems));
    let required = required.or(fallback.map(|p| p.calibrate.required)).unwrap_or_default();
    let boots = fallback.map(|p| p.require.boots);
    let boots = of_require.integer("boots", 2..=10_000, boots, problems);
    let permutations = fallback.map(|p| p.permutations);
    let permutations = of_test.integer("permutations", 100..=10_000_000, permutations, problems);
    Policy {
        file: file.to_owned(),
        margins,
        errors,
        gate: gate(&of_gate, fallback, problems),
        screen,
        confirm,
        find,
        find_of_rates,
        require: Require { boots, power },
        validity,
        steal,
        mode_share,
        permutations,
        calibrate: Calibrate { required, most },
        accept: top
            .tables("accept", &ACCEPT, problems)
            .iter()
            .filter_map(|table| accept(table, problems))
            .collect(),
    }
}

fn screen(part: &Part<'_>, fallback: Option<&Policy>, problems: &mut Problems<'_>) -> Screen {
    let of = |at: fn(&Screen) -> u32| fallback.map(|p| at(&p.screen));
    let odds = |at: fn(&Screen) -> f64| fallback.map(|p| at(&p.screen));
    let screen = Screen {
        first: part.integer("first", BOOTS, of(|s| s.first), problems),
        more: part.integer("more", 1..=*BOOTS.end(), of(|s| s.more), problems),
        most: part.integer("most", BOOTS, of(|s| s.most), problems),
        cleared: part.number("cleared", ODDS, odds(|s| s.cleared), problems),
        enough: part.number("enough", ODDS, odds(|s| s.enough), problems),
        suspect: part.number("suspect", ODDS, odds(|s| s.suspect), problems),
    };
    if screen.most < screen.first {
        let at = part.table.as_ref().map_or(0..0, |table| table.span_of("most"));
        let message = format!("`most = {}` is below `first = {}`", screen.most, screen.first);
        problems.add_with_help(at, message, "a screen has at least the boots that all cells get");
    }
    screen
}

fn confirm(part: &Part<'_>, fallback: Option<&Policy>, problems: &mut Problems<'_>) -> Confirm {
    let old = fallback.map(|p| &p.confirm);
    let futile = part.number("futile", ODDS, old.map(|c| c.futile), problems);
    let Some(table) = part.table.as_ref().filter(|table| table.has("looks")) else {
        if part.complete {
            problems.add(0..0, format!("missing key `looks` in `[{}]`", part.name));
        }
        return Confirm { looks: old.map(|c| c.looks.clone()).unwrap_or_default(), futile };
    };
    let looks = table.tables("looks", &["fresh", "spend"], problems);
    let looks: Vec<(u32, f64)> = looks
        .iter()
        .filter_map(|look| {
            look.require("fresh", "{ fresh = 16, spend = 0.1 }", problems);
            look.require("spend", "{ fresh = 16, spend = 0.1 }", problems);
            let fresh = look.integer("fresh", BOOTS, problems);
            fresh.zip(look.number("spend", SHARE, problems))
        })
        .collect();
    let sum: f64 = looks.iter().map(|(_, spend)| spend).sum();
    let problem = match () {
        () if looks.is_empty() => Some("`looks` is empty: nothing would ever be confirmed"),
        () if !looks.is_sorted_by(|a, b| a.0 < b.0) => Some("`looks` must ascend"),
        () if sum > 1.0 + 1e-9 => Some("`looks` spend more than the whole error rate"),
        () => None,
    };
    if let Some(message) = problem {
        let help =
            "write it as: looks = [{ fresh = 16, spend = 0.3 }, { fresh = 32, spend = 0.7 }]";
        problems.add_with_help(table.span_of("looks"), message.to_owned(), help);
    }
    Confirm { looks, futile }
}

fn gate(part: &Part<'_>, fallback: Option<&Policy>, problems: &mut Problems<'_>) -> Gate {
    let table = part.table.as_ref();
    let aspects = table
        .and_then(|table| table.strings("aspects", problems))
        .map(|named| named.iter().filter_map(|name| judged(name, problems)).collect::<Vec<_>>());
    let workloads = table
        .and_then(|table| table.strings("workloads", problems))
        .map(|named| named.iter().map(|name| workload(name, problems)).collect::<Vec<_>>());
    Gate {
        aspects: aspects.or(fallback.map(|p| p.gate.aspects.clone())).unwrap_or_default(),
        workloads: workloads.or(fallback.and_then(|p| p.gate.workloads.clone())),
    }
}

/// An aspect that can gate.
fn judged(name: &Spanned<&str>, problems: &mut Problems<'_>) -> Option<Aspect> {
    let found = aspect(name, problems)?;
    if found == Aspect::BetweenBoot {
        let message = "aspect `between-boot` is shown and not judged: it cannot gate";
        problems.add(name.span(), message.to_owned());
        return None;
    }
    Some(found)
}

/// An aspect that has a figure.
fn aspect(name: &Spanned<&str>, problems: &mut Problems<'_>) -> Option<Aspect> {
    let found = Aspect::FIGURES.into_iter().find(|known| known.name() == *name.get_ref());
    if found.is_none() {
        problems.unknown(name.span(), "aspect", name.get_ref(), Aspect::FIGURES.map(Aspect::name));
    }
    found
}

fn workload(name: &Spanned<&str>, problems: &mut Problems<'_>) -> String {
    // Which commands there are, a matrix says.
    if !workload::may_be(name.get_ref()) {
        let known = workload::ALL.iter().map(|known| known.name());
        problems.unknown(name.span(), "workload", name.get_ref(), known);
    }
    (*name.get_ref()).to_owned()
}

const ACCEPT: [&str; 6] = ["cells", "workload", "aspect", "ratio", "until", "reason"];

fn accept(table: &Table<'_>, problems: &mut Problems<'_>) -> Option<Accept> {
    table.require("reason", "reason = \"why this is accepted\"", problems);
    table.require("ratio", "ratio = 1.4", problems);
    table.require("until", "until = \"2027-06-30\"", problems);
    let text = table.string("cells", problems);
    let cells = text.as_ref().and_then(|text| match text.get_ref().parse::<Filter>() {
        Ok(filter) => Some(filter),
        Err(error) => {
            problems.add(text.span(), error.to_string());
            None
        }
    });
    let aspect = table.string("aspect", problems).and_then(|name| aspect(&name, problems));
    let workload = table.string("workload", problems).map(|name| workload(&name, problems));
    let ratio = table.number("ratio", FACTOR, problems);
    let reason = table.string("reason", problems);
    let until = table.string("until", problems).and_then(|text| {
        let date = text.get_ref().parse::<Date>();
        if date.is_err() {
            let message = format!("{} is no date", quoted(text.get_ref()));
            problems.add_with_help(text.span(), message, "write it as: until = \"2027-06-30\"");
        }
        date.ok()
    });
    Some(Accept {
        cells,
        cells_text: text.map(|text| text.into_inner().to_owned()),
        workload,
        aspect,
        ratio: ratio?,
        reason: reason?.into_inner().to_owned(),
        until: until?,
    })
}
