//! `--only FILTER`: which cells of a matrix are meant. Pure.
//!
//! Terms with commas between them. A cell is taken if it matches some term, or if all terms begin with `!`; and if it
//! matches no term that begins with `!`. A term is
//! - `docker`: a value, on whatever axis;
//! - `virtualization=docker`: a value of that axis;
//! - `running/*/bridge/*`: an id.
//!
//! `*` stands for any characters, also `/`, and `?` for one. A term that matches no cell is an error, also one that
//! takes away: most often it is mistyped.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::matrix::{Axis, Cell, nearest, quoted, suggestion};

/// A filter is at most this long, in bytes.
const LONGEST: usize = 10_000;

/// Ids that a mistyped one is compared with: enough for any matrix that is run.
const MOST_COMPARED: usize = 1000;

/// A filter, read but not yet held against cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    /// As written.
    text: String,
    takes_away: bool,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Value(Vec<char>),
    On(Axis, Vec<char>),
    Id(Vec<char>),
}

/// What is wrong with a filter: names the term and, where there is one, the nearest right name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFilter(String);

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadFilter {}

impl std::str::FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Filter, BadFilter> {
        if text.len() > LONGEST {
            return Err(BadFilter(format!("the filter is longer than {LONGEST} bytes")));
        }
        let terms =
            text.split(',').map(|term| Term::parse(term.trim(), text)).collect::<Result<_, _>>()?;
        Ok(Filter { terms })
    }
}

impl fmt::Display for Filter {
    /// As it was written, without needless spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let away = if term.takes_away { "!" } else { "" };
            write!(f, "{comma}{away}{}", term.text)?;
        }
        Ok(())
    }
}

impl Filter {
    /// Whether one cell is meant. That a term matches nothing is no error here.
    pub fn takes(&self, cell: &Cell) -> bool {
        let only_takes_away = self.terms.iter().all(|term| term.takes_away);
        let mut meant = only_takes_away;
        for term in &self.terms {
            let matches = Matcher::new(term).matches(cell);
            if matches && term.takes_away {
                return false;
            }
            meant |= matches;
        }
        meant
    }

    /// Indices of the cells that are meant, in their order.
    pub fn select(&self, cells: &[Cell]) -> Result<Vec<usize>, BadFilter> {
        let mut terms: Vec<Matcher<'_>> = self.terms.iter().map(Matcher::new).collect();
        let only_takes_away = self.terms.iter().all(|term| term.takes_away);
        let mut taken = Vec::new();
        for (index, cell) in cells.iter().enumerate() {
            let mut meant = only_takes_away;
            let mut away = false;
            for term in &mut terms {
                let matches = term.matches(cell);
                meant |= matches && !term.term.takes_away;
                away |= matches && term.term.takes_away;
            }
            if meant && !away {
                taken.push(index);
            }
        }
        if let Some(term) = terms.iter().find(|term| !term.matched) {
            return Err(term.term.matches_nothing(cells));
        }
        if taken.is_empty() {
            let message =
                "the filter takes no cell: its terms with `!` take away all that the others take";
            return Err(BadFilter(message.to_owned()));
        }
        Ok(taken)
    }
}

impl Term {
    fn parse(term: &str, filter: &str) -> Result<Term, BadFilter> {
        let takes_away = term.starts_with('!');
        let text = term.strip_prefix('!').unwrap_or(term).trim();
        let glob = |text: &str| text.chars().collect();
        if text.is_empty() {
            let message = format!("a term of filter {} is empty", quoted(filter));
            return Err(BadFilter(message + "; write it as: docker,!noisy"));
        }
        let what = match text.split_once('=') {
            Some((axis, value)) => {
                let (axis, value) = (axis.trim(), value.trim());
                let names = Axis::ALL.map(Axis::name);
                let known = Axis::ALL.into_iter().find(|known| known.name() == axis);
                let known = known.ok_or_else(|| {
                    let near = suggestion(axis, names).unwrap_or_default();
                    BadFilter(format!(
                        "unknown axis {} in filter term {}; {near}",
                        quoted(axis),
                        quoted(term)
                    ))
                })?;
                What::On(known, glob(value))
            }
            None if text.contains('/') => What::Id(glob(text)),
            None => What::Value(glob(text)),
        };
        Ok(Term { text: text.to_owned(), takes_away, what })
    }

    fn matches_nothing(&self, cells: &[Cell]) -> BadFilter {
        let near = match (&self.what, self.text.split_once('=')) {
            (What::On(axis, _), Some((_, value))) => suggestion(value.trim(), values(cells, *axis)),
            (What::Id(_), _) => {
                let ids: Vec<String> = cells.iter().take(MOST_COMPARED).map(Cell::id).collect();
                nearest(&self.text, ids.iter().map(String::as_str))
                    .map(|id| format!("did you mean `{id}`?"))
            }
            _ => {
                let mut seen = HashSet::new();
                let all = Axis::ALL.iter().flat_map(|axis| values(cells, *axis));
                suggestion(&self.text, all.filter(|value| seen.insert(*value)))
            }
        };
        let near = near.map(|near| format!("; {near}")).unwrap_or_default();
        BadFilter(format!("filter term {} matches no cell{near}", quoted(&self.text)))
    }
}

/// The values that cells have on an axis, each once, in their order.
fn values(cells: &[Cell], axis: Axis) -> Vec<&str> {
    let mut seen = HashSet::new();
    cells.iter().map(|cell| cell.on(axis)).filter(|value| seen.insert(*value)).collect()
}

/// A term that is held against many cells. Answers for values are remembered: there are few.
struct Matcher<'t> {
    term: &'t Term,
    matched: bool,
    answers: HashMap<String, bool>,
    id: Vec<char>,
}

impl<'t> Matcher<'t> {
    fn new(term: &'t Term) -> Matcher<'t> {
        Matcher { term, matched: false, answers: HashMap::new(), id: Vec::new() }
    }

    fn matches(&mut self, cell: &Cell) -> bool {
        let matches = match &self.term.what {
            What::Value(pattern) => {
                let mut named = Axis::ALL.into_iter().filter(|axis| cell.names(*axis));
                named.any(|axis| remembered(&mut self.answers, pattern, cell.on(axis)))
            }
            What::On(axis, pattern) => remembered(&mut self.answers, pattern, cell.on(*axis)),
            What::Id(pattern) => {
                self.id.clear();
                for axis in Axis::ALL.into_iter().filter(|axis| cell.names(*axis)) {
                    self.id.extend(cell.on(axis).chars().chain(['/']));
                }
                self.id.pop();
                glob(pattern, &self.id)
            }
        };
        self.matched |= matches;
        matches
    }
}

fn remembered(answers: &mut HashMap<String, bool>, pattern: &[char], value: &str) -> bool {
    if let Some(answer) = answers.get(value) {
        return *answer;
    }
    let answer = glob(pattern, &value.chars().collect::<Vec<_>>());
    answers.insert(value.to_owned(), answer);
    answer
}

/// Whether a pattern with `*` and `?` matches all of a text, in time of at most their product: on a mismatch
/// only the last `*` takes one character more.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else { return false };
                star = Some((star_p, star_t + 1));
                (p, t) = (star_p + 1, star_t + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cells() -> Vec<Cell> {
        let mut cells = Vec::new();
        for virtualization in ["netns", "docker"] {
            for network in ["bridge", "nat"] {
                for load in ["idle", "noisy"] {
                    cells.push(Cell {
                        kernel: "running".into(),
                        virtualization: virtualization.into(),
                        network: network.into(),
                        tuning: "stock".into(),
                        load: load.into(),
                        host_kernel: "running".into(),
                    });
                }
            }
        }
        cells
    }

    fn only(filter: &str) -> Result<String, String> {
        let cells = cells();
        let selected = filter.parse::<Filter>().and_then(|filter| filter.select(&cells));
        let ids =
            selected.map(|taken| taken.iter().map(|index| cells[*index].id()).collect::<Vec<_>>());
        ids.map(|ids| ids.join("\n")).map_err(|error| error.to_string())
    }

    #[test]
    fn terms_add_and_take_away() {
        insta::assert_snapshot!(only("docker,!noisy").unwrap(), @r"
        running/docker/bridge/stock/idle
        running/docker/nat/stock/idle
        ");
        insta::assert_snapshot!(only("running/*/bridge/*, !load=nois?").unwrap(), @r"
        running/netns/bridge/stock/idle
        running/docker/bridge/stock/idle
        ");
        assert_eq!(
            only("!noisy,!nat,!virtualization=net*").unwrap(),
            "running/docker/bridge/stock/idle"
        );
        assert_eq!(only("docker,netns").unwrap().lines().count(), 8);
        assert_eq!(only("*").unwrap().lines().count(), 8);
    }

    #[test]
    fn a_term_that_matches_nothing_is_an_error() {
        insta::assert_snapshot!(only("dcoker").unwrap_err(), @"filter term `dcoker` matches no cell; did you mean `docker`? known: running, netns, docker, bridge, nat, stock, idle, noisy");
        insta::assert_snapshot!(only("docker,!load=nosiy").unwrap_err(), @"filter term `load=nosiy` matches no cell; did you mean `noisy`? known: idle, noisy");
        insta::assert_snapshot!(only("running/docker/bridge/stock/idl").unwrap_err(), @"filter term `running/docker/bridge/stock/idl` matches no cell; did you mean `running/docker/bridge/stock/idle`?");
        insta::assert_snapshot!(only("netwrk=nat").unwrap_err(), @"unknown axis `netwrk` in filter term `netwrk=nat`; did you mean `network`? known: kernel, virtualization, network, tuning, load, host-kernel");
        insta::assert_snapshot!(only("docker,,nat").unwrap_err(), @"a term of filter `docker,,nat` is empty; write it as: docker,!noisy");
        insta::assert_snapshot!(only("nat,!bridge,!nat").unwrap_err(), @"the filter takes no cell: its terms with `!` take away all that the others take");
        assert!(only("").is_err() && only("!").is_err());
    }

    /// The meaning of a pattern, without regard to time.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            Some((c, rest)) => text
                .split_first()
                .is_some_and(|(d, others)| (*c == '?' || c == d) && slow(rest, others)),
        }
    }

    proptest! {
        #[test]
        fn globs_mean_what_they_say(pattern in "[ab*?]{0,7}", text in "[ab]{0,8}") {
            let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(glob(&pattern, &text), slow(&pattern, &text));
        }

        #[test]
        fn no_filter_panics(text in "[a-z*?!=,/é ]{0,30}|\\PC{0,30}") {
            if let Ok(filter) = text.parse::<Filter>() {
                let all = cells();
                if let Ok(taken) = filter.select(&all) {
                    for (index, cell) in all.iter().enumerate() {
                        prop_assert_eq!(filter.takes(cell), taken.contains(&index));
                    }
                }
                let taken = filter.select(&cells());
                prop_assert!(taken.is_err_and(|error| !error.to_string().is_empty()) || filter.select(&cells()).is_ok());
            }
        }
    }
}
