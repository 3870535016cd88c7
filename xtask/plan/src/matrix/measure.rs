//! The `[measure]` table and its defaults and bounds, and the short form of a matrix. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{Problems, quoted, suggestion};
use super::read::Table;
use super::{COMMAND, Command, Family, Matrix, Measure, Vocabulary};

/// Keys of `[measure]`.
pub(super) const KEYS: [&str; 7] =
    ["workloads", "boots", "warmup", "window", "windows", "ip", "rate"];

/// The longest that one boot may measure, warm-ups included.
pub const LONGEST_BOOT: Duration = Duration::from_secs(24 * 60 * 60);

/// How many fresh starts a cell may have.
pub const BOOTS: RangeInclusive<u32> = 1..=10_000;

/// Boots of a cell with `--quick`: two would give every figure but no idea of how far the intervals can be trusted.
const QUICK_BOOTS: u32 = 3;

/// The same where the report compares spreads *of* boots' means, of which three say nothing.
const QUICK_BOOTS_OF_FORM: u32 = 5;

/// Windows of a workload with `--quick`: the fewest whose pooled rates (3 x 10) support quartiles of a stream.
const QUICK_WINDOWS: u32 = 10;

impl Default for Measure {
    /// What is measured where the matrix says nothing.
    fn default() -> Measure {
        Measure {
            workloads: vec!["tcp-rr".to_owned(), "tcp-stream".to_owned()],
            boots: 5,
            warmup: Duration::from_millis(200),
            window: Duration::from_millis(20),
            windows: 50,
            family: Family::Ipv4,
            rate: 1000,
        }
    }
}

impl Measure {
    /// The time that one boot measures, warm-ups included; building and undoing not.
    pub fn time(&self) -> Duration {
        let one = self.warmup.saturating_add(self.window.saturating_mul(self.windows));
        one.saturating_mul(u32::try_from(self.workloads.len()).unwrap_or(u32::MAX))
    }
}

/// The same matrix with the fewest boots and windows that still give every figure.
pub fn quick(matrix: &Matrix) -> Matrix {
    let mut quick = matrix.clone();
    let boots = if matrix.form.is_some() { QUICK_BOOTS_OF_FORM } else { QUICK_BOOTS };
    quick.measure.boots = quick.measure.boots.min(boots);
    quick.measure.windows = quick.measure.windows.min(QUICK_WINDOWS);
    quick
}

/// Reads `[measure]`; what is absent has its default.
pub(super) fn read(
    table: &Table<'_>,
    words: &Vocabulary,
    commands: &[Command],
    problems: &mut Problems<'_>,
) -> Measure {
    let default = Measure::default();
    let second = Duration::from_secs(1);
    let measure = Measure {
        workloads: workloads(table, words, commands, problems).unwrap_or(default.workloads),
        boots: table.integer("boots", BOOTS, problems).unwrap_or(default.boots),
        warmup: table
            .duration("warmup", Duration::ZERO..=600 * second, problems)
            .unwrap_or(default.warmup),
        window: table
            .duration("window", Duration::from_millis(1)..=600 * second, problems)
            .unwrap_or(default.window),
        windows: table.integer("windows", 1..=100_000, problems).unwrap_or(default.windows),
        family: family(table, problems).unwrap_or_default(),
        rate: table.integer("rate", 1..=1_000_000, problems).unwrap_or(default.rate),
    };
    if measure.time() > LONGEST_BOOT {
        let hours = measure.time().as_secs() / 3600;
        let help = "use fewer or shorter windows, and more boots: verdicts come from boots";
        let message = format!("one boot would measure for {hours} hours, at most 24 are allowed");
        problems.add_with_help(table.span_of("windows"), message, help);
    }
    measure
}

fn workloads(
    table: &Table<'_>,
    words: &Vocabulary,
    commands: &[Command],
    problems: &mut Problems<'_>,
) -> Option<Vec<String>> {
    let named = table.strings("workloads", problems)?;
    let of_commands = commands.iter().map(|command| command.workload.as_str());
    let known: Vec<&str> = words.workloads.iter().map(String::as_str).chain(of_commands).collect();
    if table.is_empty_array("workloads") {
        let help = format!("known: {}", known.join(", "));
        problems.add_with_help(table.span_of("workloads"), "no workload is measured", help);
    }
    for name in named.iter().filter(|name| !known.contains(name.get_ref())) {
        match name.get_ref().strip_prefix(COMMAND) {
            Some(lacks) => {
                let define =
                    format!("define it in a table {}", quoted(&format!("[command.{lacks}]")));
                let near = suggestion(name.get_ref(), known.iter().copied());
                let help = near.map_or(define.clone(), |near| format!("{near}; or {define}"));
                let message = format!("workload {} has no table", quoted(name.get_ref()));
                problems.add_with_help(name.span(), message, help);
            }
            None => {
                problems.unknown(name.span(), "workload", name.get_ref(), known.iter().copied())
            }
        }
    }
    Some(named.into_iter().map(|name| name.into_inner().to_owned()).collect())
}

fn family(table: &Table<'_>, problems: &mut Problems<'_>) -> Option<Family> {
    let ip = table.string("ip", problems)?;
    match *ip.get_ref() {
        "ipv4" => Some(Family::Ipv4),
        "ipv6" => Some(Family::Ipv6),
        other => {
            let help = "write \"ipv4\" or \"ipv6\"";
            problems.add_with_help(
                ip.span(),
                format!("unknown IP version {}", quoted(other)),
                help,
            );
            None
        }
    }
}
