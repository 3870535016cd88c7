//! From the text of a matrix to a checked [`Matrix`], or everything that is wrong with it. Pure.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::problem::{Errors, Problems, Source, quoted, suggestion};
use super::product::Product;
use super::read::Table;
use super::{
    Attribution, Axis, Cell, Contrast, Form, KernelSource, Matrix, Measure, Vocabulary,
    attribution, command, kernel, measure,
};

/// The version of the format.
const SCHEMA: u32 = 1;

/// More combinations than this are not enumerated. Far above what can be run, and a bound on memory.
pub const MOST_CELLS: usize = 4_000_000;

/// The longest name of a matrix, a kernel or a contrast: ids become table columns and parts of file names.
const LONGEST_NAME: usize = 64;

const KEYS: [&str; 11] = [
    "schema",
    "name",
    "axes",
    "measure",
    "exclude",
    "include",
    "contrast",
    "kernel",
    "command",
    "attribution",
    "report",
];

/// Values of one axis as written, with their places.
type Values<'t> = Vec<Spanned<&'t str>>;

/// Reads a matrix from bytes, which need not be UTF-8. `file` is the name that errors call it by.
pub fn parse_bytes(bytes: &[u8], file: &str, words: &Vocabulary) -> Result<Matrix, Errors> {
    parse(utf8(bytes, file)?, file, words)
}

/// Reads a matrix. `file` is the name that errors call it by; `words` are the names that values of axes and workloads
/// may have. Reports everything that is wrong, by position; of broken TOML the first place only.
pub fn parse(text: &str, file: &str, words: &Vocabulary) -> Result<Matrix, Errors> {
    document_of(text, file, |top, problems| document(top, words, problems))
}

/// The text of a file, or where it is none.
pub fn utf8<'b>(bytes: &'b [u8], file: &str) -> Result<&'b str, Errors> {
    str::from_utf8(bytes).map_err(|error| {
        // What comes before the first wrong byte is the same in the readable copy.
        let text = String::from_utf8_lossy(bytes);
        let source = Source::new(file, &text);
        let mut problems = Problems::new(&source);
        let at = error.valid_up_to();
        let wrong = bytes.get(at).copied().unwrap_or_default();
        let message = format!("byte {wrong:#04x} is not UTF-8");
        problems.add_with_help(at..at + 1, message, "save the file as UTF-8");
        problems.into_errors()
    })
}

/// What `read` makes of a TOML file, unless it or TOML finds a problem.
pub fn document_of<T>(
    text: &str,
    file: &str,
    read: impl FnOnce(&DeTable<'_>, &mut Problems<'_>) -> T,
) -> Result<T, Errors> {
    let source = Source::new(file, text);
    let mut problems = Problems::new(&source);
    let top = match DeTable::parse(text) {
        Ok(top) => top,
        Err(error) => {
            let at = error.span().unwrap_or(text.len()..text.len());
            problems.add(at, format!("invalid TOML: {}", error.message()));
            return Err(problems.into_errors());
        }
    };
    let document = read(top.get_ref(), &mut problems);
    if problems.none() { Ok(document) } else { Err(problems.into_errors()) }
}

/// The whole document. What it returns is a valid matrix only if no problem was found.
fn document(top: &DeTable<'_>, words: &Vocabulary, problems: &mut Problems<'_>) -> Matrix {
    let top = Table::new("the matrix", 0..0, top, &KEYS, problems);
    top.require("schema", "schema = 1", problems);
    let schema = top.integer("schema", 0..=u32::MAX, problems);
    if let Some(other) = schema.filter(|schema| *schema != SCHEMA) {
        let help = format!("this version of the tool reads schema = {SCHEMA}");
        problems.add_with_help(top.span_of("schema"), format!("unknown schema {other}"), help);
    }
    top.require("name", "name = \"my-matrix\"", problems);
    let name = top.string("name", problems);
    if let Some(name) = &name {
        check_name(name, "matrix name", problems);
    }
    let defined = kernel::read(top.named_tables("kernel", &kernel::KEYS, problems), problems);
    let commands = command::read(&top, words, problems);
    let measure = top
        .table("measure", &measure::KEYS, problems)
        .map_or_else(Measure::default, |table| measure::read(&table, words, &commands, problems));
    command::check_measured(&top, &measure, problems);

    let form = form(&top, problems);

    let known = Known { words, kernels: &defined };
    let of_tuning = |name: &Spanned<&str>, problems: &mut Problems<'_>| {
        known.check(Axis::Tuning, name, problems)
    };
    let attribution = attribution::read(&top, &of_tuning, problems);
    let axes = axes(&top, &known, attribution.as_ref(), problems);
    let cells = Cells::new(&top, axes, known, problems);
    let (cells, contrasts, shipped) = cells.map_or_else(Default::default, |mut cells| {
        cells.exclude(&top, problems);
        cells.include(&top, problems);
        let contrasts = cells.contrasts(&top, problems);
        let shipped = cells.shipped_kernels();
        (cells.finish(&top, problems), contrasts, shipped)
    });
    let mut kernels = defined;
    for (name, source) in shipped {
        kernels.entry(name).or_insert(source);
    }
    let name = name.map_or_else(String::new, |name| name.into_inner().to_owned());
    let profiles = BTreeMap::new();
    let study = None;
    Matrix {
        name,
        cells,
        measure,
        contrasts,
        kernels,
        commands,
        profiles,
        form,
        attribution,
        study,
    }
}

/// The further form that `[report]` asks for.
fn form(top: &Table<'_>, problems: &mut Problems<'_>) -> Option<Form> {
    let table = top.table("report", &["form"], problems)?;
    let form = table.string("form", problems)?;
    let found = Form::ALL.into_iter().find(|known| known.name() == *form.get_ref());
    if found.is_none() {
        let known = Form::ALL.map(Form::name);
        problems.unknown(form.span(), "form of a report", form.get_ref(), known);
    }
    found
}

/// The values that each axis lists. Those with a default may be left out.
fn axes<'t>(
    top: &Table<'t>,
    known: &Known<'_>,
    attribution: Option<&Attribution>,
    problems: &mut Problems<'_>,
) -> [Values<'t>; Axis::ALL.len()] {
    top.require("axes", "[axes], with a list of values for each axis", problems);
    let names = Axis::ALL.map(Axis::name);
    let Some(table) = top.table("axes", &names, problems) else { return Default::default() };
    if let Some(asked) = attribution
        && table.has(Axis::Tuning.name())
    {
        let message = "`tuning` is given by `[attribution]`, which derives its values";
        let help = format!(
            "leave it out: cells are measured under profiles from {} to {}",
            quoted(&asked.base),
            quoted(&asked.profile)
        );
        problems.add_with_help(table.span_of(Axis::Tuning.name()), message, help);
    }
    Axis::ALL.map(|axis| {
        let default = axis.default_value();
        let example = known.of(axis).next().unwrap_or("...");
        let values = match default.filter(|_| !table.has(axis.name())) {
            Some(default) => vec![Spanned::new(table.span(), default)],
            None => {
                table.require(axis.name(), &format!("{axis} = [\"{example}\"]"), problems);
                table.strings(axis.name(), problems).unwrap_or_default()
            }
        };
        for value in &values {
            known.check(axis, value, problems);
        }
        if table.is_empty_array(axis.name()) {
            let message = format!("axis `{axis}` has no values, so there is no cell");
            let help = format!("write it as: {axis} = [\"{example}\"]");
            problems.add_with_help(table.span_of(axis.name()), message, help);
        }
        values
    })
}

/// The names that values of axes may have.
struct Known<'k> {
    words: &'k Vocabulary,
    kernels: &'k BTreeMap<String, KernelSource>,
}

impl Known<'_> {
    fn of(&self, axis: Axis) -> Box<dyn Iterator<Item = &str> + '_> {
        let words = match axis {
            Axis::Kernel | Axis::HostKernel => {
                let defined = self.kernels.keys().map(String::as_str);
                let shipped = kernel::SHIPPED.into_iter().map(|(name, ..)| name);
                let shipped = shipped.filter(|name| !self.kernels.contains_key(*name));
                return Box::new(std::iter::once(kernel::RUNNING).chain(defined).chain(shipped));
            }
            Axis::Virtualization => &self.words.virtualization,
            Axis::Network => &self.words.network,
            Axis::Tuning => &self.words.tuning,
            Axis::Load => &self.words.load,
        };
        Box::new(words.iter().map(String::as_str))
    }

    fn has(&self, axis: Axis, name: &str) -> bool {
        match axis {
            Axis::Kernel | Axis::HostKernel => {
                self.kernels.contains_key(name) || self.of(axis).any(|known| known == name)
            }
            _ => self.of(axis).any(|known| known == name),
        }
    }

    /// Reports a value that its axis does not have; tells whether it is fine.
    fn check(&self, axis: Axis, value: &Spanned<&str>, problems: &mut Problems<'_>) -> bool {
        let name = *value.get_ref();
        if self.has(axis, name) {
            return true;
        }
        if let Some(other) = Axis::ALL.into_iter().find(|other| self.has(*other, name)) {
            let message = format!("unknown {axis} {}", quoted(name));
            problems.add_with_help(value.span(), message, format!("it is a value of `{other}`"));
        } else if axis.is_of_kernels() {
            let define = format!("define it in a table {}", quoted(&format!("[kernel.{name}]")));
            let help = suggestion(name, self.of(axis)).map(|near| format!("{near}; or {define}"));
            let message = format!("kernel {} is not defined", quoted(name));
            problems.add_with_help(value.span(), message, help.unwrap_or(define));
        } else {
            problems.unknown(value.span(), axis, name, self.of(axis));
        }
        false
    }
}

/// The cells while excludes, includes and contrasts are read.
struct Cells<'t, 'k> {
    product: Product<'t>,
    known: Known<'k>,
    /// Lines of includes by the values that they name.
    include_lines: BTreeMap<[&'t str; Axis::ALL.len()], usize>,
}

impl<'t, 'k> Cells<'t, 'k> {
    /// All combinations; `None` where an axis has no value, or where there are too many.
    fn new(
        top: &Table<'t>,
        axes: [Values<'t>; Axis::ALL.len()],
        known: Known<'k>,
        problems: &mut Problems<'_>,
    ) -> Option<Cells<'t, 'k>> {
        // A value that is there twice is reported already.
        let axes = axes.map(|values| {
            let mut seen = HashSet::new();
            let names = values.into_iter().map(Spanned::into_inner);
            names.filter(|name| seen.insert(*name)).collect::<Vec<_>>()
        });
        if axes.iter().any(Vec::is_empty) {
            return None;
        }
        let product = Product::new(&axes, MOST_CELLS);
        if product.is_none() {
            let many =
                Product::count(&axes).map_or("too many to count".to_owned(), |n| n.to_string());
            let message =
                format!("the axes make {many} cells, at most {MOST_CELLS} can be planned");
            problems.add_with_help(top.span_of("axes"), message, "split the matrix");
        }
        Some(Cells { product: product?, known, include_lines: BTreeMap::new() })
    }

    fn exclude(&mut self, top: &Table<'t>, problems: &mut Problems<'_>) {
        for table in top.tables("exclude", &Axis::ALL.map(Axis::name), problems) {
            let values = Axis::ALL.map(|axis| table.string(axis.name(), problems));
            if Axis::ALL.iter().all(|axis| !table.has(axis.name())) {
                let help = "name at least one axis, as in: load = \"noisy\"";
                problems.add_with_help(
                    table.span(),
                    "an exclude without an axis matches every cell",
                    help,
                );
                continue;
            }
            let mut fine = true;
            for (axis, value) in Axis::ALL.into_iter().zip(&values) {
                fine &= value.as_ref().is_none_or(|value| self.known.check(axis, value, problems));
                fine &= value.is_some() == table.has(axis.name());
            }
            if fine && self.product.exclude(values.map(|value| value.map(Spanned::into_inner))) == 0
            {
                let help =
                    "excludes take away combinations of what [axes] lists, never included cells";
                problems.add_with_help(table.span(), "the exclude matches no cell", help);
            }
        }
    }

    fn include(&mut self, top: &Table<'t>, problems: &mut Problems<'_>) {
        for table in top.tables("include", &Axis::ALL.map(Axis::name), problems) {
            let values = Axis::ALL.map(|axis| table.string(axis.name(), problems));
            // Of the axes that came later, an include written before them says nothing.
            let may_lack = |axis: &Axis| *axis == Axis::HostKernel;
            let missing = Axis::ALL.into_iter().filter(|axis| !table.has(axis.name()));
            let missing = missing.filter(|axis| !may_lack(axis));
            let missing: Vec<String> = missing.map(|axis| format!("`{axis}`")).collect();
            if !missing.is_empty() {
                let message = format!("the include lacks {}", missing.join(" and "));
                problems.add_with_help(table.span(), message, "an include names every axis");
            }
            for (axis, value) in Axis::ALL.into_iter().zip(&values) {
                if let Some(value) = value {
                    self.known.check(axis, value, problems);
                }
            }
            let lacks_host_kernel = !table.has(Axis::HostKernel.name());
            let [kernel, virtualization, network, tuning, load, host_kernel] = values;
            let host_kernel =
                host_kernel.or(lacks_host_kernel.then(|| Spanned::new(0..0, kernel::RUNNING)));
            let (Some(kernel), Some(virtualization), Some(network)) =
                (kernel, virtualization, network)
            else {
                continue;
            };
            let (Some(tuning), Some(load), Some(host_kernel)) = (tuning, load, host_kernel) else {
                continue;
            };
            let names = [kernel, virtualization, network, tuning, load, host_kernel]
                .map(Spanned::into_inner);
            if self.product.include(names) {
                self.include_lines.insert(names, problems.line_of(table.span().start));
            } else {
                let made = match self.include_lines.get(&names) {
                    Some(line) => format!("the include in line {line} adds it already"),
                    None => "the axes make it already".to_owned(),
                };
                let message = format!("cell {} is there twice", quoted(&Cell::of(names).id()));
                problems.add_with_help(table.span(), message, made);
            }
        }
    }

    fn contrasts(&self, top: &Table<'t>, problems: &mut Problems<'_>) -> Vec<Contrast> {
        let mut contrasts: Vec<Contrast> = Vec::new();
        for table in top.tables("contrast", &["name", "axis", "from", "to"], problems) {
            for (key, example) in
                [("name", "isolation"), ("axis", "tuning"), ("from", "stock"), ("to", "isolated")]
            {
                table.require(key, &format!("{key} = \"{example}\""), problems);
            }
            let strings = ["name", "axis", "from", "to"].map(|key| table.string(key, problems));
            let [Some(name), Some(axis), Some(from), Some(to)] = strings else { continue };
            check_name(&name, "contrast name", problems);
            if contrasts.iter().any(|other| other.name == *name.get_ref()) {
                let message = format!("contrast {} is there twice", quoted(name.get_ref()));
                problems.add(name.span(), message);
            }
            let Some(found) = Axis::ALL.into_iter().find(|known| known.name() == *axis.get_ref())
            else {
                problems.unknown(axis.span(), "axis", axis.get_ref(), Axis::ALL.map(Axis::name));
                continue;
            };
            self.check_pair(found, &from, &to, table.span(), problems);
            let [name, from, to] = [name, from, to].map(|word| word.into_inner().to_owned());
            contrasts.push(Contrast { name, axis: found, from, to });
        }
        contrasts
    }

    fn check_pair(
        &self,
        axis: Axis,
        from: &Spanned<&str>,
        to: &Spanned<&str>,
        span: Range<usize>,
        problems: &mut Problems<'_>,
    ) {
        let known = [from, to].map(|value| self.known.check(axis, value, problems));
        if known.contains(&false) {
            return;
        }
        let [from_name, to_name] = [quoted(from.get_ref()), quoted(to.get_ref())];
        if from.get_ref() == to.get_ref() {
            let message = format!("the contrast compares {from_name} with itself");
            problems.add_with_help(to.span(), message, format!("name another value of `{axis}`"));
        } else if !self.product.has_pair(axis, from.get_ref(), to.get_ref()) {
            let message = format!("no two cells differ by {axis} {from_name} and {to_name} only");
            let help = "a contrast compares cells that are equal on all other axes";
            problems.add_with_help(span, message, help);
        }
    }

    /// The shipped kernels that values of axes name and no table defines, with their sources.
    fn shipped_kernels(&self) -> Vec<(String, KernelSource)> {
        let used = |name: &str| {
            [Axis::Kernel, Axis::HostKernel].into_iter().any(|axis| self.product.has(axis, name))
        };
        let names = kernel::SHIPPED.into_iter().map(|(name, ..)| name);
        let names = names.filter(|name| used(name) && !self.known.kernels.contains_key(*name));
        names.filter_map(|name| Some((name.to_owned(), kernel::shipped(name)?))).collect()
    }

    fn finish(&self, top: &Table<'t>, problems: &mut Problems<'_>) -> Vec<Cell> {
        if self.product.is_empty() {
            let message = "the excludes take away every cell";
            problems.add(top.span_of("exclude"), message);
        }
        if problems.none() { self.product.cells() } else { Vec::new() }
    }
}

/// Reports a name that is not of the form `[a-z0-9][a-z0-9.-]*`, or too long.
pub(super) fn check_name(name: &Spanned<&str>, what: &str, problems: &mut Problems<'_>) {
    let text = *name.get_ref();
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !text.starts_with(word) || !text.chars().all(|c| word(c) || c == '.' || c == '-') {
        let help = "names begin with a-z or 0-9 and go on with a-z, 0-9, `.` and `-`";
        problems.add_with_help(name.span(), format!("{} is no {what}", quoted(text)), help);
    } else if text.len() > LONGEST_NAME {
        let message = format!("{what} {} is too long", quoted(text));
        problems.add_with_help(
            name.span(),
            message,
            format!("use at most {LONGEST_NAME} characters"),
        );
    }
}
